"""IPv4 addresses, dotted quad to four octets and back, remembered both ways.

A fleet sees the same few thousand addresses over and over; a look-up costs a
tenth of a conversion.
"""

from __future__ import annotations

from functools import lru_cache

_REMEMBERED = 1 << 16


@lru_cache(maxsize=_REMEMBERED)
def pack_address(text: str) -> bytes:
    """The four octets of a dotted quad; ValueError if `text` is none."""
    try:
        octets = bytes(map(int, text.split(".")))
    except ValueError:
        octets = b""
    # Reading it back tells 010, +1, blanks and whatever else int() takes from a dotted quad.
    if len(octets) != 4 or unpack_address(octets) != text:
        raise ValueError(f"{text!r} is not an IPv4 address")
    return octets


@lru_cache(maxsize=_REMEMBERED)
def unpack_address(octets: bytes) -> str:
    """The dotted quad of exactly four octets."""
    first, second, third, fourth = octets
    return f"{first}.{second}.{third}.{fourth}"
