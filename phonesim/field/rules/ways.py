"""The ways by which a phone comes to its servers in one boot, whoever tells of it.

A log says what the phone took from an answer; a capture shows the answer, and where the phone
went then. So these questions are asked of answers and of attempts, which both have.
"""

from __future__ import annotations

import re

from phonesim.field.boots import Boot
from phonesim.field.sightings import Sighting

NO_ERRORS = frozenset({"NOERROR", "NXDOMAIN"})
"""Response codes with which a server says what there is, if only that there is nothing."""

_SRV_RECORD = re.compile(r"SRV \d+ \d+ \d+ (\S+) ttl")
_ADDRESS_RECORD = re.compile(r"\bA{1,4} \S+ ttl")
_HOST_OF_DETAIL = re.compile(r"(?:\w+: )?([A-Za-z0-9._-]+) \([^()]*:\d+\)")
_FALLBACKS = ("sipinternal.", "sip.", "sipexternal.")
_OF_WEB_SERVICES = (
    "chain_received",
    "service_port",
    "metadata_shown",
    "ticket_received",
    "certificate_received",
    "identity_used",
)
_STEPS = (
    "dns_sent",
    "http_sent",
    "http_failed",
    "connect_failed",
    "certificate_shown",
    "registrar_connecting",
    "registrar_failed",
    *_OF_WEB_SERVICES,
)


def host_of_url(url: object) -> str:
    """The host of a URL; empty if there is none."""
    return str(url).partition("://")[2].partition("/")[0].partition(":")[0].lower()


def host_of_registrar(registrar: object) -> str:
    """The host of `host:port`."""
    return str(registrar).rpartition(":")[0].lower()


def has_web_services(boot: Boot) -> bool:
    """Whether web services answered the phone, or were not needed."""
    return boot.has(*_OF_WEB_SERVICES)


def web_url_of_dhcp(boot: Boot) -> Sighting | None:
    """The first option 43 that makes a URL."""
    return next((each for each in boot.all("option_43") if each["url"]), None)


def registrars_of_dhcp(boot: Boot) -> dict[str, Sighting]:
    """The hosts that option 120 names, in order, with the option.

    Plain text counts if the phone went there: whether phones put up with it is unknown.
    """
    found: dict[str, Sighting] = {}
    for each in boot.all("option_120"):
        hosts = [host.lower() for host in str(each["registrars"]).split("+") if host]
        is_encoded = str(each["hex"]).startswith("00")
        if is_encoded or set(hosts) & tried_registrars(boot) or not boot.is_hurt:
            found |= {host: each for host in hosts if host not in found}
    return found


def tried_registrars(boot: Boot) -> set[str]:
    """The hosts that the phone turned to as Registrars."""
    tried = boot.all("registrar_connecting", "registrar_failed", "registered")
    return {host_of_registrar(each["registrar"]) for each in tried}


def srv_answers(boot: Boot) -> list[Sighting]:
    """The answers to the queries for SRV records of SIP."""
    return [
        each
        for each in boot.all("dns_answer")
        if each["qtype"] == "SRV" and str(each["qname"]).startswith("_sip")
    ]


def srv_targets(boot: Boot) -> dict[str, Sighting]:
    """The hosts that SRV records name, in order, with the answer."""
    found: dict[str, Sighting] = {}
    for answer in srv_answers(boot):
        for target in _SRV_RECORD.findall(str(answer["records"])):
            found.setdefault(target.rstrip(".").lower(), answer)
    return found


def denies_every_srv(boot: Boot) -> bool:
    """Whether DNS denied each SRV name of SIP that the phone is seen to ask for."""
    denied = {each["qname"] for each in srv_answers(boot) if says_no(each)}
    asked = {
        each["qname"]
        for each in boot.all("dns_sent")
        if each["qtype"] == "SRV" and str(each["qname"]).startswith("_sip")
    }
    return bool(denied) and asked <= denied


def has_registrar_in_dns(boot: Boot) -> bool:
    """Whether DNS names a Registrar, by SRV or by one of the names without."""
    return bool(srv_targets(boot)) or any(
        str(each["qname"]).startswith(_FALLBACKS) and has_address(each)
        for each in boot.all("dns_answer")
    )


def says_no(answer: Sighting) -> bool:
    """Whether an answer says for sure that there is no such record."""
    return answer["rcode"] in NO_ERRORS and not (
        has_address(answer) or _SRV_RECORD.search(str(answer["records"]))
    )


def has_address(answer: Sighting) -> bool:
    """Whether an answer has an address."""
    return _ADDRESS_RECORD.search(str(answer["records"])) is not None


def denied_hosts(boot: Boot) -> dict[str, Sighting]:
    """The hosts of which DNS said that they have no address, and never anything else.

    With the first answer that said so.
    """
    answers = [each for each in boot.all("dns_answer") if each["qtype"] == "A"]
    known = {str(each["qname"]).lower() for each in answers if has_address(each)}
    found: dict[str, Sighting] = {}
    for each in answers:
        host = str(each["qname"]).lower()
        if says_no(each) and host not in known:
            found.setdefault(host, each)
    return found


def failed_web_hosts(boot: Boot) -> dict[str, Sighting]:
    """The hosts at which a request or a connection to web services failed."""
    found: dict[str, Sighting] = {}
    asked = ""
    for each in boot.all("http_sent", "http_failed"):
        if each.name == "http_sent":
            asked = host_of_url(each["url"])
        else:
            match = _HOST_OF_DETAIL.match(str(each["detail"]))
            found.setdefault(asked if match is None else match[1].lower(), each)
    return found


def is_of_chain(failure: Sighting) -> bool:
    """Whether an `http_failed` is about the chain of trust: that is fetched from port 80."""
    return failure["operation"] == "GetRootCertChains" or (
        not failure["operation"] and ":80)" in str(failure["detail"])
    )


def stops_at(boot: Boot, last: Sighting) -> bool:
    """Whether the phone goes to no server any more after that, and is seen to do other things."""
    after = boot.after(last)
    goes_on = any(each.name in _STEPS for each in after)
    lives = any(
        each.name == "dhcp_sent" or (each.name == "capture_ended" and float(each["seconds"]) > 5)
        for each in after
    )
    return lives and not goes_on
