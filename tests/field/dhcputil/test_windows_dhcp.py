from __future__ import annotations

import pytest

from phonesim.errors import DecodeError
from phonesim.field.dhcputil.sign_in_values import SignInValues, read_sign_in_values
from phonesim.field.dhcputil.windows_dhcp import (
    read_netsh,
    read_powershell,
    remove_netsh,
    remove_powershell,
    write_netsh,
    write_powershell,
)

NETSH = "netsh dhcp server set optionvalue"


def test_netsh_does_what_the_script_does_in_its_order() -> None:
    values = read_sign_in_values(["sip.contoso.com"])
    assert write_netsh(values).splitlines() == [
        "netsh dhcp server delete optionvalue 120",
        "netsh dhcp server delete optiondef 120",
        "netsh dhcp server delete class MSUCClient",
        'netsh dhcp server add optiondef 120 UCSipServer Binary 0 comment="Sip Server Fqdn"',
        "netsh dhcp server set optionvalue 120 Binary 000373697007636F6E746F736F03636F6D00",
        'netsh dhcp server add class MSUCClient "UC Vendor Class Id" "MS-UC-Client" 1',
        'netsh dhcp server add optiondef 1 UCIdentifier Binary 0 Vendor=MSUCClient comment="UC'
        ' Identifier"',
        "netsh dhcp server set optionvalue 1 Binary vendor=MSUCClient 4D532D55432D436C69656E74",
        'netsh dhcp server add optiondef 2 URLScheme Binary 0 Vendor=MSUCClient comment="URL'
        ' Scheme"',
        "netsh dhcp server set optionvalue 2 Binary vendor=MSUCClient 6874747073",
        "netsh dhcp server add optiondef 3 WebServerFqdn Binary 0 Vendor=MSUCClient"
        ' comment="Web Server Fqdn"',
        "netsh dhcp server set optionvalue 3 Binary vendor=MSUCClient"
        " 7369702E636F6E746F736F2E636F6D",
        "netsh dhcp server add optiondef 4 WebServerPort Binary 0 Vendor=MSUCClient"
        ' comment="Web Server Port"',
        "netsh dhcp server set optionvalue 4 Binary vendor=MSUCClient 343433",
        "netsh dhcp server add optiondef 5 CertProvRelPath Binary 0 Vendor=MSUCClient"
        ' comment="Cert Prov Relative Path"',
        "netsh dhcp server set optionvalue 5 Binary vendor=MSUCClient 2F4365727450726F762F43657274"
        "50726F766973696F6E696E67536572766963652E737663",
    ]
    assert remove_netsh(values).splitlines() == write_netsh(values).splitlines()[:3]


def test_the_vlan_has_a_class_of_its_own(values: SignInValues) -> None:
    last = write_netsh(values).splitlines()[-3:]
    assert last == [
        'netsh dhcp server add class CPEOCPhone "VLAN Vendor Class Id" "CPE-OCPHONE" 1',
        'netsh dhcp server add optiondef 10 VlanId Binary 0 Vendor=CPEOCPhone comment="VLAN Id"',
        "netsh dhcp server set optionvalue 10 Binary vendor=CPEOCPhone 313030",
    ]
    assert "delete class CPEOCPhone" in remove_netsh(values)
    assert "Remove-DhcpServerv4Class -Name CPEOCPhone -Type Vendor\n" in remove_powershell(values)


def test_powershell_has_the_documented_class_line_and_binary_definitions(
    values: SignInValues,
) -> None:
    lines = write_powershell(values).splitlines()
    assert "Add-DhcpServerv4Class -Name MSUCClient -Type Vendor -Data MS-UC-Client" in lines
    defined = [line for line in lines if line.startswith("Add-DhcpServerv4OptionDefinition")]
    assert len(defined) == 7
    assert all("-Type BinaryData" in line for line in defined)
    assert (
        'Set-DhcpServerv4OptionValue -OptionId 4 -VendorClass "MSUCClient"'
        ' -Value "0x34","0x34","0x33"'
    ) in lines


def test_a_definition_that_is_not_binary_is_noted_and_its_octets_are_the_servers() -> None:
    (option,) = read_netsh(
        f"""netsh dhcp server add class MSUCClient "UC" "MS-UC-Client" 1
netsh dhcp server add optiondef 4 WebServerPort Word 0 Vendor=MSUCClient
{NETSH} 4 Word vendor=MSUCClient 443
{NETSH} 1 String vendor=MSUCClient "MS-UC-Client"
"""
    )
    assert option.octets == b"\x01\x0dMS-UC-Client\0\x04\x02\x01\xbb"
    assert (option.vendor_class, option.line) == ("MS-UC-Client", 3)
    assert option.notes == (
        "option 1 of class MSUCClient is defined as string, not as Binary",
        "option 4 of class MSUCClient is defined as word, not as Binary",
    )


def test_a_class_with_the_wrong_data_keeps_it() -> None:
    (option,) = read_netsh(
        'netsh dhcp server add class MSUCClient "UC" "ms-uc-client" 1\n'
        f"{NETSH} 4 Binary vendor=MSUCClient 343433\n"
    )
    assert option.vendor_class == "ms-uc-client"


def test_a_dump_of_a_server_is_read() -> None:
    (option,) = read_netsh(
        'Dhcp Server 10.0.0.1 Add Class "MSUCClient" "UC" "4d532d55432d436c69656e74" 1 b\n'
        'Dhcp Server 10.0.0.1 Add Optiondef 4 "Web Server Port" STRING 0 vendor="MSUCClient"\n'
        'Dhcp Server 10.0.0.1 set optionvalue 4 STRING vendor="MSUCClient" "443"\n'
    )
    assert option.vendor_class == "MS-UC-Client"
    assert option.octets == b"\x04\x04443\0"
    assert option.notes == ("option 4 of class MSUCClient is defined as string, not as Binary",)


def test_scope_options_of_other_kinds_and_the_script_itself_are_left_alone() -> None:
    text = (
        f"{NETSH} 6 IPADDRESS 10.0.0.1\n{NETSH} 120 Binary %3\n"
        "netsh dhcp server 10.0.0.1 scope 10.0.0.0 set optionvalue 43 BINARY 0A03313030\n"
    )
    (option,) = read_netsh(text)
    assert (option.code, option.octets, option.line) == (43, b"\x0a\x03100", 3)


@pytest.mark.parametrize("mark", ["REM ", "rem\t", "  :: ", "# "])
def test_a_line_that_is_commented_out_is_left_alone(mark: str) -> None:
    right = f"{NETSH} 120 Binary 000161\n"
    (option,) = read_netsh(f"{mark}{NETSH} 120 Binary 0A000005\n{right}")
    assert (option.octets, option.line) == (bytes.fromhex("000161"), 2)


def test_a_call_of_the_script_is_read() -> None:
    option_120, option_43 = read_netsh(
        '"C:\\x\\DHCPConfigScript.bat" Configure MS-UC-Client 000373697000'
        " 4D53 6874747073 7765622E62 NULL 2F78\n"
    )
    assert (option_120.code, option_120.octets) == (120, b"\0\x03sip\0")
    assert option_43.octets == b"\x01\x02MS\x02\x05https\x03\x05web.b\x05\x02/x"
    assert option_43.vendor_class == "MS-UC-Client"


@pytest.mark.parametrize(
    ("line", "complaint"),
    [
        (f"{NETSH} 120 Binary 00X", 'line 1: option 120: "X" after 2'),
        (f"{NETSH} 4 Word vendor=MSUCClient 70000", "line 1: option 4 of class MSUCClient: "),
        (f"{NETSH} 43 IPADDRESS 10.0.0", "is not an IPv4 address"),
        (f"{NETSH} 43 Nibble 1", "'nibble' is no type of option"),
        ("DHCPConfigScript.bat Configure MS-UC-Client 000 4D", "line 1: DHCPConfigScript: 3 hex"),
    ],
)
def test_values_that_are_none_are_refused(line: str, complaint: str) -> None:
    with pytest.raises(DecodeError) as caught:
        read_netsh(line)
    assert complaint in str(caught.value)


def test_powershell_is_read_in_its_customary_forms() -> None:
    found = read_powershell(
        """Add-DhcpServerv4Class -Name "MSUCClient" -Type Vendor -Data "MS-UC-Client"
Set-DhcpServerv4OptionValue -ScopeId 10.0.0.0 -VendorClass "MSUCClient" -OptionId 5 `
    -Value ([System.Text.Encoding]::ASCII.GetBytes("/CertProv/CertProvisioningService.svc"))
Set-DhcpServerv4OptionValue -VendorClass MSUCClient -OptionId 4 -Value 0x34,0x34,0x33
Set-DhcpServerv4OptionValue -OptionId 120 -Value "0","3","115","105","112","0"
Set-DhcpServerv4OptionValue -OptionId $id -Value 1
"""
    )
    assert [(each.code, each.vendor_class, each.line) for each in found] == [
        (120, None, 5),
        (43, "MS-UC-Client", 2),
    ]
    assert found[0].octets == b"\0\x03sip\0"
    assert found[1].octets == b"\x04\x03443\x05\x25/CertProv/CertProvisioningService.svc"


def test_powershell_definitions_of_another_type_are_noted() -> None:
    (option,) = read_powershell(
        """Add-DhcpServerv4OptionDefinition -OptionId 120 -Name x -Type String
Set-DhcpServerv4OptionValue -OptionId 120 -Value "sip.contoso.com"
"""
    )
    assert option.octets == b"sip.contoso.com\0"
    assert option.notes == ("option 120 is defined as string, not as Binary",)
