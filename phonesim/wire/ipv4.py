"""IPv4 addresses, dotted quad to four octets and back, remembered both ways.

A fleet sees the same few thousand addresses over and over, and mostly sends what it has
received: a look-up costs a tenth of a conversion.
"""

from __future__ import annotations

_REMEMBERED = 1 << 16
_octets: dict[str, bytes] = {}
_texts: dict[bytes, str] = {}


def pack_address(text: str) -> bytes:
    """The four octets of a dotted quad; ValueError if `text` is none."""
    octets = _octets.get(text)
    return _parse(text) if octets is None else octets


def is_address(text: str) -> bool:
    """Whether `text` is a dotted quad."""
    try:
        pack_address(text)
    except ValueError:
        return False
    return True


def unpack_address(octets: bytes) -> str:
    """The dotted quad of exactly four octets."""
    text = _texts.get(octets)
    if text is None:
        first, second, third, fourth = octets
        text = f"{first}.{second}.{third}.{fourth}"
        _remember(text, octets)
    return text


def _parse(text: str) -> bytes:
    try:
        octets = bytes(map(int, text.split(".")))
    except ValueError:
        octets = b""
    # Reading it back tells 010, +1, blanks and whatever else int() takes from a dotted quad.
    if len(octets) != 4 or unpack_address(octets) != text:
        raise ValueError(f"{text!r} is not an IPv4 address")
    return octets


def _remember(text: str, octets: bytes) -> None:
    if len(_octets) >= _REMEMBERED:
        _octets.clear()
        _texts.clear()
    _octets[text] = octets
    _texts[octets] = text
