"""For every cause a small log in which it is found first; for some a capture, too."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from made_boots import (
    LOCATED,
    NO_SRV,
    ONE_SRV,
    REACHED,
    SERVER,
    SIGNED_IN,
    SRV,
    URL,
    answer,
    asked,
    connecting,
    failed,
    http_failed,
    http_sent,
    lease,
    option_43,
    option_120,
    received,
    registered,
    registrar_failed,
    sent,
    shown,
)

from phonesim.device import device_log as log
from phonesim.device.device_log import LogRecord

Records = Sequence[LogRecord]

_CUT = (
    "010c4d532d55432d436c69656e7402056874747073031c6c796e63776562706f6f6c2d656d65612e636f6e74"
    "6f736f2e636f6d040334343305252f4365727450726f762f4365727450726f766973696f6e696e67536572766963"
)
_UNLOCATED = failed("discovery", "web-services-not-located")
_UNREGISTERED = failed("register", "registrar-not-located")
_INFORMED = (lease(), sent("INFORM"), received("ACK", informs=True))
_URL_ONLY = (*_INFORMED, option_43(url=URL), log.CHAIN_RECEIVED(900))
_GETS_CHAIN = log.HTTP_SENT("GetRootCertChains", URL.replace("https", "http"), "192.0.2.20", 1)


def _with_43(octets: str) -> Records:
    return (*_INFORMED, option_43(octets), option_120(registrars="fe01.contoso.com"), _UNLOCATED)


def _with_120(octets: str) -> Records:
    return (*_URL_ONLY, option_120(octets), _UNREGISTERED)


def _refused(reason: str, fault: str) -> Records:
    return (*LOCATED, log.TICKET_REFUSED(fault, 0, fault), failed("ticket", reason))


def _refused_tls(failure: str) -> Records:
    return (*LOCATED, log.CHAIN_RECEIVED(9), http_failed(failure), failed("ticket", failure))


def _answered(status: int, reason: str = "", diagnostics: str = "") -> Records:
    answered = log.REGISTER_ANSWER(status, reason, 4, diagnostics)
    connected = log.REGISTRAR_CONNECTED("fe01.contoso.com:5061", "192.0.2.77:49158")
    return (*REACHED, connecting("fe01.contoso.com"), connected, answered)


VLAN: Mapping[str, Records] = {
    "vlan-option-malformed": (
        log.OPTION_WARNING(SERVER, 43, "sub-option 10 (vlan_id) at offset 0 is FF FF, not one"),
        *SIGNED_IN,
    ),
    "voice-vlan-dead": (
        log.VLAN_FOUND(666, "lldp:switch"),
        sent("DISCOVER"),
        log.DHCP_NO_ANSWER("DISCOVER", 5),
        failed("ip", "no-lease"),
    ),
}

ADDRESS: Mapping[str, Records] = {
    "dhcp-silent": (
        sent("DISCOVER"),
        log.DHCP_NO_ANSWER("DISCOVER", 5),
        failed("ip", "no-lease"),
    ),
    "dhcp-pool-exhausted": (
        sent("REQUEST"),
        received("NAK"),
        sent("DISCOVER"),
        log.DHCP_NO_ANSWER("DISCOVER", 5),
        failed("ip", "no-lease"),
    ),
    "address-conflict": (
        log.ADDRESS_CONFLICT("192.0.2.77", "02-00-00-00-00-01"),
        *SIGNED_IN,
    ),
    "dhcp-refuses": (
        sent("DISCOVER"),
        received("OFFER"),
        sent("REQUEST"),
        received("NAK"),
    ),
    "rogue-dhcp-server": (
        lease("192.0.2.99", "home.invalid"),
        log.DHCP_IGNORED("OFFER", 1, SERVER, "not expected in REQUESTING"),
        sent("INFORM"),
        received("ACK", "192.0.2.99", informs=True),
        log.OPTION_MISSING("192.0.2.99", 43),
        log.OPTION_MISSING("192.0.2.99", 120),
        received("ACK", SERVER, informs=True),
        option_43(url=URL),
        *(asked("webpool.contoso.com", attempt) for attempt in (1, 2, 3, 4)),
        failed("chain", "web-server-name-unresolved"),
    ),
    "dhcp-servers-disagree": (
        lease(),
        option_43(_CUT, server="192.0.2.9"),
        option_43(url=URL),
        failed("chain", "web-services-refused"),
    ),
}

OPTIONS: Mapping[str, Records] = {
    "inform-unanswered": (
        lease(),
        sent("INFORM"),
        log.DHCP_NO_ANSWER("INFORM", 4),
        NO_SRV,
        _UNLOCATED,
    ),
    "inform-refused": (lease(), sent("INFORM"), received("NAK", informs=True), _UNLOCATED),
    "inform-astray": (
        lease(),
        sent("INFORM"),
        shown("reply_astray", "ACK", 2, SERVER, "255.255.255.255:68", "192.0.2.77:68"),
        log.DHCP_NO_ANSWER("INFORM", 4),
    ),
    "inform-class-wrong": (
        lease(),
        sent("INFORM", vendor_class="ms-uc-client"),
        received("ACK", informs=True),
        log.OPTION_MISSING(SERVER, 43),
        NO_SRV,
        _UNLOCATED,
    ),
    "sign-in-options-missing": (
        *_INFORMED,
        log.OPTION_MISSING(SERVER, 43),
        log.OPTION_MISSING(SERVER, 120),
        NO_SRV,
        _UNLOCATED,
    ),
    "option-43-missing": (
        *_INFORMED,
        log.OPTION_MISSING(SERVER, 43),
        option_120(registrars="fe01.contoso.com"),
        NO_SRV,
        _UNLOCATED,
    ),
    "option-43-other-class": _with_43("0104ac100001"),
    "option-43-cut": _with_43(_CUT),
    "option-43-port-not-text": _with_43(
        "010c4d532d55432d436c69656e7402056874747073030477656231040201bb05032f6173"
    ),
    "option-43-not-binary": _with_43(b"https://webpool.contoso.com:443/".hex()),
    "option-43-ff": _with_43("010c4d532d55432d436c69656e74ff020568747470730304776562310403343433"),
    "option-43-identifier": _with_43(
        "010c6d732d75632d636c69656e7402056874747073030477656231040334343305032f6173"
    ),
    "option-43-malformed": _with_43("010c4d532d55432d436c69656e74037f776562310403343433"),
    "option-43-stale": (
        *_INFORMED,
        option_43(url=URL),
        ONE_SRV,
        answer("webpool.contoso.com"),
        failed("chain", "web-server-name-unresolved"),
    ),
    "option-120-missing": (*_URL_ONLY, log.OPTION_MISSING(SERVER, 120), NO_SRV, _UNREGISTERED),
    "option-120-raw-text": _with_120(b"fe01.contoso.com".hex()),
    "option-120-address": _with_120("01c0000215"),
    "option-120-malformed": _with_120("0004666530313f636f6e746f736f"),
    "option-120-stale-first": (
        *REACHED,
        registrar_failed("fe01.contoso.com", "unresolved"),
        connecting("fe02.contoso.com"),
        registered("fe02.contoso.com"),
        log.SIGNED_IN("sip:user@contoso.com", "fe02.contoso.com:5061", 1.0),
    ),
}

NAMES: Mapping[str, Records] = {
    "dns-silent": (
        *LOCATED[:-1],
        *(asked("webpool.contoso.com", attempt) for attempt in (1, 2, 3, 4)),
        failed("chain", "web-server-name-unresolved"),
    ),
    "dns-fails": (
        *LOCATED[:-1],
        answer("webpool.contoso.com", rcode="SERVFAIL"),
        failed("chain", "web-server-name-unresolved"),
    ),
    "srv-missing": (lease(), NO_SRV, failed("discovery", "web-services-not-located")),
    "srv-target-alias": (
        lease(),
        ONE_SRV,
        answer("fe01.contoso.com", "CNAME fe.contoso.com ttl 60, A 192.0.2.21 ttl 60"),
        log.HTTP_FAILED("GetMetadata", "certificate-name-mismatch", "fe01.contoso.com (x:443): no"),
        failed("ticket", "certificate-name-mismatch"),
    ),
    "srv-target-dead": (
        *_URL_ONLY,
        log.OPTION_MISSING(SERVER, 120),
        ONE_SRV,
        answer("fe01.contoso.com"),
        registrar_failed("fe01.contoso.com", "unresolved"),
        failed("register", "registrar-name-unresolved"),
    ),
    "registrar-not-redundant": (
        *_URL_ONLY,
        log.OPTION_MISSING(SERVER, 120),
        ONE_SRV,
        registrar_failed("fe01.contoso.com"),
        failed("register", "registrar-refused"),
    ),
    "web-name-unresolved": (
        lease(),
        option_43(url=URL),
        answer("webpool.contoso.com"),
        failed("chain", "web-server-name-unresolved"),
    ),
    "registrar-name-unresolved": (
        *REACHED,
        answer("fe01.contoso.com"),
        answer("fe02.contoso.com"),
        registrar_failed("fe01.contoso.com", "unresolved"),
        registrar_failed("fe02.contoso.com", "unresolved"),
        failed("register", "registrar-name-unresolved"),
    ),
}

CERTIFICATES: Mapping[str, Records] = {
    "phone-clock-wrong": (
        log.CLOCK_NOT_SET("no option 42"),
        *_refused_tls("certificate-not-yet-valid"),
    ),
    "certificate-expired": _refused_tls("certificate-expired"),
    "certificate-not-yet-valid": _refused_tls("certificate-not-yet-valid"),
    "certificate-wildcard": _refused_tls("certificate-wildcard"),
    "certificate-name-mismatch": _refused_tls("certificate-name-mismatch"),
    "certificate-untrusted": _refused_tls("certificate-untrusted"),
    "intermediate-missing": _refused_tls("certificate-issuer-missing"),
    "tls-version-too-new": _refused_tls("tls-version-refused"),
    "chain-not-downloadable": (
        *LOCATED,
        _GETS_CHAIN,
        http_failed("refused", "GetRootCertChains"),
        failed("chain", "web-services-refused"),
    ),
    "chain-unusable": (*LOCATED, _GETS_CHAIN, failed("chain", "chain-unusable")),
}

WEB_SERVICES: Mapping[str, Records] = {
    "web-services-404": (
        *LOCATED,
        _GETS_CHAIN,
        log.HTTP_ANSWER("GetRootCertChains", 404, "no SOAP message"),
        failed("chain", "web-services-not-found"),
    ),
    "web-services-error": (
        *LOCATED,
        http_sent(),
        log.HTTP_ANSWER("GetMetadata", 502, "no SOAP message"),
        failed("ticket", "web-services-unusable"),
    ),
    "web-services-down": (
        *LOCATED,
        log.CHAIN_RECEIVED(900),
        http_sent(),
        http_failed("refused"),
        failed("ticket", "web-services-refused"),
    ),
    "web-services-busy": (
        *LOCATED,
        http_sent(),
        log.HTTP_ANSWER("GetMetadata", 503, "no SOAP message"),
        failed("ticket", "web-services-unavailable"),
    ),
    "web-services-slow": (
        *LOCATED,
        log.CHAIN_RECEIVED(900),
        http_sent(),
        http_failed("timeout"),
        failed("ticket", "web-services-timeout"),
    ),
    "pin-wrong": _refused("pin-incorrect", "IncorrectPin"),
    "pin-locked": _refused("pin-locked", "UserPinAccountLocked"),
    "pin-expired": _refused("pin-expired", "PinExpired"),
    "pin-not-set": _refused("pin-not-set", "PinNotSet"),
    "pin-not-enabled": _refused("pin-not-enabled", "PinNotEnabledForUser"),
    "number-not-unique": _refused("user-not-unique", "NonUniqueUser"),
    "user-unknown": _refused("user-unknown", "UserDoesNotExist"),
    "user-disabled": _refused("user-disabled", "UserPinAccountDisabled"),
    "user-unauthorized": _refused("user-unauthorized", "Unauthorized"),
    "password-wrong": (*LOCATED, failed("ticket", "password-incorrect")),
    "pin-authentication-off": (
        *LOCATED,
        log.TICKET_ISSUER("https://webpool.contoso.com:443/WebTicket/WebTicketService.svc"),
        failed("ticket", "web-services-unusable", "it has no port WebTicketServicePin"),
    ),
    "data-store-unavailable": (
        *REACHED,
        log.TICKET_REFUSED("RequestFailed", 0, "The data store is unavailable."),
        failed("certificate", "certificate-not-issued"),
    ),
    "foreign-certificate": (*REACHED, failed("certificate", "certificate-unusable")),
}

REGISTRAR: Mapping[str, Records] = {
    "certificate-authentication-off": (
        *_answered(401),
        failed("register", "registration-no-common-scheme", "the Registrar offers NTLM"),
    ),
    "registrar-down": (
        *REACHED,
        registrar_failed("fe01.contoso.com"),
        registrar_failed("fe02.contoso.com", "timeout"),
        failed("register", "registrar-timeout"),
    ),
    "registrar-refuses": (*_answered(403), failed("register", "registration-forbidden")),
    "registrar-knows-no-user": (*_answered(404), failed("register", "registration-not-found")),
    "registrar-unavailable": (*_answered(504), failed("register", "registrar-unavailable")),
    "redirect-loop": (
        *_answered(301),
        log.REGISTRAR_REDIRECTED("fe01.contoso.com:5061", "fe02.contoso.com:5061"),
        log.REGISTRAR_REDIRECTED("fe02.contoso.com:5061", "fe01.contoso.com:5061"),
        failed("register", "registrar-redirects"),
    ),
    "home-pool-moved": (
        *_answered(301),
        log.REGISTRAR_REDIRECTED("fe01.contoso.com:5061", "pool02.contoso.com:5061"),
        answer("pool02.contoso.com"),
        registrar_failed("pool02.contoso.com", "unresolved"),
        failed("register", "registrar-name-unresolved"),
    ),
    "backup-registrar-unreachable": (
        *SIGNED_IN,
        log.REGISTRATION_LOST("fe01.contoso.com:5061", "closed by the server"),
        registrar_failed("fe01.contoso.com"),
        registrar_failed("fe02.contoso.com"),
    ),
    "registrar-credentials-refused": (
        *REACHED,
        connecting("fe01.contoso.com"),
        log.REGISTER_SENT("fe01.contoso.com:5061", 2, 600, "NTLM"),
        log.REGISTER_ANSWER(401, "Unauthorized", 2, "1000 Final handshake failed"),
        failed("register", "registration-unauthorized"),
    ),
    "registrar-unverified": (*REACHED, failed("register", "registrar-unverified")),
    "endpoint-displaced": (
        *SIGNED_IN,
        log.DEREGISTERED("fe01.contoso.com:5061", "unregistered", ""),
        failed("register", "registration-displaced"),
    ),
}

OF_ONE_BOOT = {
    **VLAN,
    **ADDRESS,
    **OPTIONS,
    **NAMES,
    **CERTIFICATES,
    **WEB_SERVICES,
    **REGISTRAR,
}
OF_SEVERAL_BOOTS = frozenset({"cached-phones-only"})

_EXPIRED = ("certificate-expired", "webpool.contoso.com (192.0.2.20:443): certificate-expired")


def _certificate(not_after: int, count: int, outdated: str = "") -> LogRecord:
    server, name = "192.0.2.20:443", "webpool.contoso.com"
    return shown(
        "certificate_shown", server, name, name, name, 1, not_after, "a CA", count, outdated
    )


CAPTURES: Mapping[str, Records] = {
    "phone-clock-wrong": (
        *LOCATED,
        log.CHAIN_RECEIVED(900),
        _certificate(2_000_000_000, 2),
        log.HTTP_FAILED("", *_EXPIRED),
    ),
    "certificate-expired": (
        *LOCATED,
        log.CHAIN_RECEIVED(900),
        _certificate(1_000_000_000, 2, "webpool.contoso.com"),
        log.HTTP_FAILED("", *_EXPIRED),
    ),
    "intermediate-missing": (
        *LOCATED,
        log.CHAIN_RECEIVED(900),
        _certificate(2_000_000_000, 1),
        http_failed("certificate-issuer-missing", ""),
    ),
    "chain-unusable": (*LOCATED, _GETS_CHAIN, log.CHAIN_RECEIVED(27), sent("RELEASE")),
    "chain-not-downloadable": (
        *LOCATED,
        log.HTTP_FAILED("", "refused", "webpool.contoso.com (192.0.2.20:80): refused"),
    ),
    "foreign-certificate": (
        *REACHED,
        log.CERTIFICATE_RECEIVED("sip:user@contoso.com", 900),
        sent("RELEASE"),
    ),
    "password-wrong": (
        *LOCATED,
        log.CHAIN_RECEIVED(900),
        http_sent(),
        log.HTTP_ANSWER("RequestSecurityToken", 401, "it wants NTLM (138 octets)"),
        log.HTTP_ANSWER("RequestSecurityToken", 401, "it wants Negotiate, NTLM"),
        sent("RELEASE"),
    ),
    "pin-authentication-off": (
        *LOCATED,
        log.CHAIN_RECEIVED(900),
        shown("metadata_shown", URL, "WebTicketServiceCert,WebTicketServiceWinNegotiate"),
        sent("RELEASE"),
    ),
    "certificate-authentication-off": (
        *REACHED,
        connecting("fe01.contoso.com", ""),
        log.REGISTRAR_CONNECTED("fe01.contoso.com:5061", "192.0.2.77:49158"),
        log.REGISTER_SENT("fe01.contoso.com:5061", 1, 600, ""),
        log.REGISTER_ANSWER(401, "Unauthorized", 1, ""),
        sent("RELEASE"),
    ),
    "registrar-down": (
        *REACHED,
        connecting("fe01.contoso.com", ""),
        registrar_failed("fe01.contoso.com"),
    ),
    "option-120-raw-text": (
        *_URL_ONLY,
        option_120(b"fe01.contoso.com".hex(), "fe01.contoso.com"),
        answer(SRV, qtype="SRV"),
    ),
    "inform-unanswered": (lease(), *(sent("INFORM", attempt) for attempt in (1, 2, 3, 4))),
    "dhcp-silent": tuple(sent("DISCOVER", attempt) for attempt in (1, 2, 3, 4, 5)),
}
