"""`phonesim reproduce`."""

import re
import signal
import time
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml

from phonesim.field.failures import FAILURE
from phonesim.profiles import names

WIDTH = 80


def mine(tmp_path: Path, **changed: object) -> Path:
    file = tmp_path / "mine.yaml"
    file.write_text(yaml.safe_dump({"extends": "pin-locked", "name": "mine", **changed}))
    return file


def test_a_failure_that_appears_as_declared_is_told_in_eighty_columns(
    phonesim: Callable, tmp_path: Path
) -> None:
    came = phonesim("reproduce", "option-43-cut", "--out", tmp_path)
    assert came.status == 0
    lines = came.out.splitlines()
    assert lines[0].startswith("option-43-cut (virtual, ")
    (folder,) = tmp_path.iterdir()
    paths = [line for line in lines if str(tmp_path) in line]
    assert all(len(line) <= WIDTH for line in lines if line not in paths)
    assert f"Logs: {folder}" in lines
    assert f"Capture: {folder}/capture.pcapng" in lines
    assert (folder / "capture.pcapng").is_file()
    assert re.search(r"\d  -> 255.255.255.255  DHCP INFORM of class MS-UC-Client\n", came.out)
    assert re.search(r'  display  +"Unable to locate Lync Certificate Web service"\n', came.out)
    assert "1. Option 43 is cut off" in came.out
    assert "Found in the log: option-43-cut" in came.out
    assert "The failure and its diagnosis appeared as declared." in lines


def test_the_document_says_the_same(phonesim: Callable, tmp_path: Path) -> None:
    came = phonesim("reproduce", "migration-cold-phones-stick", "--json", "--out", tmp_path)
    assert came.status == 0
    document = came.document
    assert (document["as_declared"], document["differences"]) == (True, [])
    assert document["outcomes"] == {"signed-in": 2, "web-services-not-located": 3}
    assert document["findings"]["log"][0] == "sign-in-options-missing"
    assert [story["boot"] for story in document["stories"]] == ["warm", "factory-reset", "cold"]
    assert all(Path(story["log"]).is_file() for story in document["stories"])
    assert Path(document["earlier_run"]).is_dir()


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"faults": []}, "2 of 2 cold phones came to signed-in instead of pin-locked"),
        ({"findings": ["pin-wrong"]}, "the log shows pin-locked instead of pin-wrong"),
        ({"display": "Hello"}, "no display showed 'Hello'"),
    ],
)
def test_what_differs_is_said_and_is_status_3(
    phonesim: Callable, tmp_path: Path, changed: dict, said: str
) -> None:
    file = mine(tmp_path, **changed)
    came = phonesim("reproduce", file, "--out", tmp_path / "runs")
    assert came.status == 3
    assert f"NOT AS DECLARED: {said}" in " ".join(came.out.split())
    came = phonesim("reproduce", file, "--json", "--out", tmp_path / "runs")
    assert (came.status, came.document["as_declared"]) == (3, False)
    assert said in " ".join(came.document["differences"])


def test_without_a_name_the_failures_are_listed_with_what_the_user_sees(
    phonesim: Callable,
) -> None:
    came = phonesim("reproduce")
    assert came.status == 0
    lines = came.out.splitlines()
    assert all(len(line) <= WIDTH for line in lines)
    named = [line.split()[0] for line in lines if re.match(r"  \S", line)]
    assert sorted(set(named) & set(names(FAILURE))) == names(FAILURE)
    *_, group = came.out.partition('The phone shows "Acquiring IP Address":\n')
    assert group.partition("\n\n")[0].startswith("  dhcp-pool-exhausted ")
    assert "The phone stays at Acquiring IP" in group
    rows = phonesim("reproduce", "--json").document
    assert [row["name"] for row in rows] == names(FAILURE)
    assert all(row["symptom"] for row in rows)


def test_all_is_a_table(phonesim: Callable, tmp_path: Path) -> None:
    came = phonesim("reproduce", "--all", "--out", tmp_path)
    assert came.status == 0, came.out
    heading, *rows = came.out.splitlines()[: len(names(FAILURE)) + 1]
    assert heading.split() == ["failure", "outcome", "log", "capture", "seconds"]
    assert [row.split()[:4] for row in rows] == [[name, *["ok"] * 3] for name in names(FAILURE)]
    assert f"{len(rows)} of {len(rows)} failures as declared, in " in came.out
    assert [folder.name.split("-", 2)[2] for folder in tmp_path.iterdir()] == ["reproduce-all"]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["option-43-cutt"], "no failure profile is named 'option-43-cutt'; did you mean"),
        (["zzz"], "no failure profile is named 'zzz'; see: phonesim reproduce\n"),
        (["option-43-cutt"], "? see: phonesim reproduce\n"),
        (["./nowhere.yaml"], "nowhere.yaml: cannot be read: No such file or directory"),
        (["pin-locked", "--all"], "--all takes no name"),
        (["pin-locked", "--attach", "relay"], "--attach relay: it is loopback, wire, virtual"),
        (["pin-locked", "--set", "fleet.nonsense=1"], "--set fleet.nonsense=1: unknown key"),
        (["pin-locked", "--attach", "wire"], "give the interface to use: --interface"),
        (["pin-locked", "--site", "nowhere"], "no site profile is named 'nowhere'"),
    ],
)
def test_what_cannot_be_done_is_one_line(
    phonesim: Callable, tmp_path: Path, arguments: list[str], said: str
) -> None:
    came = phonesim("reproduce", *arguments, "--out", tmp_path / "runs")
    assert (came.status, came.out) == (2, "")
    assert said in came.err
    assert came.err.count("\n") == 1
    assert not (tmp_path / "runs").exists()


def test_a_run_that_is_interrupted_is_not_valid(program: Callable, tmp_path: Path) -> None:
    process = program(
        *("reproduce", "endpoint-displaced", "--attach", "loopback", "--out", tmp_path)
    )
    assert process.stderr is not None
    process.stderr.readline()  # it says how far it is
    process.send_signal(signal.SIGINT)
    out, _ = process.communicate(timeout=40)
    assert process.returncode == 4
    assert "NOT VALID: this run says nothing." in out
    assert "Note: interrupted" in out
    assert "appeared as declared" not in out


def test_all_of_them_end_with_the_one_that_is_interrupted(
    program: Callable, tmp_path: Path
) -> None:
    process = program("reproduce", "--all", "--attach", "loopback", "--out", tmp_path)
    assert process.stderr is not None
    process.stderr.readline()
    process.send_signal(signal.SIGINT)
    out, _ = process.communicate(timeout=40)
    assert process.returncode == 4
    every = names(FAILURE)
    assert f"NOT VALID: only 0 of {len(every)} were done, then {every[0]}: interrupted" in out
    assert "as declared" not in out


def test_of_all_of_them_those_that_were_done_before_an_interruption_are_told(
    program: Callable, tmp_path: Path
) -> None:
    process = program("reproduce", "--all", "--out", tmp_path)
    while len(list(tmp_path.glob("*/*/summary.json"))) < 2:  # the first one is done
        assert process.poll() is None
        time.sleep(0.02)
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=40)
    assert process.returncode == 4, err
    assert "Traceback" not in err
    heading, *lines = out.splitlines()
    assert heading.split()[0] == "failure"
    rows = lines[: lines.index("")]
    done = len(rows)
    assert [row.split()[:4] for row in rows] == [
        [name, *["ok"] * 3] for name in names(FAILURE)[:done]
    ]
    assert f"{done} of {done} failures as declared, in " in out
    cut_short = out.partition(f"NOT VALID: only {done} of {len(names(FAILURE))} were done, then ")
    assert "interrupted" in cut_short[2].splitlines()[0]
