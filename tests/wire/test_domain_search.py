from __future__ import annotations

import pytest

from phonesim.errors import DecodeError
from phonesim.wire.domain_search import decode_domain_search, encode_domain_search


def octets(text: str) -> bytes:
    """Octets from hex with spaces between fields."""
    return bytes.fromhex(text)


ENG = octets("03 656e67 05 6170706c65 03 636f6d 00")  # eng.apple.com
MARKETING = octets("09 6d61726b6574696e67")


def test_the_example_of_rfc_3397() -> None:
    value = ENG + MARKETING + octets("c004")
    assert decode_domain_search(value) == ("eng.apple.com", "marketing.apple.com")


@pytest.mark.parametrize(
    ("value", "domains"),
    [
        (b"", ()),
        (ENG, ("eng.apple.com",)),
        (ENG + octets("c000"), ("eng.apple.com", "eng.apple.com")),
        # A pointer to a name that ends in a pointer.
        (ENG + octets("0161 c004 0162 c00f"), ("eng.apple.com", "a.apple.com", "b.a.apple.com")),
        (octets("03 456e47 03 434f4d 00"), ("eng.com",)),
        (ENG + octets("00 00"), ("eng.apple.com",)),
    ],
)
def test_names_are_read_with_and_without_pointers(value: bytes, domains: tuple[str, ...]) -> None:
    assert decode_domain_search(value) == domains


@pytest.mark.parametrize(
    ("value", "offset"),
    [
        (octets("03 656e"), 0),  # a label that is cut short
        (octets("03 656e67"), 0),  # no end
        (octets("c000"), 0),  # a pointer to itself
        (ENG + octets("c020"), 15),  # one past the end
        (octets("0161 c004 00"), 0),  # one forward
        (octets("41 61"), 0),  # a label type that is none
        (b"\x3f" + b"a" * 63 + (b"\x3f" + b"a" * 63) * 3 + b"\0", 0),  # 257 octets
    ],
)
def test_what_is_no_list_of_names_is_refused(value: bytes, offset: int) -> None:
    with pytest.raises(DecodeError, match=f"at offset {offset}: "):
        decode_domain_search(value)


def test_a_list_is_written_uncompressed() -> None:
    assert encode_domain_search(["Eng.Apple.com."]) == ENG
    assert decode_domain_search(encode_domain_search(["a.b", "c"])) == ("a.b", "c")


@pytest.mark.parametrize("domain", ["", ".", "a..b", "a" * 64])
def test_what_no_list_can_carry_is_refused(domain: str) -> None:
    with pytest.raises(ValueError, match="domain"):
        encode_domain_search(["fine.com", domain])
