"""The blocks of a capture, as scapy reads them (and tshark: tests/cli/test_captures.py)."""

import contextlib
from typing import Any

import pytest
from captured import read_packets
from hypothesis import given
from hypothesis import strategies as st

from phonesim.errors import DecodeError
from phonesim.wire.pcapng import (
    ETHERNET,
    INBOUND,
    OUTBOUND,
    UPPER_PDU,
    UpperPdu,
    decode_upper_pdu,
    encode_interface,
    encode_packet,
    encode_packet_options,
    encode_section_header,
    encode_statistics,
    encode_upper_pdu,
)

NOW = 1_764_072_000_123_456_789
HEAD = (
    encode_section_header("phonesim")
    + encode_interface("messages", UPPER_PDU)
    + encode_interface("eth1", ETHERNET)
)


def time_of(metadata: Any) -> int:
    """Nanoseconds; scapy gives the clock's two halves and its ticks a second."""
    ticks = (metadata.tshigh << 32) | metadata.tslow
    return ticks * 1_000_000_000 // metadata.tsresol


@given(
    packets=st.lists(
        st.tuples(
            st.sampled_from([0, 1]),
            st.integers(0, (1 << 64) - 1),
            st.binary(max_size=70),
            st.text(st.characters(exclude_categories=("Cs", "Cc")), max_size=9),
            st.sampled_from([INBOUND, OUTBOUND]),
        )
    )
)
def test_scapy_reads_what_was_written(
    packets: list[tuple[int, int, bytes, str, int]],
) -> None:
    blocks = [
        encode_packet(interface, time_ns, octets, encode_packet_options(comment, direction))
        for interface, time_ns, octets, comment, direction in packets
    ]
    assert all(len(block) % 4 == 0 for block in blocks)
    found = read_packets(HEAD + b"".join(blocks))
    assert len(found) == len(packets)
    for (octets, metadata), packet in zip(found, packets, strict=True):
        interface, time_ns, wanted, comment, direction = packet
        assert octets == wanted
        assert metadata.wirelen == len(wanted)
        assert time_of(metadata) == time_ns
        assert metadata.ifname == (b"messages", b"eth1")[interface]
        assert metadata.linktype == (UPPER_PDU, ETHERNET)[interface]
        assert metadata.direction == direction
        assert metadata.comments == ([comment.encode()] if comment else None)


def test_statistics_are_no_packet() -> None:
    packet = encode_packet(1, NOW, b"x", encode_packet_options("", INBOUND))
    assert len(read_packets(HEAD + encode_statistics(1, NOW, 7, 2) + packet)) == 1


@pytest.mark.parametrize(
    ("block", "octets"),
    [
        (
            encode_section_header("ab"),
            "0a0d0d0a28000000 4d3c2b1a 0100 0000 ffffffffffffffff 0400 0200 61620000"
            " 00000000 28000000",
        ),
        (
            encode_interface("lo", ETHERNET),
            "0100000028000000 0100 0000 00000000 0200 0200 6c6f0000 0900 0100 09000000"
            " 00000000 28000000",
        ),
        (
            encode_packet(1, (1 << 32) + 5, b"abcde", encode_packet_options("p", OUTBOUND)),
            "060000003c000000 01000000 01000000 05000000 05000000 05000000 6162636465000000"
            " 0100 0100 70000000 0200 0400 02000000 00000000 3c000000",
        ),
        (
            encode_statistics(1, 5, 7, 2),
            "0500000034000000 01000000 00000000 05000000"
            " 0400 0800 0700000000000000 0500 0800 0200000000000000 00000000 34000000",
        ),
    ],
    ids=["section header", "interface", "packet", "statistics"],
)
def test_blocks_are_those_of_the_draft(block: bytes, octets: str) -> None:
    assert block == bytes.fromhex(octets)


def test_a_message_carries_its_dissector_and_its_ends() -> None:
    pdu = encode_upper_pdu("sip", ("10.0.0.1", 4000), ("10.0.0.2", 5061), b"REGISTER")
    assert pdu == (
        bytes.fromhex("000c0004") + b"sip\0"
        b"\0\x14\0\4\x0a\0\0\1" + b"\0\x15\0\4\x0a\0\0\2"
        b"\0\x18\0\4\0\0\0\2" + b"\0\x19\0\4\0\0\x0f\xa0" + b"\0\x1a\0\4\0\0\x13\xc5"
        b"\0\0\0\0REGISTER"
    )
    assert decode_upper_pdu(pdu) == UpperPdu(
        dissector="sip",
        source=("10.0.0.1", 4000),
        destination=("10.0.0.2", 5061),
        octets=b"REGISTER",
    )


@given(st.binary(max_size=120), st.integers(0, 60))
def test_any_octets_are_a_message_or_none(octets: bytes, kept: int) -> None:
    pdu = encode_upper_pdu("sip", ("10.0.0.1", 4000), ("10.0.0.2", 5061), b"")
    with contextlib.suppress(DecodeError):
        decode_upper_pdu(pdu[:kept] + octets)


def test_a_comment_that_is_too_long_is_refused() -> None:
    with pytest.raises(ValueError, match="65536 octets"):
        encode_packet_options("x" * 65536, INBOUND)
