from __future__ import annotations

from pathlib import Path

import pytest

from phonesim.errors import DecodeError
from phonesim.field.dhcputil.printed_form import DIALECTS, print_like_dhcputil, read_dhcputil
from phonesim.field.dhcputil.sign_in_values import SignInValues, read_sign_in_values

PUBLISHED = Path(__file__).with_name("dhcputil-2015.txt")


def test_the_published_output_is_printed_octet_for_octet() -> None:
    printed = print_like_dhcputil(read_sign_in_values(["server.fqdn.company.com"]))
    assert printed.encode() == PUBLISHED.read_bytes()
    assert "(Length: 180) : \n" in printed


def test_the_older_output_has_the_older_spellings() -> None:
    printed = print_like_dhcputil(read_sign_in_values(["example.com"]), "2010")
    assert printed.splitlines() == [
        "Sip Server FQDN: example.com",
        "Certificate Provisioning Service URL: "
        "https://example.com:443/CertProv/CertProvisioningService.svc",
        "Option 120: 00076578616D706C6503636F6D00",
        "Vendor Class Identifier: MS-UC-Client",
        "Option 43 (for vendor=MS-UC-Client):",
        "Sub-Option 1 <UC Identifier>: 4D532D55432D436C69656E74",
        "Sub-Option 2 <URL Scheme>: 6874747073",
        "Sub-Option 3 <Web Server FQDN>: 6578616D706C652E636F6D",
        "Sub-Option 4 <Port>: 343433",
        "Sub-Option 5 <Relative Path for Cert Prov>: "
        "2F4365727450726F762F4365727450726F766973696F6E696E67536572766963652E737663",
    ]


@pytest.mark.parametrize("dialect", DIALECTS)
def test_what_was_printed_is_read_back(values: SignInValues, dialect: str) -> None:
    assert dialect in DIALECTS
    found = read_dhcputil(print_like_dhcputil(values, dialect))
    assert [(each.code, each.vendor_class, each.octets) for each in found] == [
        (120, None, values.option_120),
        (43, "MS-UC-Client", values.option_43),
        (43, "CPE-OCPHONE", values.vlan_option_43),
    ]


def test_a_digit_that_was_not_copied_is_missed() -> None:
    with pytest.raises(DecodeError, match="line 2: 3 hexadecimal digits: one is missing"):
        read_dhcputil("Option 120:\n000\n")


def test_other_text_holds_nothing() -> None:
    assert read_dhcputil("Option 43 is not set\n") == []
