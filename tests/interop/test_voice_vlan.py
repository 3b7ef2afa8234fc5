"""Phones that find their voice VLAN as lldpd and dnsmasq tell it, and live in it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from netlab import DHCP
from real_servers import start_dnsmasq, start_mock_site
from vlanlab import NATIVE_DHCP, VOICE_VLAN, VlanLab

Users = tuple[str, str]

PHONES = [f"00-04-F2-00-00-{number:02X}" for number in (1, 2, 3)]
FLEET = ("--phones", str(len(PHONES)))


@pytest.fixture
def lab(tmp_path: Path) -> Iterator[VlanLab]:
    with VlanLab(tmp_path) as made:
        yield made


def start_voice_servers(lab: VlanLab) -> None:
    start_dnsmasq(lab, serves_dns=True)
    start_mock_site(lab)


def check_that_all_is_tagged(lab: VlanLab, *untagged: str) -> None:
    """Everything that phones sent was tagged, but for kinds of frames that are not."""
    sent = lab.on_trunk()
    for phone in PHONES:
        assert {kind for vlan_id, mac, kind in sent if (vlan_id, mac) == (VOICE_VLAN, phone)} == {
            "ip",
            "arp",
        }
    assert {kind for vlan_id, mac, kind in sent if vlan_id == 0} <= {"lldp", "other", *untagged}
    assert {mac for vlan_id, mac, _ in sent if vlan_id} == set(PHONES)


@pytest.mark.interop("lldpd", "lldpcli", "dnsmasq", "ethtool", "nft")
def test_phones_sign_in_within_the_vlan_of_lldpds_policy(lab: VlanLab, users: Users) -> None:
    before = lab.phones_side()
    start_voice_servers(lab)
    lab.start_lldpd(f"tagged vlan {VOICE_VLAN} priority voice dscp 46")

    status, summary, told = lab.run_fleet(*FLEET, *users)

    assert (status, summary["signed_in"]) == (0, len(PHONES)), (told, lab.device_logs())
    for log in lab.device_logs().values():
        assert f"Voice VLAN {VOICE_VLAN} source lldp:" in log
        assert f'voice policy "tagged VLAN {VOICE_VLAN} priority 5 dscp 46"' in log
        assert f"from {DHCP} " in log
    check_that_all_is_tagged(lab)
    assert lab.phones_side() == before
    assert "voice" not in lab.inside(lab.phones, "ip", "link")
    assert (lab.folder / "dnsmasq.leases").read_text() == ""


@pytest.mark.interop("dnsmasq", "ethtool", "nft")
def test_phones_sign_in_within_the_vlan_of_dnsmasqs_option(lab: VlanLab, users: Users) -> None:
    start_voice_servers(lab)
    lab.start_native_dnsmasq(
        "dhcp-vendorclass=set:cpe,CPE-OCPHONE", f"dhcp-option=tag:cpe,vendor:,10,{VOICE_VLAN}"
    )

    status, summary, told = lab.run_fleet(*FLEET, *users, "--set", "device.vlan.lldp_wait=1")

    assert (status, summary["signed_in"]) == (0, len(PHONES)), (told, lab.device_logs())
    for log in lab.device_logs().values():
        assert 'No voice VLAN: "no network policy for voice within 1 s"' in log
        assert f"Voice VLAN {VOICE_VLAN} source dhcp:{NATIVE_DHCP}" in log
    check_that_all_is_tagged(lab, "ip", "arp")
    native = lab.output("native")
    assert native.count("DHCPACK(trunk0)") == len(PHONES)
    assert native.count("DHCPRELEASE(trunk0)") == len(PHONES)
    assert "10.66." not in "".join(lab.addresses())


@pytest.mark.interop("lldpd", "lldpcli", "dnsmasq", "ethtool")
def test_lldpd_knows_each_phone_as_an_endpoint(lab: VlanLab) -> None:
    start_dnsmasq(lab, serves_dns=False)
    lab.start_lldpd(f"tagged vlan {VOICE_VLAN} priority voice dscp 46")

    fleet = lab.start_fleet("--phones", "1", "--until", "1h", *("--set", "fleet.stages=[vlan, ip]"))
    try:
        lab.wait_for(lambda: "lease" in "".join(lab.device_logs().values()))
        seen = lab.lldpcli("show", "neighbors", "details")
    finally:
        lab.interrupt_fleet(fleet)

    (neighbor,) = seen["lldp"][0]["interface"]
    assert neighbor
    gone: dict[str, Any] = lab.lldpcli("show", "neighbors")
    assert "interface" not in gone["lldp"][0]
