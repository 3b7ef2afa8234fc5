"""NTLM as SIP uses it: connectionless, version 2 responses, and the signatures that follow.

    client                                    server
    nothing, an empty token               ->
                                          <-  CHALLENGE_MESSAGE
    AUTHENTICATE_MESSAGE                  ->

There is no NEGOTIATE_MESSAGE. The client chooses the session key and sends it encrypted with
one that both make of the password. Every signature has the sequence number 100.

A library for NTLM over HTTP or GSSAPI cannot do this: datagrams, no first message, a fixed
sequence number. MD4 and RC4 come from pycryptodome, since OpenSSL has them no more.

Specifications: [MS-NLMP] sections 2.2.1, 2.2.2.7, 3.3.2, 3.4.4 and 3.4.5; sign-in reference
sections 15.1, 15.2 and 16.1.
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
DATAGRAM = 0x00000040
NTLM = 0x00000200
ALWAYS_SIGN = 0x00008000
EXTENDED_SESSION_SECURITY = 0x00080000
IDENTIFY = 0x00100000
TARGET_INFO = 0x00800000
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
"""What both sides of this project ask for."""

_SIGNATURE = b"NTLMSSP\0"
_CHALLENGE, _AUTHENTICATE = 2, 3
_SEQUENCE = struct.pack("<I", 100)
_FIELDS = struct.Struct("<HHI")
_CHALLENGE_HEAD = struct.Struct("<8sI8sI8s8s8s8s")
_AUTHENTICATE_HEAD = struct.Struct("<8sI8s8s8s8s8s8sI8s")
_VERSION = bytes(8)  # it is not negotiated
_EMPTY_LM = bytes(24)
_TEMP_HEAD = struct.Struct("<BB6xQ8s4x")
_FILETIME_EPOCH = 11_644_473_600
_LARGEST_TARGET_INFO = 2048


class NtlmChallenge(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """CHALLENGE_MESSAGE: `server_challenge` is 8 octets, `target_info` AV_PAIRs."""

    flags: int
    server_challenge: bytes
    target_name: str = ""
    target_info: bytes = b""


class NtlmAuthenticate(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """AUTHENTICATE_MESSAGE; `nt_response` is NTProofStr and what it is made over."""

    flags: int
    user: str
    domain: str
    nt_response: bytes
    session_key: bytes
    workstation: str = ""


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
    key = response_key(user, domain, password)
    filetime = max(0, int((now + _FILETIME_EPOCH) * 10_000_000))
    temp = _TEMP_HEAD.pack(1, 1, filetime, client_challenge) + challenge.target_info + bytes(4)
    proof = hmac.digest(key, challenge.server_challenge + temp, "md5")
    flags = FLAGS & challenge.flags
    base_key = hmac.digest(key, proof, "md5")
    has_own_key = bool(flags & KEY_EXCHANGE)
    message = NtlmAuthenticate(
        flags=flags,
        user=user,
        domain=domain,
        nt_response=proof + temp,
        session_key=ARC4.new(base_key).encrypt(session_key) if has_own_key else b"",
    )
    return message, ntlm_keys(session_key if has_own_key else base_key, flags)


def check_answer(
    message: NtlmAuthenticate, server_challenge: bytes, password: str
) -> SigningKeys | None:
    """The keys, if the sender of `message` knew the password; else None."""
    key = response_key(message.user, message.domain, password)
    proof, temp = message.nt_response[:16], message.nt_response[16:]
    expected = hmac.digest(key, server_challenge + temp, "md5")
    if not hmac.compare_digest(proof, expected):
        return None
    base_key = hmac.digest(key, proof, "md5")
    if message.flags & KEY_EXCHANGE:
        if len(message.session_key) != 16:
            return None
        base_key = exported_session_key(base_key, message.session_key)
    return ntlm_keys(base_key, message.flags)


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


def target_info(domain: str, server: str) -> bytes:
    """AV_PAIRs with the names of a domain and a server of it."""
    pairs = ((2, domain), (1, server))
    octets = b"".join(
        struct.pack("<HH", kind, len(value)) + value
        for kind, value in ((kind, name.encode("utf-16-le")) for kind, name in pairs)
    )
    return octets + bytes(4)


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
            _VERSION,
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
        server_challenge=octets[24:32],
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
    at = _AUTHENTICATE_HEAD.size
    fields = []
    for part in payload:
        fields.append(_FIELDS.pack(len(part), len(part), at))
        at += len(part)
    head = _AUTHENTICATE_HEAD.pack(_SIGNATURE, _AUTHENTICATE, *fields, message.flags, _VERSION)
    return head + b"".join(payload)


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
    )


def _check_head(octets: bytes, kind: int, size: int) -> None:
    if octets[:8] != _SIGNATURE or len(octets) < size:
        raise DecodeError(f"NTLM: {len(octets)} octets that are no message of type {kind}")
    found = int.from_bytes(octets[8:12], "little")
    if found != kind:
        raise DecodeError(f"NTLM: a message of type {found}, not {kind}")
    if not octets[20 if kind == _CHALLENGE else 60] & UNICODE:
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
