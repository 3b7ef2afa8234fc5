"""HTTP messages for captures, as the standard library's own parser reads them."""

import http.client
import io
from email.parser import BytesParser

import msgspec
import pytest

from phonesim.errors import DecodeError
from phonesim.wire.cert_provisioning import GetRootCertChains
from phonesim.wire.http import (
    HttpRequest,
    HttpResponse,
    WebDiagnostics,
    decode_diagnostics,
    encode_diagnostics,
    encode_http_request,
    encode_http_response,
    encode_response,
    parse_url,
    request_headers,
)
from phonesim.wire.http_token import NEGOTIATE, NTLM, HttpToken
from phonesim.wire.soap import decode_soap_request, encode_soap
from phonesim.wire.soap_envelope import SoapFault
from phonesim.wire.web_services_metadata import GetMetadata

PATH = "/CertProv/CertProvisioningService.svc"


def request(port: int = 443) -> HttpRequest:
    return HttpRequest(
        scheme="https", host="web.example", port=port, path=PATH, message=GetRootCertChains()
    )


class _Stream:
    def __init__(self, octets: bytes) -> None:
        self.octets = octets

    def makefile(self, mode: str) -> io.BytesIO:
        return io.BytesIO(self.octets)


def answer(octets: bytes) -> http.client.HTTPResponse:
    response = http.client.HTTPResponse(_Stream(octets))  # type: ignore[arg-type]
    response.begin()
    return response


def test_a_request_is_a_post_of_its_envelope() -> None:
    head, _, body = encode_http_request(request()).partition(b"\r\n\r\n")
    first, _, rest = head.partition(b"\r\n")
    assert first == f"POST {PATH} HTTP/1.1".encode()
    headers = BytesParser().parsebytes(rest)
    assert headers["Host"] == "web.example"
    assert headers["Content-Type"] == "text/xml; charset=utf-8"
    assert headers["SOAPAction"].startswith('"http')
    assert int(headers["Content-Length"]) == len(body)
    assert decode_soap_request(body) == GetRootCertChains()


def test_metadata_are_got() -> None:
    asked = encode_http_request(msgspec.structs.replace(request(), message=GetMetadata()))
    first, headers = asked.partition(b"\r\n\r\n")[0].split(b"\r\n", 1)
    assert first == f"GET {PATH} HTTP/1.1".encode()
    assert headers == b"Host: web.example\r\nContent-Length: 0"


@pytest.mark.parametrize(
    ("text", "url"),
    [
        ("https://web.contoso.com/A.svc", "https://web.contoso.com:443/A.svc"),
        (" HTTP://Web:8080 ", "http://web:8080/"),
        ("https://web:65535/a?b=c", "https://web:65535/a?b=c"),
    ],
)
def test_a_url_is_read(text: str, url: str) -> None:
    assert str(parse_url(text)) == url


@pytest.mark.parametrize(
    "text",
    [
        *(
            "",
            "web.contoso.com",
            "ldap://web/",
            "https:///",
            "https://web:0/",
            "https://web:65536/",
        ),
        *("https://user@web/", "https://web/a b", "https://web/\r\nX: y", "https://[::1]/"),
        *("https://.../", "https://a..b/", "https://a./", "https://-a b/", f"https://{'x' * 64}/"),
        f"https://{'.'.join(['x' * 60] * 5)}/",
        "https://web/" + "x" * 2000,
    ],
)
def test_what_is_no_url_of_a_service_is_refused(text: str) -> None:
    with pytest.raises(DecodeError, match="is no http or https URL"):
        parse_url(text)


@pytest.mark.parametrize(
    ("text", "diagnostics"),
    [
        (  # OfficeDev/skype-docs issue 347
            '28055;source="FES04.infra.lync.com";reason="The OAuth token is invalid.";'
            'faultcode="wsse:FailedAuthentication"',
            WebDiagnostics(
                error_id=28055,
                source="FES04.infra.lync.com",
                reason="The OAuth token is invalid.",
                faultcode="wsse:FailedAuthentication",
            ),
        ),
        (
            '28020;source="server.contoso.com";reason="No valid security token."',
            WebDiagnostics(
                error_id=28020, source="server.contoso.com", reason="No valid security token."
            ),
        ),
    ],
)
def test_diagnostics_are_those_of_the_samples(text: str, diagnostics: WebDiagnostics) -> None:
    assert decode_diagnostics(text) == diagnostics
    assert encode_diagnostics(diagnostics) == text


def test_other_diagnostics_are_read_as_far_as_they_go() -> None:
    read = decode_diagnostics(' 5 ;x; Reason = "a;b" ; source=none')
    assert read == WebDiagnostics(error_id=5, source="", reason="a;b")
    assert decode_diagnostics("7") == WebDiagnostics(error_id=7, source="", reason="")


@pytest.mark.parametrize("text", ["", "x", "-1;a", "1" * 99, 'reason="x"'])
def test_diagnostics_without_a_number_are_none(text: str) -> None:
    with pytest.raises(DecodeError, match="does not begin with a number"):
        decode_diagnostics(text)


def test_no_reason_makes_another_header() -> None:
    said = WebDiagnostics(error_id=1, source='a"b', reason='x"\r\nSet-Cookie: y\u20ac')
    octets = encode_http_response(HttpResponse(status=500, diagnostics=said))
    assert (
        answer(octets).headers["X-Ms-diagnostics"] == '1;source="a?b";reason="x???Set-Cookie: y?"'
    )


def test_another_port_is_named() -> None:
    assert request_headers(request(4443))["Host"] == "web.example:4443"


def test_an_answer_carries_its_fault() -> None:
    fault = SoapFault(code="Client", reason="No")
    read = answer(encode_http_response(HttpResponse(status=500, message=fault, retry_after=7)))
    assert (read.status, read.reason) == (500, "Internal Server Error")
    assert read.headers["Retry-After"] == "7"
    assert read.read() == encode_soap(fault)


def test_an_answer_without_soap_has_no_body() -> None:
    read = answer(encode_http_response(HttpResponse(status=599)))
    assert (read.status, read.reason, read.read()) == (599, "", b"")


def test_how_a_body_was_framed_and_packed_is_not_kept() -> None:
    headers = [("Transfer-Encoding", "chunked"), ("content-encoding", "gzip"), ("Server", "x")]
    read = answer(encode_response(200, "OK", [*headers, ("Content-Length", "9")], b"body"))
    assert read.read() == b"body"
    assert sorted(read.headers.items()) == [("Content-Length", "4"), ("Server", "x")]


def test_a_request_says_who_sends_it() -> None:
    asked = msgspec.structs.replace(request(), authorization=HttpToken(NTLM, b"NTLMSSP\0"))
    assert request_headers(asked)["Authorization"] == "NTLM TlRMTVNTUAA="
    assert "Authorization" not in request_headers(request())


def test_a_request_may_have_no_body() -> None:
    asked = msgspec.structs.replace(request(), message=None)
    head, _, body = encode_http_request(asked).partition(b"\r\n\r\n")
    assert head == f"POST {PATH} HTTP/1.1\r\nHost: web.example\r\nContent-Length: 0".encode()
    assert body == b""


def test_an_answer_asks_who_one_is() -> None:
    offers = HttpToken(NEGOTIATE), HttpToken(NTLM, b"NTLMSSP\0")
    read = answer(encode_http_response(HttpResponse(status=401, challenges=offers, closes=True)))
    assert read.headers.get_all("WWW-Authenticate") == ["Negotiate", "NTLM TlRMTVNTUAA="]
    assert read.headers["Connection"] == "close"
