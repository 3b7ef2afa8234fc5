"""To a real network each phone is a host of its own, and nothing of it stays behind."""

from __future__ import annotations

import os
import re
import signal
import sys
import time
from pathlib import Path

import pytest
from netlab import NO_SWITCH, Fleet, Lab
from real_servers import start_bind, start_dnsmasq, start_kea, start_mock_site

pytestmark = [
    pytest.mark.interop("tcpdump", "tshark"),
    pytest.mark.usefixtures("well_formed"),
    # One after another: many kernels remember 1,024 neighbours, those on loopback among them, in
    # all namespaces together.
    pytest.mark.xdist_group("neighbours"),
]

Users = tuple[str, str]

PHONES = 500
FULL = "phones had MACs of their own in full"
ASKED = re.compile(r"client @\S+ ([0-9.]+)#\d+ .*: query: ")
LEASED = re.compile(r"LEASE_ALLOC \[hwtype=1 ([0-9a-f:]{17})\].* lease ([0-9.]+) has been alloc")


def start_sniffing(lab: Lab) -> None:
    command = [sys.executable, str(Path(__file__).with_name("sniff.py")), "servers0"]
    lab.serve("sniff", command, lambda: "listening" in lab.output("sniff"))


def claims(lab: Lab) -> dict[str, set[tuple[str, str]]]:
    """What the servers' interface received: pairs of address and MAC, by kind of frame."""
    seen: dict[str, set[tuple[str, str]]] = {}
    for line in lab.output("sniff").splitlines()[1:]:
        kind, mac, address = line.split()
        seen.setdefault(kind, set()).add((address, mac))
    return seen


def leases(lab: Lab) -> dict[str, str]:
    """The MAC that Kea leased each address to."""
    found = LEASED.findall(lab.output("kea"))
    return {address: mac.replace(":", "-").upper() for mac, address in found}


def neighbors_meanwhile(lab: Lab, fleet: Fleet) -> dict[str, str]:
    """All that the servers' kernel found until the fleet's end: it forgets some on the way."""
    found: dict[str, str] = {}
    while fleet.poll() is None:
        for address, mac in lab.neighbors().items():
            assert found.setdefault(address, mac) == mac
        time.sleep(0.5)
    return found | lab.neighbors()


@pytest.mark.timeout(240)
@pytest.mark.interop("kea-dhcp4", "named", "nft")
def test_to_the_servers_each_phone_is_a_host_of_its_own(lab: Lab, users: Users) -> None:
    start_kea(lab)
    start_bind(lab)
    start_mock_site(lab)
    start_sniffing(lab)
    before = lab.phones_side()

    fleet = lab.start_fleet("--phones", str(PHONES), "--rate", "20", *NO_SWITCH, *users)
    neighbors = neighbors_meanwhile(lab, fleet)
    status, summary, told = lab.end_of_fleet(fleet)

    assert summary["failures"] == {}, told
    assert (status, summary["signed_in"]) == (0, PHONES)
    assert FULL in summary["notes"]
    leased = leases(lab)
    phones = set(leased.values())
    assert len(leased) == len(phones) == PHONES
    seen = claims(lab)
    assert {mac for _, mac in seen["dhcp"]} == phones
    for kind in ("tcp", "udp"):
        assert seen[kind] == set(leased.items())
    for kind in ("arp", "arp-by"):  # what the message says, and who sent it
        assert {claim for claim in seen[kind] if claim[0] != "0.0.0.0"} == set(leased.items())
    assert neighbors == leased
    assert lab.phones_side() == before


@pytest.mark.interop("dnsmasq", "nft")
def test_without_own_macs_the_servers_see_the_interface(lab: Lab, users: Users) -> None:
    start_dnsmasq(lab, serves_dns=True)
    start_mock_site(lab)
    start_sniffing(lab)

    arguments = ("--phones", "5", "--own-mac", "dhcp-only", *NO_SWITCH)
    status, summary, told = lab.run_fleet(*arguments, *users)

    assert (status, summary["signed_in"]) == (0, 5), told
    assert "phones had MACs of their own in DHCP only, as asked" in summary["notes"]
    seen = claims(lab)
    assert len({mac for _, mac in seen["dhcp"]}) == 5
    assert len({mac for _, mac in seen["tcp"]}) == 1


@pytest.fixture
def untouched(lab: Lab) -> str:
    """The phones' side before there were any."""
    return lab.phones_side()


@pytest.fixture
def running(lab: Lab, untouched: str, users: Users) -> Fleet:
    """Ten phones that stay."""
    start_dnsmasq(lab, serves_dns=True)
    start_mock_site(lab)
    fleet = lab.start_fleet("--phones", "10", "--until", "1h", *NO_SWITCH, *users)
    lab.wait_for_addresses(10)
    return fleet


@pytest.mark.interop("dnsmasq", "nft")
def test_ctrl_c_leaves_nothing_on_the_network(lab: Lab, untouched: str, running: Fleet) -> None:
    during = lab.phones_side()
    status, summary, told = lab.interrupt_fleet(running)
    assert status == 4, told
    assert not summary["valid"]
    assert during != untouched
    assert lab.phones_side() == untouched
    assert (lab.folder / "dnsmasq.leases").read_text() == ""


@pytest.mark.interop("dnsmasq", "nft")
def test_what_kill_9_leaves_doctor_removes(lab: Lab, untouched: str, running: Fleet) -> None:
    assert "nothing, for nothing was left" in lab.doctor("--clean")
    os.killpg(running.pid, signal.SIGKILL)
    running.wait()
    left = "10 addresses on phones0, 1 rule, 2 routes, nft table phonesim_1"
    assert len(lab.addresses()) == 10
    assert left in lab.doctor()
    assert f"Removed: {left}" in lab.doctor("--clean")
    assert lab.phones_side() == untouched


@pytest.mark.interop("dnsmasq", "nft")
def test_what_kill_9_leaves_the_next_run_removes(
    lab: Lab, untouched: str, running: Fleet, users: Users
) -> None:
    os.killpg(running.pid, signal.SIGKILL)
    running.wait()
    status, summary, told = lab.run_fleet("--phones", "10", *NO_SWITCH, *users)
    assert (status, summary["signed_in"]) == (0, 10), told
    assert any("a killed run had left: 10 addresses" in note for note in summary["notes"])
    assert lab.phones_side() == untouched


@pytest.fixture
def many(lab: Lab, untouched: str, users: Users) -> Fleet:
    """Five hundred phones that have leased an address and asked DNS from it, and stay.

    They find nobody to sign in at.
    """
    start_kea(lab)
    start_bind(lab)
    arguments = ("--phones", str(PHONES), "--rate", "100", "--until", "1h")
    fleet = lab.start_fleet(*arguments, *NO_SWITCH, *users)

    def asking() -> int:
        return len(set(ASKED.findall(lab.output("named"))))

    lab.wait_until(lambda: asking() == PHONES, lambda: f"{asking()} of {PHONES} phones ask")
    return fleet


@pytest.mark.interop("kea-dhcp4", "named", "nft")
def test_ctrl_c_ends_many_phones(lab: Lab, untouched: str, many: Fleet) -> None:
    assert len(lab.addresses()) == PHONES
    status, summary, told = lab.interrupt_fleet(many)
    assert (status, summary["signed_in"]) == (4, 0), told
    assert lab.phones_side() == untouched
    assert lab.output("kea").count("DHCP4_RELEASE ") == PHONES


@pytest.mark.interop("kea-dhcp4", "named", "nft")
def test_what_many_phones_leave_doctor_removes(lab: Lab, untouched: str, many: Fleet) -> None:
    os.killpg(many.pid, signal.SIGKILL)
    many.wait()
    assert len(lab.addresses()) == PHONES
    assert f"Removed: {PHONES} addresses on phones0, 1 rule" in lab.doctor("--clean")
    assert lab.phones_side() == untouched


@pytest.mark.interop("kea-dhcp4", "named", "nft")
def test_fleets_share_an_interface_if_their_macs_differ(lab: Lab, many: Fleet) -> None:
    arguments = ("dhcp-load", "--phones", "5")
    refused = lab.start_fleet(*arguments)
    _, told = refused.communicate(timeout=30)
    assert refused.returncode == 2
    assert "another run on this machine has the MACs 00-04-F2-00-00-01 to 00-04-F2-00-01-F4" in told

    status, summary, told = lab.run_fleet(*arguments, "--set", "fleet.first_phone=501")
    assert (status, summary["completed"]) == (0, 5), told
    assert len(lab.addresses()) == PHONES
    assert "00-04-F2-00-01-F5" in leases(lab).values()
