"""Reads device logs: lines become sightings, one at a time, however large the file is.

A line is known when one of the dialects has a record for its text. Real logs differ: lines that
no dialect knows are counted, and a few are kept to be shown. What is cut off at either end is
said, and what is no log at all is refused. Where a line's time stands is of no account: the tick
after it, milliseconds since power was applied, measures.

Specifications: `docs/device-log.md`, the grammar. Windows CE writes text with or without a byte
order mark, in UTF-16 or one octet a character; both are read.
"""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterable, Iterator, Sequence
from functools import lru_cache
from pathlib import Path
from typing import TextIO

import msgspec

from phonesim.config.device_profile import DeviceProfile
from phonesim.device.device_log import KINDS, Dialect, LogRecord
from phonesim.errors import UsageError
from phonesim.field.sightings import Place, Sighting
from phonesim.profiles import DEVICE, load, names

LONGEST_LINE = 65536
"""Characters of a line that is read; a longer one is unknown."""
MOST_SAMPLES = 5
"""Unknown lines that are kept."""

_HEAD = 8192
_COMPRESSED = (b"\x1f\x8b", b"PK\x03\x04", b"\xfd7zXZ", b"\x28\xb5\x2f\xfd")
_UTF_16 = (b"\xff\xfe", b"\xfe\xff")
_TICK = re.compile(r"\d{10,20}", re.ASCII)
_PHONE_ID = re.compile(r"(?:[0-9A-F]{2}-){5}[0-9A-F]{2}")
_FIELDS = {name: tuple(kind.fields) for name, kind in KINDS.items()}


class LogReading(msgspec.Struct, kw_only=True):
    """What was met in a file beside its records. `notes` are sentences without a stop.

    Of a capture, `lines` are packets.
    """

    file: str
    is_capture: bool = False
    has_dhcp_only: bool = False
    lines: int = 0
    records: int = 0
    unknown: int = 0
    samples: list[tuple[Place, str]] = []
    notes: list[str] = []


def dialects_of(profiles: Iterable[DeviceProfile]) -> tuple[Dialect, ...]:
    """The dialects of device profiles, each once."""
    texts = {}
    for profile in {id(each): each for each in profiles}.values():  # those of a fleet share a few
        records = profile.log.records
        texts[tuple((key, records[key].text) for key in sorted(records))] = records
    return tuple(Dialect(records) for records in texts.values())


@lru_cache(maxsize=1)
def shipped_dialects() -> tuple[Dialect, ...]:
    """The dialects of all shipped device profiles, each once."""
    return dialects_of([load(DEVICE, name) for name in names(DEVICE)])


def read_log(
    files: Sequence[Path],
    dialects: Sequence[Dialect],
    readings: list[LogReading],
    phone_id: str | None = None,
) -> Iterator[Sighting]:
    """Yield what one phone's log has, in one file or, oldest first, in several.

    A `LogReading` a file is appended to `readings`, and filled in on the way. The phone is named by
    a folder or, for want of one, by what it says itself at power-on. `UsageError` for what cannot
    be read, or is no text.
    """
    named = phone_id or phone_named_in(files[0])
    owner = named or str(files[0])
    has_begun = False
    for path in files:
        reading = LogReading(file=str(path))
        readings.append(reading)
        for number, tick, record, text in _records(path, dialects, reading):
            if record.name == "power_applied":
                owner = named or str(record.values[-1])
            elif not has_begun:
                reading.notes.append("it begins in the middle of a boot")
                owner = named or _first_phone_in(files, dialects) or owner
            has_begun = True
            yield Sighting(
                Place(reading.file, number),
                tick / 1000,
                owner,
                record.name,
                dict(zip(_FIELDS[record.name], record.values, strict=True)),
                text,
            )


def _first_phone_in(files: Sequence[Path], dialects: Sequence[Dialect]) -> str | None:
    """The phone that a log names at its first power-on, if there is one in it."""
    with contextlib.suppress(OSError, UnicodeError):
        for path in files:
            with _open_text(path) as stream:
                for line in _lines(stream):
                    if _PHONE_ID.search(line) is None:
                        continue
                    record = _read(line.rstrip("\r\n").split("|", 3)[-1], dialects)
                    if record is not None and record.name == "power_applied":
                        return str(record.values[-1])
    return None


def _records(
    path: Path, dialects: Sequence[Dialect], reading: LogReading
) -> Iterator[tuple[int, int, LogRecord, str]]:
    try:
        with _open_text(path) as stream:
            for number, line in enumerate(_lines(stream), 1):
                reading.lines = number
                text = line.rstrip("\r\n")
                parts = text.split("|", 3)
                record = None
                if len(parts) == 4 and _TICK.fullmatch(parts[1]):
                    record = _read(parts[3], dialects)
                if record is None:
                    _not_known(line, text, number, reading)
                else:
                    reading.records += 1
                    yield number, int(parts[1]), record, text
    except OSError as error:
        raise UsageError(f"{path}: cannot be read: {error.strerror}") from None
    except UnicodeError as error:
        raise UsageError(f"{path}: line {reading.lines + 1} is no text: {error}") from None


def _read(text: str, dialects: Sequence[Dialect]) -> LogRecord | None:
    for dialect in dialects:
        record = dialect.read(text)
        if record is not None:
            return record
    return None


def _open_text(path: Path) -> TextIO:
    with path.open("rb") as stream:
        head = stream.read(_HEAD)
    if not head:
        raise UsageError(f"{path}: the file is empty")
    if head.startswith(_COMPRESSED):
        raise UsageError(f"{path}: the file is compressed: unpack it first")
    if head.startswith(_UTF_16):
        return path.open(encoding="utf-16", newline="\n")
    even, odd = head[::2], head[1::2]
    for encoding, low, high in (("utf-16-le", even, odd), ("utf-16-be", odd, even)):
        if high and not high.strip(b"\0") and b"\0" not in low:  # ASCII, without a mark
            return path.open(encoding=encoding, newline="\n")
    if b"\0" in head:
        raise UsageError(
            f"{path}: octet {head.index(0)} is 00: binary data, and not the text of a device log"
        )
    return path.open(encoding="utf-8-sig", errors="backslashreplace", newline="\n")


def _lines(stream: TextIO) -> Iterator[str]:
    while line := stream.readline(LONGEST_LINE):
        if len(line) == LONGEST_LINE and not line.endswith("\n"):
            while (rest := stream.readline(LONGEST_LINE)) and not rest.endswith("\n"):
                pass
        yield line


def _not_known(line: str, text: str, number: int, reading: LogReading) -> None:
    if not text.strip("\0 "):
        return
    if not line.endswith("\n") and len(line) < LONGEST_LINE:
        reading.notes.append("it ends in the middle of a line")
        return
    reading.unknown += 1
    if len(reading.samples) < MOST_SAMPLES:
        reading.samples.append((Place(reading.file, number), text[:200]))


def phone_named_in(path: Path) -> str | None:
    """The phone that a folder on the way to a file is named after."""
    for part in reversed(path.absolute().parts):
        if _PHONE_ID.fullmatch(part):
            return part
    return None
