"""Remedies: what to enter at which kind of server. `causes` puts them together.

Commands are to be copied, with the names of a site in place of contoso's; `phonesim dhcputil
config` prints those for DHCP with a site's own octets. A line is a sentence or a command.

Specifications: device reference sections 6, 11 and 18.3; the servers' own manuals.
"""

from __future__ import annotations

import msgspec


class Remedy(msgspec.Struct, frozen=True):
    """What to do at one kind of server, such as `Windows DHCP`."""

    where: str
    how: str


# --- options 43 and 120 ---

OPTION_43 = (
    Remedy(
        "Windows DHCP",
        "Run DHCPUtil with -RunConfigScript, or enter each sub-option as Binary:\n"
        'netsh dhcp server add class MSUCClient "UC Vendor Class Id" "MS-UC-Client" 1\n'
        "netsh dhcp server add optiondef 3 WebServerFqdn Binary 0 Vendor=MSUCClient\n"
        "netsh dhcp server set optionvalue 3 Binary vendor=MSUCClient 776562706F6F6C2E...",
    ),
    Remedy(
        "Windows DHCP, PowerShell",
        "Add-DhcpServerv4Class -Name MSUCClient -Type Vendor -Data MS-UC-Client\n"
        "Add-DhcpServerv4OptionDefinition -VendorClass MSUCClient -OptionId 3"
        " -Name WebServerFqdn -Type BinaryData\n"
        "Set-DhcpServerv4OptionValue -VendorClass MSUCClient -OptionId 3 -Value 0x77,0x65,...",
    ),
    Remedy(
        "Kea",
        'In "client-classes":\n'
        '{"name": "MS-UC-Client", "test": "option[60].text == \'MS-UC-Client\'",\n'
        ' "option-def": [{"name": "uc", "code": 43, "type": "binary"}],\n'
        ' "option-data": [{"name": "uc", "data": "010C4D532D55432D..."}]}',
    ),
    Remedy(
        "ISC dhcpd",
        'class "uc" { match if option vendor-class-identifier = "MS-UC-Client";\n'
        "  option vendor-encapsulated-options 01:0c:4d:53:2d:55:43:2d:...; }",
    ),
    Remedy(
        "dnsmasq",
        "dhcp-vendorclass=set:uc,MS-UC-Client\ndhcp-option=tag:uc,43,01:0c:4d:53:2d:55:43:2d:...",
    ),
    Remedy(
        "Cisco IOS",
        "option 43 hex 010c.4d53.2d55.432d...\n"
        "Not more than 180 digits, so web servers' names of 23 characters at most; from IOS XE"
        " 3.2.1S on longer ones with:\n"
        "option ext 43 hex 010c.4d53.2d55.432d...",
    ),
)
OPTION_120 = (
    Remedy(
        "Windows DHCP",
        'netsh dhcp server add optiondef 120 UCSipServer Binary 0 comment="Sip Server Fqdn"\n'
        "netsh dhcp server set optionvalue 120 Binary 0004706F6F6C07636F6E746F736F03636F6D00",
    ),
    Remedy(
        "Windows DHCP, PowerShell",
        "Add-DhcpServerv4OptionDefinition -OptionId 120 -Name UCSipServer -Type BinaryData\n"
        "Set-DhcpServerv4OptionValue -OptionId 120 -Value 0x00,0x04,0x70,0x6F,0x6F,0x6C,...",
    ),
    Remedy(
        "Kea",
        'In "option-data":\n'
        '{"code": 120, "csv-format": false, "data": "0004706F6F6C07636F6E746F736F03636F6D00"}',
    ),
    Remedy(
        "ISC dhcpd",
        "option uc-sip-servers code 120 = string;\n"
        "option uc-sip-servers 00:04:70:6f:6f:6c:07:63:6f:6e:74:6f:73:6f:03:63:6f:6d:00;",
    ),
    Remedy("dnsmasq", "dhcp-option=option:sip-server,pool.contoso.com"),
    Remedy("Cisco IOS", "option 120 hex 0004.706f.6f6c.0763.6f6e.746f.736f.0363.6f6d.00"),
)
BOTH_OPTIONS = (*OPTION_43, *(each for each in OPTION_120 if "PowerShell" not in each.where))
CHECK_OPTIONS = Remedy(
    "to check",
    "`phonesim dhcputil decode` says what a server's octets mean, `phonesim dhcputil"
    " emulate-client` what a phone is answered.",
)
RELAY = (
    Remedy(
        "Cisco IOS, the phones' VLAN interface",
        "ip helper-address 192.0.2.10\nOne line for each server, the Registrar that answers"
        " INFORM among them.",
    ),
    Remedy(
        "firewalls",
        "Let UDP 67 and 68 pass both ways, unicast from the server to the phone's port 68 as well"
        " (RFC 2131 section 4.1).",
    ),
)
REGISTRAR_DHCP = Remedy(
    "Lync or Skype for Business pool",
    "Set-CsRegistrarConfiguration -Identity registrar:pool.contoso.com -EnableDHCPServer $true\n"
    "For very small sites: it answers INFORM only, and relays have to lead to it.",
)

# --- addresses and VLANs ---

SCOPE = (
    Remedy(
        "Windows DHCP",
        "Get-DhcpServerv4ScopeStatistics -ScopeId 192.0.2.0\n"
        "Set-DhcpServerv4Scope -ScopeId 192.0.2.0 -StartRange ... -EndRange ...\n"
        "Shorten the lease, and delete the leases of what has gone.",
    ),
    Remedy("Kea", 'Widen "pools", lower "valid-lifetime"; lease4-del removes one lease.'),
    Remedy("ISC dhcpd", "Widen `range`, lower `max-lease-time`."),
    Remedy("dnsmasq", "Widen dhcp-range; its last field is the lease time."),
    Remedy("Cisco IOS", "show ip dhcp pool\nclear ip dhcp binding *"),
)
DHCP_LIVES = (
    Remedy("Windows DHCP", "Get-Service DHCPServer; Get-DhcpServerInDC\nActivate the scope."),
    Remedy("Kea, ISC dhcpd, dnsmasq", "Look at the service and at the interface that it serves."),
    *RELAY,
)
VLAN = (
    Remedy(
        "switch",
        "Give the voice VLAN by LLDP-MED (Cisco IOS: `lldp run`, `switchport voice vlan 20`), and"
        " let that VLAN reach the DHCP server.",
    ),
    Remedy(
        "Windows DHCP, class CPE-OCPHONE",
        "netsh dhcp server add class CPEOCPhone VLAN CPE-OCPHONE 1\n"
        "netsh dhcp server add optiondef 10 VlanId Binary 0 Vendor=CPEOCPhone\n"
        "netsh dhcp server set optionvalue 10 Binary vendor=CPEOCPhone 3230\n"
        "3230 are the digits of VLAN 20. Set no option where the switch gives the VLAN.",
    ),
)

# --- names ---

SRV = (
    Remedy(
        "Windows DNS",
        "Add-DnsServerResourceRecord -Srv -ZoneName contoso.com -Name _sipinternaltls._tcp"
        " -DomainName fe01.contoso.com -Priority 0 -Weight 0 -Port 5061",
    ),
    Remedy(
        "BIND",
        "_sipinternaltls._tcp.contoso.com. 3600 IN SRV 0 0 5061 fe01.contoso.com.\n"
        "One record for each Front End or, with a load balancer, one for the pool.",
    ),
)
HOST = (
    Remedy(
        "Windows DNS",
        "Add-DnsServerResourceRecordA -ZoneName contoso.com -Name webpool -IPv4Address 192.0.2.20",
    ),
    Remedy("BIND", "webpool.contoso.com. 3600 IN A 192.0.2.20"),
)
NO_ALIAS = (
    Remedy(
        "Windows DNS",
        "Remove-DnsServerResourceRecord -ZoneName contoso.com -Name fe01 -RRType CName\n"
        "Add-DnsServerResourceRecordA -ZoneName contoso.com -Name fe01 -IPv4Address 192.0.2.21",
    ),
    Remedy("BIND", "Replace the CNAME record by: fe01.contoso.com. 3600 IN A 192.0.2.21"),
)
DNS_LIVES = (
    Remedy(
        "Windows DNS", "Get-Service DNS\nResolve-DnsName webpool.contoso.com -Server 192.0.2.11"
    ),
    Remedy("BIND", "rndc status\nnamed-checkzone contoso.com contoso.com.zone"),
    Remedy(
        "the DHCP server",
        "Give a DNS server that lives in option 6, and the right domain in option 15.",
    ),
)
TIME = (
    Remedy("Windows DHCP", "Set-DhcpServerv4OptionValue -OptionId 42 -Value 192.0.2.12"),
    Remedy("Kea", '"option-data": [{"name": "ntp-servers", "data": "192.0.2.12"}]'),
    Remedy("ISC dhcpd", "option ntp-servers 192.0.2.12;"),
    Remedy("dnsmasq", "dhcp-option=option:ntp-server,192.0.2.12"),
    Remedy("Cisco IOS", "option 42 ip 192.0.2.12"),
    Remedy(
        "DNS",
        "_ntp._udp.contoso.com. 3600 IN SRV 0 0 123 dc01.contoso.com.\n"
        "And let UDP 123 pass from the phones to the time server.",
    ),
)

# --- certificates ---

NEW_CERTIFICATE = Remedy(
    "Lync or Skype for Business pool",
    "Request-CsCertificate -New -Type Default,WebServicesInternal -CA ca01\\contoso-CA"
    " -DomainName fe01.contoso.com,pool.contoso.com,sip.contoso.com\n"
    "Set-CsCertificate -Type Default,WebServicesInternal -Thumbprint ...",
)
CHAIN = (
    Remedy(
        "Lync or Skype for Business pool",
        "Set-CsWebServiceConfiguration -EnableCertChainDownload $true -InferCertChainFromSSL $true",
    ),
    Remedy(
        "the web server (IIS)",
        "Put the intermediate certificate into the computer's store Intermediate Certification"
        " Authorities, and start IIS again; a load balancer needs it beside its certificate.",
    ),
)
TLS = (
    Remedy(
        "the server",
        "Let TLS 1.0 in again for phones, in SCHANNEL's Protocols\\TLS 1.0\\Server or at the load"
        " balancer: newer TLS is not for these phones.",
    ),
    Remedy("the phones", "Replace them: no firmware of theirs has TLS 1.2."),
)

# --- web services ---

WEB_SERVICES = (
    Remedy(
        "Front End (IIS)",
        "Get-CsWindowsService; iisreset\n"
        "Open the Web Services URL with a browser: it must not answer 404.",
    ),
    Remedy(
        "load balancer, firewall",
        "Let TCP 80 and 443 of the internal web services through to port 80 and 443 of the Front"
        " Ends, from the phones' VLAN as well.",
    ),
)
LOAD = (
    Remedy(
        "Front End (IIS)",
        "Look at the queue and the processors while phones boot; let buildings come back one after"
        " another. `phonesim run power-cut` rehearses it.",
    ),
)


def pool(*lines: str) -> tuple[Remedy]:
    """What to type in the management shell of the pool."""
    return (Remedy("Lync or Skype for Business management shell", "\n".join(lines)),)
