"""Phones behind emulated relay agents against Kea, beyond a router."""

from __future__ import annotations

import csv
import json
import os
import re
import signal
from pathlib import Path
from typing import NamedTuple

import pytest
import yaml
from netlab import DHCP, Lab
from real_servers import (
    RELAY_LEASES,
    start_bind,
    start_dnsmasq_for_relays,
    start_kea_for_relays,
    start_mock_site,
)
from tshark import fields

pytestmark = [
    pytest.mark.interop("tcpdump", "tshark"),
    pytest.mark.usefixtures("well_formed"),
]

PHONES = 2000
SUBNETS = [f"10.{100 + number}" for number in range(1, 21)]
GATEWAY = "10.77.200.1"


class Leased(NamedTuple):
    """A line of Kea's lease file: to whom, and what the relay agent said of it."""

    mac: str
    option_82: tuple[tuple[int, bytes], ...]


@pytest.fixture
def routed(lab: Lab) -> Lab:
    """A lab whose servers reach the phones' subnets through a router."""
    lab.route_to_phones("10.96.0.0/11", GATEWAY)
    return lab


def write_fleet(lab: Lab, relay: dict[str, object], **more: object) -> str:
    """A fleet in the lab's folder; its path."""
    fleet = {
        "name": "relayed",
        "stages": ["ip"],
        "devices": [{"device": "polycom-cx600"}],
        "relay": {"servers": [DHCP], "circuit_id": "{link}/{n}", "remote_id": "0x{mac}", **relay},
        **more,
    }
    path = lab.folder / "fleet.yaml"
    path.write_text(yaml.safe_dump(fleet))
    return str(path)


def links(*subnets: str, **more: object) -> list[dict[str, object]]:
    return [{"giaddr": f"{subnet}.0.1", "link": f"site-{subnet}", **more} for subnet in subnets]


def leases(lab: Lab) -> dict[str, list[Leased]]:
    """Every address that Kea leased, and to whom."""
    found: dict[str, list[Leased]] = {}
    with (lab.folder / RELAY_LEASES).open() as file:
        for line in csv.DictReader(file):
            if line["valid_lifetime"] == "0":  # given back
                continue
            context = json.loads(line["user_context"].replace("&#x2c", ","))
            octets = bytes.fromhex(context["ISC"]["relay-agent-info"].removeprefix("0x"))
            leased = Leased(line["hwaddr"].replace(":", "-").upper(), sub_options(octets))
            found.setdefault(line["address"], []).append(leased)
    return found


def sub_options(octets: bytes) -> tuple[tuple[int, bytes], ...]:
    found = []
    while octets:
        code, size = octets[:2]
        found.append((code, octets[2 : 2 + size]))
        octets = octets[2 + size :]
    return tuple(found)


@pytest.mark.interop("kea-dhcp4")
def test_twenty_sites_lease_from_kea_through_their_relays(routed: Lab, seen: Path) -> None:
    start_kea_for_relays(routed, SUBNETS)
    fleet = write_fleet(routed, {"giaddrs": links(*SUBNETS)}, phones=PHONES, rate=400)

    status, summary, told = routed.run_fleet(fleet, "--attach", "relay", "--keep-leases")

    assert summary["failures"] == {}, told
    assert (status, summary["completed"]) == (0, PHONES)
    assert summary["relays"] == {
        f"{subnet}.0.1": {
            "link": f"site-{subnet}",
            "phones": PHONES // 20,
            "done": PHONES // 20,
            "failed": 0,
            "failures": {},
        }
        for subnet in SUBNETS
    }
    leased = leases(routed)
    assert len(leased) == PHONES
    assert all(len(set(holders)) == 1 for holders in leased.values())
    holders = {address: lines[0] for address, lines in leased.items()}
    assert len({holder.mac for holder in holders.values()}) == PHONES
    for address, holder in holders.items():
        number = int(holder.mac.replace("-", "")[-6:], 16)
        site = "site-" + ".".join(address.split(".")[:2])
        assert holder.option_82 == (
            (1, f"{site}/{number}".encode()),
            (2, bytes.fromhex(holder.mac.replace("-", ""))),
        )
    routed.stop("seen")
    relayed = ("ip.src", "dhcp.ip.relay", "dhcp.hops", "udp.srcport")
    requests = fields(seen, *relayed, where="dhcp.type == 1")
    expected = {(f"{subnet}.0.1", f"{subnet}.0.1", "1", "67") for subnet in SUBNETS}
    assert set(map(tuple, requests)) == expected
    assert routed.addresses() == [GATEWAY]


@pytest.mark.interop("kea-dhcp4")
def test_phones_boot_again_and_give_their_leases_back(routed: Lab) -> None:
    start_kea_for_relays(routed, SUBNETS[:2])
    fleet = write_fleet(routed, {"giaddrs": links(*SUBNETS[:2])}, phones=6, rate=100)
    status, summary, told = routed.run_fleet(fleet, "--attach", "relay", "--boots", "2")
    assert (status, summary["completed"]) == (0, 6), told
    served = routed.output("kea")
    assert served.count("DHCP4_RELEASE ") == 6, served
    for log in routed.device_logs().values():
        assert "INIT-REBOOT" in log  # the second boot asks for the address of the first
        assert log.count("DHCP NAK") == 0


@pytest.mark.interop("kea-dhcp4")
def test_a_site_without_a_scope_is_seen_to_fail(routed: Lab) -> None:
    start_kea_for_relays(routed, SUBNETS[:3])
    fleet = write_fleet(
        *(routed, {"giaddrs": links(*SUBNETS[:4])}),
        **{"phones": 40, "rate": 200, "timeout": 10},
    )
    status, summary, told = routed.run_fleet(
        *(fleet, "--attach", "relay"), "--set", "device.dhcp.retransmit_delays=[1, 1]"
    )
    assert (status, summary["failures"]) == (3, {"no-lease": 10}), told
    silent = f"{SUBNETS[3]}.0.1"
    failed = {giaddr: each["failed"] for giaddr, each in summary["relays"].items()}
    assert failed == {**{f"{subnet}.0.1": 0 for subnet in SUBNETS[:3]}, silent: 10}
    assert summary["relays"][silent]["failures"] == {"no-lease": 10}


@pytest.mark.interop("kea-dhcp4", "named")
def test_phones_sign_in_from_behind_their_relays(routed: Lab, users: tuple[str, str]) -> None:
    # The INFORM goes through the relay, its answer straight to the phone (Kea PR 23), and all
    # that follows comes from the leased address.
    start_kea_for_relays(routed, SUBNETS[:2])
    start_bind(routed)
    start_mock_site(routed)
    fleet = write_fleet(routed, {"giaddrs": links(*SUBNETS[:2])}, phones=10, stages=None)

    status, summary, told = routed.run_fleet(fleet, "--attach", "relay", *users)

    assert (status, summary["signed_in"]) == (0, 10), told
    assert summary["exchanges"]["dhcp_inform"]["answered"] == 10
    for log in routed.device_logs().values():
        assert f"Race won by dhcp:{DHCP}" in log
        assert re.search(r"DHCP ACK xid \S+ server 10.77.0.1 from 10.77.0.1", log)
        assert re.search(r"DHCP ACK xid \S+ server 10.77.0.1 from 10.10[12].0.1", log)
    assert routed.output("kea").count("DHCP4_RELEASE ") == 10
    assert routed.addresses() == [GATEWAY]


@pytest.mark.interop("kea-dhcp4")
def test_a_nak_comes_through_the_relay(routed: Lab) -> None:
    start_kea_for_relays(routed, SUBNETS[:2], renew_timer=3)
    fleet = write_fleet(routed, {"giaddrs": links(*SUBNETS[:2])}, phones=4, rate=100)
    running = routed.start_fleet(fleet, "--attach", "relay", "--until", "9s")
    routed.wait_until(
        lambda: routed.output("kea").count("DHCP4_LEASE_ALLOC") == 4,
        lambda: routed.output("kea"),
    )
    routed.stop("kea")
    path = routed.folder / RELAY_LEASES
    path.write_text(path.read_text().replace("00:04:f2:", "00:04:f3:"))  # others have them now
    start_kea_for_relays(routed, SUBNETS[:2], renew_timer=3)

    status, summary, told = routed.end_of(running)

    assert (status, summary["completed"]) == (0, 4), told
    for log in routed.device_logs().values():
        assert "RENEWING" in log
        assert f"NAK from {DHCP}" in log
        first, second = re.findall(r"DHCP lease (10\S+) mask", log)[:2]
        assert first != second
        assert "RENEWING -> BOUND" in log  # and the next renewal is answered


@pytest.mark.interop("kea-dhcp4")
def test_nothing_of_a_killed_run_stays_on_the_interface(routed: Lab) -> None:
    start_kea_for_relays(routed, SUBNETS[:2])
    before = routed.phones_side()
    fleet = write_fleet(
        routed, {"giaddrs": links(*SUBNETS[:2])}, phones=6, stages=["ip", "discovery"]
    )
    arguments = (fleet, "--attach", "relay", "--until", "1h")

    running = routed.start_fleet(*arguments)
    routed.wait_for_addresses(1 + 2 + 6)  # the router's, the giaddrs, the leases
    os.killpg(running.pid, signal.SIGKILL)
    running.communicate()
    assert "Removed: 8 addresses on phones0" in routed.doctor("--clean")
    assert routed.phones_side() == before

    running = routed.start_fleet(*arguments)
    routed.wait_for_addresses(1 + 2 + 6)
    status, _, told = routed.interrupt_fleet(running)
    assert status == 4, told
    assert routed.phones_side() == before
    assert routed.output("kea").count("DHCP4_RELEASE ") == 6


@pytest.mark.interop("dnsmasq")
def test_a_second_agent_with_an_address_of_another_site(routed: Lab) -> None:
    # It was set up wrongly: there are two offers, and the server refuses in the name of the one
    # site what it leased in the name of the other.
    start_dnsmasq_for_relays(routed, SUBNETS)
    agents = [
        {"giaddr": f"{subnet}.0.1", "twin": f"{other}.0.2", "link": f"site-{subnet}"}
        for subnet, other in zip(SUBNETS[:10], SUBNETS[10:], strict=True)
    ]
    fleet = write_fleet(routed, {"giaddrs": agents}, phones=50, rate=100)

    status, summary, told = routed.run_fleet(fleet, "--attach", "relay", "--keep-leases")

    assert (status, summary["completed"]) == (0, 50), told
    served = routed.output("dnsmasq")
    assert served.count("DHCPNAK") > 0
    used = [re.findall(r"DHCP lease (10\S+) mask", log) for log in routed.device_logs().values()]
    assert {len(addresses) for addresses in used} == {1}
    assert len({addresses[0] for addresses in used}) == 50


@pytest.mark.interop("kea-dhcp4")
def test_two_relays_on_each_link_and_every_message_twice(routed: Lab) -> None:
    start_kea_for_relays(routed, SUBNETS)
    agents = [
        {"giaddr": f"{subnet}.0.1", "twin": f"{subnet}.0.2", "link": f"site-{subnet}"}
        for subnet in SUBNETS
    ]
    fleet = write_fleet(routed, {"giaddrs": agents, "copies": 2}, phones=400, rate=200)

    status, summary, told = routed.run_fleet(fleet, "--attach", "relay", "--keep-leases")

    assert (status, summary["completed"]) == (0, 400), told
    for kind in ("dhcp_discover", "dhcp_request"):  # what the phones did, not the network
        exchange = summary["exchanges"][kind]
        assert (exchange["sent"], exchange["retransmitted"], exchange["answered"]) == (400, 0, 400)
    assert routed.output("kea").count("DHCP4_LEASE_ADVERT") == 4 * 400
    by_address = {
        address: {each.mac for each in lines} for address, lines in leases(routed).items()
    }
    assert len(by_address) == 400, "no phone has two leases"
    assert {len(macs) for macs in by_address.values()} == {1}
    assert len({mac for macs in by_address.values() for mac in macs}) == 400
    used = [re.findall(r"DHCP lease (10\S+) mask", log) for log in routed.device_logs().values()]
    assert sorted(address for (address,) in used) == sorted(by_address)
