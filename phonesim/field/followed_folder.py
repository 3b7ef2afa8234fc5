"""A run folder whose phones are listened to while they write, and may begin with a cache.

What a phone writes into its device log is all that anybody can know of it; whoever follows a
boot hears it at the moment at which it is written.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from phonesim.config.device_profile import DeviceLogConfig
from phonesim.device.actions import WriteLog
from phonesim.device.cache import CACHE_FILE
from phonesim.drivers.run_folder import RunFolder
from phonesim.world import PhoneDisk

Listener = Callable[[str, WriteLog], None]
"""Takes a phone's id and what it writes into its log."""


class FollowedFolder(RunFolder):
    """The folder of a run; `cache` is put on each phone's disk over what is there."""

    def __init__(self, folder: RunFolder, listener: Listener, cache: bytes | None) -> None:
        super().__init__(folder.path, earlier=folder.earlier)
        self._listener = listener
        self._cache = cache

    def disk(self, phone_id: str, log: DeviceLogConfig) -> PhoneDisk:
        """The disk of one phone; see `RunFolder.disk`."""
        disk = super().disk(phone_id, log)
        if self._cache is not None:
            disk.write_file(CACHE_FILE, self._cache)
        return _FollowedDisk(disk, lambda line: self._listener(phone_id, line))


class _FollowedDisk:
    """A phone's virtual disk that tells what is appended to the log."""

    __slots__ = ("_disk", "_listener")

    def __init__(self, disk: PhoneDisk, listener: Callable[[WriteLog], None]) -> None:
        self._disk = disk
        self._listener = listener

    def files(self) -> Mapping[str, bytes]:
        """Every file but the logs, by name."""
        return self._disk.files()

    def write_file(self, name: str, data: bytes) -> None:
        """Write a whole file."""
        self._disk.write_file(name, data)

    def delete_file(self, name: str) -> None:
        """Remove a file, if it is there."""
        self._disk.delete_file(name)

    def append_log(self, line: WriteLog) -> None:
        """Append to the log, and tell."""
        self._disk.append_log(line)
        self._listener(line)

    def settled(self, *, is_well: bool) -> None:
        """A boot came to an end."""
        self._disk.settled(is_well=is_well)

    def flush(self) -> None:
        """Put everything that was appended where a reader finds it."""
        self._disk.flush()
