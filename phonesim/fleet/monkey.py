"""Random faults during a run: servers stop, packets are lost, certificates are others for a while.

The monkey draws its faults from a seed of its own, for the servers of one site and for a span of
time: the same three give the same faults. All of them pass, and by the end of the span the site is
well again. Then every phone has the time that it needs at most to come back by itself; one that is
not registered at the end has a defect, or its site does not let it in any more.

Phones start evenly over the first half of the span, so that faults fall on boots, too, and not
only on phones that are registered; a fleet that says when its phones start is left as it is.

A fault lasts `SHORTEST` to `LONGEST` seconds, no more than half of the span, and there are so many
that at any time `AT_A_TIME` are there, more or less.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from typing import Any

import msgspec

from phonesim.config.device_profile import DeviceProfile
from phonesim.config.fault import FaultProfile, Outage, ShowCertificate, Silence
from phonesim.config.site_profile import SiteProfile
from phonesim.errors import UsageError
from phonesim.fleet.plan import Monkey, Plan
from phonesim.world import PhoneSpec

DEFAULT_SPAN = 300.0
"""Seconds of faults where the fleet does not say how long it runs."""
SHORTEST = 1.0
LONGEST = 60.0
AT_A_TIME = 2

PassingRule = Outage | Silence | ShowCertificate

_CERTIFICATES = (
    "expired",
    "not-yet-valid",
    "wildcard",
    "wrong-name",
    "untrusted",
    "no-intermediate",
)
_LOST_OF = (2, 3)
"""One request of so many is lost."""


def with_monkey(
    plan: Plan, seed: int, grace: float | None = None, *, keeps_starts: bool = False
) -> Plan:
    """Return the plan with faults from `seed`, for as long as its fleet runs.

    Phones start within the first half of that time, or with `keeps_starts` when the plan says.
    After that the run goes on for `grace` seconds, None for what its phones need at most.
    `UsageError` if the monkey can do nothing there, or what it did could not be told.
    """
    fleet, site = plan.fleet, plan.site
    if site is None or fleet.attach not in ("virtual", "loopback"):
        raise UsageError(
            "--monkey: it plays with mock servers: use --attach virtual or loopback, with a --site"
        )
    if fleet.stages is not None:
        raise UsageError("--monkey: its phones boot as a whole and stay registered: no stages")
    if plan.faults or fleet.links.loss:
        raise UsageError(
            "--monkey: at its end all has to be well: leave out --fault, fleet.faults and"
            " fleet.links.loss"
        )
    span = plan.limits.duration or DEFAULT_SPAN
    rules = plan_faults(seed, site, span)
    if grace is None:
        grace = max(longest_way_back(spec.profile) for spec in plan.specs)
    specs = plan.specs if keeps_starts else _spread(plan.specs, span / 2)
    well_at = max(span, *(spec.starts_at for spec in specs))
    name = f"monkey-{seed}"
    profile = FaultProfile(name=name, description="What a monkey did", rules=tuple(rules))
    return msgspec.structs.replace(
        plan,
        specs=specs,
        faults=(profile,),
        limits=msgspec.structs.replace(plan.limits, duration=well_at + grace),
        monkey=Monkey(seed=seed, span=span, grace=grace),
    )


def _spread(specs: Sequence[PhoneSpec], seconds: float) -> tuple[PhoneSpec, ...]:
    """Let the phones start evenly within that time, the first one at its begin."""
    return tuple(
        msgspec.structs.replace(spec, starts_at=round(index * seconds / len(specs), 6))
        for index, spec in enumerate(specs)
    )


def plan_faults(seed: int, site: SiteProfile, span: float) -> list[PassingRule]:
    """Return the faults of a site within `span` seconds, in the order in which they begin."""
    rng = random.Random(f"{seed}/monkey")
    kinds = [kind for kind in _kinds(site) if kind.servers]
    if not kinds:
        raise UsageError(f"--monkey: site {site.name!r} has no server to play with")
    longest = min(LONGEST, span / 2)
    shortest = min(SHORTEST, longest)
    rules: list[PassingRule] = []
    for _ in range(round(AT_A_TIME * span / ((shortest + longest) / 2))):
        kind = rng.choice(kinds)
        protocol, server = rng.choice(kind.servers)
        lasts = round(rng.uniform(shortest, longest), 3)
        fault = {
            "kind": kind.name,
            "protocol": protocol,
            "target": server,
            "begins_at": round(rng.uniform(0, span - lasts), 3),
            "lasts": lasts,
        }
        rules.append(kind.rule.model_validate(fault | kind.draw(rng)))
    return sorted(rules, key=lambda rule: rule.begins_at)


def longest_way_back(profile: DeviceProfile) -> float:
    """Return how many seconds a phone needs at most to come back by itself to a site that is well.

    It is in the longest of its pauses when the site becomes well, perhaps in one after the other:
    without an address, then after a boot that failed, then after a registration that did.
    """
    registration, sign_in = profile.registration, profile.sign_in
    address = profile.dhcp.auto_ip_retry_interval
    boot = 1.2 * profile.retry_delay + sign_in.attempts * sign_in.http_timeout
    registered = (
        max(registration.reconnect_delays) * (1 + registration.reconnect_jitter)
        + registration.failover_delay
        + registration.connect_timeout
        + registration.response_timeout
    )
    return address + boot + registered


def schedule(plan: Plan, until: float) -> list[dict[str, Any]]:
    """Return what the monkey of a plan did, for a summary: what, at which server, when.

    The run was over `until` seconds after its begin: what was not yet does not count, and what
    was not over then has no end.
    """
    rules = (rule for profile in plan.faults for rule in profile.rules)
    return [
        {
            "server": rule.target,
            "fault": describe(rule),
            "begins_at": rule.begins_at,
            "ends_at": round(rule.ends_at, 3) if rule.ends_at <= until else None,
        }
        for rule in rules
        if isinstance(rule, PassingRule) and rule.begins_at < until
    ]


def describe(rule: PassingRule) -> str:
    """Say in words what a fault is."""
    match rule:
        case Outage():
            return "stopped"
        case Silence():
            return f"loses 1 of {rule.every_nth} {rule.protocol} requests"
        case ShowCertificate():
            return f"certificate {rule.certificate}"


class _Kind(msgspec.Struct, frozen=True):
    """A kind of fault: the protocol and name of each server that can have it, what else it says."""

    name: str
    rule: type[PassingRule]
    servers: list[tuple[str, str]]
    draw: Callable[[random.Random], dict[str, Any]]


def _kinds(site: SiteProfile) -> list[_Kind]:
    datagrams = [
        *(("dhcp", server.name) for server in site.dhcp_servers),
        *(("dns", server.name) for server in site.dns_servers),
        *(("ntp", server.name) for server in site.ntp_servers),
    ]
    web = [("https", server.name) for server in site.web_services]
    sip = [("sip", server.name) for server in site.registrars]
    sip_tls = [("sip", server.name) for server in site.registrars if server.transport == "tls"]
    return [
        _Kind("outage", Outage, [*datagrams, *web, *sip], lambda rng: {}),
        _Kind("silence", Silence, datagrams, lambda rng: {"every_nth": rng.choice(_LOST_OF)}),
        _Kind(
            "show-certificate",
            ShowCertificate,
            [*web, *sip_tls],
            lambda rng: {"certificate": rng.choice(_CERTIFICATES)},
        ),
    ]
