"""The file that a capture or a transcript goes to.

Blocks wait in memory until there are `BUFFER` octets of them or `flush` is called, and go
to the file whole: what is in it can be read while the run goes on, and after it was killed.
Where the file cannot be written any more (a full disk), what was written of a block is cut
off again and the rest of the run is not captured.

A new file has mode 0600: it holds users' numbers, addresses and web tickets.
"""

from __future__ import annotations

import contextlib
import errno
import os
from pathlib import Path
from types import TracebackType

from phonesim.errors import UsageError

BUFFER = 65536
"""Octets of blocks that may be in memory."""


class CaptureFile:
    """A new file at `path`, open until the context ends; `UsageError` if there can be none.

    `option` is the one that asked for it.
    """

    def __init__(self, path: Path, option: str = "--pcap") -> None:
        self._path = path
        self._name = f"{option} {path}"
        self._blocks: list[bytes] = []
        self._pending = 0
        self._size = 0
        self._problem: str | None = None
        try:
            flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
            self._file = os.open(path, flags, 0o600)
        except OSError as error:
            raise UsageError(f"{self._name}: {_refusal(path, error)}") from None

    def __enter__(self) -> CaptureFile:
        """Nothing more is needed."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Write what waits, and close."""
        self.flush()
        os.close(self._file)

    def write(self, block: bytes) -> None:
        """Take a whole block."""
        self._blocks.append(block)
        self._pending += len(block)
        if self._pending >= BUFFER:
            self.flush()

    def flush(self) -> None:
        """Put everything that was taken where a reader finds it.

        `UsageError` if not even the first blocks can be written.
        """
        blocks, self._blocks, self._pending = self._blocks, [], 0
        if not blocks or self._problem is not None:
            return
        try:
            self._append(b"".join(blocks))
        except OSError as error:
            with contextlib.suppress(OSError):
                os.ftruncate(self._file, self._size)
            self._problem = error.strerror or str(error)
            if not self._size:
                raise UsageError(f"{self._name}: {_refusal(self._path, error)}") from None

    def discard(self) -> None:
        """Leave no file: there was no run."""
        self._path.unlink(missing_ok=True)

    def notes(self) -> tuple[str, ...]:
        """What to say of the file beside the results."""
        if self._problem is None:
            return ()
        return (f"{self._name}: cannot be written: {self._problem}; it ends before the run",)

    def _append(self, octets: bytes) -> None:
        """Write all of it, or as much as there is room for, then raise OSError."""
        left = memoryview(octets)
        while left:
            written = os.write(self._file, left)
            if not written:
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            left = left[written:]
        self._size += len(octets)


def _refusal(path: Path, error: OSError) -> str:
    match error.errno:
        case errno.EEXIST if path.is_dir():
            return "it is a folder; name a file in it"
        case errno.EEXIST:
            return "it exists already; name another file, or remove it"
        case errno.ENOENT if not path.parent.is_dir():
            return f"there is no folder {path.parent}; make it, or name another file"
        case _:
            return f"cannot be written: {error.strerror or error}; name another file"
