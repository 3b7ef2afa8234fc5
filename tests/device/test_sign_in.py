from __future__ import annotations

import random
import uuid as standard

import msgspec
import pytest
from playing import Dice, containing, like, matching, play

from phonesim.config.device_profile import SignInConfig
from phonesim.device import device_log as log
from phonesim.device.actions import CheckCertificate, MakeCertificateRequest, SendHttp, SignWithKey
from phonesim.device.events import (
    CertificateChecked,
    CertificateIssued,
    CertificateRequestMade,
    DataSigned,
    ExchangeEnded,
    HttpFailed,
    HttpResponseReceived,
    LookupAnswered,
    LookupRequested,
    SignInFailed,
    SignInWanted,
    StageEnded,
    StageEntered,
    TimerExpired,
    WebServicesAddress,
    WorkAbandoned,
)
from phonesim.device.http_authentication import WindowsCredentials
from phonesim.device.outcome import ConnectFailure, FailureReason, Stage
from phonesim.device.sign_in import SignIn
from phonesim.wire.cert_provisioning import (
    GetAndPublishCert,
    GetAndPublishCertResponse,
    GetRootCertChains,
    GetRootCertChainsResponse,
    KeyProof,
)
from phonesim.wire.dns import DnsRecord
from phonesim.wire.endpoint import epid_for, sip_instance
from phonesim.wire.http import HttpRequest, HttpResponse, WebDiagnostics
from phonesim.wire.http_token import HttpToken
from phonesim.wire.message_signature import CertificateSignature, certificate_signed_info
from phonesim.wire.ntlm import HTTP_FLAGS, NtlmChallenge, encode_challenge
from phonesim.wire.soap_envelope import SoapFault
from phonesim.wire.web_services_metadata import (
    CERTIFICATE_PORT,
    NEGOTIATE_PORT,
    NTLM_PORT,
    PIN_PORT,
    PROOF_PORT,
    GetMetadata,
    ServiceMetadata,
    ServicePort,
)
from phonesim.wire.web_ticket import (
    CertificateCredential,
    PinCredential,
    RequestSecurityToken,
    RequestSecurityTokenResponse,
    proof_key,
)

MAC = bytes.fromhex("0004F2000001")
ME, WEB, WEB2 = "10.0.0.50", "10.0.0.20", "10.0.0.21"
HOST, PATH = "webpool.contoso.com", "/CertProv/CertProvisioningService.svc"
PROOF_PATH, TICKET_PATH = f"{PATH}/Proof", "/WebTicket/WebTicketService.svc"
PIN_PATH = f"{TICKET_PATH}/AnyName"
NUMBER, PIN = "+14255550001", "8000014"
SIP_URI = "sip:user00001@contoso.com"
CHAIN, CSR, CERTIFICATE = b"the chain", b"a request", b"a certificate"
EPOCH = 1.7e9
ISSUED = CertificateIssued(
    sip_uri=SIP_URI,
    certificate=CERTIFICATE,
    chain=CHAIN,
    ticket_id="SamlSecurityToken-1",
    ticket_expires=1_700_028_800,
)
TIMER = TimerExpired()
LOOKUP = LookupRequested(lookup_id="sign_in:web", qname=HOST, qtype="A")


def services(scheme="https", port=443):
    return WebServicesAddress(scheme=scheme, host=HOST, port=port, path=PATH, source="dhcp:x")


def sign_in(**config):
    return SignIn(SignInConfig(**config), MAC, NUMBER, PIN, Dice(), lambda now: EPOCH + now)


def wanted(**address):
    return SignInWanted(web_services=services(**address), source=ME)


def found(*addresses, rcode="NOERROR"):
    return LookupAnswered(
        lookup_id=LOOKUP.lookup_id,
        qname=HOST,
        qtype="A",
        rcode=rcode,
        records=tuple(DnsRecord(HOST, "A", 60, address) for address in addresses),
    )


def uuid(number):
    """The nth UUID that the dice give."""
    return f"00000000-0000-4000-8000-{number:012x}"


def posts(number, message, *, address=WEB, path=PATH, scheme="https", host=HOST, port=443, at=0.0):
    return SendHttp(
        exchange_id=number,
        request=HttpRequest(scheme=scheme, host=host, port=port, path=path, message=message),
        source=ME,
        address=address,
        trust=None if scheme == "http" else CHAIN,
        clock=EPOCH + at,
        timeout=30,
    )


def asks_chain(number=1, *, address=WEB, at=0.0, port=80):
    return posts(number, GetRootCertChains(), address=address, at=at, scheme="http", port=port)


PROOF_URL = f"https://{HOST}{PROOF_PATH}"


def asks_metadata(number, path, *, at=0.0, **where):
    return posts(number, GetMetadata(), path=f"{path}/mex", at=at, **where)


def provisioning(name=PROOF_PORT, **port):
    fields = {
        "location": PROOF_URL,
        "issuer": f"https://{HOST}{TICKET_PATH}",
        "needs_proof": True,
    } | port
    ports = (ServicePort(name="Other", location=PROOF_URL), ServicePort(name=name, **fields))
    return ServiceMetadata(service="CertProvisioningService", ports=ports)


def issuer(name=PIN_PORT, location=f"https://{HOST}{PIN_PATH}"):
    ports = (ServicePort(name=name, location=location),)
    return ServiceMetadata(service="WebTicketService", ports=ports)


TOKEN_REQUEST = RequestSecurityToken(
    context=uuid(1),
    applies_to=PROOF_URL,
    credential=PinCredential(number=NUMBER, pin=PIN),
    entropy=bytes(range(32)),
)


def asks_ticket(number=4, *, at=0.0, **where):
    return posts(number, TOKEN_REQUEST, path=PIN_PATH, at=at, **where)


def ticket(**fields):
    fields = {
        "context": uuid(1),
        "assertion_id": "SamlSecurityToken-1",
        "assertion": b"<saml/>",
        "created": 1_700_000_000,
        "expires": 1_700_028_800,
        "entropy": b"s" * 32,
        "sip_uri": SIP_URI,
    } | fields
    return RequestSecurityTokenResponse(**fields)


class ProvedWith:
    """Equal to a proof that was made with this key."""

    def __init__(self, key):
        self.key = key

    def __eq__(self, other):
        return isinstance(other, KeyProof) and other.verify(self.key)

    __hash__ = None


CERTIFICATE_REQUEST = GetAndPublishCert(
    to=PROOF_URL,
    message_id=uuid(2),
    device_id=sip_instance(epid_for(MAC, SIP_URI)),
    entity="user00001@contoso.com",
    csr=CSR,
    request_id=uuid(3),
    assertion_id="SamlSecurityToken-1",
    assertion=b"<saml/>",
    created=1_700_000_000,
    expires=1_700_028_800,
    proof=ProvedWith(proof_key(bytes(range(32)), b"s" * 32)),
)


def answer(number, message=None, status=200, retry_after=None):
    response = HttpResponse(status=status, message=message, retry_after=retry_after)
    return HttpResponseReceived(exchange_id=number, response=response)


def failure(number, kind, detail="it broke"):
    return HttpFailed(exchange_id=number, failure=kind, detail=detail)


def chain_answer(number=1):
    return answer(number, GetRootCertChainsResponse(chain=CHAIN))


def certificate_answer(number=5, certificate=CERTIFICATE):
    response = GetAndPublishCertResponse(
        certificate=certificate, device_id="x", entity="user00001@contoso.com"
    )
    return answer(number, response)


CHECK = CheckCertificate(subject="user00001@contoso.com", certificate=CERTIFICATE)


def checked(certificate=CERTIFICATE, problem=""):
    return CertificateChecked(certificate=certificate, problem=problem)


def made():
    return CertificateRequestMade(subject="user00001@contoso.com", csr=CSR)


def ended(sent=1, seconds=0.0):
    return ExchangeEnded(kind="http", sent=sent, seconds=seconds)


def failed(stage, reason, detail=None):
    fields = {} if detail is None else {"detail": detail}
    return like(SignInFailed, stage=stage, reason=reason, **fields)


def at_stage(stage, **config):
    """A sign-in that waits for the answer to its exchange at that stage, and the exchange's id."""
    machine = sign_in(**config)
    machine.handle(wanted(), 0.0)
    machine.handle(found(WEB, WEB2), 0.0)
    if stage is Stage.CHAIN:
        return machine, 1
    machine.handle(chain_answer(), 0.0)
    machine.handle(answer(2, provisioning()), 0.0)
    machine.handle(answer(3, issuer()), 0.0)
    if stage is Stage.TICKET:
        return machine, 4
    machine.handle(answer(4, ticket()), 0.0)
    machine.handle(made(), 0.0)
    return machine, 5


STAGES = [Stage.CHAIN, Stage.TICKET, Stage.CERTIFICATE]


def test_chain_ticket_and_certificate_follow_each_other():
    play(
        sign_in(),
        [
            (0.0, wanted(), [StageEntered(stage=Stage.CHAIN), LOOKUP]),
            (
                1.0,
                found(WEB),
                [
                    log.HTTP_SENT("GetRootCertChains", f"http://{HOST}:80{PATH}", WEB, 1),
                    asks_chain(at=1.0),
                ],
            ),
            (
                2.0,
                chain_answer(),
                [
                    log.CHAIN_RECEIVED(len(CHAIN)),
                    ended(1, 1.0),
                    StageEnded(stage=Stage.CHAIN),
                    StageEntered(stage=Stage.TICKET),
                    asks_metadata(2, PATH, at=2.0),
                ],
            ),
            (
                2.5,
                answer(2, provisioning()),
                [
                    log.SERVICE_PORT(PROOF_PORT, PROOF_URL),
                    log.TICKET_ISSUER(f"https://{HOST}:443{TICKET_PATH}"),
                    ended(1, 0.5),
                    asks_metadata(3, TICKET_PATH, at=2.5),
                ],
            ),
            (
                2.5,
                answer(3, issuer()),
                [
                    log.SERVICE_PORT(PIN_PORT, f"https://{HOST}{PIN_PATH}"),
                    ended(1, 0.0),
                    asks_ticket(at=2.5),
                ],
            ),
            (
                3.5,
                answer(4, ticket()),
                [
                    log.TICKET_RECEIVED(SIP_URI, "SamlSecurityToken-1", 28800),
                    ended(1, 1.0),
                    StageEnded(stage=Stage.TICKET),
                    StageEntered(stage=Stage.CERTIFICATE),
                    MakeCertificateRequest(subject="user00001@contoso.com"),
                ],
            ),
            (4.0, made(), [posts(5, CERTIFICATE_REQUEST, path=PROOF_PATH, at=4.0)]),
            (
                5.0,
                certificate_answer(),
                [
                    log.CERTIFICATE_RECEIVED(SIP_URI, len(CERTIFICATE)),
                    ended(1, 1.0),
                    CHECK,
                ],
            ),
            (
                5.0,
                checked(),
                [
                    StageEnded(stage=Stage.CERTIFICATE),
                    ISSUED,
                ],
            ),
            (5.0, None, []),
        ],
    )


def test_the_chain_is_fetched_over_http_whatever_port_the_url_has():
    play(
        sign_in(chain_port=8080),
        [
            (0.0, wanted(port=4443), [StageEntered(stage=Stage.CHAIN), LOOKUP]),
            (0.0, found(WEB), [asks_chain(port=8080)]),
        ],
    )


@pytest.mark.parametrize("rcode", ["NXDOMAIN", "NOERROR", "TIMEOUT"])
def test_a_web_server_without_address_ends_the_sign_in(rcode):
    play(
        sign_in(),
        [
            (0.0, wanted(), [StageEntered(stage=Stage.CHAIN), LOOKUP]),
            (
                0.0,
                found(rcode=rcode),
                [
                    failed(
                        Stage.CHAIN,
                        FailureReason.WEB_SERVER_NAME_UNRESOLVED,
                        containing(HOST, rcode),
                    )
                ],
            ),
        ],
    )


# --- metadata ---


UNUSABLE = FailureReason.WEB_SERVICES_UNUSABLE


@pytest.mark.parametrize(
    ("metadata", "detail"),
    [
        (provisioning("Another"), f"CertProvisioningService has no port {PROOF_PORT}"),
        (provisioning(issuer=None), f"policy of port {PROOF_PORT} names no issuer"),
        (provisioning(needs_proof=False), f"policy of port {PROOF_PORT} names no issuer"),
        (provisioning(location="nowhere"), f"port {PROOF_PORT}: 'nowhere' is no http or https URL"),
        (provisioning(location="http://web.contoso.com/"), "is no https URL"),
        (provisioning(issuer="https://web.contoso.com:0/"), "is no http or https URL"),
        (provisioning(issuer="ldap://web.contoso.com/"), "the issuer of web tickets: 'ldap:"),
        (provisioning(issuer="http://web.contoso.com/"), "is no https URL"),
    ],
)
def test_a_provisioning_service_that_does_not_say_where_to_go_is_unusable(metadata, detail):
    machine, _ = at_stage(Stage.CHAIN)
    machine.handle(chain_answer(), 0.0)
    refused = failed(Stage.TICKET, UNUSABLE, containing(detail))
    play(machine, [(1.0, answer(2, metadata), [ended(1, 1.0), refused]), (1.0, None, [])])


@pytest.mark.parametrize(
    ("metadata", "detail"),
    [
        (issuer("WebTicketServiceCert"), f"WebTicketService has no port {PIN_PORT}"),
        (issuer(location="http://web.contoso.com/"), "is no https URL"),
    ],
)
def test_an_issuer_without_a_usable_pin_port_is_unusable(metadata, detail):
    machine, _ = at_stage(Stage.CHAIN)
    machine.handle(chain_answer(), 0.0)
    machine.handle(answer(2, provisioning()), 0.0)
    refused = failed(Stage.TICKET, UNUSABLE, containing(detail))
    play(machine, [(1.0, answer(3, metadata), [ended(1, 1.0), refused])])


def test_services_may_be_at_other_hosts():
    other = LookupRequested(lookup_id=LOOKUP.lookup_id, qname="tickets.contoso.com", qtype="A")
    answered = msgspec.structs.replace(found(WEB2), qname="tickets.contoso.com")
    machine, _ = at_stage(Stage.CHAIN)
    machine.handle(chain_answer(), 0.0)
    there = {"host": "tickets.contoso.com", "port": 4443, "address": WEB2}
    play(
        machine,
        [
            (
                0.0,
                answer(2, provisioning(issuer=f"https://Tickets.contoso.com:4443{TICKET_PATH}")),
                [ended(), other],
            ),
            (0.0, found(WEB), []),
            (0.0, answered, [asks_metadata(3, TICKET_PATH, **there)]),
            (
                0.0,
                answer(3, issuer(location=f"https://tickets.contoso.com:4443{PIN_PATH}")),
                [ended(), asks_ticket(4, **there)],
            ),
        ],
    )


# --- no answer ---

CONNECT_REASONS = {
    ConnectFailure.REFUSED: FailureReason.WEB_SERVICES_REFUSED,
    ConnectFailure.UNREACHABLE: FailureReason.WEB_SERVICES_REFUSED,
    ConnectFailure.CLOSED: FailureReason.WEB_SERVICES_REFUSED,
    ConnectFailure.TIMEOUT: FailureReason.WEB_SERVICES_TIMEOUT,
    ConnectFailure.CERTIFICATE_EXPIRED: FailureReason.CERTIFICATE_EXPIRED,
    ConnectFailure.CERTIFICATE_NOT_YET_VALID: FailureReason.CERTIFICATE_NOT_YET_VALID,
    ConnectFailure.CERTIFICATE_WILDCARD: FailureReason.CERTIFICATE_WILDCARD,
    ConnectFailure.CERTIFICATE_NAME_MISMATCH: FailureReason.CERTIFICATE_NAME_MISMATCH,
    ConnectFailure.CERTIFICATE_UNTRUSTED: FailureReason.CERTIFICATE_UNTRUSTED,
    ConnectFailure.CERTIFICATE_ISSUER_MISSING: FailureReason.CERTIFICATE_ISSUER_MISSING,
    ConnectFailure.CHAIN_UNUSABLE: FailureReason.CHAIN_UNUSABLE,
    ConnectFailure.TLS_VERSION_REFUSED: FailureReason.TLS_VERSION_REFUSED,
    ConnectFailure.TLS_FAILED: FailureReason.TLS_FAILED,
    ConnectFailure.MALFORMED: FailureReason.MALFORMED_ANSWER,
}
TRANSIENT = {
    ConnectFailure.REFUSED,
    ConnectFailure.UNREACHABLE,
    ConnectFailure.CLOSED,
    ConnectFailure.TIMEOUT,
}


@pytest.mark.parametrize("stage", STAGES)
@pytest.mark.parametrize("kind", ConnectFailure)
def test_every_way_to_have_no_answer_has_its_reason(stage, kind):
    machine, number = at_stage(stage, attempts=1)
    play(
        machine,
        [
            (
                1.0,
                failure(number, kind),
                [
                    matching(log.HTTP_FAILED, failure=kind, detail="it broke"),
                    ended(1, None),
                    failed(stage, CONNECT_REASONS[kind], containing("it broke")),
                ],
            ),
            (1.0, None, []),
        ],
    )


@pytest.mark.parametrize("kind", sorted(TRANSIENT))
def test_what_may_pass_is_tried_again_at_the_next_address(kind):
    machine, _ = at_stage(Stage.CHAIN, attempts=3)
    play(
        machine,
        [
            (1.0, failure(1, kind), [matching(log.HTTP_FAILED)]),
            (1.0, None, [(6.0, "repeat the request")]),
            (5.9, TIMER, []),
            (6.0, TIMER, [matching(log.HTTP_SENT, attempt=2), asks_chain(2, address=WEB2, at=6.0)]),
            (7.0, failure(2, kind), []),
            (12.0, TIMER, [asks_chain(3, address=WEB, at=12.0)]),
            (13.0, failure(3, kind), [ended(3, None), failed(Stage.CHAIN, CONNECT_REASONS[kind])]),
        ],
    )


@pytest.mark.parametrize("kind", sorted(set(ConnectFailure) - TRANSIENT))
def test_what_will_not_pass_is_not_tried_again(kind):
    machine, _ = at_stage(Stage.CHAIN, attempts=3)
    play(
        machine,
        [(1.0, failure(1, kind), [ended(1, None), failed(Stage.CHAIN, CONNECT_REASONS[kind])])],
    )


def test_every_address_has_its_turn():
    machine = sign_in(attempts=9, retry_delay=1)
    machine.handle(wanted(), 0.0)
    outputs = machine.handle(found("10.0.0.21", "10.0.0.22", "10.0.0.23"), 0.0)
    asked = []
    for at in range(1, 5):
        (sent,) = [item for item in outputs if isinstance(item, SendHttp)]
        asked.append(sent.address)
        machine.handle(failure(sent.exchange_id, ConnectFailure.REFUSED), at)
        outputs = machine.handle(TIMER, at + 1)
    assert asked == ["10.0.0.21", "10.0.0.22", "10.0.0.23", "10.0.0.21"]


def test_a_request_that_is_repeated_is_the_same_request():
    machine, _ = at_stage(Stage.TICKET)
    machine.handle(failure(4, ConnectFailure.CLOSED), 0.0)
    (sent,) = [item for item in machine.handle(TIMER, 5.0) if isinstance(item, SendHttp)]
    assert sent.request.message == TOKEN_REQUEST


def test_a_certificate_request_that_is_repeated_has_a_message_id_of_its_own():
    machine, number = at_stage(Stage.CERTIFICATE)
    machine.handle(failure(number, ConnectFailure.TIMEOUT), 0.0)
    (sent,) = [item for item in machine.handle(TIMER, 5.0) if isinstance(item, SendHttp)]
    expected = msgspec.structs.replace(CERTIFICATE_REQUEST, message_id=uuid(4))
    assert sent.request.message == expected
    machine.handle(certificate_answer(sent.exchange_id), 6.0)
    outputs = machine.handle(checked(), 6.0)
    assert any(isinstance(item, CertificateIssued) for item in outputs)


@pytest.mark.parametrize("problem", ["it cannot be read", "it is that of bob"])
def test_a_certificate_of_no_use_is_refused(problem):
    machine, number = at_stage(Stage.CERTIFICATE)
    machine.handle(certificate_answer(number), 0.0)
    reason = FailureReason.CERTIFICATE_UNUSABLE
    play(
        machine,
        [
            (1.0, checked(b"another one"), []),
            (
                1.0,
                checked(problem=problem),
                [failed(Stage.CERTIFICATE, reason, containing(problem))],
            ),
            (1.0, checked(), []),
        ],
    )


def test_a_renewed_certificate_of_no_use_leaves_the_phone_its_own():
    machine = renewing(in_background=True)
    machine.handle(answer(3, ticket()), 0.0)
    machine.handle(made(), 0.0)
    machine.handle(certificate_answer(4), 0.0)
    outputs = machine.handle(checked(problem="it is for another key"), 0.0)
    assert outputs == [failed(Stage.CERTIFICATE, FailureReason.CERTIFICATE_UNUSABLE)]


# --- answers that are none ---


@pytest.mark.parametrize("status", [503, 408])
@pytest.mark.parametrize(
    ("retry_after", "pause"),
    [(None, 5.0), (0, 5.0), (3, 5.0), (30, 30.0), (10**400, 3600.0), (-9, 5.0)],
)
def test_a_busy_server_is_asked_again_when_it_says(status, retry_after, pause):
    machine, _ = at_stage(Stage.CHAIN)
    play(
        machine,
        [
            (1.0, answer(1, None, status, retry_after), [matching(log.HTTP_ANSWER, status=status)]),
            (1.0, None, [(1.0 + pause, "repeat the request")]),
            (1.0 + pause, TIMER, [like(SendHttp, exchange_id=2)]),
            (
                2.0 + pause,
                chain_answer(2),
                [
                    ended(2, 2.0 + pause),
                    StageEnded(stage=Stage.CHAIN),
                    StageEntered(stage=Stage.TICKET),
                    like(SendHttp),
                ],
            ),
        ],
    )


@pytest.mark.parametrize("stage", STAGES)
@pytest.mark.parametrize(
    ("status", "reason"),
    [
        (301, FailureReason.WEB_SERVICES_FAULT),
        (400, FailureReason.WEB_SERVICES_FAULT),
        (401, FailureReason.WEB_SERVICES_FAULT),
        (403, FailureReason.WEB_SERVICES_FAULT),
        (404, FailureReason.WEB_SERVICES_NOT_FOUND),
        (408, FailureReason.WEB_SERVICES_FAULT),
        (500, FailureReason.WEB_SERVICES_UNAVAILABLE),
        (502, FailureReason.WEB_SERVICES_UNAVAILABLE),
        (503, FailureReason.WEB_SERVICES_UNAVAILABLE),
        (200, FailureReason.MALFORMED_ANSWER),
    ],
)
def test_every_status_without_a_soap_answer_has_its_reason(stage, status, reason):
    machine, number = at_stage(stage, attempts=1)
    play(machine, [(1.0, answer(number, None, status), [ended(1, 1.0), failed(stage, reason)])])


@pytest.mark.parametrize("stage", STAGES)
def test_the_answer_to_another_operation_is_malformed(stage):
    machine, number = at_stage(stage)
    others = {
        Stage.CHAIN: ticket(),
        Stage.TICKET: GetRootCertChainsResponse(chain=CHAIN),
        Stage.CERTIFICATE: ticket(),
    }
    play(
        machine,
        [
            (
                1.0,
                answer(number, others[stage]),
                [
                    ended(1, 1.0),
                    failed(
                        stage,
                        FailureReason.MALFORMED_ANSWER,
                        containing("HTTP 200", type(others[stage]).__name__),
                    ),
                ],
            )
        ],
    )


@pytest.mark.parametrize(
    ("stage", "reason"),
    [
        (Stage.CHAIN, FailureReason.CHAIN_UNUSABLE),
        (Stage.TICKET, FailureReason.WEB_SERVICES_FAULT),
        (Stage.CERTIFICATE, FailureReason.CERTIFICATE_NOT_ISSUED),
    ],
)
def test_a_fault_has_the_reason_of_its_stage(stage, reason):
    machine, number = at_stage(stage)
    fault = SoapFault(code="RequestFailed", reason="no", error_id=28000, error_reason="not today")
    play(
        machine,
        [
            (
                1.0,
                answer(number, fault, 500),
                [
                    matching(log.HTTP_ANSWER, status=500, detail="fault RequestFailed: no"),
                    log.TICKET_REFUSED("RequestFailed", 28000, "not today"),
                    ended(1, 1.0),
                    failed(stage, reason, containing("not today")),
                ],
            )
        ],
    )


def test_diagnostics_in_the_header_are_logged():
    machine, number = at_stage(Stage.TICKET)
    said = WebDiagnostics(error_id=28020, source="fe01", reason="No token.", faultcode="wsse:X")
    response = HttpResponse(status=400, diagnostics=said)
    play(
        machine,
        [
            (
                1.0,
                HttpResponseReceived(exchange_id=number, response=response),
                [
                    matching(log.HTTP_ANSWER, status=400),
                    log.WEB_DIAGNOSTICS(28020, "fe01", "wsse:X", "No token."),
                    ended(1, 1.0),
                    failed(Stage.TICKET, FailureReason.WEB_SERVICES_FAULT, containing("No token.")),
                ],
            )
        ],
    )


def test_a_fault_without_diagnostics_is_told_by_its_reason():
    machine, number = at_stage(Stage.TICKET)
    fault = SoapFault(code="FailedAuthentication", reason="try later")
    told = log.TICKET_REFUSED("FailedAuthentication", 0, "try later")
    play(machine, [(1.0, answer(number, fault, 500), [told, ended(1, 1.0), like(SignInFailed)])])


@pytest.mark.parametrize(
    ("pin_failure", "reason"),
    [
        ("IncorrectPin", FailureReason.PIN_INCORRECT),
        ("Unauthorized", FailureReason.USER_UNAUTHORIZED),
        ("UserPinAccountLocked", FailureReason.PIN_LOCKED),
        ("UserPinAccountDisabled", FailureReason.USER_DISABLED),
        ("PinExpired", FailureReason.PIN_EXPIRED),
        ("PinNotSet", FailureReason.PIN_NOT_SET),
        ("PinNotEnabledForUser", FailureReason.PIN_NOT_ENABLED),
        ("PinNotUnique", FailureReason.PIN_NOT_UNIQUE),
        ("NonUniqueUser", FailureReason.USER_NOT_UNIQUE),
        ("UserDoesNotExist", FailureReason.USER_UNKNOWN),
        ("SomethingNew", FailureReason.WEB_SERVICES_FAULT),
    ],
)
def test_every_pin_failure_has_its_reason(pin_failure, reason):
    machine, number = at_stage(Stage.TICKET)
    fault = SoapFault(code="FailedAuthentication", reason="refused", pin_failure=pin_failure)
    play(
        machine,
        [
            (
                1.0,
                answer(number, fault, 500),
                [
                    matching(log.TICKET_REFUSED, reason=pin_failure),
                    ended(1, 1.0),
                    failed(Stage.TICKET, reason),
                ],
            )
        ],
    )


def test_an_empty_chain_is_of_no_use():
    machine, _ = at_stage(Stage.CHAIN)
    empty = GetRootCertChainsResponse(chain=b"")
    play(
        machine,
        [
            (
                1.0,
                answer(1, empty),
                [ended(1, 1.0), failed(Stage.CHAIN, FailureReason.CHAIN_UNUSABLE)],
            )
        ],
    )


@pytest.mark.parametrize(
    "fields",
    [
        {"context": uuid(9)},
        {"sip_uri": None},
        {"sip_uri": ""},
        {"sip_uri": "sip:"},
        {"sip_uri": "sip:@contoso.com"},
        {"sip_uri": "sip:user@"},
        {"sip_uri": "tel:+14255550001"},
        {"sip_uri": "sip:a@contoso.com\r\nX-Evil: yes"},
        {"sip_uri": "sip:a b@contoso.com"},
        {"sip_uri": "sip:a@contoso.com>"},
    ],
    ids=str,
)
def test_a_ticket_for_another_request_or_for_no_user_is_malformed(fields):
    machine, _ = at_stage(Stage.TICKET)
    play(
        machine,
        [
            (
                1.0,
                answer(4, ticket(**fields)),
                [ended(1, 1.0), failed(Stage.TICKET, FailureReason.MALFORMED_ANSWER)],
            )
        ],
    )


# --- late ---


def test_the_last_answer_counts_once():
    machine, number = at_stage(Stage.CERTIFICATE)
    machine.handle(certificate_answer(), 0.0)
    play(machine, [(1.0, certificate_answer(), [matching(log.HTTP_IGNORED)])])
    machine, number = at_stage(Stage.CHAIN)
    machine.handle(answer(number, None, 404), 0.0)
    play(machine, [(1.0, answer(number, None, 404), [matching(log.HTTP_IGNORED)])])


def test_answers_to_no_open_request_are_dropped_with_a_record():
    machine, _ = at_stage(Stage.TICKET)
    machine.handle(failure(4, ConnectFailure.TIMEOUT), 0.0)
    machine.handle(TIMER, 5.0)
    play(
        machine,
        [
            (5.1, answer(4, ticket()), [matching(log.HTTP_IGNORED, detail=containing("200"))]),
            (5.1, failure(4, ConnectFailure.CLOSED), [matching(log.HTTP_IGNORED)]),
            (
                5.2,
                answer(5, ticket()),
                [
                    ended(2, 5.2),
                    StageEnded(stage=Stage.TICKET),
                    StageEntered(stage=Stage.CERTIFICATE),
                    like(MakeCertificateRequest),
                ],
            ),
        ],
    )


@pytest.mark.parametrize("stage", STAGES)
def test_what_is_abandoned_is_over(stage):
    machine, number = at_stage(stage)
    machine.handle(WorkAbandoned(), 0.0)
    play(
        machine,
        [
            (1.0, None, []),
            (1.0, answer(number, None, 404), [matching(log.HTTP_IGNORED)]),
            (1.0, failure(number, ConnectFailure.TIMEOUT), [matching(log.HTTP_IGNORED)]),
            (1.0, found(WEB), []),
            (1.0, made(), []),
            (9.0, TIMER, []),
        ],
    )


def test_a_certificate_request_for_someone_else_is_dropped():
    machine, _ = at_stage(Stage.TICKET)
    machine.handle(answer(4, ticket()), 0.0)
    other = CertificateRequestMade(subject="other@contoso.com", csr=CSR)
    play(machine, [(0.0, other, []), (0.0, made(), [like(SendHttp)])])


def test_signing_in_again_begins_with_the_chain():
    machine, _ = at_stage(Stage.CERTIFICATE)
    machine.handle(certificate_answer(), 0.0)
    play(
        machine,
        [
            (9.0, wanted(), [StageEntered(stage=Stage.CHAIN), LOOKUP]),
            (9.0, found(WEB), [asks_chain(6, at=9.0)]),
        ],
    )


@pytest.mark.parametrize("seed", range(20))
def test_the_ids_of_requests_are_random_uuids(seed):
    machine = SignIn(SignInConfig(), MAC, NUMBER, PIN, random.Random(seed), lambda now: now)
    machine.handle(wanted(), 0.0)
    machine.handle(found(WEB), 0.0)
    machine.handle(chain_answer(), 0.0)
    machine.handle(answer(2, provisioning()), 0.0)
    outputs = machine.handle(answer(3, issuer()), 0.0)
    (sent,) = [item for item in outputs if isinstance(item, SendHttp)]
    context = standard.UUID(sent.request.message.context)
    assert (context.version, context.variant) == (4, standard.RFC_4122)


# --- renewal ---

IDENTITY = CertificateIssued(sip_uri=SIP_URI, certificate=b"old", chain=CHAIN)
CERT_PATH = f"{TICKET_PATH}/AnyOtherName"


def both_ports():
    ports = (
        *issuer().ports,
        ServicePort(name=CERTIFICATE_PORT, location=f"https://{HOST}{CERT_PATH}"),
    )
    return ServiceMetadata(service="WebTicketService", ports=ports)


def renewal_wanted(**fields):
    return SignInWanted(web_services=services(), source=ME, identity=IDENTITY, **fields)


def signed_request(at):
    created = int(EPOCH + at)
    return RequestSecurityToken(
        context=uuid(1),
        applies_to=PROOF_URL,
        entropy=bytes(range(32)),
        credential=CertificateCredential(
            created=created,
            expires=created + 300,
            signature=CertificateSignature(
                certificate=b"old",
                signed_info=certificate_signed_info(created, created + 300),
                value=b"a signature",
            ),
        ),
        sip_uri=SIP_URI,
    )


def test_a_certificate_is_renewed_with_its_own_key():
    data = certificate_signed_info(int(EPOCH), int(EPOCH) + 300)
    play(
        sign_in(),
        [
            (
                0.0,
                renewal_wanted(),
                [
                    StageEntered(stage=Stage.CHAIN),
                    StageEnded(stage=Stage.CHAIN, skipped=True),
                    StageEntered(stage=Stage.TICKET),
                    log.RENEWAL_STARTED(SIP_URI),
                    LOOKUP,
                ],
            ),
            (0.0, found(WEB), [asks_metadata(1, PATH)]),
            (0.0, answer(1, provisioning()), [ended(), asks_metadata(2, TICKET_PATH)]),
            (
                0.0,
                answer(2, both_ports()),
                [
                    log.SERVICE_PORT(CERTIFICATE_PORT, f"https://{HOST}{CERT_PATH}"),
                    ended(),
                    SignWithKey(subject="user00001@contoso.com", data=data),
                ],
            ),
            (
                1.0,
                DataSigned(data=data, signature=b"a signature"),
                [posts(3, signed_request(0.0), path=CERT_PATH, at=1.0)],
            ),
            (
                1.0,
                answer(3, ticket()),
                [
                    ended(),
                    StageEnded(stage=Stage.TICKET),
                    StageEntered(stage=Stage.CERTIFICATE),
                    MakeCertificateRequest(subject="user00001@contoso.com"),
                ],
            ),
            (1.0, made(), [posts(4, CERTIFICATE_REQUEST, path=PROOF_PATH, at=1.0)]),
            (
                1.0,
                certificate_answer(4),
                [ended(), CHECK],
            ),
            (
                1.0,
                checked(),
                [
                    StageEnded(stage=Stage.CERTIFICATE),
                    ISSUED,
                ],
            ),
        ],
    )


def test_in_the_background_no_stage_of_a_boot_is_entered():
    machine = renewing(in_background=True)
    outputs = machine.handle(answer(3, ticket()), 0.0)
    outputs += machine.handle(made(), 0.0)
    outputs += machine.handle(certificate_answer(4), 0.0)
    outputs += machine.handle(checked(), 0.0)
    assert not [each for each in outputs if isinstance(each, StageEntered | StageEnded)]
    assert [each for each in outputs if isinstance(each, CertificateIssued)]


def renewing(metadata=None, **fields):
    """A renewal that waits for its ticket, if there is a port for it."""
    machine = sign_in()
    machine.handle(renewal_wanted(**fields), 0.0)
    machine.handle(found(WEB), 0.0)
    machine.handle(answer(1, provisioning()), 0.0)
    if metadata is None:
        outputs = machine.handle(answer(2, both_ports()), 0.0)
        (sign,) = [each for each in outputs if isinstance(each, SignWithKey)]
        machine.handle(DataSigned(data=sign.data, signature=b"a signature"), 0.0)
    return machine


REFUSED = SoapFault(code="InvalidSecurityToken", reason="not this one")


@pytest.mark.parametrize(
    ("event", "reason"),
    [
        (answer(3, REFUSED, 500), FailureReason.WEB_SERVICES_FAULT),
        (answer(3, None, 404), FailureReason.WEB_SERVICES_NOT_FOUND),
        (answer(3, ticket(sip_uri=None)), FailureReason.MALFORMED_ANSWER),
        (failure(3, ConnectFailure.TLS_FAILED), FailureReason.TLS_FAILED),
    ],
)
def test_a_certificate_that_is_refused_makes_way_for_the_pin(event, reason):
    refused = matching(log.RENEWAL_REFUSED, reason=reason)
    over = like(ExchangeEnded)
    play(
        renewing(),
        [
            (0.0, event, [refused, over, asks_metadata(4, PATH)]),
            (0.0, answer(4, provisioning()), [over, asks_metadata(5, TICKET_PATH)]),
            (0.0, answer(5, both_ports()), [over, like(SendHttp, exchange_id=6)]),
            (
                0.0,
                answer(6, REFUSED, 500),
                [over, failed(Stage.TICKET, FailureReason.WEB_SERVICES_FAULT)],
            ),
        ],
    )


def test_the_pin_that_follows_is_the_users():
    machine = renewing()
    machine.handle(answer(3, REFUSED, 500), 0.0)
    machine.handle(answer(4, provisioning()), 0.0)
    outputs = machine.handle(answer(5, both_ports()), 0.0)
    (sent,) = [each for each in outputs if isinstance(each, SendHttp)]
    asked = sent.request.message
    assert (asked.credential, asked.sip_uri) == (PinCredential(number=NUMBER, pin=PIN), None)
    assert sent.request.path == PIN_PATH


def test_without_a_port_for_certificates_the_pin_is_used():
    machine = renewing(metadata=issuer())
    play(
        machine,
        [
            (
                0.0,
                answer(2, issuer()),
                [
                    matching(log.RENEWAL_REFUSED, detail=containing(CERTIFICATE_PORT)),
                    ended(),
                    asks_metadata(3, PATH),
                ],
            )
        ],
    )


def test_without_its_key_a_certificate_is_of_no_use():
    machine = renewing(metadata=both_ports())
    machine.handle(answer(2, both_ports()), 0.0)
    signed = DataSigned(data=b"", signature=b"")
    play(machine, [(0.0, signed, [matching(log.RENEWAL_REFUSED), asks_metadata(3, PATH)])])


def test_a_signature_that_nobody_wants_is_dropped():
    machine, _ = at_stage(Stage.TICKET)
    play(machine, [(0.0, DataSigned(data=b"", signature=b"x"), [])])


# --- with a password ---

CREDENTIALS = WindowsCredentials(sip_uri=SIP_URI, user_name="CONTOSO\\staff1", password="secret")


def windows_ports(*names):
    ports = (
        *both_ports().ports,
        *(ServicePort(name=name, location=f"https://{HOST}{TICKET_PATH}/{name}") for name in names),
    )
    return ServiceMetadata(service="WebTicketService", ports=ports)


def tethered(metadata, event=None):
    """What a phone with a tether does when it has read the issuer's metadata."""
    machine = SignIn(SignInConfig(), MAC, NUMBER, PIN, Dice(), EPOCH.__add__, CREDENTIALS)
    machine.handle(event or wanted(), 0.0)
    machine.handle(found(WEB), 0.0)
    if event is None:
        machine.handle(chain_answer(), 0.0)
    machine.handle(answer(1 if event else 2, provisioning()), 0.0)
    return machine, machine.handle(answer(2 if event else 3, metadata), 0.0)


BY_PASSWORD = msgspec.structs.replace(TOKEN_REQUEST, credential=None, sip_uri=SIP_URI)


@pytest.mark.parametrize(
    ("offered", "taken"),
    [
        ([NEGOTIATE_PORT], NEGOTIATE_PORT),
        ([NTLM_PORT], NTLM_PORT),
        ([NTLM_PORT, NEGOTIATE_PORT], NEGOTIATE_PORT),
    ],
)
def test_a_password_goes_to_the_port_for_it_and_not_into_the_message(offered, taken):
    _, outputs = tethered(windows_ports(*offered))
    path = f"{TICKET_PATH}/{taken}"
    assert log.SERVICE_PORT(taken, f"https://{HOST}{path}") in outputs
    assert posts(4, BY_PASSWORD, path=path) in outputs


def test_without_a_port_for_passwords_there_is_no_sign_in():
    _, outputs = tethered(windows_ports())
    detail = f"WebTicketService has no port {NEGOTIATE_PORT}"
    assert failed(Stage.TICKET, FailureReason.WEB_SERVICES_UNUSABLE, detail) in outputs


def test_a_password_that_is_not_accepted_ends_the_sign_in():
    machine, _ = tethered(windows_ports(NTLM_PORT))
    offers = HttpResponse(status=401, challenges=(HttpToken("NTLM"),))
    challenge = encode_challenge(NtlmChallenge(flags=HTTP_FLAGS, server_challenge=bytes(8)))
    asked = HttpResponse(status=401, challenges=(HttpToken("NTLM", challenge),))
    over, again = like(ExchangeEnded), like(SendHttp)
    play(
        machine,
        [
            (0.0, HttpResponseReceived(exchange_id=4, response=offers), [over, again]),
            (0.0, HttpResponseReceived(exchange_id=5, response=asked), [over, again]),
            (
                0.0,
                HttpResponseReceived(exchange_id=6, response=offers),
                [over, failed(Stage.TICKET, FailureReason.PASSWORD_INCORRECT)],
            ),
            (0.0, None, []),
        ],
    )


def test_a_user_who_may_not_sign_in_is_told_by_the_error_id():
    machine, _ = tethered(windows_ports(NEGOTIATE_PORT))
    fault = SoapFault(code="RequestFailed", reason="no", error_id=4141, error_reason="Disabled.")
    outputs = machine.handle(answer(4, fault, 500), 0.0)
    assert failed(Stage.TICKET, FailureReason.USER_DISABLED) in outputs


def test_a_certificate_is_renewed_with_its_key_and_else_with_the_password():
    machine, outputs = tethered(windows_ports(NEGOTIATE_PORT), renewal_wanted())
    (sign,) = [each for each in outputs if isinstance(each, SignWithKey)]
    machine.handle(DataSigned(data=sign.data, signature=b"a signature"), 0.0)
    machine.handle(answer(3, REFUSED, 500), 0.0)
    machine.handle(answer(4, provisioning()), 0.0)
    outputs = machine.handle(answer(5, windows_ports(NEGOTIATE_PORT)), 0.0)
    (sent,) = [each for each in outputs if isinstance(each, SendHttp)]
    assert sent.request.path == f"{TICKET_PATH}/{NEGOTIATE_PORT}"
    assert sent.request.message.credential is None
