from __future__ import annotations

import re
import textwrap
from pathlib import Path

import pytest

from phonesim.field.causes import CAUSES, Cause

PAGE = Path(__file__).parents[2] / "docs" / "failures.md"
ROW = re.compile(r"^\| `([a-z0-9-]+)` \| (.+?) \| (.+?) \| (.+?) \|$", re.MULTILINE)


def test_the_page_has_every_cause_as_it_is() -> None:
    rows = {name: (title, places) for name, title, _, places in ROW.findall(PAGE.read_text())}
    assert rows == {
        name: (cause.title, ", ".join(dict.fromkeys(each.where for each in cause.remedies)))
        for name, cause in CAUSES.items()
    }


@pytest.mark.parametrize("cause", CAUSES.values(), ids=list(CAUSES))
def test_a_cause_says_why_and_what_to_do(cause: Cause) -> None:
    assert re.fullmatch(r"[a-z0-9]+(-[a-z0-9]+)*", cause.name)
    assert not cause.title.endswith(".")
    assert cause.why.isascii()
    assert cause.remedies
    assert all(each.where and each.how for each in cause.remedies)


@pytest.mark.parametrize("cause", CAUSES.values(), ids=list(CAUSES))
def test_remedies_are_lines_that_people_can_read(cause: Cause) -> None:
    for remedy in cause.remedies:
        for line in remedy.how.splitlines():
            assert line.strip()
            assert max(map(len, textwrap.wrap(line, 73))) <= 73
