import json
import signal
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from yarl import URL

from phonesim.drivers.authority import SiteAuthority


def said_by(process: subprocess.Popen[str]) -> Any:
    """What a site says of itself once it is up."""
    assert process.stdout is not None
    text = ""
    while not text.endswith("\n}\n"):
        line = process.stdout.readline()
        assert line, process.communicate()[1]
        text += line
    return json.loads(text)


@pytest.fixture
def site(program: Callable) -> Iterator[tuple[subprocess.Popen[str], dict[str, Any]]]:
    """A mock site in a process of its own, and what it says of itself."""
    process = program("site", "contoso", "--json")
    yield process, said_by(process)
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


@pytest.mark.parametrize("name", ["contoso-voice", "branches"])
def test_the_command_that_asks_its_dhcp_server_is_answered(
    phonesim: Callable, program: Callable, name: str
) -> None:
    process = program("site", name, "--json")
    ask = said_by(process)["ask"].removeprefix("phonesim ").split()
    came = phonesim(*ask, "--wait", "0.2", "--json")
    process.send_signal(signal.SIGINT)
    process.communicate()
    assert (came.status, came.err) == (0, "")


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
    assert any(line.startswith("Ask its DHCP server: phonesim dhcputil emul") for line in lines)
    [first] = [line.split() for line in lines if line.startswith("lync01")]
    assert first[1:] == ["sips", "127.20.0.21", "closed", "5061"]


def test_a_site_that_is_started_again_is_still_trusted(program: Callable, tmp_path: Path) -> None:
    file = tmp_path / "authority.pem"
    left = []
    for _ in range(2):
        process = program("site", "contoso", "--authority", file, "--json")
        said_by(process)
        process.send_signal(signal.SIGINT)
        process.communicate()
        assert process.returncode == 0
        left.append(file.read_bytes())
    assert left[0] == left[1]
    assert SiteAuthority.load(left[0]).dump() == left[0]
    assert file.stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize("data", [b"", b"no PEM\n", b"\xff" * 100])
def test_an_authority_that_cannot_be_read_is_the_users_error(
    phonesim: Callable, tmp_path: Path, data: bytes
) -> None:
    file = tmp_path / "authority.pem"
    file.write_bytes(data)
    came = phonesim("site", "contoso", "--authority", file)
    assert (came.status, came.err.count("\n")) == (2, 1)
    assert "authority" in came.err
    assert file.read_bytes() == data


def test_an_authority_that_cannot_be_kept_is_the_users_error(
    phonesim: Callable, tmp_path: Path
) -> None:
    for file, why in (
        (tmp_path / "no such folder" / "a.pem", "No such file or directory"),
        (tmp_path, "File exists"),
        (Path("/dev/zero"), "File exists"),
    ):
        came = phonesim("site", "contoso", "--authority", file)
        assert (came.status, came.err.count("\n")) == (2, 1)
        assert why in came.err


async def test_what_a_peer_sends_cannot_paint_the_terminal(
    site: tuple[subprocess.Popen[str], dict[str, Any]],
) -> None:
    process, served = site
    [place] = [p for p in served["ports"] if (p["server"], p["protocol"]) == ("pool01", "http")]
    url = URL(f"http://{place['address']}:{place['port']}/%1B%5B31mred%0A", encoded=True)
    async with aiohttp.ClientSession() as session, session.get(url) as answer:
        assert answer.status == 404
    process.send_signal(signal.SIGINT)
    _, told = process.communicate()
    assert told.count("\n") == 1
    assert r"\x1B[31mred\x0A" in told
