"""NTLM as SIP and HTTP use it.

The vectors are those of the sign-in reference, sections 15.1 and 15.2, and of [MS-NLMP] section
4.2.4. scapy and pyspnego read the same as we do, and know the same passwords.
"""

from __future__ import annotations

import contextlib
import hmac
from pathlib import Path

import pytest
import spnego
from hypothesis import given
from hypothesis import strategies as st
from scapy.layers.ntlm import NTLM_Header, NTLMv2_ComputeSessionBaseKey, NTOWFv2

from phonesim.errors import DecodeError
from phonesim.wire.ntlm import (
    EXTENDED_SESSION_SECURITY,
    FLAGS,
    HTTP_FLAGS,
    KEY_128,
    KEY_EXCHANGE,
    TARGET_INFO,
    UNICODE,
    NtlmAuthenticate,
    NtlmChallenge,
    NtlmKey,
    NtlmNegotiate,
    OldNtlmKey,
    answer_challenge,
    answer_over_connection,
    check_answer,
    decode_authenticate,
    decode_challenge,
    decode_negotiate,
    encode_authenticate,
    encode_challenge,
    encode_negotiate,
    exported_session_key,
    knows_password,
    name_of_message,
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
        mic=st.one_of(st.just(b""), st.binary(min_size=16, max_size=16)),
    )
)
def test_any_answer_survives(message: NtlmAuthenticate) -> None:
    assert decode_authenticate(encode_authenticate(message)) == message


@given(st.integers(0, 2**32 - 1))
def test_any_first_message_survives(flags: int) -> None:
    octets = encode_negotiate(NtlmNegotiate(flags=flags))
    assert decode_negotiate(octets) == NtlmNegotiate(flags=flags)
    assert name_of_message(octets) == "NEGOTIATE_MESSAGE"


@given(st.binary(max_size=120), st.integers(0, 400), st.integers(0, 255))
def test_any_octets_are_read_or_refused(octets: bytes, place: int, value: int) -> None:
    for whole, decode in (
        (GOOD, decode_challenge),
        (ANSWER, decode_authenticate),
        (NEGOTIATED, decode_negotiate),
        (NEGOTIATED, name_of_message),
        (TIMED, lambda spoilt: over_http(spoilt)),
        (over_http(TIMED), lambda spoilt: knows_password(NEGOTIATED, TIMED, spoilt, "4711")),
    ):
        spoilt = bytearray(whole)
        spoilt[place % len(spoilt)] = value
        for each in (octets, bytes(spoilt), whole[:12] + octets):
            with contextlib.suppress(DecodeError):
                decode(each)


# --- over HTTP ---

NEGOTIATED = encode_negotiate(NtlmNegotiate(flags=HTTP_FLAGS))
TIMED = encode_challenge(
    NtlmChallenge(
        flags=HTTP_FLAGS,
        server_challenge=b"challeng",
        target_name="contoso.com",
        target_info=target_info("contoso.com", "web", 1_767_596_400.5),
    )
)
UNTIMED = encode_challenge(
    NtlmChallenge(
        flags=HTTP_FLAGS,
        server_challenge=b"challeng",
        target_info=target_info("contoso.com", "web"),
    )
)


def over_http(challenge: bytes, password: str = "4711", domain: str = "CONTOSO") -> bytes:
    return answer_over_connection(
        NEGOTIATED,
        challenge,
        user="alice",
        domain=domain,
        password=password,
        now=1_767_000_000,
        client_challenge=b"12345678",
    )


def test_the_proof_is_that_of_the_published_example() -> None:
    info = target_info("Domain", "Server")
    message, _ = answer_challenge(
        NtlmChallenge(
            flags=FLAGS, server_challenge=bytes.fromhex("0123456789abcdef"), target_info=info
        ),
        user="User",
        domain="Domain",
        password="Password",
        now=-11_644_473_600,
        client_challenge=b"\xaa" * 8,
        session_key=b"\x55" * 16,
    )
    assert response_key("User", "Domain", "Password").hex() == "0c868a403bfd7a93a3001ef22ef02e3f"
    assert message.nt_response[:16].hex() == "68cd0ab851e51c96aabc927bebef6a1c"
    assert message.session_key.hex() == "c5dad2544fc9799094ce1ce90bc9d03e"


@pytest.mark.parametrize("challenge", [TIMED, UNTIMED], ids=["timed", "untimed"])
def test_a_server_knows_who_knows_the_password(challenge: bytes) -> None:
    answer = over_http(challenge)
    assert knows_password(NEGOTIATED, challenge, answer, "4711")
    assert not knows_password(NEGOTIATED, challenge, answer, "4712")


def test_a_server_that_gives_its_time_gets_it_back_with_a_code() -> None:
    timed, untimed = (decode_authenticate(over_http(each)) for each in (TIMED, UNTIMED))
    assert len(timed.mic) == 16
    assert untimed.mic == b""
    filetimes = [int.from_bytes(each.nt_response[24:32], "little") for each in (timed, untimed)]
    epoch = 11_644_473_600
    assert filetimes == [
        (1_767_596_400 + epoch) * 10**7 + 5_000_000,
        (1_767_000_000 + epoch) * 10**7,
    ]


@pytest.mark.parametrize("which", ["negotiate", "challenge", "flags", "code"])
def test_no_message_can_be_changed_on_the_way(which: str) -> None:
    answer = over_http(TIMED)
    negotiate, challenge = NEGOTIATED, TIMED
    match which:
        case "negotiate":
            negotiate = encode_negotiate(NtlmNegotiate(flags=HTTP_FLAGS ^ 0x10))
        case "challenge":
            challenge = TIMED[:20] + bytes([TIMED[20] ^ 0x10]) + TIMED[21:]
        case "flags":
            answer = answer[:60] + bytes([answer[60] ^ 0x10]) + answer[61:]
        case "code":
            answer = answer[:72] + bytes(16) + answer[88:]
    assert not knows_password(negotiate, challenge, answer, "4711")


def test_target_info_that_does_not_end_is_refused() -> None:
    challenge = NtlmChallenge(flags=HTTP_FLAGS, server_challenge=bytes(8), target_info=b"\1\0\2\0")
    with pytest.raises(DecodeError, match="AV_PAIRs do not end"):
        over_http(encode_challenge(challenge))


@pytest.mark.parametrize("octets", [b"", b"NTLMSSP\0", b"NTLMSSP\0\4\0\0\0", b"`\x48\6\6"])
def test_what_is_no_message_has_no_name(octets: bytes) -> None:
    with pytest.raises(DecodeError, match="that are no message"):
        name_of_message(octets)


@pytest.mark.parametrize("password", ["Pa$$wörd", ""])
@pytest.mark.parametrize("name", ["CONTOSO\\alice", "alice@contoso.com"])
@pytest.mark.parametrize("challenge", [TIMED, UNTIMED], ids=["timed", "untimed"])
def test_pyspnego_as_a_client_is_known(challenge: bytes, name: str, password: str) -> None:
    client = spnego.client(name, password, hostname="web", service="HTTP", protocol="ntlm")
    negotiate = client.step()
    assert negotiate is not None
    assert decode_negotiate(negotiate).flags & UNICODE
    answer = client.step(challenge)
    assert client.complete
    assert answer is not None
    message = decode_authenticate(answer)
    domain, _, user = name.rpartition("\\")
    assert (message.domain, message.user) == (domain, user)
    assert knows_password(negotiate, challenge, answer, password)
    assert not knows_password(negotiate, challenge, answer, "another")


@pytest.fixture
def accounts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "accounts"
    file.write_text("CONTOSO:alice:4711\n")
    monkeypatch.setenv("NTLM_USER_FILE", str(file))


@pytest.mark.usefixtures("accounts")
def test_pyspnego_as_a_server_knows_us() -> None:
    server = spnego.server(protocol="ntlm")
    challenge = server.step(NEGOTIATED)
    assert challenge is not None
    assert len(decode_authenticate(over_http(challenge)).mic) == 16  # it gives its time
    server.step(over_http(challenge))
    assert server.complete
    assert server.client_principal == "CONTOSO\\alice"


@pytest.mark.usefixtures("accounts")
def test_pyspnego_as_a_server_refuses_a_wrong_password() -> None:
    server = spnego.server(protocol="ntlm")
    challenge = server.step(NEGOTIATED)
    assert challenge is not None
    with pytest.raises(spnego.exceptions.SpnegoError):
        server.step(over_http(challenge, password="4712"))
