"""Runs with random faults: every phone comes back, and the same seed does it again."""

import json
import signal
import time
from collections.abc import Callable
from pathlib import Path

import pytest

QUICK = (
    *("--set", "device.retry_delay=5", "--set", "device.registration.failover_delay=2"),
    *("--set", "device.registration.reconnect_delays=[1, 2]"),
    *("--set", "device.dhcp.auto_ip_retry_interval=5"),
)


def monkey(seed: int, *arguments: object) -> tuple[object, ...]:
    return "run", "demo", "--attach", "virtual", "--monkey", seed, *arguments


@pytest.mark.parametrize("seed", range(1, 9))
def test_every_phone_comes_back(phonesim: Callable, tmp_path: Path, seed: int) -> None:
    settings = ("--set", "site.dhcp_servers.0.scope.lease_time=120", "--rate", "0.12")
    came = phonesim(*monkey(seed, "-n", 30, *settings, "--out", tmp_path, "--json"))
    assert came.status == 0, came.err
    summary = came.document
    assert summary["signed_in"] == 30
    assert summary["faults"] == [f"monkey-{seed}"]
    hit = sum(stage["failed"] for stage in summary["stages"].values())
    assert hit + summary["registrations_lost"] > 0
    assert summary["monkey"]["seed"] == seed
    assert "lost" not in summary


def test_faults_fall_on_boots_without_a_rate(phonesim: Callable, tmp_path: Path) -> None:
    arguments = ("-n", 25, "--until", "2m", "--out", tmp_path, "--json")
    spread = phonesim(*monkey(7, *arguments)).document
    assert sum(stage["failed"] for stage in spread["stages"].values()) > 0
    assert spread["signed_in"] == 25
    at_once = phonesim(*monkey(7, "--set", "fleet.shape={kind: burst}", *arguments)).document
    assert sum(stage["failed"] for stage in at_once["stages"].values()) == 0


def test_the_same_seed_repeats_it_byte_for_byte(phonesim: Callable, tmp_path: Path) -> None:
    def trees(seed: int) -> dict[str, bytes]:
        came = phonesim(*monkey(seed, "-n", 12, "--rate", "0.1", "--out", tmp_path, "--json"))
        run = tmp_path / came.document["run"]
        files = [file for file in run.rglob("*") if file.is_file()]
        return {
            str(file.relative_to(run)): file.read_bytes()
            for file in files
            if file.suffix == ".log" or file.parent != run
        }

    first, second = trees(5), trees(5)
    assert "operator.log" in first
    assert first == second
    assert trees(6) != first


def test_what_happened_when_is_in_the_operator_log_and_in_a_table(
    phonesim: Callable, tmp_path: Path
) -> None:
    came = phonesim(*monkey(1, "-n", 5, "--until", "60s", "--out", tmp_path))
    assert came.status == 0
    [run] = tmp_path.iterdir()
    planned = json.loads((run / "summary.json").read_text())["monkey"]["faults"]
    table = came.out.partition("random fault")[2].splitlines()[1:]
    assert [line.split()[0] for line in table[: len(planned)]] == [
        each["server"] for each in planned
    ]
    assert "s after the last of it 5 of 5 phones are registered" in came.out
    told = [json.loads(line) for line in (run / "operator.log").read_text().splitlines()]
    for each in planned:
        at = [line["t"] for line in told if line.get("server") == each["server"]]
        assert any(abs(each["begins_at"] - t) < 0.01 for t in at)
    assert [line["event"] for line in told if "fault outage" in line["event"]]


def test_phones_that_are_not_back_are_diagnosed(phonesim: Callable, tmp_path: Path) -> None:
    # Nothing brings them back in time: the next attempt is hours away.
    settings = ("--set", "device.retry_delay=9000", "--until", "60s", "--grace", 100)
    command = monkey(4, "-n", 20, "--rate", "0.4", *settings, "--out", tmp_path)
    came = phonesim(*command)
    assert came.status == 3
    assert "What kept the phones that are not back:" in came.out
    assert "Evidence, of " in came.out.partition("What kept the phones")[2]
    document = phonesim(*command, "--json").document
    assert document["lost"]["phones"] == document["failed"] > 0
    assert document["lost"]["findings"]


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["--site", "none", "--attach", "loopback"], "--attach virtual or loopback"),
        (["--fault", "pin-wrong"], "leave out --fault"),
        (["--set", "fleet.stages=[ip]"], "no stages"),
        (["--monkey", "x"], "--monkey"),
    ],
)
def test_where_it_cannot_play_is_one_line(
    phonesim: Callable, tmp_path: Path, arguments: list[str], told: str
) -> None:
    users = ("--set", "fleet.users_from=contoso", "--set", "fleet.port_offset=null")
    came = phonesim(*monkey(1, *users, "--out", tmp_path / "logs", *arguments))
    assert came.status == 2
    [line] = came.err.splitlines()
    assert told in line
    assert not (tmp_path / "logs").exists()


def test_grace_is_for_a_monkey(phonesim: Callable) -> None:
    came = phonesim("run", "--attach", "virtual", "--grace", 5)
    assert (came.status, came.err) == (2, "phonesim: --grace: it is for --monkey\n")


def test_phones_come_back_on_loopback(phonesim: Callable, tmp_path: Path) -> None:
    came = phonesim(
        *("run", "demo", "-n", 6, "--rate", "1", "--monkey", 3, "--until", "8s", "--grace", 22),
        *(*QUICK, "--out", tmp_path, "--json"),
    )
    summary = came.document
    assert summary["signed_in"] == 6
    assert came.status == (0 if summary["valid"] else 4)
    [run] = tmp_path.iterdir()
    log = (run / "operator.log").read_text()
    assert "fault outage: the server is down" in log
    assert "fault outage: the server is back" in log


def test_ctrl_c_ends_it_with_its_results(program: Callable, tmp_path: Path) -> None:
    run = program("run", "demo", "-n", 5, "--monkey", 2, "--until", "10m", "--out", tmp_path)
    while not list(tmp_path.glob("*/operator.log")):
        time.sleep(0.05)
    time.sleep(1.5)
    run.send_signal(signal.SIGINT)
    out, err = run.communicate()
    assert run.returncode == 4
    assert "Note: interrupted" in out
    assert "s after the last of it" not in out
    assert "before the faults were over (planned until 600 s): nobody knows" in out
    [summary] = tmp_path.glob("*/summary.json")
    monkey = json.loads(summary.read_text())["monkey"]
    assert 0 < monkey["interrupted_at"] < 600
    assert all(each["begins_at"] < monkey["interrupted_at"] for each in monkey["faults"])
    assert "What kept the phones" not in out
    assert "Traceback" not in err
