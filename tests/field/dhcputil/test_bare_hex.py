from __future__ import annotations

import pytest

from phonesim.field.dhcputil.bare_hex import guess_code, read_bare, remove_bare, write_bare
from phonesim.field.dhcputil.sign_in_values import SignInValues


def test_octets_are_separated_by_colons_and_labelled(values: SignInValues) -> None:
    assert write_bare(values).splitlines() == [
        "# option 43, vendor class MS-UC-Client",
        values.option_43.hex(":").upper(),
        "# option 43, vendor class CPE-OCPHONE",
        "0A:03:31:30:30",
        "# option 120",
        values.option_120.hex(":").upper(),
    ]
    assert remove_bare(values).splitlines()[-1] == "# remove option 120"


def test_labels_are_believed() -> None:
    text = "Option 120:\n01:0A:00:00:01\n\n# option 43, vendor class X\n0A:03:31\n00:01:61:00\n"
    assert [(each.code, each.vendor_class, each.line) for each in read_bare(text)] == [
        (120, None, 2),
        (43, "X", 5),
        (120, None, 6),
    ]


@pytest.mark.parametrize(
    ("octets", "code"),
    [
        (b"\0\x03sip\0", 120),
        (b"sip.contoso.com", 120),
        (b"\x01\x0cMS-UC-Client", 43),
        (b"MS-UC-Client", 43),
        (b"", 43),
    ],
)
def test_what_octets_look_like(octets: bytes, code: int) -> None:
    assert guess_code(octets) == code


def test_lines_of_other_text_are_left_alone() -> None:
    assert read_bare("a site\nwith a few words\nbad cafe\nfeed me, 10 times\n") == []


@pytest.mark.parametrize(
    ("text", "code", "octets"),
    [
        ("Option: (43) Vendor-Specific\n    Length: 5\n    Value: 0a03313030", 43, b"\x0a\x03100"),
        ("    Vendor-Option (43), length 5: 10.3.49.48.48", 43, b"\x0a\x03100"),
        (
            "07:00:00.1|0000000209|INFO    |Option 120 from 10.0.0.1 hex 000373697000 names sip",
            120,
            b"\0\x03sip\0",
        ),
        ("option 43: hex = 0a:03:31:30:30", 43, b"\x0a\x03100"),
        ("value 0x0a03313030", 43, b"\x0a\x03100"),
        ('"data": "0A03313030",', 43, b"\x0a\x03100"),
        ("add code=120 name=sip value=0x000373697000", 120, b"\0\x03sip\0"),
    ],
)
def test_what_tools_show_is_read(text: str, code: int, octets: bytes) -> None:
    (option,) = read_bare(text)
    assert (option.code, option.octets) == (code, octets)


@pytest.mark.parametrize(
    "text", ["Vendor-Option (43), length 5: 10.3.49", "Vendor-Option (43), length 1: 999"]
)
def test_what_tcpdump_has_cut_is_left_alone(text: str) -> None:
    assert read_bare(text) == []
