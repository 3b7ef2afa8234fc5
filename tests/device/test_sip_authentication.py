"""What a phone answers to challenges, and whose answers it believes."""

from __future__ import annotations

import random

import msgspec
import pytest
from playing import containing, like, matching

from phonesim.config.device_profile import RegistrationConfig
from phonesim.device import device_log as log
from phonesim.device.actions import BeginHandshake, ContinueHandshake
from phonesim.device.events import (
    AuthenticationFailed,
    CredentialsReady,
    HandshakeAdvanced,
    HandshakeFailed,
    RegistrarAddress,
    RegistrationWanted,
    RequestChallenged,
)
from phonesim.device.outcome import FailureReason
from phonesim.device.sip_authentication import Associated, SipAuthentication
from phonesim.wire.ntlm import (
    FLAGS,
    NtlmChallenge,
    check_answer,
    decode_authenticate,
    encode_challenge,
)
from phonesim.wire.sip import (
    Challenge,
    NameAddress,
    SipRequest,
    decode_sip,
    encode_sip,
    response_to,
)
from phonesim.wire.sipae import (
    AUTHENTICATION_INFO,
    AuthenticationInfo,
    Offer,
    answer_authorization,
    authentication_info_text,
    challenge_of,
    read_authorization,
    signature_buffer,
    signing_keys,
)
from phonesim.wire.tls_records import CLIENT_HELLO, SERVER_HELLO, encode_finished, encode_handshake

EPOCH = 1.7e9
REALM, TARGET = "SIP Communications Service", "fe01.contoso.com"
KEYS = signing_keys(bytes(range(128)), "sha1")
CLIENT_HELLO_FLIGHT = encode_handshake((CLIENT_HELLO, b"c"))
SERVER_HELLO_FLIGHT = encode_handshake((SERVER_HELLO, b"s"))
FINISHED = encode_finished(b"f")
READY = CredentialsReady()
REQUEST = SipRequest(
    method="REGISTER",
    uri="sip:contoso.com",
    vias=("SIP/2.0/TLS 10.0.0.1:5061",),
    sender=NameAddress(uri="sip:alice@contoso.com", tag="a"),
    recipient=NameAddress(uri="sip:alice@contoso.com"),
    call_id="c",
    cseq=1,
    expires=600,
)


def authentication(**config):
    machine = SipAuthentication(
        RegistrationConfig(**config), "1234", random.Random(1), lambda now: EPOCH + now
    )
    wanted = RegistrationWanted(
        registrars=(RegistrarAddress(host=TARGET, port=5061, transport="tls", source="x"),),
        sip_uri="sip:alice@contoso.com",
        certificate=b"the certificate",
        chain=b"the chain",
        source="10.0.0.1",
    )
    assert machine.handle(wanted, 0) == []
    return machine


def offer(scheme="TLS-DSK", **fields):
    values = {"realm": REALM, "targetname": TARGET, "version": 4, **fields}
    return Offer(scheme=scheme, **values)


OFFERS = (offer("NTLM"), offer("Kerberos", targetname=f"sip/{TARGET}"), offer())


def challenged(*offers, status=401):
    challenges = tuple(challenge_of(each) for each in offers)
    response = response_to(REQUEST, status, "Unauthorized", challenges=challenges)
    return RequestChallenged(response=response)


def events(outputs):
    return [output for output in outputs if not isinstance(output, log.LogRecord)]


def failed(detail, reason=FailureReason.REGISTRATION_HANDSHAKE_FAILED):
    return [AuthenticationFailed(reason=reason, detail=containing(detail))]


def sent(machine, request=REQUEST):
    (credentials,) = machine.authenticate(request).credentials
    return read_authorization(credentials)


def advanced(number=1, flight=CLIENT_HELLO_FLIGHT, **fields):
    return HandshakeAdvanced(handshake_id=number, flight=flight, **fields)


def associated(until=EPOCH + 1e6, now=0.0, version=4, **config):
    machine = authentication(**config)
    machine.handle(challenged(offer(version=version)), now)
    machine.handle(advanced(), now)
    machine.authenticate(REQUEST)
    going_on = offer(version=version, opaque="A1", gssapi_data=SERVER_HELLO_FLIGHT)
    machine.handle(challenged(going_on), now)
    machine.handle(advanced(flight=b"", keys=KEYS, valid_until=until), now)
    return machine


def signature(snum, rspauth):
    return AuthenticationInfo(
        scheme="TLS-DSK",
        realm=REALM,
        targetname=TARGET,
        version=4,
        opaque="A1",
        srand="1D9666D9",
        snum=snum,
        rspauth=rspauth,
    )


def answer(status=200, snum=1, key=KEYS.server, rspauth=None, **changes):
    response = response_to(REQUEST, status, "OK", to_tag="b", expires=600)
    buffer = signature_buffer("TLS-DSK", REALM, TARGET, 4, "1D9666D9", snum, response)
    info = signature(snum, rspauth or key.sign(buffer))
    info = msgspec.structs.replace(info, **changes)
    headers = ((AUTHENTICATION_INFO, authentication_info_text(info)),)
    return msgspec.structs.replace(response, headers=headers)


# --- the handshake ---


def test_the_flights_go_to_and_fro_until_there_are_keys():
    machine = authentication()
    assert machine.authenticate(REQUEST) == REQUEST
    assert machine.handle(challenged(*OFFERS), 1.0) == [
        log.SCHEME_CHOSEN("NTLM,Kerberos,TLS-DSK", "TLS-DSK", TARGET),
        BeginHandshake(
            handshake_id=1,
            server_name=TARGET,
            certificate=b"the certificate",
            trust=b"the chain",
            clock=EPOCH + 1,
            maximum_version="tls1.0",
        ),
    ]
    size = len(CLIENT_HELLO_FLIGHT)
    assert machine.handle(advanced(), 1.0) == [
        log.HANDSHAKE_SENT("TLS-DSK", size, "ClientHello"),
        READY,
    ]
    first = sent(machine)
    assert (first.gssapi_data, first.opaque, first.response) == (CLIENT_HELLO_FLIGHT, None, None)
    going_on = offer(opaque="A1", gssapi_data=SERVER_HELLO_FLIGHT)
    assert machine.handle(challenged(going_on), 2.0) == [
        log.HANDSHAKE_RECEIVED("TLS-DSK", len(SERVER_HELLO_FLIGHT), "ServerHello"),
        ContinueHandshake(handshake_id=1, received=SERVER_HELLO_FLIGHT),
    ]
    assert events(machine.handle(advanced(flight=FINISHED), 2.0)) == [READY]
    second = sent(machine)
    assert (second.gssapi_data, second.opaque) == (FINISHED, "A1")
    over = offer(opaque="A1", gssapi_data=FINISHED)
    assert events(machine.handle(challenged(over), 3.0)) == [
        ContinueHandshake(handshake_id=1, received=FINISHED)
    ]
    keys = advanced(flight=b"", keys=KEYS, valid_until=EPOCH + 1e6)
    assert machine.handle(keys, 3.0) == [
        log.ASSOCIATION_MADE("TLS-DSK", "A1", TARGET, 28500),
        READY,
    ]
    third = sent(machine)
    assert (third.gssapi_data, third.opaque, third.cnum) == (None, "A1", 1)
    buffer = signature_buffer("TLS-DSK", REALM, TARGET, 4, third.crand, 1, REQUEST)
    assert KEYS.client.verifies(buffer, third.response)
    assert machine.refusal(answer()) is None


def test_every_request_has_its_own_number_and_another_random_one():
    machine = associated()
    signed = [sent(machine) for _ in range(5)]
    assert [each.cnum for each in signed] == [1, 2, 3, 4, 5]
    assert len({each.crand for each in signed}) == 5


def test_in_version_3_the_first_request_after_the_handshake_is_not_signed():
    machine = associated(version=3)
    first = sent(machine)
    assert (first.opaque, first.crand, first.response) == ("A1", None, None)
    assert sent(machine).response is not None


def test_a_proxy_is_answered_as_one():
    machine = authentication()
    machine.handle(challenged(offer(is_proxy=True), status=407), 0)
    machine.handle(advanced(), 0)
    assert sent(machine).is_proxy


@pytest.mark.parametrize(
    ("response", "detail"),
    [
        (challenged(*OFFERS), "does not go on with the handshake"),
        (challenged(), "does not go on with the handshake"),
        (challenged(offer(opaque="A1", gssapi_data=b"")), "does not go on"),
        (
            challenged(offer(opaque="A1", gssapi_data=b"\x16", targetname="other")),
            "does not go on with the handshake",
        ),
        (challenged(offer(opaque="A1", gssapi_data=b"garbage")), "sent no handshake: TLS"),
        (challenged(offer(gssapi_data=SERVER_HELLO_FLIGHT)), "names the handshake None"),
    ],
)
def test_a_registrar_that_does_not_go_on_has_failed(response, detail):
    machine = authentication()
    machine.handle(challenged(*OFFERS), 0)
    machine.handle(advanced(), 0)
    assert events(machine.handle(response, 0)) == failed(detail)
    assert machine.authenticate(REQUEST) == REQUEST


def test_gssapi_data_that_is_no_base64_is_logged_and_ends_it():
    machine = authentication()
    machine.handle(challenged(*OFFERS), 0)
    machine.handle(advanced(), 0)
    bad = challenge_of(offer(opaque="A1"))
    bad = msgspec.structs.replace(bad, parameters=(*bad.parameters, ("gssapi-data", "?")))
    response = response_to(REQUEST, 401, "Unauthorized", challenges=(bad,))
    assert machine.handle(RequestChallenged(response=response), 0) == [
        log.SIP_IGNORED("TLS-DSK: gssapi-data is not base64"),
        *failed("does not go on"),
    ]


def test_another_name_for_the_same_handshake_ends_it():
    machine = authentication()
    machine.handle(challenged(*OFFERS), 0)
    machine.handle(advanced(), 0)
    machine.handle(challenged(offer(opaque="A1", gssapi_data=SERVER_HELLO_FLIGHT)), 0)
    machine.handle(advanced(flight=FINISHED), 0)
    renamed = challenged(offer(opaque="B2", gssapi_data=FINISHED))
    assert events(machine.handle(renamed, 0)) == failed("names the handshake 'B2'")


def test_the_world_s_failure_is_the_phone_s():
    machine = authentication()
    machine.handle(challenged(*OFFERS), 0)
    event = HandshakeFailed(handshake_id=1, detail="certificate verify failed")
    assert events(machine.handle(event, 0)) == failed("certificate verify failed")


def test_what_belongs_to_another_handshake_is_passed_over():
    machine = authentication()
    machine.handle(challenged(*OFFERS), 0)
    assert machine.handle(advanced(2), 0) == []
    assert machine.handle(HandshakeFailed(handshake_id=0, detail="x"), 0) == []
    machine.reset()
    assert machine.handle(advanced(), 0) == []
    assert machine.handle(HandshakeFailed(handshake_id=1, detail="x"), 0) == []


def test_a_challenge_that_is_said_twice_is_answered_once():
    machine = authentication()
    machine.handle(challenged(*OFFERS), 0)
    assert machine.handle(challenged(*OFFERS), 0) == []


# --- which scheme ---


@pytest.mark.parametrize("offers", [OFFERS[:2], OFFERS[1:2]])
def test_kerberos_is_never_chosen_nor_what_the_profile_does_not_allow(offers):
    machine = authentication()
    names = ", ".join(each.scheme for each in offers).replace(", ", ",")
    reason = FailureReason.REGISTRATION_NO_COMMON_SCHEME
    detail = f"offers {names}, the phone has tls-dsk, digest"
    assert events(machine.handle(challenged(*offers), 0)) == failed(detail, reason)


def test_a_challenge_that_names_nothing_is_a_refusal():
    reason = FailureReason.REGISTRATION_UNAUTHORIZED
    outputs = authentication().handle(challenged(), 0)
    assert events(outputs) == failed("names no scheme", reason)


def test_the_profile_s_order_decides():
    digest = Challenge(scheme="Digest", parameters=(("realm", "r"), ("nonce", "n")))
    response = response_to(
        REQUEST, 401, "Unauthorized", challenges=(*map(challenge_of, OFFERS), digest)
    )
    event = RequestChallenged(response=response)
    assert like(BeginHandshake) in authentication().handle(event, 0)
    machine = authentication(authentication=("digest", "tls-dsk"))
    assert events(machine.handle(event, 0)) == [READY]
    assert machine.scheme == "Digest"


# --- NTLM ---

CHALLENGE = NtlmChallenge(flags=FLAGS, server_challenge=b"12345678")


def ntlm(**fields):
    return challenged(offer("NTLM", **fields))


def test_ntlm_takes_one_round_and_its_answer_is_signed_already():
    machine = authentication(authentication=("tls-dsk", "ntlm"), password="secret")
    assert machine.handle(ntlm(), 0) == [
        log.SCHEME_CHOSEN("NTLM", "NTLM", TARGET),
        log.HANDSHAKE_SENT("NTLM", 0, "nothing"),
        READY,
    ]
    first = sent(machine)
    assert (first.gssapi_data, first.opaque, first.response) == (b"", None, None)
    octets = encode_challenge(CHALLENGE)
    outputs = machine.handle(ntlm(opaque="A1", gssapi_data=octets), 10.0)
    assert outputs == [
        log.HANDSHAKE_RECEIVED("NTLM", len(octets), "CHALLENGE_MESSAGE"),
        matching(log.HANDSHAKE_SENT, scheme="NTLM", messages="AUTHENTICATE_MESSAGE"),
        log.ASSOCIATION_MADE("NTLM", "A1", TARGET, 28500),
        READY,
    ]
    second = sent(machine)
    answer = decode_authenticate(second.gssapi_data)
    assert (answer.user, answer.domain) == ("alice", "contoso.com")
    keys = check_answer(answer, CHALLENGE.server_challenge, "secret")
    buffer = signature_buffer("NTLM", REALM, TARGET, 4, second.crand, 1, REQUEST)
    assert (second.opaque, second.cnum) == ("A1", 1)
    assert keys.client.verifies(buffer, second.response)
    assert sent(machine).gssapi_data is None


def test_in_version_3_the_answer_of_ntlm_is_not_signed():
    machine = authentication(authentication=("ntlm",))
    machine.handle(ntlm(version=3), 0)
    machine.authenticate(REQUEST)
    going_on = ntlm(version=3, opaque="A1", gssapi_data=encode_challenge(CHALLENGE))
    machine.handle(going_on, 0)
    first = sent(machine)
    assert (first.response, bool(first.gssapi_data)) == (None, True)
    assert sent(machine).response is not None


def test_a_password_that_is_not_taken_is_a_refusal():
    machine = authentication(authentication=("ntlm",))
    machine.handle(ntlm(), 0)
    machine.authenticate(REQUEST)
    machine.handle(ntlm(opaque="A1", gssapi_data=encode_challenge(CHALLENGE)), 0)
    machine.authenticate(REQUEST)
    reason = FailureReason.REGISTRATION_UNAUTHORIZED
    assert events(machine.handle(ntlm(), 0)) == failed("does not take the password", reason)


@pytest.mark.parametrize("octets", [b"garbage", encode_challenge(CHALLENGE)[:-9]])
def test_a_challenge_of_ntlm_that_is_none_ends_it(octets):
    machine = authentication(authentication=("ntlm",))
    machine.handle(ntlm(), 0)
    machine.authenticate(REQUEST)
    outputs = machine.handle(ntlm(opaque="A1", gssapi_data=octets), 0)
    assert events(outputs) == failed("sent no challenge: NTLM")


# --- whose answers are believed ---


@pytest.mark.parametrize(
    ("response", "why"),
    [
        (response_to(REQUEST, 200, "OK"), "it is not signed"),
        (response_to(REQUEST, 403, "Forbidden"), "it is not signed"),
        (answer(key=KEYS.client), "its signature is wrong"),
        (answer(rspauth="00" * 20), "its signature is wrong"),
        (answer(srand="00000000"), "its signature is wrong"),
        (answer(opaque="B2"), "signed for another association, B2"),
        (answer(targetname="fe02.contoso.com"), "signed for another association"),
        (answer(scheme="NTLM"), "signed for another association"),
        (answer(rspauth="zz"), "rspauth is not 16 to 64 hexadecimal octets"),
        (answer(srand="zz"), "srand is not 8"),
    ],
)
def test_an_answer_that_is_not_the_registrar_s_is_not_believed(response, why):
    machine = associated()
    machine.authenticate(REQUEST)
    assert why in machine.refusal(response)
    assert machine.refusal(answer()) is None


def test_an_answer_counts_once():
    machine = associated()
    assert machine.refusal(answer(snum=3)) is None
    assert machine.refusal(answer(snum=3)) == "snum 3 is not new"
    assert machine.refusal(answer(snum=2)) == "snum 2 is not new"
    assert machine.refusal(answer(snum=4)) is None


@pytest.mark.parametrize("status", [100, 183, 401, 407])
def test_provisional_answers_and_challenges_need_no_signature(status):
    assert associated().refusal(response_to(REQUEST, status, "")) is None


def test_before_there_are_keys_nothing_needs_one():
    machine = authentication()
    assert machine.refusal(response_to(REQUEST, 403, "Forbidden")) is None


def test_requests_of_the_registrar_are_checked_and_answers_to_them_are_signed():
    machine = associated()
    machine.authenticate(REQUEST)
    notify = msgspec.structs.replace(REQUEST, method="NOTIFY", cseq=9)
    assert machine.refusal(notify) == "it is not signed"
    buffer = signature_buffer("TLS-DSK", REALM, TARGET, 4, "1D9666D9", 1, notify)
    info = signature(1, KEYS.server.sign(buffer))
    headers = ((AUTHENTICATION_INFO, authentication_info_text(info)),)
    assert machine.refusal(msgspec.structs.replace(notify, headers=headers)) is None
    signed = decode_sip(encode_sip(machine.authenticate(response_to(notify, 200, "OK"))))
    given = answer_authorization(signed)
    buffer = signature_buffer("TLS-DSK", REALM, TARGET, 4, given.crand, 2, signed)
    assert (given.opaque, given.cnum) == ("A1", 2)
    assert KEYS.client.verifies(buffer, given.response)


def test_before_there_are_keys_nothing_but_a_register_carries_a_handshake():
    machine = authentication()
    machine.handle(challenged(*OFFERS), 0)
    machine.handle(advanced(), 0)
    subscribe = msgspec.structs.replace(REQUEST, method="SUBSCRIBE")
    assert machine.authenticate(subscribe) == subscribe
    answer = response_to(REQUEST, 200, "OK")
    assert machine.authenticate(answer) == answer
    assert sent(machine).gssapi_data == CLIENT_HELLO_FLIGHT


# --- how an association ends ---


@pytest.mark.parametrize(
    ("until", "lifetime"), [(1e9, 28500), (7200, 6900), (400, 100), (300, 60), (-5, 60)]
)
def test_it_ends_some_time_before_its_end_or_the_certificate_s(until, lifetime):
    machine = associated(until=EPOCH + 10 + until, now=10.0)
    assert machine.next_deadline() == (10 + lifetime, "authenticate anew")
    assert machine.expire(9.0 + lifetime) == []
    assert isinstance(machine.state, Associated)
    assert machine.expire(10.0 + lifetime) == [matching(log.ASSOCIATION_ENDED, opaque="A1")]
    assert machine.authenticate(REQUEST) == REQUEST
    assert machine.next_deadline() is None


def test_a_challenge_ends_it_and_the_way_begins_anew():
    machine = associated()
    machine.authenticate(REQUEST)
    assert machine.refusal(answer()) is None
    outputs = machine.handle(challenged(*OFFERS), 0)
    assert outputs[0] == log.ASSOCIATION_ENDED("A1", "answered 401")
    assert outputs[-1] == like(BeginHandshake, handshake_id=2)


def test_a_registrar_that_refuses_what_it_has_agreed_to_has_failed():
    machine = associated()
    machine.authenticate(REQUEST)
    outputs = machine.handle(challenged(*OFFERS), 0)
    assert events(outputs) == failed("refuses what it has agreed to")
