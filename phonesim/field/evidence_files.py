"""The files in which evidence is: of a folder every device log and every capture, however deep.

What phonesim itself keeps beside the logs of a run is passed over, and so is the run's own
capture: the same boots are in the logs. What else is not read is named, with why.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from pathlib import Path

import msgspec

from phonesim.device.cache import CACHE_FILE
from phonesim.device.identity import IDENTITY_FILE, KEY_FILE
from phonesim.field.captures.capture_reader import is_capture
from phonesim.field.log_reader import phone_named_in
from phonesim.fleet.operator_log import FILE_NAME
from phonesim.fleet.run_logs import Run, list_phones
from phonesim.fleet.store import DATABASE_NAME, SUMMARY_NAME
from phonesim.world import CRASH_FILE

CAPTURE_NAME = "capture.pcapng"
"""A run's own capture, in its folder."""
_OF_A_RUN = frozenset({FILE_NAME, SUMMARY_NAME, DATABASE_NAME})
_ON_A_PHONES_DISK = frozenset({CACHE_FILE, IDENTITY_FILE, KEY_FILE, CRASH_FILE})


class Source(msgspec.Struct, frozen=True):
    """One phone's log, oldest file first, or one capture."""

    files: tuple[Path, ...]
    is_capture: bool = False
    named: Path = Path()
    """The path under which the user gave it, or the folder that it is in."""


class NotRead(msgspec.Struct, frozen=True):
    """A file or folder of which nothing was read, and why: a clause without a stop."""

    file: str
    why: str


def evidence_in(paths: Sequence[Path]) -> Iterator[Source | NotRead]:
    """Yield what is to be read of these files and folders, each once, and what is not."""
    seen: set[Path] = set()
    for path in paths:
        for each in _in_path(path):
            if isinstance(each, NotRead):
                yield each
                continue
            key = each.files[-1].resolve()
            if key not in seen:
                seen.add(key)
                yield msgspec.structs.replace(each, named=path)


def _in_path(path: Path) -> Iterator[Source | NotRead]:
    if path.is_dir():
        found = list(_in_folder(path))
        if any(isinstance(each, Source) for each in found):
            yield from found
        else:
            yield _nothing_in(path, found)
    elif path.is_file():
        yield Source((path,), is_capture(path))
    elif path.exists():
        yield NotRead(str(path), "not a file, and it is read more than once: save it as one first")
    else:
        yield NotRead(str(path), "there is no such file or folder")


def _nothing_in(path: Path, found: Sequence[Source | NotRead]) -> NotRead:
    why = "no device log and no capture is in this folder: a phone's has DSK1/logs/cpsw3g.log"
    named = [each for each in found if isinstance(each, NotRead)]
    if named:
        why += f"; {named[0].file}: {named[0].why}"
    if len(named) > 1:
        why += f", and {len(named) - 1} more"
    return NotRead(str(path), why)


def _in_folder(top: Path) -> Iterator[Source | NotRead]:
    troubles: list[OSError] = []
    for name, folders, files in os.walk(top, onerror=troubles.append):
        folders.sort()
        yield from _beside(Path(name), sorted(files))
    for trouble in troubles:
        yield NotRead(str(trouble.filename), f"cannot be read: {trouble.strerror}")


def _beside(folder: Path, names: Sequence[str]) -> Iterator[Source | NotRead]:
    """What the files of one folder are."""
    has_phones = bool(list_phones(Run(path=folder, summary=None)))
    is_of_phone = phone_named_in(folder) is not None
    by_name = {name.lower(): name for name in names}  # Windows CE tells no case apart
    for name in names:
        path = folder / name
        if name in _OF_A_RUN:
            continue
        if not path.is_file():
            yield NotRead(str(path), "not a file, or a link to nothing")
        elif is_capture(path):
            if has_phones and name == CAPTURE_NAME:
                yield NotRead(str(path), "the logs of the same phones beside it are read")
            else:
                yield Source((path,), is_capture=True)
        elif name.lower().endswith(".log"):
            backup = by_name.get(f"{name[:-4].lower()}.bak")
            yield Source((path,) if backup is None else (folder / backup, path))
        elif name.lower().endswith(".bak"):
            if f"{name[:-4].lower()}.log" not in by_name:
                yield Source((path,))
        elif not (is_of_phone and name in _ON_A_PHONES_DISK):
            yield NotRead(str(path), "neither a .log nor a capture")
