"""What rules are made of: a finding from sightings, and signs, which are rules in one row."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence

import msgspec

from phonesim.device.device_log import Value
from phonesim.field.boots import Boot
from phonesim.field.causes import Cause
from phonesim.field.finding import Certainty, Evidence, Finding, evidence_of
from phonesim.field.sightings import Sighting

MOST_SHOWN = 4
"""Pieces of evidence of one finding, without what it led to."""


def find(
    boot: Boot,
    cause: Cause,
    certainty: Certainty,
    *shown: Sighting | Evidence,
    detail: str = "",
) -> Finding:
    """A finding in a boot, with the failure it led to as the last evidence."""
    evidence = [
        each if isinstance(each, Evidence) else evidence_of(each) for each in shown[:MOST_SHOWN]
    ]
    failure = boot.first("boot_failed")
    if failure is not None and all(each.place != failure.place for each in evidence):
        evidence.append(evidence_of(failure))
    return Finding(
        cause=cause,
        certainty=certainty,
        phone_id=boot.phone_id,
        evidence=tuple(evidence),
        detail=detail,
    )


class Sign(msgspec.Struct, frozen=True, kw_only=True):
    """Sightings called `name` whose fields have one of these values show the cause.

    `detail` may name fields in braces.
    """

    cause: Cause
    name: str
    where: Mapping[str, Collection[Value]]
    detail: str = ""

    def matches(self, sighting: Sighting) -> bool:
        """Whether a sighting is this sign."""
        return sighting.name == self.name and all(
            sighting[field] in wanted for field, wanted in self.where.items()
        )


def find_signs(boot: Boot, signs: Sequence[Sign]) -> Iterator[Finding]:
    """Yield a finding for each sign that a boot shows."""
    for sign in signs:
        shown = [sighting for sighting in boot.all(sign.name) if sign.matches(sighting)]
        if shown:
            detail = sign.detail.format_map(shown[0].values)
            yield find(boot, sign.cause, Certainty.CERTAIN, *shown[:2], detail=detail)
