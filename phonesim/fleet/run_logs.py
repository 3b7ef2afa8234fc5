"""Finding and reading the device logs of earlier runs.

A run is a folder with a `summary.json` or with phones in it; its name begins with the time at
which it began, so runs are ordered by their names. A phone is named by its MAC, whole or in
part, in any of the usual spellings: `00-04-F2-00-00-01`, `0004f2000001` and `00:01` all find
it, if no other phone's MAC ends like that.
"""

from __future__ import annotations

import json
import os
import re
import time
from collections.abc import Callable, Iterator
from difflib import get_close_matches
from pathlib import Path
from typing import Any

import msgspec

from phonesim.errors import UsageError
from phonesim.fleet.store import SUMMARY_NAME

_PHONE_FOLDER = re.compile(r"([0-9A-F]{2}-){5}[0-9A-F]{2}")
_PARTS = re.compile(r"(\d+)").split
_BLOCK = 65536


class Run(msgspec.Struct, frozen=True, kw_only=True):
    """A run folder. `summary` is None while the run lasts, or if it did not end properly."""

    path: Path
    summary: dict[str, Any] | None

    @property
    def name(self) -> str:
        """The folder's name."""
        return self.path.name


class PhoneLog(msgspec.Struct, frozen=True, kw_only=True):
    """A phone's device log: the current file, and the full one before it if there is one."""

    phone_id: str
    path: Path
    backup: Path | None

    @property
    def files(self) -> list[Path]:
        """Its files, oldest first."""
        return [file for file in (self.backup, self.path) if file is not None and file.exists()]

    @property
    def size(self) -> int:
        """Octets in all its files."""
        return sum(file.stat().st_size for file in self.files)


def list_runs(base: Path) -> list[Run]:
    """Return the runs under `base`, the latest last."""
    try:
        folders = [entry for entry in base.iterdir() if entry.is_dir()]
    except OSError as error:
        raise UsageError(f"{base}: cannot be read: {error.strerror}") from None
    runs = [Run(path=folder, summary=_summary(folder)) for folder in folders]
    runs = [run for run in runs if run.summary is not None or _phone_folders(run.path)]
    return sorted(runs, key=lambda run: [int(p) if p.isdecimal() else p for p in _PARTS(run.name)])


def find_run(base: Path, name: str | None) -> Run:
    """Return the run of that name or path, or the latest one."""
    if name is not None and Path(name).is_dir() and ("/" in name or _phone_folders(Path(name))):
        return Run(path=Path(name), summary=_summary(Path(name)))
    runs = list_runs(base)
    if not runs:
        raise UsageError(f"{base}: there are no runs here; make one with: phonesim run")
    if name is None:
        return runs[-1]
    for run in runs:
        if run.name == name:
            return run
    near = get_close_matches(name, [run.name for run in runs], n=1)
    hint = f"did you mean {near[0]}?" if near else "see: phonesim logs ls"
    raise UsageError(f"{base}: no run is named {name!r}; {hint}")


def list_phones(run: Run) -> list[PhoneLog]:
    """Return the device logs of a run, in the order of the MACs."""
    logs = []
    for folder in _phone_folders(run.path):
        found = sorted(folder.glob("*/**/*.log"))
        if found:
            backup = found[0].with_suffix(".bak")
            logs.append(
                PhoneLog(
                    phone_id=folder.name,
                    path=found[0],
                    backup=backup if backup.exists() else None,
                )
            )
    return logs


def find_phone(run: Run, part: str | None) -> PhoneLog:
    """Return the log of the phone whose MAC is, ends with or contains `part`."""
    phones = list_phones(run)
    if not phones:
        raise UsageError(f"{run.path}: no phone has written a log")
    if part is None:
        if len(phones) == 1:
            return phones[0]
        raise UsageError(
            f"{run.name} has {len(phones)} phones: say which, by its MAC or the end of it,"
            f" such as {phones[0].phone_id}"
        )
    wanted = re.sub("[-:.]", "", part).upper()
    keys = [(phone.phone_id.replace("-", ""), phone) for phone in phones]
    matches: list[PhoneLog] = []
    for is_match in (str.__eq__, str.endswith, str.__contains__):
        matches = [phone for key, phone in keys if wanted and is_match(key, wanted)]
        if matches:
            break
    if len(matches) == 1:
        return matches[0]
    if not matches:
        raise UsageError(
            f"{run.name}: no phone's MAC contains {part!r}; see: phonesim logs ls {run.name}"
        )
    some = ", ".join(phone.phone_id for phone in matches[:3])
    more = f" and {len(matches) - 3} more" if len(matches) > 3 else ""
    raise UsageError(f"{run.name}: {part!r} could be {some}{more}")


def read_log(log: PhoneLog) -> Iterator[bytes]:
    """Yield the whole log, oldest first, in blocks."""
    for file in log.files:
        with file.open("rb") as stream:
            while block := stream.read(_BLOCK):
                yield block


def last_lines(log: PhoneLog, count: int) -> tuple[bytes, int]:
    """Return the last `count` lines, and how many octets of the current file they end at."""
    current = log.path.read_bytes()
    older = log.backup.read_bytes() if log.backup is not None else b""
    lines = (older + current).splitlines(keepends=True)
    return b"".join(lines[-count:]) if count > 0 else b"", len(current)


def follow_log(
    log: PhoneLog, position: int, wait: Callable[[float], None] = time.sleep
) -> Iterator[bytes]:
    """Yield what is appended after `position`, for ever; a log that is begun anew is followed."""
    stream = log.path.open("rb")
    stream.seek(position)
    try:
        while True:
            if block := stream.read(_BLOCK):
                yield block
            elif _is_replaced(log.path, stream.fileno()):
                stream.close()
                stream = log.path.open("rb")
            else:
                wait(0.2)
    finally:
        stream.close()


def _is_replaced(path: Path, descriptor: int) -> bool:
    try:
        return path.stat().st_ino != os.fstat(descriptor).st_ino
    except FileNotFoundError:
        return False


def _phone_folders(path: Path) -> list[Path]:
    try:
        names = sorted(entry.name for entry in os.scandir(path) if entry.is_dir())
    except OSError:
        return []
    return [path / name for name in names if _PHONE_FOLDER.fullmatch(name)]


def _summary(path: Path) -> dict[str, Any] | None:
    try:
        summary = json.loads((path / SUMMARY_NAME).read_bytes())
    except (OSError, ValueError):
        return None
    return summary if isinstance(summary, dict) else None
