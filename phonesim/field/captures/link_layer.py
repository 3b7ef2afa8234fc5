"""What a frame of a capture carries, whatever it was captured on.

Ethernet with VLAN tags, Linux's cooked captures (both forms), raw IP, BSD loopback.

Specifications: RFC 894, IEEE 802.1Q and 802.1ad, libpcap's LINKTYPE_LINUX_SLL and SLL2,
LINKTYPE_RAW, LINKTYPE_NULL.
"""

from __future__ import annotations

from typing import NamedTuple

IPV4, ARP, LLDP = 0x0800, 0x0806, 0x88CC

_ETHERNET, _COOKED, _COOKED_2 = 1, 113, 276
_RAW = frozenset({12, 14, 101, 228})
_BSD_LOOPBACK = frozenset({0, 108})
_TAGS = frozenset({0x8100, 0x88A8, 0x9100})
READABLE = frozenset({_ETHERNET, _COOKED, _COOKED_2, *_RAW, *_BSD_LOOPBACK})
"""The link types that `read_link` knows."""

_NAMES = {
    105: "802.11",
    127: "802.11 with radiotap",
    189: "USB",
    220: "USB",
    113: "Linux cooked",
    192: "PPI",
    9: "PPP",
    50: "PPP",
    147: "private use",
}


class Link(NamedTuple):
    """The ethertype of what a frame carries, and where that begins.

    `source_mac` is empty where the link type has none; `vlan_id` None without a tag.
    """

    ethertype: int
    at: int
    source_mac: bytes
    vlan_id: int | None


def read_link(link_type: int, octets: bytes) -> Link | None:
    """Read a frame's header; None if it is cut off, or the link type is none of `READABLE`."""
    mac = b""
    if link_type == _ETHERNET:
        ethertype, at = int.from_bytes(octets[12:14], "big"), 14
        mac = octets[6:12]
    elif link_type == _COOKED:
        ethertype, at = int.from_bytes(octets[14:16], "big"), 16
        mac = octets[6 : 6 + min(int.from_bytes(octets[4:6], "big"), 8)]
    elif link_type == _COOKED_2:
        ethertype, at = int.from_bytes(octets[0:2], "big"), 20
        mac = octets[12 : 12 + min(int.from_bytes(octets[11:12], "big"), 8)]
    elif link_type in _RAW:
        return Link(IPV4, 0, b"", None) if octets[:1] and octets[0] >> 4 == 4 else None
    elif link_type in _BSD_LOOPBACK:
        is_ipv4 = octets[:4] in (b"\2\0\0\0", b"\0\0\0\2")
        return Link(IPV4, 4, b"", None) if is_ipv4 else None
    else:
        return None
    vlan_id = None
    while ethertype in _TAGS:
        vlan_id = int.from_bytes(octets[at : at + 2], "big") & 0xFFF
        ethertype = int.from_bytes(octets[at + 2 : at + 4], "big")
        at += 4
    return Link(ethertype, at, mac if len(mac) == 6 else b"", vlan_id) if len(octets) > at else None


def link_name(link_type: int) -> str:
    """A link type for people."""
    name = _NAMES.get(link_type)
    return f"link type {link_type}" + (f" ({name})" if name else "")
