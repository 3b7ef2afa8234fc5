"""Text for people in lines of 80 columns, and nothing in it that a terminal would obey."""

from __future__ import annotations

import re
import textwrap

WIDTH = 80

_UNPRINTABLE = re.compile(r"[^ -~]")


def printable(text: str) -> str:
    """A text of somebody else's, as printable ASCII."""
    return _UNPRINTABLE.sub(lambda match: f"\\x{ord(match.group()):02X}", text)


def wrapped(
    text: str, first: str = "", rest: str = "  ", *, breaks: bool = False, width: int = WIDTH
) -> list[str]:
    """Lines that begin with `first`, then `rest`; without `breaks` a longer word stays whole."""
    return textwrap.wrap(
        printable(text),
        width,
        initial_indent=first,
        subsequent_indent=rest,
        break_long_words=breaks,
        break_on_hyphens=False,
    ) or [first.rstrip()]
