import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest


def test_without_a_verb_it_says_what_there_is(phonesim: Callable) -> None:
    came = phonesim()
    assert came.status == 0
    for verb in ("run", "site", "logs", "profiles", "doctor"):
        assert verb in came.out
    assert "Exit status: 0 all expectations met" in came.out


def test_the_version_is_that_of_the_package(phonesim: Callable) -> None:
    came = phonesim("--version")
    assert came.status == 0
    assert came.out.startswith("phonesim ")


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["rnu"], "rnu"),
        (["run", "--phones", "many"], "--phones"),
        (["run", "--phones", "0"], "--phones 0: should be greater than or equal to 1, not 0"),
        (["run", "--attach", "wired"], "--attach wired: should be"),
        (["run", "dmo"], "no fleet profile is named 'dmo'; did you mean 'demo'?"),
        (["run", "--site", "contosso"], "did you mean 'contoso'?"),
        (["run", "--fault", "dns-dead"], "no fault profile is named 'dns-dead'"),
        (
            ["run", "--fault", "zzz"],
            "no fault profile is named 'zzz'; see: phonesim profiles ls fault\n",
        ),
        (["run", "--set", "fleet.nope=1"], "fleet.nope=1: unknown key\n"),
        (["run", "--set", "fleet.phnes=1"], "unknown key; did you mean 'phones'?"),
        (["run", "--until", "later"], "--until later: should be signed-in, or a duration such as"),
        (["run", "--phones", "200000"], "200000 phones need as many users"),
        (["run", "--attach", "wire"], "--interface"),
        (["run", "--no-such-option"], "--no-such-option"),
        (["logs", "cat", "--out", "/nonexistent"], "/nonexistent: cannot be read"),
        (["profiles", "show", "nothing"], "no profile is named 'nothing'"),
        (["profiles", "schema", "phone"], "no kind of profile is called 'phone'"),
        (["site", "nowhere"], "no site profile is named 'nowhere'"),
    ],
)
def test_wrong_usage_is_one_line_and_status_2(
    phonesim: Callable, arguments: list[str], said: str
) -> None:
    came = phonesim(*arguments)
    assert came.status == 2
    assert came.out == ""
    assert said in came.err
    assert came.err.startswith("phonesim: ")
    assert came.err.count("\n") == 1
    assert "Traceback" not in came.err


def test_a_folder_that_cannot_be_written_is_said(phonesim: Callable, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    came = phonesim("run", "--attach", "virtual", "-n", 1, "--out", tmp_path / "file")
    assert came.status == 2
    assert "no run folder can be made" in came.err


def test_debug_shows_the_traceback_wherever_it_is_said(phonesim: Callable) -> None:
    for arguments in (["--debug", "run", "dmo"], ["run", "dmo", "--debug"]):
        came = phonesim(*arguments)
        assert came.status == 2
        assert "Traceback" in came.err


def test_our_own_mistake_is_status_1(phonesim: Callable, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken() -> None:
        raise ZeroDivisionError("by zero")

    monkeypatch.setattr("phonesim.cli.doctor_verb.examine", broken)
    came = phonesim("doctor")
    assert came.status == 1
    assert came.err == (
        "phonesim: internal error: ZeroDivisionError: by zero (run it again with --debug)\n"
    )
    assert "Traceback" in phonesim("doctor", "--debug").err


def test_ctrl_c_is_status_4(phonesim: Callable, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted() -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("phonesim.cli.doctor_verb.examine", interrupted)
    came = phonesim("doctor")
    assert (came.status, came.err) == (4, "phonesim: interrupted\n")


def test_a_reader_that_goes_away_is_no_error(program: Callable) -> None:
    listing = program("profiles", "show", "polycom-cx600")
    assert listing.stdout is not None
    listing.stdout.close()
    _, err = listing.communicate()
    assert (listing.returncode, err) == (0, "")


@pytest.mark.parametrize(
    "arguments",
    [["profiles", "ls"], ["profiles", "show", "hp-4110", "--json"], ["--version"], ["--help"]],
)
def test_a_full_disk_behind_stdout_is_one_line(program: Callable, arguments: list[str]) -> None:
    with Path("/dev/full").open("w") as full:
        came = program(*arguments, stdout=full)
        _, err = came.communicate()
    assert came.returncode == 2
    assert err == "phonesim: standard output cannot be written: No space left on device\n"


def test_a_full_disk_behind_stderr_does_not_end_a_run(program: Callable, tmp_path: Path) -> None:
    with Path("/dev/full").open("w") as full:
        run = program("run", "power-cut", "-n", 3, "--out", tmp_path, stderr=full)
        out, _ = run.communicate()
    assert run.returncode == 0
    assert out.startswith("3 of 3 phones signed in")


def test_without_a_terminal_there_are_no_control_codes(program: Callable, tmp_path: Path) -> None:
    arguments = ("run", "power-cut", "-n", 50, "--fault", "dhcp-silent", "--out", tmp_path)
    run = program(*arguments, stderr=subprocess.STDOUT)
    out, _ = run.communicate()
    assert run.returncode == 3
    assert "no-lease" in out
    assert not [c for c in out if ord(c) < 32 and c != "\n"]
