"""Octets as people write them: digits, with or without the marks that are customary.

    010C4D53   0x010C4D53   01:0c:4d   01-0C-4D   01 0c 4d   010c.4d53.2d   \\x01\\x0c
    0x01,0x0C   "01","0C"   '010c'   {1, 0xC}

The last form has numbers of one octet, decimal or hexadecimal, as PowerShell takes them.
"""

from __future__ import annotations

import re

from phonesim.errors import DecodeError

_QUOTES = "\"'`\u201c\u201d\u2018\u2019"
_MARKS = re.compile(r"[\s:.\-;]+")
_NUMBER = re.compile(r"0[xX][0-9A-Fa-f]{1,2}|[0-9]{1,3}")
_TO_SHOW = 40


def read_hex(text: str) -> bytes:
    """The octets of a text; `DecodeError` says where it is none."""
    bare = text.strip().strip("{}()[]")
    for quote in _QUOTES:
        bare = bare.replace(quote, "")
    if "," in bare:
        return _read_numbers([each.strip() for each in bare.split(",") if each.strip()])
    digits = re.sub(r"\\x|0[xX](?=[0-9A-Fa-f])", "", _MARKS.sub("", bare))
    if not digits:
        raise DecodeError("no hexadecimal digits")
    for position, digit in enumerate(digits):
        if digit not in "0123456789abcdefABCDEF":
            raise DecodeError(
                f'"{_shorten(digits[position:])}" after {position} hexadecimal digits is none'
            )
    if len(digits) % 2:
        raise DecodeError(f"{len(digits)} hexadecimal digits: an octet has two, so one is missing")
    return bytes.fromhex(digits)


def is_hex(text: str) -> bool:
    """Whether a text can be read as octets."""
    try:
        read_hex(text)
    except DecodeError:
        return False
    return True


def _read_numbers(numbers: list[str]) -> bytes:
    """A list of octets: with 0x or all of two digits hexadecimal, else decimal."""
    if all(re.fullmatch(r"[0-9A-Fa-f]{2}", each) for each in numbers):
        return bytes.fromhex("".join(numbers))
    octets = bytearray()
    for each in numbers:
        if not _NUMBER.fullmatch(each):
            raise DecodeError(f'"{_shorten(each)}" is not the number of an octet')
        value = int(each, 16 if each[:2].lower() == "0x" else 10)
        if value > 0xFF:
            raise DecodeError(f"{each} is more than an octet holds")
        octets.append(value)
    return bytes(octets)


def _shorten(text: str) -> str:
    text = "".join(each if each.isprintable() else "?" for each in text)
    return text if len(text) <= _TO_SHOW else f"{text[:_TO_SHOW]}..."
