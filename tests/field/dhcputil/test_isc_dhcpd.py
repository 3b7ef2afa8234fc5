from __future__ import annotations

import pytest

from phonesim.errors import DecodeError
from phonesim.field.dhcputil.isc_dhcpd import read_isc_dhcpd, remove_isc_dhcpd, write_isc_dhcpd
from phonesim.field.dhcputil.sign_in_values import SignInValues


def test_it_is_authoritative_for_inform_and_stays_so(values: SignInValues) -> None:
    assert "\nauthoritative;\n" in write_isc_dhcpd(values)
    assert "authoritative" not in remove_isc_dhcpd(values)


def test_a_space_of_sub_options_is_joined_for_the_class_that_sends_it() -> None:
    found = read_isc_dhcpd(
        """# what phones need
option space UC;
option UC.identifier code 1 = text;
option UC.port code 4 = unsigned integer 16;  # wrong
option sip code 120 = string;
class "phones" {
    match if substring(option vendor-class-identifier, 0, 12) = "MS-UC-Client";
    vendor-option-space UC;
    option UC.port 443;
    option UC.identifier "MS-UC-Client";
    option sip 00:03:73:69:70:00;
}
subnet 10.0.0.0 netmask 255.0.0.0 { option routers 10.0.0.1; }
"""
    )
    assert [(each.code, each.vendor_class, each.line) for each in found] == [
        (120, None, 11),
        (43, "MS-UC-Client", 9),
    ]
    assert found[0].octets == b"\0\x03sip\0"
    assert found[1].octets == b"\x01\x0cMS-UC-Client\x04\x02\x01\xbb"
    assert found[1].notes == (
        "option UC.port is defined as unsigned integer 16, not as string or text",
    )


@pytest.mark.parametrize(
    ("text", "octets", "vendor_class"),
    [
        ("option vendor-encapsulated-options 0a:03:31:30:30;", b"\x0a\x03100", None),
        ("option vendor-encapsulated-options 0a:03:31:30:30", b"\x0a\x03100", None),
        ('option vendor-encapsulated-options "MS;{UC";', b"MS;{UC", None),
        (
            'class "MS-UC-Client" { option vendor-encapsulated-options\n  0a:03; } # end',
            b"\x0a\x03",
            "MS-UC-Client",
        ),
        (
            'if option vendor-class-identifier = "X" { option vendor-encapsulated-options 0a:03; }',
            b"\x0a\x03",
            "X",
        ),
    ],
)
def test_forms_of_option_43(text: str, octets: bytes, vendor_class: str | None) -> None:
    (option,) = read_isc_dhcpd(text)
    assert (option.code, option.octets, option.vendor_class) == (43, octets, vendor_class)


def test_a_line_of_option_120_needs_no_definition(values: SignInValues) -> None:
    text = write_isc_dhcpd(values)
    (line,) = [each for each in text.splitlines() if each.startswith("    option uc-sip-servers")]
    (option,) = read_isc_dhcpd(line)
    assert (option.code, option.octets) == (120, values.option_120)


def test_a_class_ends_with_its_block() -> None:
    first, second = read_isc_dhcpd(
        'class "a" { option vendor-encapsulated-options 01; }\n'
        "option vendor-encapsulated-options 02;"
    )
    assert (first.vendor_class, second.vendor_class) == ("a", None)


def test_values_that_are_none_are_refused() -> None:
    with pytest.raises(DecodeError, match="line 2: option vendor-encapsulated-options: "):
        read_isc_dhcpd("\noption vendor-encapsulated-options concat(01);")


@pytest.mark.parametrize(
    "text", ["", "}}}}", '"', "option", "# option x;", "class {", "option x y;"]
)
def test_other_text_holds_nothing(text: str) -> None:
    assert read_isc_dhcpd(text) == []
