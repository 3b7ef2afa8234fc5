"""The device log: which records a phone can write, and the dialect that turns them into lines.

A record is a name and its values; `RECORDS` lists every record with its fields.
The text of a record is data of the device profile, so that someone who holds a
real log can match it. A `Dialect` compiles those texts once: `format` makes the
line, `parse` reads a line back into the record it came from.

One line: `MM/DD/YYYY HH:MM:SS.mmm|tttttttttt|ZONE    |text` and CRLF, where the time is
what the phone's clock believes (UTC) and `tttttttttt` the milliseconds since power was
applied. `docs/device-log.md` is the grammar.

Specifications: none is public. The path is documented, this dialect is synthetic.
"""

from __future__ import annotations

import msgspec


class LogRecord(msgspec.Struct, frozen=True):
    """One record: a key of `RECORDS`, and a value for each of its fields, in order."""

    name: str
    values: tuple[str | int | float, ...] = ()
