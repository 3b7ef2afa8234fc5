"""One field failure: what the user sees, what makes it happen, and what must come out."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, JsonValue, field_validator

from phonesim.config.fault import FaultRule
from phonesim.config.fleet_profile import SIGNED_IN
from phonesim.config.model import Config

Beginning = Literal["cold", "warm", "factory-reset"]
Source = Literal["log", "capture"]
CauseNames = Annotated[tuple[str, ...], Field(min_length=1)]


class FailurePart(Config):
    """Phones that begin in the same way and come to the same end."""

    phones: Annotated[int, Field(ge=1, le=100)] = 2
    boot: Beginning = "cold"
    """cold: with an empty disk, as from the factory. warm: with what an earlier boot left on it,
    which signed in at the same site without faults and without `set` values of the site.
    factory-reset: like warm, but with * and # held."""
    outcome: str = SIGNED_IN
    """`signed-in`, or the reason of the failure."""


class FindingsBySource(Config):
    """What each input shows, where a log cannot show what a capture does, or the reverse."""

    log: CauseNames
    capture: CauseNames


class FailureProfile(Config):
    """A failure. The phones begin one after another, in the order of `parts`."""

    name: str
    description: str
    """What is wrong."""
    symptom: str
    """What the user sees."""
    display: str | None = None
    """Text that must have stood on a phone's display; None where the display shows nothing."""
    site: str = "contoso"
    """Name of a site profile, or a path."""
    device: str = "polycom-cx600"
    """Name of a device profile, or a path."""
    set: dict[str, JsonValue] = {}
    """Values of profiles that are otherwise here, by dotted key: `fleet.until`, `device.tls.
    maximum_version`, `site.users.0.registrar`."""
    faults: tuple[str, ...] = ()
    fault_rules: tuple[FaultRule, ...] = ()
    """Faults that have no profile of their own."""
    parts: Annotated[tuple[FailurePart, ...], Field(min_length=1)]
    findings: CauseNames | FindingsBySource
    """Names of the causes that must be found, the surest first."""

    @field_validator("parts")
    @classmethod
    def _begin_with_those_that_lived(
        cls, parts: tuple[FailurePart, ...]
    ) -> tuple[FailurePart, ...]:
        is_new = [part.boot == "cold" for part in parts]
        if is_new != sorted(is_new):
            raise ValueError("phones that were there before come first: put the cold ones last")
        return parts

    @property
    def phones(self) -> int:
        """How many phones there are."""
        return sum(part.phones for part in self.parts)

    def findings_from(self, source: Source) -> tuple[str, ...]:
        """The causes that an input must show, the first one first."""
        if isinstance(self.findings, FindingsBySource):
            return self.findings.log if source == "log" else self.findings.capture
        return self.findings
