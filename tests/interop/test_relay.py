"""Phones behind emulated relay agents against Kea, beyond a router."""

from __future__ import annotations

import csv
import json
import re
import subprocess
from collections import Counter
from pathlib import Path
from typing import NamedTuple

import pytest
import yaml
from netlab import DHCP, Lab
from real_servers import RELAY_LEASES, start_bind, start_kea_for_relays

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


def tshark(capture: Path, *arguments: str) -> list[str]:
    command = ["tshark", "-n", "-r", str(capture), *arguments]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.splitlines()


@pytest.mark.interop("kea-dhcp4", "tcpdump", "tshark")
def test_twenty_sites_lease_from_kea_through_their_relays(routed: Lab) -> None:
    start_kea_for_relays(routed, SUBNETS)
    capture = routed.capture("dhcp", "udp port 67 or udp port 68")
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
    routed.end("dhcp")
    assert tshark(capture, "-Y", "_ws.malformed || _ws.expert.severity == error") == []
    requests = tshark(
        *(capture, "-Y", "dhcp.type == 1", "-T", "fields"),
        *("-e", "ip.src", "-e", "dhcp.ip.relay", "-e", "dhcp.hops", "-e", "udp.srcport"),
    )
    expected = {f"{subnet}.0.1\t{subnet}.0.1\t1\t67" for subnet in SUBNETS}
    assert set(requests) == expected
    assert routed.addresses() == [GATEWAY]


@pytest.mark.interop("kea-dhcp4")
def test_phones_give_their_leases_back_and_renew_through_the_relay(routed: Lab) -> None:
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


@pytest.mark.interop("kea-dhcp4")
@pytest.mark.parametrize("twin", ["same subnet", "another subnet"])
def test_two_relays_on_a_link_and_messages_sent_twice(routed: Lab, twin: str) -> None:
    # The second agent of a link has an address in the link's subnet, or is one that was set up
    # wrongly: then Kea offers two addresses, and refuses the one in the other agent's mouth.
    start_kea_for_relays(routed, SUBNETS)
    pairs = zip(SUBNETS[:10], SUBNETS[:10] if twin == "same subnet" else SUBNETS[10:], strict=True)
    agents = [
        {"giaddr": f"{subnet}.0.1", "twin": f"{other}.0.2", "link": f"site-{subnet}"}
        for subnet, other in pairs
    ]
    fleet = write_fleet(routed, {"giaddrs": agents, "copies": 2}, phones=200, rate=100)

    status, summary, told = routed.run_fleet(fleet, "--attach", "relay", "--keep-leases")

    assert (status, summary["completed"]) == (0, 200), told
    asked = summary["exchanges"]["dhcp_discover"]
    assert asked["answered"] <= asked["sent"]
    bound = [
        re.findall(r"SELECTING.*|Lease (\S+)", log) for log in routed.device_logs().values()
    ]
    assert len(bound) == 200
    given = Counter(holder.mac for lines in leases(routed).values() for holder in set(lines))
    assert len(given) == 200
    if twin == "same subnet":
        assert set(given.values()) == {1}, "no phone has two leases"
    else:
        assert routed.output("kea").count("DHCP4_PACKET_NAK") > 0
