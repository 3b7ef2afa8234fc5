from __future__ import annotations

import io
import sys
from collections.abc import Callable

import pytest
from rich.table import Table
from rich.text import Text

from phonesim.cli.terminal import show, show_error, show_text, tell

HOSTILE = "a\x1b[31mb\x1b]0;title\x1b\\c\x9b1md"
SEEN = r"a\x1B[31mb\x1B]0;title\x1B\c\x9B1md"


class Screen(io.StringIO):
    def isatty(self) -> bool:
        return True


def a_table() -> Table:
    table = Table("what")
    table.add_row(HOSTILE)
    return table


def printed(stream: io.StringIO, *printing: Callable[[], None]) -> str:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "stdout", stream)
        patch.setattr(sys, "stderr", stream)
        patch.setenv("COLUMNS", "100")
        for each in printing:
            each()
    return stream.getvalue()


@pytest.mark.parametrize("kind", [io.StringIO, Screen])
@pytest.mark.parametrize(
    "printing",
    [
        lambda: show(HOSTILE),
        lambda: tell(HOSTILE),
        lambda: show_text(HOSTILE),
        lambda: show_error(HOSTILE),
        lambda: show(a_table()),
    ],
)
def test_what_others_say_is_shown_and_not_obeyed(
    printing: Callable[[], None], kind: type[io.StringIO]
) -> None:
    assert SEEN in printed(kind(), printing)


def test_our_own_styles_reach_a_terminal_alone() -> None:
    def styled() -> None:
        show(Text("plain ").append("bold", style="bold"))

    assert printed(Screen(), styled) == "plain \x1b[1mbold\x1b[0m\n"
    assert printed(io.StringIO(), styled) == "plain bold\n"


@pytest.mark.parametrize("kind", [io.StringIO, Screen])
def test_lines_tabs_and_letters_stay_as_they_are(kind: type[io.StringIO]) -> None:
    lines = "Zürich\n\tGeneva\n"
    assert printed(kind(), lambda: show_text(lines), lambda: show_text(lines[:-1])) == lines * 2
