from __future__ import annotations

import re
import textwrap
from pathlib import Path

import pytest

from phonesim.field.causes import CAUSES, Cause
from phonesim.field.failures import FAILURE
from phonesim.profiles import load, names

PAGE = Path(__file__).parents[2] / "docs" / "failures.md"
ROW = re.compile(r"^\| `([a-z0-9-]+)` \| (.+?) \| (.+?) \| (.+?) \| (.+?) \|$", re.MULTILINE)


def test_the_page_has_every_cause_as_it_is() -> None:
    rows = {name: (title, places) for name, title, _, places, _ in ROW.findall(PAGE.read_text())}
    assert rows == {
        name: (cause.title, ", ".join(dict.fromkeys(each.where for each in cause.remedies)))
        for name, cause in CAUSES.items()
    }


def test_the_page_names_the_profiles_that_reproduce_a_cause() -> None:
    profiles: dict[str, list[str]] = {}
    for name in names(FAILURE):
        failure = load(FAILURE, name)
        found = dict.fromkeys(
            cause for source in ("log", "capture") for cause in failure.findings_from(source)
        )
        for cause in found:
            profiles.setdefault(cause, []).append(f"`{name}`")
    assert {name: named for name, _, _, _, named in ROW.findall(PAGE.read_text())} == {
        name: ", ".join(profiles.get(name, ["none"])) for name in CAUSES
    }


@pytest.mark.parametrize("cause", CAUSES.values(), ids=list(CAUSES))
def test_no_remedy_has_a_value_that_is_cut_off(cause: Cause) -> None:
    assert not any("..." in each.how for each in cause.remedies if "dhcp" in each.where.lower())


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
