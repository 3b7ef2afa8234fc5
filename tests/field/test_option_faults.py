from __future__ import annotations

import pytest

from phonesim.field.dhcputil.sign_in_values import read_sign_in_values
from phonesim.field.option_faults import faults_of_option_43, faults_of_option_120

GOOD = read_sign_in_values(["server.fqdn.company.com"]).option_43
LONG = read_sign_in_values(["lyncwebpool-emea.contoso.com"]).option_43
IDENTIFIER, SCHEME = b"\x01\x0cMS-UC-Client", b"\x02\x05https"


@pytest.mark.parametrize(
    ("octets", "names"),
    [
        (GOOD, []),
        (GOOD + b"\xff", []),
        (GOOD + b"\0\0", []),
        (b"\x0a\x03100", []),
        (b"\x0a\x02\0\x64", []),
        (LONG[:90], ["option-43-cut"]),
        (GOOD[:-1], ["option-43-cut"]),
        (b"\x01", ["option-43-cut"]),
        (GOOD.replace(b"\x04\x03443", b"\x04\x02\x01\xbb"), ["option-43-port-not-text"]),
        (GOOD.hex().encode(), ["option-43-not-binary"]),
        (b"https://webpool.contoso.com", ["option-43-not-binary"]),
        (GOOD.replace(b"\x04\x03443", b"\x04\x04443\0"), ["option-43-not-binary"]),
        (IDENTIFIER + b"\xff" + GOOD[14:], ["option-43-ff"]),
        (GOOD.replace(b"MS-UC", b"ms-uc"), ["option-43-identifier"]),
        (GOOD[14:], ["option-43-identifier"]),
        (
            GOOD.replace(b"MS-UC", b"ms-uc").replace(b"\x04\x03443", b"\x04\x02\x01\xbb"),
            ["option-43-identifier", "option-43-port-not-text"],
        ),
        (b"\xf1\x04\x0a\0\0\x01", ["option-43-other-class"]),
        (b"", ["option-43-malformed"]),
        (b"\0\0", ["option-43-malformed"]),
        (IDENTIFIER + SCHEME, ["option-43-malformed"]),
        (GOOD.replace(b"https", b"htt\xe4s"), ["option-43-malformed"]),
        (b"\x0a\x03abc", ["vlan-option-malformed"]),
        (b"\x0a\x02\x0f\xff", ["vlan-option-malformed"]),
    ],
)
def test_causes_of_option_43(octets: bytes, names: list[str]) -> None:
    assert [cause.name for cause in faults_of_option_43(octets)] == names


def test_an_option_that_ends_at_the_limit_and_lacks_its_last_part_was_cut() -> None:
    whole = read_sign_in_values(["fe01.contoso.com"], web_server="w" * 58 + ".com")
    before_the_path = whole.option_43[:-39]
    assert len(before_the_path) == 90
    assert [each.name for each in faults_of_option_43(before_the_path)] == ["option-43-cut"]


@pytest.mark.parametrize(
    ("octets", "names"),
    [
        (b"\0\x04fe01\x07contoso\x03com\0", []),
        (b"\0\x04fe01\x07contoso\x03com\0\x04fe02\xc0\x05", []),
        (b"fe01.contoso.com", ["option-120-raw-text"]),
        (b"fe01.contoso.com\0", ["option-120-raw-text"]),
        (b"\x01\x0a\0\0\x01", ["option-120-address"]),
        (b"10.0.0.1", ["option-120-address"]),
        (b"\0\x0210\x010\x010\x011\0", ["option-120-address"]),
        (b"", ["option-120-malformed"]),
        (b"\0", ["option-120-malformed"]),
        (b"\x04fe01\x07contoso\x03com\0", ["option-120-malformed"]),
        (b"\0\x50fe01", ["option-120-malformed"]),
    ],
)
def test_causes_of_option_120(octets: bytes, names: list[str]) -> None:
    assert [cause.name for cause in faults_of_option_120(octets)] == names
