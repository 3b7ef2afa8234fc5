"""HTTP requests and answers of the web services, and the same as octets for captures.

The worlds of real sockets leave HTTP to aiohttp; the virtual world has none at all.

Specifications: RFC 9110, RFC 9112, RFC 3986; SOAP 1.1 section 6 (SOAPAction, text/xml).
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from functools import lru_cache
from http import HTTPStatus

import msgspec

from phonesim.errors import DecodeError
from phonesim.wire.http_token import HttpToken, encode_token
from phonesim.wire.soap import (
    SoapRequest,
    SoapResponse,
    encode_soap,
    read_soap_response,
    soap_action,
)
from phonesim.wire.web_services_metadata import (
    GetMetadata,
    ServiceMetadata,
    encode_metadata,
    read_metadata,
)
from phonesim.wire.xml_document import local_name, parse_document

_STANDARD_PORTS = {"http": 80, "https": 443}
_CONTENT_TYPE = "text/xml; charset=utf-8"
_LABEL = "[A-Za-z0-9_-]{1,63}"
_URL = re.compile(
    rf"(https?)://(?=[^:/]{{1,253}}(?:[:/]|$))({_LABEL}(?:\.{_LABEL})*)(?::([0-9]{{1,5}}))?(/[!-~]*)?",
    re.IGNORECASE,
)
_URL_LIMIT = 1024
_DIAGNOSTICS_LIMIT = 2048
_DIAGNOSTICS = re.compile(r"([0-9]{1,9})\s*(?:;(.*))?", re.DOTALL)
_PARAMETER = re.compile(r'([A-Za-z]+)\s*=\s*"([^"]*)"')
_UNQUOTABLE = re.compile(r"[^ !#-~]")
DIAGNOSTICS_HEADER = "X-Ms-diagnostics"
AUTHORIZATION_HEADER = "Authorization"
CHALLENGE_HEADER = "WWW-Authenticate"

WebMessage = SoapRequest | GetMetadata
WebAnswer = SoapResponse | ServiceMetadata


class HttpUrl(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """Where a service is: `scheme` is "http" or "https"; `host` a name."""

    scheme: str
    host: str
    port: int
    path: str

    def __str__(self) -> str:
        """The URL, with its port always written."""
        return f"{self.scheme}://{self.host}:{self.port}{self.path}"


class HttpRequest(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """A request to a web service: a GET for metadata, otherwise a POST.

    `scheme` is "http" or "https"; `host` the name in Host and SNI. `message` is None for a POST
    without a body, with which clients may begin to authenticate themselves.
    """

    scheme: str
    host: str
    port: int
    path: str
    message: WebMessage | None
    authorization: HttpToken | None = None

    @property
    def method(self) -> str:
        """GET or POST."""
        return "GET" if isinstance(self.message, GetMetadata) else "POST"

    @property
    def url(self) -> str:
        """The URL, with its port always written."""
        return f"{self.scheme}://{self.host}:{self.port}{self.path}"


class WebDiagnostics(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """The header X-Ms-diagnostics: which server refused, and why."""

    error_id: int
    source: str
    reason: str
    faultcode: str = ""


class HttpResponse(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """A web service's answer; `message` is None when the body is no XML of theirs (a 404 page).

    `challenges` come with 401; the connection ends if it `closes`.
    """

    status: int
    message: WebAnswer | None = None
    retry_after: int | None = None
    diagnostics: WebDiagnostics | None = None
    challenges: tuple[HttpToken, ...] = ()
    closes: bool = False


def parse_url(text: str) -> HttpUrl:
    """Read a URL; DecodeError if it is no http or https URL of a host name."""
    match = _URL.fullmatch(text.strip()) if len(text) <= _URL_LIMIT else None
    if match is None or not 0 < int(match[3] or 1) < 65536:
        raise DecodeError(f"{text[:100]!r} is no http or https URL")
    scheme = match[1].lower()
    port = int(match[3]) if match[3] else _STANDARD_PORTS[scheme]
    return HttpUrl(scheme=scheme, host=match[2].lower(), port=port, path=match[4] or "/")


def encode_diagnostics(diagnostics: WebDiagnostics) -> str:
    """The value of X-Ms-diagnostics."""
    fields = [("source", diagnostics.source), ("reason", diagnostics.reason)]
    if diagnostics.faultcode:
        fields.append(("faultcode", diagnostics.faultcode))
    quoted = (f'{name}="{_UNQUOTABLE.sub("?", value)}"' for name, value in fields)
    return ";".join([str(diagnostics.error_id), *quoted])


def decode_diagnostics(text: str) -> WebDiagnostics:
    """Read the value of X-Ms-diagnostics; DecodeError if it has no number."""
    match = _DIAGNOSTICS.fullmatch(text.strip()[:_DIAGNOSTICS_LIMIT])
    if match is None:
        raise DecodeError("X-Ms-diagnostics does not begin with a number and a semicolon")
    fields = {name.lower(): value for name, value in _PARAMETER.findall(match[2] or "")}
    return WebDiagnostics(
        error_id=int(match[1]),
        source=fields.get("source", ""),
        reason=fields.get("reason", ""),
        faultcode=fields.get("faultcode", ""),
    )


def encode_body(message: WebMessage | WebAnswer | None) -> bytes:
    """The body that carries a message; TypeError and ValueError as `encode_soap`."""
    match message:
        case None | GetMetadata():
            return b""
        case ServiceMetadata():
            return encode_metadata(message)
        case _:
            return encode_soap(message)


@lru_cache(maxsize=32)  # the chain and the metadata are the same for every phone
def decode_answer(body: bytes) -> WebAnswer:
    """Read the body of an answer; DecodeError if it is neither SOAP nor metadata."""
    document = parse_document(body)
    if local_name(document) == "definitions":
        return read_metadata(document)
    return read_soap_response(document, body)


def request_headers(request: HttpRequest) -> dict[str, str]:
    """The headers that a phone gives a request, but for those of the body's framing."""
    host = request.host
    if request.port != _STANDARD_PORTS.get(request.scheme):
        host = f"{host}:{request.port}"
    headers = {"Host": host}
    if request.authorization is not None:
        headers[AUTHORIZATION_HEADER] = encode_token(request.authorization)
    if not isinstance(request.message, GetMetadata | None):
        headers["Content-Type"] = _CONTENT_TYPE
        headers["SOAPAction"] = f'"{soap_action(request.message)}"'
    return headers


def response_headers(response: HttpResponse) -> list[tuple[str, str]]:
    """The headers that an answer has of its own, but for those of its body."""
    headers = [(CHALLENGE_HEADER, encode_token(each)) for each in response.challenges]
    if response.retry_after is not None:
        headers.append(("Retry-After", str(response.retry_after)))
    if response.diagnostics is not None:
        headers.append((DIAGNOSTICS_HEADER, encode_diagnostics(response.diagnostics)))
    if response.closes:
        headers.append(("Connection", "close"))
    return headers


def encode_request(method: str, path: str, headers: Mapping[str, str], body: bytes) -> bytes:
    """A request; `headers` hold no framing."""
    return _message(f"{method} {path} HTTP/1.1", headers.items(), body)


def encode_response(
    status: int, reason: str, headers: Iterable[tuple[str, str]], body: bytes
) -> bytes:
    """An answer; of `headers`, those that say how the body was framed or packed are replaced."""
    kept = [each for each in headers if each[0].lower() not in _FRAMING]
    return _message(f"HTTP/1.1 {status} {reason}", kept, body)


def encode_http_request(request: HttpRequest) -> bytes:
    """The request of a phone."""
    body = encode_body(request.message)
    return encode_request(request.method, request.path, request_headers(request), body)


def encode_http_response(response: HttpResponse) -> bytes:
    """An answer that holds what `response` does, and nothing else."""
    try:
        reason = HTTPStatus(response.status).phrase
    except ValueError:
        reason = ""
    headers = response_headers(response)
    if response.message is None:
        return encode_response(response.status, reason, headers, b"")
    headers.append(("Content-Type", _CONTENT_TYPE))
    return encode_response(response.status, reason, headers, encode_body(response.message))


_FRAMING = frozenset({"content-length", "transfer-encoding", "content-encoding"})


def _message(first: str, headers: Iterable[tuple[str, str]], body: bytes) -> bytes:
    lines = [first, *(f"{name}: {value}" for name, value in headers)]
    lines.append(f"Content-Length: {len(body)}")
    return "\r\n".join([*lines, "", ""]).encode("utf-8", "surrogateescape") + body
