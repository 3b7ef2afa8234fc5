"""One run, in whichever world: its folder, its logs, its end and what it came to.

    plan -> run folder -> world -> recorder -> summary.json, run.db -> exit status

A world is a function (`phonesim.fleet.worlds`): it boots the plan's phones, tells the recorder
what came of it, calls `tick` now and then, and returns when the run is over. Ctrl-C or
SIGTERM asks it to end: phones that are up deregister and release their leases. A second one
drops everything. Either way the results so far are written, marked as not valid. A run whose
servers leave more unanswered than the fleet's limits allow ends in the same way.
"""

from __future__ import annotations

import contextlib
import datetime
import re
import shutil
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import FrameType
from typing import Any, Literal, Protocol

import msgspec

from phonesim.config.fleet_profile import NO_SITE
from phonesim.device.outcome import FailureReason
from phonesim.drivers.run_folder import RunFolder
from phonesim.errors import UsageError
from phonesim.fleet.monkey import schedule
from phonesim.fleet.operator_log import operator_log
from phonesim.fleet.plan import Plan
from phonesim.fleet.run_logs import find_run
from phonesim.fleet.store import save_run
from phonesim.fleet.tester_health import Costs, collecting_rarely, peak_rss_mb
from phonesim.results import (
    AnswerWatch,
    OperatorLog,
    Recorder,
    RunFacts,
    failures,
    positions,
    summarize,
)

EXPECTATIONS_MET = 0
EXPECTATIONS_UNMET = 3
NOT_VALID = 4

_LOGGED = ("signed_in", "completed", "failed", "failures", "registrations_lost", "valid", "notes")

PROGRESS_INTERVAL = 0.2
"""Seconds between two calls of `on_progress`, and more for a fleet that takes long to count."""

_SHARE_OF_PROGRESS = 0.01

Tick = Callable[[float], None]
"""Called by a world as often as it likes, with the seconds since the run began."""


class Progress(msgspec.Struct, frozen=True, kw_only=True):
    """How far a run is: seconds since it began, and how many phones are where."""

    now: float
    phones: int
    positions: dict[str, int]


class WorldReport(msgspec.Struct, frozen=True, kw_only=True):
    """What a world says at the end: its own seconds, and why its result may not count."""

    seconds: float
    notes: tuple[str, ...] = ()
    is_valid: bool = True


class Finished(msgspec.Struct, frozen=True, kw_only=True):
    """A run that is over: its folder, its summary, its records, and the exit status.

    `stages` are those its phones were to do, None for whole boots; `device_logs` says whose
    logs were kept.
    """

    folder: Path
    stages: tuple[str, ...] | None
    device_logs: Literal["all", "failed"]
    summary: dict[str, Any]
    recorder: Recorder
    world_s: float
    status: int


class StopRequest:
    """Whether someone wants the run to end: asked once, cleanly; asked twice, at once.

    `reason` is that of the first who asked.
    """

    def __init__(self) -> None:
        self.asked = 0
        self.reason = ""
        self._listener: Callable[[], None] | None = None

    def ask(self, reason: str = "interrupted") -> None:
        """Ask, and wake the listener."""
        self.asked += 1
        self.reason = self.reason or reason
        if self._listener is not None:
            self._listener()

    def on_ask(self, listener: Callable[[], None] | None) -> None:
        """Call `listener` whenever someone asks, and at once if someone has."""
        self._listener = listener
        if listener is not None and self.asked:
            listener()

    @contextlib.contextmanager
    def signals(self) -> Iterator[None]:
        """Take SIGINT, SIGTERM and SIGHUP for a request while entered; the third one kills."""

        def asked(number: int, frame: FrameType | None) -> None:
            self.ask()
            if self.asked >= 2:
                for each in old:
                    signal.signal(each, signal.SIG_DFL)

        taken = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
        old = {number: signal.signal(number, asked) for number in taken}
        try:
            yield
        finally:
            for number, handler in old.items():
                signal.signal(number, handler)


class World(Protocol):
    """Boots the phones of a plan and returns when the run is over."""

    def __call__(
        self, plan: Plan, folder: RunFolder, observer: Recorder, stop: StopRequest, tick: Tick
    ) -> WorldReport:
        """Run; `UsageError` if this machine does not permit it."""
        ...


def run_fleet(
    plan: Plan, world: World, base: Path, on_progress: Callable[[Progress], None]
) -> Finished:
    """Run a plan in a world, and leave its results in a new folder under `base`."""
    stop = StopRequest()
    failures_only = plan.fleet.device_logs == "failed"
    earlier = _earlier(plan, base)
    folder = RunFolder.create(
        base, _run_name(plan.fleet.name), failures_only=failures_only, earlier=earlier
    )
    has_wall_clock = plan.fleet.attach != "virtual"
    with collecting_rarely(), operator_log(folder.path, has_wall_clock=has_wall_clock) as log:
        recorder = Recorder(plan.specs, log, _answer_watch(plan), plan.limits.repeat_every)
        log(0, False, "run started", {"fleet": plan.fleet.name, "phones": len(plan.specs)})

        show_at = 0.0

        def tick(now: float) -> None:
            nonlocal show_at
            unanswered = _unanswered(recorder)
            if unanswered is not None and not stop.asked:
                stop.ask(unanswered)
            began_at = time.monotonic()
            if began_at < show_at:
                return
            on_progress(Progress(now=now, phones=len(plan.specs), positions=positions(recorder)))
            took = time.monotonic() - began_at
            show_at = began_at + max(PROGRESS_INTERVAL, took / _SHARE_OF_PROGRESS)

        costs = Costs()
        try:
            with stop.signals():
                report = world(plan, folder, recorder, stop, tick)
        except UsageError:
            if not has_begun(recorder):
                shutil.rmtree(folder.path, ignore_errors=True)
            raise
        except Exception as error:
            log(costs.wall_s, True, "run broken", {"error": repr(error)})
            raise
        return _finish(plan, folder.path, recorder, report, stop, costs, log)


def _earlier(plan: Plan, base: Path) -> Path | None:
    """Return the folder of the run that the phones are from."""
    name = plan.fleet.phones_from
    if name is None:
        return None
    run = find_run(base, name)
    if not any((run.path / spec.phone_id).is_dir() for spec in plan.specs):
        raise UsageError(
            f"{run.path}: it has none of this fleet's phones, such as {plan.specs[0].phone_id}:"
            " run the same fleet, or set fleet.first_phone (device_logs: failed keeps no others)"
        )
    return run.path


def has_begun(recorder: Recorder) -> bool:
    """Say whether any phone has been given power."""
    return any(phone.boots for phone in recorder.phones.values())


def exit_status(plan: Plan, summary: dict[str, Any]) -> int:
    """Return the exit status that a summary earns."""
    if not summary["valid"]:
        return NOT_VALID
    # A hair less, because 0.07 * 100 is a hair more than 7.
    expected = plan.fleet.expect.signed_in * summary["phones"] - 1e-6
    ended_well = summary["signed_in"] + summary["completed"]
    return EXPECTATIONS_MET if ended_well >= expected else EXPECTATIONS_UNMET


def _answer_watch(plan: Plan) -> AnswerWatch | None:
    limits = plan.fleet.limits
    if limits.unanswered_share is None:
        return None
    return AnswerWatch(limits.unanswered_share, limits.unanswered_window)


def _unanswered(recorder: Recorder) -> str | None:
    """Say that too little is answered for the load to go on, or None."""
    answers = recorder.answers
    if answers is None or not answers.is_exceeded:
        return None
    return (
        f"more than {answers.share:.0%} of the last {answers.window} exchanges had no answer in"
        " time (limits.unanswered_share)"
    )


def _finish(
    plan: Plan,
    folder: Path,
    recorder: Recorder,
    report: WorldReport,
    stop: StopRequest,
    costs: Costs,
    log: OperatorLog,
) -> Finished:
    notes = list(report.notes)
    unanswered = _unanswered(recorder)
    if stop.asked:
        has_unsettled = FailureReason.UNSETTLED.value in failures(recorder)
        counted = ": phones that had not settled count as failed" if has_unsettled else ""
        notes.append(stop.reason + counted)
    elif unanswered is not None:
        notes.append(unanswered)
    facts = RunFacts(
        run=folder.name,
        fleet=plan.fleet.name,
        site=plan.site.name if plan.site is not None else NO_SITE,
        faults=[fault.name for fault in plan.faults],
        attach=plan.fleet.attach,
        seed=plan.fleet.seed,
        wall_s=costs.wall_s,
        cpu_s=costs.cpu_s,
        peak_rss_mb=peak_rss_mb(),
        valid=report.is_valid and not stop.asked and unanswered is None,
        notes=notes,
    )
    summary = summarize(recorder, facts)
    if plan.monkey is not None:
        monkey = msgspec.to_builtins(plan.monkey)
        cut_at = round(report.seconds, 3) if stop.asked else None
        faults = schedule(plan, report.seconds)
        summary["monkey"] = {**monkey, "interrupted_at": cut_at, "faults": faults}
    log(
        report.seconds,
        not facts.valid,
        "run ended",
        {key: summary[key] for key in _LOGGED},
    )
    try:
        save_run(folder, recorder, summary, report.seconds)
    except UsageError as error:
        # What came of the run is worth more than its files: it is told, and not valid.
        summary = summary | {"valid": False, "notes": [*summary["notes"], str(error)]}
    return Finished(
        folder=folder,
        stages=plan.fleet.stages,
        device_logs=plan.fleet.device_logs,
        summary=summary,
        recorder=recorder,
        world_s=report.seconds,
        status=exit_status(plan, summary),
    )


def _run_name(fleet: str) -> str:
    """Return when the run began (UTC) and what it runs: names sort by time."""
    began = datetime.datetime.now(datetime.UTC)
    safe = re.sub(r"[^A-Za-z0-9._-]+", "-", fleet).strip("-.") or "fleet"
    return f"{began:%Y%m%d-%H%M%S}-{safe}"
