from __future__ import annotations

import pytest
from playing import matching, play
from rig import ADDRESS, DHCP, PROFILE

from phonesim.device import device_log as log
from phonesim.device.actions import ConfigureAddress, JoinVlan, ProbeAddress
from phonesim.device.attachment import Attachment
from phonesim.device.events import (
    AddressFailed,
    AddressLost,
    AddressProbed,
    AddressReady,
    AddressUnwanted,
    AddressWanted,
    CacheLoaded,
    Lease,
    LeaseBound,
    LeaseFailed,
    LeaseLost,
    ShutdownRequested,
    StageEnded,
    StageEntered,
    VlanChanged,
    VlanJoined,
    VlanOffered,
    VlanSettled,
    VlanWanted,
)
from phonesim.device.outcome import FailureReason, Stage
from phonesim.device.tell import Tell

INF = float("inf")
LEASE = Lease(
    address=ADDRESS,
    subnet_mask="255.255.255.0",
    server=DHCP,
    t1_at=50.0,
    t2_at=80.0,
    expires_at=100.0,
)
FIXED = Lease(
    address=ADDRESS,
    subnet_mask="255.255.255.0",
    server="0.0.0.0",
    t1_at=INF,
    t2_at=INF,
    expires_at=INF,
)
LOADED = CacheLoaded(address=None, services=None)
BEGINS = StageEntered(stage=Stage.IP)
ASKS = Tell("dhcp", AddressWanted())
LOST = LeaseLost(address=ADDRESS, detail="NAK")
OFFERED = VlanOffered(vlan_id=100, server=DHCP)


def attachment(fixed=None, *, finds_vlan=False, **vlan):
    profile = PROFILE.model_copy(update={"vlan": PROFILE.vlan.model_copy(update=vlan)})
    return Attachment(profile, fixed, finds_vlan=finds_vlan)


def bound(event, *lldp):
    return [Tell("resolver", event), Tell("cache", event), *lldp, matching(log.DHCP_LEASE, t1=49)]


def test_without_vlans_it_begins_with_the_address_that_was_kept():
    kept = CacheLoaded(address=ADDRESS, lease=LEASE, services=None)
    wanted = AddressWanted(cached_address=ADDRESS, cached_lease=LEASE)
    play(attachment(), [(0.0, kept, [BEGINS, Tell("dhcp", wanted)]), (0.0, None, [])])


def test_a_new_lease_ends_the_stage_and_a_renewed_one_does_not():
    new, renewed = LeaseBound(lease=LEASE), LeaseBound(lease=LEASE, is_renewal=True)
    ended = StageEnded(stage=Stage.IP)
    play(
        attachment(),
        [
            (1.0, new, [*bound(new), ended, AddressReady(lease=LEASE)]),
            (1.0, renewed, [*bound(renewed), AddressReady(lease=LEASE, is_renewal=True)]),
        ],
    )


def test_the_switch_s_vlan_is_joined_before_the_address_is_asked_for():
    settled = VlanSettled(vlan_id=7, is_told=True)
    ended = StageEnded(stage=Stage.VLAN)
    joins = [JoinVlan(vlan_id=7), VlanJoined(vlan_id=7)]
    play(
        attachment(finds_vlan=True),
        [
            (0.0, LOADED, [StageEntered(stage=Stage.VLAN), Tell("lldp", VlanWanted())]),
            (1.0, settled, [ended, *joins, BEGINS, ASKS]),
        ],
    )


@pytest.mark.parametrize("seeks", [True, False])
def test_where_no_switch_speaks_dhcp_may_name_the_vlan(seeks):
    wanted = Tell("dhcp", AddressWanted(seeks_vlan=seeks))
    skipped = StageEnded(stage=Stage.VLAN, skipped=True)
    joins = [JoinVlan(vlan_id=100), VlanJoined(vlan_id=100)]
    play(
        attachment(finds_vlan=True, lldp_wait=0, dhcp_option=seeks),
        [
            (0.0, LOADED, [skipped, BEGINS, wanted]),
            (1.0, OFFERED, [matching(log.VLAN_FOUND), *joins, Tell("lldp", OFFERED), ASKS]),
        ],
    )


def test_another_vlan_ends_the_address_and_the_same_one_is_not_joined_again():
    begins_anew = [AddressLost(), Tell("dhcp", AddressUnwanted())]
    joins = [JoinVlan(vlan_id=8), VlanJoined(vlan_id=8)]
    play(
        attachment(finds_vlan=True),
        [
            (0.0, VlanChanged(vlan_id=8), [*begins_anew, *joins, ASKS]),
            (1.0, VlanChanged(vlan_id=8), [*begins_anew, ASKS]),
        ],
    )


@pytest.mark.parametrize(("vlan_id", "where"), [(None, ""), (100, " in VLAN 100")])
@pytest.mark.parametrize(("auto_ip", "using"), [(None, ""), ("169.254.1.9", "; using 169.254.1.9")])
def test_a_failure_says_where_and_what_is_used_instead(vlan_id, where, auto_ip, using):
    machine = attachment(finds_vlan=True)
    machine.handle(VlanSettled(vlan_id=vlan_id, is_told=True), 0.0)
    failed = AddressFailed(
        reason=FailureReason.NO_LEASE,
        detail=f"silence{where}{using}",
        retry_in=PROFILE.dhcp.auto_ip_retry_interval,
    )
    play(machine, [(1.0, LeaseFailed(auto_ip=auto_ip, detail="silence"), [failed])])


def test_a_lost_lease_is_told_to_the_switch_by_those_that_speak_lldp():
    play(attachment(), [(0.0, LOST, [AddressLost()])])
    play(attachment(finds_vlan=True), [(0.0, LOST, [Tell("lldp", LOST), AddressLost()])])


def test_a_fixed_address_is_probed_and_used():
    used = ConfigureAddress(address=ADDRESS, subnet_mask="255.255.255.0")
    told = Tell("resolver", LeaseBound(lease=FIXED))
    free = AddressProbed(address=ADDRESS, conflict=None)
    play(
        attachment(FIXED),
        [
            (0.0, LOADED, [ProbeAddress(address=ADDRESS)]),
            (1.0, free, [used, told, AddressReady(lease=FIXED)]),
        ],
    )


def test_a_fixed_address_that_another_host_has_is_never_used():
    reason = FailureReason.ADDRESS_IN_USE
    failed = AddressFailed(reason=reason, detail="00-01 has it", retry_in=None)
    taken = AddressProbed(address=ADDRESS, conflict="00-01")
    play(attachment(FIXED), [(0.0, taken, [matching(log.ADDRESS_CONFLICT), failed])])


def test_what_happens_while_the_phone_shuts_down_begins_nothing():
    late = LeaseBound(lease=LEASE)
    ends = [Tell("dhcp", AddressUnwanted()), Tell("lldp", ShutdownRequested())]
    play(
        attachment(finds_vlan=True),
        [
            (0.0, ShutdownRequested(), []),
            (1.0, LOST, []),
            (1.0, VlanChanged(vlan_id=8), []),
            (1.0, late, bound(late, Tell("lldp", late))),
            (2.0, AddressUnwanted(), ends),
        ],
    )
