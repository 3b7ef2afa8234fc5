"""Plays a table of events at a machine, and says readably where it departs.

    play(machine, [(now, event, [expected actions and events]), ...])

Actions and events are compared exactly and in order. Log records count only in rows that
expect some: then all of the row's must be there, in that order, among others.
"""

from __future__ import annotations

import difflib
import random
from collections.abc import Iterable, Sequence
from typing import Any

import msgspec

from phonesim.device.device_log import LogRecord


class like:
    """Equal to a message of that class whose named fields have these values."""

    def __init__(self, kind: type, /, **fields: Any) -> None:
        self.kind = kind
        self.fields = fields

    def __eq__(self, other: object) -> bool:
        return isinstance(other, self.kind) and all(
            getattr(other, name) == value for name, value in self.fields.items()
        )

    __hash__ = None

    def __repr__(self) -> str:
        fields = ", ".join(f"{name}={value!r}" for name, value in self.fields.items())
        return f"like {self.kind.__name__}({fields})"


class matching:
    """Equal to a record of that kind whose fields, as far as they are named, have these values."""

    def __init__(self, kind: Any, **fields: Any) -> None:
        self.kind = kind
        self.fields = fields

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, LogRecord) or other.name != self.kind.name:
            return False
        values = dict(zip(self.kind.fields, other.values, strict=True))
        return all(values[name] == value for name, value in self.fields.items())

    __hash__ = None

    def __repr__(self) -> str:
        fields = ", ".join(f"{name}={value!r}" for name, value in self.fields.items())
        return f"{self.kind.name}({fields})"


class containing:
    """Equal to a text that holds every one of these fragments."""

    def __init__(self, *fragments: str) -> None:
        self.fragments = fragments

    def __eq__(self, other: object) -> bool:
        return isinstance(other, str) and all(fragment in other for fragment in self.fragments)

    __hash__ = None

    def __repr__(self) -> str:
        return f"containing({', '.join(map(repr, self.fragments))})"


class Dice(random.Random):
    """Numbers that a table can name: 1, 2, 3, ... for bits, the middle of every range."""

    def __init__(self) -> None:
        super().__init__(0)
        self.rolled = 0

    def getrandbits(self, k: int, /) -> int:
        self.rolled += 1
        return self.rolled

    def uniform(self, a: float, b: float) -> float:
        return (a + b) / 2

    def randbytes(self, n: int) -> bytes:
        return bytes(range(n))

    def randrange(self, start: int, stop: int | None = None, step: int = 1) -> int:
        self.rolled += 1
        return start + self.rolled

    def randint(self, a: int, b: int) -> int:
        return b


def play(machine: Any, rows: Iterable[tuple[float, Any, Sequence[Any]]]) -> None:
    """Hand the machine every event of the table; AssertionError shows the first row that differs.

    A row whose event is None only checks, as its `[(at, why)]` or `[]`, the next deadline.
    """
    for number, (now, event, expected) in enumerate(rows):
        if event is None:
            deadline = machine.next_deadline()
            actual: list[Any] = [] if deadline is None else [deadline]
        else:
            actual = list(machine.handle(event, now))
        where = f"row {number}, now={now}: {event!r}"
        _compare(where, actual, expected)


def _compare(where: str, actual: list[Any], expected: Sequence[Any]) -> None:
    wanted = [item for item in expected if not _is_record(item)]
    given = [item for item in actual if not isinstance(item, LogRecord)]
    if wanted != given:
        raise AssertionError(f"{where}\n{_diff(wanted, given)}")
    records = [item for item in actual if isinstance(item, LogRecord)]
    found = iter(records)
    for item in expected:
        if _is_record(item) and not any(item == record for record in found):
            shown = "\n".join(f"  {record.name}{record.values}" for record in records)
            raise AssertionError(f"{where}\nno record, or not in this order: {item!r}\n{shown}")


def _is_record(item: Any) -> bool:
    return isinstance(item, LogRecord | matching)


def _diff(wanted: Sequence[Any], given: Sequence[Any]) -> str:
    """Lines with - are missing, lines with + are too many; equal items are one line."""
    left: list[str] = []
    right: list[str] = []
    for index in range(max(len(wanted), len(given))):
        expected = wanted[index] if index < len(wanted) else None
        actual = given[index] if index < len(given) else None
        if expected is not None and actual is not None and expected == actual:
            left.append(f"{type(actual).__name__}: as expected")
            right.append(left[-1])
            continue
        if expected is not None:
            left += _render(expected, None)
        if actual is not None:
            right += _render(actual, expected)
    return "\n".join(difflib.ndiff(left, right))


def _render(item: Any, expected: Any) -> list[str]:
    """An item, a line a field; of an actual item only the fields that are expected."""
    if isinstance(item, like):
        fields, name = item.fields, item.kind.__name__
    elif isinstance(item, msgspec.Struct):
        fields, name = msgspec.structs.asdict(item), type(item).__name__
        if isinstance(expected, like) and isinstance(item, expected.kind):
            fields = {key: fields[key] for key in expected.fields if key in fields}
    else:
        return [repr(item)]
    lines = [name]
    for key, value in fields.items():
        nested = expected.fields.get(key) if isinstance(expected, like) else None
        if isinstance(value, like | msgspec.Struct):
            lines += [f"  {key}: {line}" for line in _render(value, nested)]
        else:
            lines.append(f"  {key} = {value!r}")
    return lines
