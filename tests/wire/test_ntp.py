import struct

import pytest
from scapy.layers.ntp import NTPHeader

from phonesim.errors import DecodeError
from phonesim.wire.ntp import CLIENT, SERVER, NtpPacket, decode_ntp, encode_ntp, from_unix, to_unix

REPLY = NtpPacket(
    mode=SERVER,
    version=4,
    leap=3,
    stratum=2,
    poll=6,
    precision=-20,
    root_delay=0x00001234,
    root_dispersion=0x00005678,
    reference_id=b"\x0a\x14\0\x05",
    reference=0xE0000000_00000000,
    originate=0xE0000001_40000000,
    receive=0xE0000002_80000000,
    transmit=0xE0000003_C0000000,
)


def test_a_client_request_is_the_classic_1b_and_zeros() -> None:
    assert encode_ntp(NtpPacket(mode=CLIENT)) == b"\x1b" + bytes(47)
    assert decode_ntp(b"\x1b" + bytes(47)) == NtpPacket(mode=CLIENT)


def test_a_reply_goes_both_ways() -> None:
    data = encode_ntp(REPLY)
    assert data == bytes.fromhex(
        "e4 02 06 ec 00001234 00005678 0a140005"
        "e000000000000000 e000000140000000 e000000280000000 e0000003c0000000"
    )
    assert decode_ntp(data) == REPLY


def test_scapy_reads_the_same_fields() -> None:
    seen = NTPHeader(encode_ntp(REPLY))
    assert (seen.leap, seen.version, seen.mode, seen.stratum) == (3, 4, 4, 2)
    assert (seen.poll, seen.precision & 0xFF, seen.ref_id or seen.id) == (6, 0xEC, "10.20.0.5")
    assert seen.sent == pytest.approx(0xE0000003 + 0.75)
    assert seen.recv == pytest.approx(0xE0000002 + 0.5)


def test_what_scapy_builds() -> None:
    data = bytes(NTPHeader(version=3, mode=4, stratum=1, sent=0xE0000003))
    packet = decode_ntp(data)
    assert (packet.version, packet.mode, packet.stratum) == (3, SERVER, 1)
    assert packet.transmit >> 32 == 0xE0000003


def test_what_follows_the_header_is_skipped() -> None:
    assert decode_ntp(encode_ntp(REPLY) + b"\0\0\0\x01" + bytes(16)) == REPLY


@pytest.mark.parametrize("size", [0, 1, 47])
def test_short_packets_are_malformed(size: int) -> None:
    with pytest.raises(DecodeError, match=f"{size} octets: an NTP packet has at least 48"):
        decode_ntp(bytes(size))


@pytest.mark.parametrize(
    "fields",
    [
        {"mode": 8},
        {"version": 8},
        {"leap": 4},
        {"stratum": 256},
        {"precision": -129},
        {"reference_id": b"GPS"},
        {"transmit": 1 << 64},
        {"transmit": -1},
    ],
)
def test_what_no_packet_can_carry_is_refused(fields: dict[str, object]) -> None:
    with pytest.raises(ValueError, match=r"out of range|reference id"):
        encode_ntp(NtpPacket(**{"mode": CLIENT, **fields}))


# Seconds of RFC 5905 figure 4, and their dates in Unix seconds.
DATES = [
    (2_272_060_800, 63_072_000),  # 1972-01-01
    (3_155_587_200, 946_598_400),  # 1999-12-31
    (4_294_944_000, 2_085_955_200),  # 2036-02-07, the last day of era 0
    (63_104, 2_086_041_600),  # 2036-02-08, in era 1
]


@pytest.mark.parametrize(("seconds", "unix"), DATES)
def test_dates_of_the_rfc(seconds: int, unix: int) -> None:
    assert to_unix(seconds << 32) == unix
    assert from_unix(unix) == seconds << 32


def test_the_highest_bit_decides_about_the_era() -> None:
    assert to_unix(0x80000000_00000000) == 0x80000000 - 2_208_988_800  # 1968-01-20
    assert to_unix(0x7FFFFFFF_00000000) == 0x17FFFFFFF - 2_208_988_800  # 2104-02-26
    assert to_unix(0xFFFFFFFF_00000000) + 1 == to_unix(0)


@pytest.mark.parametrize("unix", [1_767_596_400.25, 0.5, -1.75, 2_085_978_495.5, 2_085_978_496.5])
def test_fractions_survive(unix: float) -> None:
    assert to_unix(from_unix(unix)) == unix


def test_fraction_is_in_units_of_2_to_the_minus_32() -> None:
    assert struct.pack("!Q", from_unix(0.25)) == bytes.fromhex("83aa7e80 40000000")


def test_outside_the_range_time_wraps() -> None:
    assert from_unix(5_000_000_000) == from_unix(5_000_000_000 - 2**32)
