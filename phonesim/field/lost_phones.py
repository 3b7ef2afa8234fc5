"""Phones that are not registered at the end of a run: what kept them, when all else was well.

A run with random faults ends with a time without any. What a phone met before that is the faults'
doing; only the last of its log says why it did not come back.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from phonesim.device.device_log import Dialect
from phonesim.field.boots import Boot, each_boot
from phonesim.field.diagnosis import Diagnosis, diagnose_boots
from phonesim.field.log_reader import read_log
from phonesim.fleet.run_logs import Run, list_phones


def diagnose_lost(
    run: Path, phone_ids: Iterable[str], seconds: float, dialects: Sequence[Dialect]
) -> Diagnosis:
    """Return what is wrong with these phones of a run in its last `seconds`."""
    wanted = set(phone_ids)
    logs = [log for log in list_phones(Run(path=run, summary=None)) if log.phone_id in wanted]
    boots = (each_boot(read_log(log.files, dialects, [], log.phone_id)) for log in logs)
    return diagnose_boots(last_of(each, seconds) for phone in boots for each in _last(phone))


def last_of(boot: Boot, seconds: float) -> Boot:
    """Return what was seen of a boot in the last `seconds` before the phone was shut down.

    A phone that did nothing in that time is waiting: then it is the last that failed.
    """
    sightings = boot.sightings
    end = boot.last("shutdown") or sightings[-1]
    begins_at = end.at - seconds
    failures = [each.at for each in boot.all("boot_failed", "registration_lost")]
    if failures and not any(begins_at <= each.at < end.at for each in sightings):
        begins_at = max((at for at in failures if at < failures[-1]), default=0.0)
    late = Boot(boot.phone_id)
    for sighting in sightings:
        if begins_at <= sighting.at:
            late.take(sighting)
    return late


def _last(boots: Iterable[Boot]) -> Iterator[Boot]:
    last = None
    for boot in boots:
        last = boot
    if last is not None:
        yield last
