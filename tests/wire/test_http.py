"""HTTP messages for captures, as the standard library's own parser reads them."""

import http.client
import io
from email.parser import BytesParser

from phonesim.wire.http import (
    encode_http_request,
    encode_http_response,
    encode_response,
    request_headers,
)
from phonesim.wire.soap import (
    GetRootCertChains,
    HttpRequest,
    HttpResponse,
    SoapFault,
    decode_soap_request,
    encode_soap,
)

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
