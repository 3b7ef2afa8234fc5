"""Names: whether DNS answers, and what its answers lead to."""

from __future__ import annotations

from collections.abc import Iterator

from phonesim.device.outcome import FailureReason
from phonesim.field import causes
from phonesim.field.boots import Boot
from phonesim.field.finding import Certainty, Finding, evidence_of
from phonesim.field.rules.option_rules import lacks_registrar, lacks_web_services
from phonesim.field.rules.sign import find
from phonesim.field.rules.ways import (
    NO_ERRORS,
    denied_hosts,
    denies_every_srv,
    failed_web_hosts,
    has_address,
    has_web_services,
    host_of_registrar,
    host_of_url,
    registrars_of_dhcp,
    says_no,
    srv_answers,
    srv_targets,
    web_url_of_dhcp,
)
from phonesim.field.sightings import Sighting

_MANY_QUERIES = 3
_OF_NAMES = frozenset(
    {
        FailureReason.WEB_SERVER_NAME_UNRESOLVED,
        FailureReason.REGISTRAR_NAME_UNRESOLVED,
        FailureReason.WEB_SERVICES_NOT_LOCATED,
        FailureReason.REGISTRAR_NOT_LOCATED,
        FailureReason.CLOCK_NOT_SET,
    }
)
_NOT_LOCATED = ("boot_failed", "web_services_not_located", "registrar_not_located")
_FURTHER = ("http_sent", "http_failed", "connect_failed", "registrar_connecting")
_DOWN = frozenset({"refused", "timeout", "unreachable"})


def find_silent_dns(boot: Boot) -> Iterator[Finding]:
    """A name that the phone needs is asked for again and again, and no server answers."""
    if not boot.is_hurt or not _waits_for_dns(boot):
        return
    failure = next((each for each in boot.all("boot_failed") if _is_of_names(each)), None)
    until = float("inf") if failure is None else boot.position(failure)
    asked = [each for each in boot.all("dns_sent") if boot.position(each) < until]
    answered = {each["qname"] for each in boot.all("dns_answer") if boot.position(each) < until}
    silent = [each for each in asked if each["qname"] not in answered]
    if answered:
        needed = str(failure["detail"]) if failure is not None else str(asked[-1]["qname"])
        silent = [each for each in silent if str(each["qname"]) in needed]
    is_given_time = failure is not None or any(int(each["attempt"]) > 1 for each in silent)
    if len(silent) >= _MANY_QUERIES and is_given_time:
        certainty = Certainty.LIKELY if answered else Certainty.CERTAIN
        servers = ", ".join(dict.fromkeys(str(each["server"]) for each in silent))
        detail = f"DNS server {servers}"
        yield find(boot, causes.DNS_SILENT, certainty, silent[0], silent[-1], detail=detail)


def find_failing_dns(boot: Boot) -> Iterator[Finding]:
    """Servers answered with SERVFAIL, REFUSED and the like, and never with more."""
    answers = boot.all("dns_answer")
    failed = [each for each in answers if each["rcode"] not in NO_ERRORS]
    if failed and boot.is_hurt and _waits_for_dns(boot):
        names_answered = {each["qname"] for each in answers if each["rcode"] in NO_ERRORS}
        failed = [
            each
            for each in failed
            if each["qname"] not in names_answered and not _is_of_time(str(each["qname"]))
        ]
        if failed:
            first = failed[0]
            detail = f"{first['server']} answers {first['rcode']} for {first['qname']}"
            yield find(boot, causes.DNS_FAILS, Certainty.CERTAIN, *failed, detail=detail)


def _waits_for_dns(boot: Boot) -> bool:
    """Whether the boot failed for want of a name's address or record, or did not get further."""
    failures = boot.all("boot_failed")
    if failures:
        return any(_is_of_names(each) for each in failures)
    return boot.has("dns_sent") and not boot.has(*_FURTHER)


def _is_of_time(name: str) -> bool:
    """Whether the phone asks for a time server, without which it goes on."""
    return name.startswith(("_ntp.", "time.windows."))


def _is_of_names(failure: Sighting) -> bool:
    return failure["reason"] in _OF_NAMES


def find_missing_srv(boot: Boot) -> Iterator[Finding]:
    """DNS denied every SRV name that was asked for, where the phone had to turn to DNS.

    One of the names is missing at healthy sites as well, so a single denial says nothing before
    the phone has given up.
    """
    said_no = [each for each in srv_answers(boot) if says_no(each)]
    if not said_no or srv_targets(boot):
        return
    is_each = denies_every_srv(boot)
    if not (is_each or boot.has(*_NOT_LOCATED)):
        return
    if lacks_web_services(boot) or lacks_registrar(boot):
        certainty = Certainty.CERTAIN if is_each else Certainty.LIKELY
        detail = ", ".join(str(each["qname"]) for each in said_no)
        yield find(boot, causes.SRV_MISSING, certainty, *said_no, detail=detail)


def find_alias(boot: Boot) -> Iterator[Finding]:
    """The host that an SRV record names is an alias, and the phone failed there."""
    targets = srv_targets(boot)
    if not targets or not boot.is_hurt:
        return
    failed = failed_web_hosts(boot) | _failed_registrars(boot) | denied_hosts(boot)
    for answer in boot.all("dns_answer"):
        host = str(answer["qname"]).lower()
        if host in targets and host in failed and "CNAME" in str(answer["records"]):
            yield find(
                boot,
                causes.SRV_TARGET_ALIAS,
                Certainty.CERTAIN,
                targets[host],
                answer,
                failed[host],
                detail=f"{host} is an alias",
            )
            return


def find_lone_registrar(boot: Boot) -> Iterator[Finding]:
    """DNS names one Registrar and no other, and that one is down."""
    targets = srv_targets(boot)
    if not boot.is_hurt or len(targets) != 1 or registrars_of_dhcp(boot):
        return
    ((host, answer),) = targets.items()
    failure = _failed_registrars(boot).get(host)
    if failure is not None and failure["failure"] in _DOWN:
        detail = f"{host} is the only one that DNS names, and it is down"
        yield find(
            boot, causes.REGISTRAR_NOT_REDUNDANT, Certainty.LIKELY, answer, failure, detail=detail
        )


def find_denied_names(boot: Boot) -> Iterator[Finding]:
    """DNS says that a host has no address to which the phone was sent, whoever sent it."""
    if not boot.is_hurt:
        return
    denied, targets = denied_hosts(boot), srv_targets(boot)
    web_hosts = {
        host_of_url(each["url"]): each
        for each in boot.all("option_43", "web_services_located", "cache_used", "http_sent")
        if each["url"]
    }
    option_43 = web_url_of_dhcp(boot)
    redirects = _redirect_targets(boot)
    for host, answer in denied.items():
        if host in redirects:
            continue
        if host in targets:
            cause, source = causes.SRV_TARGET_DEAD, targets[host]
        elif host in web_hosts and not has_web_services(boot):
            cause, source = causes.WEB_NAME_UNRESOLVED, web_hosts[host]
            is_given = option_43 is not None and host_of_url(option_43["url"]) == host
            if is_given and _is_dns_well(boot):
                cause = causes.OPTION_43_STALE
        elif host in registrars_of_dhcp(boot) and not boot.has("registered"):
            cause, source = causes.REGISTRAR_NAME_UNRESOLVED, registrars_of_dhcp(boot)[host]
        elif host in _failed_registrars(boot) and not boot.has("registered"):
            cause, source = causes.REGISTRAR_NAME_UNRESOLVED, _failed_registrars(boot)[host]
        else:
            continue
        note = f"it leads the phone to {host}"
        yield find(boot, cause, Certainty.CERTAIN, evidence_of(source, note), answer, detail=host)


def _is_dns_well(boot: Boot) -> bool:
    """Whether DNS knows other names of the site."""
    return bool(srv_targets(boot)) or any(has_address(each) for each in boot.all("dns_answer"))


def _failed_registrars(boot: Boot) -> dict[str, Sighting]:
    found: dict[str, Sighting] = {}
    for each in boot.all("registrar_failed"):
        found.setdefault(host_of_registrar(each["registrar"]), each)
    return found


def _redirect_targets(boot: Boot) -> set[str]:
    return {
        host_of_registrar(target)
        for each in boot.all("registrar_redirected")
        for target in str(each["target"]).split("+")
    }


RULES = (
    find_silent_dns,
    find_failing_dns,
    find_missing_srv,
    find_alias,
    find_lone_registrar,
    find_denied_names,
)
