"""Segments without octets, as scapy reads them."""

from __future__ import annotations

import pytest
from scapy.layers.inet import IP, TCP
from scapy.layers.l2 import Dot1Q, Ether

from phonesim.wire.tcp_frame import ACK, FIN, RST, SYN, TcpFrame, encode_tcp_frame

MAC, PEER_MAC = b"\0\4\xf2\0\0\1", b"\2\0\x0a\0\0\1"


@pytest.mark.parametrize(
    ("flags", "letters"), [(SYN, "S"), (SYN | ACK, "SA"), (RST | ACK, "RA"), (FIN | ACK, "FA")]
)
@pytest.mark.parametrize("vlan_id", [None, 100])
def test_scapy_finds_the_same_and_the_checksums_right(
    flags: int, letters: str, vlan_id: int | None
) -> None:
    octets = encode_tcp_frame(
        TcpFrame(
            source_mac=MAC,
            destination_mac=PEER_MAC,
            source="10.0.0.7",
            destination="10.0.0.1",
            source_port=49153,
            destination_port=443,
            flags=flags,
            sequence=7,
            acknowledgement=9,
            vlan_id=vlan_id,
        )
    )
    frame = Ether(octets)
    assert (frame.src, frame.dst) == ("00:04:f2:00:00:01", "02:00:0a:00:00:01")
    assert (frame[Dot1Q].vlan if vlan_id else None) == vlan_id
    assert (frame[IP].src, frame[IP].dst) == ("10.0.0.7", "10.0.0.1")
    segment = frame[TCP]
    assert (segment.sport, segment.dport, str(segment.flags)) == (49153, 443, letters)
    assert (segment.seq, segment.ack) == (7, 9)
    given = frame[IP].chksum, segment.chksum
    del frame[IP].chksum, segment.chksum
    again = Ether(bytes(frame))
    assert (again[IP].chksum, again[TCP].chksum) == given
