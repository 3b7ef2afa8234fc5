"""A failure made to happen: its run, what came of each phone, and what the findings are.

    profile -> (earlier life) -> run -> device logs, capture -> diagnosis of each -> as declared?

The phones and the servers behave as always; nothing here says how it ends. What ended otherwise
than the profile says is told in words, and so is what was not found.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path

import msgspec

from phonesim.config.failure import FailurePart, FailureProfile, Source
from phonesim.config.fleet_profile import Attach
from phonesim.device.device_log import Dialect, LogLine
from phonesim.drivers.run_folder import RunFolder
from phonesim.errors import DecodeError, ProfileError
from phonesim.field.diagnosis import Diagnosis, diagnose
from phonesim.field.evidence_files import CAPTURE_NAME
from phonesim.field.failures import FAILURE, plan_earlier_life, plan_failure
from phonesim.field.log_reader import dialects_of
from phonesim.field.timeline import Step, displays, tell
from phonesim.fleet.plan import Plan
from phonesim.fleet.run_logs import PhoneLog, find_run, list_phones
from phonesim.fleet.runner import (
    Finished,
    Progress,
    StopRequest,
    Tick,
    World,
    WorldReport,
    run_fleet,
)
from phonesim.fleet.worlds import world_for
from phonesim.profiles import Override, load, problems
from phonesim.results import PhoneRecord, Recorder

SOURCES: tuple[Source, ...] = ("log", "capture")


class PhoneStory(msgspec.Struct, frozen=True, kw_only=True):
    """One phone of the `phones` that began in the same way and came to the same end."""

    phone_id: str
    boot: str
    outcome: str
    phones: int
    log: Path
    steps: list[Step]


class Reproduced(msgspec.Struct, frozen=True, kw_only=True):
    """What came of a failure: phones by outcome, a story of each kind, a diagnosis of each source.

    `earlier` is the folder of the run before, if there was one. What is not as declared is in
    `unexpected`, in words, and in `undiagnosed` by source. A run that was interrupted is not
    valid: it says nothing.
    """

    failure: FailureProfile
    attach: Attach
    folder: Path
    earlier: Path | None
    seconds: float
    outcomes: dict[str, int]
    stories: tuple[PhoneStory, ...]
    diagnoses: dict[Source, Diagnosis]
    unexpected: tuple[str, ...]
    undiagnosed: dict[Source, str]
    is_valid: bool
    notes: tuple[str, ...]

    @property
    def differences(self) -> tuple[str, ...]:
        """All that is not as declared, in words."""
        return (*self.unexpected, *self.undiagnosed.values())

    @property
    def capture(self) -> Path:
        """The capture of the run."""
        return self.folder / CAPTURE_NAME


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
    attach: Attach = "virtual",
    overrides: Sequence[Override] = (),
    *,
    agree: Callable[[Plan], None] = lambda plan: None,
    on_progress: Callable[[Progress], None] = lambda progress: None,
) -> Reproduced:
    """Run the failure, in new folders under `base`; `agree` may refuse what is planned."""
    earlier = None
    before = plan_earlier_life(failure, attach, overrides)
    if before is not None:
        agree(before)
        lived = run_fleet(before, world_for(attach), base, on_progress)
        earlier = lived.folder
        if not lived.summary["valid"]:
            return _cut_short(failure, attach, lived, earlier)
    plan = plan_failure(failure, attach, overrides, None if earlier is None else str(earlier))
    agree(plan)
    finished = run_fleet(plan, _captured(attach), base, on_progress)
    if not finished.summary["valid"]:
        return _cut_short(failure, attach, finished, earlier)
    logs = {phone.phone_id: phone for phone in list_phones(find_run(base, str(finished.folder)))}
    phones = [
        _Phone(
            part=part,
            record=finished.recorder.phones[spec.phone_id],
            log=logs[spec.phone_id],
            lines=_lines(logs[spec.phone_id], Dialect(spec.profile.log.records)),
        )
        for part, spec in zip(
            (part for part in failure.parts for _ in range(part.phones)), plan.specs, strict=True
        )
    ]
    dialects = dialects_of(spec.profile for spec in plan.specs)
    diagnoses = {source: _diagnosis(source, finished.folder, dialects) for source in SOURCES}
    outcomes = [phone.outcome for phone in phones]
    return Reproduced(
        failure=failure,
        attach=attach,
        folder=finished.folder,
        earlier=earlier,
        seconds=finished.world_s,
        outcomes={outcome: outcomes.count(outcome) for outcome in dict.fromkeys(outcomes)},
        stories=tuple(_stories(phones)),
        diagnoses=diagnoses,
        unexpected=tuple(_unexpected(failure, phones)),
        undiagnosed={
            source: different
            for source, diagnosis in diagnoses.items()
            if (different := _undiagnosed(failure, source, diagnosis))
        },
        is_valid=True,
        notes=tuple(finished.summary["notes"]),
    )


class _Phone(msgspec.Struct, frozen=True, kw_only=True):
    """What there is of one phone after the run."""

    part: FailurePart
    record: PhoneRecord
    log: PhoneLog
    lines: list[LogLine]

    @property
    def outcome(self) -> str:
        return self.record.outcome.removeprefix("failed:")


def _cut_short(
    failure: FailureProfile, attach: Attach, finished: Finished, earlier: Path | None
) -> Reproduced:
    return Reproduced(
        failure=failure,
        attach=attach,
        folder=finished.folder,
        earlier=earlier,
        seconds=finished.world_s,
        outcomes={},
        stories=(),
        diagnoses={},
        unexpected=(),
        undiagnosed={},
        is_valid=False,
        notes=tuple(finished.summary["notes"]),
    )


def _captured(attach: Attach) -> World:
    """The world of that name, which writes a capture into the run's folder."""

    def run(
        plan: Plan, folder: RunFolder, observer: Recorder, stop: StopRequest, tick: Tick
    ) -> WorldReport:
        world = world_for(attach, folder.path / CAPTURE_NAME)
        return world(plan, folder, observer, stop, tick)

    return run


def _lines(log: PhoneLog, dialect: Dialect) -> list[LogLine]:
    """The phone's log from the last time that it got power: before is its earlier life."""
    lines: list[LogLine] = []
    for file in log.files:
        for text in file.read_text("ascii", "replace").splitlines():
            try:
                line = dialect.parse(text)
            except DecodeError:
                continue
            if line.record.name == "power_applied":
                lines.clear()
            lines.append(line)
    return lines


def _diagnosis(source: Source, folder: Path, dialects: Sequence[Dialect]) -> Diagnosis:
    return diagnose([folder if source == "log" else folder / CAPTURE_NAME], dialects)


def _unexpected(failure: FailureProfile, phones: Sequence[_Phone]) -> Iterator[str]:
    for part in failure.parts:
        others = [phone for phone in phones if phone.part is part and phone.outcome != part.outcome]
        if others:
            yield (
                f"{len(others)} of {part.phones} {part.boot} phones came to {others[0].outcome}"
                f" instead of {part.outcome}, such as {others[0].record.phone_id}"
            )
    shown = {text for phone in phones for text in displays(phone.lines)}
    if failure.display is not None and not any(failure.display in text for text in shown):
        yield f"no display showed {failure.display!r}"


def _undiagnosed(failure: FailureProfile, source: Source, diagnosis: Diagnosis) -> str:
    """Say what the diagnosis should have found; "" if it did."""
    wanted = failure.findings_from(source)
    found = [each.cause.name for each in diagnosis.found]
    if found[:1] == [wanted[0]] and set(wanted) <= set(found):
        return ""
    return f"the {source} shows {', '.join(found) or 'no cause'} instead of {', '.join(wanted)}"


def _stories(phones: Iterable[_Phone]) -> Iterator[PhoneStory]:
    alike: dict[tuple[str, str], list[_Phone]] = {}
    for phone in phones:
        alike.setdefault((phone.part.boot, phone.outcome), []).append(phone)
    for (boot, outcome), those in alike.items():
        yield PhoneStory(
            phone_id=those[0].record.phone_id,
            boot=boot,
            outcome=outcome,
            phones=len(those),
            log=those[0].log.path,
            steps=tell(those[0].lines),
        )
