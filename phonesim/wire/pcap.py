"""Captures as they are read: packets one after another, from a pcap or a pcapng file.

The octets come in pieces of any size and are never held as a whole, so that the size of a
capture does not matter. A file that is cut or damaged gives the packets before that place, and
`problem` says where it ended.

scapy's readers are not used: they make an object of tens of microseconds for each packet, and
of a damaged file only an exception.

Specifications: draft-ietf-opsawg-pcap, draft-ietf-opsawg-pcapng.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Iterator
from functools import lru_cache

import msgspec

from phonesim.errors import DecodeError

LARGEST_BLOCK = 16 * 1024 * 1024
"""Octets of the largest packet or block that is taken for one."""


class CapturedPacket(msgspec.Struct, frozen=True, gc=False):
    """One packet. `number` counts from 1, as Wireshark does; `time_ns` is since 1970, 0 if the
    file does not say. `size` is the packet's own, of which `octets` may be the beginning.
    `direction` is INBOUND, OUTBOUND or 0.
    """

    number: int
    time_ns: int
    link_type: int
    octets: bytes
    size: int
    comment: str = ""
    direction: int = 0


class PacketReader:
    """Iterate over it once. DecodeError if the octets do not begin as a capture.

    After that, `problem` is empty or says why the file ended early, `ended_ns` is the last time
    that the file tells: of a packet, or of an interface's statistics.
    """

    def __init__(self, pieces: Iterable[bytes]) -> None:
        self.problem = ""
        self.ended_ns = 0
        self._octets = _Octets(pieces)
        self._number = 0

    def __iter__(self) -> Iterator[CapturedPacket]:
        """Yield every packet."""
        octets = self._octets
        if not octets.has(4):
            size = len(octets.buffer)
            raise DecodeError(f"not a capture: it has {size} octets" if size else "it is empty")
        magic = octets.buffer[:4]
        if magic == _SECTION_HEADER:
            yield from self._read_blocks()
        elif magic in _PCAP:
            yield from self._read_pcap(*_PCAP[magic])
        else:
            raise DecodeError(_not_a_capture(magic))

    @staticmethod
    def is_begin(octets: bytes) -> bool:
        """Whether a file that begins with these four octets or more is for this reader: a
        capture, or one in another format, of which it says what to do.
        """
        magic = octets[:4]
        return magic == _SECTION_HEADER or magic in _PCAP or magic.startswith(_OTHER_BEGINS)

    # --- pcap ---

    def _read_pcap(self, order: str, unit_ns: int) -> Iterator[CapturedPacket]:
        octets = self._octets
        if not octets.has(_FILE_HEADER_SIZE):
            self.problem = "the file is cut off within its header"
            return
        (network,) = struct.unpack_from(f"{order}I", octets.buffer, 20)
        link_type = network & 0xFFFF
        octets.at = _FILE_HEADER_SIZE
        unpack = struct.Struct(f"{order}IIII").unpack_from
        while octets.has(1):
            if not octets.has(16):
                self.problem = f"the file is cut off behind packet {self._number}"
                return
            seconds, fraction, kept, size = unpack(octets.buffer, octets.at)
            if kept > LARGEST_BLOCK:
                self.problem = (
                    f"the file is damaged behind packet {self._number}: the next has {kept} octets"
                )
                return
            if not octets.has(16 + kept):
                self.problem = f"the file is cut off in packet {self._number + 1}"
                return
            start = octets.at + 16
            octets.at = start + kept
            self._number += 1
            self.ended_ns = seconds * 1_000_000_000 + fraction * unit_ns
            yield CapturedPacket(
                self._number,
                self.ended_ns,
                link_type,
                octets.buffer[start : octets.at],
                size,
            )

    # --- pcapng ---

    def _read_blocks(self) -> Iterator[CapturedPacket]:
        octets = self._octets
        order = "<"
        header = struct.Struct("<II").unpack_from
        packet = struct.Struct("<IIIII").unpack_from
        interfaces: list[_Interface] = []
        while octets.has(1):
            if not octets.has(12):
                self.problem = f"the file is cut off behind packet {self._number}"
                return
            kind, total = header(octets.buffer, octets.at)
            if kind == _SECTION_NUMBER:
                order = _ORDERS.get(octets.buffer[octets.at + 8 : octets.at + 12], "")
                if not order:
                    self.problem = f"the file is damaged behind packet {self._number}"
                    return
                header = struct.Struct(f"{order}II").unpack_from
                packet = struct.Struct(f"{order}IIIII").unpack_from
                interfaces = []
                _, total = header(octets.buffer, octets.at)
            if not 12 <= total <= LARGEST_BLOCK or total % 4:
                self.problem = (
                    f"the file is damaged behind packet {self._number}: the next block has "
                    f"{total} octets"
                )
                return
            if not octets.has(total):
                self.problem = f"the file is cut off behind packet {self._number}, within a block"
                return
            buffer, at = octets.buffer, octets.at
            end = at + total - 4
            octets.at = at + total
            if kind in (_ENHANCED_PACKET, _OLD_PACKET):
                self._number += 1
                if total < 32:
                    continue
                number, high, low, kept, size = packet(buffer, at + 8)
                if kind == _OLD_PACKET:  # an interface of 16 bits, and a count of drops
                    (number,) = struct.unpack_from(f"{order}H", buffer, at + 8)
                if number >= len(interfaces) or at + 28 + kept > end:
                    continue
                interface = interfaces[number]
                options_at = at + 28 + kept + -kept % 4
                comment, direction = "", 0
                if options_at < end:
                    comment, direction = _comment(buffer[options_at:end], order)
                time_ns = interface.time_ns(high << 32 | low)
                self.ended_ns = max(self.ended_ns, time_ns)
                yield CapturedPacket(
                    self._number,
                    time_ns,
                    interface.link_type,
                    buffer[at + 28 : at + 28 + kept],
                    size,
                    comment,
                    direction,
                )
            elif kind == _SIMPLE_PACKET:
                self._number += 1
                if not interfaces or total < 16:
                    continue
                (size,) = struct.unpack_from(f"{order}I", buffer, at + 8)
                kept = min(size, total - 16, interfaces[0].snap_length or size)
                yield CapturedPacket(
                    self._number,
                    self.ended_ns,
                    interfaces[0].link_type,
                    buffer[at + 12 : at + 12 + kept],
                    size,
                )
            elif kind == _INTERFACE_DESCRIPTION and total >= 20:
                interfaces.append(_Interface(buffer[at + 8 : end], order))
            elif kind == _STATISTICS and total >= 24:
                number, high, low = struct.unpack_from(f"{order}III", buffer, at + 8)
                if number < len(interfaces):
                    time_ns = interfaces[number].time_ns(high << 32 | low)
                    self.ended_ns = max(self.ended_ns, time_ns)


class _Octets:
    """The pieces as one buffer, of which what lies before `at` is done with."""

    def __init__(self, pieces: Iterable[bytes]) -> None:
        self.buffer = b""
        self.at = 0
        self._pieces = iter(pieces)

    def has(self, size: int) -> bool:
        """Whether so many octets follow; they are in `buffer` then."""
        have = len(self.buffer) - self.at
        if have >= size:
            return True
        parts = [self.buffer[self.at :]]
        for piece in self._pieces:
            parts.append(piece)
            have += len(piece)
            if have >= size:
                break
        self.buffer = b"".join(parts)
        self.at = 0
        return have >= size


class _Interface:
    """What a description says of an interface's packets."""

    def __init__(self, body: bytes, order: str) -> None:
        self.link_type, _, self.snap_length = struct.unpack_from(f"{order}HHI", body)
        self._offset_ns = 0
        self._multiplier, self._divisor = 1000, 1
        for code, value in _options(body[8:], order):
            if code == _TIME_RESOLUTION and value:
                exponent = value[0] & 0x7F
                self._multiplier = 1_000_000_000
                self._divisor = 2**exponent if value[0] & 0x80 else 10**exponent
            elif code == _TIME_OFFSET and len(value) == 8:
                self._offset_ns = struct.unpack(f"{order}q", value)[0] * 1_000_000_000
        if self._multiplier == self._divisor:
            self._multiplier = self._divisor = 1

    def time_ns(self, units: int) -> int:
        """A time in the interface's own units, as nanoseconds since 1970."""
        return units * self._multiplier // self._divisor + self._offset_ns


_PCAP = {
    bytes.fromhex("d4c3b2a1"): ("<", 1000),
    bytes.fromhex("a1b2c3d4"): (">", 1000),
    bytes.fromhex("4d3cb2a1"): ("<", 1),
    bytes.fromhex("a1b23c4d"): (">", 1),
}
_FILE_HEADER_SIZE = 24
_SECTION_HEADER = bytes.fromhex("0a0d0d0a")
_SECTION_NUMBER = 0x0A0D0D0A
_ORDERS = {bytes.fromhex("4d3c2b1a"): "<", bytes.fromhex("1a2b3c4d"): ">"}
_INTERFACE_DESCRIPTION, _OLD_PACKET, _SIMPLE_PACKET, _STATISTICS, _ENHANCED_PACKET = 1, 2, 3, 5, 6
_COMMENT, _FLAGS, _TIME_RESOLUTION, _TIME_OFFSET = 1, 2, 9, 14
_LONGEST_COMMENT = 200

_OTHER_FORMATS = {
    b"\x1f\x8b": "it is packed by gzip: unpack it first",
    b"PK\3\4": "it is a zip archive: unpack it first",
    b"GMBU": "it is of Microsoft Network Monitor: save it as pcap there or with Wireshark",
    b"RTSS": "it is of Microsoft Network Monitor: save it as pcap there or with Wireshark",
    b"snoo": "it is of snoop: save it as pcap with Wireshark",
}

_OTHER_BEGINS = tuple(_OTHER_FORMATS)


def _not_a_capture(magic: bytes) -> str:
    for begin, advice in _OTHER_FORMATS.items():
        if magic.startswith(begin):
            return advice
    return f"neither pcap nor pcapng: it begins with {magic.hex(' ').upper()}"


def _options(body: bytes, order: str) -> Iterator[tuple[int, bytes]]:
    at = 0
    while at + 4 <= len(body):
        code, size = struct.unpack_from(f"{order}HH", body, at)
        if code == 0 or at + 4 + size > len(body):
            return
        yield code, body[at + 4 : at + 4 + size]
        at += 4 + size + -size % 4


@lru_cache(maxsize=16384)
def _comment(options: bytes, order: str) -> tuple[str, int]:
    """The first comment among a packet's options, and its direction."""
    comment, direction = "", 0
    for code, value in _options(options, order):
        if code == _COMMENT and not comment:
            comment = value[:_LONGEST_COMMENT].decode("utf-8", "replace")
        elif code == _FLAGS and len(value) == 4:
            direction = struct.unpack(f"{order}I", value)[0] & 0x03
    return comment, direction
