"""Fleets that run at one time on two interfaces of a machine."""

from __future__ import annotations

import subprocess

import pytest
from netlab import DHCP, DNS, FE01, FE02, NO_SWITCH, NTP, WEB, Lab
from real_servers import start_dnsmasq, start_mock_site

Users = tuple[str, str]
PHONES = ("--phones", "3", *NO_SWITCH)
ELSEWHERE = "10.78.0.1"
OTHERS = """
name: others
users:
  - {first: 11, count: 3, sip_uri: "sip:user{n:05d}@contoso.com", number: "+1425555{n:05d}", pin: "{n:05d}"}
"""  # noqa: E501


def ip(namespace: str, *command: str) -> None:
    subprocess.run(["ip", "-n", namespace, *command], check=True)


@pytest.fixture
def second(lab: Lab) -> tuple[str, ...]:
    """The arguments of a fleet on the other of two interfaces."""
    lab.cable(lab.phones, "phones1", lab.servers, "servers1")
    ip(lab.phones, "link", "set", "phones1", "up")
    ip(lab.servers, "link", "set", "servers1", "up")
    return *PHONES, "--interface", "phones1"


@pytest.mark.interop("dnsmasq", "nft")
def test_fleets_on_two_networks_may_have_the_same_macs(
    lab: Lab, users: Users, second: tuple[str, ...]
) -> None:
    ip(lab.servers, "addr", "add", f"{ELSEWHERE}/16", "dev", "servers1")
    before = lab.phones_side()
    start_dnsmasq(lab, serves_dns=True, elsewhere=("servers1", "10.78.16.1", "10.78.31.254"))
    start_mock_site(lab)

    # Other people: a pool takes one user's two phones of the same MAC for one phone.
    others = lab.folder / "others.yaml"
    others.write_text(OTHERS)
    fleets = [
        lab.start_fleet(*PHONES, *users, "--until", "9s"),
        lab.start_fleet(*second, "--set", f"fleet.users_from={others}", "--until", "9s"),
    ]

    for fleet in fleets:
        status, summary, told = lab.end_of(fleet)
        assert (status, summary["signed_in"]) == (0, 3), (told, lab.device_logs())
    for name in ("servers0", "servers1"):
        assert lab.output("dnsmasq").count(f"DHCPACK({name})") >= 3
    assert lab.phones_side() == before


@pytest.mark.interop("dnsmasq", "nft")
def test_a_fleet_in_the_subnet_of_another_interface_s_fleet_is_refused(
    lab: Lab, users: Users, second: tuple[str, ...]
) -> None:
    ip(lab.servers, "link", "add", "lan", "type", "bridge")
    ip(lab.servers, "link", "set", "lan", "up")
    for name in ("servers0", "servers1"):
        ip(lab.servers, "link", "set", name, "master", "lan")
    ip(lab.servers, "addr", "flush", "dev", "servers0")
    for address in (DHCP, DNS, NTP, WEB, FE01, FE02):
        ip(lab.servers, "addr", "add", f"{address}/16", "dev", "lan")
    start_dnsmasq(lab, serves_dns=True)
    start_mock_site(lab)
    first = lab.start_fleet(*PHONES, *users, "--until", "1h")
    lab.wait_for_addresses(3)

    refused = lab.start_fleet(*second, *users, "--set", "fleet.first_phone=101")
    _, told = refused.communicate(timeout=30)

    assert refused.returncode == 2, told
    assert told.splitlines()[-1] == (
        "phonesim: interface phones1: phones of 10.77.0.0/16 are on phones0 already, by which"
        " packets of these would leave, too: end that run, or run each in a network namespace"
        " of its own"
    )
    assert len(lab.addresses()) == 3
    status, _, told = lab.interrupt_fleet(first)
    assert status == 4, told
