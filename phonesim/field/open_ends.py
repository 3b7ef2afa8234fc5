"""Boots whose end nobody has seen: a log that was cut, a capture that was stopped too early.

Nothing is known to be wrong with them, and nothing to be right.
"""

from __future__ import annotations

import msgspec

from phonesim.device.outcome import Stage
from phonesim.field.boots import Boot
from phonesim.field.finding import Evidence, evidence_of
from phonesim.field.sightings import Sighting

_STAGES = tuple(Stage)
_GOES_ON = ("ok", "skipped")
_ASKS = frozenset({"DISCOVER", "INFORM"})
_OF_THE_END = frozenset({"capture_ended", "shutdown"})


class OpenEnd(msgspec.Struct, frozen=True, kw_only=True):
    """A phone that is not signed in where its input ends, and the last that was seen of it.

    `stage` is the one it was in, "" where that is not said.
    """

    phone_id: str
    stage: str
    last: Evidence


def open_end_of(boot: Boot) -> OpenEnd | None:
    """How a boot breaks off; None for one that came to an end, good or bad.

    A phone in a capture that only renews its lease is none that signs in.
    """
    if boot.ends_well or boot.has("boot_failed"):
        return None
    seen = [each for each in boot.sightings if each.name not in _OF_THE_END]
    if not seen or (seen[-1].place.is_frame and not _signs_in(seen)):
        return None
    return OpenEnd(phone_id=boot.phone_id, stage=_stage_of(boot), last=evidence_of(seen[-1]))


def _signs_in(seen: list[Sighting]) -> bool:
    other = {"boot_begun", "dhcp_received", "dhcp_ignored", "dhcp_lease"}
    return any(
        each["type"] in _ASKS if each.name == "dhcp_sent" else each.name not in other
        for each in seen
    )


def _stage_of(boot: Boot) -> str:
    ended = boot.last("stage_ended")
    if ended is None:
        return ""
    stage = str(ended["stage"])
    if ended["result"] not in _GOES_ON:
        return stage
    following = _STAGES[_STAGES.index(Stage(stage)) + 1 :] if stage in _STAGES else ()
    return following[0] if following else ""
