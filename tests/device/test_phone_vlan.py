"""Phones and their voice VLAN, from the switch to the lease."""

from __future__ import annotations

import pytest
from rig import ADDRESS, DHCP, MAC, PROFILE, Bench, of

from phonesim.device import device_log as log
from phonesim.device.actions import (
    AdvertiseLldp,
    CloseConnection,
    ConfigureAddress,
    JoinVlan,
    ProbeAddress,
    RemoveAddress,
    SendDhcp,
)
from phonesim.device.events import (
    BootFailed,
    DisplayShowed,
    MalformedReceived,
    PoweredOff,
    ShutdownRequested,
    SignedIn,
    StageEnded,
    StagesDone,
    VlanJoined,
)
from phonesim.device.outcome import FailureReason, Stage
from phonesim.wire.dhcp import MessageType

VLAN_100 = bytes.fromhex("0a03313030")


def on_silent_switch(files=None, dhcp=None, **vlan):
    vlan = PROFILE.vlan.model_copy(update=vlan)
    profile = PROFILE.model_copy(
        update={"vlan": vlan, "dhcp": PROFILE.dhcp.model_copy(update=dhcp or {})}
    )
    return Bench(files, profile, answers_lldp=False, last_stage=Stage.IP)


def sent(bench):
    """DHCP messages and moves between VLANs, in order."""
    return [
        each.vlan_id if isinstance(each, JoinVlan) else each.message.message_type.name
        for each in bench.all
        if isinstance(each, JoinVlan | SendDhcp)
    ]


def vlan_ends(bench):
    return [(each.reason, each.skipped) for each in of(bench.all, StageEnded, stage=Stage.VLAN)]


def test_the_phone_joins_the_vlan_of_the_policy_before_it_asks_for_an_address():
    bench = on_silent_switch()
    assert not of(bench.all, SendDhcp)
    bench.name_vlan(100)
    bench.bind()
    assert sent(bench) == [100, "DISCOVER", "REQUEST"]
    assert vlan_ends(bench) == [(None, False)]
    assert bench.records(log.VLAN_FOUND) == [(100, "lldp:02-00-00-00-00-01")]
    assert [shown.text for shown in of(bench.all, DisplayShowed)] == ["Acquiring IP Address"]
    assert of(bench.all, StagesDone)


def test_an_untagged_policy_is_an_answer():
    bench = on_silent_switch()
    bench.name_vlan(None)
    bench.dhcp(MessageType.OFFER)
    bench.dhcp(MessageType.ACK, VENDOR_SPECIFIC_INFORMATION=VLAN_100)
    bench.probe()
    assert sent(bench) == ["DISCOVER", "REQUEST"]
    assert not bench.records(log.VLAN_OPTION)
    assert of(bench.all, StagesDone)


def test_without_a_policy_the_vlan_of_the_first_lease_is_taken():
    bench = on_silent_switch()
    bench.wait()
    bench.dhcp(MessageType.OFFER)
    outputs = bench.dhcp(MessageType.ACK, VENDOR_SPECIFIC_INFORMATION=VLAN_100)
    (release,) = of(outputs, SendDhcp, source=ADDRESS)
    assert release.message.message_type is MessageType.RELEASE
    assert (release.message.ciaddr, release.destination) == (ADDRESS, DHCP)
    assert not of(bench.all, ProbeAddress)
    assert sent(bench) == ["DISCOVER", "REQUEST", "RELEASE", 100, "DISCOVER"]
    bench.bind(address="10.1.0.7")
    assert [each.address for each in of(bench.all, ConfigureAddress)] == ["10.1.0.7"]
    assert bench.records(log.VLAN_OPTION) == [(DHCP, VLAN_100.hex(), 100)]
    assert bench.records(log.VLAN_FOUND) == [(100, f"dhcp:{DHCP}")]
    assert of(bench.all, StagesDone)


def test_in_the_voice_vlan_the_option_is_not_looked_at_again():
    bench = on_silent_switch()
    bench.wait()
    bench.dhcp(MessageType.OFFER)
    bench.dhcp(MessageType.ACK, VENDOR_SPECIFIC_INFORMATION=VLAN_100)
    bench.dhcp(MessageType.OFFER)
    bench.dhcp(MessageType.ACK, VENDOR_SPECIFIC_INFORMATION=b"\x0a\x03200")
    bench.probe()
    assert sent(bench).count("RELEASE") == 1
    assert of(bench.all, StagesDone)


@pytest.mark.parametrize(
    ("option", "forms", "vlan_id"),
    [
        (b"\x0a\x03100", ("ascii",), 100),
        (b"\x0a\x01\x64", ("binary-1",), 100),
        (b"\x0a\x02\x00\x64", ("binary-2",), 100),
        (b"\x0a\x04\x00\x00\x00\x64", ("binary-4",), 100),
        (b"\x0a\x04\x00\x00\x0f\xfe", ("ascii", "binary-4"), 4094),
        (b"\x0a\x01\x35", ("binary-1",), 0x35),  # the digit 5, to who takes it for one
        (b"\x0a\x01\x35", ("ascii", "binary-1"), 5),
        (b"\x0a\x03100", ("binary-1", "binary-2", "binary-4"), None),
        (b"\x0a\x02\x00\x64", ("ascii",), None),
        (b"\x0a\x02\x00\x64", (), None),
        (b"\x0a\x02\x00\x00", ("binary-2",), None),
        (b"\x0a\x02\x0f\xff", ("binary-2",), None),
        (b"\x0a\x044095", ("ascii",), None),
        (b"\x0a\x05voice", ("ascii",), None),
        (b"\x0a\xff", ("ascii",), None),
        (b"", ("ascii",), None),
    ],
)
def test_the_option_counts_in_the_profiles_forms_and_range(option, forms, vlan_id):
    bench = on_silent_switch(option_forms=forms)
    bench.wait()
    bench.dhcp(MessageType.OFFER)
    bench.dhcp(MessageType.ACK, VENDOR_SPECIFIC_INFORMATION=option)
    for told in (JoinVlan, VlanJoined):
        assert [each.vlan_id for each in of(bench.all, told)] == ([vlan_id] if vlan_id else [])
    if vlan_id is None:
        assert bench.records(log.OPTION_WARNING)
        bench.probe()
        assert of(bench.all, StagesDone)


def test_another_sub_option_is_no_voice_vlan():
    bench = on_silent_switch()
    bench.wait()
    bench.dhcp(MessageType.OFFER)
    bench.dhcp(MessageType.ACK, VENDOR_SPECIFIC_INFORMATION=b"\x02\x05https")
    bench.probe()
    assert sent(bench) == ["DISCOVER", "REQUEST"]


def test_the_profile_can_do_without_the_option():
    bench = on_silent_switch(dhcp_option=False)
    bench.wait()
    bench.dhcp(MessageType.OFFER)
    bench.dhcp(MessageType.ACK, VENDOR_SPECIFIC_INFORMATION=VLAN_100)
    bench.probe()
    assert sent(bench) == ["DISCOVER", "REQUEST"]


def test_a_phone_without_lldp_asks_dhcp_at_once():
    bench = on_silent_switch(lldp_wait=0)
    assert vlan_ends(bench) == [(None, True)]
    assert not of(bench.all, AdvertiseLldp)
    bench.dhcp(MessageType.OFFER)
    bench.dhcp(MessageType.ACK, VENDOR_SPECIFIC_INFORMATION=VLAN_100)
    assert sent(bench) == ["DISCOVER", "REQUEST", "RELEASE", 100, "DISCOVER"]
    assert not of(bench.all, AdvertiseLldp)


def test_a_phone_that_begins_with_its_address_takes_no_notice_of_vlans():
    bench = Bench(answers_lldp=False, first_stage=Stage.IP, last_stage=Stage.IP)
    assert not of(bench.all, AdvertiseLldp)
    bench.dhcp(MessageType.OFFER)
    bench.dhcp(MessageType.ACK, VENDOR_SPECIFIC_INFORMATION=VLAN_100)
    bench.probe()
    assert sent(bench) == ["DISCOVER", "REQUEST"]
    assert not vlan_ends(bench)
    assert of(bench.all, StagesDone)


@pytest.mark.parametrize("spelling", ["CPE-OCPHONE", "CPE-OCPhone"])
def test_the_vlan_is_asked_for_as_the_profile_spells_it(spelling):
    bench = on_silent_switch(dhcp={"vendor_class": spelling})
    bench.wait()
    options = bench.last(SendDhcp).message.options
    assert options[60] == spelling.encode()
    assert 43 in options[55]


def test_a_voice_vlan_without_a_dhcp_server_is_named():
    bench = on_silent_switch()
    bench.name_vlan(666)
    bench.wait_for(ProbeAddress)  # AutoIP
    bench.probe()
    failed = bench.last(BootFailed)
    assert (failed.stage, failed.reason) == (Stage.IP, FailureReason.NO_LEASE)
    assert "in VLAN 666" in failed.detail


def test_a_later_policy_takes_a_phone_that_is_signed_in_to_the_new_vlan():
    bench = Bench()
    bench.boot()
    began = len(bench.all)
    outputs = bench.name_vlan(100)
    assert of(outputs, CloseConnection)
    assert of(outputs, RemoveAddress)
    assert bench.records(log.VLAN_CHANGED) == [(0, 100, "says lldp:02-00-00-00-00-01")]
    bench.all = bench.all[began:]
    assert sent(bench) == ["RELEASE", 100, "DISCOVER"]
    bench.bind()
    bench.tell_time()
    bench.register()
    assert of(bench.all, SignedIn)


def test_a_later_policy_while_the_phone_asks_for_an_address():
    bench = on_silent_switch()
    bench.wait()
    bench.name_vlan(100)
    assert sent(bench) == ["DISCOVER", 100, "DISCOVER"]
    bench.bind()
    assert of(bench.all, StagesDone)


def test_the_phone_says_good_bye_at_the_end():
    bench = on_silent_switch()
    bench.name_vlan(100)
    bench.bind()
    outputs = bench.give(ShutdownRequested())
    assert [each.unit.ttl for each in of(outputs, AdvertiseLldp)] == [0]
    assert of(outputs, PoweredOff)
    assert not of(bench.name_vlan(None), JoinVlan)


def test_a_phone_that_is_shut_down_while_it_waits_has_nothing_to_release():
    bench = on_silent_switch()
    assert of(bench.give(ShutdownRequested()), PoweredOff)
    assert bench.phone.next_deadline() is None
    assert not of(bench.all, SendDhcp)


def test_a_second_boot_asks_the_switch_again():
    first = on_silent_switch()
    first.name_vlan(100)
    first.bind()
    second = on_silent_switch(first.files)
    assert second.wants(AdvertiseLldp)
    second.name_vlan(100)
    second.bind()
    assert sent(second) == [100, "REQUEST"]


def test_what_cannot_be_read_is_logged():
    bench = on_silent_switch()
    bench.give(MalformedReceived(protocol="lldp", source=MAC.hex(), reason="cut", size=3))
    assert bench.records(log.MALFORMED) == [("lldp", MAC.hex(), 3, "cut")]
