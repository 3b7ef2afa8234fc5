from __future__ import annotations

import pytest

from phonesim.errors import DecodeError
from phonesim.field.dhcputil.hex_text import is_hex, read_hex


@pytest.mark.parametrize(
    "text",
    [
        "010C4D53",
        "0x010c4d53",
        "01:0c:4d:53",
        "01-0C-4D-53",
        "01 0c 4d 53",
        "010c.4d53",
        " '010c4d53' ",
        '"010C4D53"',
        "\\x01\\x0c\\x4d\\x53",
        "0x01,0x0C,0x4D,0x53",
        '"01","0C","4D","53"',
        "0x1, 0xc, 77, 83",
        "{1, 12, 77, 83}",
        "\u201c010C4D53\u201d",
        "010c\n4d53\n",
    ],
)
def test_customary_forms(text: str) -> None:
    assert read_hex(text) == bytes.fromhex("010C4D53")
    assert is_hex(text)


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("", "no hexadecimal digits"),
        ("--", "no hexadecimal digits"),
        ("010", "3 hexadecimal digits: an octet has two"),
        ("01XY", '"XY" after 2 hexadecimal digits is none'),
        ("01,300", "300 is more than an octet holds"),
        ("0x01,word", '"word" is not the number of an octet'),
        ("%3", '"%3" after 0'),
        ("z" * 90, '"' + "z" * 40 + '..."'),
    ],
)
def test_what_is_none_is_refused_with_its_place(text: str, complaint: str) -> None:
    with pytest.raises(DecodeError) as caught:
        read_hex(text)
    assert complaint in str(caught.value)
    assert not is_hex(text)
