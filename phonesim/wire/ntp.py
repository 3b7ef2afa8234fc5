"""SNTP packets: the 48-octet header of NTP version 3 and 4.

Timestamps are the 64-bit NTP format as an int (seconds since 1900 in the high
half); `to_unix` and `from_unix` convert. Specifications: RFC 5905 section 7.3,
RFC 4330 (SNTP client checks).
"""

from __future__ import annotations

import msgspec

NTP_PORT = 123
CLIENT = 3
SERVER = 4


class NtpPacket(msgspec.Struct, frozen=True, kw_only=True):
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
