"""Durations as people write them: 90s, 10m, 1h30m."""

from __future__ import annotations

import re
from itertools import chain

_UNITS = {"ms": 0.001, "s": 1, "m": 60, "h": 3600, "d": 86400, "w": 604800}
_PART = re.compile(r"(\d+(?:\.\d+)?)(ms|[smhdw])")


def parse_duration(text: str) -> float:
    """Return seconds for 90s, 10m, 1h30m, 250ms, 7d or 1w; ValueError for what is none."""
    parts = _PART.findall(text)
    if not parts or "".join(chain.from_iterable(parts)) != text:
        raise ValueError(
            f"should be signed-in, or a duration such as 90s, 10m or 1h30m, not {text!r}"
        )
    seconds = sum(float(number) * _UNITS[unit] for number, unit in parts)
    if seconds <= 0:
        raise ValueError(f"should be longer than nothing, not {text!r}")
    return seconds
