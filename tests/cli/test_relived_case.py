from collections.abc import Callable
from pathlib import Path

import pytest


@pytest.fixture
def field(phonesim: Callable, tmp_path: Path) -> Path:
    """The folder of a run whose only phone has a locked PIN, with its capture in it."""
    pcap = tmp_path / "field.pcapng"
    arguments = ("--phones", 1, "--attach", "virtual", "--fault", "pin-locked")
    out = tmp_path / "field"
    assert phonesim("run", *arguments, "--pcap", pcap, "--out", out, "--json").status == 3
    (run,) = out.iterdir()
    return run


def test_a_log_is_told_of_as_people_read_it(
    phonesim: Callable, field: Path, tmp_path: Path
) -> None:
    (log,) = field.glob("*/DSK1/logs/cpsw3g.log")
    came = phonesim("reproduce", "--log", log, "--out", tmp_path / "out")
    assert came.status == 0
    assert "in the field: failed at ticket: pin-locked" in came.out
    assert "here:         failed at ticket: pin-locked" in came.out
    assert "The same outcome came out." in came.out
    (learned,) = (tmp_path / "out").glob("*-learned-cpsw3g")
    for name in ("site.yaml", "faults.yaml", "fleet.yaml"):
        assert f"{learned / name}\n" in came.out
    again = phonesim("run", learned / "fleet.yaml", "--out", tmp_path / "again", "--json")
    assert again.document["failures"] == {"pin-locked": 1}


def test_a_capture_is_told_of_as_one_document(
    phonesim: Callable, field: Path, tmp_path: Path
) -> None:
    capture = tmp_path / "field.pcapng"
    document = phonesim("reproduce", "--capture", capture, "--out", tmp_path, "--json").document
    assert document["same_outcome"] is True
    (phone,) = document["phones"]
    assert phone["same"] is True
    assert phone["only_in_field"] is None
    assert phone["milestones_alike"] > 5


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["--log", "/nowhere.log"], "/nowhere.log: cannot be read"),
        (["--capture", "/nowhere.pcap"], "/nowhere.pcap: No such file"),
        (["--capture", __file__], "neither pcap nor pcapng"),
        (["--log", __file__], "no phone"),
        (["--log", "a", "--capture", "b"], "give one of them"),
        (["--log", "a", "pin-locked"], "take no name"),
        (["--log", "a", "--attach", "loopback"], "take no name"),
    ],
)
def test_what_cannot_be_learned_from_is_one_line(
    phonesim: Callable, tmp_path: Path, arguments: list[str], told: str
) -> None:
    came = phonesim("reproduce", *arguments, "--out", tmp_path / "out")
    assert came.status == 2
    assert told in came.err
    assert came.err.count("\n") == 1
    assert not (tmp_path / "out").exists()
