"""The operator log: what an operator wants to know of a run, one JSON object a line.

    {"t": 1.204, "level": "warning", "event": "PIN refused", "server": "web", "number": "4711"}

`t` is seconds since the run began. Runs against the real clock add `timestamp` (UTC); a virtual
run does not, so that the same seed gives the same log. While a run lasts, whatever the drivers
log through structlog goes to the same file.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from io import RawIOBase
from pathlib import Path
from typing import Any

import msgspec
import structlog

from phonesim.errors import UsageError
from phonesim.results import Fields, OperatorLog

FILE_NAME = "operator.log"
MAXIMUM_SIZE = 100_000_000
"""Octets after which lines are dropped: a week of failures must not fill a disk."""


@contextlib.contextmanager
def operator_log(folder: Path, *, has_wall_clock: bool) -> Iterator[OperatorLog]:
    """Open the operator log of a run folder; `UsageError` if it cannot be written."""
    path = folder / FILE_NAME
    try:
        file = path.open("ab", buffering=0)
    except OSError as error:
        raise UsageError(f"{path}: cannot be written: {error.strerror}") from None
    processors: list[Any] = [
        structlog.processors.add_log_level,
        structlog.processors.format_exc_info,
        *([structlog.processors.TimeStamper(fmt="iso", utc=True)] if has_wall_clock else []),
        _as_json,
    ]
    with file:
        logger = _FileLogger(file)
        structlog.configure(
            processors=processors,
            wrapper_class=structlog.make_filtering_bound_logger("info"),
            logger_factory=lambda *_: logger,
        )
        log = structlog.get_logger()

        def write(now: float, is_warning: bool, text: str, fields: Fields) -> None:
            if is_warning:
                log.warning(text, t=round(now, 3), **fields)
            else:
                log.info(text, t=round(now, 3), **fields)

        try:
            yield write
        finally:
            structlog.reset_defaults()


def _as_json(_logger: object, _method: str, line: dict[str, Any]) -> bytes:
    first = {key: line.pop(key) for key in ("t", "timestamp", "level", "event") if key in line}
    return msgspec.json.encode({**first, **line}, enc_hook=str)


class _FileLogger:
    """Writes lines to a file, up to a size; if its disk is full, the run goes on without."""

    def __init__(self, file: RawIOBase) -> None:
        self._file = file
        self._left = MAXIMUM_SIZE

    def info(self, line: bytes) -> None:
        if self._left <= 0:
            return
        self._left -= len(line) + 1
        if self._left <= 0:
            line = b'{"level":"warning","event":"this log is full: later lines are dropped"}'
        with contextlib.suppress(OSError):
            self._file.write(line + b"\n")

    debug = warning = error = critical = info
