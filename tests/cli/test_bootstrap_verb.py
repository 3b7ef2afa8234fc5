import json
import os
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import pytest

PIN = "8000014"
NUMBER = "+142555500001"
VIRTUAL = ("--attach", "virtual")


@pytest.fixture
def bootstrap(phonesim: Callable, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable:
    """Run the verb, with the user's number and PIN."""
    monkeypatch.setenv("PHONESIM_PIN", PIN)

    def run(*arguments: object):
        return phonesim("bootstrap", "--phone", NUMBER, "--out", tmp_path / "logs", *arguments)

    return run


def fields(text: str) -> dict[str, str]:
    """The result's block."""
    lines = [line.partition(" : ") for line in text.splitlines() if " : " in f"{line} "]
    return {name.strip(): value for name, _, value in lines}


def test_a_phone_signs_in_on_loopback_step_by_step(bootstrap: Callable) -> None:
    came = bootstrap("--user-sip-address", "sip:user00001@contoso.com")
    assert came.status == 0
    lines = came.out.splitlines()
    stages = [line.split()[0] for line in lines if " ms " in line and not line.startswith(" ")]
    assert stages == [
        *("vlan", "ip", "time", "discovery", "chain"),
        *("ticket", "certificate", "register", "commit"),
    ]
    assert any("won by dhcp:127.20.0.10" in line for line in lines)
    block = fields(came.out)
    assert block["TargetFqdn"] == "fe01.contoso.com"
    assert block["TargetUri"].startswith("https://webpool.contoso.com:443/CertProv/")
    assert block["Result"] == "Success"
    assert block["Latency"].startswith("00:00:0")
    assert PIN not in came.out + came.err


@pytest.mark.parametrize(
    ("fault", "error"),
    [
        ("pin-wrong", "ticket: pin-incorrect"),
        ("web-404", "chain: web-services-not-found"),
        ("web-certificate-wildcard", "ticket: certificate-wildcard"),
        ("registrar-certificate-wildcard", "register: certificate-wildcard"),
        ("registrar-forbids", "register: registration-forbidden"),
    ],
)
def test_faults_of_a_site_on_loopback(bootstrap: Callable, fault: str, error: str) -> None:
    came = bootstrap("--fault", fault)
    assert came.status == 3
    block = fields(came.out)
    assert "TargetUri" not in block
    assert block["Result"] == "Failure"
    assert block["Error"].startswith(f"ERROR - {error}")
    assert PIN not in came.out + came.err


def test_the_pin_is_read_from_stdin(
    program: Callable, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("PHONESIM_PIN", raising=False)
    arguments = ("bootstrap", "--ext", NUMBER, *VIRTUAL, "--out", tmp_path)
    run = program(*arguments, "--pin", "-", stdin=subprocess.PIPE)
    out, err = run.communicate(f"{PIN}\n")
    assert run.returncode == 0, err
    assert "Result     : Success" in out
    run = program(*arguments, "--pin", "-", stdin=subprocess.DEVNULL)
    _, err = run.communicate()
    assert (run.returncode, err) == (
        2,
        "phonesim: --pin -: there was no PIN on stdin: nothing was sent\n",
    )
    run = program(*arguments, stdin=subprocess.DEVNULL)
    _, err = run.communicate()
    assert run.returncode == 2
    assert err == "phonesim: no PIN: put it into PHONESIM_PIN, or on stdin with --pin -\n"


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["--pin", "12a4"], "the PIN is not made of digits: nothing was sent"),
        (["--user-sip-address", "user@contoso.com"], "write it as sip:user@example.com"),
        (["--target-uri", "webpool"], "--target-uri webpool: write it as https://"),
        (["--phones", "9"], "less than or equal to 8"),
        (["--also", "warm"], "--also warm: it is cached"),
        (["--every", "soon"], "--every soon: "),
        (["--watch", "--json"], "one of them"),
        (["--warning", "5"], "--warning: it is for --check"),
        (["--attach", "wire"], "give the interface to use"),
        (["--device", "cx601"], "no device profile is named 'cx601'"),
        (["--phone", ""], "give the number or extension"),
    ],
)
def test_what_cannot_be_tried_is_one_line(
    bootstrap: Callable, tmp_path: Path, arguments: list[str], told: str
) -> None:
    came = bootstrap(*VIRTUAL, *arguments)
    assert came.status == 2
    [line] = came.err.splitlines()
    assert told in line
    assert "12a4" not in line
    assert not (tmp_path / "logs").exists()


def test_every_kind_of_phone_in_one_table(bootstrap: Callable) -> None:
    came = bootstrap(
        *(*VIRTUAL, "--also", "cached", "--target-fqdn", "fe01.contoso.com"),
        *("--fault", "no-sign-in-options", "--fault", "no-registrar-records"),
    )
    assert came.status == 3
    table = came.out.partition("phones ")[2].splitlines()[1:]
    rows = {line.split()[0]: line.split()[1] for line in table[:4]}
    assert rows == {"named": "yes", "cold": "no", "cached": "yes", "stale": "no"}
    assert "Only phones with a good cache sign in." in came.out
    assert fields(came.out)["Result"] == "Success"


def test_json_is_one_document(bootstrap: Callable) -> None:
    came = bootstrap(*VIRTUAL, "--also", "cached", "--phones", 2, "--json")
    assert came.status == 0
    document = came.document
    assert document["result"] == "Success"
    assert document["latency"].startswith("00:00:00.")
    assert [trial["phones"] for trial in document["trials"]] == ["cold", "cached", "stale"]
    assert [trial["signed_in"] for trial in document["trials"]] == [2, 2, 2]
    assert document["trials"][0]["steps"][0]["stage"] == "vlan"
    assert PIN not in came.out


def test_check_is_one_line_with_a_plugin_s_status(bootstrap: Callable, tmp_path: Path) -> None:
    came = bootstrap(*VIRTUAL, "--check")
    assert came.status == 0
    [line] = came.out.splitlines()
    assert line.startswith(f"BOOTSTRAP OK - {NUMBER} signed in at fe01.contoso.com in ")
    assert " | latency=" in line
    assert list((tmp_path / "logs").iterdir()) == []

    assert bootstrap(*VIRTUAL, "--check", "--warning", "0.001").status == 1
    assert bootstrap(*VIRTUAL, "--check", "--critical", "0.001").status == 2
    came = bootstrap(*VIRTUAL, "--check", "--fault", "pin-locked")
    assert (came.status, came.out.split(":")[0]) == (2, "BOOTSTRAP CRITICAL - ticket")
    came = bootstrap(*VIRTUAL, "--check", "--site", "nowhere")
    assert (came.status, came.err) == (3, "")
    assert came.out.startswith("BOOTSTRAP UNKNOWN - ")


def test_check_gives_up_in_bounded_time_and_names_the_stage(bootstrap: Callable) -> None:
    came = bootstrap(*VIRTUAL, "--check", "--fault", "dhcp-silent")
    assert came.status == 2
    assert came.out.startswith("BOOTSTRAP CRITICAL - ip: unsettled: no end after 30 s")
    came = bootstrap(*VIRTUAL, "--check", "--fault", "dhcp-silent", "--timeout", 10)
    assert "ip: unsettled: no end after 10 s" in came.out
    came = bootstrap(*VIRTUAL, "--check", "--fault", "dhcp-silent", "--set", "fleet.timeout=11")
    assert "ip: unsettled: no end after 11 s" in came.out
    came = bootstrap(*VIRTUAL, "--fault", "dhcp-silent", "--timeout", 10)
    assert came.status == 3
    assert fields(came.out)["Error"] == "ERROR - ip: unsettled: no end after 10 s"


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["--check", "--warning", 20, "--critical", 5], "--warning 20 is more than --critical 5"),
        (["--check", "--critical", -1], "--critical -1: it is a number of seconds, 0 or more"),
    ],
)
def test_limits_of_a_check_that_cannot_be_are_refused(
    bootstrap: Callable, arguments: list[object], told: str
) -> None:
    came = bootstrap(*VIRTUAL, *arguments)
    assert (came.status, came.err) == (3, "")
    assert came.out.startswith(f"BOOTSTRAP UNKNOWN - {told}")
    assert came.out.count("\n") == 1


def watched(run: subprocess.Popen[str]) -> tuple[str, str]:
    assert run.stdout is not None
    first = run.stdout.readline()
    time.sleep(1.0)  # more tries, of which there is nothing to say
    run.send_signal(signal.SIGINT)
    rest, err = run.communicate()
    return first + rest, err


def test_watch_tells_changes_only_until_ctrl_c(program: Callable, tmp_path: Path) -> None:
    run = program(
        *("bootstrap", "--phone", NUMBER, *VIRTUAL, "--watch", "--every", "50ms"),
        *("--out", tmp_path),
        env={**os.environ, "PHONESIM_PIN": PIN},
    )
    out, err = watched(run)
    assert run.returncode == 0, err
    [line] = out.splitlines()
    assert line.partition("  ")[2].startswith("cold: Success in 00:00:00.")
    assert len(list(tmp_path.iterdir())) == 1


def test_phones_that_do_not_try_are_told_of(bootstrap: Callable) -> None:
    came = bootstrap(*VIRTUAL, "--phones", 3, "--fault", "pin-wrong")
    assert came.status == 3
    assert "cold: 2 more phones did not try, for the first one got no ticket" in came.out
    document = bootstrap(*VIRTUAL, "--phones", 3, "--fault", "pin-wrong", "--json").document
    assert [(each["count"], each["held_back"]) for each in document["trials"]] == [(1, 2)]


def test_watch_does_not_try_a_refused_pin_again(bootstrap: Callable) -> None:
    came = bootstrap(*VIRTUAL, "--watch", "--every", "50ms", "--fault", "pin-wrong")
    assert came.status == 2
    assert "cold: Failure after " in came.out
    assert "it is not tried again, for each try may lock the user" in came.err


def test_a_site_of_its_own_is_found_by_its_port_offset(
    program: Callable, bootstrap: Callable, tmp_path: Path
) -> None:
    site = program("site", "--json")
    try:
        assert site.stdout is not None
        text = ""
        while True:
            text += site.stdout.readline()
            try:
                offset = json.loads(text)["port_offset"]
                break
            except json.JSONDecodeError:
                continue
        came = bootstrap("--site", "none", "--port-offset", offset)
        assert came.status == 0, came.err
        assert fields(came.out)["Result"] == "Success"
    finally:
        site.send_signal(signal.SIGINT)
        site.communicate()


def test_a_finding_says_what_is_wrong_and_how_to_mend_it(bootstrap: Callable) -> None:
    came = bootstrap(*VIRTUAL, "--fault", "web-certificate-wildcard", "--also", "cached")
    assert came.status == 3
    assert fields(came.out)["Diagnosis"].endswith("(certificate-wildcard)")
    assert "The cold phones:" in came.out
    assert "How to mend it:" in came.out
    document = bootstrap(*VIRTUAL, "--fault", "pin-wrong", "--json").document
    assert [found["cause"] for found in document["trials"][0]["findings"]] == ["pin-wrong"]
    assert document["diagnosis"] == "the PIN is not the user's (pin-wrong)"
    document = bootstrap(*VIRTUAL, "--json").document
    assert (document["diagnosis"], document["trials"][0]["findings"]) == ("", [])
