"""`phonesim reproduce`: a field failure made to happen, its story, and what is found of it."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Annotated, Any, get_args

import typer
from rich.table import Table

from phonesim.cli import relived_case
from phonesim.cli.consent import ask_consent
from phonesim.cli.diagnose_verb import to_lines
from phonesim.cli.run_options import DEFAULT_OUT, SeedOption, SetOption, YesOption
from phonesim.cli.run_verb import progress_text
from phonesim.cli.terminal import StatusLine, show, show_json, show_text
from phonesim.cli.wrapping import wrapped
from phonesim.config.failure import FailureProfile
from phonesim.config.fleet_profile import Attach
from phonesim.errors import UsageError
from phonesim.field.failures import FAILURE
from phonesim.field.learning.rerun import relive_capture, relive_log
from phonesim.field.reproduce import SOURCES, PhoneStory, Reproduced, load_failure, reproduce
from phonesim.field.timeline import Step, to_json
from phonesim.fleet.runner import (
    EXPECTATIONS_MET,
    EXPECTATIONS_UNMET,
    NOT_VALID,
    StopRequest,
)
from phonesim.profiles import load, names, option_override, parse_override

_ALL = "reproduce-all"
_TIME, _WHO = 9, 18
_NAME = 34
_WORLDS: tuple[Attach, ...] = tuple(each for each in get_args(Attach) if each != "relay")


def command(
    failure: Annotated[
        str | None,
        typer.Argument(metavar="[FAILURE]", help="A failure profile: its name, or a path."),
    ] = None,
    every: Annotated[
        bool, typer.Option("--all", help="Reproduce every failure, and print a table.")
    ] = False,
    capture: Annotated[
        Path | None,
        typer.Option("--capture", metavar="FILE", help="Learn the site from a field capture."),
    ] = None,
    log: Annotated[
        Path | None,
        typer.Option("--log", metavar="FILE", help="Learn the site from a phone's cpsw3g.log."),
    ] = None,
    attach: Annotated[
        str,
        typer.Option("--attach", metavar="virtual|loopback|wire", help="Which world to run in."),
    ] = "virtual",
    interface: Annotated[
        str | None, typer.Option("--interface", "-i", metavar="IF", help="Interface for wire.")
    ] = None,
    site: Annotated[
        str | None,
        typer.Option("--site", metavar="NAME|PATH", help="Another mock site than the failure's."),
    ] = None,
    seed: SeedOption = None,
    set_: SetOption = None,
    out: Annotated[
        Path, typer.Option("--out", metavar="DIR", help="Where the runs' folders are made.")
    ] = DEFAULT_OUT,
    yes: YesOption = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON document.")] = False,
) -> int:
    """Make a field failure happen, and tell how it came about.

    It and its diagnosis have to come out as declared.

    Without a name, list the failures. With --capture or --log, learn the site where it was taken,
    boot its phones there, and say whether the same came out.
    """
    if capture is not None or log is not None:
        others = [failure, interface, site, seed, set_, every or None]
        if attach != "virtual" or any(each is not None for each in others):
            raise UsageError(
                "--capture and --log take no name and no other option but --out and --json: edit"
                " the profiles that are written, and use phonesim run"
            )
        return _relive(capture, log, out, as_json=as_json)
    world = next((each for each in _WORLDS if each == attach), None)
    if world is None:
        raise UsageError(f"--attach {attach}: it is {', '.join(_WORLDS)}")
    if failure is None and not every:
        _show_failures(as_json=as_json)
        return EXPECTATIONS_MET
    if failure is not None and every:
        raise UsageError(f"--all takes no name: leave {failure!r} out, or --all")
    options = {"interface": interface, "site": site, "seed": seed}
    overrides = [
        *map(parse_override, set_ or ()),
        *(
            option_override(f"--{key}", "fleet", key, value)
            for key, value in options.items()
            if value is not None
        ),
    ]
    with StatusLine() as line:

        def run(name: str, base: Path) -> Reproduced:
            return reproduce(
                load_failure(name),
                base,
                world,
                overrides,
                agree=partial(ask_consent, again="", is_agreed=yes),
                on_progress=lambda progress: line.update(f"{name}  {progress_text(progress)}"),
            )

        if failure is None:
            return _every(run, out, attach, as_json=as_json)
        came = run(failure, out)
    if as_json:
        show_json(to_document(came))
    else:
        show_text("\n".join(to_story(came)))
    return status_of(came)


def _relive(capture: Path | None, log: Path | None, out: Path, *, as_json: bool) -> int:
    if capture is not None and log is not None:
        raise UsageError("--capture and --log: give one of them")
    source = capture or log
    assert source is not None
    stem = re.sub(r"[^A-Za-z0-9._-]+", "-", source.stem)
    folder = out / f"{time.strftime('%Y%m%d-%H%M%S', time.gmtime())}-learned-{stem}"
    case = relive_capture(source, folder) if capture else relive_log(source, folder)
    if as_json:
        show_json(relived_case.to_document(case))
    else:
        show_text("\n".join(relived_case.to_case(case)))
    if not case.is_valid:
        return NOT_VALID
    return EXPECTATIONS_MET if case.is_same else EXPECTATIONS_UNMET


def _every(run: Callable[[str, Path], Reproduced], out: Path, attach: str, *, as_json: bool) -> int:
    """Reproduce one after the other; what is done until somebody interrupts it is told."""
    base = out / f"{time.strftime('%Y%m%d-%H%M%S', time.gmtime())}-{_ALL}"
    rows: list[tuple[Reproduced, float]] = []
    every = names(FAILURE)
    cut_short = ""
    stop = StopRequest()  # a run takes the signals itself; these come between two runs
    with stop.signals():
        for name in every:
            if stop.asked:
                cut_short = stop.reason
                break
            began = time.monotonic()
            came = run(name, base)
            if not came.is_valid:
                cut_short = f"{name}: {'; '.join(came.notes)}"
                break
            rows.append((came, time.monotonic() - began))
    different = [came for came, _ in rows if came.differences]
    if as_json:
        show_json(
            {
                "attach": attach,
                "planned": len(every),
                "cut_short": cut_short or None,
                "as_declared": len(rows) - len(different),
                "failures": [to_document(came) | {"wall_s": seconds} for came, seconds in rows],
            }
        )
    else:
        if rows:
            show(_table(rows), "")
        show_text("\n".join(_below(rows, different, base, len(every), cut_short)))
    if cut_short:
        return NOT_VALID
    return EXPECTATIONS_UNMET if different else EXPECTATIONS_MET


def status_of(came: Reproduced) -> int:
    """Return the exit status of one failure."""
    if not came.is_valid:
        return NOT_VALID
    return EXPECTATIONS_UNMET if came.differences else EXPECTATIONS_MET


# --- people ---


def to_story(came: Reproduced) -> Iterator[str]:
    """What came of a failure, as people read it, in lines of 80 columns."""
    failure = came.failure
    yield f"{failure.name} ({came.attach}, {came.seconds:.1f} s)"
    yield from wrapped(f"What is wrong: {failure.description}")
    yield from wrapped(f"What the user sees: {failure.symptom}")
    for story in came.stories:
        yield ""
        yield from _told(story)
    if "log" in came.diagnoses:
        yield ""
        yield "What phonesim diagnose finds in the logs:"
        yield from to_lines(came.diagnoses["log"])
    yield ""
    for source, diagnosis in came.diagnoses.items():
        found = ", ".join(each.cause.name for each in diagnosis.found) or "nothing"
        yield from wrapped(f"Found in the {source}: {found}")
    yield from _verdict(came)
    for note in came.notes:
        yield from wrapped(f"Note: {note}")
    yield f"Logs: {came.folder}"
    if came.earlier is not None:
        yield f"Logs of the earlier life: {came.earlier}"
    if came.is_valid:
        yield f"Capture: {came.capture}"


def _told(story: PhoneStory) -> Iterator[str]:
    more = "" if story.phones == 1 else f", one of {story.phones} alike"
    yield from wrapped(f"{story.phone_id}, {story.boot}{more}: {story.outcome}")
    for step in story.steps:
        yield from _step(step)


def _step(step: Step) -> list[str]:
    first = f"{step.at:{_TIME}.3f}  {step.who:<{_WHO}}  "
    if len(step.who) > _WHO:
        return [first.rstrip(), *_folded(step.told, " " * (_TIME + _WHO + 4))]
    return _folded(step.told, first)


def _folded(text: str, first: str) -> list[str]:
    return wrapped(text, first, " " * (_TIME + _WHO + 4), breaks=True)


def _verdict(came: Reproduced) -> Iterator[str]:
    if not came.is_valid:
        yield "NOT VALID: this run says nothing."
    elif not came.differences:
        yield "The failure and its diagnosis appeared as declared."
    for difference in came.differences:
        yield from wrapped(f"NOT AS DECLARED: {difference}")


def _show_failures(*, as_json: bool) -> None:
    failures = [load(FAILURE, name) for name in names(FAILURE)]
    if as_json:
        show_json(
            [
                {
                    "name": failure.name,
                    "description": failure.description,
                    "symptom": failure.symptom,
                    "display": failure.display,
                }
                for failure in failures
            ]
        )
        return
    show_text("\n".join(_by_display(failures)))
    show("", f"{len(failures)} failures; reproduce one: phonesim reproduce FAILURE")


def _by_display(failures: Sequence[FailureProfile]) -> Iterator[str]:
    """The failures by what the phone shows, in lines of 80 columns."""
    shown = {failure.display or "" for failure in failures}
    for display in sorted(shown, key=lambda text: (not text, text.lower())):
        yield from wrapped(
            f'The phone shows "{display}":' if display else "No message of its own on the display:"
        )
        for failure in failures:
            if (failure.display or "") == display:
                yield from _listed(failure)
        yield ""


def _listed(failure: FailureProfile) -> list[str]:
    first = f"  {failure.name:<{_NAME}}  "
    return wrapped(failure.symptom, first, " " * (_NAME + 4), breaks=True)


def _table(rows: list[tuple[Reproduced, float]]) -> Table:
    table = _columns("failure", "outcome", "log", "capture", "seconds")
    for came, seconds in rows:
        table.add_row(
            came.failure.name,
            _as_declared(bool(came.unexpected)),
            *(_as_declared(source in came.undiagnosed) for source in SOURCES),
            f"{seconds:.1f}",
        )
    return table


def _as_declared(is_different: bool) -> str:
    return "DIFFERS" if is_different else "ok"


def _columns(*headings: str) -> Table:
    table = Table(box=None, pad_edge=False, padding=(0, 3, 0, 0), header_style="bold")
    for heading in headings:
        table.add_column(heading, justify="right" if heading == "seconds" else "left")
    return table


def _below(
    rows: list[tuple[Reproduced, float]],
    different: list[Reproduced],
    base: Path,
    planned: int,
    cut_short: str,
) -> Iterator[str]:
    for came in different:
        for difference in came.differences:
            yield from wrapped(f"{came.failure.name}: {difference}")
    seconds = sum(each for _, each in rows)
    if rows or not cut_short:
        well = len(rows) - len(different)
        yield f"{well} of {len(rows)} failures as declared, in {seconds:.1f} s"
    if cut_short:
        yield f"NOT VALID: only {len(rows)} of {planned} were done, then {cut_short}"
    if base.exists():
        yield f"Logs: {base}"


# --- programs ---


def to_document(came: Reproduced) -> dict[str, Any]:
    """What came of a failure, as `--json` prints it."""
    failure = came.failure
    return {
        "failure": failure.name,
        "description": failure.description,
        "symptom": failure.symptom,
        "attach": came.attach,
        "valid": came.is_valid,
        "as_declared": came.is_valid and not came.differences,
        "differences": list(came.differences),
        "outcomes": came.outcomes,
        "findings": {
            source: [each.cause.name for each in diagnosis.found]
            for source, diagnosis in came.diagnoses.items()
        },
        "stories": [
            {
                "phone": story.phone_id,
                "boot": story.boot,
                "outcome": story.outcome,
                "phones": story.phones,
                "log": str(story.log),
                "steps": to_json(story.steps),
            }
            for story in came.stories
        ],
        "run": str(came.folder),
        "earlier_run": None if came.earlier is None else str(came.earlier),
        "capture": str(came.capture),
        "seconds": came.seconds,
        "notes": list(came.notes),
    }
