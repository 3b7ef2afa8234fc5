"""NTLM with version 2 responses, as HTTP uses it and as SIP does.

    client                                    server
    NEGOTIATE_MESSAGE (SIP: nothing)      ->
                                          <-  CHALLENGE_MESSAGE
    AUTHENTICATE_MESSAGE                  ->

HTTP authenticates a connection, and that is all; a server that gives its time wants a code
(MIC) over the three messages, too. SIP is connectionless: there is no NEGOTIATE_MESSAGE, the
client chooses a session key and sends it encrypted with one that both make of the password,
and signs with it what follows. Every signature has the sequence number 100.

A library for NTLM over HTTP or GSSAPI cannot do the latter: datagrams, no first message, a
fixed sequence number. MD4 and RC4 come from pycryptodome, since OpenSSL has them no more.

Specifications: [MS-NLMP] sections 2.2.1, 2.2.2.1, 2.2.2.7, 3.1.5.1.2, 3.3.2, 3.4.4 and 3.4.5;
sign-in reference sections 15.1, 15.2 and 16.1.
"""

from __future__ import annotations

import hmac
import struct
import zlib
from hashlib import md5

import msgspec
from Crypto.Cipher import ARC4
from Crypto.Hash import MD4

from phonesim.errors import DecodeError
from phonesim.wire.sipae import SigningKeys

UNICODE = 0x00000001
REQUEST_TARGET = 0x00000004
SIGN = 0x00000010
SEAL = 0x00000020
DATAGRAM = 0x00000040
NTLM = 0x00000200
ALWAYS_SIGN = 0x00008000
EXTENDED_SESSION_SECURITY = 0x00080000
IDENTIFY = 0x00100000
TARGET_INFO = 0x00800000
VERSION = 0x02000000
KEY_128 = 0x20000000
KEY_EXCHANGE = 0x40000000

FLAGS = (
    UNICODE
    | REQUEST_TARGET
    | SIGN
    | DATAGRAM
    | NTLM
    | ALWAYS_SIGN
    | EXTENDED_SESSION_SECURITY
    | IDENTIFY
    | TARGET_INFO
    | KEY_128
    | KEY_EXCHANGE
)
"""What both sides of this project ask for at SIP."""

HTTP_FLAGS = (
    UNICODE
    | REQUEST_TARGET
    | NTLM
    | ALWAYS_SIGN
    | EXTENDED_SESSION_SECURITY
    | TARGET_INFO
    | VERSION
    | KEY_128
)
"""What they ask for at HTTP, where nothing is signed."""

_SIGNATURE = b"NTLMSSP\0"
_NEGOTIATE, _CHALLENGE, _AUTHENTICATE = 1, 2, 3
_NAMES = {
    _NEGOTIATE: "NEGOTIATE_MESSAGE",
    _CHALLENGE: "CHALLENGE_MESSAGE",
    _AUTHENTICATE: "AUTHENTICATE_MESSAGE",
}
_AV_SERVER, _AV_DOMAIN, _AV_FLAGS, _AV_TIMESTAMP = 1, 2, 6, 7
_AV_HAS_MIC = 0x2
_SEQUENCE = struct.pack("<I", 100)
_FIELDS = struct.Struct("<HHI")
_NEGOTIATE_HEAD = struct.Struct("<8sII8s8s8s")
_CHALLENGE_HEAD = struct.Struct("<8sI8sI8s8s8s8s")
_AUTHENTICATE_HEAD = struct.Struct("<8sI8s8s8s8s8s8sI8s")
_VERSION = struct.pack("<BBHI", 6, 0, 0, 15 << 24)
"""6.0, the version of Windows CE [inferred]; and NTLMSSP_REVISION_W2K3."""
_MIC = slice(_AUTHENTICATE_HEAD.size, _AUTHENTICATE_HEAD.size + 16)
_SERVER_CHALLENGE = slice(24, 32)
_AV_PAIR = struct.Struct("<HH")
_EMPTY_LM = bytes(24)
_TEMP_HEAD = struct.Struct("<BB6xQ8s4x")
_FILETIME_EPOCH = 11_644_473_600
_LARGEST_TARGET_INFO = 2048


class NtlmNegotiate(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """NEGOTIATE_MESSAGE: what the client can do."""

    flags: int


class NtlmChallenge(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """CHALLENGE_MESSAGE: `server_challenge` is 8 octets, `target_info` AV_PAIRs."""

    flags: int
    server_challenge: bytes
    target_name: str = ""
    target_info: bytes = b""


class NtlmAuthenticate(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """AUTHENTICATE_MESSAGE; `nt_response` is NTProofStr and what it is made over.

    `mic` is a code of 16 octets over all messages, empty if the message has no room for it.
    """

    flags: int
    user: str
    domain: str
    nt_response: bytes
    session_key: bytes
    workstation: str = ""
    mic: bytes = b""


class NtlmKey(msgspec.Struct, frozen=True, gc=False):
    """The keys of one direction, with extended session security. Their repr is empty."""

    signing: bytes
    sealing: bytes

    def sign(self, buffer: bytes) -> str:
        """Version, encrypted checksum and sequence number, in lower-case hexadecimal."""
        checksum = hmac.digest(self.signing, _SEQUENCE + buffer, "md5")[:8]
        key = md5(self.sealing + _SEQUENCE, usedforsecurity=False).digest()
        return (b"\1\0\0\0" + ARC4.new(key).encrypt(checksum) + _SEQUENCE).hex()

    def verifies(self, buffer: bytes, signature: str) -> bool:
        """Compare in constant time; `signature` is ASCII."""
        return hmac.compare_digest(self.sign(buffer), signature.lower())

    def __repr__(self) -> str:
        """Keep the keys out of logs."""
        return "NtlmKey()"


class OldNtlmKey(msgspec.Struct, frozen=True, gc=False):
    """The key of both directions without extended session security. Its repr is empty."""

    key: bytes

    def sign(self, buffer: bytes) -> str:
        """Version, nothing, encrypted CRC-32 and sequence number, in lower-case hexadecimal."""
        cipher = ARC4.new(self.key)
        cipher.encrypt(bytes(4))  # the pad, which is then written over with zeros
        checksum = cipher.encrypt(struct.pack("<I", zlib.crc32(buffer)))
        return (b"\1\0\0\0" + bytes(4) + checksum + cipher.encrypt(_SEQUENCE)).hex()

    def verifies(self, buffer: bytes, signature: str) -> bool:
        """Compare in constant time; `signature` is ASCII."""
        return hmac.compare_digest(self.sign(buffer), signature.lower())

    def __repr__(self) -> str:
        """Keep the key out of logs."""
        return "OldNtlmKey()"


# --- secrets ---


def response_key(user: str, domain: str, password: str) -> bytes:
    """NTOWFv2: what both sides make of a password."""
    nt_hash = MD4.new(password.encode("utf-16-le")).digest()  # noqa: S303 - what NTLM is made of
    return hmac.digest(nt_hash, (user.upper() + domain).encode("utf-16-le"), "md5")


def answer_challenge(
    challenge: NtlmChallenge,
    *,
    user: str,
    domain: str,
    password: str,
    now: float,
    client_challenge: bytes,
    session_key: bytes,
) -> tuple[NtlmAuthenticate, SigningKeys]:
    """The client's message and its keys; `now` is Unix seconds, the last two are random.

    8 octets of `client_challenge`, 16 of `session_key`.
    """
    filetime = max(0, int((now + _FILETIME_EPOCH) * 10_000_000))
    message, key = _answer(
        challenge,
        FLAGS & challenge.flags,
        (user, domain, password),
        _TEMP_HEAD.pack(1, 1, filetime, client_challenge),
        challenge.target_info,
        session_key,
    )
    return message, ntlm_keys(key, message.flags)


def answer_over_connection(
    negotiate: bytes,
    challenge: bytes,
    *,
    user: str,
    domain: str,
    password: str,
    now: float,
    client_challenge: bytes,
) -> bytes:
    """The AUTHENTICATE_MESSAGE that follows the other two; DecodeError if the challenge is none.

    A server that gives its time gets it back, and the code over all three messages.
    """
    asked = decode_challenge(challenge)
    pairs = _read_av_pairs(asked.target_info)
    timestamp = pairs.get(_AV_TIMESTAMP, b"")
    has_mic = len(timestamp) == 8
    filetime = max(0, int((now + _FILETIME_EPOCH) * 10_000_000))
    if has_mic:
        filetime = int.from_bytes(timestamp, "little")
        told = int.from_bytes(pairs.get(_AV_FLAGS, b"")[:4], "little")
        pairs[_AV_FLAGS] = (told | _AV_HAS_MIC).to_bytes(4, "little")
    message, key = _answer(
        asked,
        HTTP_FLAGS & asked.flags,
        (user, domain, password),
        _TEMP_HEAD.pack(1, 1, filetime, client_challenge),
        _av_pairs(pairs) if has_mic else asked.target_info,
    )
    if not has_mic:
        return encode_authenticate(message)
    octets = encode_authenticate(msgspec.structs.replace(message, mic=bytes(16)))
    return octets[: _MIC.start] + _mic(key, negotiate, challenge, octets) + octets[_MIC.stop :]


def _answer(
    challenge: NtlmChallenge,
    flags: int,
    credentials: tuple[str, str, str],
    temp_head: bytes,
    info: bytes,
    own_key: bytes = b"",
) -> tuple[NtlmAuthenticate, bytes]:
    """The client's message, and the session key that both sides then have."""
    user, domain, password = credentials
    key = response_key(user, domain, password)
    temp = temp_head + info + bytes(4)
    proof = hmac.digest(key, challenge.server_challenge + temp, "md5")
    base_key = hmac.digest(key, proof, "md5")
    has_own_key = _exchanges_key(flags)
    message = NtlmAuthenticate(
        flags=flags,
        user=user,
        domain=domain,
        nt_response=proof + temp,
        session_key=ARC4.new(base_key).encrypt(own_key) if has_own_key else b"",
    )
    return message, own_key if has_own_key else base_key


def _exchanges_key(flags: int) -> bool:
    return bool(flags & KEY_EXCHANGE and flags & (SIGN | SEAL))


def check_answer(
    message: NtlmAuthenticate, server_challenge: bytes, password: str
) -> SigningKeys | None:
    """The keys, if the sender of `message` knew the password; else None."""
    key = _session_key(message, server_challenge, password)
    return None if key is None else ntlm_keys(key, message.flags)


def knows_password(negotiate: bytes, challenge: bytes, answer: bytes, password: str) -> bool:
    """Whether the sender of `answer` did, and the three messages are as they were sent.

    `challenge` is one that was made here. DecodeError if `answer` is none.
    """
    message = decode_authenticate(answer)
    key = _session_key(message, challenge[_SERVER_CHALLENGE], password)
    if key is None:
        return False
    pairs = _read_av_pairs(message.nt_response[16 + _TEMP_HEAD.size :])
    if not int.from_bytes(pairs.get(_AV_FLAGS, b"")[:4], "little") & _AV_HAS_MIC:
        return True
    return hmac.compare_digest(message.mic, _mic(key, negotiate, challenge, answer))


def _session_key(message: NtlmAuthenticate, server_challenge: bytes, password: str) -> bytes | None:
    """The session key, if the sender of `message` knew the password; else None."""
    key = response_key(message.user, message.domain, password)
    proof, temp = message.nt_response[:16], message.nt_response[16:]
    expected = hmac.digest(key, server_challenge + temp, "md5")
    if not hmac.compare_digest(proof, expected):
        return None
    base_key = hmac.digest(key, proof, "md5")
    if not _exchanges_key(message.flags):
        return base_key
    if len(message.session_key) != 16:
        return None
    return exported_session_key(base_key, message.session_key)


def _mic(session_key: bytes, negotiate: bytes, challenge: bytes, answer: bytes) -> bytes:
    """The code over all three messages, the place of the code itself taken as zeros."""
    cleared = answer[: _MIC.start] + bytes(16) + answer[_MIC.stop :]
    return hmac.digest(session_key, negotiate + challenge + cleared, "md5")


def exported_session_key(base_key: bytes, encrypted: bytes) -> bytes:
    """The session key that the client chose."""
    return ARC4.new(base_key).decrypt(encrypted)


def ntlm_keys(session_key: bytes, flags: int) -> SigningKeys:
    """What both sides sign with."""
    if not flags & EXTENDED_SESSION_SECURITY:
        old = OldNtlmKey(session_key)
        return SigningKeys(old, old)

    def key(direction: str, purpose: str) -> bytes:
        magic = f"session key to {direction} {purpose} key magic constant\0".encode()
        return md5(session_key + magic, usedforsecurity=False).digest()

    client, server = (
        NtlmKey(key(direction, "signing"), key(direction, "sealing"))
        for direction in ("client-to-server", "server-to-client")
    )
    return SigningKeys(client, server)


# --- messages ---


def target_info(domain: str, server: str, now: float | None = None) -> bytes:
    """AV_PAIRs with the names of a domain and a server of it, and its time in Unix seconds."""
    pairs = {_AV_DOMAIN: domain.encode("utf-16-le"), _AV_SERVER: server.encode("utf-16-le")}
    if now is not None:
        filetime = int((now + _FILETIME_EPOCH) * 10_000_000)
        pairs[_AV_TIMESTAMP] = filetime.to_bytes(8, "little")
    return _av_pairs(pairs)


def _av_pairs(pairs: dict[int, bytes]) -> bytes:
    octets = b"".join(_AV_PAIR.pack(kind, len(value)) + value for kind, value in pairs.items())
    return octets + bytes(4)


def _read_av_pairs(octets: bytes) -> dict[int, bytes]:
    """AV_PAIRs up to the one that ends them; DecodeError if they do not end."""
    pairs: dict[int, bytes] = {}
    at = 0
    while octets:
        head = octets[at : at + _AV_PAIR.size]
        if len(head) < _AV_PAIR.size:
            raise DecodeError("NTLM: the AV_PAIRs do not end")
        kind, size = _AV_PAIR.unpack(head)
        if not kind:
            break
        at += _AV_PAIR.size
        pairs[kind] = octets[at : at + size]
        at += size
    return pairs


def name_of_message(octets: bytes) -> str:
    """Which message that is, as its head says; DecodeError if it is none."""
    name = _NAMES.get(int.from_bytes(octets[8:12], "little"))
    if octets[:8] != _SIGNATURE or name is None:
        raise DecodeError(f"NTLM: {len(octets)} octets that are no message")
    return name


def encode_negotiate(message: NtlmNegotiate) -> bytes:
    """The octets of a NEGOTIATE_MESSAGE; it names neither domain nor workstation."""
    nothing = _FIELDS.pack(0, 0, _NEGOTIATE_HEAD.size)
    version = _version(message.flags)
    return _NEGOTIATE_HEAD.pack(_SIGNATURE, _NEGOTIATE, message.flags, nothing, nothing, version)


def decode_negotiate(octets: bytes) -> NtlmNegotiate:
    """Read a NEGOTIATE_MESSAGE; DecodeError if it is none."""
    _check_head(octets, _NEGOTIATE, 16)
    return NtlmNegotiate(flags=int.from_bytes(octets[12:16], "little"))


def encode_challenge(message: NtlmChallenge) -> bytes:
    """The octets of a CHALLENGE_MESSAGE."""
    name = message.target_name.encode("utf-16-le")
    at = _CHALLENGE_HEAD.size
    return (
        _CHALLENGE_HEAD.pack(
            _SIGNATURE,
            _CHALLENGE,
            _FIELDS.pack(len(name), len(name), at),
            message.flags,
            message.server_challenge,
            bytes(8),
            _FIELDS.pack(len(message.target_info), len(message.target_info), at + len(name)),
            _version(message.flags),
        )
        + name
        + message.target_info
    )


def decode_challenge(octets: bytes) -> NtlmChallenge:
    """Read a CHALLENGE_MESSAGE; DecodeError if it is none."""
    _check_head(octets, _CHALLENGE, 48)
    flags = int.from_bytes(octets[20:24], "little")
    if flags & EXTENDED_SESSION_SECURITY and not flags & KEY_128:
        raise DecodeError("NTLM: the server wants keys of less than 128 bits")
    info = _payload(octets, 40, "TargetInfo") if flags & TARGET_INFO else b""
    if len(info) > _LARGEST_TARGET_INFO:
        raise DecodeError(f"NTLM: TargetInfo has {len(info)} octets")
    return NtlmChallenge(
        flags=flags,
        server_challenge=octets[_SERVER_CHALLENGE],
        target_name=_text(_payload(octets, 12, "TargetName"), "TargetName"),
        target_info=info,
    )


def encode_authenticate(message: NtlmAuthenticate) -> bytes:
    """The octets of an AUTHENTICATE_MESSAGE."""
    payload = (
        _EMPTY_LM,
        message.nt_response,
        message.domain.encode("utf-16-le"),
        message.user.encode("utf-16-le"),
        message.workstation.encode("utf-16-le"),
        message.session_key,
    )
    at = _AUTHENTICATE_HEAD.size + len(message.mic)
    fields = []
    for part in payload:
        fields.append(_FIELDS.pack(len(part), len(part), at))
        at += len(part)
    version = _version(message.flags)
    head = _AUTHENTICATE_HEAD.pack(_SIGNATURE, _AUTHENTICATE, *fields, message.flags, version)
    return head + message.mic + b"".join(payload)


def decode_authenticate(octets: bytes) -> NtlmAuthenticate:
    """Read an AUTHENTICATE_MESSAGE; DecodeError if it is none, or has no version 2 response."""
    _check_head(octets, _AUTHENTICATE, 64)
    response = _payload(octets, 20, "NtChallengeResponse")
    if len(response) < 16 + _TEMP_HEAD.size:
        raise DecodeError("NTLM: the response is not one of version 2")
    return NtlmAuthenticate(
        flags=int.from_bytes(octets[60:64], "little"),
        nt_response=response,
        domain=_text(_payload(octets, 28, "DomainName"), "DomainName"),
        user=_text(_payload(octets, 36, "UserName"), "UserName"),
        workstation=_text(_payload(octets, 44, "Workstation"), "Workstation"),
        session_key=_payload(octets, 52, "EncryptedRandomSessionKey"),
        mic=octets[_MIC] if _begin_of_payload(octets) >= _MIC.stop else b"",
    )


def _begin_of_payload(octets: bytes) -> int:
    """Where the first field of an AUTHENTICATE_MESSAGE begins: MIC is what tells old from new."""
    fields = (_FIELDS.unpack_from(octets, at) for at in range(12, 60, _FIELDS.size))
    return min((offset for size, _, offset in fields if size), default=0)


def _version(flags: int) -> bytes:
    return _VERSION if flags & VERSION else bytes(8)


def _check_head(octets: bytes, kind: int, size: int) -> None:
    if octets[:8] != _SIGNATURE or len(octets) < size:
        raise DecodeError(f"NTLM: {len(octets)} octets that are no message of type {kind}")
    found = int.from_bytes(octets[8:12], "little")
    if found != kind:
        raise DecodeError(f"NTLM: a message of type {found}, not {kind}")
    # Who offers both kinds of texts has not yet chosen.
    if kind != _NEGOTIATE and not octets[20 if kind == _CHALLENGE else 60] & UNICODE:
        raise DecodeError("NTLM: its texts are not Unicode")


def _payload(octets: bytes, at: int, name: str) -> bytes:
    size, _, offset = _FIELDS.unpack_from(octets, at)
    value = octets[offset : offset + size]
    if len(value) < size:
        raise DecodeError(f"NTLM: {name} is not within the message")
    return value


def _text(octets: bytes, name: str) -> str:
    try:
        return octets.decode("utf-16-le")
    except UnicodeDecodeError:
        raise DecodeError(f"NTLM: {name} is not UTF-16") from None
