"""A failure made to happen: its run, what came of each phone, and what the findings are.

    profile -> (earlier life) -> run -> device logs, capture -> diagnosis of each -> as declared?

The phones and the servers behave as always; nothing here says how it ends. What ended otherwise
than the profile says is told in words, and so is what was not found.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

import msgspec

from phonesim.config.failure import FailurePart, FailureProfile, Source
from phonesim.config.fleet_profile import Attach
from phonesim.device.device_log import Dialect, LogLine
from phonesim.drivers.run_folder import RunFolder
from phonesim.errors import DecodeError, ProfileError
from phonesim.field.failures import FAILURE, plan_earlier_life, plan_failure
from phonesim.field.story import Step, displays, tell
from phonesim.fleet.plan import Plan
from phonesim.fleet.run_logs import PhoneLog, find_run, list_phones
from phonesim.fleet.runner import (
    Progress,
    StopRequest,
    Tick,
    WorldReport,
    run_fleet,
)
from phonesim.fleet.worlds import world_for
from phonesim.profiles import Override, load, problems
from phonesim.results import PhoneRecord, Recorder

CAPTURE_NAME = "capture.pcapng"
SOURCES: tuple[Source, ...] = ("log", "capture")


class PhoneStory(msgspec.Struct, frozen=True, kw_only=True):
    """One phone of those that came to the same end; `phones` are how many these are."""

    phone_id: str
    boot: str
    outcome: str
    phones: int
    log: Path
    steps: list[Step]


class Reproduced(msgspec.Struct, frozen=True, kw_only=True):
    """What came of a failure. `differences` is empty if it came out as declared.

    `earlier` is the folder of the run before, if there was one; `found` the causes by source,
    the surest first.
    """

    failure: FailureProfile
    folder: Path
    earlier: Path | None
    attach: Attach
    seconds: float
    outcomes: dict[str, int]
    outcome_differences: tuple[str, ...]
    stories: tuple[PhoneStory, ...]
    is_valid: bool
    notes: tuple[str, ...]

    @property
    def differences(self) -> tuple[str, ...]:
        """All that is not as declared, in words."""
        return self.outcome_differences


def load_failure(name: str) -> FailureProfile:
    """Read a failure and all that it names; `ProfileError` with the first problem."""
    found = problems(FAILURE, name)
    if found:
        more = f" (and {len(found) - 1} more)" if len(found) > 1 else ""
        raise ProfileError(found[0] + more)
    return load(FAILURE, name)


def reproduce(
    failure: FailureProfile,
    base: Path,
    *,
    attach: Attach = "virtual",
    overrides: Sequence[Override] = (),
    on_progress: Callable[[Progress], None] = lambda progress: None,
) -> Reproduced:
    """Run the failure, in new folders under `base`."""
    earlier = None
    before = plan_earlier_life(failure, attach, overrides)
    if before is not None:
        lived = run_fleet(before, world_for(attach), base, on_progress)
        earlier = lived.folder
    plan = plan_failure(failure, attach, overrides, None if earlier is None else str(earlier))
    finished = run_fleet(plan, _captured(attach), base, on_progress)
    logs = {phone.phone_id: phone for phone in list_phones(find_run(base, str(finished.folder)))}
    read = {spec.phone_id: _lines(plan, logs[spec.phone_id], spec.phone_id) for spec in plan.specs}
    records = [finished.recorder.phones[spec.phone_id] for spec in plan.specs]
    parts = [part for part in failure.parts for _ in range(part.phones)]
    return Reproduced(
        failure=failure,
        folder=finished.folder,
        earlier=earlier,
        attach=attach,
        seconds=finished.world_s,
        outcomes=_counted(map(_outcome, records)),
        outcome_differences=tuple(_differences(failure, parts, records, read)),
        stories=tuple(_stories(parts, records, logs, read)),
        is_valid=finished.summary["valid"],
        notes=tuple(finished.summary["notes"]),
    )


def _captured(attach: Attach) -> Any:
    """The world of that name, which writes a capture into the run's folder."""

    def run(
        plan: Plan, folder: RunFolder, observer: Recorder, stop: StopRequest, tick: Tick
    ) -> WorldReport:
        world = world_for(attach, folder.path / CAPTURE_NAME)
        return world(plan, folder, observer, stop, tick)

    return run


def _outcome(record: PhoneRecord) -> str:
    return record.outcome.removeprefix("failed:")


def _counted(outcomes: Iterable[str]) -> dict[str, int]:
    counted: dict[str, int] = {}
    for outcome in outcomes:
        counted[outcome] = counted.get(outcome, 0) + 1
    return counted


def _lines(plan: Plan, log: PhoneLog, phone_id: str) -> list[LogLine]:
    """The phone's log of this run; what an earlier one left there is not part of it."""
    profile = next(spec.profile for spec in plan.specs if spec.phone_id == phone_id)
    dialect = Dialect(profile.log.records)
    lines: list[LogLine] = []
    for file in log.files:
        for text in file.read_text("ascii", "replace").splitlines():
            try:
                lines.append(dialect.parse(text))
            except DecodeError:
                continue
    begins = [number for number, line in enumerate(lines) if line.record.name == "power_applied"]
    return lines[begins[-1] :] if begins else lines


def _differences(
    failure: FailureProfile,
    parts: Sequence[FailurePart],
    records: Sequence[PhoneRecord],
    read: dict[str, list[LogLine]],
) -> Iterable[str]:
    for part in failure.parts:
        came = [record for which, record in zip(parts, records, strict=True) if which is part]
        others = [record for record in came if _outcome(record) != part.outcome]
        if others:
            first = others[0]
            yield (
                f"{len(others)} of {part.phones} {part.boot} phones came to {_outcome(first)}"
                f" instead of {part.outcome}: {first.phone_id}"
            )
    if failure.display is not None:
        shown = {text for lines in read.values() for text in displays(lines)}
        if not any(failure.display in text for text in shown):
            yield f"no display showed {failure.display!r}"


def _stories(
    parts: Sequence[FailurePart],
    records: Sequence[PhoneRecord],
    logs: dict[str, PhoneLog],
    read: dict[str, list[LogLine]],
) -> Iterable[PhoneStory]:
    together: dict[tuple[str, str], list[PhoneRecord]] = {}
    for part, record in zip(parts, records, strict=True):
        together.setdefault((part.boot, _outcome(record)), []).append(record)
    for (boot, outcome), alike in together.items():
        phone_id = alike[0].phone_id
        yield PhoneStory(
            phone_id=phone_id,
            boot=boot,
            outcome=outcome,
            phones=len(alike),
            log=logs[phone_id].path,
            steps=tell(read[phone_id]),
        )
