"""What frames carry on each kind of link."""

from __future__ import annotations

import pytest
from scapy.layers.inet import IP, UDP
from scapy.layers.l2 import ARP, CookedLinux, CookedLinuxV2, Dot1AD, Dot1Q, Ether, Loopback

from phonesim.field.captures.link_layer import ARP as IS_ARP
from phonesim.field.captures.link_layer import IPV4, Link, link_name, read_link

MAC = bytes.fromhex("0004f2000001")
PACKET = IP(src="10.0.0.7", dst="10.0.0.1") / UDP(sport=1, dport=2)
ETHER = Ether(src="00:04:f2:00:00:01", dst="02:00:00:00:00:01")


@pytest.mark.parametrize(
    ("link_type", "frame", "read"),
    [
        (1, ETHER / PACKET, Link(IPV4, 14, MAC, None)),
        (1, ETHER / ARP(), Link(IS_ARP, 14, MAC, None)),
        (1, ETHER / Dot1Q(vlan=100) / PACKET, Link(IPV4, 18, MAC, 100)),
        (1, ETHER / Dot1AD(vlan=7) / Dot1Q(vlan=100) / PACKET, Link(IPV4, 22, MAC, 100)),
        (
            113,
            CookedLinux(src=MAC + b"\0\0", lladdrlen=6, lladdrtype=1, proto=0x0800) / PACKET,
            Link(IPV4, 16, MAC, None),
        ),
        (
            276,
            CookedLinuxV2(src=MAC + b"\0\0", lladdrlen=6, lladdrtype=1, proto=0x0800) / PACKET,
            Link(IPV4, 20, MAC, None),
        ),
        (101, PACKET, Link(IPV4, 0, b"", None)),
        (228, PACKET, Link(IPV4, 0, b"", None)),
        (0, Loopback(type=2) / PACKET, Link(IPV4, 4, b"", None)),
    ],
)
def test_a_frame(link_type: int, frame: Ether, read: Link) -> None:
    octets = bytes(frame)
    assert read_link(link_type, octets) == read
    for cut in range(len(octets)):
        read_link(link_type, octets[:cut])


@pytest.mark.parametrize("link_type", [101, 0])
def test_no_ipv4(link_type: int) -> None:
    assert read_link(link_type, b"\x60\0\0\0" + bytes(40)) is None


def test_link_types_that_are_not_read_have_names() -> None:
    assert read_link(105, bytes(100)) is None
    assert link_name(105) == "link type 105 (802.11)"
    assert link_name(4711) == "link type 4711"
