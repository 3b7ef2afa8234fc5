from __future__ import annotations

import pytest

from phonesim.errors import DecodeError
from phonesim.field.dhcputil.dnsmasq import read_dnsmasq, write_dnsmasq
from phonesim.field.dhcputil.sign_in_values import SignInValues


def test_options_go_by_tags_of_classes(values: SignInValues) -> None:
    lines = write_dnsmasq(values).splitlines()
    assert lines[0] == "dhcp-vendorclass=set:ms-uc-client,MS-UC-Client"
    assert lines[1] == f"dhcp-option=tag:ms-uc-client,43,{values.option_43.hex(':')}"
    assert lines[-1] == "dhcp-option=tag:cpe-ocphone,43,0a:03:31:30:30"


@pytest.mark.parametrize(
    ("line", "code", "octets"),
    [
        ("dhcp-option=43,a:03:31:30:30", 43, b"\x0a\x03100"),
        ("dhcp-option-force=tag:x,43,0a:03  # now", 43, b"\x0a\x03"),
        ("--dhcp-option=x,43,MS-UC-Client", 43, b"MS-UC-Client"),
        ("dhcp-option=43,10.0.0.1", 43, b"\x0a\0\0\x01"),
        ("dhcp-option=option:sip-server,sip.contoso.com", 120, b"\0\x03sip\x07contoso\x03com\0"),
        ("dhcp-option=120,10.0.0.1", 120, b"\x01\x0a\0\0\x01"),
        ("dhcp-option=120,00:01:61:00", 120, b"\0\x01a\0"),
        ("\tlist dhcp_option 'tag:uc,43,0a:03'", 43, b"\x0a\x03"),
        ("dhcp-option=43", 43, b""),
    ],
)
def test_forms_of_a_line(line: str, code: int, octets: bytes) -> None:
    (option,) = read_dnsmasq(line)
    assert (option.code, option.octets, option.vendor_class) == (code, octets, None)


@pytest.mark.parametrize(
    ("value", "octets"),
    [
        ("443", b"\x01\xbb"),
        ("44", b"\x2c"),
        ("70000", b"\0\x01\x11\x70"),
        ("44s", b"\0\x2c"),
        ("44i", b"\0\0\0\x2c"),
    ],
)
def test_what_looks_like_a_number_becomes_one(value: str, octets: bytes) -> None:
    (option,) = read_dnsmasq(f"dhcp-option=vendor:MS-UC-Client,4,{value}")
    assert option.octets == bytes((4, len(octets))) + octets + b"\xff"
    digits = value.rstrip("si").encode().hex(":")
    assert option.notes == (f"dnsmasq sends {value} as a binary number; as text it is {digits}",)
    assert option.vendor_class == "MS-UC-Client"


def test_the_class_is_that_of_the_tag() -> None:
    found = read_dnsmasq(
        "dhcp-vendorclass=set:uc,ms-uc-client\n"
        "dhcp-option=tag:other,tag:uc,43,0a:03\n"
        "dhcp-option=tag:uc,vendor:,10,64:00\n"
    )
    assert [(each.vendor_class, each.octets) for each in found] == [
        ("ms-uc-client", b"\x0a\x03"),
        ("ms-uc-client", b"\x0a\x02d\0\xff"),
    ]


@pytest.mark.parametrize(
    "line",
    [
        "#dhcp-option=43,0a:03",
        "dhcp-option=6,10.0.0.1",
        "dhcp-option=option6:sip-server,[::1]",
        "dhcp-option=encap:175,190,1",
        "dhcp-option=tag:x",
        "dhcp-range=10.0.0.1,10.0.0.9",
    ],
)
def test_other_lines_are_left_alone(line: str) -> None:
    assert read_dnsmasq(line) == []


@pytest.mark.parametrize(
    "value", ["vendor:x,4,9999999999999", "option:sip-server,-bad", "option:sip-server"]
)
def test_values_that_are_none_are_refused(value: str) -> None:
    with pytest.raises(DecodeError, match="line 1: option "):
        read_dnsmasq(f"dhcp-option={value}")
