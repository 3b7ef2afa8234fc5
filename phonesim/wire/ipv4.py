"""IPv4 addresses, dotted quad to four octets and back, remembered both ways.

A fleet sees the same few thousand addresses over and over; a look-up costs a
tenth of a conversion.
"""

from __future__ import annotations

from functools import lru_cache
from ipaddress import IPv4Address

_REMEMBERED = 1 << 16


@lru_cache(maxsize=_REMEMBERED)
def pack_address(text: str) -> bytes:
    """The four octets of a dotted quad; ValueError if `text` is none."""
    return IPv4Address(text).packed


@lru_cache(maxsize=_REMEMBERED)
def unpack_address(octets: bytes) -> str:
    """The dotted quad of exactly four octets."""
    first, second, third, fourth = octets
    return f"{first}.{second}.{third}.{fourth}"
