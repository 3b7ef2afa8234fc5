"""Captures as a stream of packets: both formats, both byte orders, cut and damaged ones."""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scapy.layers.l2 import Ether
from scapy.utils import wrpcap, wrpcapng

from phonesim.errors import DecodeError
from phonesim.wire.pcap import LARGEST_BLOCK, CapturedPacket, PacketReader
from phonesim.wire.pcapng import (
    ETHERNET,
    INBOUND,
    OUTBOUND,
    UPPER_PDU,
    encode_interface,
    encode_packet,
    encode_packet_options,
    encode_section_header,
    encode_statistics,
)

TIME = 1_764_072_000_123_456_789
FRAMES = [b"first frame", b"a second frame", b"3"]


def read(file: bytes, piece: int = 7) -> tuple[list[CapturedPacket], PacketReader]:
    reader = PacketReader(file[at : at + piece] for at in range(0, len(file), piece))
    return list(reader), reader


def pcap(order: str, magic: int, fractions: int) -> bytes:
    octets = struct.pack(f"{order}IHHiIII", magic, 2, 4, 0, 0, 65535, 1)
    for number, frame in enumerate(FRAMES):
        octets += struct.pack(f"{order}IIII", 1000 + number, fractions, len(frame), 99) + frame
    return octets


def ours() -> bytes:
    return b"".join(
        [
            encode_section_header("test"),
            encode_interface("messages", UPPER_PDU),
            encode_interface("frames", ETHERNET),
            encode_packet(1, TIME, FRAMES[0], encode_packet_options("phone", OUTBOUND)),
            encode_packet(0, TIME + 1, FRAMES[1], encode_packet_options("", INBOUND)),
            encode_packet(1, TIME + 2, FRAMES[2], b""),
            encode_statistics(1, TIME + 9, 3, 0),
        ]
    )


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize(("magic", "unit_ns"), [(0xA1B2C3D4, 1000), (0xA1B23C4D, 1)])
def test_a_pcap_of_either_byte_order_and_unit(order: str, magic: int, unit_ns: int) -> None:
    packets, reader = read(pcap(order, magic, 250))
    assert [packet.octets for packet in packets] == FRAMES
    assert [packet.time_ns for packet in packets] == [
        second * 1_000_000_000 + 250 * unit_ns for second in (1000, 1001, 1002)
    ]
    assert [(packet.number, packet.size) for packet in packets] == [(1, 99), (2, 99), (3, 99)]
    assert reader.problem == ""


def test_a_pcapng_with_interfaces_comments_directions_and_statistics() -> None:
    packets, reader = read(ours())
    assert [
        (packet.number, packet.time_ns, packet.link_type, packet.octets) for packet in packets
    ] == [
        (1, TIME, ETHERNET, FRAMES[0]),
        (2, TIME + 1, UPPER_PDU, FRAMES[1]),
        (3, TIME + 2, ETHERNET, FRAMES[2]),
    ]
    assert [(packet.comment, packet.direction) for packet in packets] == [
        ("phone", OUTBOUND),
        ("", INBOUND),
        ("", 0),
    ]
    assert (reader.problem, reader.ended_ns) == ("", TIME + 9)


def block(order: str, kind: int, body: bytes) -> bytes:
    body += bytes(-len(body) % 4)
    size = struct.pack(f"{order}I", len(body) + 12)
    return struct.pack(f"{order}I", kind) + size + body + size


@pytest.mark.parametrize("order", ["<", ">"])
def test_sections_units_offsets_and_older_blocks(order: str) -> None:
    def option(code: int, value: bytes) -> bytes:
        return struct.pack(f"{order}HH", code, len(value)) + value + bytes(-len(value) % 4)

    section = block(order, 0x0A0D0D0A, struct.pack(f"{order}IHHq", 0x1A2B3C4D, 1, 0, -1))
    milliseconds = option(9, b"\3") + option(14, struct.pack(f"{order}q", 5)) + option(0, b"")
    binary = option(9, b"\x81")  # halves of a second
    interfaces = (
        block(order, 1, struct.pack(f"{order}HHI", 1, 0, 0) + milliseconds),
        block(order, 1, struct.pack(f"{order}HHI", 101, 0, 0) + binary),
    )
    file = (
        section
        + interfaces[0]
        + interfaces[1]
        + block(order, 6, struct.pack(f"{order}5I", 0, 0, 2500, 3, 3) + b"abc")
        + block(order, 6, struct.pack(f"{order}5I", 1, 0, 3, 3, 3) + b"def")
        + block(order, 0xBAD, b"private")
        + block(order, 3, struct.pack(f"{order}I", 2) + b"gh")
        + block(order, 2, struct.pack(f"{order}HH4I", 1, 7, 0, 4, 3, 3) + b"ijk")
        + section
        + block(order, 1, struct.pack(f"{order}HHI", 1, 0, 0))
        + block(order, 6, struct.pack(f"{order}5I", 0, 0, 7, 3, 3) + b"lmn")
    )
    packets, reader = read(file)
    assert [(packet.octets, packet.link_type) for packet in packets] == [
        (b"abc", 1),
        (b"def", 101),
        (b"gh", 1),
        (b"ijk", 101),
        (b"lmn", 1),
    ]
    assert [packet.time_ns for packet in packets] == [
        7_500_000_000,
        1_500_000_000,
        7_500_000_000,
        2_000_000_000,
        7_000,
    ]
    assert reader.problem == ""


def test_a_packet_of_an_interface_that_is_not_described_still_counts() -> None:
    file = encode_section_header("t") + encode_packet(3, TIME, b"x", b"")
    file += encode_interface("i", ETHERNET) + encode_packet(0, TIME, b"y", b"")
    packets, _ = read(file)
    assert [(packet.number, packet.octets) for packet in packets] == [(2, b"y")]


@pytest.mark.parametrize("write", [wrpcap, wrpcapng])
def test_what_scapy_writes(write: Callable[[str, Ether], None], tmp_path: Path) -> None:
    frame = Ether(src="02:00:00:00:00:01", dst="ff:ff:ff:ff:ff:ff", type=0x88B5) / b"hello"
    write(str(tmp_path / "file"), frame)
    packets, reader = read((tmp_path / "file").read_bytes())
    assert [(packet.octets, packet.link_type) for packet in packets] == [(bytes(frame), ETHERNET)]
    assert reader.problem == ""


@pytest.mark.parametrize("file", [ours(), pcap("<", 0xA1B2C3D4, 1), pcap(">", 0xA1B23C4D, 1)])
def test_a_file_that_is_cut_anywhere_gives_what_is_before(file: bytes) -> None:
    whole, _ = read(file)
    for cut in range(4, len(file)):
        packets, reader = read(file[:cut], piece=1000)
        assert packets == whole[: len(packets)]
        assert reader.problem or len(file[:cut]) in boundaries(file)


def boundaries(file: bytes) -> set[int]:
    """Where a file may end without anybody noticing."""
    if file[:4] != bytes.fromhex("0a0d0d0a"):
        at, ends = 24, {24}
        order = "<" if file[:1] == b"\xd4" else ">"
        while at < len(file):
            at += 16 + struct.unpack_from(f"{order}I", file, at + 8)[0]
            ends.add(at)
        return ends
    at, ends = 0, set()
    while at < len(file):
        at += struct.unpack_from("<I", file, at + 4)[0]
        ends.add(at)
    return ends


@pytest.mark.parametrize(
    ("begin", "says"),
    [
        (b"", "it is empty"),
        (b"\x0a\x0d", "2 octets"),
        (b"01/05/2026 log", "neither pcap nor pcapng: it begins with 30 31 2F 30"),
    ],
)
def test_what_is_no_capture_is_said(begin: bytes, says: str) -> None:
    with pytest.raises(DecodeError, match=says):
        read(begin)
    assert not PacketReader.is_begin(begin[:4])


@pytest.mark.parametrize(
    ("begin", "says"),
    [
        (b"\x1f\x8b\x08\0", "unpack it first"),
        (b"GMBU....", "Network Monitor"),
        (b"PK\3\4", "zip"),
    ],
)
def test_of_another_format_it_is_said_what_to_do(begin: bytes, says: str) -> None:
    with pytest.raises(DecodeError, match=says):
        read(begin)
    assert PacketReader.is_begin(begin[:4])


def test_a_damaged_size_ends_the_file_there() -> None:
    file = bytearray(pcap("<", 0xA1B2C3D4, 1))
    second = 24 + 16 + len(FRAMES[0])
    file[second + 8 : second + 12] = struct.pack("<I", LARGEST_BLOCK + 1)
    packets, reader = read(bytes(file))
    assert len(packets) == 1
    assert "damaged behind packet 1" in reader.problem

    broken = bytearray(ours())
    at = len(encode_section_header("test"))
    broken[at + 4 : at + 8] = struct.pack("<I", 13)
    packets, reader = read(bytes(broken))
    assert packets == []
    assert "damaged behind packet 0" in reader.problem


def pieces(octets: bytes, sizes: list[int]) -> Iterator[bytes]:
    at = 0
    for size in sizes:
        yield octets[at : at + size]
        at += size
    yield octets[at:]


@given(st.lists(st.integers(0, 60), max_size=30))
def test_the_pieces_in_which_a_file_comes_do_not_matter(sizes: list[int]) -> None:
    assert list(PacketReader(pieces(ours(), sizes))) == list(PacketReader([ours()]))


@given(st.sampled_from([b"\x0a\x0d\x0d\x0a", b"\xd4\xc3\xb2\xa1", b""]), st.binary(max_size=300))
def test_any_octets_are_packets_or_no_capture(begin: bytes, octets: bytes) -> None:
    try:
        list(PacketReader([begin + octets]))
    except DecodeError:
        assert not PacketReader.is_begin(begin + octets)
