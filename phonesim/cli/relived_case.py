"""What `phonesim reproduce --capture` and `--log` print: a case of the field, run again."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from phonesim.cli.wrapping import wrapped
from phonesim.field.learning.comparison import Comparison, Milestone
from phonesim.field.learning.rerun import Relived

MOST_SHOWN = 5
"""Phones that are shown one by one."""


def to_case(case: Relived) -> Iterator[str]:
    """A case as people read it, in lines of 80 columns."""
    yield f"Learned from {case.source}, to read, edit and run again:"
    for path in case.files:
        yield f"  {path}"
    for note in case.notes:
        yield from wrapped(f"Note: {note}", rest="    ")
    shown = sorted(case.compared.items(), key=lambda each: each[1].is_same_outcome)
    for phone_id, compared in shown[:MOST_SHOWN]:
        yield ""
        yield from _phone(phone_id, compared)
    if len(shown) > MOST_SHOWN:
        yield ""
        alike = sum(each.is_same_outcome for _, each in shown)
        yield f"{alike} of {len(shown)} phones ended as in the field; {MOST_SHOWN} are shown."
    yield ""
    yield (
        "The same outcome came out."
        if case.is_same
        else "ANOTHER OUTCOME: the learned site lacks what decided it. Edit it, and run its fleet."
    )
    yield f"Run: {case.run}"
    yield f"What is wrong in the field: phonesim diagnose {case.source}"


def _phone(phone_id: str, compared: Comparison) -> Iterator[str]:
    yield phone_id
    yield from wrapped(f"  in the field: {compared.field_outcome}", rest="    ")
    yield from wrapped(f"  here:         {compared.again_outcome}", rest="    ")
    yield f"  alike: {compared.same} milestones of the boot"
    yield from _parted("only in the field", compared.field)
    yield from _parted("only here", compared.again)


def _parted(where: str, milestone: Milestone | None) -> Iterator[str]:
    if milestone is not None:
        seen = milestone.seen
        yield from wrapped(f"  {where}: {milestone.words} ({seen.place})", rest="    ")


def to_document(case: Relived) -> dict[str, Any]:
    """The same, as `--json` prints it."""
    return {
        "source": str(case.source),
        "files": [str(path) for path in case.files],
        "run": str(case.run),
        "same_outcome": case.is_same,
        "notes": list(case.notes),
        "phones": [
            {
                "phone": phone_id,
                "field": compared.field_outcome,
                "again": compared.again_outcome,
                "same": compared.is_same_outcome,
                "milestones_alike": compared.same,
                "only_in_field": _milestone(compared.field),
                "only_here": _milestone(compared.again),
            }
            for phone_id, compared in case.compared.items()
        ],
    }


def _milestone(milestone: Milestone | None) -> dict[str, str] | None:
    if milestone is None:
        return None
    return {"what": milestone.words, "where": str(milestone.seen.place)}
