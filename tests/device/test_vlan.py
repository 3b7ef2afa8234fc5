from __future__ import annotations

import msgspec
import pytest
from playing import containing, matching, play
from rig import MAC, PROFILE, SWITCH

from phonesim.device import device_log as log
from phonesim.device.actions import AdvertiseLldp
from phonesim.device.events import (
    Lease,
    LeaseBound,
    LeaseLost,
    LldpReceived,
    ShutdownRequested,
    TimerExpired,
    VlanChanged,
    VlanOffered,
    VlanSettled,
    VlanWanted,
)
from phonesim.device.vlan import LldpEndpoint, Settled, Stopped
from phonesim.wire.lldp import (
    CHASSIS_MAC,
    CHASSIS_NETWORK_ADDRESS,
    ENDPOINT_CLASS_III,
    NETWORK_CONNECTIVITY,
    PORT_INTERFACE_NAME,
    PORT_MAC,
    VOICE,
    Inventory,
    LldpUnit,
    NetworkPolicy,
    encode_lldp,
)

NO_ADDRESS = b"\x01\0\0\0\0"
UNKNOWN = NetworkPolicy(is_unknown=True)
UNTAGGED = NetworkPolicy(priority=5, dscp=46)
VOICE_VLAN = NetworkPolicy(is_tagged=True, vlan_id=100, priority=5, dscp=46)
VIDEO = NetworkPolicy(application=6, is_tagged=True, vlan_id=200)
LEASE = Lease(
    address="10.0.0.50",
    subnet_mask="255.255.0.0",
    server="10.0.0.1",
    t1_at=1,
    t2_at=2,
    expires_at=3,
)


def endpoint(**changes):
    vlan = PROFILE.vlan.model_copy(update=changes)
    return LldpEndpoint(PROFILE.model_copy(update={"vlan": vlan}), MAC)


def waiting(**changes):
    machine = endpoint(**changes)
    machine.handle(VlanWanted(), 0)
    return machine


def settled(policy=UNTAGGED, **changes):
    machine = waiting(**changes)
    machine.handle(says(policy), 0)
    return machine


def says(*policies, device_class=NETWORK_CONNECTIVITY, ttl=120):
    return LldpReceived(
        unit=LldpUnit(
            chassis_subtype=CHASSIS_MAC,
            chassis_id=SWITCH,
            port_subtype=PORT_INTERFACE_NAME,
            port_id=b"ge-1",
            ttl=ttl,
            med_capabilities=3,
            device_class=device_class,
            policies=policies,
        )
    )


class Said:
    """An advertisement with this chassis and policy; without a policy it is a good-bye."""

    def __init__(self, chassis_id, policy=None):
        self.expected = chassis_id, policy

    def __eq__(self, other):
        if not isinstance(other, AdvertiseLldp):
            return False
        policy = next(iter(other.unit.policies), None)
        is_good_bye = policy is None and other.unit.ttl == 0
        return (other.unit.chassis_id, policy) == self.expected and is_good_bye == (
            self.expected[1] is None
        )

    __hash__ = None

    def __repr__(self):
        return f"Said{self.expected}"


def address(octets):
    return b"\x01" + bytes(octets)


def told(vlan_id):
    return VlanSettled(vlan_id=vlan_id, is_told=True)


NOT_TOLD = VlanSettled(vlan_id=None, is_told=False)


@pytest.mark.parametrize(
    ("policy", "vlan_id", "record"),
    [
        (VOICE_VLAN, 100, matching(log.VLAN_FOUND, vlan=100, source="lldp:02-00-00-00-00-01")),
        (UNTAGGED, None, matching(log.VLAN_NOT_FOUND, detail=containing("untagged"))),
        (
            msgspec.structs.replace(UNTAGGED, is_tagged=True),  # VLAN 0: a tag of priority only
            None,
            matching(log.VLAN_NOT_FOUND, detail=containing("untagged")),
        ),
    ],
)
def test_a_policy_for_voice_ends_the_wait(policy, vlan_id, record):
    play(
        endpoint(),
        [
            (0, VlanWanted(), [Said(NO_ADDRESS, UNKNOWN)]),
            (0.1, says(VIDEO), []),
            (1, says(VIDEO, policy), [record, Said(NO_ADDRESS, policy), told(vlan_id)]),
            (31, says(VIDEO, policy), []),
        ],
    )


@pytest.mark.parametrize(
    ("heard", "record"),
    [
        (
            says(),
            matching(log.LLDP_RECEIVED, chassis="02-00-00-00-00-01", port="ge-1", policy="none"),
        ),
        (says(UNKNOWN), matching(log.LLDP_RECEIVED, policy="unknown")),
        (says(VIDEO), matching(log.LLDP_RECEIVED, policy="none")),
        (
            says(msgspec.structs.replace(VOICE_VLAN, vlan_id=4095)),
            matching(log.LLDP_IGNORED, detail=containing("VLAN 4095")),
        ),
        (
            says(VOICE_VLAN, device_class=ENDPOINT_CLASS_III),
            matching(log.LLDP_IGNORED, detail=containing("endpoint of class 3")),
        ),
    ],
)
def test_what_names_no_vlan_does_not_end_it(heard, record):
    machine = endpoint(lldp_wait=3)
    play(
        machine,
        [
            (0, VlanWanted(), [Said(NO_ADDRESS, UNKNOWN)]),
            (1, heard, [record]),
            (2, heard, []),
            (2.9, TimerExpired(), []),
            (3, TimerExpired(), [matching(log.VLAN_NOT_FOUND, detail=containing("3 s")), NOT_TOLD]),
            (4, TimerExpired(), []),
        ],
    )
    assert machine.next_deadline() is None


def test_what_is_heard_is_logged_when_it_changes():
    machine = settled(VOICE_VLAN)
    assert machine.handle(says(VOICE_VLAN), 30) == []
    other = msgspec.structs.replace(VOICE_VLAN, dscp=34)
    (record,) = machine.handle(says(other), 60)
    assert record == matching(log.LLDP_RECEIVED, policy="tagged VLAN 100 priority 5 dscp 34")


def test_a_later_policy_moves_the_phone():
    play(
        settled(VOICE_VLAN),
        [
            (
                1,
                LeaseBound(lease=LEASE),
                [Said(NO_ADDRESS), Said(address(b"\x0a\0\0\x32"), VOICE_VLAN)],
            ),
            (
                60,
                says(UNTAGGED),
                [
                    matching(log.VLAN_CHANGED, old=100, new=0),
                    Said(address(b"\x0a\0\0\x32")),
                    Said(NO_ADDRESS, VOICE_VLAN),
                    Said(NO_ADDRESS, UNTAGGED),
                    VlanChanged(vlan_id=None),
                ],
            ),
            (90, says(VOICE_VLAN), [Said(NO_ADDRESS, VOICE_VLAN), VlanChanged(vlan_id=100)]),
        ],
    )


def test_it_does_not_if_the_profile_says_so():
    machine = settled(VOICE_VLAN, follows_policy_changes=False)
    play(machine, [(60, says(UNTAGGED), [])])
    assert machine.state == Settled(vlan_id=100)


def test_a_switch_that_speaks_late_is_heard():
    machine = waiting()
    play(
        machine,
        [
            (3, TimerExpired(), [NOT_TOLD]),
            (9, says(VOICE_VLAN), [Said(NO_ADDRESS, VOICE_VLAN), VlanChanged(vlan_id=100)]),
        ],
    )


def test_the_vlan_of_a_dhcp_server_is_advertised_and_a_switch_knows_better():
    by_dhcp = NetworkPolicy(is_tagged=True, vlan_id=110)
    play(
        waiting(),
        [
            (3, TimerExpired(), [NOT_TOLD]),
            (4, VlanOffered(vlan_id=110, server="10.0.0.1"), [Said(NO_ADDRESS, by_dhcp)]),
            (9, says(msgspec.structs.replace(VOICE_VLAN, vlan_id=110)), []),
            (12, says(VOICE_VLAN), [Said(NO_ADDRESS, VOICE_VLAN), VlanChanged(vlan_id=100)]),
        ],
    )


def test_the_phone_says_good_bye_under_its_old_address():
    first, second = address(b"\x0a\0\0\x32"), address(b"\x0a\0\0\x33")
    other = msgspec.structs.replace(LEASE, address="10.0.0.51")
    play(
        settled(),
        [
            (1, LeaseBound(lease=LEASE), [Said(NO_ADDRESS), Said(first, UNTAGGED)]),
            (2, LeaseBound(lease=LEASE, is_renewal=True), []),
            (3, LeaseBound(lease=other), [Said(first), Said(second, UNTAGGED)]),
            (
                4,
                LeaseLost(address="10.0.0.51", detail=""),
                [Said(second), Said(NO_ADDRESS, UNTAGGED)],
            ),
            (5, ShutdownRequested(), [Said(NO_ADDRESS)]),
            (6, says(VOICE_VLAN), []),
            (6, LeaseBound(lease=LEASE), []),
            (6, VlanOffered(vlan_id=1, server=""), []),
        ],
    )


def test_a_phone_known_by_its_mac_keeps_its_identity():
    machine = settled(chassis_id="mac-address")
    play(machine, [(1, LeaseBound(lease=LEASE), [])])
    play(machine, [(5, ShutdownRequested(), [Said(MAC)])])


def test_a_phone_that_does_not_speak_lldp_says_and_hears_nothing():
    machine = endpoint()
    play(
        machine,
        [
            (0, says(VOICE_VLAN), []),
            (1, LeaseBound(lease=LEASE), []),
            (2, VlanOffered(vlan_id=110, server="10.0.0.1"), []),
            (3, ShutdownRequested(), []),
        ],
    )
    assert machine.state == Stopped()
    assert machine.next_deadline() is None


def test_what_the_phone_says_of_itself():
    (said,) = [
        each for each in endpoint().handle(VlanWanted(), 0) if isinstance(each, AdvertiseLldp)
    ]
    unit = said.unit
    assert (said.fast_count, said.interval) == (3, 30)
    assert (unit.chassis_subtype, unit.chassis_id) == (CHASSIS_NETWORK_ADDRESS, NO_ADDRESS)
    assert (unit.port_subtype, unit.port_id, unit.ttl) == (PORT_MAC, MAC, 120)
    assert unit.device_class == ENDPOINT_CLASS_III
    assert unit.policies == (NetworkPolicy(application=VOICE, is_unknown=True),)
    assert unit.system_description == "POLYCOM CX600 4.0.7577.4066"
    assert unit.inventory == Inventory(
        hardware_revision="A",
        firmware_revision="4.0.7577.4066",
        software_revision="4.0.7577.4066",
        serial_number="0004F2000001",
        manufacturer="POLYCOM",
        model="CX600",
    )
    encode_lldp(unit)


def test_texts_are_the_profiles_and_cut_where_lldp_ends_them():
    profile = PROFILE.model_copy(
        update={
            "vendor": "V" * 40,
            "vlan": PROFILE.vlan.model_copy(
                update={"system_name": "{mac}", "asset_id": "7", "serial_number": None}
            ),
        }
    )
    (said,) = LldpEndpoint(profile, MAC).handle(VlanWanted(), 0)[1:]
    inventory = said.unit.inventory
    assert (inventory.manufacturer, inventory.asset_id) == ("V" * 32, "7")
    assert inventory.serial_number is None
    assert said.unit.system_name == "0004F2000001"
    encode_lldp(said.unit)
