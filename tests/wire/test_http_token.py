"""Tokens in HTTP, read as others write them."""

from __future__ import annotations

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from phonesim.errors import DecodeError
from phonesim.wire.http_token import (
    NEGOTIATE,
    NTLM,
    HttpToken,
    decode_challenges,
    decode_token,
    encode_token,
)


@pytest.mark.parametrize(
    ("value", "token"),
    [
        ("NTLM TlRMTVNTUAA=", HttpToken(NTLM, b"NTLMSSP\0")),
        ("  ntlm   TlRMTVNTUAA= ", HttpToken(NTLM, b"NTLMSSP\0")),
        ("Negotiate", HttpToken(NEGOTIATE)),
        ("Basic YWxpY2U6cGFzc3dvcmQ=", HttpToken("Basic")),
        ("", HttpToken("")),
    ],
)
def test_a_token_is_read(value: str, token: HttpToken) -> None:
    assert decode_token(value) == token


@pytest.mark.parametrize("value", ["NTLM x", "Negotiate a=b", "NTLM TlRM TVNT", "NTLM é"])
def test_what_is_not_base64_is_refused(value: str) -> None:
    with pytest.raises(DecodeError, match="is not base64"):
        decode_token(value)


@pytest.mark.parametrize(
    "values",
    [
        ["Negotiate", "NTLM", 'Basic realm="web"'],
        ['Negotiate, NTLM,Basic realm="web"'],
        ["Negotiate, NTLM", 'Basic realm="web"'],
    ],
)
def test_challenges_come_in_one_header_or_several(values: list[str]) -> None:
    offers = (HttpToken(NEGOTIATE), HttpToken(NTLM), HttpToken("Basic"))
    assert decode_challenges(values) == offers


def test_a_token_is_not_shown() -> None:
    assert repr(HttpToken(NTLM, b"secret")) == "HttpToken('NTLM', 6 octets)"


@given(st.sampled_from([NTLM, NEGOTIATE]), st.binary(max_size=100))
def test_any_token_survives(scheme: str, octets: bytes) -> None:
    token = HttpToken(scheme, octets)
    assert decode_token(encode_token(token)) == token
    assert decode_challenges([encode_token(token)]) == (token,)


@given(st.text(max_size=60), st.sampled_from(["", "NTLM ", "Negotiate "]))
def test_any_value_is_read_or_refused(text: str, scheme: str) -> None:
    with contextlib.suppress(DecodeError):
        decode_token(scheme + text)
    with contextlib.suppress(DecodeError):
        decode_challenges([scheme + text])
