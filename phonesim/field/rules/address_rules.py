"""An address: servers that are silent, refuse, give what others have, or know no phones."""

from __future__ import annotations

from collections.abc import Iterator

from phonesim.field import causes
from phonesim.field.boots import Boot
from phonesim.field.finding import Certainty, Finding, evidence_of
from phonesim.field.rules.sign import find
from phonesim.field.sightings import Sighting

_MANY_ATTEMPTS = 4


def find_silent_dhcp(boot: Boot) -> Iterator[Finding]:
    """DISCOVER is repeated to the end, and nobody offers anything."""
    if any(each["type"] == "OFFER" for each in boot.all("dhcp_received", "dhcp_ignored")):
        return
    given_up = [each for each in boot.all("dhcp_no_answer") if each["type"] == "DISCOVER"]
    sent = [each for each in boot.all("dhcp_sent") if each["type"] == "DISCOVER"]
    if not given_up and (not sent or sent[-1]["attempt"] < _MANY_ATTEMPTS or boot.ends_well):  # type: ignore[operator]
        return
    answered = [
        each
        for each in boot.all("dhcp_received")
        if each["type"] in ("ACK", "NAK") and boot.is_hurt
    ]
    if answered:
        detail = f"{answered[-1]['server']} answers REQUEST and INFORM, and no DISCOVER"
        yield find(
            boot,
            causes.DHCP_POOL_EXHAUSTED,
            Certainty.LIKELY,
            evidence_of(answered[-1], "the server lives"),
            *(given_up or sent)[-1:],
            detail=detail,
        )
        return
    shown_silence = given_up[:1] or sent[-1:]
    yield find(boot, causes.DHCP_SILENT, Certainty.LIKELY, *sent[:1], *shown_silence)


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
    """The server of the lease gives no option of the sign-in, and another server is there."""
    lease = boot.last("dhcp_lease")
    if lease is None or not boot.is_hurt:
        return
    winner = lease["server"]
    if any(each["server"] == winner for each in boot.all("option_43", "option_120")):
        return
    missing = [each for each in boot.all("option_missing") if each["server"] == winner]
    knowing = [each for each in boot.all("option_43", "option_120") if each["server"] != winner]
    others = knowing or [
        each for each in boot.all("dhcp_ignored") if _is_offer_of_other(each, winner)
    ]
    if not others:
        return
    certainty = Certainty.CERTAIN if knowing and missing else Certainty.LIKELY
    detail = f"the lease is of {winner}, domain {lease['domain'] or 'none'}"
    yield find(
        boot,
        causes.ROGUE_DHCP_SERVER,
        certainty,
        evidence_of(lease, f"the lease is of {winner}: its DNS server and domain are used"),
        *missing[:1],
        evidence_of(others[0], "another server, which came too late for the lease"),
        detail=detail,
    )


def find_disagreement(boot: Boot) -> Iterator[Finding]:
    """Two servers answer the INFORM, and say different things."""
    if not boot.is_hurt:
        return
    for name in ("option_43", "option_120"):
        first: dict[object, Sighting] = {}
        for each in boot.all(name):
            first.setdefault(each["server"], each)
        if len({str(each["hex"]).lower() for each in first.values()}) > 1:
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


RULES = (find_silent_dhcp, find_conflict, find_refusal, find_rogue, find_disagreement)
