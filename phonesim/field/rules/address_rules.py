"""An address: servers that are silent, refuse, give what others have, or know no phones."""

from __future__ import annotations

import re
from collections.abc import Iterator

from phonesim.field import causes
from phonesim.field.boots import Boot
from phonesim.field.finding import Certainty, Finding, evidence_of
from phonesim.field.rules.sign import find
from phonesim.field.rules.ways import (
    denied_hosts,
    has_address,
    has_web_services,
    host_of_registrar,
    host_of_url,
    web_url_of_dhcp,
)
from phonesim.field.sightings import Sighting

_FRAME_OF = re.compile(r"; frame from ([0-9A-F-]{17})")
_MANY_ATTEMPTS = 4
_SHORTLY = 60.0


def find_silent_dhcp(boot: Boot) -> Iterator[Finding]:
    """DISCOVER is repeated to the end, and nobody offers anything any more."""
    offers = [
        boot.position(each)
        for each in boot.all("dhcp_received", "dhcp_ignored")
        if each["type"] == "OFFER"
    ]
    since = max(offers, default=-1)
    sent = [each for each in _of_type(boot, "dhcp_sent", "DISCOVER") if boot.position(each) > since]
    given_up = [
        each for each in _of_type(boot, "dhcp_no_answer", "DISCOVER") if boot.position(each) > since
    ]
    is_repeated = any(int(each["attempt"]) >= _MANY_ATTEMPTS for each in sent)
    if boot.ends_well or not (given_up or is_repeated):
        return
    silence = [*sent[:1], *(given_up or sent)[-1:]]
    answered = [
        each
        for each in boot.all("dhcp_received")
        if each["type"] in ("ACK", "NAK") and each.at > silence[0].at - _SHORTLY
    ]
    if answered:
        detail = f"{answered[-1]['server']} answers REQUEST and INFORM, and no DISCOVER"
        lives = evidence_of(answered[-1], "the server lives")
        cause = causes.DHCP_POOL_EXHAUSTED
        yield find(boot, cause, Certainty.LIKELY, lives, *silence, detail=detail)
    else:
        yield find(boot, causes.DHCP_SILENT, Certainty.LIKELY, *silence)


def _of_type(boot: Boot, name: str, kind: str) -> list[Sighting]:
    return [each for each in boot.all(name) if each["type"] == kind]


def find_conflict(boot: Boot) -> Iterator[Finding]:
    """Somebody answered the ARP probe for the address that was given."""
    conflicts = boot.all("address_conflict")
    if conflicts:
        first = conflicts[0]
        detail = f"{first['address']} is used by {first['mac']}"
        if len(conflicts) > 1:
            detail += f", and {len(conflicts) - 1} more"
        yield find(boot, causes.ADDRESS_CONFLICT, Certainty.CERTAIN, *conflicts, detail=detail)


def find_refusal(boot: Boot) -> Iterator[Finding]:
    """A NAK to the REQUEST for what had been offered; one to an old address is as it should be."""
    offered: set[object] = set()
    refusals = []
    for each in boot.all("dhcp_received"):
        if each["type"] == "OFFER":
            offered.add(each["xid"])
        elif each["type"] == "NAK" and each["xid"] in offered:
            refusals.append(each)
    if refusals and not boot.has("dhcp_lease"):
        detail = f"DHCP server {refusals[0]['server']}"
        yield find(boot, causes.DHCP_REFUSES, Certainty.CERTAIN, *refusals, detail=detail)


def find_rogue(boot: Boot) -> Iterator[Finding]:
    """The server of the lease knows no option of the sign-in, and leads the phone astray.

    A server that gives addresses beside another one that answers INFORM is no rogue, nor is one
    of two that both lack the options: what counts is that the other one gives addresses, too, or
    that the DNS server of the lease denies the names. One that is silent denies nothing. A router
    that serves its own DNS may be one if another server offers, whatever that one knows.
    """
    lease = boot.last("dhcp_lease")
    if lease is None or not boot.is_hurt or has_web_services(boot):
        return
    winner = lease["server"]
    given = boot.all("option_43", "option_120")
    if any(each["server"] == winner for each in given):
        return
    knowing = {each["server"] for each in given}
    offers = [each for each in boot.all("dhcp_ignored") if _is_offer_of_other(each, winner)]
    competes = any(each["source"] in knowing for each in offers)
    web_url = web_url_of_dhcp(boot)
    if web_url is not None:
        is_denied = host_of_url(web_url["url"]) in denied_hosts(boot)
        if any(map(has_address, boot.all("dns_answer"))) or not (competes or is_denied):
            return
    missing = [each for each in boot.all("option_missing") if each["server"] == winner]
    is_router = str(winner) in (*str(lease["router"]).split(","), *str(lease["dns"]).split(","))
    others = given or (offers if is_router else [])
    if not others:
        return
    certainty = Certainty.CERTAIN if competes and missing else Certainty.LIKELY
    if not given:
        certainty = Certainty.POSSIBLE
    yield find(
        boot,
        causes.ROGUE_DHCP_SERVER,
        certainty,
        evidence_of(lease, f"the lease is of {winner}: its DNS server and domain are used"),
        *missing[:1],
        evidence_of(others[0], "another server, which came too late for the lease"),
        detail=f"the lease is of {winner}{_mac_of(lease)}, domain {lease['domain'] or 'none'}",
    )


def _mac_of(lease: Sighting) -> str:
    """The source of the frame in which a server answered, where a capture has it."""
    match = _FRAME_OF.search(lease.text)
    return "" if match is None else f" at MAC {match[1]}"


def find_disagreement(boot: Boot) -> Iterator[Finding]:
    """Two servers answer the INFORM, and say different things of what the phone then lacks.

    Which Registrars they name matters where the phone failed at one that only one of them names.
    """
    if not boot.is_hurt:
        return
    passed = {
        "option_43": boot.has("ticket_received", "ticket_refused"),
        "option_120": boot.has("registered", "ticket_refused"),
    }
    failed_at = {host_of_registrar(each["registrar"]) for each in boot.all("registrar_failed")}
    for name in (name for name, is_passed in passed.items() if not is_passed):
        first: dict[object, Sighting] = {}
        for each in boot.all(name):
            first.setdefault(each["server"], each)
        said = [_said(each) for each in first.values()]
        differ = frozenset.union(*said) - frozenset.intersection(*said) if said else frozenset()
        if differ and (name == "option_43" or differ & failed_at):
            detail = " and ".join(str(server) for server in first)
            shown = list(first.values())
            yield find(boot, causes.DHCP_SERVERS_DISAGREE, Certainty.CERTAIN, *shown, detail=detail)
            return
        winner = next((str(each["source"])[5:] for each in boot.all("race_won")), None)
        for lack in boot.all("option_missing"):
            is_of_it = f"option_{lack['option']}" == name and lack["server"] == winner
            if is_of_it and first and winner not in first:
                other = next(iter(first.values()))
                detail = f"{winner} wins without option {lack['option']}, {other['server']} has it"
                shown = [lack, other]
                yield find(
                    boot, causes.DHCP_SERVERS_DISAGREE, Certainty.CERTAIN, *shown, detail=detail
                )
                return


def _is_offer_of_other(ignored: Sighting, winner: object) -> bool:
    return ignored["type"] == "OFFER" and ignored["source"] != winner


def _said(option: Sighting) -> frozenset[str]:
    """What an option means to a phone: letter case does not matter, nor the order of Registrars."""
    if option.name == "option_120":
        return frozenset(str(option["registrars"] or option["hex"]).lower().split("+"))
    return frozenset({str(option["url"] or option["hex"]).lower()})


RULES = (find_silent_dhcp, find_conflict, find_refusal, find_rogue, find_disagreement)
