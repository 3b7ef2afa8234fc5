"""The causes that can be found: what each is, why it breaks the phone, how to mend it.

A closed list. The names are in failure profiles and in `--json`; `docs/failures.md` explains
each with the profile that reproduces it.
"""

from __future__ import annotations

import msgspec


class Remedy(msgspec.Struct, frozen=True):
    """What to do at one kind of server, such as `Windows DHCP`."""

    where: str
    how: str


class Cause(msgspec.Struct, frozen=True, kw_only=True):
    """One thing that can be wrong. `title` is a clause without a stop, `why` what it does to the
    phone, with its source in brackets where there is one.
    """

    name: str
    title: str
    why: str
    remedies: tuple[Remedy, ...]


CAUSES: dict[str, Cause] = {}


def _cause(name: str, title: str, why: str = "", *remedies: Remedy) -> Cause:
    cause = CAUSES[name] = Cause(name=name, title=title, why=why, remedies=remedies)
    return cause


# --- the voice VLAN ---

VLAN_OPTION_MALFORMED = _cause("vlan-option-malformed", "sub-option 10 holds no VLAN id")
VOICE_VLAN_DEAD = _cause("voice-vlan-dead", "nobody answers DHCP in the voice VLAN")

# --- an address ---

DHCP_SILENT = _cause("dhcp-silent", "no DHCP server answers DISCOVER")
DHCP_POOL_EXHAUSTED = _cause("dhcp-pool-exhausted", "the DHCP scope has no free address")
ADDRESS_CONFLICT = _cause("address-conflict", "another host uses the address that DHCP gives")
DHCP_REFUSES = _cause("dhcp-refuses", "the DHCP server refuses what it offered, with a NAK")
ROGUE_DHCP_SERVER = _cause("rogue-dhcp-server", "a DHCP server that knows nothing of phones wins")
DHCP_SERVERS_DISAGREE = _cause("dhcp-servers-disagree", "two DHCP servers give different options")

# --- options 43 and 120 ---

INFORM_UNANSWERED = _cause("inform-unanswered", "no server answers DHCPINFORM")
INFORM_REFUSED = _cause("inform-refused", "a server answers DHCPINFORM with a NAK")
INFORM_ASTRAY = _cause("inform-astray", "the answer to DHCPINFORM goes to the wrong place")
INFORM_CLASS_WRONG = _cause("inform-class-wrong", "the phone's vendor class is not MS-UC-Client")
OPTIONS_MISSING = _cause("sign-in-options-missing", "DHCP gives neither option 43 nor option 120")
OPTION_43_MISSING = _cause("option-43-missing", "DHCP gives no option 43")
OPTION_43_OTHER_CLASS = _cause("option-43-other-class", "option 43 is that of another vendor class")
OPTION_43_CUT = _cause("option-43-cut", "option 43 is cut off")
OPTION_43_PORT = _cause("option-43-port-not-text", "the port in option 43 is not ASCII digits")
OPTION_43_NOT_BINARY = _cause(
    "option-43-not-binary", "option 43 was entered as text, not as binary"
)
OPTION_43_FF = _cause("option-43-ff", "an FF octet stands inside option 43")
OPTION_43_IDENTIFIER = _cause(
    "option-43-identifier", "sub-option 1 of option 43 is not MS-UC-Client"
)
OPTION_43_MALFORMED = _cause("option-43-malformed", "option 43 cannot be read")
OPTION_43_STALE = _cause("option-43-stale", "option 43 names a web server that is not there")
OPTION_120_MISSING = _cause("option-120-missing", "DHCP gives no option 120")
OPTION_120_RAW_TEXT = _cause("option-120-raw-text", "option 120 is plain text without encoding")
OPTION_120_ADDRESS = _cause("option-120-address", "option 120 holds an address, not a name")
OPTION_120_MALFORMED = _cause("option-120-malformed", "option 120 cannot be read")
OPTION_120_STALE = _cause("option-120-stale-first", "the first Registrar in option 120 is gone")

# --- names ---

DNS_SILENT = _cause("dns-silent", "the DNS server does not answer")
DNS_FAILS = _cause("dns-fails", "the DNS server answers with an error")
SRV_MISSING = _cause("srv-missing", "there is no SRV record for the Registrar")
SRV_TARGET_ALIAS = _cause("srv-target-alias", "the SRV record points to an alias (CNAME)")
SRV_TARGET_DEAD = _cause("srv-target-dead", "the SRV record points to a host that is not there")
REGISTRAR_NOT_REDUNDANT = _cause(
    "registrar-not-redundant", "DNS has one Registrar of a cluster, and that one is down"
)
WEB_NAME_UNRESOLVED = _cause("web-name-unresolved", "the web server's name has no address")
REGISTRAR_NAME_UNRESOLVED = _cause(
    "registrar-name-unresolved", "the Registrar's name has no address"
)

# --- the clock, certificates, TLS ---

CLOCK_WRONG = _cause("phone-clock-wrong", "the phone has no right time, and certificates need it")
CERTIFICATE_EXPIRED = _cause("certificate-expired", "a server's certificate has expired")
CERTIFICATE_NOT_YET_VALID = _cause(
    "certificate-not-yet-valid", "a server's certificate is not valid yet"
)
CERTIFICATE_WILDCARD = _cause("certificate-wildcard", "a server's certificate has a wildcard name")
CERTIFICATE_NAME_MISMATCH = _cause(
    "certificate-name-mismatch", "a server's certificate is not made for its name"
)
CERTIFICATE_UNTRUSTED = _cause(
    "certificate-untrusted", "a server's certificate is of an authority that the phone lacks"
)
INTERMEDIATE_MISSING = _cause(
    "intermediate-missing", "nobody gives the phone the intermediate certificate"
)
TLS_VERSION_TOO_NEW = _cause("tls-version-too-new", "a server demands a newer TLS than the phone's")
CHAIN_NOT_DOWNLOADABLE = _cause(
    "chain-not-downloadable", "the certificate chain cannot be downloaded over http"
)
CHAIN_UNUSABLE = _cause("chain-unusable", "the downloaded certificate chain is empty or unreadable")

# --- web services ---

WEB_SERVICES_404 = _cause("web-services-404", "the Web Services URL answers 404")
WEB_SERVICES_DOWN = _cause("web-services-down", "nobody listens at the Web Services URL")
WEB_SERVICES_BUSY = _cause("web-services-busy", "web services answer 503")
WEB_SERVICES_SLOW = _cause("web-services-slow", "web services answer too late")
PIN_WRONG = _cause("pin-wrong", "the PIN is not the user's")
PIN_LOCKED = _cause("pin-locked", "the user's PIN is locked")
PIN_EXPIRED = _cause("pin-expired", "the user's PIN has expired")
PIN_NOT_SET = _cause("pin-not-set", "the user has no PIN")
PIN_NOT_ENABLED = _cause("pin-not-enabled", "PIN sign-in is not enabled for the user")
NUMBER_NOT_UNIQUE = _cause("number-not-unique", "more than one user has the number and the PIN")
USER_UNKNOWN = _cause("user-unknown", "no user has the number")
USER_DISABLED = _cause("user-disabled", "the user is disabled")
USER_UNAUTHORIZED = _cause("user-unauthorized", "the user may not sign in with a PIN here")
PASSWORD_WRONG = _cause("password-wrong", "the password is not the user's")
PIN_AUTHENTICATION_OFF = _cause(
    "pin-authentication-off", "web services do not offer PIN authentication"
)
CERTIFICATE_AUTHENTICATION_OFF = _cause(
    "certificate-authentication-off", "the Registrar does not offer certificate authentication"
)
DATA_STORE_UNAVAILABLE = _cause(
    "data-store-unavailable", "web services cannot reach the user's home pool"
)
FOREIGN_CERTIFICATE = _cause("foreign-certificate", "the certificate issued is somebody else's")

# --- the Registrar ---

REGISTRAR_DOWN = _cause("registrar-down", "no Registrar can be reached")
REGISTRAR_REFUSES = _cause("registrar-refuses", "the Registrar forbids the registration")
REGISTRAR_KNOWS_NO_USER = _cause("registrar-knows-no-user", "the Registrar knows no such user")
REGISTRAR_UNAVAILABLE = _cause(
    "registrar-unavailable", "the Registrar is not available: 480 to 504"
)
REDIRECT_LOOP = _cause("redirect-loop", "Registrars redirect the phone in a circle")
HOME_POOL_MOVED = _cause("home-pool-moved", "the user's home pool is another one now")
BACKUP_UNREACHABLE = _cause(
    "backup-registrar-unreachable", "the primary Registrar is down and the backup cannot be reached"
)
REGISTRAR_UNVERIFIED = _cause(
    "registrar-unverified", "the Registrar's answers are not signed right"
)
SIGNED_OUT_ELSEWHERE = _cause("endpoint-displaced", "the endpoint was signed in elsewhere")

# --- the whole site ---

CACHE_HIDES_IT = _cause(
    "cached-phones-only", "only phones with a cache sign in: cold phones cannot find the site"
)
