"""A bootstrap for a person, and as a JSON document: its steps, its trials, where the logs are."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec
from rich.table import Table

from phonesim.cli.diagnose_verb import to_document
from phonesim.cli.run_options import DEFAULT_OUT
from phonesim.cli.run_summary import milliseconds
from phonesim.field.boot_story import BootStep
from phonesim.field.bootstrap import Trial, TrialKind, conclusion
from phonesim.field.bootstrap_result import time_span

MEANING: dict[TrialKind, str] = {
    "named": "the servers are named, discovery is left out",
    "cold": "nothing kept, the network is asked",
    "cached": "with the certificate and the cache of a phone that signed in",
    "stale": "with a cache that names servers that are gone",
}
"""What each kind of phone begins with."""

_SHORT = 7
_INDENT = 31


def step_lines(step: BootStep) -> list[str]:
    """Return the lines of a stage that is over."""
    took = "-" if step.result == "skipped" else milliseconds(step.seconds * 1000)
    head = f"{step.stage:<11} {took:>8}  {step.result:<7}"
    found = list(step.found)
    if found and len(step.result) <= _SHORT:
        head = f"{head}  {found.pop(0)}"
    return [head.rstrip(), *(f"{'':<{_INDENT}}{each}" for each in found)]


def trials_table(trials: Sequence[Trial]) -> Table:
    """Return a row for each kind of phone."""
    table = Table(box=None, pad_edge=False, padding=(0, 3, 0, 0), header_style="bold")
    for heading in ("phones", "would work"):
        table.add_column(heading)
    table.add_column("latency", justify="right")
    table.add_column("what happened", overflow="fold")
    for trial in trials:
        if trial.left_out:
            table.add_row(trial.kind, "not tried", "-", trial.left_out)
            continue
        result = trial.results[trial.shown]
        works = "yes" if trial.works else "no"
        if trial.phones > 1:
            works += f" ({trial.signed_in} of {trial.phones})"
        told = _found(trial) if result.is_success else result.error.removeprefix("ERROR - ")
        table.add_row(trial.kind, works, milliseconds(result.seconds * 1000), told)
    return table


def held_back(trial: Trial) -> list[str]:
    """Say how many phones did not try, and why."""
    if not trial.held_back or trial.is_interrupted:
        return []
    more = "1 more phone" if trial.held_back == 1 else f"{trial.held_back} more phones"
    return [
        f"{trial.kind}: {more} did not try, for the first one got no ticket, and each PIN that is"
        " refused counts towards locking the user"
    ]


def where_next(trials: Sequence[Trial]) -> list[str]:
    """Say where each trial's log is."""
    return [
        f"{trial.kind}: phonesim logs cat {trial.shown} --run {trial.folder.name}"
        + ("" if trial.folder.parent == DEFAULT_OUT else f" --out {trial.folder.parent}")
        for trial in trials
        if trial.folder is not None
    ]


def outcome(trial: Trial) -> tuple[object, ...]:
    """What of a trial is a change when it differs."""
    if trial.left_out:
        return trial.kind, trial.left_out
    result = trial.results[trial.shown]
    found = result.target_uri, result.target_fqdn, result.source
    return trial.kind, trial.signed_in, result.error, *(found if result.is_success else ())


def changed_lines(trial: Trial) -> list[str]:
    """Return what is told of a trial that came to something else than the last time."""
    if trial.left_out:
        return [f"{trial.kind}: not tried: {trial.left_out}"]
    result = trial.results[trial.shown]
    if result.is_success:
        return [f"{trial.kind}: Success in {time_span(result.seconds)}: {_found(trial)}"]
    cause = diagnosis(trial)
    return [
        f"{trial.kind}: Failure after {time_span(result.seconds)}: {result.error}"
        + (f" ({cause})" if cause else ""),
        f"{trial.kind}: the phone's log is in {trial.folder}",
    ]


def bootstrap_document(trials: Sequence[Trial]) -> dict[str, Any]:
    """Return the whole of it for `--json`."""
    first = trials[0]
    result = first.results[first.shown]
    return {
        "target_uri": result.target_uri or None,
        "target_fqdn": result.target_fqdn or None,
        "result": "Success" if result.is_success else "Failure",
        "latency": time_span(result.seconds),
        "error": result.error,
        "diagnosis": diagnosis(first),
        "trials": [_trial_document(trial) for trial in trials],
        "conclusion": conclusion(trials),
    }


def diagnosis(trial: Trial) -> str:
    """Return the first finding in the logs of a trial; "" for none."""
    if trial.diagnosis is None or not trial.diagnosis.found:
        return ""
    first = trial.diagnosis.found[0]
    detail = f": {first.example.detail}" if first.example.detail else ""
    return f"{first.cause.title}{detail} ({first.cause.name})"


def _found(trial: Trial) -> str:
    """Where a phone that signed in is, and who told it."""
    result, story = trial.results[trial.shown], trial.stories[trial.shown]
    where = f"at {result.target_fqdn}"
    if trial.kind == "named":
        return f"{where}, as named"
    if result.source == "cache":
        return f"{where}, found in the cache"
    after = " after the cache was no good" if story.cache_fault is not None else ""
    return f"{where}, found by {result.source}{after}"


def _trial_document(trial: Trial) -> dict[str, Any]:
    if trial.left_out:
        return {"phones": trial.kind, "left_out": trial.left_out}
    result = trial.results[trial.shown]
    return {
        "phones": trial.kind,
        "count": trial.phones,
        "held_back": trial.held_back,
        "signed_in": trial.signed_in,
        "would_work": trial.works,
        "user": result.user or None,
        "found_by": result.source or None,
        "latency_s": result.seconds,
        "error": result.error,
        "findings": [] if trial.diagnosis is None else to_document(trial.diagnosis)["findings"],
        "steps": [msgspec.to_builtins(step) for step in trial.stories[trial.shown].steps],
        "run": str(trial.folder),
        "notes": trial.notes,
    }
