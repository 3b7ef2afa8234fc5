"""What kept phones from coming back after random faults, as `phonesim run --monkey` tells it."""

from __future__ import annotations

from typing import Any, NamedTuple

from phonesim.cli.diagnose_verb import to_document, to_lines
from phonesim.field.log_reader import dialects_of
from phonesim.field.lost_phones import diagnose_lost
from phonesim.fleet.plan import Plan
from phonesim.fleet.runner import Finished


class LostReport(NamedTuple):
    """The diagnosis of phones that are not back: lines for people, a document for programs."""

    lines: list[str]
    document: dict[str, Any]


def report_lost(plan: Plan, finished: Finished, grace: float) -> LostReport | None:
    """What is wrong with phones that are not back though all is well; None if all are."""
    phones = finished.recorder.phones.values()
    lost = [phone.phone_id for phone in phones if not phone.is_signed_in]
    if not lost or not finished.summary["valid"]:
        return None
    dialects = dialects_of(spec.profile for spec in plan.specs)
    diagnosis = diagnose_lost(finished.folder, lost, grace, dialects)
    return LostReport(list(to_lines(diagnosis)), to_document(diagnosis))
