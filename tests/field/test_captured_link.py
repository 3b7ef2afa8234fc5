"""LLDP, VLANs and ARP of a phone, as a capture tells them."""

from __future__ import annotations

import struct
from pathlib import Path

from arp_frames import arp_frame
from captures import MAC, PHONE, PHONE_ID, SERVER_MAC, lease, names, request, sightings, values

from phonesim.wire.dhcp import MessageType
from phonesim.wire.frame import ARP_REPLY, ARP_REQUEST
from phonesim.wire.lldp import (
    CHASSIS_MAC,
    PORT_MAC,
    LldpUnit,
    NetworkPolicy,
    encode_lldp_frame,
)

SWITCH_MAC = bytes.fromhex("020000000055")
DISCOVER = MessageType.DISCOVER


def lldp(mac: bytes, *policies: NetworkPolicy, ttl: int = 120) -> bytes:
    unit = LldpUnit(
        chassis_subtype=CHASSIS_MAC,
        chassis_id=mac,
        port_subtype=PORT_MAC,
        port_id=mac,
        ttl=ttl,
        policies=policies,
    )
    return encode_lldp_frame(unit, mac)


VOICE_100 = NetworkPolicy(is_tagged=True, vlan_id=100, priority=5, dscp=46)


def test_a_policy_of_the_switch_and_the_vlan_that_the_phone_uses(tmp_path: Path) -> None:
    found = sightings(
        tmp_path,
        lldp(SWITCH_MAC, VOICE_100),
        request(DISCOVER, vlan_id=100),
        lldp(SWITCH_MAC, VOICE_100),
        lldp(MAC, VOICE_100),
        lldp(MAC, VOICE_100),
        lldp(MAC, ttl=0),
    )
    assert names(found) == ["lldp_received", "vlan_found", "dhcp_sent", "lldp_sent"]
    chassis = "02-00-00-00-00-55"
    assert values(found, "lldp_received") == [
        (chassis, chassis, 120, "tagged VLAN 100 priority 5 dscp 46")
    ]
    assert values(found, "vlan_found") == [(100, f"lldp:{chassis}")]
    assert values(found, "lldp_sent") == [(PHONE_ID, PHONE_ID, 120, 100)]


def test_a_vlan_of_which_nobody_was_heard_to_speak(tmp_path: Path) -> None:
    assert values(sightings(tmp_path, request(DISCOVER, vlan_id=7)), "vlan_found") == [(7, "tag")]


def test_another_host_has_the_address(tmp_path: Path) -> None:
    probe = arp_frame(ARP_REQUEST, MAC, "0.0.0.0", PHONE)
    claim = arp_frame(ARP_REPLY, SERVER_MAC, PHONE, "0.0.0.0")
    found = sightings(tmp_path, *lease(), probe, claim, claim)[5:]
    assert values(found, "address_conflict") == [(PHONE, "02-00-00-00-00-01")]
    assert "10.0.0.7 is at 02-00-00-00-00-01" in found[0].text


def test_one_that_claims_it_later(tmp_path: Path) -> None:
    claim = arp_frame(ARP_REQUEST, SERVER_MAC, PHONE, PHONE, vlan_id=5)
    assert names(sightings(tmp_path, *lease(), (3600, claim))[5:]) == ["address_conflict"]


def test_another_phone_has_the_address(tmp_path: Path) -> None:
    other = bytes.fromhex("0004f2000002")
    probe = arp_frame(ARP_REQUEST, MAC, "0.0.0.0", PHONE)
    frames = [
        *lease(xid=8, mac=other),
        *lease(),
        probe,
        arp_frame(ARP_REPLY, other, PHONE, "0.0.0.0"),
    ]
    found = sightings(tmp_path, *frames)
    [conflict] = [each for each in found if each.name == "address_conflict"]
    assert (conflict.phone_id, conflict["mac"]) == (PHONE_ID, "00-04-F2-00-00-02")


def test_lldp_on_a_cooked_link(tmp_path: Path) -> None:
    unit = lldp(SWITCH_MAC, VOICE_100)[14:]
    cooked = [
        struct.pack("!HHH8sH", 0, 1, 6, mac, kind) + packet
        for mac, kind, packet in (
            (MAC, 0x0800, request(DISCOVER)[14:]),
            (SWITCH_MAC, 0x88CC, unit),
        )
    ]
    found = sightings(tmp_path, *cooked, link_type=113)
    assert names(found) == ["dhcp_sent", "lldp_received"]


def test_no_conflict(tmp_path: Path) -> None:
    probe = arp_frame(ARP_REQUEST, MAC, "0.0.0.0", "10.0.0.9")
    late = arp_frame(ARP_REPLY, SERVER_MAC, "10.0.0.9", "0.0.0.0")
    found = sightings(
        tmp_path, *lease(), probe, arp_frame(ARP_REQUEST, MAC, PHONE, PHONE), (60, late)
    )
    assert names(found[5:]) == []


def test_an_address_that_was_given_back_or_has_run_out_may_be_anothers(tmp_path: Path) -> None:
    claim = arp_frame(ARP_REQUEST, SERVER_MAC, PHONE, PHONE)
    release = request(MessageType.RELEASE, xid=8, ciaddr=PHONE, destination="10.0.0.1")
    assert names(sightings(tmp_path, *lease(), (1, release), (2, claim))[5:]) == ["dhcp_sent"]
    assert names(sightings(tmp_path, *lease(), (86401, claim))[5:]) == []


def test_a_link_local_address(tmp_path: Path) -> None:
    found = sightings(
        tmp_path, request(DISCOVER), arp_frame(ARP_REQUEST, MAC, "169.254.3.4", "169.254.3.4")
    )
    assert values(found, "auto_ip") == [("169.254.3.4", 0.0)]
