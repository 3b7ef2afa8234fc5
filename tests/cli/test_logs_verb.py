import signal
from collections.abc import Callable
from pathlib import Path

import pytest


@pytest.fixture
def runs(phonesim: Callable, tmp_path: Path) -> Path:
    """Two runs of a few phones."""
    for phones in (3, 2):
        assert phonesim("run", "power-cut", "-n", phones, "--out", tmp_path).status == 0
    return tmp_path


def test_ls_lists_runs_and_their_phones(phonesim: Callable, runs: Path) -> None:
    rows = phonesim("logs", "ls", "--out", runs, "--json").document
    assert [row["phones"] for row in rows] == [3, 2]
    assert [row["signed_in"] for row in rows] == [3, 2]
    table = phonesim("logs", "ls", "--out", runs).out.splitlines()
    assert table[0].split()[:3] == ["run", "fleet", "site"]
    assert table[1].startswith(rows[0]["run"])
    phones = phonesim("logs", "ls", rows[0]["run"], "--out", runs, "--json").document
    assert [phone["outcome"] for phone in phones] == ["signed-in"] * 3
    table = phonesim("logs", "ls", rows[0]["run"], "--out", runs).out.splitlines()
    assert table[1].split()[:2] == [phones[0]["phone"], "signed-in"]
    (runs / rows[0]["run"] / "run.db").write_bytes(b"damaged")
    table = phonesim("logs", "ls", rows[0]["run"], "--out", runs).out.splitlines()
    assert table[1].split()[:2] == [phones[0]["phone"], "-"]
    assert [phone["phone"][-2:] for phone in phones] == ["01", "03", "02"]
    assert all(Path(phone["log"]).stat().st_size == phone["size"] for phone in phones)


def test_ls_of_nothing_says_so(phonesim: Callable, tmp_path: Path) -> None:
    assert "no runs yet" in phonesim("logs", "ls", "--out", tmp_path).out


def test_cat_prints_the_file_as_it_is_of_the_latest_run_unless_told(
    program: Callable, runs: Path
) -> None:
    for run in sorted(path for path in runs.iterdir() if path.is_dir()):
        log = run / "00-04-F2-00-00-01/DSK1/logs/cpsw3g.log"
        cat = program("logs", "cat", "00-00-01", "--run", run.name, "--out", runs)
        assert cat.stdout is not None
        assert cat.stdout.buffer.read() == log.read_bytes()
        cat.communicate()
        assert cat.returncode == 0
    latest = program("logs", "cat", "01", "--out", runs)
    assert latest.communicate()[0] == log.read_text().replace("\r\n", "\n")


def test_which_phone_has_to_be_said(phonesim: Callable, runs: Path) -> None:
    came = phonesim("logs", "cat", "--out", runs)
    assert came.status == 2
    assert "has 2 phones: say which" in came.err


def test_tail_prints_the_end(phonesim: Callable, runs: Path) -> None:
    came = phonesim("logs", "tail", "01", "-n", 2, "--out", runs)
    assert came.out.count("\n") == 2
    assert "DHCP state BOUND -> STOPPED" in came.out


def test_tail_follows_until_ctrl_c(program: Callable, runs: Path) -> None:
    latest = sorted(path for path in runs.iterdir() if path.is_dir())[-1]
    log = latest / "00-04-F2-00-00-01/DSK1/logs/cpsw3g.log"
    tail = program("logs", "tail", "01", "-n", 1, "-f", "--out", runs)
    assert tail.stdout is not None
    shown = [tail.stdout.readline()]
    with log.open("ab", buffering=0) as file:
        for number in range(100):
            file.write(f"line {number}\r\n".encode())
    while shown[-1] != "line 99\n":
        shown.append(tail.stdout.readline())
    assert len(shown) == 101
    tail.send_signal(signal.SIGINT)
    _, err = tail.communicate()
    assert (tail.returncode, err) == (0, "")
