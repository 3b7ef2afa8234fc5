"""Captures in pcapng: the blocks of a file, and messages without the stream that carried them.

A file is one section header, one description of each interface (which is known by its
place among them, from 0) and then packets; statistics of the interfaces may end it. Each
function gives one whole block, so that a file that is cut between two writes is still a
file. Blocks are little-endian, times are nanoseconds since 1970.

scapy's writer is not used: it takes a comment only with a parsed packet, knows neither
the time's resolution nor the statistics block, and writes by 4,096 octets whatever block
that cuts.

What was inside TLS has no frame. Wireshark's "upper PDU" carries such a message with the
name of its dissector and the addresses and ports it went between.

Specifications: draft-ietf-opsawg-pcapng, LINKTYPE_WIRESHARK_UPPER_PDU (tags of
Wireshark's epan/exported_pdu.h).
"""

from __future__ import annotations

import struct

import msgspec

from phonesim.errors import DecodeError
from phonesim.wire.ipv4 import pack_address, unpack_address

ETHERNET = 1
UPPER_PDU = 252

INBOUND = 1
OUTBOUND = 2

TransportAddress = tuple[str, int]
"""A dotted quad and a port."""


class UpperPdu(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """A message that TCP carried; `dissector` is Wireshark's name of its protocol."""

    dissector: str
    source: TransportAddress
    destination: TransportAddress
    octets: bytes


def encode_section_header(application: str) -> bytes:
    """The block that begins a file written by `application`."""
    fixed = _SECTION.pack(_BYTE_ORDER_MAGIC, 1, 0, -1)
    return _block(0x0A0D0D0A, fixed + _options((4, application.encode())))


def encode_interface(name: str, link_type: int) -> bytes:
    """The description of an interface, whose packets are never cut."""
    options = _options((2, name.encode()), (9, bytes((_NANOSECONDS,))))
    return _block(1, _INTERFACE.pack(link_type, 0, 0) + options)


def encode_packet_options(comment: str, direction: int) -> bytes:
    """The options of a packet: a comment, unless it is empty, and INBOUND or OUTBOUND.

    ValueError if the comment has more than 65,535 octets.
    """
    flags = (2, _U32.pack(direction))
    if not comment:
        return _options(flags)
    text = comment.encode()
    if len(text) > 0xFFFF:
        raise ValueError(f"a comment of {len(text)} octets does not fit into an option")
    return _options((1, text), flags)


def encode_packet(interface: int, time_ns: int, octets: bytes, options: bytes) -> bytes:
    """A packet of that interface, with options of `encode_packet_options`."""
    size = len(octets)
    padding = -size % 4
    total = _PACKET_SIZE + size + padding + len(options)
    return b"".join(
        (
            _PACKET.pack(6, total, interface, time_ns >> 32, time_ns & 0xFFFFFFFF, size, size),
            octets,
            bytes(padding),
            options,
            _U32.pack(total),
        )
    )


def encode_statistics(interface: int, time_ns: int, received: int, dropped: int) -> bytes:
    """How many packets an interface received, and how many of those are missing here."""
    fixed = _STATISTICS.pack(interface, time_ns >> 32, time_ns & 0xFFFFFFFF)
    return _block(5, fixed + _options((4, _U64.pack(received)), (5, _U64.pack(dropped))))


def encode_upper_pdu(
    dissector: str, source: TransportAddress, destination: TransportAddress, octets: bytes
) -> bytes:
    """A message that TCP carried, for an interface of link type UPPER_PDU."""
    name = dissector.encode()
    name += bytes(-len(name) % 4)
    return b"".join(
        (
            _TAG.pack(_DISSECTOR_TAG, len(name)),
            name,
            _TAG.pack(_SOURCE_TAG, 4),
            pack_address(source[0]),
            _TAG.pack(_DESTINATION_TAG, 4),
            pack_address(destination[0]),
            _NUMBER_TAG.pack(_TRANSPORT_TAG, 4, _OVER_TCP),
            _NUMBER_TAG.pack(_SOURCE_PORT_TAG, 4, source[1]),
            _NUMBER_TAG.pack(_DESTINATION_PORT_TAG, 4, destination[1]),
            _TAG.pack(_END_OF_TAGS, 0),
            octets,
        )
    )


def decode_upper_pdu(data: bytes) -> UpperPdu:
    """Read a message of link type UPPER_PDU; DecodeError unless it names dissector, IPv4
    addresses and ports.
    """
    tags: dict[int, bytes] = {}
    at = 0
    while True:
        if at + _TAG.size > len(data):
            raise DecodeError(f"upper PDU: its tags are cut off at octet {at}")
        tag, size = _TAG.unpack_from(data, at)
        at += _TAG.size
        if tag == _END_OF_TAGS:
            break
        tags[tag] = data[at : at + size]
        at += size
    try:
        return UpperPdu(
            dissector=tags[_DISSECTOR_TAG].rstrip(b"\0").decode("ascii"),
            source=(unpack_address(tags[_SOURCE_TAG]), _port_of(tags[_SOURCE_PORT_TAG])),
            destination=(
                unpack_address(tags[_DESTINATION_TAG]),
                _port_of(tags[_DESTINATION_PORT_TAG]),
            ),
            octets=data[at:],
        )
    except (KeyError, ValueError) as error:
        raise DecodeError(f"upper PDU without dissector, addresses or ports: {error}") from None


def _port_of(value: bytes) -> int:
    port = int.from_bytes(value, "big")
    if not 0 <= port <= 0xFFFF:
        raise ValueError(f"{port} is no port")
    return port


_END_OF_TAGS, _DISSECTOR_TAG = 0, 12
_SOURCE_TAG, _DESTINATION_TAG, _TRANSPORT_TAG = 20, 21, 24
_SOURCE_PORT_TAG, _DESTINATION_PORT_TAG = 25, 26
_BYTE_ORDER_MAGIC = 0x1A2B3C4D
_NANOSECONDS = 9
_OVER_TCP = 2
_SECTION = struct.Struct("<IHHq")
_INTERFACE = struct.Struct("<HHI")
_PACKET = struct.Struct("<7I")
_PACKET_SIZE = _PACKET.size + 4
_STATISTICS = struct.Struct("<III")
_OPTION = struct.Struct("<HH")
_U32 = struct.Struct("<I")
_U64 = struct.Struct("<Q")
_TAG = struct.Struct("!HH")
_NUMBER_TAG = struct.Struct("!HHI")


def _block(kind: int, body: bytes) -> bytes:
    size = _U32.pack(len(body) + 12)
    return _U32.pack(kind) + size + body + size


def _options(*options: tuple[int, bytes]) -> bytes:
    parts = [
        _OPTION.pack(code, len(value)) + value + bytes(-len(value) % 4) for code, value in options
    ]
    return b"".join(parts) + _OPTION.pack(0, 0)
