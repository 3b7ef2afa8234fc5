"""Any capture gives sightings, or one clear error."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from phonesim.device.device_log import KINDS
from phonesim.errors import PhonesimError
from phonesim.field.captures.capture_reader import CaptureReader
from phonesim.field.captures.captured_packets import PacketNarrator
from phonesim.field.sightings import ONLY_CAPTURED
from phonesim.wire.dhcp import BOOTREPLY, DhcpMessage, MessageType, encode_dhcp
from phonesim.wire.frame import UdpFrame, encode_udp_frame
from phonesim.wire.pcap import CapturedPacket
from phonesim.wire.pcapng import (
    INBOUND,
    OUTBOUND,
    UPPER_PDU,
    encode_interface,
    encode_packet,
    encode_section_header,
    encode_upper_pdu,
)

MAC = bytes.fromhex("0004f2000001")
PHONE, SERVER = "10.0.0.7", "10.0.0.1"
LINKS = st.sampled_from([0, 1, 101, 113, 276, UPPER_PDU])
ADDRESSES = st.sampled_from([PHONE, SERVER, "255.255.255.255", "0.0.0.0"])
PORTS = st.sampled_from([53, 67, 68, 80, 123, 443, 5060, 5061, 50000])


def frame(source: str, destination: str, ports: tuple[int, int], payload: bytes) -> bytes:
    return encode_udp_frame(
        UdpFrame(
            source_mac=MAC,
            destination_mac=b"\2\0\0\0\0\1",
            source=source,
            destination=destination,
            source_port=ports[0],
            destination_port=ports[1],
            payload=payload,
        )
    )


@st.composite
def dhcp(draw: st.DrawFn) -> bytes:
    message = DhcpMessage(
        message_type=draw(st.sampled_from(MessageType)),
        op=draw(st.sampled_from([1, BOOTREPLY])),
        xid=draw(st.integers(0, 2)),
        chaddr=MAC,
        ciaddr=draw(ADDRESSES),
        yiaddr=draw(ADDRESSES),
        giaddr=draw(st.sampled_from(["0.0.0.0", SERVER])),
        options=draw(
            st.dictionaries(
                st.sampled_from([1, 6, 12, 43, 50, 51, 54, 55, 60, 120]), st.binary(max_size=30)
            )
        ),
    )
    ends = draw(ADDRESSES), draw(ADDRESSES)
    return frame(*ends, draw(st.sampled_from([(67, 68), (68, 67), (67, 67)])), encode_dhcp(message))


@st.composite
def segment(draw: st.DrawFn) -> bytes:
    octets = bytearray(
        frame(draw(ADDRESSES), draw(ADDRESSES), (draw(PORTS), draw(PORTS)), bytes(12))
    )
    octets[23] = 6
    octets[38:42] = draw(st.integers(0, 40)).to_bytes(4, "big")
    octets[46:48] = bytes((0x50, draw(st.sampled_from([2, 18, 16, 24, 17, 4, 20]))))
    begins = st.sampled_from([b"", b"\x16\x03\x01\0\x05", b"HTTP/1.1 200\r\n", b"POST /\r\n\r\n"])
    octets += draw(begins) + draw(st.binary(max_size=40))
    octets[16:18] = (len(octets) - 14).to_bytes(2, "big")
    return bytes(octets)


@st.composite
def datagram(draw: st.DrawFn) -> bytes:
    ports = draw(PORTS), draw(PORTS)
    return frame(draw(ADDRESSES), draw(ADDRESSES), ports, draw(st.binary(max_size=60)))


@st.composite
def message(draw: st.DrawFn) -> tuple[int, bytes]:
    protocol = draw(st.sampled_from(["http", "sip", "dns", "tls", "other"]))
    ends = (draw(ADDRESSES), draw(PORTS)), (draw(ADDRESSES), draw(PORTS))
    return UPPER_PDU, encode_upper_pdu(protocol, *ends, draw(st.binary(max_size=60)))


PACKETS = st.one_of(
    st.tuples(st.just(1), dhcp() | segment() | datagram()),
    message(),
    st.tuples(LINKS, st.binary(max_size=80)),
)


@given(
    st.lists(st.tuples(PACKETS, st.integers(0, 30), st.booleans(), st.integers(0, 9)), max_size=12)
)
def test_any_packets_in_any_order_are_told(
    packets: list[tuple[tuple[int, bytes], int, bool, int]],
) -> None:
    narrator = PacketNarrator()
    now = 0
    told = []
    for number, ((link_type, octets), seconds, is_sent, cut) in enumerate(packets, start=1):
        now += seconds * 1_000_000_000
        octets = octets[: len(octets) - cut * (number % 3 == 0)]
        told += narrator.take(
            CapturedPacket(
                *(number, now, link_type, octets, len(octets)),
                comment="00-04-F2-00-00-01" if link_type == UPPER_PDU else "",
                direction=OUTBOUND if is_sent else INBOUND,
            )
        )
    told += narrator.finish(len(packets), now / 1e9)
    narrator.notes()
    for _, each in told:
        kind = KINDS.get(each.record.name)
        fields = ONLY_CAPTURED[each.record.name] if kind is None else kind.fields
        assert len(each.record.values) == len(fields), each.record
        assert 1 <= each.seen.number <= len(packets)


@given(
    begins=st.booleans(),
    packets=st.lists(st.tuples(LINKS, st.binary(max_size=60)), max_size=5),
    rest=st.binary(),
)
@settings(max_examples=50)
def test_any_file_is_read_or_refused_with_one_line(
    tmp_path_factory: pytest.TempPathFactory,
    begins: bool,
    packets: list[tuple[int, bytes]],
    rest: bytes,
) -> None:
    octets = encode_section_header("test") if begins else b""
    for number, (link_type, packet) in enumerate(packets):
        octets += encode_interface("i", link_type) + encode_packet(number, 1, packet, b"")
    path: Path = tmp_path_factory.getbasetemp() / "any.pcapng"
    path.write_bytes(octets + rest)
    problem = f"{path}: "
    try:
        list(CaptureReader(path))
    except PhonesimError as error:
        problem = str(error)
    assert problem.startswith(f"{path}: ")
    assert "\n" not in problem
