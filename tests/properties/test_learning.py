"""A log that somebody has edited, or that is damaged, is learned from or refused in one line."""

from __future__ import annotations

import random
import shutil

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from phonesim.errors import ProfileError, UsageError
from phonesim.field.learning.rerun import relive_log
from phonesim.fleet.plan import read_plan
from phonesim.fleet.run_logs import Run, list_phones
from phonesim.fleet.runner import run_fleet
from phonesim.fleet.worlds import world_for
from phonesim.profiles import option_override

FAULTS = ("option-43-malformed", "registrar-503", "pin-locked", "dns-nxdomain")
WORDS = [
    "0.0.0.0",
    "999.1.1.1",
    "-",
    "x",
    "%00",
    "443",
    "-1",
    "https://[",
    "a.b:c",
    "00ZZ",
    "+",
    ",",
]


@pytest.fixture(scope="module")
def logs(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """A phone's log at each of some faulty sites."""
    overrides = [
        option_override("--phones", "fleet", "phones", 1),
        option_override("--attach", "fleet", "attach", "virtual"),
    ]
    texts = []
    for fault in FAULTS:
        base = tmp_path_factory.mktemp(fault)
        plan = read_plan("demo", overrides, [fault])
        finished = run_fleet(plan, world_for("virtual"), base, lambda _: None)
        texts.append(list_phones(Run(path=finished.folder, summary=None))[0].path.read_text())
    return texts


def damage(text: str, rng: random.Random) -> str:
    """The same log with a few words replaced, lines dropped, doubled or moved."""
    lines = text.splitlines()
    for _ in range(rng.randint(1, 6)):
        at = rng.randrange(len(lines))
        match rng.choice(["word", "word", "word", "drop", "double", "move"]):
            case "word":
                words = lines[at].split(" ")
                words[rng.randrange(len(words))] = rng.choice(WORDS)
                lines[at] = " ".join(words)
            case "drop" if len(lines) > 1:
                del lines[at]
            case "move":
                lines.insert(rng.randrange(len(lines)), lines.pop(at))
            case _:
                lines.insert(at, lines[at])
    return "\r\n".join(lines) + "\r\n"


@settings(max_examples=40)
@given(st.integers(0, len(FAULTS) - 1), st.integers(0, 2**32))
def test_a_damaged_log_is_learned_from_or_refused(
    logs: list[str], tmp_path_factory: pytest.TempPathFactory, which: int, seed: int
) -> None:
    base = tmp_path_factory.mktemp("damaged")
    log = base / "cpsw3g.log"
    log.write_text(damage(logs[which], random.Random(seed)), newline="")
    try:
        case = relive_log(log, base / "learned")
    except (UsageError, ProfileError):
        pass  # one line for people
    else:
        assert case.compared
    finally:
        shutil.rmtree(base)
