"""Fragments of IPv4 datagrams, put together within bounds.

Specifications: RFC 791 section 3.2.
"""

from __future__ import annotations

from collections import OrderedDict

MOST_DATAGRAMS = 256
_LARGEST = 65535
_MORE = 0x2000

Key = tuple[bytes, bytes, int]
"""Source, destination and identification."""


class _Datagram:
    __slots__ = ("have", "parts", "size")

    def __init__(self) -> None:
        self.parts: dict[int, bytes] = {}
        self.have = 0
        self.size = -1


class Fragments:
    """Takes fragments in any order; `given_up` counts datagrams of which some never came."""

    def __init__(self) -> None:
        self.given_up = 0
        self._open: OrderedDict[Key, _Datagram] = OrderedDict()

    def take(self, key: Key, flags_and_offset: int, octets: bytes) -> bytes | None:
        """Take what a fragment carries; returns the whole when it is there."""
        offset = 8 * (flags_and_offset & 0x1FFF)
        if offset + len(octets) > _LARGEST:
            return None
        datagram = self._open.get(key)
        if datagram is None:
            if len(self._open) >= MOST_DATAGRAMS:
                self._open.popitem(last=False)
                self.given_up += 1
            datagram = self._open[key] = _Datagram()
        if offset not in datagram.parts:
            datagram.parts[offset] = octets
            datagram.have += len(octets)
        if not flags_and_offset & _MORE:
            datagram.size = offset + len(octets)
        if datagram.size < 0 or datagram.have < datagram.size:
            return None
        del self._open[key]
        whole = bytearray()
        for at in sorted(datagram.parts):
            if at != len(whole):
                self.given_up += 1
                return None
            whole += datagram.parts[at]
        return bytes(whole)

    def unfinished(self) -> int:
        """How many datagrams never came together."""
        return self.given_up + len(self._open)
