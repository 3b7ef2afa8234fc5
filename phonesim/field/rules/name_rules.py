"""Names: whether DNS answers, and what its answers lead to."""

from __future__ import annotations

import re
from collections.abc import Iterator

from phonesim.field import causes
from phonesim.field.boots import Boot
from phonesim.field.finding import Certainty, Finding, evidence_of
from phonesim.field.rules.option_rules import lacks_registrar, lacks_web_services
from phonesim.field.rules.sign import find
from phonesim.field.sightings import Sighting

_MANY_QUERIES = 3
_SAYS_NO = frozenset({"NOERROR", "NXDOMAIN"})
_RECORD = re.compile(r"SRV \d+ \d+ \d+ (\S+) ttl")
_NOT_THERE = frozenset({"unresolved", "refused", "timeout", "unreachable"})


def find_silent_dns(boot: Boot) -> Iterator[Finding]:
    """Queries were repeated, and no server answered any."""
    asked = boot.all("dns_sent")
    if not boot.is_hurt or len(asked) < _MANY_QUERIES or boot.has("dns_answer"):
        return
    if _waits_for_dns(boot):
        servers = ", ".join(dict.fromkeys(str(each["server"]) for each in asked))
        shown = [asked[0], asked[-1]]
        yield find(
            boot, causes.DNS_SILENT, Certainty.CERTAIN, *shown, detail=f"DNS server {servers}"
        )


def find_failing_dns(boot: Boot) -> Iterator[Finding]:
    """Servers answered with SERVFAIL, REFUSED and the like, and never with more."""
    answers = boot.all("dns_answer")
    failed = [each for each in answers if each["rcode"] not in _SAYS_NO]
    if failed and boot.is_hurt and _waits_for_dns(boot):
        names_answered = {each["qname"] for each in answers if each["rcode"] in _SAYS_NO}
        failed = [each for each in failed if each["qname"] not in names_answered]
        if failed:
            first = failed[0]
            detail = f"{first['server']} answers {first['rcode']} for {first['qname']}"
            yield find(boot, causes.DNS_FAILS, Certainty.CERTAIN, *failed, detail=detail)


def _waits_for_dns(boot: Boot) -> bool:
    """Whether the boot failed for want of a name's address or record, or did not get further."""
    failures = boot.all("boot_failed")
    if not failures:
        return not boot.has("http_sent", "registrar_connecting")
    reasons = {each["reason"] for each in failures}
    return bool(
        reasons
        & {
            "web-server-name-unresolved",
            "registrar-name-unresolved",
            "web-services-not-located",
            "registrar-not-located",
            "clock-not-set",
        }
    )


def find_missing_srv(boot: Boot) -> Iterator[Finding]:
    """No SRV record came, where the phone had to turn to DNS."""
    answers = [
        each
        for each in boot.all("dns_answer")
        if each["qtype"] == "SRV" and str(each["qname"]).startswith("_sip")
    ]
    said_no = [each for each in answers if each["rcode"] in _SAYS_NO]
    if not said_no or any(_RECORD.search(str(each["records"])) for each in answers):
        return
    if lacks_web_services(boot) or lacks_registrar(boot):
        detail = ", ".join(str(each["qname"]) for each in said_no)
        yield find(boot, causes.SRV_MISSING, Certainty.CERTAIN, *said_no, detail=detail)


def find_bad_target(boot: Boot) -> Iterator[Finding]:
    """The host that an SRV record names is an alias, does not exist, or is down alone."""
    if not boot.is_hurt:
        return
    answers = [
        each
        for each in boot.all("dns_answer")
        if each["qtype"] == "SRV" and str(each["qname"]).startswith("_sip")
    ]
    targets = {
        target.rstrip("."): each
        for each in answers
        for target in _RECORD.findall(str(each["records"]))
    }
    failures = [each for each in _host_failures(boot) if each[0] in targets]
    if not failures:
        return
    if not _uses_dns(boot):
        return
    host, failure, what = failures[0]
    answer = targets[host]
    for alias in boot.all("dns_answer"):
        if str(alias["qname"]) in targets and "CNAME" in str(alias["records"]):
            detail = f"{alias['qname']} is an alias"
            yield find(
                boot,
                causes.SRV_TARGET_ALIAS,
                Certainty.CERTAIN,
                targets[str(alias["qname"])],
                alias,
                failure,
                detail=detail,
            )
            return
    shown = [answer, failure]
    if what == "unresolved":
        detail = f"{host} has no address"
        yield find(boot, causes.SRV_TARGET_DEAD, Certainty.CERTAIN, *shown, detail=detail)
    elif what not in _NOT_THERE:
        return
    elif len(targets) == 1 and failure.name == "registrar_failed":
        detail = f"{host} is the only one that DNS names, and it is down: {what}"
        yield find(boot, causes.REGISTRAR_NOT_REDUNDANT, Certainty.LIKELY, *shown, detail=detail)
    else:
        detail = f"{host}: {what}"
        yield find(boot, causes.SRV_TARGET_DEAD, Certainty.LIKELY, *shown, detail=detail)


def _uses_dns(boot: Boot) -> bool:
    return any(
        str(each["source"]).startswith("dns:")
        for each in boot.all("registrar_located", "web_services_located")
    )


def _host_failures(boot: Boot) -> list[tuple[str, Sighting, str]]:
    """Host, sighting and what was wrong, of every host that failed the phone, in order."""
    found = []
    urls = boot.all("http_sent")
    for each in boot.sightings:
        if each.name == "registrar_failed":
            host = str(each["registrar"]).rpartition(":")[0]
            found.append((host, each, str(each["failure"])))
        elif each.name == "http_failed" and urls:
            found.append((_host_of(str(urls[0]["url"])), each, str(each["failure"])))
        elif each.name == "boot_failed" and each["reason"] == "web-server-name-unresolved":
            found.append((str(each["detail"]).partition(":")[0], each, "unresolved"))
    return found


def _host_of(url: str) -> str:
    return url.partition("://")[2].partition("/")[0].partition(":")[0]


def find_unresolved_names(boot: Boot) -> Iterator[Finding]:
    """DNS says that a name which the phone was given has no address."""
    if not boot.is_hurt:
        return
    said_no = {
        str(each["qname"]): each
        for each in boot.all("dns_answer")
        if each["qtype"] == "A" and each["rcode"] in _SAYS_NO and "A " not in str(each["records"])
    }
    web_hosts = {
        _host_of(str(each["url"])): each for each in boot.all("web_services_located", "cache_used")
    }
    for host, located in web_hosts.items():
        if host in said_no and not boot.has("chain_received", "service_port"):
            yield find(
                boot,
                causes.WEB_NAME_UNRESOLVED,
                Certainty.CERTAIN,
                evidence_of(located, f"the phone needs {host}"),
                said_no[host],
                detail=host,
            )
    hosts = [str(each["registrar"]).rpartition(":")[0] for each in boot.all("registrar_failed")]
    for host in dict.fromkeys(hosts):
        if host in said_no and not boot.has("registered"):
            shown = [each for each in boot.all("registrar_located") if host in str(each.values)]
            shown = [*shown[:1], said_no[host]]
            yield find(
                boot, causes.REGISTRAR_NAME_UNRESOLVED, Certainty.CERTAIN, *shown, detail=host
            )
            return


RULES = (
    find_silent_dns,
    find_failing_dns,
    find_missing_srv,
    find_bad_target,
    find_unresolved_names,
)
