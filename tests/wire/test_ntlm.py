"""NTLM as SIP uses it; the vectors are those of the sign-in reference, sections 15.1 and 15.2."""

from __future__ import annotations

import contextlib
import hmac

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scapy.layers.ntlm import NTLM_Header, NTLMv2_ComputeSessionBaseKey, NTOWFv2

from phonesim.errors import DecodeError
from phonesim.wire.ntlm import (
    EXTENDED_SESSION_SECURITY,
    FLAGS,
    KEY_128,
    KEY_EXCHANGE,
    TARGET_INFO,
    UNICODE,
    NtlmAuthenticate,
    NtlmChallenge,
    NtlmKey,
    OldNtlmKey,
    answer_challenge,
    check_answer,
    decode_authenticate,
    decode_challenge,
    encode_authenticate,
    encode_challenge,
    exported_session_key,
    ntlm_keys,
    response_key,
    target_info,
)

NT_PROOF = bytes.fromhex("8DC0C800AE76ECA606D2B9FBEBD04731")
ENCRYPTED_KEY = bytes.fromhex("31CB739E1CA80A498591E8AE797115E4")
SESSION_KEY = bytes.fromhex("6742fbe37bb1946b49d86a525bd29a9b")
A_REQUEST = (
    b"<NTLM><13317733><1><SIP Communications Service><cosmo-ocs-r2.cosmo.local>"
    b"<4037df9284354df39065195bd57a4b14><3><REGISTER><sip:user@cosmo.local><3e49177a52>"
    b"<sip:user@cosmo.local><><><><>"
)
A_RESPONSE = (
    b"<NTLM><9616454F><1><SIP Communications Service><cosmo-ocs-r2.cosmo.local>"
    b"<4037df9284354df39065195bd57a4b14><3><REGISTER><sip:user@cosmo.local><3e49177a52>"
    b"<sip:user@cosmo.local><5E61CCD925D17E043D9A74835A88F664><><><7200><200>"
)
B_RESPONSE = (
    b"<NTLM><0878F41B><1><SIP Communications Service><ocs1.ocs.provo.novell.com>"
    b"<8592g5DCBa1694i5887m0D0Bt2247b3F38xAE9Fx><3><REGISTER><sip:gabriel@ocs.provo.novell.com>"
    b"<2947328781><B816D65C2300A32CFA6D371F2AF537FD><900><200>"
)


def test_the_session_key_of_vector_a_follows_from_the_password() -> None:
    key = response_key("User", "COSMO", "Pa$$word")
    base_key = hmac.digest(key, NT_PROOF, "md5")
    assert exported_session_key(base_key, ENCRYPTED_KEY) == SESSION_KEY


def test_signatures_are_those_of_vector_a() -> None:
    keys = ntlm_keys(SESSION_KEY, FLAGS)
    assert keys.client.sign(A_REQUEST) == "0100000029618e9651b65a7764000000"
    assert keys.server.verifies(A_RESPONSE, "01000000E615438A917661BE64000000")
    assert not keys.client.verifies(A_RESPONSE, "01000000E615438A917661BE64000000")


def test_the_signature_without_extended_security_is_that_of_vector_b() -> None:
    keys = ntlm_keys(
        bytes.fromhex("5F029153BC025058969548615E7099BA"), FLAGS & ~EXTENDED_SESSION_SECURITY
    )
    assert keys.server.verifies(B_RESPONSE, "0100000000000000BF2E52667DDF6DED")
    assert keys.client.sign(B_RESPONSE) == "0100000000000000bf2e52667ddf6ded"


CHALLENGE = NtlmChallenge(
    flags=FLAGS,
    server_challenge=bytes.fromhex("DD1BAAF4E7E218D1"),
    target_name="contoso.com",
    target_info=target_info("contoso.com", "fe01"),
)


def answered(
    challenge: NtlmChallenge = CHALLENGE, password: str = "4711"
) -> tuple[NtlmAuthenticate, object]:
    return answer_challenge(
        challenge,
        user="alice",
        domain="contoso.com",
        password=password,
        now=1_767_596_400.5,
        client_challenge=b"12345678",
        session_key=bytes(range(16)),
    )


@pytest.mark.parametrize(
    "flags", [FLAGS, FLAGS & ~KEY_EXCHANGE, FLAGS & ~EXTENDED_SESSION_SECURITY, UNICODE]
)
def test_who_knows_the_password_has_the_same_keys(flags: int) -> None:
    challenge = NtlmChallenge(flags=flags, server_challenge=b"challeng")
    message, keys = answered(decode_challenge(encode_challenge(challenge)))
    message = decode_authenticate(encode_authenticate(message))
    assert check_answer(message, b"challeng", "4711") == keys
    assert check_answer(message, b"challeng", "4712") is None
    assert check_answer(message, b"another1", "4711") is None


def test_a_session_key_of_another_size_is_no_answer() -> None:
    message, _ = answered()
    short = NtlmAuthenticate(
        flags=message.flags,
        user=message.user,
        domain=message.domain,
        nt_response=message.nt_response,
        session_key=b"short",
    )
    assert check_answer(short, CHALLENGE.server_challenge, "4711") is None


def test_keys_are_not_shown() -> None:
    shown = repr(ntlm_keys(SESSION_KEY, FLAGS))
    assert shown == "SigningKeys(client=NtlmKey(), server=NtlmKey())"
    assert repr(OldNtlmKey(b"secret")) == "OldNtlmKey()"
    assert NtlmKey(b"a", b"b") != NtlmKey(b"a", b"c")


GOOD = encode_challenge(CHALLENGE)
ANSWER = encode_authenticate(answered()[0])


@pytest.mark.parametrize(
    ("octets", "problem"),
    [
        (b"", "0 octets that are no message of type 2"),
        (b"garbage" * 10, "no message of type 2"),
        (GOOD[:40], "40 octets that are no message of type 2"),
        (ANSWER, "a message of type 3, not 2"),
        (GOOD[:20] + b"\2" + GOOD[21:], "not Unicode"),
        (GOOD[:-1], "TargetInfo is not within the message"),
        (GOOD[:12] + b"\1\0\1\0" + GOOD[16:], "TargetName is not UTF-16"),
    ],
)
def test_what_is_no_challenge_is_refused_with_a_reason(octets: bytes, problem: str) -> None:
    with pytest.raises(DecodeError, match=problem):
        decode_challenge(octets)


def test_short_keys_are_refused() -> None:
    challenge = NtlmChallenge(flags=FLAGS & ~KEY_128, server_challenge=bytes(8))
    with pytest.raises(DecodeError, match="less than 128 bits"):
        decode_challenge(encode_challenge(challenge))


def test_scapy_reads_the_same_in_both_messages() -> None:
    challenge = NTLM_Header(GOOD)
    assert challenge.ServerChallenge == CHALLENGE.server_challenge
    assert dict(challenge.Payload)["TargetName"] == "contoso.com"
    answer = NTLM_Header(ANSWER)
    payload = dict(answer.Payload)
    assert (payload["UserName"], payload["DomainName"]) == ("alice", "contoso.com")
    response = payload["NtChallengeResponse"]
    key = NTOWFv2("4711", "alice", "contoso.com")
    assert key == response_key("alice", "contoso.com", "4711")
    assert response.computeNTProofStr(key, CHALLENGE.server_challenge) == response.NTProofStr
    base_key = NTLMv2_ComputeSessionBaseKey(key, response.NTProofStr)
    assert exported_session_key(base_key, payload["EncryptedRandomSessionKey"]) == bytes(range(16))


def test_an_enormous_target_info_is_refused() -> None:
    challenge = NtlmChallenge(flags=FLAGS, server_challenge=bytes(8), target_info=bytes(3000))
    with pytest.raises(DecodeError, match="TargetInfo has 3000 octets"):
        decode_challenge(encode_challenge(challenge))


def test_a_response_of_version_1_is_refused() -> None:
    message = NtlmAuthenticate(
        flags=FLAGS, user="a", domain="b", nt_response=bytes(24), session_key=b""
    )
    with pytest.raises(DecodeError, match="not one of version 2"):
        decode_authenticate(encode_authenticate(message))


TEXTS = st.text(st.characters(max_codepoint=0xD7FF), max_size=20)


@given(
    st.builds(
        NtlmChallenge,
        flags=st.integers(0, 2**32 - 1).map(lambda flags: flags | UNICODE | TARGET_INFO | KEY_128),
        server_challenge=st.binary(min_size=8, max_size=8),
        target_name=TEXTS,
        target_info=st.binary(max_size=100),
    )
)
def test_any_challenge_survives(message: NtlmChallenge) -> None:
    assert decode_challenge(encode_challenge(message)) == message


@given(
    st.builds(
        NtlmAuthenticate,
        flags=st.integers(0, 2**32 - 1).map(lambda flags: flags | UNICODE),
        user=TEXTS,
        domain=TEXTS,
        workstation=TEXTS,
        nt_response=st.binary(min_size=48, max_size=100),
        session_key=st.binary(max_size=16),
    )
)
def test_any_answer_survives(message: NtlmAuthenticate) -> None:
    assert decode_authenticate(encode_authenticate(message)) == message


@given(st.binary(max_size=120), st.integers(0, 200), st.integers(0, 255))
def test_any_octets_are_read_or_refused(octets: bytes, place: int, value: int) -> None:
    for whole, decode in ((GOOD, decode_challenge), (ANSWER, decode_authenticate)):
        spoilt = bytearray(whole)
        spoilt[place % len(spoilt)] = value
        for each in (octets, bytes(spoilt), whole[:12] + octets):
            with contextlib.suppress(DecodeError):
                decode(each)
