"""A field case again: learn the site, boot the phones there, and say where the two part."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

import msgspec

from phonesim.errors import DecodeError, UsageError
from phonesim.field.boots import Boot, each_boot
from phonesim.field.captures.capture_reader import CaptureReader
from phonesim.field.learning.assumed_part import assume_the_rest
from phonesim.field.learning.comparison import Comparison, compare
from phonesim.field.learning.dhcp_part import learn_dhcp
from phonesim.field.learning.disk_part import learn_disks
from phonesim.field.learning.draft import Draft
from phonesim.field.learning.names_part import learn_names
from phonesim.field.learning.services_part import learn_services
from phonesim.field.learning.site_files import write_profiles
from phonesim.field.log_reader import LogReading, dialects_of, read_log, shipped_dialects
from phonesim.fleet.plan import Plan, read_plan
from phonesim.fleet.run_logs import Run, list_phones
from phonesim.fleet.runner import Finished, run_fleet
from phonesim.fleet.worlds import world_for
from phonesim.profiles import option_override

MOST_PHONES = 200
"""Phones of a capture that are booted again."""

DISKS = "disks"
"""Where in the learned profiles' folder the disks are that phones begin with."""

_AGAIN = "again.pcapng"
_CACHE = "DSK1/cache.json"


class Relived(msgspec.Struct, frozen=True, kw_only=True):
    """A case that was run again: its source, the learned `files`, the `run`, how phones compare.

    `compared` has an entry for each phone, by its id in the field; `notes` say what of the input
    was not read or not learned. `is_valid`: the run came to its end.
    """

    source: Path
    files: tuple[Path, ...]
    run: Path
    is_valid: bool
    compared: dict[str, Comparison]
    notes: tuple[str, ...]

    @property
    def is_same(self) -> bool:
        """Whether every phone ended as it did in the field."""
        return all(comparison.is_same_outcome for comparison in self.compared.values())


def relive_log(log: Path, folder: Path) -> Relived:
    """Learn the site that a device log tells of, and boot its phone there.

    The profiles go into the new `folder`, the run into one beside it. `UsageError` for a log that
    cannot be read.
    """
    readings: list[LogReading] = []
    boots = list(each_boot(read_log([log], shipped_dialects(), readings)))
    notes = [f"{reading.file}: {note}" for reading in readings for note in reading.notes]
    unknown = sum(reading.unknown for reading in readings)
    if unknown:
        notes.append(f"{log}: {unknown} of its lines are not known")
    learned = _learn(boots, log, folder)
    plan, finished = _boot(learned.fleet, None)
    dialects = dialects_of(spec.profile for spec in plan.specs)
    again: list[Boot] = []
    for phone in list_phones(Run(path=finished.folder, summary=None)):
        again += each_boot(read_log(phone.files, dialects, [], phone.phone_id))
    return _relived(boots, again, learned, finished, notes)


def relive_capture(capture: Path, folder: Path) -> Relived:
    """The same of a capture: its phones boot at the site that their packets tell of."""
    reader = CaptureReader(capture)
    try:
        boots = list(each_boot(reader))
    except DecodeError as error:
        raise UsageError(f"{error} (a device log is for --log)") from None
    learned = _learn(boots, capture, folder)
    packets = folder / _AGAIN
    _, finished = _boot(learned.fleet, packets)
    again = list(each_boot(CaptureReader(packets)))
    return _relived(boots, again, learned, finished, reader.notes)


class _Learned(msgspec.Struct, frozen=True):
    source: Path
    fleet: Path
    notes: list[str]


def _learn(boots: Sequence[Boot], source: Path, folder: Path) -> _Learned:
    if not boots:
        raise UsageError(f"{source}: there is no phone in it that could be booted again")
    kept = set(sorted({boot.phone_id for boot in boots})[:MOST_PHONES])
    boots = [boot for boot in boots if boot.phone_id in kept]
    draft = Draft()
    try:
        for learn in (learn_dhcp, learn_names, learn_services, assume_the_rest):
            learn(boots, draft)
    except ValueError as error:
        raise UsageError(f"{source}: what it says is nothing that phones meet: {error}") from None
    fleet = write_profiles(draft, boots, source.name, folder)
    for phone_id, cache in learn_disks(list(_one_a_phone(boots).values())).items():
        file = folder / DISKS / phone_id / _CACHE
        file.parent.mkdir(parents=True)
        file.write_bytes(cache)
    return _Learned(source, fleet, draft.notes)


def _boot(fleet: Path, packets: Path | None) -> tuple[Plan, Finished]:
    disks = fleet.parent / DISKS
    overrides = []
    if disks.is_dir():
        overrides.append(option_override("--resume", "fleet", "phones_from", str(disks)))
    plan = read_plan(str(fleet), overrides)
    world = world_for(plan.fleet.attach, packets)
    return plan, run_fleet(plan, world, fleet.parent.parent, lambda _: None)


def _relived(
    boots: Iterable[Boot],
    again: Iterable[Boot],
    learned: _Learned,
    finished: Finished,
    notes: Sequence[str],
) -> Relived:
    field, ours = _one_a_phone(boots), _one_a_phone(again)
    compared = {
        phone_id: compare(boot, ours.get(phone_id, other))
        for (phone_id, boot), other in zip(sorted(field.items()), _by_order(ours), strict=False)
    }
    return Relived(
        source=learned.source,
        files=tuple(sorted(learned.fleet.parent.glob("*.yaml"))),
        run=finished.folder,
        is_valid=finished.summary["valid"],
        compared=compared,
        notes=(*notes, *learned.notes),
    )


def _by_order(boots: dict[str, Boot]) -> list[Boot]:
    return [boot for _, boot in sorted(boots.items())]


def _one_a_phone(boots: Iterable[Boot]) -> dict[str, Boot]:
    """The boot that tells most of each phone: the first that failed, or else its first."""
    chosen: dict[str, Boot] = {}
    for boot in boots:
        earlier = chosen.get(boot.phone_id)
        is_better = (
            earlier is not None and not earlier.all("boot_failed") and boot.all("boot_failed")
        )
        if earlier is None or is_better:
            chosen[boot.phone_id] = boot
    return chosen
