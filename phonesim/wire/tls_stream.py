"""One direction of a TLS connection as anybody can read it who listens: until it is encrypted.

Specifications: RFC 5246 sections 6.2.1 and 7.
"""

from __future__ import annotations

import msgspec

from phonesim.errors import DecodeError
from phonesim.wire.tls_records import ALERT, CHANGE_CIPHER_SPEC, HANDSHAKE

_APPLICATION_DATA = 23
_HEADER_SIZE = 5
_LARGEST_RECORD = 2**14 + 2048
_LARGEST_MESSAGE = 128 * 1024


class TlsPart(msgspec.Struct, frozen=True, gc=False):
    """A message: `kind` is ALERT or HANDSHAKE, `number` a handshake message's type."""

    kind: int
    number: int
    body: bytes


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
