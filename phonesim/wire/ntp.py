"""SNTP packets: the 48-octet header of NTP version 3 and 4.

Timestamps are the 64-bit NTP format as an int (seconds since 1900 in the high
half); `to_unix` and `from_unix` convert. Specifications: RFC 5905 section 7.3,
RFC 4330 (SNTP client checks).
"""

from __future__ import annotations

import struct

import msgspec

from phonesim.errors import DecodeError

NTP_PORT = 123
CLIENT = 3
SERVER = 4


class NtpPacket(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """One packet without extension fields or MAC."""

    mode: int
    version: int = 3
    leap: int = 0
    stratum: int = 0
    poll: int = 0
    precision: int = 0
    root_delay: int = 0
    root_dispersion: int = 0
    reference_id: bytes = b"\0\0\0\0"
    reference: int = 0
    originate: int = 0
    receive: int = 0
    transmit: int = 0


def encode_ntp(packet: NtpPacket) -> bytes:
    """The 48 octets of a packet; ValueError if a field is out of range."""
    if not (0 <= packet.leap < 4 and 0 <= packet.version < 8 and 0 <= packet.mode < 8):
        raise ValueError(
            f"leap {packet.leap}, version {packet.version} or mode {packet.mode} is out of range"
        )
    if len(packet.reference_id) != 4:
        raise ValueError(f"the reference id has {len(packet.reference_id)} octets, not 4")
    try:
        return _HEADER.pack(
            packet.leap << 6 | packet.version << 3 | packet.mode,
            packet.stratum,
            packet.poll,
            packet.precision,
            packet.root_delay,
            packet.root_dispersion,
            packet.reference_id,
            packet.reference,
            packet.originate,
            packet.receive,
            packet.transmit,
        )
    except struct.error as error:
        raise ValueError(f"a field of the NTP packet is out of range: {error}") from error


def decode_ntp(data: bytes) -> NtpPacket:
    """Read a packet's header; extension fields and a MAC behind it are skipped."""
    if len(data) < _HEADER.size:
        raise DecodeError(f"{len(data)} octets: an NTP packet has at least {_HEADER.size}")
    (
        first,
        stratum,
        poll,
        precision,
        root_delay,
        root_dispersion,
        reference_id,
        reference,
        originate,
        receive,
        transmit,
    ) = _HEADER.unpack_from(data)
    return NtpPacket(
        leap=first >> 6,
        version=first >> 3 & 7,
        mode=first & 7,
        stratum=stratum,
        poll=poll,
        precision=precision,
        root_delay=root_delay,
        root_dispersion=root_dispersion,
        reference_id=reference_id,
        reference=reference,
        originate=originate,
        receive=receive,
        transmit=transmit,
    )


def to_unix(timestamp: int) -> float:
    """Unix seconds of an NTP timestamp, in the years 1968 to 2104 (RFC 4330 section 3).

    Seconds with the highest bit set count from 1900 (era 0), others from 2036
    (era 1). 0 means that the sender does not know the time: look before asking.
    """
    seconds = (timestamp >> 32) - _UNIX_EPOCH
    if not timestamp >> 63:
        seconds += _ERA
    return seconds + (timestamp & 0xFFFFFFFF) / _ERA


def from_unix(seconds: float) -> int:
    """The NTP timestamp of Unix seconds; outside 1968 to 2104 it wraps, as the format does."""
    return (int(seconds * _ERA) + (_UNIX_EPOCH << 32)) & 0xFFFFFFFFFFFFFFFF


_HEADER = struct.Struct("!BBbbII4sQQQQ")
_ERA = 1 << 32
_UNIX_EPOCH = 2208988800  # 1970-01-01 in seconds since 1900-01-01
