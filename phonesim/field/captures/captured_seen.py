"""What narrators of a capture tell: a record of the log, and the packet that shows it."""

from __future__ import annotations

import msgspec

from phonesim.device.device_log import LogRecord


class Seen(msgspec.Struct, frozen=True, gc=False):
    """A packet: its number in the capture, its time (Unix seconds), its content in words."""

    number: int
    at: float
    text: str


class Told(msgspec.Struct, frozen=True, gc=False):
    """A record, and the packet that shows it."""

    record: LogRecord
    seen: Seen


def shown(name: str, *values: str | int | float) -> LogRecord:
    """A record of `sightings.ONLY_CAPTURED`, its values in the order of the fields there."""
    return LogRecord(name, values)
