"""One direction of a TLS connection as anybody can read it who listens: until it is encrypted.

Specifications: RFC 5246 sections 6.2.1 and 7, RFC 6066 section 3 (server_name), RFC 8446
section 4.2.1 (supported_versions).
"""

from __future__ import annotations

import msgspec

from phonesim.errors import DecodeError
from phonesim.wire.tls_records import ALERT, CHANGE_CIPHER_SPEC, HANDSHAKE

_APPLICATION_DATA = 23
_HEADER_SIZE = 5
_LARGEST_RECORD = 2**14 + 2048
_LARGEST_MESSAGE = 128 * 1024
_SERVER_NAME, _SUPPORTED_VERSIONS = 0, 43
_VERSIONS = {0x0300: "SSL 3.0", 0x0301: "1.0", 0x0302: "1.1", 0x0303: "1.2", 0x0304: "1.3"}


class TlsPart(msgspec.Struct, frozen=True, gc=False):
    """A message: `kind` is ALERT or HANDSHAKE, `number` a handshake message's type."""

    kind: int
    number: int
    body: bytes


class ClientHello(msgspec.Struct, frozen=True, gc=False):
    """The newest version that a client offers ("1.0" to "1.3"), and the server that it names."""

    version: str
    server_name: str


class TlsStream:
    """Takes the octets of one direction as they come; `is_closed` once nothing can be read."""

    def __init__(self) -> None:
        self.is_closed = False
        self._buffer = bytearray()
        self._pending = bytearray()
        self._is_encrypted = False

    def feed(self, octets: bytes) -> list[TlsPart]:
        """Take octets, return the messages that they complete; DecodeError if they are no TLS."""
        parts: list[TlsPart] = []
        if self.is_closed:
            return parts
        self._buffer += octets
        buffer = self._buffer
        while len(buffer) >= _HEADER_SIZE:
            kind, major, size = buffer[0], buffer[1], int.from_bytes(buffer[3:5], "big")
            if (
                not CHANGE_CIPHER_SPEC <= kind <= _APPLICATION_DATA
                or major != 3
                or size > _LARGEST_RECORD
            ):
                self._close()
                raise DecodeError("TLS: the octets are no record")
            if len(buffer) < _HEADER_SIZE + size:
                break
            fragment = bytes(buffer[_HEADER_SIZE : _HEADER_SIZE + size])
            del buffer[: _HEADER_SIZE + size]
            self._take(kind, fragment, parts)
            if self.is_closed:
                break
        return parts

    def _take(self, kind: int, fragment: bytes, parts: list[TlsPart]) -> None:
        if kind == ALERT and len(fragment) == 2:
            parts.append(TlsPart(ALERT, 0, fragment))
        elif kind == CHANGE_CIPHER_SPEC:
            self._is_encrypted = True
        elif kind == HANDSHAKE and not self._is_encrypted:
            self._pending += fragment
            pending = self._pending
            while len(pending) >= 4:
                size = int.from_bytes(pending[1:4], "big")
                if size > _LARGEST_MESSAGE:
                    self._close()
                    raise DecodeError(f"TLS: a handshake message of {size} octets")
                if len(pending) < 4 + size:
                    break
                parts.append(TlsPart(HANDSHAKE, pending[0], bytes(pending[4 : 4 + size])))
                del pending[: 4 + size]
        elif kind == _APPLICATION_DATA:
            self._close()

    def _close(self) -> None:
        self.is_closed = True
        self._buffer.clear()
        self._pending.clear()


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


def _version(number: int) -> str:
    return _VERSIONS.get(number, f"0x{number:04x}")
