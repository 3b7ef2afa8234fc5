"""What a phone with a password answers to a 401."""

from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from phonesim.device.http_authentication import (
    Authorize,
    HttpAuthentication,
    NotAuthenticated,
    WindowsCredentials,
)
from phonesim.device.outcome import FailureReason
from phonesim.wire.http_token import NEGOTIATE, NTLM, HttpToken
from phonesim.wire.ntlm import (
    HTTP_FLAGS,
    NtlmChallenge,
    NtlmNegotiate,
    decode_authenticate,
    encode_challenge,
    encode_negotiate,
    knows_password,
    target_info,
)

PASSWORD = "Pa$$word"
FIRST = encode_negotiate(NtlmNegotiate(flags=HTTP_FLAGS))
CHALLENGE = encode_challenge(
    NtlmChallenge(
        flags=HTTP_FLAGS,
        server_challenge=b"challeng",
        target_info=target_info("contoso.com", "web", 1_700_000_000),
    )
)
OFFERS = (HttpToken(NEGOTIATE), HttpToken(NTLM))


def machine(user_name: str = "CONTOSO\\alice") -> HttpAuthentication:
    credentials = WindowsCredentials(
        sip_uri="sip:alice@contoso.com", user_name=user_name, password=PASSWORD
    )
    return HttpAuthentication(credentials, random.Random(1), lambda now: 1.7e9 + now)


@pytest.mark.parametrize(
    ("offers", "scheme"),
    [
        (OFFERS, NTLM),
        ((HttpToken(NTLM),), NTLM),
        ((HttpToken("Basic"), HttpToken(NEGOTIATE)), NEGOTIATE),
        ((HttpToken(NTLM, b"odd"),), NTLM),
    ],
)
@pytest.mark.parametrize(
    ("user_name", "domain", "user"),
    [("CONTOSO\\alice", "CONTOSO", "alice"), ("alice@contoso.com", "", "alice@contoso.com")],
)
def test_the_three_steps(
    offers: tuple[HttpToken, ...], scheme: str, user_name: str, domain: str, user: str
) -> None:
    phone = machine(user_name)
    assert not phone.is_under_way
    assert phone.answer(offers, 0.0) == Authorize(HttpToken(scheme, FIRST), stays=False)
    assert phone.is_under_way
    others = (HttpToken("Basic"), HttpToken(scheme, CHALLENGE))
    step = phone.answer(others, 0.0)
    assert isinstance(step, Authorize)
    assert step.stays
    assert step.token.scheme == scheme
    message = decode_authenticate(step.token.octets)
    assert (message.domain, message.user) == (domain, user)
    assert knows_password(FIRST, CHALLENGE, step.token.octets, PASSWORD)
    refused = phone.answer(OFFERS, 1.0)
    assert refused == NotAuthenticated(
        FailureReason.PASSWORD_INCORRECT, f"{user_name} was not accepted with its password"
    )


@pytest.mark.parametrize(
    ("offers", "told"), [((), "offers nothing"), ((HttpToken("Basic"),), "offers Basic,")]
)
def test_a_server_without_ntlm_is_told(offers: tuple[HttpToken, ...], told: str) -> None:
    refused = machine().answer(offers, 0.0)
    assert isinstance(refused, NotAuthenticated)
    assert refused.reason is FailureReason.WEB_SERVICES_NO_COMMON_SCHEME
    assert told in refused.detail


@pytest.mark.parametrize(
    "challenges",
    [
        (),
        OFFERS,
        (HttpToken(NEGOTIATE, CHALLENGE),),
        (HttpToken(NTLM, b"garbage"),),
        (HttpToken(NTLM, CHALLENGE[:50]),),
        (HttpToken(NTLM, FIRST),),
    ],
    ids=["nothing", "offers again", "another scheme", "garbage", "cut", "another message"],
)
def test_what_is_no_challenge_ends_it(challenges: tuple[HttpToken, ...]) -> None:
    phone = machine()
    phone.answer(OFFERS, 0.0)
    refused = phone.answer(challenges, 0.0)
    assert isinstance(refused, NotAuthenticated)
    assert refused.reason is FailureReason.WEB_SERVICES_HANDSHAKE_FAILED
    assert "the server sent no challenge" in refused.detail


def test_it_begins_anew_after_a_reset() -> None:
    phone = machine()
    phone.answer(OFFERS, 0.0)
    phone.reset()
    assert not phone.is_under_way
    assert phone.answer(OFFERS, 0.0) == Authorize(HttpToken(NTLM, FIRST), stays=False)


def test_the_password_is_not_shown() -> None:
    credentials = WindowsCredentials(sip_uri="sip:a@x", user_name="X\\a", password=PASSWORD)
    assert PASSWORD not in repr(credentials)
    assert PASSWORD not in repr(machine().answer(OFFERS, 0.0))


TOKENS = st.builds(
    HttpToken,
    st.sampled_from([NTLM, NEGOTIATE, "Basic"]),
    st.one_of(st.binary(max_size=80), st.just(CHALLENGE), st.binary().map(CHALLENGE.__add__)),
)


@given(st.lists(st.lists(TOKENS, max_size=3), max_size=5))
def test_any_answers_are_taken(answers: list[list[HttpToken]]) -> None:
    phone = machine()
    for challenges in answers:
        assert isinstance(phone.answer(challenges, 0.0), Authorize | NotAuthenticated)
