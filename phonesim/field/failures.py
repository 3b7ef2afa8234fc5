"""Failures as profiles, and as plans: an earlier life of the phones that had one, and the failure.

    profile -> (plan of the healthy site, for the phones that were there before) -> plan

The kind of profile is here and not with the others, because what it must find are causes.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec

from phonesim.config.failure import FailurePart, FailureProfile
from phonesim.config.fault import FaultProfile
from phonesim.config.fleet_profile import SIGNED_IN, Attach, DeviceShare, FleetProfile
from phonesim.device.outcome import FailureReason
from phonesim.errors import ProfileError
from phonesim.field.causes import CAUSES
from phonesim.fleet.plan import Plan, plan_fleet
from phonesim.profiles import DEVICE, FAULT, FLEET, KINDS, SITE, Kind, Override, apply

_ROOTS = (FLEET.name, SITE.name, DEVICE.name)
_OUTCOMES = (SIGNED_IN, *FailureReason)
_RATE = 4.0
"""Phones started a second: one after another, but soon."""


def overrides_of(failure: FailureProfile) -> list[Override]:
    """Return the values that the failure sets; `ProfileError` for a key that is nobody's.

    What else is wrong with them shows when they are used.
    """
    overrides = []
    for key, value in failure.set.items():
        root, *path = key.split(".")
        label = f"failure {failure.name!r}: set {key}"
        if root not in _ROOTS or not path:
            raise ProfileError(f"{label}: the key starts with {', '.join(r + '.' for r in _ROOTS)}")
        overrides.append(Override(root, tuple(path), value, str(value), label))
    return overrides


def plan_failure(
    failure: FailureProfile,
    attach: Attach = "virtual",
    overrides: Sequence[Override] = (),
    earlier: str | None = None,
) -> Plan:
    """Plan the failure; `overrides` come on top of its own, `earlier` is the phones' earlier run.

    Raises `ProfileError` for whatever of it cannot be used.
    """
    fleet = _fleet(failure, attach, failure.phones, failure.faults)
    if lived_before(failure):
        fleet = fleet.model_copy(update={"phones_from": earlier, "boots": ("warm",)})
    every = [*overrides_of(failure), *overrides]
    own: tuple[FaultProfile, ...] = ()
    if failure.fault_rules:
        own = (
            FaultProfile(
                name=failure.name, description=failure.description, rules=failure.fault_rules
            ),
        )
    plan = plan_fleet(apply(FLEET, fleet, every), every, own)
    if not lived_before(failure):
        return plan
    beginnings = [part.boot for part in failure.parts for _ in range(part.phones)]
    return msgspec.structs.replace(
        plan,
        specs=tuple(
            msgspec.structs.replace(spec, first_boot=boot)
            for spec, boot in zip(plan.specs, beginnings, strict=True)
        ),
    )


def plan_earlier_life(
    failure: FailureProfile, attach: Attach = "virtual", overrides: Sequence[Override] = ()
) -> Plan | None:
    """Plan how the phones that were there before signed in then, at a site without faults."""
    lived = sum(part.phones for part in lived_before(failure))
    if not lived:
        return None
    of_phones = [each for each in overrides_of(failure) if each.root == DEVICE.name]
    every = [*of_phones, *overrides]
    fleet = _fleet(failure, attach, lived, ()).model_copy(update={"keep_leases": True})
    return plan_fleet(apply(FLEET, fleet, every), every)


def lived_before(failure: FailureProfile) -> list[FailurePart]:
    """Return the phones that signed in before."""
    return [part for part in failure.parts if part.boot != "cold"]


def _fleet(
    failure: FailureProfile, attach: Attach, phones: int, faults: tuple[str, ...]
) -> FleetProfile:
    return FleetProfile(
        name=failure.name,
        description=failure.description,
        phones=phones,
        devices=(DeviceShare(device=failure.device),),
        site=failure.site,
        faults=faults,
        attach=attach,
        rate=_RATE,
    )


def _try_out(failure: FailureProfile) -> None:
    plan_earlier_life(failure)
    plan_failure(failure, earlier="an earlier run")


FAILURE = Kind(
    "failure",
    "failures",
    FailureProfile,
    (
        (("site",), SITE),
        (("device",), DEVICE),
        (("faults", "*"), FAULT),
    ),
    try_out=_try_out,
    listing="phonesim reproduce",
    words=(
        (("findings", "*"), "cause", CAUSES),
        (("findings", "log", "*"), "cause", CAUSES),
        (("findings", "capture", "*"), "cause", CAUSES),
        (("parts", "*", "outcome"), "outcome", _OUTCOMES),
    ),
)
ALL_KINDS: tuple[Kind[Any], ...] = (*KINDS, FAILURE)
