"""Whether a phone met the same again: its boot as a list of milestones, and where two part.

A milestone is something that decides how a boot goes on: an address, an option's octets, a name's
answer, what a server said. Addresses of phones, times, and ids differ from one boot to the next
and do not count.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import msgspec

from phonesim.field.boots import Boot
from phonesim.field.sightings import Sighting


class Milestone(msgspec.Struct, frozen=True):
    """What decided something, in words that two boots have in common, and where it was seen."""

    words: str
    seen: Sighting


class Comparison(msgspec.Struct, frozen=True):
    """How far two boots went alike. `field` and `again` are where they part, None at an end."""

    same: int
    field: Milestone | None
    again: Milestone | None
    field_outcome: str
    again_outcome: str

    @property
    def is_same_outcome(self) -> bool:
        """Whether both ended in the same way.

        Of packets whose end nobody tells, all milestones have to be the same: answers to what is
        asked at once come in any order.
        """
        if self.field_outcome == self.again_outcome:
            return True
        is_told = not self.field_outcome.startswith(_UNTOLD)
        return not is_told and self.field is None and self.again is None


def _words(*fields: str) -> Callable[[Sighting], str]:
    return lambda sighting: " ".join([sighting.name, *(str(sighting[field]) for field in fields)])


_MILESTONES: Mapping[str, Callable[[Sighting], str]] = {
    "vlan_found": _words("vlan"),
    "dhcp_lease": _words("server", "domain", "dns", "ntp"),
    "dhcp_no_answer": _words("type"),
    "address_conflict": lambda sighting: sighting.name,
    "clock_not_set": lambda sighting: sighting.name,
    "option_43": _words("server", "hex"),
    "option_120": _words("server", "hex"),
    "option_missing": _words("server", "option"),
    "dns_answer": _words("qtype", "qname", "rcode"),
    "web_services_not_located": lambda sighting: sighting.name,
    "chain_received": lambda sighting: sighting.name,
    "http_answer": _words("operation", "status"),
    "http_failed": _words("operation", "failure"),
    "ticket_refused": _words("reason"),
    "connect_failed": _words("server", "failure"),
    "tls_alert": _words("server", "by", "alert"),
    "registrar_failed": _words("registrar", "failure"),
    "register_answer": _words("status"),
    "registered": _words("registrar"),
    "boot_failed": _words("stage", "reason"),
    "signed_in": _words("registrar"),
}
"""What counts of a sighting, by its name."""

_UNTOLD = "not signed in; last seen:"
_LONGEST = 60
_FAILURES = frozenset(
    {
        "dhcp_no_answer",
        "http_answer",
        "http_failed",
        "ticket_refused",
        "connect_failed",
        "tls_alert",
        "registrar_failed",
    }
)
_ENDS = ("signed_in", "boot_failed")


def milestones(boot: Boot) -> list[Milestone]:
    """The milestones of a boot, each once, in order; nothing after its first end."""
    found: list[Milestone] = []
    known: set[str] = set()
    for sighting in boot.sightings:
        words_of = _MILESTONES.get(sighting.name)
        if words_of is None:
            continue
        words = words_of(sighting)
        if words not in known:
            known.add(words)
            found.append(Milestone(words, sighting))
        if sighting.name in _ENDS:
            break
    return found


def outcome(boot: Boot) -> str:
    """How a boot first ended: `signed in`, `failed at ip: no-lease`, or how far packets show it.

    A capture ends at any time, often in the middle of another try: what failed last is told.
    """
    ends = [each for name in _ENDS if (each := boot.first(name)) is not None]
    ended = min(ends, key=boot.position) if ends else boot.first("registered")
    if ended is not None:
        is_failure = ended.name == "boot_failed"
        return f"failed at {ended['stage']}: {ended['reason']}" if is_failure else "signed in"
    passed = [each for each in boot.sightings if each.name in _MILESTONES]
    failed = [each for each in passed if _is_failure(each)]
    last = next(reversed(failed or passed), None)
    if last is None:
        return "nothing was seen"
    words = _MILESTONES[last.name](last).replace("_", " ", 1)
    return f"{_UNTOLD} {words[:_LONGEST]}{'...' if len(words) > _LONGEST else ''}"


def _is_failure(sighting: Sighting) -> bool:
    if sighting.name == "register_answer":
        return int(sighting["status"]) >= 300 and int(sighting["status"]) not in (401, 407)
    return sighting.name in _FAILURES


def compare(field: Boot, again: Boot) -> Comparison:
    """Compare a boot in the field with one at the learned site.

    What is answered in parallel comes in any order: milestones are alike as sets between two that
    both boots have.
    """
    ours, theirs = milestones(again), milestones(field)
    our_words = {milestone.words for milestone in ours}
    their_words = {milestone.words for milestone in theirs}
    parted = next((each for each in theirs if each.words not in our_words), None)
    extra = next((each for each in ours if each.words not in their_words), None)
    return Comparison(
        same=len(our_words & their_words),
        field=parted,
        again=extra,
        field_outcome=outcome(field),
        again_outcome=outcome(again),
    )
