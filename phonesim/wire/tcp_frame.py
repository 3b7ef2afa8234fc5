"""Ethernet frames of TCP segments without octets: a connection that begins, is refused or ends.

Specifications: RFC 9293 section 3.1, RFC 791, RFC 894.
"""

from __future__ import annotations

import struct

import msgspec

from phonesim.wire.ipv4 import pack_address

FIN, SYN, RST, ACK = 0x01, 0x02, 0x04, 0x10


class TcpFrame(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """A segment in a frame. MACs are 6 octets, addresses dotted quads, `flags` a sum of flags.

    `vlan_id` is that of the 802.1Q tag, None for an untagged frame.
    """

    source_mac: bytes
    destination_mac: bytes
    source: str
    destination: str
    source_port: int
    destination_port: int
    flags: int
    sequence: int = 0
    acknowledgement: int = 0
    vlan_id: int | None = None


def encode_tcp_frame(frame: TcpFrame) -> bytes:
    """The octets of the frame, checksums included, without padding or frame check sequence."""
    tag = b"" if frame.vlan_id is None else struct.pack("!HH", 0x8100, frame.vlan_id)
    addresses = pack_address(frame.source) + pack_address(frame.destination)
    window = 0 if frame.flags & RST else 0xFFFF
    segment = _TCP.pack(
        frame.source_port,
        frame.destination_port,
        frame.sequence,
        frame.acknowledgement,
        _TCP.size // 4 << 4,
        frame.flags,
        window,
        0,
        0,
    )
    pseudo_header = addresses + struct.pack("!HH", _TCP_PROTOCOL, len(segment))
    checksum = _checksum(pseudo_header + segment)
    segment = segment[:16] + checksum + segment[18:]
    header = _IPV4.pack(0x45, 0, _IPV4.size + 8 + len(segment), 0, 0x4000, 64, _TCP_PROTOCOL, 0)
    header = header[:10] + _checksum(header + addresses) + addresses
    ethernet = frame.destination_mac + frame.source_mac + tag + b"\x08\x00"
    return ethernet + header + segment


_TCP_PROTOCOL = 6
_TCP = struct.Struct("!HHIIBBHHH")
_IPV4 = struct.Struct("!BBHHHBBH")


def _checksum(octets: bytes) -> bytes:
    """The complement of the one's complement sum of 16-bit words (RFC 1071)."""
    total = int.from_bytes(octets, "big") % 0xFFFF or 0xFFFF
    return (0xFFFF - total).to_bytes(2, "big")
