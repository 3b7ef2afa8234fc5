"""What is printed where: results to stdout, everything else to stderr.

With `--json`, stdout gets one JSON document and nothing else. Without a terminal there are no
control codes, and a line is as long as it needs to be; with one, there are none but our own, for
what a server said or a file is called is printed, too. A reader that goes away early (`| head`)
is no error.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import sys
import time
from collections.abc import Iterator
from io import StringIO
from shutil import get_terminal_size
from types import TracebackType
from typing import IO, Any, Self

from rich.console import Console, RenderableType
from rich.live import Live
from rich.segment import Segment, Segments
from rich.text import Text

from phonesim.errors import UsageError

_NO_LIMIT = 10_000
"""Columns of what no terminal wraps."""

_CONTROL = re.compile(rb"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f]")
_FOREIGN = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]")


def show(*what: RenderableType) -> None:
    """Print tables and text that are a verb's result to stdout."""
    _print(sys.stdout, what)


def tell(*what: RenderableType) -> None:
    """Print what a person may want to know beside the result, to stderr."""
    _print(sys.stderr, what)


def show_json(document: Any) -> None:
    """Print one JSON document to stdout."""
    _write(sys.stdout, json.dumps(document, indent=2) + "\n")


def show_text(text: str) -> None:
    """Print lines of text to stdout."""
    _write(sys.stdout, _harmless(text.removesuffix("\n")) + "\n")


def show_bytes(data: bytes) -> None:
    """Copy a device log to stdout: as it is, or to a terminal without its control codes."""
    if sys.stdout.isatty():
        data = _CONTROL.sub(b"?", data)
    with _readable_errors(sys.stdout):
        sys.stdout.flush()
        sys.stdout.buffer.write(data)
        sys.stdout.buffer.flush()


def show_error(text: str) -> None:
    """Print one line to stderr that says what is wrong."""
    _write(sys.stderr, f"phonesim: {_harmless(' '.join(text.split()))}\n")


def drop_output(stream: IO[str]) -> None:
    """Make nothing of what is still to be written to a stream that nobody reads."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())


def _print(stream: IO[str], what: tuple[RenderableType, ...]) -> None:
    is_terminal = stream.isatty()
    buffer = StringIO()
    console = Console(
        file=buffer,
        force_terminal=is_terminal,
        width=get_terminal_size().columns if is_terminal else _NO_LIMIT,
        highlight=False,
    )
    for each in what:
        if isinstance(each, str):
            console.print(_harmless(each), soft_wrap=True, markup=False)
        else:
            console.print(Segments(_harmless_segments(console, each)), end="")
    text = buffer.getvalue()
    _write(stream, text if is_terminal else re.sub(r" +$", "", text, flags=re.MULTILINE))


def _harmless(text: str) -> str:
    """A text in which a terminal finds nothing to obey."""
    return _FOREIGN.sub(lambda match: f"\\x{ord(match.group()):02X}", text)


def _harmless_segments(console: Console, what: RenderableType) -> Iterator[Segment]:
    for segment in console.render(what):
        yield Segment(_harmless(segment.text), segment.style, segment.control)


def _write(stream: IO[str], text: str) -> None:
    try:
        with _readable_errors(stream):
            stream.write(text)
            stream.flush()
    except BrokenPipeError:
        drop_output(stream)


@contextlib.contextmanager
def _readable_errors(stream: IO[str]) -> Iterator[None]:
    """Give up a stream that cannot be written; `UsageError` if it was to hold the result."""
    try:
        yield
    except BrokenPipeError:
        raise
    except OSError as error:
        drop_output(stream)
        if stream is sys.stdout:
            raise UsageError(f"standard output cannot be written: {error.strerror}") from None


class StatusLine:
    """One line on stderr that is kept up to date; without a terminal, a line a second."""

    def __init__(self, interval: float = 1.0) -> None:
        self._interval = interval
        self._last_at = float("-inf")
        self._live: Live | None = None
        if sys.stderr.isatty():
            console = Console(stderr=True, highlight=False)
            self._live = Live(console=console, auto_refresh=False, transient=True)

    def __enter__(self) -> Self:
        """Take the line."""
        if self._live is not None:
            self._live.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Give it back."""
        if self._live is not None:
            self._live.stop()

    def update(self, text: str) -> None:
        """Show `text`, unless the last one is too recent."""
        now = time.monotonic()
        if self._live is not None:
            self._live.update(Text(text, no_wrap=True, overflow="crop"), refresh=True)
        elif now - self._last_at >= self._interval:
            self._last_at = now
            tell(text)
