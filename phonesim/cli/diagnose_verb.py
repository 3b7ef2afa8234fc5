"""`phonesim diagnose`: what is wrong with phones, from what they or the network left behind."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from phonesim.cli.terminal import show_json, show_text
from phonesim.cli.wrapping import WIDTH, wrapped
from phonesim.device.device_log import Dialect
from phonesim.errors import UsageError
from phonesim.field.diagnosis import Diagnosed, Diagnosis, diagnose
from phonesim.field.finding import Evidence
from phonesim.field.log_reader import LogReading
from phonesim.field.open_ends import OpenEnd
from phonesim.profiles import DEVICE, load

FAULTS_FOUND = 3

_MOST_NAMED = 5
_CERTAINTY = {0: "certain", 1: "likely", 2: "possible"}


def command(
    paths: Annotated[
        list[str],
        typer.Argument(
            metavar="PATH...", help="A cpsw3g.log, a capture, or a folder with any of these in it."
        ),
    ],
    device: Annotated[
        str | None,
        typer.Option(
            "--device", metavar="PROFILE", help="The device profile whose log dialect it is."
        ),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON document.")] = False,
) -> int:
    """Say what is wrong with phones, by their logs and captures.

    Every cause comes with its evidence, why it breaks the phone, and how to mend it.
    """
    dialects = None if device is None else [Dialect(load(DEVICE, device).log.records)]
    if "" in paths:
        raise UsageError("a path is empty: name a log, a capture or a folder")
    diagnosis = diagnose([Path(path) for path in paths], dialects)
    if as_json:
        show_json(to_document(diagnosis))
    else:
        show_text("\n".join(to_lines(diagnosis)))
    return 0 if diagnosis.is_well else FAULTS_FOUND


def to_document(diagnosis: Diagnosis) -> dict[str, Any]:
    """The diagnosis as `--json` prints it."""
    return {
        "phones": diagnosis.phones,
        "boots": diagnosis.boots,
        "signed_in": diagnosis.signed_in,
        "findings": [_finding_document(found) for found in diagnosis.found],
        "unexplained": [
            {"phone": each.phone_id, "evidence": _evidence_document(each.evidence)}
            for each in diagnosis.unexplained
        ],
        "not_signed_in_at_end": [
            {
                "phone": each.phone_id,
                "stage": each.stage or None,
                "last": _evidence_document(each.last),
            }
            for each in diagnosis.open_ends
        ],
        "inputs": [_input_document(reading) for reading in diagnosis.readings],
        "not_read": [{"file": each.file, "why": each.why} for each in diagnosis.not_read],
    }


def _input_document(reading: LogReading) -> dict[str, Any]:
    if reading.is_capture:
        return {"capture": reading.file, "packets": reading.lines, "notes": reading.notes}
    return {
        "log": reading.file,
        "lines": reading.lines,
        "unknown_lines": reading.unknown,
        "unknown_examples": [
            {"line": place.number, "text": text} for place, text in reading.samples
        ],
        "notes": reading.notes,
    }


def _finding_document(found: Diagnosed) -> dict[str, Any]:
    return {
        "cause": found.cause.name,
        "title": found.cause.title,
        "certainty": _CERTAINTY[found.certainty],
        "phones": list(found.phones),
        "signed_in": found.signed_in,
        "boots": found.boots,
        "detail": found.example.detail,
        "phone": found.example.phone_id,
        "evidence": [_evidence_document(each) for each in found.example.evidence],
        "why": found.cause.why,
        "remedies": [
            {"where": each.where, "how": found.names.put_into(each)}
            for each in found.cause.remedies
        ],
    }


def _evidence_document(evidence: Evidence) -> dict[str, Any]:
    place = evidence.place
    kind = "frame" if place.is_frame else "line"
    return {"file": place.file, kind: place.number, "text": evidence.text, "note": evidence.note}


def to_lines(diagnosis: Diagnosis) -> Iterator[str]:
    """The diagnosis as people read it, in lines of 80 columns; commands are not broken."""
    failed = diagnosis.phones - diagnosis.signed_in
    yield (
        f"{_count(diagnosis.phones, 'phone')}, {_count(diagnosis.boots, 'boot')}:"
        f" {diagnosis.signed_in} signed in, {failed} not"
    )
    yield from _read_lines(diagnosis)
    noted = [reading for reading in diagnosis.readings if reading.notes or reading.unknown]
    for reading in noted[:_MOST_NAMED]:
        yield from _note_lines(reading)
    if len(noted) > _MOST_NAMED:
        yield f"Note: of {len(noted) - _MOST_NAMED} files more not all was read: see --json"
    for number, found in enumerate(diagnosis.found, 1):
        yield ""
        yield from _finding_lines(number, found, diagnosis.phones)
    if diagnosis.unexplained:
        yield ""
        yield f"Not explained, of {_count(len(diagnosis.unexplained), 'phone')}:"
        for each in diagnosis.unexplained[:_MOST_NAMED]:
            yield from _evidence_lines(each.evidence)
    if diagnosis.open_ends:
        yield ""
        yield from _open_end_lines(diagnosis.open_ends)
    if not diagnosis.found and not diagnosis.unexplained:
        yield ""
        yield "no fault found up to there" if diagnosis.open_ends else "no fault found"


def _read_lines(diagnosis: Diagnosis) -> Iterator[str]:
    """What was read, unless that is the one input there is, and what was not."""
    if len(diagnosis.readings) > 1 or diagnosis.not_read:
        captures = sum(reading.is_capture for reading in diagnosis.readings)
        logs = len(diagnosis.readings) - captures
        counted = [(logs, "log file"), (captures, "capture")]
        yield "Read: " + ", ".join(_count(number, what) for number, what in counted if number)
    for each in diagnosis.not_read[:_MOST_NAMED]:
        yield from wrapped(each.why, f"Not read: {_shortened(each.file)}: ", "  ")
    if len(diagnosis.not_read) > _MOST_NAMED:
        yield f"Not read: {len(diagnosis.not_read) - _MOST_NAMED} more: see --json"


def _note_lines(reading: LogReading) -> Iterator[str]:
    file = _shortened(reading.file)
    for note in reading.notes:
        yield from wrapped(note.removeprefix(f"{reading.file}: "), f"Note: {file}: ", "  ")
    if reading.unknown:
        share = f"{reading.unknown} of {_count(reading.lines, 'line')} not known, such as"
        yield from wrapped(share, f"Note: {file}: ", "  ")
        for place, text in reading.samples[:3]:
            yield from wrapped(f"{place.number}: {text[:100]}", "    ", "      ")


def _finding_lines(number: int, found: Diagnosed, phones: int) -> Iterator[str]:
    cause, example = found.cause, found.example
    yield from wrapped(f"{number}. {cause.title[:1].upper()}{cause.title[1:]}", "", "   ")
    share = f"{len(found.phones)} of {_count(phones, 'phone')}"
    if found.signed_in:
        share += f", {found.signed_in} signed in nevertheless"
    yield f"   {cause.name}: {_CERTAINTY[found.certainty]}, {share}"
    if example.detail:
        yield from wrapped(example.detail, "   ", "   ")
    if len(found.phones) > 1:
        yield from wrapped(_named(found.phones), "   Phones: ", "     ")
    yield ""
    yield f"   Evidence, of {example.phone_id}:"
    for evidence in example.evidence:
        yield from _evidence_lines(evidence)
    if cause.why:
        yield ""
        yield from wrapped(cause.why, "   Why: ", "     ")
    if cause.remedies:
        yield ""
        yield "   How to mend it:"
        for remedy in cause.remedies:
            yield f"     {remedy.where}:"
            for line in found.names.put_into(remedy).splitlines():
                yield from _remedy_lines(line)


def _remedy_lines(line: str) -> Iterator[str]:
    """A line of a remedy; a command of a shell can be copied though it is broken."""
    lines = wrapped(line, "       ", "         ", width=WIDTH - 2)
    end = " \\" if line.startswith("phonesim ") else ""
    yield from (f"{each}{end}" for each in lines[:-1])
    yield lines[-1]


def _open_end_lines(open_ends: Sequence[OpenEnd]) -> Iterator[str]:
    """Phones whose input ends before they sign in; of a capture, in one line."""
    shared = _count(len({each.phone_id for each in open_ends}), "phone")
    yield from wrapped(
        f"Not signed in where the input ends, {shared}: the end of the sign-in is not in it. Get a"
        " log or a capture that goes on longer.",
        "",
        "  ",
    )
    for each in open_ends[:_MOST_NAMED]:
        stage = f" in the stage {each.stage}" if each.stage else ""
        place = each.last.place
        if place.is_frame:
            file = _shortened(place.file)
            yield f"  {each.phone_id}: the last of it is frame {place.number} of {file}"
        else:
            yield f"  {each.phone_id}: ends{stage}, the last of it:"
            yield from _evidence_lines(each.last)
    if len(open_ends) > _MOST_NAMED:
        yield f"  and {len(open_ends) - _MOST_NAMED} more: see --json"


def _evidence_lines(evidence: Evidence) -> Iterator[str]:
    yield f"     {_shortened(str(evidence.place))}"
    yield from wrapped(evidence.text, "       ", "       ", breaks=True)
    if evidence.note:
        yield from wrapped(evidence.note, "       => ", "          ")


def _shortened(place: str) -> str:
    """A place that fits into a line: the end of its path tells more than the beginning."""
    too_long = len(place) - (WIDTH - 10)
    if too_long <= 0:
        return place
    return f"...{place[too_long:].partition('/')[1]}{place[too_long:].partition('/')[2]}"


def _named(phones: tuple[str, ...]) -> str:
    more = len(phones) - _MOST_NAMED
    named = ", ".join(phones[:_MOST_NAMED])
    return f"{named} and {more} more" if more > 0 else named


def _count(number: int, what: str) -> str:
    return f"{number} {what}{'' if number == 1 else 's'}"
