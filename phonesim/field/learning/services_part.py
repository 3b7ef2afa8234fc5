"""What web services and Registrars did: where they are, what they answered, what they showed.

A server is known by the address that a phone connected to. What went through TLS is in a device
log; a capture has the certificate and the alert that ended it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any
from urllib.parse import SplitResult, urlsplit

from phonesim.field.boots import Boot
from phonesim.field.learning.draft import Draft, Entry, quote
from phonesim.field.sightings import Sighting

_CERTIFICATES = {
    "certificate-expired": "expired",
    "certificate-not-yet-valid": "not-yet-valid",
    "certificate-wildcard": "wildcard",
    "certificate-name-mismatch": "wrong-name",
    "certificate-untrusted": "untrusted",
    "certificate-issuer-missing": "no-intermediate",
}
_PIN_STATES = {
    "IncorrectPin": "wrong",
    "UserPinAccountLocked": "locked",
    "PinExpired": "expired",
    "PinNotSet": "not-set",
    "PinNotEnabledForUser": "not-enabled",
    "Unauthorized": "unauthorized",
    "UserPinAccountDisabled": "disabled",
}
_USERS_AT_FAULT = frozenset({"PinNotUnique", "NonUniqueUser", "UserDoesNotExist"})
_WITHOUT_CERTIFICATES = ("ntlm", "kerberos")
_OF_TIME = frozenset({"expired", "not-yet-valid"})
_ALERTS = {
    "certificate_expired": "expired",
    "unknown_ca": "untrusted",
}
_SIP_PORT = 5061
_SIP_PORTS = frozenset({5060, _SIP_PORT})
_SECURE = 443


class _Services:
    """The servers that phones connected to so far, by address and port or name."""

    def __init__(self, draft: Draft) -> None:
        self.draft = draft
        self.web: dict[str, Entry] = {}
        self.web_by_address: dict[str, Entry] = {}
        self.registrars: dict[str, Entry] = {}
        self.registrars_by_address: dict[str, Entry] = {}
        self.users: dict[str, Sighting] = {}
        self.refusals: dict[str, Sighting] = {}

    def web_server(self, url: SplitResult, address: str, seen: Sighting) -> Entry:
        host = url.hostname or address
        server = self.web.get(host)
        if server is None:
            name = f"web{len(self.web) + 1:02d}"
            server = Entry({"name": name, "address": address, "fqdn": host}, [quote(seen)])
            self.web[host] = self.web_by_address[address] = server
        secure = url.scheme == "https"
        port = url.port or (_SECURE if secure else 80)
        if port != (_SECURE if secure else 80):
            server.values["https_port" if secure else "http_port"] = port
        return server

    def registrar(self, end: str, address: str, transport: str, seen: Sighting) -> Entry:
        """The Registrar that is called `end`, its name or address and its port."""
        registrar = self.registrars.get(end)
        if registrar is None:
            host, _, digits = end.rpartition(":")
            port = int(digits) if digits.isdigit() else _SIP_PORT
            name = f"registrar{len(self.registrars) + 1:02d}"
            values: dict[str, Any] = {"name": name, "address": address, "fqdn": host or end}
            if port != _SIP_PORT:
                values["port"] = port
            if transport == "tcp":
                values["transport"] = transport
            registrar = Entry(values, [quote(seen)])
            self.registrars[end] = self.registrars_by_address[address] = registrar
        return registrar


def learn_services(boots: Sequence[Boot], draft: Draft) -> None:
    """Add web services, Registrars and users, and what was wrong with them."""
    services = _Services(draft)
    for boot in boots:
        _read_web(boot, services)
        _read_registrars(boot, services)
        _read_packets(boot, services)
        for sighting in boot.all("ticket_received", "signed_in", "registered"):
            services.users.setdefault(str(sighting["user"]), sighting)
    draft.web_services += services.web.values()
    draft.registrars += services.registrars.values()
    _add_users(boots, services)


def _read_web(boot: Boot, services: _Services) -> None:
    draft = services.draft
    url, server = urlsplit(""), None
    certificate_path = ticket_path = ""
    for sighting in boot.sightings:
        match sighting.name:
            case "http_sent":
                url = urlsplit(str(sighting["url"]))
                server = services.web_server(url, str(sighting["address"]), sighting)
                if sighting["operation"] == "GetRootCertChains":
                    certificate_path = url.path
                    server.values["cert_prov_rel_path"] = url.path
            case "ticket_issuer":
                issuer = urlsplit(str(sighting["url"]))
                ticket_path = issuer.path
                owner = services.web.get(issuer.hostname or "", server)
                if owner is not None:
                    owner.values["web_ticket_path"] = ticket_path
            case "service_port":
                _read_port(sighting, services, certificate_path, ticket_path)
            case "http_answer" if server is not None and int(sighting["status"]) not in (401, 500):
                status = int(sighting["status"])
                values: dict[str, Any] = {"status": status, "match": url.path}
                draft.fault(sighting, "http-status", target=server.values["name"], **values)
            case "http_failed" if server is not None:
                _failed(
                    str(sighting["failure"]),
                    url.scheme,
                    server.values["name"],
                    sighting,
                    boot,
                    draft,
                )
            case "chain_shown" if sighting["problem"]:
                chain = "unreadable" if sighting["subjects"] else "empty"
                draft.fault(sighting, "spoil-chain", chain=chain)
            case "ticket_refused" if url.path.startswith(certificate_path or "/-"):
                draft.fault(sighting, "refuse-certificate", reason=str(sighting["detail"]))
            case "ticket_refused":
                _refused(sighting, services)
            case "metadata_shown" if "WebTicketService" in str(sighting["ports"]):
                if "WebTicketServicePin" not in str(sighting["ports"]):
                    _without_pins(services)
            case "boot_failed":
                _ended(sighting, services)
            case _:
                pass


def _without_pins(services: _Services) -> None:
    for server in services.web.values():
        server.values["use_pin_auth"] = False


def _ended(sighting: Sighting, services: _Services) -> None:
    """Failures that only the phone's own judgement of an answer tells of."""
    draft = services.draft
    match sighting["stage"], sighting["reason"]:
        case "chain", "chain-unusable":
            draft.fault(sighting, "spoil-chain", chain="empty")
        case "ticket", "web-services-unusable" if "WebTicketServicePin" in str(sighting["detail"]):
            _without_pins(services)
        case "certificate", "certificate-unusable":
            draft.fault(sighting, "issue-foreign-certificate")
        case _:
            pass


def _read_port(
    sighting: Sighting, services: _Services, certificate_path: str, ticket_path: str
) -> None:
    port, url = str(sighting["port"]), urlsplit(str(sighting["url"]))
    server = services.web.get(url.hostname or "")
    if server is None:
        return
    for prefix, base, key in (
        ("CertProvisioningServiceWebTicketProof", certificate_path, "proof_suffix"),
        ("WebTicketServicePin", ticket_path, "pin_suffix"),
        ("WebTicketServiceCert", ticket_path, "certificate_suffix"),
    ):
        if port.startswith(prefix) and base and url.path.startswith(base):
            server.values[key] = url.path.removeprefix(base)


def _refused(sighting: Sighting, services: _Services) -> None:
    draft = services.draft
    reason = str(sighting["reason"])
    state = _PIN_STATES.get(reason)
    if reason in _USERS_AT_FAULT:
        services.refusals.setdefault(reason, sighting)
    elif state is None:
        draft.note(f"{quote(sighting)}: this refusal was not learned")
    else:
        draft.fault(sighting, "pin-state", state=state)


def _read_registrars(boot: Boot, services: _Services) -> None:
    draft = services.draft
    registrar = None
    last: Sighting | None = None
    for sighting in boot.sightings:
        match sighting.name:
            case "registrar_connecting":
                registrar = services.registrar(
                    str(sighting["registrar"]),
                    str(sighting["address"]),
                    str(sighting["transport"]),
                    sighting,
                )
            case "scheme_chosen" if registrar is not None:
                offers = [o for o in str(sighting["offers"]).lower().split("+") if o]
                known = [o for o in offers if o in ("ntlm", "kerberos", "tls-dsk", "digest")]
                if known:
                    registrar.values["authentication"] = known
            case "registrar_failed" if str(sighting["registrar"]) in services.registrars:
                failed = services.registrars[str(sighting["registrar"])]
                name = failed.values["name"]
                if sighting["failure"] == "registration-no-common-scheme":
                    failed.values["authentication"] = list(_WITHOUT_CERTIFICATES)
                    continue
                _failed(str(sighting["failure"]), "sip", name, sighting, boot, draft)
            case "register_answer" if registrar is not None:
                last = sighting
                status = int(sighting["status"])
                if status >= 300 and status not in (301, 302, 401, 407):
                    _sip_status(sighting, status, registrar.values["name"], draft)
            case "registrar_redirected" if last is not None:
                _redirected(sighting, last, services)
            case _:
                pass


def _sip_status(sighting: Sighting, status: int, target: str, draft: Draft) -> None:
    values: dict[str, Any] = {"status": status, "reason": str(sighting["reason"])}
    if sighting["diagnostics"]:
        values["diagnostics"] = _diagnostics(str(sighting["diagnostics"]))
    draft.fault(sighting, "sip-status", target=target, **values)


def _redirected(sighting: Sighting, answer: Sighting, services: _Services) -> None:
    """A Registrar that sends a phone to another one."""
    registrar = services.registrars.get(str(sighting["registrar"]))
    target = str(sighting["target"]).partition("+")[0]
    if registrar is None or not target:
        return
    services.draft.fault(
        sighting,
        "sip-status",
        target=registrar.values["name"],
        status=int(answer["status"]),
        reason=str(answer["reason"]),
        contact=f"sip:{target};transport={registrar.values.get('transport', 'tls')}",
    )


def _diagnostics(told: str) -> str:
    """ms-diagnostics of what the log has of it: a number and a reason."""
    number, _, reason = told.partition(" ")
    return f'{number};reason="{reason}"' if number.isdigit() and reason else told


def _failed(
    failure: str, scheme: str, target: str, seen: Sighting, boot: Boot, draft: Draft
) -> None:
    """A connection that did not come about, or a server that was not accepted."""
    certificate = _CERTIFICATES.get(failure)
    if certificate in _OF_TIME and _was_valid(boot, seen):
        draft.note(f"{quote(seen)}: the certificate is valid, the phone's clock was wrong")
        return
    if certificate == "no-intermediate":
        draft.fault(seen, "spoil-chain", chain="without-intermediate")
    if certificate is not None:
        secure = "sip" if scheme == "sip" else "https"
        draft.fault(
            seen, "show-certificate", target=target, certificate=certificate, protocol=secure
        )
    elif failure in ("refused", "closed", "unreachable"):
        draft.fault(seen, "refuse", target=target, protocol=scheme)
    elif failure == "timeout":
        draft.fault(seen, "silence", target=target, protocol=scheme)
    elif failure == "tls-version-refused":
        secure = "sip" if scheme == "sip" else "https"
        draft.fault(seen, "require-tls", target=target, version="1.2", protocol=secure)
        draft.speaks_old_tls = True
    elif failure == "chain-unusable":
        draft.fault(seen, "spoil-chain", chain="unreadable")
    else:
        draft.note(f"{quote(seen)}: {failure} was not learned")


def _read_packets(boot: Boot, services: _Services) -> None:
    """What only a capture has: connections that failed, certificates, alerts."""
    draft = services.draft
    shown: dict[str, Sighting] = {}
    for sighting in boot.all("connect_failed", "certificate_shown", "tls_alert"):
        end = str(sighting["server"])
        scheme = _scheme_of(end)
        if sighting.name == "certificate_shown":
            shown[end] = sighting
        server = _at(services, end, scheme, shown.get(end), sighting, boot)
        target = server.values["name"]
        if sighting.name == "connect_failed":
            _failed(str(sighting["failure"]), scheme, target, sighting, boot, draft)
        elif sighting.name == "tls_alert" and sighting["alert"] == "protocol_version":
            _failed("tls-version-refused", scheme, target, sighting, boot, draft)
        elif sighting.name == "tls_alert" and sighting["by"] == "phone":
            refused = _kind_of(shown.get(end), str(sighting["alert"]))
            if sighting["alert"] != "close_notify" and refused and not _is_explained(target, draft):
                draft.fault(
                    shown.get(end, sighting),
                    "show-certificate",
                    target=target,
                    certificate=refused,
                    protocol=scheme,
                )


def _scheme_of(end: str) -> str:
    number = end.rpartition(":")[2]
    port = int(number) if number.isdigit() else 0
    return "sip" if port in _SIP_PORTS else "http" if port == 80 else "https"


def _at(
    services: _Services,
    end: str,
    scheme: str,
    shown: Sighting | None,
    seen: Sighting,
    boot: Boot,
) -> Entry:
    """The server at an address and port: a known one, or one with the name that DNS has for it."""
    address, _, port = end.rpartition(":")
    known = services.registrars_by_address if scheme == "sip" else services.web_by_address
    server = known.get(address)
    if server is not None:
        return server
    host = str(shown["asked"]) if shown is not None and shown["asked"] else _name_of(address, boot)
    if scheme != "sip":
        return services.web_server(urlsplit(f"{scheme}://{host}:{port}/"), address, seen)
    return services.registrar(f"{host}:{port}", address, "tls", seen)


def _name_of(address: str, boot: Boot) -> str:
    """The name that DNS gave this address for."""
    for answer in boot.all("dns_answer"):
        if f"A {address} " in f"{answer['records']} ":
            return str(answer["qname"])
    return "unnamed.invalid"


def _is_explained(target: str, draft: Draft) -> bool:
    """Whether it is known already why a server's certificate was refused."""
    return any(
        rule.values["kind"] == "show-certificate" and rule.values["target"] == target
        for rule in draft.rules
    )


def _was_valid(boot: Boot, refusal: Sighting) -> bool:
    """Whether packets show the refused certificate, and a time at which it is valid."""
    before = [
        each for each in boot.all("certificate_shown") if each.place.number <= refusal.place.number
    ]
    return bool(before) and _is_in_time(before[-1])


def _is_in_time(shown: Sighting) -> bool:
    return float(shown["not_before"]) <= shown.at <= float(shown["not_after"])


def _kind_of(shown: Sighting | None, alert: str) -> str:
    """Which of the faulty certificates a phone refused with this alert; "" for a good one."""
    if shown is not None:
        names = str(shown["names"]).split(",")
        if any(name.startswith("*.") for name in names):
            return "wildcard"
        if not _is_in_time(shown):
            return "expired" if float(shown["not_after"]) < shown.at else "not-yet-valid"
        if alert == "certificate_expired":
            return ""
        if shown["asked"] and str(shown["asked"]) not in names:
            return "wrong-name"
    return _ALERTS.get(alert, "untrusted")


def _add_users(boots: Sequence[Boot], services: _Services) -> None:
    domain = "example.com"
    for boot in boots:
        lease = boot.last("dhcp_lease")
        if lease is not None and lease["domain"]:
            domain = str(lease["domain"])
        registrars = boot.first("option_120")
        if registrars is not None and "." in str(registrars["registrars"]):
            domain = str(registrars["registrars"]).partition("+")[0].partition(".")[2] or domain
    first = next(iter(services.users.items()), None)
    if first is not None:
        domain = first[0].partition("@")[2] or domain
    values = {
        "count": max(1, len({boot.phone_id for boot in boots})),
        "sip_uri": f"sip:user{{n:05d}}@{domain}",
        "number": "+1425555{n:05d}",
        "pin": "8{n:05d}4",
    }
    seen = ["assumed: nobody tells what was typed"] if first is None else [quote(first[1])]
    users = services.draft.users
    for reason, refusal in services.refusals.items():
        seen = [quote(refusal)]
        if reason == "UserDoesNotExist":
            services.draft.typed_users.append(Entry(values, seen))
            values = values | {"number": "+1425999{n:05d}"}
        else:
            others = values | {"sip_uri": f"sip:other{{n:05d}}@{domain}"}
            if reason == "NonUniqueUser":
                others |= {"pin": "9{n:05d}5"}
            users.append(Entry(others, seen))
    users.append(Entry(values, seen))
