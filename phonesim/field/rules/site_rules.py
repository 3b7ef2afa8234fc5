"""What only several phones show: who is served and who is not, who lives on what was kept.

Of each phone a few facts of its last boot are kept: that is how the site is now. What was given
apart, as two logs, may be of two sites: then what they show together is possible, and no more.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import msgspec

from phonesim.field import causes
from phonesim.field.boots import Boot
from phonesim.field.causes import Cause
from phonesim.field.finding import Certainty, Evidence, Finding, evidence_of
from phonesim.field.sightings import Sighting

_OF_A_PERSON = frozenset(
    {
        causes.PIN_WRONG,
        causes.PIN_LOCKED,
        causes.PIN_EXPIRED,
        causes.PIN_NOT_SET,
        causes.PIN_NOT_ENABLED,
        causes.NUMBER_NOT_UNIQUE,
        causes.USER_UNKNOWN,
        causes.USER_DISABLED,
        causes.USER_UNAUTHORIZED,
        causes.PASSWORD_WRONG,
    }
)

_OF_NO_OPTIONS = frozenset({causes.OPTIONS_MISSING, causes.INFORM_UNANSWERED})
_OF_OPTIONS = _OF_NO_OPTIONS | {
    cause for name, cause in causes.CAUSES.items() if name.startswith(("option-43-", "option-120-"))
}


class BootFacts(msgspec.Struct, frozen=True, kw_only=True):
    """What is kept of a boot: its cause's evidence where it failed, and its lease.

    Boots of one `origin` are of one site. `network` is the lease's.
    """

    phone_id: str
    origin: str
    network: str
    ends_well: bool
    is_cold: bool
    kept: Evidence | None
    """What the phone began with, if that was a cache."""
    cold: Evidence | None
    lease: Evidence | None
    server: str
    signed_in: Evidence | None
    failure: Evidence | None
    causes: frozenset[Cause]
    silence: Evidence | None


def facts_of(
    boot: Boot, findings: Sequence[Finding], origin: str = "", network: str = ""
) -> BootFacts:
    """The facts of a boot in which these findings were made."""
    kept = boot.first("cache_used")
    cold = boot.first("cache_empty") or _informing(boot)
    failure = boot.last("boot_failed")
    failed = _evidence(failure)
    if failed is None and findings and not boot.ends_well:
        failed = findings[0].evidence[0]
    lease = boot.first("dhcp_lease")
    silent = [each for each in findings if each.cause is causes.DHCP_SILENT]
    return BootFacts(
        phone_id=boot.phone_id,
        origin=origin,
        network=network,
        ends_well=boot.ends_well,
        is_cold=kept is None and cold is not None,
        kept=_evidence(kept),
        cold=_evidence(cold),
        lease=_evidence(lease),
        server="" if lease is None else str(lease["server"]),
        signed_in=_evidence(boot.last("signed_in") or boot.last("registered")),
        failure=failed,
        causes=frozenset(each.cause for each in findings),
        silence=silent[0].evidence[-1] if silent else None,
    )


def find_in_site(boots: Sequence[BootFacts]) -> Iterator[Finding]:
    """Yield what the last boots of all phones show together."""
    for rule in RULES:
        yield from rule(boots)


def find_exhausted_pool(boots: Sequence[BootFacts]) -> Iterator[Finding]:
    """Some phones have a lease, and to others no server offers any."""
    served = [each for each in boots if each.lease is not None and each.silence is None]
    silent = [each for each in boots if each.silence is not None]
    if not served or not silent:
        return
    for each in silent:
        example = _beside(each, served)
        assert example.lease is not None
        assert each.silence is not None
        detail = (
            f"leases of {example.server}: {len(served)} of {len(served) + len(silent)} phones have"
            " one, the others are offered none"
        )
        yield Finding(
            cause=causes.DHCP_POOL_EXHAUSTED,
            certainty=_together(each, example),
            phone_id=each.phone_id,
            evidence=(each.silence, example.lease),
            detail=detail,
        )


def find_servers_apart(boots: Sequence[BootFacts]) -> Iterator[Finding]:
    """Of one server's leases all phones sign in, of another's in that network none: no options."""
    per_server: dict[str, list[BootFacts]] = {}
    for each in boots:
        if each.lease is not None:
            per_server.setdefault(each.server, []).append(each)
    good = [each for each in per_server.values() if all(boot.ends_well for boot in each)]
    for server, led_astray in per_server.items():
        if not all(each.causes & _OF_OPTIONS and not each.ends_well for each in led_astray):
            continue
        knows_nothing = all(each.causes & _OF_NO_OPTIONS for each in led_astray)
        cause = causes.ROGUE_DHCP_SERVER if knows_nothing else causes.DHCP_SERVERS_DISAGREE
        for each in led_astray:
            well = [them[0] for them in good if them[0].network == each.network]
            if not well:
                continue
            example = _beside(each, well)
            evidence = [each.lease, each.failure, example.lease, example.signed_in]
            yield Finding(
                cause=cause,
                certainty=_together(each, example),
                phone_id=each.phone_id,
                evidence=tuple(piece for piece in evidence if piece is not None),
                detail=f"phones with a lease of {example.server} sign in, of {server} they do not",
            )


def find_cache_survivors(boots: Sequence[BootFacts]) -> Iterator[Finding]:
    """Every phone that began with a cache signs in, and none that began without."""
    survivors = [each for each in boots if each.kept is not None and each.ends_well]
    cold = [each for each in boots if each.is_cold]
    stuck = [each for each in cold if each.failure is not None and not each.ends_well]
    is_of_site = any(each.causes - _OF_A_PERSON for each in stuck)
    if not survivors or not stuck or not is_of_site:
        return
    if any(each.ends_well for each in cold) or any(
        each.kept is not None and not each.ends_well for each in boots
    ):
        return
    detail = f"signed in: {len(survivors)} with a cache, none of {len(stuck)} without"
    for each in stuck:
        example = _beside(each, survivors)
        assert example.kept is not None
        assert each.failure is not None
        evidence = [each.cold, each.failure, example.kept, example.signed_in]
        yield Finding(
            cause=causes.CACHE_HIDES_IT,
            certainty=_together(each, example),
            phone_id=each.phone_id,
            evidence=tuple(piece for piece in evidence if piece is not None),
            detail=detail,
        )


def _beside(boot: BootFacts, others: Sequence[BootFacts]) -> BootFacts:
    """One of the others, of the same origin if there is one."""
    return next((each for each in others if each.origin == boot.origin), others[0])


def _together(boot: BootFacts, other: BootFacts) -> Certainty:
    return Certainty.LIKELY if boot.origin == other.origin else Certainty.POSSIBLE


def _informing(boot: Boot) -> Sighting | None:
    """The first INFORM: only a phone without a cache asks."""
    return next((each for each in boot.all("dhcp_sent") if each["type"] == "INFORM"), None)


def _evidence(sighting: Sighting | None) -> Evidence | None:
    return None if sighting is None else evidence_of(sighting)


RULES = (find_exhausted_pool, find_servers_apart, find_cache_survivors)
