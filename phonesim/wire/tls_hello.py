"""The messages with which a TLS handshake begins: hellos and the server's certificates.

Written as far as a capture shows a handshake that nobody carried out, read as far as anybody can
who listens.

Specifications: RFC 5246 section 7.4, RFC 6066 section 3 (server_name), RFC 8446 section 4.2.1
(supported_versions).
"""

from __future__ import annotations

import struct
from collections.abc import Sequence

import msgspec

from phonesim.errors import DecodeError
from phonesim.wire.tls_records import (
    ALERT,
    CERTIFICATE,
    CLIENT_HELLO,
    SERVER_HELLO,
    SERVER_HELLO_DONE,
    encode_handshake,
)

_SERVER_NAME, _SUPPORTED_VERSIONS = 0, 43
_VERSIONS = {0x0300: "SSL 3.0", 0x0301: "1.0", 0x0302: "1.1", 0x0303: "1.2", 0x0304: "1.3"}
_NUMBERS = {text: number for number, text in _VERSIONS.items()}
# The ciphers of the phones' time: RSA with AES or 3DES.
_CIPHERS = bytes.fromhex("002f0035000a")
_FATAL = 2


class ClientHello(msgspec.Struct, frozen=True, gc=False):
    """The newest version that a client offers ("1.0" to "1.3"), and the server that it names."""

    version: str
    server_name: str


def encode_client_hello(hello: ClientHello, random: bytes) -> bytes:
    """A record with the hello; `random` are 32 octets."""
    version = min(_NUMBERS[hello.version], _NUMBERS["1.2"])
    name = hello.server_name.encode("ascii", "replace")
    extensions = _extension(_SERVER_NAME, _vector(2, b"\0" + _vector(2, name)))
    if hello.version == "1.3":
        offered = b"".join(struct.pack("!H", number) for number in (0x0304, 0x0303, 0x0302, 0x0301))
        extensions += _extension(_SUPPORTED_VERSIONS, _vector(1, offered))
    body = struct.pack("!H", version) + random + _vector(1, b"") + _vector(2, _CIPHERS)
    return encode_handshake((CLIENT_HELLO, body + _vector(1, b"\0") + _vector(2, extensions)))


def encode_server_flight(version: str, random: bytes, certificates: Sequence[bytes]) -> bytes:
    """A record with ServerHello, these certificates (DER) and ServerHelloDone, up to TLS 1.2."""
    number = min(_NUMBERS[version], _NUMBERS["1.2"])
    hello = struct.pack("!H", number) + random + _vector(1, b"") + _CIPHERS[:2] + b"\0"
    shown = _vector(3, b"".join(_vector(3, each) for each in certificates))
    return encode_handshake((SERVER_HELLO, hello), (CERTIFICATE, shown), (SERVER_HELLO_DONE, b""))


def encode_alert(number: int) -> bytes:
    """A record with a fatal alert."""
    return bytes((ALERT, 3, 1, 0, 2, _FATAL, number))


def decode_client_hello(body: bytes) -> ClientHello:
    """Read a ClientHello; DecodeError if it is cut off."""
    reader = _Reader(body)
    version = reader.number(2)
    reader.take(32)
    reader.vector(1)
    reader.vector(2)
    reader.vector(1)
    name = ""
    for kind, value in reader.extensions():
        if kind == _SERVER_NAME:
            names = _Reader(value)
            names.take(3)
            name = names.vector(2).decode("ascii", "replace")
        elif kind == _SUPPORTED_VERSIONS:
            offered = _Reader(value).vector(1)
            known = [
                int.from_bytes(offered[at : at + 2], "big") for at in range(0, len(offered), 2)
            ]
            version = max([each for each in known if each in _VERSIONS] or [version])
    return ClientHello(_version(version), name)


def decode_server_version(body: bytes) -> str:
    """The version that a ServerHello chooses; DecodeError if it is cut off."""
    reader = _Reader(body)
    version = reader.number(2)
    reader.take(32)
    reader.vector(1)
    reader.take(3)
    for kind, value in reader.extensions():
        if kind == _SUPPORTED_VERSIONS and len(value) == 2:
            version = int.from_bytes(value, "big")
    return _version(version)


def decode_certificates(body: bytes) -> tuple[bytes, ...]:
    """The certificates (DER) of a Certificate message up to TLS 1.2, the server's own first.

    DecodeError if it is cut off.
    """
    reader = _Reader(_Reader(body).vector(3))
    certificates = []
    while reader.left:
        certificates.append(reader.vector(3))
    return tuple(certificates)


class _Reader:
    """Takes numbers and vectors off a body."""

    def __init__(self, body: bytes) -> None:
        self._body = body
        self._at = 0

    @property
    def left(self) -> int:
        return len(self._body) - self._at

    def take(self, size: int) -> bytes:
        if size > self.left:
            raise DecodeError(f"TLS: a handshake message is cut off at octet {self._at}")
        self._at += size
        return self._body[self._at - size : self._at]

    def number(self, size: int) -> int:
        return int.from_bytes(self.take(size), "big")

    def vector(self, size: int) -> bytes:
        return self.take(self.number(size))

    def extensions(self) -> list[tuple[int, bytes]]:
        """The rest as extensions, none if there is no rest."""
        found: list[tuple[int, bytes]] = []
        if self.left:
            inner = _Reader(self.vector(2))
            while inner.left:
                found.append((inner.number(2), inner.vector(2)))
        return found


def _vector(size: int, octets: bytes) -> bytes:
    return len(octets).to_bytes(size, "big") + octets


def _extension(kind: int, value: bytes) -> bytes:
    return struct.pack("!H", kind) + _vector(2, value)


def _version(number: int) -> str:
    return _VERSIONS.get(number, f"0x{number:04x}")
