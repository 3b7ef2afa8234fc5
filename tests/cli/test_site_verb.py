import json
import signal
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest


@pytest.fixture
def site(program: Callable) -> Iterator[tuple[subprocess.Popen[str], dict[str, Any]]]:
    """A mock site in a process of its own, and what it says of itself."""
    process = program("site", "contoso", "--json")
    assert process.stdout is not None
    text = ""
    while not text.endswith("\n}\n"):
        line = process.stdout.readline()
        assert line, process.communicate()[1]
        text += line
    yield process, json.loads(text)
    if process.poll() is None:
        process.kill()
        process.communicate()


def test_a_fleet_of_another_process_signs_in(
    phonesim: Callable, site: tuple[subprocess.Popen[str], dict[str, Any]], tmp_path: Path
) -> None:
    process, served = site
    assert {port["protocol"] for port in served["ports"]} == {
        "dhcp",
        "dns",
        "ntp",
        "http",
        "https",
        "sips",
    }
    for port in served["ports"]:
        assert port["port"] == port["standard_port"] + served["port_offset"]
    command = served["run"].removeprefix("phonesim ").split()
    came = phonesim(*command, "-n", 3, "--out", tmp_path, "--json")
    assert came.document["signed_in"] == 3
    assert came.document["site"] == "none"
    process.send_signal(signal.SIGINT)
    out, err = process.communicate()
    assert (process.returncode, out, err) == (0, "", "")


def test_a_taken_port_is_the_users_error(
    phonesim: Callable, site: tuple[subprocess.Popen[str], dict[str, Any]]
) -> None:
    came = phonesim("site", "contoso", "--port-offset", site[1]["port_offset"])
    assert came.status == 2
    assert came.err.count("\n") == 1


def test_a_closed_port_is_shown_as_closed(program: Callable) -> None:
    process = program("site", "contoso", "--fault", "registrars-down")
    assert process.stdout is not None
    lines = []
    while not lines or not lines[-1].startswith("Ctrl-C"):
        lines.append(process.stdout.readline())
    process.send_signal(signal.SIGTERM)
    process.communicate()
    assert process.returncode == 0
    [first] = [line.split() for line in lines if line.startswith("lync01")]
    assert first[1:] == ["sips", "127.20.0.21", "closed", "5061"]
