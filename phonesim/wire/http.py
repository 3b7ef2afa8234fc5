"""HTTP messages as octets, for who has no HTTP library under him: captures.

The worlds of real sockets leave HTTP to aiohttp; the virtual world has none at all.

Specifications: RFC 9112; SOAP 1.1 section 6 (SOAPAction, text/xml).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from http import HTTPStatus

from phonesim.wire.soap import HttpRequest, HttpResponse, encode_soap, soap_action

_STANDARD_PORTS = {"http": 80, "https": 443}
_CONTENT_TYPE = "text/xml; charset=utf-8"


def request_headers(request: HttpRequest) -> dict[str, str]:
    """The headers that a phone gives a request, but for those of the body's framing."""
    host = request.host
    if request.port != _STANDARD_PORTS.get(request.scheme):
        host = f"{host}:{request.port}"
    return {
        "Host": host,
        "Content-Type": _CONTENT_TYPE,
        "SOAPAction": f'"{soap_action(request.message)}"',
    }


def encode_request(path: str, headers: Mapping[str, str], body: bytes) -> bytes:
    """A POST; `headers` hold no framing."""
    return _message(f"POST {path} HTTP/1.1", headers.items(), body)


def encode_response(
    status: int, reason: str, headers: Iterable[tuple[str, str]], body: bytes
) -> bytes:
    """An answer; of `headers`, those that say how the body was framed or packed are replaced."""
    kept = [each for each in headers if each[0].lower() not in _FRAMING]
    return _message(f"HTTP/1.1 {status} {reason}", kept, body)


def encode_http_request(request: HttpRequest) -> bytes:
    """The request of a phone."""
    return encode_request(request.path, request_headers(request), encode_soap(request.message))


def encode_http_response(response: HttpResponse) -> bytes:
    """An answer that holds what `response` does, and nothing else."""
    try:
        reason = HTTPStatus(response.status).phrase
    except ValueError:
        reason = ""
    headers: list[tuple[str, str]] = []
    if response.retry_after is not None:
        headers.append(("Retry-After", str(response.retry_after)))
    if response.message is None:
        return encode_response(response.status, reason, headers, b"")
    headers.append(("Content-Type", _CONTENT_TYPE))
    return encode_response(response.status, reason, headers, encode_soap(response.message))


_FRAMING = frozenset({"content-length", "transfer-encoding", "content-encoding"})


def _message(first: str, headers: Iterable[tuple[str, str]], body: bytes) -> bytes:
    lines = [first, *(f"{name}: {value}" for name, value in headers)]
    lines.append(f"Content-Length: {len(body)}")
    return "\r\n".join([*lines, "", ""]).encode("utf-8", "surrogateescape") + body
