"""Findings: a cause, how sure it is, and the evidence without which there is none."""

from __future__ import annotations

from enum import IntEnum

import msgspec

from phonesim.field.causes import Cause
from phonesim.field.sightings import Place, Sighting


class Certainty(IntEnum):
    """How sure a finding is; the surest first."""

    CERTAIN = 0
    """The evidence shows the cause itself: bytes that are wrong, a server that says it."""
    LIKELY = 1
    """It shows what follows from the cause, and little else has the same consequence."""
    POSSIBLE = 2
    """It fits, and other causes do as well."""


class Evidence(msgspec.Struct, frozen=True):
    """A line or a frame, and what of it matters: `note` decodes the bytes, "" where it is plain."""

    place: Place
    text: str
    note: str = ""


class Finding(msgspec.Struct, frozen=True, kw_only=True):
    """What is wrong with one boot of a phone. `detail` has this site's own names and values."""

    cause: Cause
    certainty: Certainty
    phone_id: str
    evidence: tuple[Evidence, ...]
    detail: str = ""

    def __post_init__(self) -> None:
        """Refuse a finding without evidence: that is a rule's mistake."""
        if not self.evidence:
            raise ValueError(f"{self.cause.name}: no finding without evidence")


def evidence_of(sighting: Sighting, note: str = "") -> Evidence:
    """A sighting as evidence."""
    return Evidence(sighting.place, sighting.text, note)
