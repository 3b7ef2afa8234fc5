import os
import pty
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import pytest

WITH_INTERFACE = (
    *("unshare", "--net", "sh", "-c"),
    'ip link add wire0 type veth peer name other0 && ip link set wire0 up && exec "$@"',
    "sh",
)
"""Runs what follows in a network of its own: wire0 is up there, and other0 is not."""

VARIES = {"run", "wall_s", "cpu_s", "peak_rss_mb"}


def tree(run: Path) -> dict[str, bytes]:
    """Every file of the phones of a run, by its path."""
    return {
        str(file.relative_to(run)): file.read_bytes()
        for folder in run.iterdir()
        if folder.is_dir()
        for file in sorted(folder.rglob("*"))
        if file.is_file()
    }


def test_two_virtual_runs_of_one_seed_are_the_same(phonesim: Callable, tmp_path: Path) -> None:
    arguments = ["run", "power-cut", "-n", 200, "-s", 3, "--out", tmp_path, "--json"]
    arguments += ["--boots", 2, "--set", "fleet.links.loss=0.05"]
    first, second = phonesim(*arguments), phonesim(*arguments)
    assert (first.status, second.status) == (0, 0)
    one, two = first.document, second.document
    assert one["run"] != two["run"]
    assert {key for key in one if one[key] != two[key]} <= VARIES
    assert one["signed_in"] == one["phones"] == 200
    assert one["exchanges"]["dhcp_discover"]["retransmitted"] > 0
    trees = [tree(tmp_path / document["run"]) for document in (one, two)]
    assert len(trees[0]) >= 200
    assert trees[0] == trees[1]
    logs = [(tmp_path / document["run"] / "operator.log") for document in (one, two)]
    assert logs[0].read_bytes() == logs[1].read_bytes()
    other = phonesim(*arguments, "-s", 4).document
    assert tree(tmp_path / other["run"]) != trees[0]


def test_phones_sign_in_on_loopback(phonesim: Callable, tmp_path: Path) -> None:
    came = phonesim("run", "demo", "-n", 4, "--out", tmp_path, "--json")
    summary = came.document
    assert summary["signed_in"] == 4
    assert summary["attach"] == "loopback"
    assert summary["exchanges"]["sip_register"]["answered"] >= 4
    assert came.status == (0 if summary["valid"] else 4)
    for folder in (tmp_path / summary["run"]).glob("*-*-*-*-*-*"):
        log = (folder / "DSK1/logs/cpsw3g.log").read_bytes()
        assert b"Signed in as sip:user" in log


def test_failed_phones_are_status_3_and_the_summary_names_the_reason(
    phonesim: Callable, tmp_path: Path
) -> None:
    came = phonesim("run", "power-cut", "-n", 6, "--fault", "pin-wrong", "--out", tmp_path)
    assert came.status == 3
    lines = came.out.splitlines()
    assert lines[0].startswith("0 of 6 phones signed in, 6 failed (virtual, site contoso, seed 1")
    [failure] = [line for line in lines if line.startswith("pin-incorrect")]
    assert failure.split()[1:4] == ["6", "ticket", "00-04-F2-00-00-01"]
    assert f"Results: {tmp_path}" in came.out
    cat = lines[-1].removeprefix("A phone's log: phonesim ").split()
    log = phonesim(*cat)
    assert log.status == 0
    assert "PIN" in log.out


def test_fewer_expectations_are_met_sooner(phonesim: Callable, tmp_path: Path) -> None:
    arguments = ["run", "power-cut", "-n", 4, "--fault", "pin-wrong", "--out", tmp_path]
    assert phonesim(*arguments, "--set", "fleet.expect.signed_in=0").status == 0


def test_with_json_stdout_is_one_document(phonesim: Callable, tmp_path: Path) -> None:
    came = phonesim("run", "power-cut", "-n", 2, "--out", tmp_path, "--json")
    assert list(came.document) == [
        "run",
        "fleet",
        "site",
        "faults",
        "attach",
        "seed",
        "phones",
        "signed_in",
        "completed",
        "failed",
        "failures",
        "registrations_lost",
        "registrations_regained",
        "registrations_failed_over",
        "registrations_returned",
        "stages",
        "exchanges",
        "servers",
        "vlans",
        "relays",
        "lateness_ms",
        "wall_s",
        "cpu_s",
        "peak_rss_mb",
        "valid",
        "notes",
    ]
    assert (tmp_path / came.document["run"] / "summary.json").read_text() == came.out


def test_dhcp_alone_is_loaded(phonesim: Callable, tmp_path: Path) -> None:
    arguments = ["run", "dhcp-load", "-n", 30, "--out", tmp_path]
    came = phonesim(*arguments)
    assert came.status == 0
    lines = came.out.splitlines()
    assert lines[0].startswith("30 of 30 phones done: ip, 0 failed (loopback, site contoso")
    [heading] = [line for line in lines if line.startswith("exchange")]
    assert heading.split()[3:7] == ["answered", "a", "second", "p50"]
    rates = {line.split()[0]: float(line.split()[4]) for line in lines if line.startswith("dhcp_")}
    assert set(rates) == {"dhcp_discover", "dhcp_request"}
    assert all(rate > 0 for rate in rates.values())
    assert " of 30 done, " in came.err

    summary = phonesim(*arguments, "--attach", "virtual", "--json").document
    assert (summary["signed_in"], summary["completed"], summary["failed"]) == (0, 30, 0)
    assert set(summary["stages"]) == {"ip"}
    assert summary["lateness_ms"] == {"p50": 0, "p90": 0, "p99": 0, "max": 0}
    assert summary["exchanges"]["dhcp_request"]["per_second"] > 0
    assert phonesim("logs", "ls", "--out", tmp_path).out.count(" 30 ") >= 2


@pytest.mark.parametrize("attach", ["loopback", "virtual"])
def test_dns_alone_is_loaded(phonesim: Callable, tmp_path: Path, attach: str) -> None:
    came = phonesim(
        *("run", "dns-load", "-n", 20, "--attach", attach, "--until", "4s"),
        *("--set", "fleet.repeat_every=1.5", "--out", tmp_path, "--json"),
    )
    assert came.status == 0
    summary = came.document
    assert (summary["completed"], summary["failed"]) == (20, 0)
    assert set(summary["stages"]) == {"discovery"}
    # Two queries a discovery, and every phone does three: at about 0, 1.5 and 3 seconds.
    assert set(summary["exchanges"]) == {"dns"}
    assert summary["exchanges"]["dns"]["answered"] == 3 * 20 * 2
    assert summary["servers"]["dns"]["127.20.0.11"]["sent"] == 3 * 20 * 2


def test_a_rate_on_the_command_line_takes_the_place_of_a_shape(
    phonesim: Callable, tmp_path: Path
) -> None:
    run = ("run", "poe-return", "-n", 10, "--out", tmp_path, "--json")
    shaped, steady = phonesim(*run).document, phonesim(*run, "--rate", 100).document
    assert shaped["signed_in"] == steady["signed_in"] == 10
    by = {
        name: phonesim("logs", "cat", "00-0A", "--run", name, "--out", tmp_path).out.splitlines()
        for name in (shaped["run"], steady["run"])
    }
    assert by[shaped["run"]] != by[steady["run"]]


def test_stages_are_set_on_the_command_line(phonesim: Callable, tmp_path: Path) -> None:
    arguments = ["run", "power-cut", "-n", 5, "--out", tmp_path]
    came = phonesim(*arguments, "--set", "fleet.stages=[ip, discovery]")
    assert came.status == 0
    assert came.out.startswith("5 of 5 phones done: ip, discovery, 0 failed (virtual")
    came = phonesim(*arguments, "--set", "fleet.stages=[discovery, ip]")
    assert came.status == 2
    assert "should be [ip], [vlan, ip], [ip, discovery], [discovery] or [register]" in came.err


def test_a_fleet_that_is_not_answered_is_stopped(phonesim: Callable, tmp_path: Path) -> None:
    came = phonesim(
        *("run", "dhcp-load", "--attach", "virtual", "--fault", "dhcp-silent", "-n", 300),
        *("--set", "fleet.limits.unanswered_window=20", "--out", tmp_path),
    )
    assert came.status == 4
    assert "more than 20% of the last 20 exchanges had no answer in time" in came.out
    assert "NOT VALID" in came.out
    assert "interrupted" not in came.out


def test_phones_that_had_to_wait_are_mentioned(phonesim: Callable, tmp_path: Path) -> None:
    arguments = ["run", "power-cut", "-n", 20, "--out", tmp_path]
    assert "started late" not in phonesim(*arguments).out
    came = phonesim(*arguments, "--set", "fleet.limits.outstanding=1")
    assert came.status == 0
    assert "Phones started late: p50 " in came.out


def test_no_pin_is_in_anything_that_a_run_leaves(phonesim: Callable, tmp_path: Path) -> None:
    came = phonesim("run", "power-cut", "-n", 3, "--out", tmp_path)
    files = [file for file in tmp_path.rglob("*") if file.is_file()]
    for pin in ("8000014", "8000024", "8000034"):
        assert pin not in came.out + came.err
        assert not [file for file in files if pin.encode() in file.read_bytes()]


def interrupted(run: subprocess.Popen[str], logs: Path) -> tuple[str, str]:
    """Interrupt a run when its first phone has begun to write."""
    while not list(logs.glob("*/operator.log")):
        time.sleep(0.05)
    time.sleep(0.5)
    run.send_signal(signal.SIGINT)
    return run.communicate()


@pytest.mark.parametrize(
    "arguments",
    [["power-cut", "-n", 200, "--until", "1000d"], ["demo", "--until", "10m"]],
    ids=["virtual", "loopback"],
)
def test_ctrl_c_ends_a_run_with_its_results(
    program: Callable, tmp_path: Path, arguments: list[object]
) -> None:
    run = program("run", *arguments, "--out", tmp_path)
    out, err = interrupted(run, tmp_path)
    assert run.returncode == 4
    assert "NOT VALID" in out
    assert "Note: interrupted" in out
    assert "Traceback" not in err
    [folder] = tmp_path.iterdir()
    assert (folder / "summary.json").exists()
    assert (folder / "run.db").exists()


@pytest.fixture
def hq(tmp_path: Path) -> tuple[object, ...]:
    """The arguments of three phones on a real network, and of where their run goes."""
    users = tmp_path / "hq.yaml"
    users.write_text(
        "name: hq\nusers: [{count: 9, sip_uri: 'sip:u{n}@hq', number: '{n}', pin: '1'}]\n"
    )
    settings = ("--set", f"fleet.users_from={users}", "--out", tmp_path / "logs")
    return "run", "--attach", "wire", "--site", "none", "-n", 3, "-r", 2, *settings


@pytest.mark.interop("unshare")
def test_packets_for_a_real_network_need_consent(
    program: Callable, tmp_path: Path, hq: tuple[object, ...]
) -> None:
    run = program(*hq, "-i", "wire0", by=WITH_INTERFACE, stdin=subprocess.DEVNULL)
    _, err = run.communicate()
    assert run.returncode == 2
    assert "interface wire0" in err
    assert "phones    3, with MACs 00-04-F2-00-00-01 to 00-04-F2-00-00-03" in err
    assert "starts    2 a second" in err
    assert err.endswith("say --yes to agree without a terminal\n")
    assert not (tmp_path / "logs").exists()


@pytest.mark.interop("unshare")
def test_a_person_at_a_terminal_is_asked(program: Callable, hq: tuple[object, ...]) -> None:
    terminal, theirs = pty.openpty()
    run = program(*hq, "-i", "wire0", by=WITH_INTERFACE, stdin=theirs)
    os.close(theirs)
    os.write(terminal, b"n\n")
    _, err = run.communicate()
    os.close(terminal)
    assert run.returncode == 2
    assert "Go ahead? [y/N]" in err
    assert err.endswith("phonesim: nothing was sent\n")


def test_what_cannot_run_is_not_asked_about(phonesim: Callable, hq: tuple[object, ...]) -> None:
    came = phonesim(*hq, "-i", "nonexistent0")
    assert came.status == 2
    [line] = came.err.splitlines()
    assert "nonexistent0: there is none of that name" in line or "run it as root" in line


@pytest.mark.interop("unshare")
@pytest.mark.parametrize(
    ("interface", "site", "told"),
    [
        ("other0", "none", "interface other0: it is down"),
        ("wire0", "contoso", "the site's address 127.20.0.10 is a loopback address"),
    ],
)
def test_an_interface_or_a_site_that_cannot_be_used_is_not_asked_about(
    program: Callable, hq: tuple[object, ...], interface: str, site: str, told: str
) -> None:
    run = program(*hq, "-i", interface, "--site", site, by=WITH_INTERFACE)
    _, err = run.communicate()
    assert run.returncode == 2
    [line] = err.splitlines()
    assert line.startswith(f"phonesim: {told}")


def test_on_a_terminal_there_is_one_line_that_changes(program: Callable, tmp_path: Path) -> None:
    terminal, theirs = pty.openpty()
    environment = {**os.environ, "TERM": "xterm-256color", "COLUMNS": "100"}
    run = program("run", "power-cut", "--out", tmp_path, stderr=theirs, env=environment)
    os.close(theirs)
    shown = b""
    while True:
        try:
            block = os.read(terminal, 65536)
        except OSError:  # Linux: the other end is closed
            break
        if not block:
            break
        shown += block
    out, _ = run.communicate()
    os.close(terminal)
    assert run.returncode == 0
    assert b" of 1000 signed in, 0 failed  waiting " in shown
    assert b"\x1b[2K" in shown
    assert out.startswith("1000 of 1000 phones signed in")


def test_phones_behind_a_silent_relay_are_shown_by_giaddr(
    phonesim: Callable, tmp_path: Path
) -> None:
    came = phonesim(
        *("run", "relay-load", "-n", 40, "-r", 200, "--out", tmp_path),
        *("--set", "fleet.relay.giaddrs.3.giaddr=127.200.0.1"),  # no scope has it
        *("--set", "device.dhcp.retransmit_delays=[1.1]", "--set", "fleet.timeout=20"),
    )
    assert came.status == 3
    assert "38 of 40 phones done: ip, 2 failed (relay, site branches" in came.out
    table = came.out.partition("giaddr ")[2].splitlines()
    assert table[1].split() == ["127.200.0.1", "2", "0", "2", "branch04", "no-lease", "2"]
    assert table[2] == "all phones behind the other 19 giaddrs ended well"


def test_a_giaddr_of_another_host_is_one_line(phonesim: Callable, tmp_path: Path) -> None:
    came = phonesim(
        *("run", "relay-load", "-n", 2, "--site", "none", "--yes", "--out", tmp_path),
        *("--set", "fleet.relay={servers: [198.51.100.1], giaddrs: [198.51.100.7]}"),
    )
    assert came.status == 2
    [line] = came.err.splitlines()
    assert line.startswith("phonesim: giaddr 198.51.100.7 is not an address")
    assert list(tmp_path.iterdir()) == []


def test_a_fleet_that_keeps_failed_phones_logs_says_where_there_are_none(
    phonesim: Callable, tmp_path: Path
) -> None:
    command = ("run", "dhcp-load", "--attach", "virtual", "-n", 2, "--out", tmp_path)
    came = phonesim(*command)
    assert came.status == 0
    assert "No boot failed, so no phone's log was kept" in came.out
    assert "phonesim logs cat" not in came.out

    came = phonesim(*command, "--fault", "dhcp-silent")
    assert came.status == 3
    assert "phonesim logs cat 00-04-F2-00-00-01" in came.out
    assert len(list(tmp_path.glob("*/*/DSK1/logs/cpsw3g.log"))) == 2


@pytest.mark.parametrize("attach", ["virtual", "loopback"])
def test_the_phones_of_an_earlier_run_begin_with_what_it_left(
    phonesim: Callable, tmp_path: Path, attach: str
) -> None:
    arguments = ["run", "demo", "-n", 3, "--attach", attach, "--out", tmp_path, "--json"]
    first = phonesim(*arguments).document
    second = phonesim(*arguments, "--resume", first["run"]).document
    assert second["signed_in"] == 3
    assert "certificate" not in second["stages"]
    assert "dhcp_inform" not in second["exchanges"]
    assert second["stages"]["register"]["failed"] == 0
    kept = [(tmp_path / each["run"]).glob("*/DSK1/identity.json") for each in (first, second)]
    assert [file.read_bytes() for file in sorted(kept[0])] == [
        file.read_bytes() for file in sorted(kept[1])
    ]


def test_a_run_that_is_not_there_or_has_other_phones_is_refused(
    phonesim: Callable, tmp_path: Path
) -> None:
    arguments = ["run", "power-cut", "-n", 1, "--out", tmp_path]
    assert phonesim(*arguments).status == 0
    (earlier,) = tmp_path.iterdir()
    came = phonesim(*arguments, "--resume", "another")
    assert (came.status, came.err.count("\n")) == (2, 1)
    came = phonesim(*arguments, "--resume", earlier.name, "--set", "fleet.first_phone=77")
    assert came.status == 2
    assert "it has none of this fleet's phones, such as 00-04-F2-00-00-4D" in came.err
    assert list(tmp_path.iterdir()) == [earlier]


def test_phones_that_share_keys_are_told(phonesim: Callable, tmp_path: Path) -> None:
    came = phonesim("run", "demo", "-n", 10, "--out", tmp_path, "--json")
    assert any("10 phones share 8 RSA keys" in note for note in came.document["notes"])
