"""Who a request is from, connection by connection."""

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from phonesim.config.fault import SetPinState
from phonesim.config.site_profile import UserRange
from phonesim.mocksite.users import User, UserDirectory
from phonesim.mocksite.windows_authentication import (
    HANDSHAKE_SECONDS,
    Unauthorized,
    WindowsAuthentication,
)
from phonesim.wire.http_token import NEGOTIATE, NTLM, HttpToken
from phonesim.wire.ntlm import (
    HTTP_FLAGS,
    REQUEST_TARGET,
    TARGET_INFO,
    UNICODE,
    NtlmNegotiate,
    answer_over_connection,
    decode_challenge,
    encode_negotiate,
)
from phonesim.wire.ntlm import NTLM as NTLM_ALONE

EPOCH = 1_767_596_400
HERE, THERE = ("10.0.0.100", 50123), ("10.0.0.100", 50124)
BOTH = (HttpToken(NEGOTIATE), HttpToken(NTLM))
FIRST = encode_negotiate(NtlmNegotiate(flags=HTTP_FLAGS))
USERS = (
    UserRange(
        count=3,
        sip_uri="sip:User{n}@contoso.com",
        number="4{n}",
        pin="1357{n}",
        user_name="CONTOSO\\Staff{n}",
        password="Secret-{n}",
    ),
    UserRange(sip_uri="sip:alice@contoso.com", number="5", pin="24680"),
)


def authentication(schemes=(NEGOTIATE, NTLM), faults=()):
    users = UserDirectory(USERS, faults)
    return WindowsAuthentication(users, schemes, "web.contoso.com", random.Random(1), EPOCH)


def challenge_of(machine, scheme=NTLM, connection=HERE, now=0.0):
    came = machine.authenticate(connection, HttpToken(scheme, FIRST), now)
    assert isinstance(came, Unauthorized)
    assert not came.why
    (token,) = came.challenges
    assert token.scheme == scheme
    return token.octets


def answer(challenge, user="Staff2", password="Secret-2", domain="CONTOSO"):
    return answer_over_connection(
        FIRST,
        challenge,
        user=user,
        domain=domain,
        password=password,
        now=EPOCH,
        client_challenge=b"12345678",
    )


def shake(machine, scheme=NTLM, **credentials):
    octets = answer(challenge_of(machine, scheme), **credentials)
    return machine.authenticate(HERE, HttpToken(scheme, octets), 1.0)


def test_who_shows_nothing_is_told_what_to_show():
    assert authentication().authenticate(HERE, None, 0.0) == Unauthorized(BOTH)


@pytest.mark.parametrize("scheme", [NTLM, NEGOTIATE])
@pytest.mark.parametrize(
    ("credentials", "sip_uri"),
    [
        ({}, "sip:user2@contoso.com"),
        ({"domain": "contoso", "user": "STAFF2"}, "sip:user2@contoso.com"),
        ({"domain": "", "user": "CONTOSO\\staff2"}, "sip:user2@contoso.com"),
        (
            {"domain": "", "user": "alice@contoso.com", "password": "24680"},
            "sip:alice@contoso.com",
        ),
        (
            {"domain": "contoso.com", "user": "Alice", "password": "24680"},
            "sip:alice@contoso.com",
        ),
    ],
)
def test_who_knows_a_password_is_its_user(scheme, credentials, sip_uri):
    assert shake(authentication(), scheme, **credentials).sip_uri == sip_uri


@pytest.mark.parametrize(
    ("credentials", "why"),
    [
        ({"password": "Secret-1"}, "the password of 'CONTOSO\\\\Staff2' is wrong"),
        ({"password": "13572"}, "is wrong"),
        ({"user": "Staff4"}, "nobody signs in as 'CONTOSO\\\\Staff4'"),
        ({"domain": "FABRIKAM"}, "nobody signs in as"),
        ({"domain": ""}, "nobody signs in as"),
        ({"user": ""}, "nobody signs in as"),
    ],
)
def test_anybody_else_is_told_to_begin_again(credentials, why):
    refused = shake(authentication(), **credentials)
    assert refused.challenges == BOTH
    assert why in refused.why


def test_a_fault_gives_the_server_another_password():
    machine = authentication(faults=[SetPinState(kind="pin-state", state="wrong")])
    assert "is wrong" in shake(machine).why


def test_a_challenge_fits_what_was_asked_and_is_another_each_time():
    machine = authentication()
    first, second = (decode_challenge(challenge_of(machine)) for _ in range(2))
    assert first.server_challenge != second.server_challenge
    assert first.flags == HTTP_FLAGS
    assert first.target_name == "contoso.com"


def test_who_asks_for_less_is_granted_less():
    machine = authentication()
    first = encode_negotiate(NtlmNegotiate(flags=NTLM_ALONE))
    came = machine.authenticate(HERE, HttpToken(NTLM, first), 0.0)
    assert decode_challenge(came.challenges[0].octets).flags == (
        NTLM_ALONE | UNICODE | REQUEST_TARGET | TARGET_INFO
    )


@pytest.mark.parametrize(
    ("begun_on", "begun_with", "now"),
    [(THERE, NTLM, 1.0), (HERE, NEGOTIATE, 1.0), (HERE, NTLM, HANDSHAKE_SECONDS)],
    ids=["another connection", "another scheme", "too late"],
)
def test_what_was_not_begun_here_does_not_count(begun_on, begun_with, now):
    machine = authentication()
    octets = answer(challenge_of(machine, begun_with, begun_on))
    refused = machine.authenticate(HERE, HttpToken(NTLM, octets), now)
    assert refused == Unauthorized(BOTH, "no handshake was begun on this connection")


def test_an_answer_is_good_once():
    machine = authentication()
    octets = answer(challenge_of(machine))
    assert machine.authenticate(HERE, HttpToken(NTLM, octets), 1.0).number == "42"
    assert "no handshake was begun" in machine.authenticate(HERE, HttpToken(NTLM, octets), 1.0).why
    assert machine.authenticate(HERE, None, 1.0) == Unauthorized(BOTH)


def test_an_answer_to_an_earlier_challenge_is_wrong():
    machine = authentication()
    octets = answer(challenge_of(machine))
    challenge_of(machine)
    assert "is wrong" in machine.authenticate(HERE, HttpToken(NTLM, octets), 1.0).why


def test_handshakes_do_not_disturb_each_other():
    machine = authentication()
    here, there = challenge_of(machine), challenge_of(machine, connection=THERE)
    first = machine.authenticate(THERE, HttpToken(NTLM, answer(there)), 1.0)
    credentials = {"user": "Staff1", "password": "Secret-1"}
    second = machine.authenticate(HERE, HttpToken(NTLM, answer(here, **credentials)), 1.0)
    assert (first.number, second.number) == ("42", "41")


@pytest.mark.parametrize(
    ("token", "why"),
    [
        (HttpToken("Basic"), "Basic is not offered"),
        (HttpToken(NEGOTIATE, FIRST), "Negotiate is not offered"),
        (HttpToken(NTLM), "0 octets that are no message"),
        (HttpToken(NTLM, b"`\x82garbage"), "9 octets that are no message"),
        (HttpToken(NTLM, FIRST[:12]), "12 octets that are no message of type 1"),
    ],
)
def test_what_is_no_message_is_refused_with_a_reason(token, why):
    refused = authentication([NTLM]).authenticate(HERE, token, 0.0)
    assert refused == Unauthorized((HttpToken(NTLM),), refused.why)
    assert why in refused.why


@given(st.binary(max_size=60), st.integers(0, 300), st.integers(0, 255), st.booleans())
def test_any_token_is_taken_or_refused(octets, place, value, begins):
    machine = authentication()
    whole = bytearray(answer(challenge_of(machine)) if begins else FIRST)
    whole[place % len(whole)] = value
    for each in (bytes(whole), octets, bytes(whole[:20]) + octets):
        came = machine.authenticate(HERE, HttpToken(NTLM, each), 0.0)
        assert isinstance(came, Unauthorized | User)
