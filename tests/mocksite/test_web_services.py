import hashlib
import random

import msgspec
import pytest

from phonesim.config.site_profile import UserRange, WebServicesConfig
from phonesim.mocksite.exchange import HttpReceived, MalformedArrived, Report, SendHttpResponse
from phonesim.mocksite.refusal import NO_SECURITY_TOKEN
from phonesim.mocksite.users import UserDirectory
from phonesim.mocksite.web_services import WebServices
from phonesim.mocksite.web_tickets import CLOCK_SKEW, MESSAGES_LIMIT
from phonesim.wire.cert_provisioning import (
    GetAndPublishCert,
    GetAndPublishCertResponse,
    GetRootCertChains,
    GetRootCertChainsResponse,
    KeyProof,
)
from phonesim.wire.http import HttpRequest, HttpResponse, WebDiagnostics
from phonesim.wire.http_token import NEGOTIATE, NTLM, HttpToken
from phonesim.wire.message_signature import CertificateSignature, certificate_signed_info
from phonesim.wire.ntlm import (
    HTTP_FLAGS,
    NtlmNegotiate,
    answer_over_connection,
    encode_negotiate,
)
from phonesim.wire.saml_assertion import Assertion, decode_assertion, encode_assertion
from phonesim.wire.web_services_metadata import (
    NEGOTIATE_PORT,
    NTLM_PORT,
    PIN_PORT,
    PROOF_PORT,
    GetMetadata,
)
from phonesim.wire.web_ticket import (
    CertificateCredential,
    PinCredential,
    RequestSecurityToken,
    RequestSecurityTokenResponse,
    proof_key,
)

EPOCH = 1_767_596_400
PROVISIONING = "/CertProv/CertProvisioningService.svc"
TICKET = "/WebTicket/WebTicketService.svc/Pin"
PROOF = f"{PROVISIONING}/WebTicket_Proof"
URL = f"https://web.contoso.com:443{PROOF}"
ENTROPY = bytes(range(32))
LIFETIME = 28800

USERS = (
    UserRange(sip_uri="sip:alice@contoso.com", number="+14255550001", pin="24680"),
    UserRange(sip_uri="sip:bob@contoso.com", number="4711", pin="13579"),
    UserRange(sip_uri="sip:carol@contoso.com", number="4711", pin="97531"),
    UserRange(sip_uri="sip:dave@contoso.com", number="4712", pin="11223"),
    UserRange(sip_uri="sip:erin@contoso.com", number="4712", pin="11223"),
)


@pytest.fixture
def site(authority):
    return Site(authority)


class Site:
    """The services with a directory, and a phone that talks to them."""

    def __init__(self, authority, ranges=USERS, **config):
        self.authority = authority
        self.users = UserDirectory(ranges)
        self.services = WebServices(
            WebServicesConfig(name="web01", address="10.0.0.20", fqdn="web.contoso.com", **config),
            self.users,
            authority,
            random.Random(1),
            EPOCH,
        )

    def post(self, message, path=PROVISIONING, *, scheme="https", now=0.0, authorization=None):
        request = HttpRequest(
            scheme=scheme,
            host="web.contoso.com",
            port=443 if scheme == "https" else 80,
            path=path,
            message=message,
            authorization=authorization,
        )
        event = HttpReceived(exchange_id=5, request=request, peer="10.0.0.100")
        sent, *reports = self.services.handle(event, now)
        assert isinstance(sent, SendHttpResponse)
        assert sent.exchange_id == 5
        assert all(isinstance(report, Report) for report in reports)
        if sent.response.status != 401:
            assert bool(reports) == (sent.response.status != 200)
        self.reports = reports
        return sent.response

    def ask(self, number="+14255550001", pin="24680", *, now=0.0, **fields):
        values = {"context": "c", "applies_to": URL, "entropy": ENTROPY, **fields}
        message = RequestSecurityToken(credential=PinCredential(number=number, pin=pin), **values)
        return self.post(message, TICKET, now=now)

    def ticket(self, now=0.0):
        response = self.ask(now=now)
        assert response.status == 200
        return response.message

    def enrol(self, ticket, *, now=0.0, **fields):
        return self.post(publish(ticket, **fields), PROOF, now=now)

    def failure(self, *args, **fields):
        response = self.ask(*args, **fields)
        assert response.status == 500
        return response.message.pin_failure


def publish(ticket, **fields):
    values = {
        "to": URL,
        "message_id": "uuid:1",
        "device_id": "5d7c1d0e-0000-4000-8000-000000000001",
        "entity": "alice@contoso.com",
        "csr": b"alice@contoso.com",
        "request_id": "r",
        "assertion_id": ticket.assertion_id,
        "assertion": ticket.assertion,
        "created": ticket.created,
        "expires": ticket.expires,
        "proof": KeyProof(proof_key(ENTROPY, ticket.entropy)),
    }
    return GetAndPublishCert(**{**values, **fields})


@pytest.mark.parametrize("scheme", ["http", "https"])
@pytest.mark.parametrize("path", [PROVISIONING, PROVISIONING.lower()])
def test_anyone_gets_the_chain(site, scheme, path):
    assert site.post(GetRootCertChains(), path, scheme=scheme) == HttpResponse(
        status=200, message=GetRootCertChainsResponse(chain=b"chain of trust")
    )


def test_number_and_pin_make_a_web_ticket(site):
    ticket = site.ticket(now=10.9)
    assert isinstance(ticket, RequestSecurityTokenResponse)
    assert ticket.context == "c"
    assert (ticket.created, ticket.expires) == (EPOCH + 10, EPOCH + 10 + LIFETIME)
    assert ticket.sip_uri == "sip:alice@contoso.com"
    assert len(ticket.entropy) == 32
    signed = decode_assertion(ticket.assertion)
    assert signed.assertion == Assertion(
        assertion_id=ticket.assertion_id,
        issuer="web.contoso.com",
        name="sip:alice@contoso.com",
        audience=URL,
        not_before=ticket.created,
        not_on_or_after=ticket.expires,
    )
    assert site.authority.has_signed(signed.signed_info, signed.signature)


def test_every_ticket_is_another(site):
    first, second = site.ticket(), site.ticket()
    assert first.assertion_id != second.assertion_id
    assert first.entropy != second.entropy


def test_a_ticket_makes_a_certificate_that_is_published(site):
    ticket = site.ticket()
    response = site.enrol(ticket, now=60)
    until = EPOCH + 60 + 4320 * 3600
    certificate = b"CERTIFICATE|alice@contoso.com|%d|%d" % (EPOCH + 60, until)
    assert response.message == GetAndPublishCertResponse(
        certificate=certificate,
        device_id="5d7c1d0e-0000-4000-8000-000000000001",
        entity="alice@contoso.com",
    )
    alice = site.users.by_sip_uri("sip:alice@contoso.com")
    assert site.users.is_published(alice, certificate)


def test_a_ticket_can_be_used_again_until_it_expires(site):
    ticket = site.ticket()
    for now in (0, 60, LIFETIME - 1):
        assert site.enrol(ticket, now=now, message_id=f"uuid:{now}").status == 200
    assert site.enrol(ticket, now=LIFETIME, message_id="uuid:late").status == 500


@pytest.mark.parametrize(
    ("message", "path", "scheme", "status"),
    [
        (GetRootCertChains(), "/CertProv/", "https", 404),
        (GetRootCertChains(), "/", "http", 404),
        (RequestSecurityToken, TICKET, "http", 403),
        (GetAndPublishCert, PROOF, "http", 403),
        (RequestSecurityToken, PROOF, "https", 500),
        (GetAndPublishCert, TICKET, "https", 500),
        (GetRootCertChains(), TICKET, "https", 500),
    ],
)
def test_a_message_at_the_wrong_place_is_refused(site, message, path, scheme, status):
    if message is RequestSecurityToken:
        message = RequestSecurityToken(
            context="c",
            applies_to=URL,
            credential=PinCredential(number="+14255550001", pin="24680"),
            entropy=ENTROPY,
        )
    elif message is GetAndPublishCert:
        message = publish(site.ticket())
    response = site.post(message, path, scheme=scheme)
    assert response.status == status
    assert (response.message is None) == (status != 500)


@pytest.mark.parametrize(
    "fields",
    [
        {"applies_to": "https://other.contoso.com:443" + PROVISIONING},
        {"applies_to": "http://web.contoso.com:80" + PROVISIONING},
        {"applies_to": "https://web.contoso.com:443/"},
        {"applies_to": ""},
        {"entropy": b""},
        {"entropy": ENTROPY + b"x"},
    ],
)
def test_a_ticket_request_for_something_else_is_refused(site, fields):
    fault = site.ask(**fields).message
    assert (fault.code, fault.pin_failure) == ("InvalidRequest", None)


@pytest.mark.parametrize(
    "applies_to", [URL.lower(), URL.replace(":443", ""), URL.replace("web.", "updates.")]
)
def test_other_spellings_and_names_of_the_service_will_do(authority, applies_to):
    site = Site(authority, certificate_names=("updates.contoso.com",))
    assert site.ask(applies_to=applies_to).status == 200


def test_a_port_that_is_not_the_default_has_to_be_written(authority):
    site = Site(authority, https_port=4443)
    assert site.ask(applies_to=URL.replace(":443", "")).status == 500
    assert site.ask(applies_to=URL.replace(":443", ":4443")).status == 200


def test_error_ids_are_data(authority):
    fault = Site(authority).ask(pin="0").message
    assert (fault.code, fault.error_id, fault.error_reason) == ("FailedAuthentication", 0, "")
    fault = Site(authority, error_ids={"IncorrectPin": 28999}).ask(pin="0").message
    assert (fault.error_id, fault.error_reason) == (28999, fault.reason)


@pytest.mark.parametrize(
    ("fields", "code"),
    [
        ({"assertion_id": "another"}, "InvalidSecurityToken"),
        ({"assertion": b"<forged/>"}, "InvalidSecurityToken"),
        ({"created": EPOCH - CLOCK_SKEW - 1}, "InvalidSecurityToken"),
        ({"expires": EPOCH + LIFETIME + CLOCK_SKEW + 1}, "InvalidSecurityToken"),
        ({"proof": KeyProof(bytes(32))}, "FailedCheck"),
        ({"to": "https://other.contoso.com:443" + PROVISIONING}, "RequestFailed"),
        ({"entity": "bob@contoso.com"}, "RequestFailed"),
        ({"entity": "sip:alice@contoso.com"}, "RequestFailed"),
        ({"csr": b"bob@contoso.com"}, "RequestFailed"),
        ({"csr": b""}, "RequestFailed"),
    ],
)
def test_a_certificate_request_that_is_not_right_is_refused(site, fields, code):
    ticket = site.ticket()
    response = site.enrol(ticket, **fields)
    assert response.status == 500
    fault = response.message
    assert fault.code == code
    assert fault.error_id == (NO_SECURITY_TOKEN if code == "InvalidSecurityToken" else 0)
    # Nothing was spoilt: the honest request still works.
    assert site.enrol(ticket).status == 200


def resigned(site, ticket, sign=None, **fields):
    """The ticket's assertion, saying something else, signed by the site or by `sign`."""
    said = decode_assertion(ticket.assertion).assertion
    assertion = msgspec.structs.replace(said, **fields)
    return encode_assertion(assertion, sign or site.authority.sign, b"CERTIFICATE")


@pytest.mark.parametrize(
    ("fields", "why"),
    [
        ({"sign": lambda data: b"mine"}, "was not signed here"),
        ({"audience": "https://other.contoso.com/"}, "is for another service"),
        ({"not_before": EPOCH + CLOCK_SKEW + 1}, "is not yet valid"),
        ({"not_on_or_after": EPOCH}, "has expired"),
        ({"not_before": EPOCH, "not_on_or_after": EPOCH + 1}, "outside the web ticket's lifetime"),
    ],
)
def test_an_assertion_is_taken_for_what_it_says_and_who_signed_it(site, fields, why):
    ticket = site.ticket()
    response = site.enrol(ticket, assertion=resigned(site, ticket, **fields))
    assert response.message.code == "InvalidSecurityToken"
    assert why in site.reports[0].text


def test_the_signature_has_to_name_the_assertion_that_comes_with_it(site):
    first, second = site.ticket(), site.ticket()
    site.enrol(first, assertion=second.assertion)
    assert "the signature names another assertion" in site.reports[0].text


def test_an_assertion_whose_key_was_forgotten_is_of_no_use(site):
    ticket = site.ticket()
    forgotten = resigned(site, ticket, assertion_id="other")
    response = site.enrol(ticket, assertion=forgotten, assertion_id="other")
    assert response.message.code == "InvalidSecurityToken"
    assert "key of the assertion is not known" in site.reports[0].text


def test_a_ticket_is_used_up_in_the_end(site):
    ticket = site.ticket()
    for number in range(MESSAGES_LIMIT):
        assert site.enrol(ticket, message_id=f"uuid:{number}").status == 200
    assert site.enrol(ticket, message_id="uuid:more").status == 500
    assert "used up" in site.reports[0].text


def test_metadata_say_where_the_ports_are(authority):
    site = Site(authority, proof_suffix="/P", pin_suffix="/Q", https_port=4443)
    provisioning = site.post(GetMetadata(), f"{PROVISIONING}/mex").message
    proof = provisioning.port(PROOF_PORT)
    web = "https://web.contoso.com:4443"
    assert (proof.location, proof.needs_proof) == (f"{web}{PROVISIONING}/P", True)
    assert proof.issuer == f"{web}/WebTicket/WebTicketService.svc"
    tickets = site.post(GetMetadata(), "/WebTicket/WebTicketService.svc/MEX").message
    assert tickets.port(PIN_PORT).location == f"{web}/WebTicket/WebTicketService.svc/Q"


@pytest.mark.parametrize(
    ("path", "scheme", "status"),
    [
        (PROVISIONING, "https", 405),
        (TICKET, "https", 405),
        (f"{PROVISIONING}/mex", "http", 403),
        (f"{TICKET}/mex", "https", 404),
    ],
)
def test_metadata_are_nowhere_else(site, path, scheme, status):
    assert site.post(GetMetadata(), path, scheme=scheme).status == status


def test_without_pin_authentication_there_is_no_port_for_pins(authority):
    site = Site(authority, use_pin_auth=False)
    tickets = site.post(GetMetadata(), "/WebTicket/WebTicketService.svc/mex").message
    assert tickets.port(PIN_PORT) is None
    assert site.ask().status == 404


def test_a_fault_with_an_error_id_says_it_in_the_header_too(authority):
    response = Site(authority, error_ids={"IncorrectPin": 28999}).ask(pin="0")
    assert response.diagnostics == WebDiagnostics(
        error_id=28999,
        source="web.contoso.com",
        reason="The PIN is not correct.",
        faultcode="wsse:FailedAuthentication",
    )
    assert Site(authority).ask(pin="0").diagnostics is None


@pytest.mark.parametrize(
    ("created", "expires", "is_now"),
    [(0, 100, False), (0, 101, True), (700, 800, True), (701, 800, False)],
)
def test_the_timestamp_has_to_be_now_give_or_take_the_skew(site, created, expires, is_now):
    ticket = site.ticket()
    response = site.enrol(ticket, now=400, created=EPOCH + created, expires=EPOCH + expires)
    if is_now:
        assert response.status == 200
    else:
        assert (response.status, response.message.code) == (500, "InvalidSecurity")


def test_a_message_is_taken_once(site):
    ticket = site.ticket()
    assert site.enrol(ticket).status == 200
    assert site.enrol(ticket).message.code == "RequestFailed"
    assert site.enrol(ticket, message_id="uuid:2").status == 200


def test_a_ticket_of_another_server_is_unknown(authority):
    ticket = Site(authority).ticket()
    fault = Site(authority).enrol(ticket).message
    assert (fault.code, fault.error_id) == ("InvalidSecurityToken", NO_SECURITY_TOKEN)


def test_expired_tickets_are_forgotten_when_new_ones_are_issued(site):
    old = site.ticket()
    recent = site.ticket(now=LIFETIME)
    site.ticket(now=LIFETIME + CLOCK_SKEW)
    assert site.enrol(old, now=LIFETIME + CLOCK_SKEW).message.code == "InvalidSecurityToken"
    assert site.enrol(recent, now=LIFETIME + CLOCK_SKEW).status == 200


def test_no_report_shows_a_pin(site):
    site.ask(pin="86420")
    assert site.reports
    assert not any("86420" in repr(report) for report in site.reports)
    assert ("number", "+14255550001") in site.reports[0].fields


def test_malformed_requests_are_reported(play, said, site):
    event = MalformedArrived(protocol="http", source="10.0.0.7", reason="no XML")
    play(site.services, [(0, event, [said("malformed")])])


def test_services_wait_for_nothing(site):
    assert site.services.next_deadline() is None


def test_the_same_seed_gives_the_same_tickets(authority):
    first, second = Site(authority).ticket(), Site(authority).ticket()
    assert msgspec.structs.asdict(first) == msgspec.structs.asdict(second)


# --- by certificate ---

CERT = "/WebTicket/WebTicketService.svc/Cert"


def signed(certificate, signer="alice@contoso.com", **fields):
    created = EPOCH + 60
    data = certificate_signed_info(created, created + 300)
    value = hashlib.sha1(signer.encode() + data).digest()
    credential = CertificateCredential(
        created=created,
        expires=created + 300,
        signature=CertificateSignature(certificate=certificate, signed_info=data, value=value),
    )
    values = {"context": "c", "applies_to": URL, "entropy": ENTROPY, "credential": credential}
    return RequestSecurityToken(**{**values, **fields})


def test_a_certificate_makes_the_ticket_for_the_next_one(site):
    first = site.enrol(site.ticket()).message.certificate
    response = site.post(signed(first, sip_uri="sip:Alice@contoso.com"), CERT, now=60)
    assert response.message.sip_uri == "sip:alice@contoso.com"
    second = site.enrol(response.message, now=61).message.certificate
    alice = site.users.by_sip_uri("sip:alice@contoso.com")
    assert site.users.is_published(alice, second)
    # The device has one certificate: the first does not count any more.
    assert site.post(signed(first), CERT, now=62).message.code == "InvalidSecurityToken"


def test_another_sip_uri_may_not_be_claimed(site):
    first = site.enrol(site.ticket()).message.certificate
    fault = site.post(signed(first, sip_uri="sip:bob@contoso.com"), CERT, now=60).message
    assert fault.reason.startswith("The SIP URI in the claim type requirements")


def test_each_port_takes_credentials_of_its_own(site):
    first = site.enrol(site.ticket()).message.certificate
    for message, path in (
        (signed(first), TICKET),
        (signed(first, credential=PinCredential(number="+14255550001", pin="24680")), CERT),
    ):
        response = site.post(message, path, now=60)
        assert response.message.code == "InvalidSecurityToken"
        assert response.diagnostics.error_id == NO_SECURITY_TOKEN


def test_without_certificate_authentication_there_is_no_port_for_certificates(authority):
    site = Site(authority, use_certificate_auth=False)
    tickets = site.post(GetMetadata(), "/WebTicket/WebTicketService.svc/mex").message
    assert [port.name for port in tickets.ports] == [PIN_PORT, NEGOTIATE_PORT]
    assert site.post(signed(b""), CERT).status == 404


# --- Windows authentication ---

WINDOWS = "/WebTicket/WebTicketService.svc"
ANYBODY = RequestSecurityToken(context="c", applies_to=URL, entropy=ENTROPY, credential=None)


def by_ntlm(site, message=ANYBODY, *, password="24680", user="alice@contoso.com", now=0.0):
    first = encode_negotiate(NtlmNegotiate(flags=HTTP_FLAGS))
    asked = site.post(None, WINDOWS, authorization=HttpToken(NTLM, first), now=now)
    (challenge,) = asked.challenges
    octets = answer_over_connection(
        first,
        challenge.octets,
        user=user,
        domain="",
        password=password,
        now=EPOCH,
        client_challenge=b"12345678",
    )
    return site.post(message, WINDOWS, authorization=HttpToken(NTLM, octets), now=now)


@pytest.mark.parametrize("sip_uri", [None, "sip:alice@contoso.com", "sip:Alice@CONTOSO.com"])
def test_ntlm_makes_a_web_ticket_and_a_certificate(site, sip_uri):
    ticket = by_ntlm(site, msgspec.structs.replace(ANYBODY, sip_uri=sip_uri)).message
    assert ticket.sip_uri == "sip:alice@contoso.com"
    assert site.enrol(ticket).status == 200


@pytest.mark.parametrize("message", [ANYBODY, None, GetMetadata()])
def test_nobody_is_told_how_to_say_who_one_is(site, message):
    response = site.post(message, WINDOWS)
    assert response == HttpResponse(status=401, challenges=(HttpToken(NEGOTIATE), HttpToken(NTLM)))
    assert site.reports == []


def test_a_wrong_password_is_told_to_the_operator_and_makes_no_ticket(site):
    response = by_ntlm(site, password="24681")
    assert (response.status, response.message) == (401, None)
    (report,) = site.reports
    assert "the password of 'alice@contoso.com' is wrong" in report.text
    assert "24681" not in repr(report)


def test_who_may_not_sign_in_is_told_so(authority):
    site = Site(authority, ranges=[USERS[0].model_copy(update={"is_enabled": False})])
    response = by_ntlm(site)
    assert (response.status, response.message.error_id) == (500, 4141)
    assert response.diagnostics.reason == "User disabled."
    assert by_ntlm(site, password="wrong").status == 401


def test_another_sip_uri_is_refused(site):
    response = by_ntlm(site, msgspec.structs.replace(ANYBODY, sip_uri="sip:bob@contoso.com"))
    assert response.status == 500
    assert "does not match the SIP URI" in response.message.reason


def test_each_port_takes_its_own_credentials(site):
    pin = PinCredential(number="+14255550001", pin="24680")
    wrong = by_ntlm(site, msgspec.structs.replace(ANYBODY, credential=pin))
    assert wrong.message.error_id == NO_SECURITY_TOKEN
    assert site.post(ANYBODY, TICKET).message.error_id == NO_SECURITY_TOKEN
    assert site.post(None, TICKET).status == 400
    assert by_ntlm(site, None).status == 400


@pytest.mark.parametrize(
    ("setting", "port", "schemes"),
    [("negotiate", NEGOTIATE_PORT, (NEGOTIATE, NTLM)), ("ntlm", NTLM_PORT, (NTLM,))],
)
def test_what_is_offered_is_the_sites_setting(authority, setting, port, schemes):
    site = Site(authority, use_windows_auth=setting, windows_suffix="/Win")
    tickets = site.post(GetMetadata(), "/WebTicket/WebTicketService.svc/mex").message
    assert tickets.port(port).location == "https://web.contoso.com:443" + WINDOWS + "/Win"
    offered = site.post(ANYBODY, WINDOWS + "/Win").challenges
    assert tuple(token.scheme for token in offered) == schemes


def test_without_windows_authentication_there_is_no_port_for_it(authority):
    site = Site(authority, use_windows_auth="none")
    tickets = site.post(GetMetadata(), "/WebTicket/WebTicketService.svc/mex").message
    assert not {NEGOTIATE_PORT, NTLM_PORT} & {port.name for port in tickets.ports}
    assert site.post(ANYBODY, WINDOWS).status == 404
