"""Remedies: what to enter at which kind of server. `causes` puts them together.

Commands are to be copied, with the names of a site in place of contoso's; those for DHCP are what
`phonesim dhcputil config` prints. A line is a sentence or a command.

Specifications: device reference sections 6, 11 and 18.3; the servers' own manuals.
"""

from __future__ import annotations

import msgspec


class Remedy(msgspec.Struct, frozen=True):
    """What to do at one kind of server, such as `Windows DHCP`."""

    where: str
    how: str


SIGN_IN_NAMES = "--web-server webpool.contoso.com --sip-server pool.contoso.com"
"""In a remedy, names in whose place a site's own are put where they are known."""
SCOPE_ID = "192.0.2.0"
"""The same for the scope of a DHCP server."""

# --- options 43 and 120 ---


def _config(server: str) -> str:
    return f"phonesim dhcputil config {server} {SIGN_IN_NAMES}"


OPTION_43 = (
    Remedy(
        "Windows DHCP",
        f"Run what this prints; every sub-option is Binary, of class MS-UC-Client:\n"
        f"{_config('windows-netsh')}",
    ),
    Remedy("Windows DHCP, PowerShell", f"Run what this prints:\n{_config('windows-powershell')}"),
    Remedy(
        "Kea",
        'Put what this prints into the configuration, its class in "client-classes":\n'
        f"{_config('kea')}",
    ),
    Remedy("ISC dhcpd", f"Put what this prints into dhcpd.conf:\n{_config('isc-dhcpd')}"),
    Remedy("dnsmasq", f"Put what this prints into dnsmasq.conf:\n{_config('dnsmasq')}"),
    Remedy(
        "Cisco IOS",
        f"Type what this prints in the pool:\n{_config('cisco-ios')}\n"
        "`option 43 hex` takes not more than 180 digits, so web servers' names of 23 characters at"
        " most; from IOS XE 3.2.1S on longer ones with `option ext 43 hex`.",
    ),
)
OPTION_120 = (
    Remedy(
        "Windows DHCP",
        "Run what this prints; option 120 is Binary: 00, then labels behind their lengths:\n"
        f"{_config('windows-netsh')}",
    ),
    *OPTION_43[1:5],
    Remedy("Cisco IOS", f"Type what this prints in the pool:\n{_config('cisco-ios')}"),
)
BOTH_OPTIONS = OPTION_43
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
        f"Get-DhcpServerv4ScopeStatistics -ScopeId {SCOPE_ID}\n"
        f"Set-DhcpServerv4Scope -ScopeId {SCOPE_ID} -StartRange FIRST -EndRange LAST\n"
        "Shorten the lease, and delete the leases of what has gone.",
    ),
    Remedy("Kea", 'Widen "pools", lower "valid-lifetime"; lease4-del removes one lease.'),
    Remedy("ISC dhcpd", "Widen `range`, lower `max-lease-time`."),
    Remedy("dnsmasq", "Widen dhcp-range; its last field is the lease time."),
    Remedy(
        "Cisco IOS",
        "show ip dhcp pool\nshow ip dhcp binding\n"
        "For each binding of what has gone, ADDRESS being its own (* drops those of all hosts):\n"
        "clear ip dhcp binding ADDRESS",
    ),
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
