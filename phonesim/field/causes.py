"""The causes that can be found: what each is, why it breaks the phone, how to mend it.

A closed list. The names are in failure profiles and in `--json`; `docs/failures.md` explains
each with the profile that reproduces it.
"""

from __future__ import annotations

import msgspec

from phonesim.field import remedies
from phonesim.field.remedies import Remedy


class Cause(msgspec.Struct, frozen=True, kw_only=True):
    """One thing that can be wrong. `title` is a clause without a stop, `why` what it does to the
    phone, with its source in brackets where there is one.
    """

    name: str
    title: str
    why: str
    remedies: tuple[Remedy, ...]


CAUSES: dict[str, Cause] = {}


def _cause(name: str, title: str, why: str, *mended_by: Remedy) -> Cause:
    cause = CAUSES[name] = Cause(name=name, title=title, why=why, remedies=mended_by)
    return cause


# --- the voice VLAN ---

VLAN_OPTION_MALFORMED = _cause(
    "vlan-option-malformed",
    "sub-option 10 holds no VLAN id",
    "The phone stays in the VLAN it started in, often the one for data. How wide sub-option 10 "
    "is has not been published: digits are the safest [device reference, section 4].",
    *remedies.VLAN,
)
VOICE_VLAN_DEAD = _cause(
    "voice-vlan-dead",
    "nobody answers DHCP in the voice VLAN",
    "The phone leaves the VLAN in which it was told so, and asks for an address where nobody "
    'has one to give: "Acquiring IP Address" for ever [documented].',
    *remedies.VLAN,
    *remedies.RELAY,
)

# --- an address ---

DHCP_SILENT = _cause(
    "dhcp-silent",
    "no DHCP server answers DISCOVER",
    "Without an address nothing else begins. The phone takes one of 169.254 and asks again "
    "after 5 minutes [documented, ms884977].",
    *remedies.DHCP_LIVES,
    *remedies.SCOPE[:1],
)
DHCP_POOL_EXHAUSTED = _cause(
    "dhcp-pool-exhausted",
    "the DHCP scope has no free address",
    "A server without a free address leaves DISCOVER unanswered, so it looks dead to new phones"
    " and well to all others. The VLAN step takes a second lease for a moment [device "
    "reference, section 18.4].",
    *remedies.SCOPE,
)
ADDRESS_CONFLICT = _cause(
    "address-conflict",
    "another host uses the address that DHCP gives",
    "The phone probes the address by ARP, declines it when somebody answers, and waits before "
    "it asks again [RFC 2131 section 4.4.1].",
    *remedies.SCOPE[:3],
    Remedy(
        "the other host",
        "Find it by its MAC in the switch's table; give it a reservation or another address.",
    ),
)
DHCP_REFUSES = _cause(
    "dhcp-refuses",
    "the DHCP server refuses what it offered, with a NAK",
    "The phone has to begin again, and is refused again: two servers with the same scope, or a "
    "server that believes the phone to be on another network.",
    *remedies.RELAY[:1],
    Remedy(
        "all DHCP servers",
        "Let only one be authoritative for the network, or let both know its subnet.",
    ),
)
ROGUE_DHCP_SERVER = _cause(
    "rogue-dhcp-server",
    "a DHCP server that knows nothing of phones wins",
    "The first OFFER wins. Its DNS server and domain then lead nowhere, whatever the right "
    "server says later [inferred].",
    Remedy("switch", "Cisco IOS: ip dhcp snooping; trust only the ports of your servers."),
    Remedy("on the spot", "Find its MAC in the switch's table and unplug it."),
)
DHCP_SERVERS_DISAGREE = _cause(
    "dhcp-servers-disagree",
    "two DHCP servers give different options",
    "The first answer with an FQDN is used, and all others are ignored [documented]: which one "
    "that is differs from phone to phone and from day to day.",
    *remedies.BOTH_OPTIONS[:3],
    remedies.CHECK_OPTIONS,
)

# --- options 43 and 120 ---

INFORM_UNANSWERED = _cause(
    "inform-unanswered",
    "no server answers DHCPINFORM",
    "A cold phone gets the Registrar and the Web Services URL by INFORM. Without an answer it "
    "turns to DNS, which has only the Registrar [documented]. A phone with a cache does not "
    "ask.",
    *remedies.RELAY,
    remedies.REGISTRAR_DHCP,
    remedies.CHECK_OPTIONS,
)
INFORM_REFUSED = _cause(
    "inform-refused",
    "a server answers DHCPINFORM with a NAK",
    "NAK is no answer to an INFORM [RFC 2131 section 3.4]: the phone goes without options, and "
    "other clients even drop their address [source, packetfence 3146].",
    Remedy(
        "the DHCP server",
        "Let it know the phones' subnet, or update it: it takes INFORM for REQUEST.",
    ),
    *remedies.RELAY[:1],
)
INFORM_ASTRAY = _cause(
    "inform-astray",
    "the answer to DHCPINFORM goes to the wrong place",
    "The answer belongs to the phone's own address, port 68 [RFC 2131 section 4.3.5]; a phone "
    "does not listen elsewhere.",
    Remedy("the DHCP server", "Update it: relayed INFORM is answered to ciaddr, port 68."),
    *remedies.RELAY,
)
INFORM_CLASS_WRONG = _cause(
    "inform-class-wrong",
    "the phone's vendor class is not MS-UC-Client",
    "Servers give option 43 to the class MS-UC-Client, and compare it case and all [documented,"
    " gg412828].",
    Remedy("the phone", "Update the firmware, or correct the profile: discovery.inform_class."),
    remedies.OPTION_43[0],
)
OPTIONS_MISSING = _cause(
    "sign-in-options-missing",
    "DHCP gives neither option 43 nor option 120",
    "Nothing tells a cold phone where its pool is but DNS, and that has only the Registrar "
    "[documented].",
    *remedies.BOTH_OPTIONS,
    remedies.CHECK_OPTIONS,
)
OPTION_43_MISSING = _cause(
    "option-43-missing",
    "DHCP gives no option 43",
    "Option 43 has the Web Services URL. Without it the phone falls back to DNS, the less "
    "reliable way [documented]; the usual reason is a class that is not MS-UC-Client to the "
    "letter.",
    *remedies.OPTION_43,
    remedies.CHECK_OPTIONS,
)
OPTION_43_OTHER_CLASS = _cause(
    "option-43-other-class",
    "option 43 is that of another vendor class",
    "What came is meant for other devices, or names the VLAN only: the server does not tell "
    "vendor classes apart, and the phone finds no URL.",
    *remedies.OPTION_43,
    remedies.CHECK_OPTIONS,
)
OPTION_43_CUT = _cause(
    "option-43-cut",
    "option 43 is cut off",
    "Cisco IOS keeps 180 hex digits, which is enough for a web server's name of 23 characters; "
    "the path at the end is lost, and no URL is left [source].",
    remedies.OPTION_43[5],
    *remedies.OPTION_43[:5],
)
OPTION_43_PORT = _cause(
    "option-43-port-not-text",
    "the port in option 43 is not ASCII digits",
    "The port is text, 34 34 33 for 443. As a number, 01 BB, the phone does not read it and has"
    " no URL [documented, gg412828].",
    *remedies.OPTION_43[:5],
)
OPTION_43_NOT_BINARY = _cause(
    "option-43-not-binary",
    "option 43 was entered as text, not as binary",
    "Options typed as String or entered as hex digits reach the phone as letters. Every "
    "definition has to be Binary [documented, gg412988].",
    *remedies.OPTION_43,
    remedies.CHECK_OPTIONS,
)
OPTION_43_FF = _cause(
    "option-43-ff",
    "an FF octet stands inside option 43",
    "FF ends an option of this kind [RFC 2132 section 8.4]: what stands behind it is not read. "
    "Some servers add it between parts or at the end of each.",
    *remedies.OPTION_43[2:5],
    remedies.CHECK_OPTIONS,
)
OPTION_43_IDENTIFIER = _cause(
    "option-43-identifier",
    "sub-option 1 of option 43 is not MS-UC-Client",
    "Sub-option 1 shows that the option is for these phones; with another text they pass it "
    "over [inferred].",
    *remedies.OPTION_43,
    remedies.CHECK_OPTIONS,
)
OPTION_43_MALFORMED = _cause(
    "option-43-malformed",
    "option 43 cannot be read",
    "A code, a length and a value follow one another; one wrong length, or a missing part, and "
    "there is no URL.",
    *remedies.OPTION_43,
    remedies.CHECK_OPTIONS,
)
OPTION_43_STALE = _cause(
    "option-43-stale",
    "option 43 names a web server that is not there",
    'The phone goes where option 43 leads it, and shows "Unable to locate Lync Certificate Web '
    'service" [documented].',
    *remedies.OPTION_43,
    *remedies.HOST,
)
OPTION_120_MISSING = _cause(
    "option-120-missing",
    "DHCP gives no option 120",
    "Option 120 has the Registrar. Without it the phone may authenticate and yet fail to begin "
    "SIP [documented].",
    *remedies.OPTION_120,
    *remedies.SRV,
)
OPTION_120_RAW_TEXT = _cause(
    "option-120-raw-text",
    "option 120 is plain text without encoding",
    "Encoding 0 and labels, each behind its length, are expected [RFC 3361]: `00 04 pool 07 "
    "contoso 03 com 00`. Not every phone puts up with text.",
    *remedies.OPTION_120,
)
OPTION_120_ADDRESS = _cause(
    "option-120-address",
    "option 120 holds an address, not a name",
    "TLS needs a name that stands in the Registrar's certificate [documented, gg412828]; an "
    "address is of no use.",
    *remedies.OPTION_120,
)
OPTION_120_MALFORMED = _cause(
    "option-120-malformed",
    "option 120 cannot be read",
    "Encoding 0, then labels behind their lengths, then 00 [RFC 3361]. From what cannot be read"
    " no Registrar comes.",
    *remedies.OPTION_120,
)
OPTION_120_STALE = _cause(
    "option-120-stale-first",
    "the first Registrar in option 120 is gone",
    "The phone tries the Registrars in turn until one answers [documented]: every sign-in waits"
    " for the first one to fail, and there is no other left if the second does.",
    *remedies.OPTION_120,
    *remedies.HOST[:1],
)

# --- names ---

DNS_SILENT = _cause(
    "dns-silent",
    "the DNS server does not answer",
    "Every name is looked up at the servers of option 6. Without an answer neither web services"
    " nor Registrar can be reached, wherever their names came from.",
    *remedies.DNS_LIVES,
)
DNS_FAILS = _cause(
    "dns-fails",
    "the DNS server answers with an error",
    "SERVFAIL and REFUSED are no answer: the zone cannot be loaded or reached, or the server "
    "does not serve these clients.",
    *remedies.DNS_LIVES,
)
SRV_MISSING = _cause(
    "srv-missing",
    "there is no SRV record for the Registrar",
    "Where DHCP does not say enough the phone asks for _sipinternaltls._tcp of its domain, then"
    " for sipinternal, sip and sipexternal [documented, dd572514].",
    *remedies.SRV,
)
SRV_TARGET_ALIAS = _cause(
    "srv-target-alias",
    "the SRV record points to an alias (CNAME)",
    "The target of an SRV record is a host with addresses, not an alias [RFC 2782]; the "
    "certificate is made for the alias's target, or the phone finds no address.",
    *remedies.NO_ALIAS,
)
SRV_TARGET_DEAD = _cause(
    "srv-target-dead",
    "the SRV record points to a host that is not there",
    "The phone takes the host at its word: for the Registrar and, without option 43, for the "
    "web services too.",
    *remedies.SRV,
    *remedies.HOST,
)
REGISTRAR_NOT_REDUNDANT = _cause(
    "registrar-not-redundant",
    "DNS has one Registrar of a cluster, and that one is down",
    "The pool has more Registrars, but a cold phone learns of one: when that is down it cannot "
    "sign in, while others do [documented, issue 1].",
    *remedies.SRV,
    *remedies.OPTION_120[:1],
)
WEB_NAME_UNRESOLVED = _cause(
    "web-name-unresolved",
    "the web server's name has no address",
    'The phone has the Web Services URL and cannot turn its host into an address: "Unable to '
    'locate Lync Certificate Web service".',
    *remedies.HOST,
    remedies.OPTION_43[0],
)
REGISTRAR_NAME_UNRESOLVED = _cause(
    "registrar-name-unresolved",
    "the Registrar's name has no address",
    "The phone has the Registrar's name and cannot turn it into an address: \"Unable to contact "
    'Registrar for authentication".',
    *remedies.HOST,
    remedies.OPTION_120[0],
)

# --- the clock, certificates, TLS ---

CLOCK_WRONG = _cause(
    "phone-clock-wrong",
    "the phone has no right time, and certificates need it",
    "Certificates are good between two dates, and the phone wakes up years before them. It "
    "needs a time server: option 42, the SRV record _ntp._udp, or time.windows.com "
    "[documented].",
    *remedies.TIME,
)
CERTIFICATE_EXPIRED = _cause(
    "certificate-expired",
    "a server's certificate has expired",
    "The phone refuses it, and shows nothing but that it cannot connect.",
    remedies.NEW_CERTIFICATE,
    *remedies.TIME[5:],
)
CERTIFICATE_NOT_YET_VALID = _cause(
    "certificate-not-yet-valid",
    "a server's certificate is not valid yet",
    "The phone refuses it until then: the certificate is too new, or one of two clocks is slow.",
    *remedies.TIME[5:],
    remedies.NEW_CERTIFICATE,
)
CERTIFICATE_WILDCARD = _cause(
    "certificate-wildcard",
    "a server's certificate has a wildcard name",
    "These phones take no wildcard on any role, though everything before has succeeded [field, "
    "schertz 2011/02].",
    remedies.NEW_CERTIFICATE,
)
CERTIFICATE_NAME_MISMATCH = _cause(
    "certificate-name-mismatch",
    "a server's certificate is not made for its name",
    "The name that the phone asked for, from option 43, option 120 or DNS, has to stand in the "
    "certificate.",
    remedies.NEW_CERTIFICATE,
    remedies.OPTION_43[0],
)
INTERMEDIATE_MISSING = _cause(
    "intermediate-missing",
    "nobody gives the phone the intermediate certificate",
    "Between the certificate and the root that the phone has there is one that nobody gave it: "
    "neither the chain over http nor the server.",
    *remedies.CHAIN,
)
CERTIFICATE_UNTRUSTED = _cause(
    "certificate-untrusted",
    "a server's certificate is of an authority that the phone lacks",
    "A phone trusts the chain that it downloads at its first sign-in and no other: a "
    "certificate of a new authority locks it out [field, catapultsystems].",
    *remedies.CHAIN,
    Remedy(
        "the phones", "After a change of authority reset them, so that they download the new chain."
    ),
)
TLS_VERSION_TOO_NEW = _cause(
    "tls-version-too-new",
    "a server demands a newer TLS than the phone's",
    "These phones speak TLS 1.0 [field, ucvnext]: a server that demands 1.2 closes the door to "
    "all of them.",
    *remedies.TLS,
)
CHAIN_NOT_DOWNLOADABLE = _cause(
    "chain-not-downloadable",
    "the certificate chain cannot be downloaded over http",
    "Before it can trust anything the phone fetches the chain over http, port 80, at the host "
    "and path of option 43 [field]. The rest may work, and it does not get there.",
    *remedies.WEB_SERVICES,
    *remedies.CHAIN[:1],
)
CHAIN_UNUSABLE = _cause(
    "chain-unusable",
    "the downloaded certificate chain is empty or unreadable",
    '"Error downloading certificate chain from OCS Registrar": chain download is off, or gives '
    "what is no PKCS #7 [documented].",
    *remedies.CHAIN,
)

# --- web services ---

WEB_SERVICES_404 = _cause(
    "web-services-404",
    "the Web Services URL answers 404",
    "The service is not at that path: option 43 has another one, or the web component is not "
    "installed [documented, issue 1].",
    *remedies.WEB_SERVICES,
    remedies.OPTION_43[0],
)
WEB_SERVICES_ERROR = _cause(
    "web-services-error",
    "web services answer with an error of HTTP",
    "403, 500 or 502 without a SOAP message: IIS, or a proxy before it, has answered and not the "
    "service. The phone cannot tell why.",
    *remedies.WEB_SERVICES,
)
WEB_SERVICES_DOWN = _cause(
    "web-services-down",
    "nobody listens at the Web Services URL",
    "The host is there and the port is closed: no certificate, no sign-in. Phones that have one"
    " stay registered.",
    *remedies.WEB_SERVICES,
)
WEB_SERVICES_BUSY = _cause(
    "web-services-busy",
    "web services answer 503 or 408",
    "The phone tries a few times, then waits a minute; all phones that boot at once keep the "
    "service busy.",
    *remedies.LOAD,
)
WEB_SERVICES_SLOW = _cause(
    "web-services-slow",
    "web services answer too late",
    "The phone gives up before the answer comes, and asks again: the server does the work twice.",
    *remedies.LOAD,
    *remedies.WEB_SERVICES[1:],
)
PIN_WRONG = _cause(
    "pin-wrong",
    "the PIN is not the user's",
    "The web services know the user, and have another PIN. Some wrong PINs in 30 minutes lock "
    "it [documented].",
    *remedies.pool("Set-CsClientPin -Identity sip:user@contoso.com -Pin 719352"),
)
PIN_LOCKED = _cause(
    "pin-locked",
    "the user's PIN is locked",
    "Too many wrong PINs: for an hour, or until an administrator unlocks it [documented, "
    "Set-CsPinPolicy].",
    *remedies.pool(
        "Get-CsClientPinInfo -Identity sip:user@contoso.com",
        "Unlock-CsClientPin -Identity sip:user@contoso.com",
    ),
)
PIN_EXPIRED = _cause(
    "pin-expired",
    "the user's PIN has expired",
    "The user has to choose a new one before PIN sign-in works again [documented].",
    *remedies.pool(
        "Set-CsClientPin -Identity sip:user@contoso.com -Pin 719352",
        "Set-CsPinPolicy -Identity global -PINLifetime 0",
    ),
)
PIN_NOT_SET = _cause(
    "pin-not-set",
    "the user has no PIN",
    "None is assigned when a user is enabled: the user sets it on the dial-in page, or an "
    "administrator does [documented].",
    *remedies.pool("Set-CsClientPin -Identity sip:user@contoso.com"),
)
PIN_NOT_ENABLED = _cause(
    "pin-not-enabled",
    "PIN sign-in is not enabled for the user",
    "The user's policy does not allow PIN sign-in, and the phone has nothing else to show.",
    *remedies.pool(
        "Get-CsClientPinInfo -Identity sip:user@contoso.com",
        "Grant-CsPinPolicy -Identity sip:user@contoso.com -PolicyName ...",
    ),
)
NUMBER_NOT_UNIQUE = _cause(
    "number-not-unique",
    "more than one user has the number and the PIN",
    "Number and PIN together have to name one user, or number and extension do [documented].",
    *remedies.pool(
        'Get-CsUser | Where-Object LineURI -like "tel:+14255550100*"',
        'Set-CsUser -Identity sip:user@contoso.com -LineURI "tel:+14255550100;ext=100"',
        "Set-CsClientPin -Identity sip:user@contoso.com",
    ),
)
USER_UNKNOWN = _cause(
    "user-unknown",
    "no user has the number",
    "The number that was typed is no user's line URI or extension.",
    *remedies.pool(
        'Get-CsUser | Where-Object LineURI -like "tel:+14255550100*"',
        "Set-CsUser -Identity sip:user@contoso.com -LineURI tel:+14255550100",
    ),
)
USER_DISABLED = _cause(
    "user-disabled",
    "the user is disabled",
    "The account is off, in the pool or in the directory; the phone waits for a person.",
    *remedies.pool(
        "Set-CsUser -Identity sip:user@contoso.com -Enabled $true",
        "Enable-ADAccount -Identity user",
    ),
)
USER_UNAUTHORIZED = _cause(
    "user-unauthorized",
    "the user may not sign in with a PIN here",
    "The user is known, and may not sign in in this way or at this pool.",
    *remedies.pool(
        "Get-CsUser -Identity sip:user@contoso.com",
        "Test-CsPhoneBootstrap -PhoneOrExt +14255550100 -PIN 719352 -Verbose",
    ),
)
PASSWORD_WRONG = _cause(
    "password-wrong",
    "the password is not the user's",
    "The user name, the domain or the password that was typed on the tethered computer is not "
    "the directory's.",
    Remedy("Active Directory", "Search-ADAccount -LockedOut\nUnlock-ADAccount -Identity user"),
)
PIN_AUTHENTICATION_OFF = _cause(
    "pin-authentication-off",
    "web services do not offer PIN authentication",
    "The ticket service lists no port for PINs: a phone without a tether has no other way "
    "[documented].",
    *remedies.pool("Set-CsWebServiceConfiguration -UsePinAuth $true"),
)
CERTIFICATE_AUTHENTICATION_OFF = _cause(
    "certificate-authentication-off",
    "the Registrar does not offer certificate authentication",
    "The phone has a certificate and the Registrar does not take any: these phones do not work "
    "at all then [documented].",
    *remedies.pool(
        "Set-CsProxyConfiguration -Identity global -UseCertificateForClientToProxyAuth $true",
        "Set-CsWebServiceConfiguration -UseCertificateAuth $true",
    ),
)
DATA_STORE_UNAVAILABLE = _cause(
    "data-store-unavailable",
    "web services cannot reach the user's home pool",
    "The certificate is published to the user's home pool, which the web services cannot reach:"
    ' "data store unavailable" in the event log [documented].',
    *remedies.pool(
        "Get-CsUser -Identity sip:user@contoso.com | Select-Object RegistrarPool",
        "Test-CsPhoneBootstrap -PhoneOrExt +14255550100 -PIN 719352"
        " -UserSipAddress sip:user@contoso.com",
        "Restore the connection to that pool's back end, then cut the phone's power.",
    ),
)
FOREIGN_CERTIFICATE = _cause(
    "foreign-certificate",
    "the certificate issued is somebody else's",
    "The phone cannot use a certificate that is not for its user: number and PIN led the web "
    "services to somebody else.",
    *remedies.pool('Get-CsUser | Where-Object LineURI -like "tel:+14255550100*"'),
)

# --- the Registrar ---

REGISTRAR_DOWN = _cause(
    "registrar-down",
    "no Registrar can be reached",
    'The phone has its certificate and nowhere to show it: "Unable to contact Registrar for '
    'authentication".',
    *remedies.pool(
        "Get-CsWindowsService -ComputerName fe01.contoso.com", "Start-CsWindowsService -Name RTCSRV"
    ),
    Remedy("firewall", "Let TCP 5061 pass from the phones' VLAN to every Front End."),
    *remedies.SRV[:1],
)
REGISTRAR_REFUSES = _cause(
    "registrar-refuses",
    "the Registrar forbids the registration",
    "403: the user may not register here, or the certificate is not taken any more. Waiting "
    "does not mend it.",
    *remedies.pool(
        "Get-CsUser -Identity sip:user@contoso.com",
        "Revoke-CsClientCertificate -Identity sip:user@contoso.com",
    ),
    Remedy("the phone", "Sign out, and sign in with the PIN again."),
)
REGISTRAR_CREDENTIALS = _cause(
    "registrar-credentials-refused",
    "the Registrar does not take what the phone shows: 401 again and again",
    "The phone answers the challenge, and is challenged anew. Firmware from before Lync (1.0.522) "
    "does so at newer pools [field]: it knows no sign-in by certificate.",
    Remedy(
        "the phone", "Look at its firmware: 4.0.7577 and later can sign in. Update it where it is."
    ),
    *remedies.pool(
        "Get-CsDeviceUpdateRule",
        "Revoke-CsClientCertificate -Identity sip:user@contoso.com",
    ),
)
REGISTRAR_KNOWS_NO_USER = _cause(
    "registrar-knows-no-user",
    "the Registrar knows no such user",
    "404: the user is not enabled for SIP at this Registrar, or the address has changed since "
    "the certificate was issued.",
    *remedies.pool(
        "Get-CsUser -Identity sip:user@contoso.com",
        "Enable-CsUser -Identity user -RegistrarPool pool.contoso.com"
        " -SipAddress sip:user@contoso.com",
    ),
)
REGISTRAR_UNAVAILABLE = _cause(
    "registrar-unavailable",
    "the Registrar is not available: 480 to 504",
    "The Registrar answers that it, or the pool behind it, cannot serve the user now; the phone"
    " tries again.",
    *remedies.pool("Get-CsPoolFabricState -PoolFqdn pool.contoso.com", "Get-CsWindowsService"),
)
REDIRECT_LOOP = _cause(
    "redirect-loop",
    "Registrars redirect the phone in a circle",
    "Each Registrar believes the user to be at another one; the phone stops after a few redirects.",
    *remedies.pool(
        "Get-CsUser -Identity sip:user@contoso.com | Select-Object RegistrarPool",
        "Move-CsUser -Identity sip:user@contoso.com -Target pool.contoso.com",
        "Invoke-CsManagementStoreReplication",
    ),
)
HOME_POOL_MOVED = _cause(
    "home-pool-moved",
    "the user's home pool is another one now",
    "The old Registrar sends the phone to the new home pool; if that cannot be reached or "
    "trusted the phone is left without one.",
    *remedies.pool("Get-CsUser -Identity sip:user@contoso.com | Select-Object RegistrarPool"),
    *remedies.OPTION_120[:1],
    *remedies.SRV[:1],
    remedies.NEW_CERTIFICATE,
)
BACKUP_UNREACHABLE = _cause(
    "backup-registrar-unreachable",
    "the primary Registrar is down and the backup cannot be reached",
    "In-band provisioning named a backup, and the phone cannot reach it either: it stays "
    "without service until the primary is back.",
    *remedies.pool("Get-CsPoolBackupRelationship -PoolFqdn pool.contoso.com"),
    Remedy("firewall", "Let TCP 5061 pass from the phones' VLAN to the backup pool."),
    *remedies.HOST,
)
REGISTRAR_UNVERIFIED = _cause(
    "registrar-unverified",
    "the Registrar's answers are not signed right",
    "Answers inside a security association carry a signature. What is signed wrongly does not "
    "count: something between phone and Registrar changes messages, or they are another "
    "server's.",
    Remedy("load balancer", "Keep a phone's connection at one Front End, and do not rewrite SIP."),
)
SIGNED_OUT_ELSEWHERE = _cause(
    "endpoint-displaced",
    "the endpoint was signed in elsewhere",
    "A user may have so many endpoints and no more: the oldest is signed out, and waits for a "
    "person.",
    *remedies.pool("Set-CsRegistrarConfiguration -Identity global -MaxEndpointsPerUser 8"),
)

# --- the whole site ---

CACHE_HIDES_IT = _cause(
    "cached-phones-only",
    "only phones with a cache sign in: cold phones cannot find the site",
    "A phone that has signed in once lives on its cache and asks neither DHCP nor DNS "
    "[documented]: after a migration only reset and new phones fail [field, risual], and tests "
    "from a computer pass.",
    Remedy(
        "first",
        "Mend what the cold phones' other findings name: the cached ones fail as well when their"
        " cache is cleared.",
    ),
    *remedies.BOTH_OPTIONS[:1],
    *remedies.SRV[:1],
    remedies.CHECK_OPTIONS,
)
