import pytest

from phonesim.wire.ipv4 import pack_address, unpack_address


@pytest.mark.parametrize(
    ("text", "octets"),
    [
        ("0.0.0.0", b"\0\0\0\0"),
        ("10.20.0.101", b"\x0a\x14\x00\x65"),
        ("255.255.255.255", b"\xff\xff\xff\xff"),
    ],
)
def test_addresses_go_both_ways(text: str, octets: bytes) -> None:
    assert pack_address(text) == octets
    assert unpack_address(octets) == text


@pytest.mark.parametrize("text", ["", "10.0.0", "10.0.0.256", "10.0.0.01", "10.0.0.1 ", "a.b.c.d"])
def test_what_is_no_address_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"."):
        pack_address(text)
