"""The run folder: what a run leaves on the disk, one folder a phone.

    <base>/<run>/<phone_id>/DSK1/logs/cpsw3g.log     the device log
    <base>/<run>/<phone_id>/DSK1/...                 the phone's other files
    <base>/<run>/...                                 what is kept for a later run

A disk works behind: log lines and files wait in memory until `flush`, or until a
phone's lines fill `LOG_BUFFER`. One flush is one open, one write and one close of
the log, so that a fleet's logs cost little. A file is written whole, a new version
renamed over the old one, with mode 0600 because some of them hold keys.

In a folder that keeps failures only, a phone's lines wait unformatted, at least the last
`LINES_KEPT` moments of them, until its boot fails; then all of it is written. A boot that
ends well leaves nothing, and from then on the last `LINES_KEPT_SIGNED_IN` are kept: fleets
stay registered for hours, and what they do then is short.

A run may take the phones of an earlier one: what their disks held then, but for logs and crashes,
is on their disks now. The earlier folder stays as it is.

A disk that cannot be written (full, read-only) is reported once for the whole run;
what could not be written is dropped, and the phones go on.
"""

from __future__ import annotations

import contextlib
import errno
import os
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path, PurePosixPath

import structlog

from phonesim.config.device_profile import DeviceLogConfig
from phonesim.device.actions import WriteLog
from phonesim.device.device_log import Dialect
from phonesim.errors import ProfileError, UsageError
from phonesim.world import CRASH_FILE, PhoneDisk

LOG_BUFFER = 16384
"""Characters of log lines that one phone may have in memory."""

LINES_KEPT = 256
"""Moments (`WriteLog`) of a boot under way that a phone keeps in memory."""

LINES_KEPT_SIGNED_IN = 64
"""The same of a phone that was well at the end of a boot."""

_UNFINISHED = ".new"
_LOG_FLAGS = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC
_FILE_FLAGS = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC


class RunFolder:
    """A run's own folder.

    With `failures_only` a phone's folder is there only if one of its boots failed. `report`
    gets a line the first time that something could not be written; by default it goes to
    the operator log.
    """

    def __init__(
        self,
        path: Path,
        report: Callable[[str], None] | None = None,
        *,
        failures_only: bool = False,
        earlier: Path | None = None,
    ) -> None:
        self.path = path
        self.earlier = earlier
        self._failures_only = failures_only
        self._report = report or _to_operator_log
        self._is_reported = False
        self._layouts: dict[int, _Layout] = {}

    @classmethod
    def create(
        cls,
        base: Path,
        name: str,
        report: Callable[[str], None] | None = None,
        *,
        failures_only: bool = False,
        earlier: Path | None = None,
    ) -> RunFolder:
        """Make `<base>/<name>`, or `<name>-2`, `-3`, ... where that is taken.

        `UsageError` if no folder can be made there.
        """
        try:
            base.mkdir(parents=True, exist_ok=True)
            number = 1
            while True:
                path = base / (name if number == 1 else f"{name}-{number}")
                try:
                    path.mkdir()
                except FileExistsError:
                    number += 1
                else:
                    return cls(path, report, failures_only=failures_only, earlier=earlier)
        except OSError as error:
            raise UsageError(
                f"{base}: no run folder can be made here: {_why(error)}; choose another with --out"
            ) from None

    def disk(self, phone_id: str, log: DeviceLogConfig) -> PhoneDisk:
        """The disk of one phone, whose device log is as its profile says.

        `ProfileError` if the profile's texts or its log path cannot be used.
        """
        layout = self._layouts.get(id(log))
        if layout is None:
            layout = self._layouts[id(log)] = _Layout(log)
        path = f"{self.path}/{phone_id}"
        disk: PhoneDisk
        if self._failures_only:
            disk = FailureDisk(partial(FolderDisk, path, layout, self.disk_failed))
        else:
            disk = FolderDisk(path, layout, self.disk_failed)
        if self.earlier is not None:
            self._take_over(self.earlier / phone_id / layout.root, disk)
        return disk

    def keep(self, name: str, data: bytes) -> None:
        """Leave something for a later run that takes these phones."""
        path = str(self.path / name)
        try:
            _write_whole(path, data)
        except OSError as error:
            self.disk_failed(error)

    def kept(self, name: str) -> bytes | None:
        """What the run that these phones are from left; None if there is no such thing."""
        if self.earlier is None:
            return None
        try:
            return (self.earlier / name).read_bytes()
        except OSError:
            return None

    def kept_file(self, phone_id: str, log: DeviceLogConfig, name: str) -> bytes | None:
        """What that run left on a phone's disk under that name; None if there is no such file."""
        return self.kept(f"{phone_id}/{PurePosixPath(log.path).parts[0]}/{name}")

    def _take_over(self, root: Path, disk: PhoneDisk) -> None:
        try:
            for file in sorted(root.iterdir()):
                if file.is_file() and file.suffix != _UNFINISHED and file.name != CRASH_FILE:
                    disk.write_file(file.name, file.read_bytes())
        except FileNotFoundError:
            pass  # it was no phone of that run
        except OSError as error:
            self.disk_failed(error)

    def disk_failed(self, error: OSError) -> None:
        """Say that something could not be written, the first time."""
        if not self._is_reported:
            self._is_reported = True
            self._report(
                f"{error.filename or self.path}: cannot be written: {_why(error)}; "
                "logs and files of this run are incomplete"
            )


class _Layout:
    """Where the files of one device profile lie, and how its log is written."""

    __slots__ = ("backup", "folders", "format", "log", "maximum_size", "profile", "root")

    def __init__(self, profile: DeviceLogConfig) -> None:
        path = PurePosixPath(profile.path)
        if path.is_absolute() or ".." in path.parts or len(path.parts) < 2:
            raise ProfileError(f"log.path: a relative path with a folder, not {profile.path!r}")
        self.profile = profile  # keeps the identity by which the layout is found
        self.root = path.parts[0]
        self.folders = tuple(str(parent) for parent in reversed(path.parents[:-1]))
        self.log = str(path)
        self.backup = str(path.with_suffix(".bak"))
        self.maximum_size = profile.maximum_size
        self.format = Dialect(profile.records).format


class FolderDisk:
    """One phone's virtual disk (`phonesim.world.PhoneDisk`), in a folder."""

    __slots__ = (
        "_failed",
        "_is_made",
        "_layout",
        "_lines",
        "_names",
        "_on_disk",
        "_path",
        "_pending",
        "_size",
        "_written",
    )

    def __init__(self, path: str, layout: _Layout, failed: Callable[[OSError], None]) -> None:
        self._path = path
        self._layout = layout
        self._failed = failed
        self._is_made = False
        self._lines: list[str] = []
        self._pending = 0
        self._size = 0
        self._names: set[str] = set()
        self._on_disk: set[str] = set()
        self._written: dict[str, bytes] = {}

    def files(self) -> Mapping[str, bytes]:
        """Every file but the logs, by name."""
        files = dict(self._written)
        for name in self._names - files.keys():
            try:
                with open(self._file(name), "rb") as file:
                    files[name] = file.read()
            except OSError as error:
                self._failed(error)
        return files

    def write_file(self, name: str, data: bytes) -> None:
        """Write a whole file, atomically, at the next flush."""
        self._names.add(name)
        self._written[name] = data

    def delete_file(self, name: str) -> None:
        """Remove a file, if it is there."""
        self._names.discard(name)
        self._written.pop(name, None)
        if name in self._on_disk:
            self._on_disk.discard(name)
            try:
                os.unlink(self._file(name))
            except FileNotFoundError:
                pass
            except OSError as error:
                self._failed(error)

    def append_log(self, line: WriteLog) -> None:
        """Append records to the device log, at the next flush at the latest."""
        text = self._layout.format(line.records, line.clock, line.tick)
        self._lines.append(text)
        self._pending += len(text)
        if self._pending >= LOG_BUFFER:
            self.flush()

    def settled(self, *, is_well: bool) -> None:
        """All of it is written anyway."""

    def flush(self) -> None:
        """Put everything that was appended or written where a reader finds it."""
        if not self._lines and not self._written:
            return
        lines, files = self._lines, self._written
        self._lines, self._pending, self._written = [], 0, {}
        try:
            if not self._is_made:
                self._make_folders()
            if lines:
                self._write_lines(lines)
            for name, data in files.items():
                _write_whole(self._file(name), data)
                self._on_disk.add(name)
        except OSError as error:
            self._names -= files.keys() - self._on_disk
            self._failed(error)

    def _file(self, name: str) -> str:
        return f"{self._path}/{self._layout.root}/{name}"

    def _make_folders(self) -> None:
        paths = [self._path, *(f"{self._path}/{folder}" for folder in self._layout.folders)]
        for path in paths:
            try:
                os.mkdir(path)
            except FileExistsError:
                continue
        self._is_made = True

    def _write_lines(self, lines: list[str]) -> None:
        data = "".join(lines).encode()
        if self._size + len(data) <= self._layout.maximum_size:
            self._append(data)
            return
        data = b""
        for line in lines:
            encoded = line.encode()
            if self._size + len(data) + len(encoded) > self._layout.maximum_size:
                self._append(data)
                self._rotate()
                data = b""
            data += encoded
        self._append(data)

    def _append(self, data: bytes) -> None:
        path = f"{self._path}/{self._layout.log}"
        file = os.open(path, _LOG_FLAGS, 0o644)
        try:
            self._size += _write_all(file, path, data)
        finally:
            os.close(file)

    def _rotate(self) -> None:
        os.replace(f"{self._path}/{self._layout.log}", f"{self._path}/{self._layout.backup}")
        self._size = 0


class FailureDisk:
    """A phone's virtual disk that is in memory until a boot fails, and then what `make` gives."""

    __slots__ = ("_disk", "_files", "_kept", "_make", "_most")

    def __init__(self, make: Callable[[], FolderDisk]) -> None:
        self._make = make
        self._most = LINES_KEPT
        self._kept: list[WriteLog] = []
        self._files: dict[str, bytes] = {}
        self._disk: FolderDisk | None = None

    def files(self) -> Mapping[str, bytes]:
        """Every file but the logs, by name."""
        return self._files if self._disk is None else self._disk.files()

    def write_file(self, name: str, data: bytes) -> None:
        """Write a whole file."""
        if self._disk is None:
            self._files[name] = data
        else:
            self._disk.write_file(name, data)

    def delete_file(self, name: str) -> None:
        """Remove a file, if it is there."""
        if self._disk is None:
            self._files.pop(name, None)
        else:
            self._disk.delete_file(name)

    def append_log(self, line: WriteLog) -> None:
        """Keep the last of what is appended, or write it."""
        if self._disk is not None:
            self._disk.append_log(line)
            return
        self._kept.append(line)
        if len(self._kept) >= 2 * self._most:
            del self._kept[: self._most]

    def settled(self, *, is_well: bool) -> None:
        """Forget how a boot that ended well went; write all of it, once one failed."""
        if self._disk is not None:
            return
        kept, self._kept = self._kept, []
        if is_well:
            self._most = LINES_KEPT_SIGNED_IN
            return
        self._disk = self._make()
        for name, data in self._files.items():
            self._disk.write_file(name, data)
        for line in kept:
            self._disk.append_log(line)

    def flush(self) -> None:
        """Put everything that was written where a reader finds it."""
        if self._disk is not None:
            self._disk.flush()


def _write_whole(path: str, data: bytes) -> None:
    """Write a file under another name and rename it; nothing of it is left if that fails."""
    fresh = path + _UNFINISHED
    file = os.open(fresh, _FILE_FLAGS, 0o600)
    try:
        try:
            _write_all(file, fresh, data)
        finally:
            os.close(file)
        os.replace(fresh, path)
    except OSError:
        with contextlib.suppress(OSError):
            os.unlink(fresh)
        raise


def _write_all(file: int, path: str, data: bytes) -> int:
    """Write `data` and return its size: a full disk takes part of it, then raises."""
    written = os.write(file, data)
    while written < len(data):
        more = os.write(file, data[written:])
        if not more:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), path)
        written += more
    return written


def _why(error: OSError) -> str:
    return error.strerror or str(error)


def _to_operator_log(text: str) -> None:
    structlog.get_logger("phonesim").warning(text)
