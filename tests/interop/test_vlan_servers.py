"""Phones that find their voice VLAN as lldpd and dnsmasq tell it, and live in it."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
from netlab import DHCP, NO_SWITCH
from real_servers import start_dnsmasq, start_mock_site
from tshark import fields
from vlanlab import NATIVE_DHCP, VOICE_VLAN, VlanLab

pytestmark = [
    pytest.mark.interop("tcpdump", "tshark"),
    pytest.mark.usefixtures("well_formed"),
]

Users = tuple[str, str]

PHONES = [f"00-04-F2-00-00-{number:02X}" for number in (1, 2, 3)]
FLEET = ("--phones", str(len(PHONES)))
VLAN_AND_ADDRESS = ("--set", "fleet.stages=[vlan, ip]")


@pytest.fixture
def lab(tmp_path: Path) -> Iterator[VlanLab]:
    with VlanLab(tmp_path) as made:
        yield made


def start_voice_servers(lab: VlanLab) -> None:
    start_dnsmasq(lab, serves_dns=True)
    start_mock_site(lab)


def vlan_option() -> tuple[str, ...]:
    """Lines of dnsmasq that name the voice VLAN, in one octet as it writes such numbers."""
    return (
        "dhcp-vendorclass=set:cpe,CPE-OCPHONE",
        f"dhcp-option=tag:cpe,vendor:,10,{VOICE_VLAN}",
    )


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
def test_phones_sign_in_within_the_vlan_of_lldpds_policy(
    lab: VlanLab, users: Users, seen: Path
) -> None:
    before = lab.phones_side()
    start_voice_servers(lab)
    lab.start_lldpd(f"tagged vlan {VOICE_VLAN} priority voice dscp 46")

    status, summary, told = lab.run_fleet(*FLEET, *users)

    assert (status, summary["signed_in"]) == (0, len(PHONES)), (told, lab.device_logs())
    assert summary["vlans"] == {str(VOICE_VLAN): len(PHONES)}
    for log in lab.device_logs().values():
        assert f"Voice VLAN {VOICE_VLAN} source lldp:" in log
        assert f'voice policy "tagged VLAN {VOICE_VLAN} priority 5 dscp 46"' in log
        assert f"from {DHCP} " in log
    check_that_all_is_tagged(lab)
    lab.stop("seen")
    assert fields(seen, "frame.number", where=f"vlan.id == {VOICE_VLAN}")
    assert len(fields(seen, "frame.number", where="lldp.media.model")) >= len(PHONES)
    assert lab.phones_side() == before
    assert "voice" not in lab.inside(lab.phones, "ip", "link")
    assert (lab.folder / "dnsmasq.leases").read_text() == ""


@pytest.mark.interop("dnsmasq", "ethtool", "nft")
def test_phones_sign_in_within_the_vlan_of_dnsmasqs_option(
    lab: VlanLab, users: Users, seen: Path
) -> None:
    start_voice_servers(lab)
    lab.start_native_dnsmasq(*vlan_option())

    status, summary, told = lab.run_fleet(*FLEET, *users, "--set", "device.vlan.lldp_wait=1")

    assert (status, summary["signed_in"]) == (0, len(PHONES)), (told, lab.device_logs())
    assert summary["vlans"] == {str(VOICE_VLAN): len(PHONES)}
    for log in lab.device_logs().values():
        assert 'No voice VLAN: "no network policy for voice within 1 s"' in log
        assert f"Voice VLAN {VOICE_VLAN} source dhcp:{NATIVE_DHCP}" in log
    check_that_all_is_tagged(lab, "ip", "arp")
    lab.stop("seen")
    assert fields(seen, "frame.number", where=f"vlan.id == {VOICE_VLAN}")
    native = lab.output("native")
    assert native.count("DHCPACK(trunk0)") == len(PHONES)
    assert native.count("DHCPRELEASE(trunk0)") == len(PHONES)
    assert "10.66." not in "".join(lab.addresses())


@pytest.mark.interop("lldpd", "lldpcli", "dnsmasq", "ethtool")
def test_lldpd_knows_each_phone_as_an_endpoint(lab: VlanLab) -> None:
    start_dnsmasq(lab, serves_dns=False)
    lab.start_lldpd(f"tagged vlan {VOICE_VLAN} priority voice dscp 46")

    fleet = lab.start_fleet("--phones", "1", "--until", "1h", *VLAN_AND_ADDRESS)
    try:
        lab.wait_until(lambda: "lease" in "".join(lab.device_logs().values()), lab.phones_side)
        seen = lab.lldpcli("show", "neighbors", "details")
    finally:
        lab.interrupt_fleet(fleet)
    gone = lab.lldpcli("show", "neighbors")

    (neighbor,) = seen["lldp"][0]["interface"]
    (med,) = neighbor["lldp-med"]
    assert neighbor["port"][0]["id"] == [{"type": "mac", "value": "00:04:f2:00:00:01"}]
    assert neighbor["chassis"][0]["id"][0]["type"] == "ip"
    assert neighbor["chassis"][0]["id"][0]["value"].startswith("10.77.")
    assert med["device-type"] == [{"value": "Communication Device Endpoint (Class III)"}]
    assert [each["type"] for each in med["capability"]] == [
        "Capabilities",
        "Policy",
        "MDI/PD",
        "Inventory",
    ]
    (policy,) = med["policy"]
    assert (policy["apptype"], policy["vlan"]) == ("Voice", [{"vid": str(VOICE_VLAN)}])
    assert {name: texts[0]["value"] for name, texts in med["inventory"][0].items()} == {
        "hardware": "A",
        "firmware": "4.0.7577.4066",
        "software": "4.0.7577.4066",
        "serial": "0004F2000001",
        "manufacturer": "POLYCOM",
        "model": "CX600",
    }
    assert "interface" not in gone["lldp"][0]


@pytest.mark.interop("lldpd", "lldpcli", "dnsmasq", "ethtool", "nft")
def test_a_phone_moves_when_lldpds_policy_changes(lab: VlanLab) -> None:
    start_dnsmasq(lab, serves_dns=False)
    lab.start_native_dnsmasq()
    lab.start_lldpd("tagged vlan 0 priority voice dscp 46")
    fleet = lab.start_fleet("--phones", "1", "--until", "1h", *VLAN_AND_ADDRESS)
    try:
        lab.wait_until(lambda: "DHCPACK" in lab.output("native"), lab.phones_side)
        lab.start_policy(f"tagged vlan {VOICE_VLAN} priority voice dscp 46")
        lab.wait_until(
            lambda: "DHCP lease 10.77." in "".join(lab.device_logs().values()), lab.phones_side
        )
    finally:
        lab.interrupt_fleet(fleet)
    (log,) = lab.device_logs().values()
    assert f"Voice VLAN 0 -> {VOICE_VLAN}: " in log
    assert "DHCPRELEASE" in lab.output("native")
    assert "DHCPRELEASE" in lab.output("dnsmasq")


@pytest.mark.interop("dnsmasq", "ethtool", "nft")
def test_what_kill_9_leaves_has_no_tap(lab: VlanLab, users: Users) -> None:
    before = lab.phones_side()
    start_voice_servers(lab)
    lab.start_native_dnsmasq(*vlan_option())
    fleet = lab.start_fleet("--phones", "2", "--until", "1h", *NO_SWITCH, *users)
    lab.wait_until(lambda: lab.phones_side().count("inet 10.77.") == 2, lab.phones_side)
    os.killpg(fleet.pid, signal.SIGKILL)
    fleet.communicate()
    assert "voice" not in lab.inside(lab.phones, "ip", "link")
    assert "Removed: " in lab.doctor("--clean")
    assert lab.phones_side() == before
