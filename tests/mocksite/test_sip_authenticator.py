"""Who is let in at a Registrar, and how its answers are signed."""

import random

import msgspec
import pytest
from dsk_client import TARGET, DskClient

from phonesim.config.site_profile import RegistrarConfig, UserRange
from phonesim.mocksite.sip_authenticator import (
    ASSOCIATION_LIFETIME,
    NONCE_LIFETIME,
    SipAuthenticator,
)
from phonesim.mocksite.users import UserDirectory
from phonesim.virtual_handshake import VirtualClientHandshake
from phonesim.wire.digest import digest_credentials
from phonesim.wire.ntlm import answer_challenge, decode_challenge, encode_authenticate
from phonesim.wire.sip import (
    Credentials,
    NameAddress,
    SipRequest,
    authentication_text,
    header,
    response_to,
)
from phonesim.wire.sipae import (
    Authorization,
    Offer,
    authentication_info,
    credentials_of,
    read_offer,
    signature_buffer,
)
from phonesim.wire.tls_records import describe_flight

EPOCH = 1_767_596_400
ALICE, BOB = "sip:alice@contoso.com", "sip:bob@contoso.com"
USERS = (
    UserRange(sip_uri=ALICE, number="+14255550001", pin="24680"),
    UserRange(sip_uri=BOB, number="+14255550002", pin="13579"),
)
UNTIL = EPOCH + 10_000_000


def certificate_of(subject, until=UNTIL):
    return b"CERTIFICATE|%s|%d|%d" % (subject, EPOCH, until)


CERTIFICATE = certificate_of(b"alice@contoso.com")


def register(cseq=1, user=ALICE, **fields):
    values = {
        "method": "REGISTER",
        "uri": "sip:contoso.com",
        "vias": ("SIP/2.0/TLS 10.0.0.100:49152;branch=z9hG4bK1",),
        "sender": NameAddress(uri=user, tag="a1", epid="492a7ce35f"),
        "recipient": NameAddress(uri=user),
        "call_id": "call-1",
        "expires": 600,
    }
    return SipRequest(cseq=cseq, **{**values, **fields})


class Gate:
    """An authenticator, and what a Registrar behind it would answer: 200 to whoever gets in."""

    def __init__(self, authority, *, published=CERTIFICATE, **config):
        self.users = UserDirectory(USERS)
        self.users.publish(self.users.by_sip_uri(ALICE), "phone", published)
        self.authenticator = SipAuthenticator(
            RegistrarConfig(name="lync01", address="10.0.0.21", fqdn=TARGET, **config),
            self.users,
            authority,
            random.Random(1),
            EPOCH,
        )
        self.why = ""
        self.diagnostics = None

    def send(self, request, now=0.0, connection_id=1):
        user = self.users.by_sip_uri(request.sender.uri)
        rejection = self.authenticator.check(connection_id, request, user, now)
        if rejection is None:
            self.why, self.diagnostics = "", None
            response = response_to(request, 200, "OK", to_tag="AB", expires=600)
        else:
            self.why = rejection.why
            self.diagnostics = rejection.diagnostics and rejection.diagnostics[0]
            response = response_to(
                request,
                rejection.status,
                rejection.reason,
                to_tag="AB",
                challenges=rejection.challenges,
                headers=rejection.headers,
            )
        return self.authenticator.sign(connection_id, response)

    def client(self, certificate=CERTIFICATE, connection_id=1, now=0.0, **fields):
        return DskClient(
            lambda request: self.send(request, now, connection_id), certificate, **fields
        )

    def let_in(self, **fields):
        """A client that has shaken hands."""
        client = self.client(**fields)
        client.shake(register())
        return client


@pytest.fixture
def gate(authority):
    return Gate(authority)


@pytest.fixture
def digest_gate(authority):
    return Gate(authority, authentication=("digest",))


def offers(response):
    return [read_offer(challenge) for challenge in response.challenges]


# --- TLS-DSK ---


def test_a_request_without_credentials_is_offered_every_scheme(authority):
    sts_uri = "https://web.contoso.com/CertProv/CertProvisioningService.svc"
    gate = Gate(authority, sts_uri=sts_uri)
    response = gate.send(register())
    assert (response.status, response.reason) == (401, "Unauthorized")
    common = {"realm": "SIP Communications Service", "version": 4}
    assert offers(response) == [
        Offer(scheme="NTLM", targetname=TARGET, **common),
        Offer(scheme="Kerberos", targetname=f"sip/{TARGET}", **common),
        Offer(scheme="TLS-DSK", targetname=TARGET, sts_uri=sts_uri, **common),
    ]
    assert header(response, "Date") == "Mon, 05 Jan 2026 07:00:00 GMT"
    assert (gate.why, gate.diagnostics) == ("", None)


def test_the_handshake_takes_two_flights_each_and_then_requests_are_signed(gate):
    client = gate.client()
    hello = client.tls.advance(b"")
    first = client.flight(register(1), hello)
    (offer,) = offers(first)
    assert describe_flight(offer.gssapi_data) == (
        "ServerHello, Certificate, CertificateRequest, ServerHelloDone"
    )
    assert len(offer.opaque) == 8
    client.opaque = offer.opaque
    second = client.flight(register(2), client.tls.advance(offer.gssapi_data))
    (last,) = offers(second)
    assert (last.opaque, describe_flight(last.gssapi_data)) == (
        offer.opaque,
        "ChangeCipherSpec, Finished",
    )
    client.tls.advance(last.gssapi_data)
    for cseq in (3, 4, 5):
        response = gate.send(client.sign(register(cseq)))
        assert client.verified(response).status == 200
    assert authentication_info(first) is None
    assert authentication_info(second) is None


def test_in_version_3_the_request_that_ends_the_handshake_is_not_signed(authority):
    gate = Gate(authority, sip_authentication_version=3)
    client = gate.let_in(version=3)
    unsigned = client.sign(register(3), crand=None, cnum=None, response=None)
    assert client.verified(gate.send(unsigned)).status == 200
    client.requests = 0
    assert client.verified(gate.send(client.sign(register(4)))).status == 200
    assert gate.send(unsigned).status == 401
    assert "not signed" in gate.why


def test_version_4_wants_it_signed(gate):
    client = gate.let_in()
    unsigned = client.sign(register(3), crand=None, cnum=None, response=None)
    assert gate.send(unsigned).status == 401
    assert (gate.why, gate.diagnostics) == ("the message is not signed", 1000)


@pytest.mark.parametrize(
    ("certificate", "diagnostics", "why"),
    [
        (b"FOREIGN|alice@contoso.com|0|9999999999", 1000, "not valid here"),
        (certificate_of(b"alice@contoso.com", EPOCH + 5), 1000, "not valid here"),
        (certificate_of(b"alice@contoso.com", EPOCH + 99), 1000, "not the published one"),
        (certificate_of(b"bob@contoso.com"), 4004, "the certificate is that of 'bob@contoso.com'"),
        (b"", 1000, "not valid here"),
    ],
)
def test_the_certificate_decides_who_it_is(gate, certificate, diagnostics, why):
    response = gate.client(certificate, now=10).shake(register())
    assert response.status == 403
    assert gate.diagnostics == diagnostics
    assert why in gate.why


def test_what_is_signed_by_one_user_is_not_another_s(gate):
    client = gate.let_in()
    assert gate.send(client.sign(register(user=BOB))).status == 403
    assert gate.diagnostics == 4004


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"response": "00" * 20}, "the signature is wrong"),
        ({"response": "ab" * 48}, "the signature is wrong"),
        ({"crand": "ffffffff"}, "the signature is wrong"),
        ({"opaque": "FFFFFFFF"}, "no association is named FFFFFFFF"),
        ({"opaque": None}, "no association is named None"),
        ({"response": None, "crand": None, "cnum": None}, "the message is not signed"),
        ({"response": "zz"}, "response is not 16 to 64 hexadecimal octets"),
        ({"version": 9}, "version '9' is not 2, 3 or 4"),
    ],
)
def test_a_request_that_is_not_signed_as_it_must_be_is_challenged(gate, changes, why):
    client = gate.let_in()
    response = gate.send(client.sign(register(3), **changes))
    assert response.status == 401
    assert len(response.challenges) == 3
    assert (gate.diagnostics, why in gate.why) == (1000, True)
    # And the association has not suffered.
    client.requests = 0
    assert client.verified(gate.send(client.sign(register(4)))).status == 200


@pytest.mark.parametrize(
    "changes",
    [
        {"call_id": "other"},
        {"cseq": 9},
        {"expires": 0},
        {"expires": None},
        {"sender": NameAddress(uri=ALICE, tag="other")},
        {"recipient": NameAddress(uri=ALICE, tag="other")},
        {"recipient": NameAddress(uri="sip:other@contoso.com")},
        {"headers": (("P-Asserted-Identity", "<tel:+1425>"),)},
    ],
)
def test_whatever_is_changed_on_the_way_spoils_the_signature(gate, changes):
    client = gate.let_in()
    signed = client.sign(register(3))
    assert gate.send(msgspec.structs.replace(signed, **changes)).status == 401
    assert gate.why == "the signature is wrong"


def test_a_replay_is_refused(gate):
    client = gate.let_in()
    signed = client.sign(register(3))
    assert gate.send(signed).status == 200
    assert gate.send(signed).status == 401
    assert (gate.why, gate.diagnostics) == ("cnum 1 is not new: a replay", 1000)
    later = client.sign(register(4), cnum=9)
    assert gate.send(later).status == 200
    assert gate.send(client.sign(register(5), cnum=8)).status == 401


def test_replays_are_taken_where_the_site_is_so_configured(authority):
    gate = Gate(authority, refuses_replays=False)
    signed = gate.let_in().sign(register(3))
    assert [gate.send(signed).status for _ in range(3)] == [200, 200, 200]


def test_an_association_is_its_connection_s_alone(gate):
    client = gate.let_in()
    assert gate.send(client.sign(register(3)), connection_id=2).status == 401
    gate.authenticator.forget(1)
    assert gate.send(client.sign(register(4))).status == 401


def test_an_association_ends_with_its_time_and_with_its_certificate(authority, gate):
    client = gate.let_in()
    assert gate.send(client.sign(register(3)), ASSOCIATION_LIFETIME - 1).status == 200
    assert gate.send(client.sign(register(4)), ASSOCIATION_LIFETIME).status == 401
    assert (gate.why, gate.diagnostics) == ("the association is over", None)
    short = certificate_of(b"alice@contoso.com", EPOCH + 600)
    gate = Gate(authority, published=short)
    client = gate.let_in(certificate=short)
    assert gate.send(client.sign(register(3)), 599).status == 200
    assert gate.send(client.sign(register(4)), 600).status == 401


def test_a_new_handshake_over_the_same_connection_replaces_the_association(gate):
    old = gate.let_in()
    new = gate.client()
    new.tls = VirtualClientHandshake("another seed", TARGET, CERTIFICATE)
    hello = new.flight(register(3), new.tls.advance(b""))
    assert gate.send(old.sign(register(4))).status == 200
    (offer,) = offers(hello)
    new.opaque = offer.opaque
    (last,) = offers(new.flight(register(5), new.tls.advance(offer.gssapi_data)))
    new.tls.advance(last.gssapi_data)
    assert new.verified(gate.send(new.sign(register(6)))).status == 200
    assert gate.send(old.sign(register(7))).status == 401


@pytest.mark.parametrize(
    ("flight", "why"),
    [
        (b"", "TLS: no record"),
        (b"garbage", "do not begin with a record"),
        (b"\x16\x03\x01\x40\x00abc", "a record has 3 of 16384 octets"),
        (b"\x16\x03\x01\x00\x04\x0b\x00\x00\x00", "no ClientHello"),
    ],
)
def test_a_flight_that_is_none_is_refused(gate, flight, why):
    response = gate.client().flight(register(), flight)
    assert response.status == 401
    assert all(offer.gssapi_data is None for offer in offers(response))
    assert (gate.diagnostics, why in gate.why) == (1000, True)


def test_a_handshake_is_not_begun_in_its_middle(gate):
    client = gate.client()
    client.opaque = "12345678"
    assert client.flight(register(), client.tls.advance(b"")).status == 401
    assert "no handshake is named 12345678" in gate.why


def test_a_handshake_that_went_wrong_must_begin_anew(gate):
    client = gate.client()
    (offer,) = offers(client.flight(register(), client.tls.advance(b"")))
    client.opaque = offer.opaque
    client.flight(register(2), b"garbage")
    client.flight(register(3), client.tls.advance(offer.gssapi_data))
    assert f"no handshake is named {offer.opaque}" in gate.why


def test_a_handshake_is_not_taken_over_by_another_user(gate):
    client = gate.client()
    (offer,) = offers(client.flight(register(), client.tls.advance(b"")))
    client.opaque = offer.opaque
    client.flight(register(2, user=BOB), client.tls.advance(offer.gssapi_data))
    assert "begun by another user" in gate.why


def test_kerberos_is_offered_for_show(gate):
    parameters = (
        ("realm", "SIP Communications Service"),
        ("targetname", f"sip/{TARGET}"),
        ("version", "4"),
        ("gssapi-data", "YIIB"),
    )
    credentials = (Credentials(scheme="Kerberos", parameters=parameters),)
    assert gate.send(register(credentials=credentials)).status == 401
    assert gate.diagnostics == 1000


@pytest.mark.parametrize(("name", "value"), [("realm", "elsewhere"), ("targetname", "fe09")])
def test_credentials_for_another_server_are_none(gate, name, value):
    client = gate.let_in()
    signed = client.sign(register(3), **{name: value})
    assert gate.send(signed).status == 401
    assert gate.why == ""


def test_a_flood_of_authorization_headers_is_a_bad_request(gate):
    client = gate.let_in()
    (credentials,) = client.sign(register(3)).credentials
    response = gate.send(register(3, credentials=(credentials,) * 9))
    assert (response.status, gate.why) == (400, "too many Authorization headers")


def test_requests_of_the_registrar_and_answers_of_the_phone_are_signed_too(gate):
    client = gate.let_in()
    notify = register(7, method="NOTIFY")
    signed = gate.authenticator.sign(1, notify)
    assert client.verified(signed) == notify
    assert gate.authenticator.sign(2, notify) == notify
    answer = response_to(notify, 200, "OK", to_tag="x")
    (credentials,) = client.sign(answer).credentials
    header = ("Authorization", authentication_text(credentials))
    taken = msgspec.structs.replace(answer, headers=(header,))
    assert gate.authenticator.check_answer(1, taken) is None
    assert gate.authenticator.check_answer(1, taken) == "cnum 1 is not new: a replay"
    assert gate.authenticator.check_answer(1, answer) == "the answer is not signed"
    spoilt = msgspec.structs.replace(taken, status=500)
    gate.authenticator.forget(1)
    assert gate.authenticator.check_answer(1, spoilt) is None


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("TLS-DSK", "realm is missing"),
        ('TLS-DSK realm="x", realm="y"', "twice"),
        ("Digest", "the answer is not signed"),
    ],
)
def test_an_answer_that_is_signed_by_half_is_not_taken(gate, text, why):
    gate.let_in()
    answer = response_to(register(), 200, "OK", headers=(("Authorization", text),))
    assert why in gate.authenticator.check_answer(1, answer)


# --- NTLM ---


def speak_ntlm(gate, password="24680", user="alice", version=4, twist=lambda octets: octets):
    """Two requests of an NTLM client; return the last response."""
    common = {
        "scheme": "NTLM",
        "realm": "SIP Communications Service",
        "targetname": TARGET,
        "version": version,
    }
    first = credentials_of(Authorization(gssapi_data=b"", **common))
    (offer,) = offers(gate.send(register(1, credentials=(first,))))
    message, keys = answer_challenge(
        decode_challenge(offer.gssapi_data),
        user=user,
        domain="contoso.com",
        password=password,
        now=EPOCH,
        client_challenge=bytes(8),
        session_key=bytes(16),
    )
    request = register(2)
    buffer = signature_buffer("NTLM", common["realm"], TARGET, version, "0a1b2c3d", 1, request)
    signed = {"crand": "0a1b2c3d", "cnum": 1, "response": keys.client.sign(buffer)}
    second = Authorization(
        gssapi_data=twist(encode_authenticate(message)),
        opaque=offer.opaque,
        **common,
        **(signed if version > 3 else {}),
    )
    response = gate.send(register(2, credentials=(credentials_of(second),)))
    if response.status == 200:
        info = authentication_info(response)
        buffer = signature_buffer(
            "NTLM", info.realm, TARGET, version, info.srand, info.snum, response
        )
        assert keys.server.verifies(buffer, info.rspauth)
    return response


@pytest.mark.parametrize("version", [2, 3, 4])
@pytest.mark.parametrize("user", ["alice", "Alice@contoso.com", "+14255550001"])
def test_ntlm_lets_in_who_knows_the_pin(authority, user, version):
    gate = Gate(authority, sip_authentication_version=version)
    assert speak_ntlm(gate, user=user, version=version).status == 200


@pytest.mark.parametrize(
    ("fields", "why"),
    [
        ({"password": "24681"}, "NTLM: the password is wrong"),
        ({"user": "bob"}, "NTLM: the user is 'bob'"),
        ({"twist": lambda octets: octets[:50]}, "50 octets that are no message of type 3"),
        ({"twist": lambda octets: b""}, "0 octets that are no message of type 3"),
        ({"twist": lambda octets: octets[:-17]}, "not within the message"),
    ],
)
def test_ntlm_keeps_out_who_does_not(gate, fields, why):
    assert speak_ntlm(gate, **fields).status == 401
    assert gate.diagnostics == 1000
    assert why in gate.why


def test_ntlm_does_not_begin_with_a_token(gate):
    common = {"realm": "SIP Communications Service", "targetname": TARGET, "version": 4}
    authorization = Authorization(scheme="NTLM", gssapi_data=b"NTLMSSP\0", **common)
    gate.send(register(credentials=(credentials_of(authorization),)))
    assert "the first token is not empty" in gate.why


def test_a_handshake_of_one_scheme_is_not_ended_by_another(gate):
    client = gate.client()
    (offer,) = offers(client.flight(register(), client.tls.advance(b"")))
    common = {"realm": "SIP Communications Service", "targetname": TARGET, "version": 4}
    authorization = Authorization(scheme="NTLM", gssapi_data=b"x", opaque=offer.opaque, **common)
    gate.send(register(2, credentials=(credentials_of(authorization),)))
    assert f"no handshake is named {offer.opaque}" in gate.why


# --- Digest ---


def answered(response, cseq, *, password="24680", username="alice", nc=1, **fields):
    challenges = [c for c in response.challenges if c.scheme == "Digest"]
    credentials = digest_credentials(
        challenges[0],
        method="REGISTER",
        uri=fields.get("digest_uri", "sip:contoso.com"),
        username=username,
        password=password,
        cnonce="0a4f113b",
        nc=nc,
    )
    return register(cseq, credentials=(credentials,))


@pytest.mark.parametrize("username", ["alice", "alice@contoso.com", "+14255550001"])
def test_digest_lets_in_who_knows_the_pin(digest_gate, username):
    challenged = digest_gate.send(register(1))
    assert challenged.status == 401
    assert digest_gate.why == ""
    assert digest_gate.send(answered(challenged, 2, username=username)).status == 200


@pytest.mark.parametrize(
    "fields",
    [{"password": "24681"}, {"username": "bob"}, {"digest_uri": "sip:fabrikam.com"}],
)
def test_digest_keeps_out_who_does_not(digest_gate, fields):
    challenged = digest_gate.send(register(1))
    refused = digest_gate.send(answered(challenged, 2, **fields))
    assert refused.status == 401
    assert "Digest response is wrong" in digest_gate.why
    first, second = (dict(r.challenges[0].parameters) for r in (challenged, refused))
    assert first["nonce"] != second["nonce"]
    assert "stale" not in second


def test_a_nonce_can_be_counted_up_but_not_replayed(digest_gate):
    challenged = digest_gate.send(register(1))
    assert digest_gate.send(answered(challenged, 2, nc=1)).status == 200
    assert digest_gate.send(answered(challenged, 3, nc=2)).status == 200
    replayed = digest_gate.send(answered(challenged, 4, nc=2))
    assert replayed.status == 401
    assert dict(replayed.challenges[0].parameters)["stale"] == "true"
    assert digest_gate.send(answered(replayed, 5)).status == 200


def test_an_old_nonce_is_stale(digest_gate):
    challenged = digest_gate.send(register(1))
    late = digest_gate.send(answered(challenged, 2), NONCE_LIFETIME)
    assert dict(late.challenges[0].parameters)["stale"] == "true"
    wrong = digest_gate.send(answered(challenged, 3, password="0"), NONCE_LIFETIME)
    assert "stale" not in dict(wrong.challenges[0].parameters)


def test_a_flood_of_challenges_makes_the_oldest_nonces_stale(digest_gate, monkeypatch):
    monkeypatch.setattr("phonesim.mocksite.sip_authenticator.MAXIMUM_NONCES", 20)
    first, *_ = [digest_gate.send(register(n)) for n in range(1, 21)]
    assert digest_gate.send(answered(first, 21)).status == 200
    digest_gate.send(register(22))
    stale = digest_gate.send(answered(first, 23, nc=2))
    assert dict(stale.challenges[0].parameters)["stale"] == "true"


def test_credentials_of_another_realm_are_passed_over(digest_gate):
    challenged = digest_gate.send(register(1))
    request = answered(challenged, 2)
    (credentials,) = request.credentials
    foreign = msgspec.structs.replace(
        credentials, parameters=(*credentials.parameters[:1], ("realm", "elsewhere"))
    )
    basic = msgspec.structs.replace(credentials, scheme="Basic")
    refused = digest_gate.send(msgspec.structs.replace(request, credentials=(foreign, basic)))
    assert refused.status == 401
    assert digest_gate.why == ""
    both = msgspec.structs.replace(request, credentials=(foreign, credentials))
    assert digest_gate.send(both).status == 200


@pytest.mark.parametrize("parameter", [("nc", "zz"), ("qop", "auth-int")])
def test_credentials_that_make_no_sense_are_refused(digest_gate, parameter):
    challenged = digest_gate.send(register(1))
    request = answered(challenged, 2)
    parameters = {**dict(request.credentials[0].parameters), parameter[0]: parameter[1]}
    altered = msgspec.structs.replace(request.credentials[0], parameters=tuple(parameters.items()))
    response = digest_gate.send(msgspec.structs.replace(request, credentials=(altered,)))
    assert response.status == 401
