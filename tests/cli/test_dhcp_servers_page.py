"""docs/dhcp-servers.md shows what its commands print; `--update-golden` writes it anew."""

from __future__ import annotations

import shlex
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

PAGE = Path(__file__).parents[2] / "docs" / "dhcp-servers.md"
INDENT = "    "
PROMPT = f"{INDENT}$ phonesim "


def written_anew(page: str, print_of: Callable[[str], str]) -> str:
    """The page with the output of each of its commands below it."""
    lines: list[str] = []
    is_output = False
    for line in page.splitlines():
        if line.startswith(PROMPT):
            printed = print_of(line.removeprefix(PROMPT))
            lines += [line, *(f"{INDENT}{each}".rstrip() for each in printed.splitlines()), ""]
            is_output = True
            continue
        if is_output and (line.startswith(INDENT) or not line):
            continue
        is_output = False
        lines.append(line)
    return "\n".join(lines).rstrip() + "\n"


def test_the_page_shows_what_is_printed(
    phonesim: Callable[..., Any], pytestconfig: pytest.Config
) -> None:
    def print_of(command: str) -> str:
        came = phonesim(*shlex.split(command))
        assert (came.status, came.err) == (0, "")
        return str(came.out)

    page = PAGE.read_text()
    assert page.count(PROMPT) > 9
    anew = written_anew(page, print_of)
    if pytestconfig.getoption("--update-golden"):
        PAGE.write_text(anew)
    assert PAGE.read_text() == anew
