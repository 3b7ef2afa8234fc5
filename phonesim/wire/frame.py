"""Ethernet frames that carry DHCP and ARP: what a phone without an address must build itself.

Only what the wire world needs: UDP over unfragmented IPv4, and ARP for IPv4,
both under an optional 802.1Q tag. A decoder returns None for a frame that is
something else, so that a driver can hand it whatever the interface delivers,
and raises `DecodeError` for one that claims to be its kind and is malformed.
The encoders raise ValueError for what a frame cannot carry.

A one's complement sum of 16-bit words (RFC 1071) is the remainder modulo 65535
of the same octets as one number, which Python finds fast: 65536 leaves 1.

Specifications: RFC 894 (IPv4 over Ethernet), RFC 791, RFC 768, RFC 826 (ARP),
RFC 5227 (probes), RFC 6864 (identification), IEEE 802.1Q.
"""

from __future__ import annotations

import struct
from functools import lru_cache

import msgspec

from phonesim.errors import DecodeError
from phonesim.wire.ipv4 import pack_address, unpack_address

BROADCAST_MAC = b"\xff\xff\xff\xff\xff\xff"
UNKNOWN_MAC = b"\0\0\0\0\0\0"
ARP_REQUEST = 1
ARP_REPLY = 2


class UdpFrame(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """A UDP datagram in an Ethernet frame. MACs are 6 octets, addresses dotted quads.

    `vlan_id` is that of the 802.1Q tag, 0 for a tag of priority only, None for
    an untagged frame.
    """

    source_mac: bytes
    destination_mac: bytes
    source: str
    destination: str
    source_port: int
    destination_port: int
    payload: bytes
    vlan_id: int | None = None


class ArpFrame(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """An ARP packet for IPv4. `source_mac` and `destination_mac` are the Ethernet header's.

    `operation` is `ARP_REQUEST` or `ARP_REPLY`; a probe has `sender_ip` 0.0.0.0
    and `target_mac` `UNKNOWN_MAC`. `vlan_id` as in `UdpFrame`.
    """

    operation: int
    source_mac: bytes
    sender_mac: bytes
    sender_ip: str
    target_mac: bytes
    target_ip: str
    destination_mac: bytes
    vlan_id: int | None = None


def encode_udp_frame(frame: UdpFrame) -> bytes:
    """The octets of the frame, checksums included, without padding or frame check sequence."""
    size = len(frame.payload)
    if size > _LARGEST_UDP - _UDP.size:
        raise ValueError(f"{size} octets do not fit into one UDP datagram")
    ethernet = _encode_ethernet(frame.destination_mac, frame.source_mac, frame.vlan_id, _IPV4_TYPE)
    before, after, ip_sum, udp_sum = _headers(
        frame.destination, frame.source_port, frame.destination_port, size
    )
    source = pack_address(frame.source)
    source_sum = int.from_bytes(source, "big")
    udp_checksum = 0xFFFF - (udp_sum + source_sum + _sum(frame.payload)) % 0xFFFF
    return b"".join(
        (
            ethernet,
            before,
            (0xFFFF - ((ip_sum + source_sum) % 0xFFFF or 0xFFFF)).to_bytes(2, "big"),
            source,
            after,
            udp_checksum.to_bytes(2, "big"),
            frame.payload,
        )
    )


def decode_udp_frame(data: bytes, *, verify_udp_checksum: bool = True) -> UdpFrame | None:
    """Read a frame; None unless it carries an unfragmented UDP datagram over IPv4.

    The IPv4 header's checksum must be right, and the UDP checksum unless it is
    0. Pass `verify_udp_checksum=False` for frames that a local sender has left
    to its network card to finish: their UDP checksum is partial. Octets behind
    the datagram are padding.
    """
    ethernet = _split_ethernet(data)
    if ethernet is None:
        return None
    ethertype, vlan_id, at = ethernet
    if ethertype != _IPV4_TYPE:
        return None
    if len(data) < at + _IPV4_SIZE:
        raise DecodeError(f"IPv4 at offset {at}: {len(data) - at} of {_IPV4_SIZE} header octets")
    version_and_ihl, _, total_size, _, fragment, _, protocol, _ = _IPV4.unpack_from(data, at)
    if protocol != _UDP_PROTOCOL or fragment & _FRAGMENT_MASK:
        return None
    udp_at = at + 4 * (version_and_ihl & 0x0F)
    end = at + total_size
    if version_and_ihl >> 4 != 4 or udp_at < at + _IPV4_SIZE:
        raise DecodeError(f"IPv4 at offset {at}: it begins with {version_and_ihl:02X}, not 45")
    if end > len(data) or udp_at + _UDP.size > end:
        raise DecodeError(
            f"IPv4 at offset {at}: its total length of {total_size} does not fit a header of "
            f"{udp_at - at}, one of UDP and the {len(data) - at} octets that are there"
        )
    if _sum(data[at:udp_at]) != 0xFFFF:
        raise DecodeError(f"IPv4 at offset {at}: the header checksum is wrong")
    source_port, destination_port, udp_size, checksum = _UDP.unpack_from(data, udp_at)
    udp_end = udp_at + udp_size
    if udp_size < _UDP.size or udp_end > end:
        raise DecodeError(
            f"UDP at offset {udp_at}: its length of {udp_size} is not within 8 and {end - udp_at}"
        )
    addresses = data[at + _IPV4.size : at + _IPV4_SIZE]
    if verify_udp_checksum and checksum and _sum_udp(addresses, data[udp_at:udp_end]) != 0xFFFF:
        raise DecodeError(f"UDP at offset {udp_at}: the checksum {checksum:04X} is wrong")
    return UdpFrame(
        source_mac=data[6:12],
        destination_mac=data[:6],
        source=unpack_address(addresses[:4]),
        destination=unpack_address(addresses[4:]),
        source_port=source_port,
        destination_port=destination_port,
        payload=data[udp_at + _UDP.size : udp_end],
        vlan_id=vlan_id,
    )


def encode_arp_frame(frame: ArpFrame) -> bytes:
    """The octets of the frame, without padding or frame check sequence."""
    _check_mac(frame.sender_mac)
    _check_mac(frame.target_mac)
    ethernet = _encode_ethernet(frame.destination_mac, frame.source_mac, frame.vlan_id, _ARP_TYPE)
    if not 0 <= frame.operation <= 0xFFFF:
        raise ValueError(f"{frame.operation} is not an ARP operation of 16 bits")
    return ethernet + _ARP.pack(
        _ETHERNET_AND_IPV4,
        6,
        4,
        frame.operation,
        frame.sender_mac,
        pack_address(frame.sender_ip),
        frame.target_mac,
        pack_address(frame.target_ip),
    )


class EchoAnswer(msgspec.Struct, frozen=True, gc=False):
    """The frame that answers a ping of `address` at `mac`."""

    address: str
    mac: bytes
    octets: bytes


def answer_echo(data: bytes) -> EchoAnswer | None:
    """Answer a frame with an ICMP echo request to one host; None if it is not one, or malformed."""
    ethernet = _split_ethernet(data)
    if ethernet is None or ethernet[0] != _IPV4_TYPE or data[0] & 1:
        return None
    at = ethernet[2]
    icmp_at, end = at + _IPV4_SIZE, at + int.from_bytes(data[at + 2 : at + 4], "big")
    if not icmp_at + _ECHO_SIZE <= end <= len(data) or data[at] != _VERSION_AND_IHL:
        return None
    fragment = int.from_bytes(data[at + 6 : at + 8], "big") & _FRAGMENT_MASK
    if fragment or data[at + 9] != _ICMP_PROTOCOL or data[icmp_at] != _ECHO_REQUEST:
        return None
    message = data[icmp_at:end]
    if _sum(data[at:icmp_at]) != 0xFFFF or _sum(message) != 0xFFFF:
        return None
    source, destination = data[at + 12 : at + 16], data[at + 16 : at + 20]
    header = bytearray(data[at : at + 12])
    header[8] = _TTL
    header[10:12] = b"\0\0"
    header[10:12] = (0xFFFF - _sum(bytes(header) + destination + source)).to_bytes(2, "big")
    reply = bytes((_ECHO_REPLY, 0, 0, 0)) + message[4:]
    checksum = (0xFFFF - _sum(reply)).to_bytes(2, "big")
    return EchoAnswer(
        unpack_address(destination),
        data[:6],
        b"".join(
            (
                *(data[6:12], data[:6], data[12:at]),
                *(header, destination, source),
                *(reply[:2], checksum, reply[4:]),
            )
        ),
    )


def is_arp_frame(data: bytes) -> bool:
    """Whether an untagged or tagged frame says that it carries ARP."""
    ethertype = data[12:14]
    return (data[16:18] if ethertype == _VLAN_TYPE_OCTETS else ethertype) == _ARP_TYPE_OCTETS


def decode_arp_frame(data: bytes) -> ArpFrame | None:
    """Read a frame; None unless it carries ARP between Ethernet and IPv4."""
    ethernet = _split_ethernet(data)
    if ethernet is None:
        return None
    ethertype, vlan_id, at = ethernet
    if ethertype != _ARP_TYPE:
        return None
    if len(data) >= at + 4 and data[at : at + 4] != _ETHERNET_AND_IPV4:
        return None
    if len(data) < at + _ARP.size:
        raise DecodeError(f"ARP at offset {at}: {len(data) - at} of {_ARP.size} octets")
    (
        _,
        hardware_size,
        protocol_size,
        operation,
        sender_mac,
        sender_ip,
        target_mac,
        target_ip,
    ) = _ARP.unpack_from(data, at)
    if (hardware_size, protocol_size) != (6, 4):
        raise DecodeError(
            f"ARP at offset {at}: address lengths {hardware_size} and {protocol_size}, not 6 and 4"
        )
    return ArpFrame(
        operation=operation,
        source_mac=data[6:12],
        sender_mac=sender_mac,
        sender_ip=unpack_address(sender_ip),
        target_mac=target_mac,
        target_ip=unpack_address(target_ip),
        destination_mac=data[:6],
        vlan_id=vlan_id,
    )


def add_tag(frame: bytes, vlan_id: int) -> bytes:
    """An untagged frame with an 802.1Q tag of that VLAN, priority 0."""
    return frame[:12] + _tag(vlan_id) + frame[12:]


_IPV4_TYPE = 0x0800
_ARP_TYPE = 0x0806
_VLAN_TYPE = 0x8100
_ARP_TYPE_OCTETS = _ARP_TYPE.to_bytes(2, "big")
_VLAN_TYPE_OCTETS = _VLAN_TYPE.to_bytes(2, "big")
_HIGHEST_VLAN_ID = 0xFFF
_ETHERNET_SIZE = 14
_TAG_SIZE = 4
_IPV4 = struct.Struct("!BBHHHBBH")  # up to the addresses
_IPV4_SIZE = _IPV4.size + 8
_VERSION_AND_IHL = 0x45
_DONT_FRAGMENT = 0x4000
_FRAGMENT_MASK = 0x3FFF  # MF and the offset
_TTL = 64
_UDP_PROTOCOL = 17
_ICMP_PROTOCOL = 1
_ECHO_REQUEST, _ECHO_REPLY = 8, 0
_ECHO_SIZE = 8
_UDP = struct.Struct("!HHHH")
_LARGEST_UDP = 0xFFFF - _IPV4_SIZE
_ARP = struct.Struct("!4sBBH6s4s6s4s")
_ETHERNET_AND_IPV4 = struct.pack("!HH", 1, _IPV4_TYPE)


def _encode_ethernet(
    destination_mac: bytes, source_mac: bytes, vlan_id: int | None, ethertype: int
) -> bytes:
    _check_mac(destination_mac)
    _check_mac(source_mac)
    if vlan_id is None:
        return destination_mac + source_mac + ethertype.to_bytes(2, "big")
    return destination_mac + source_mac + _tag(vlan_id) + ethertype.to_bytes(2, "big")


def _tag(vlan_id: int) -> bytes:
    if not 0 <= vlan_id <= _HIGHEST_VLAN_ID:
        raise ValueError(f"{vlan_id} is not a VLAN id of 12 bits")
    return struct.pack("!HH", _VLAN_TYPE, vlan_id)


def _split_ethernet(data: bytes) -> tuple[int, int | None, int] | None:
    """Ethertype, VLAN id and the payload's offset; None if the header is not there whole."""
    if len(data) < _ETHERNET_SIZE:
        return None
    ethertype = int.from_bytes(data[12:14], "big")
    if ethertype != _VLAN_TYPE:
        return ethertype, None, _ETHERNET_SIZE
    if len(data) < _ETHERNET_SIZE + _TAG_SIZE:
        return None
    vlan_id = int.from_bytes(data[14:16], "big") & _HIGHEST_VLAN_ID
    return int.from_bytes(data[16:18], "big"), vlan_id, _ETHERNET_SIZE + _TAG_SIZE


def _check_mac(mac: bytes) -> None:
    if len(mac) != 6:
        raise ValueError(f"a MAC of {len(mac)} octets, not 6")


@lru_cache(maxsize=4096)
def _headers(
    destination: str, source_port: int, destination_port: int, size: int
) -> tuple[bytes, bytes, int, int]:
    """The headers of IPv4 and UDP before and behind the IPv4 checksum and the source address.

    And the sums that they add to the two checksums. They are much the same for a whole fleet.
    """
    udp_size = _UDP.size + size
    address = pack_address(destination)
    try:
        udp = _UDP.pack(source_port, destination_port, udp_size, 0)
    except struct.error as error:
        raise ValueError(f"a UDP port is out of range: {error}") from error
    header = _IPV4.pack(
        _VERSION_AND_IHL,
        0,
        _IPV4_SIZE + udp_size,
        0,  # allowed where fragmentation is not (RFC 6864 section 4.1)
        _DONT_FRAGMENT,
        _TTL,
        _UDP_PROTOCOL,
        0,
    )
    pseudo_header = address + struct.pack("!HH", _UDP_PROTOCOL, udp_size)
    return header[:-2], address + udp[:-2], _sum(header + address), _sum(pseudo_header + udp)


def _sum(octets: bytes) -> int:
    """The one's complement sum of the 16-bit words of `octets`, of which some are not zero."""
    number = int.from_bytes(octets, "big")
    if len(octets) % 2:
        number <<= 8
    return number % 0xFFFF or 0xFFFF


def _sum_udp(addresses: bytes, datagram: bytes) -> int:
    """The sum over the pseudo-header and a datagram of UDP."""
    pseudo_header = addresses + struct.pack("!HH", _UDP_PROTOCOL, len(datagram))
    return _sum(pseudo_header + datagram)
