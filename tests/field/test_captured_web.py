"""The web services of a phone, as a capture of phonesim's own tells them."""

from __future__ import annotations

from pathlib import Path

from captures import SERVER, names, values
from messages import exchanged

from phonesim.capture import without_secrets
from phonesim.virtual_certificates import ISSUING_NAME, ROOT_NAME, trust_chain
from phonesim.wire.cert_provisioning import (
    GetAndPublishCertResponse,
    GetRootCertChains,
    GetRootCertChainsResponse,
)
from phonesim.wire.http import (
    HttpRequest,
    HttpResponse,
    WebDiagnostics,
    WebMessage,
    encode_http_request,
    encode_http_response,
)
from phonesim.wire.soap_envelope import SoapFault
from phonesim.wire.web_services_metadata import GetMetadata, ServiceMetadata, ServicePort
from phonesim.wire.web_ticket import PinCredential, RequestSecurityToken

PATH = "/CertProv/CertProvisioningService.svc"
TICKET = RequestSecurityToken(
    context="c",
    applies_to="https://web.a/x",
    entropy=bytes(32),
    credential=PinCredential(number="17", pin="4711"),
)


def asked(message: WebMessage | None, port: int = 443) -> bytes:
    scheme = "http" if port == 80 else "https"
    return without_secrets(
        encode_http_request(
            HttpRequest(scheme=scheme, host="Web.a", port=port, path=PATH, message=message)
        )
    )


def answered(status: int = 200, **fields: object) -> bytes:
    return without_secrets(encode_http_response(HttpResponse(status=status, **fields)))  # type: ignore[arg-type]


def test_the_chain_over_http(tmp_path: Path) -> None:
    chain = GetRootCertChainsResponse(chain=trust_chain(with_issuing=True))
    found = exchanged(
        *(tmp_path, "http", 80),
        [(0, True, asked(GetRootCertChains(), 80)), (1, False, answered(message=chain))],
    )
    url = f"http://web.a:80{PATH}"
    assert values(found, "http_sent") == [("GetRootCertChains", url, SERVER, 1)]
    assert values(found, "chain_received") == [(len(chain.chain),)]
    [(_, subjects, problem)] = values(found, "chain_shown")
    assert (set(str(subjects).split(",")), problem) == ({ROOT_NAME, ISSUING_NAME}, "")


def test_a_chain_that_is_of_no_use(tmp_path: Path) -> None:
    for chain, problem in ((b"", "it is empty"), (b"garbage", "it cannot be read")):
        message = GetRootCertChainsResponse(chain=chain)
        found = exchanged(
            *(tmp_path, "http", 80),
            [(0, True, asked(GetRootCertChains(), 80)), (1, False, answered(message=message))],
        )
        assert str(values(found, "chain_shown")[0][2]).startswith(problem)


def test_a_refused_pin(tmp_path: Path) -> None:
    fault = SoapFault(
        code="InvalidSecurity",
        reason="no",
        error_id=28001,
        error_reason="wrong PIN",
        pin_failure="PinIncorrect",
    )
    said = WebDiagnostics(error_id=28001, source="web.a", reason="wrong PIN")
    found = exchanged(
        *(tmp_path, "http", 443),
        [(0, True, asked(TICKET)), (1, False, answered(500, message=fault, diagnostics=said))],
    )
    assert names(found) == ["http_sent", "http_answer", "web_diagnostics", "ticket_refused"]
    assert values(found, "ticket_refused") == [("PinIncorrect", 28001, "wrong PIN")]
    assert values(found, "web_diagnostics") == [(28001, "web.a", "", "wrong PIN")]
    assert "wrong PIN" in found[1].text
    assert "4711" not in "".join(each.text for each in found)


def test_metadata_and_a_certificate(tmp_path: Path) -> None:
    ports = tuple(ServicePort(name=name, location="https://web.a/x") for name in ("A", "B"))
    metadata = ServiceMetadata(service="WebTicketService", ports=ports)
    issued = GetAndPublishCertResponse(certificate=b"x" * 9, device_id="d", entity="u@a")
    found = exchanged(
        *(tmp_path, "http", 443),
        [
            (0, True, asked(GetMetadata())),
            (1, False, answered(message=metadata)),
            (2, True, asked(TICKET)),
            (3, False, answered(message=issued)),
        ],
    )
    assert values(found, "metadata_shown") == [(f"https://web.a:443{PATH}", "A,B")]
    assert values(found, "certificate_received") == [("sip:u@a", 9)]


def test_attempts_answers_and_silence(tmp_path: Path) -> None:
    request, busy = asked(GetMetadata()), answered(503, retry_after=5)
    found = exchanged(
        *(tmp_path, "http", 443),
        [(0, True, request), (1, False, busy), (1.5, False, busy), (6, True, request)],
        ends_after=60,
    )
    assert names(found) == ["http_sent", "http_answer", "http_ignored", "http_sent", "http_failed"]
    assert [value[-1] for value in values(found, "http_sent")] == [1, 2]
    [(operation, failure, detail)] = values(found, "http_failed")
    assert (operation, failure) == ("GetMetadata", "timeout")
    assert detail == f"{SERVER} ({SERVER}:443): timeout"
    assert found[-1].place.number == 4


def test_answers_that_are_none(tmp_path: Path) -> None:
    page = b"HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\n<html>"
    found = exchanged(
        *(tmp_path, "http", 443),
        [
            (0, True, asked(GetMetadata())),
            (1, False, page),
            (2, True, asked(GetMetadata())),
            (3, False, answered()),
        ],
    )
    assert [value[1] for value in values(found, "http_failed")] == ["malformed", "malformed"]
    assert "200 with no SOAP message" in str(values(found, "http_failed")[1][2])
