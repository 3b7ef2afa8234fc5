import msgspec
import pytest

from phonesim.config.site_profile import SwitchConfig
from phonesim.mocksite.exchange import (
    LldpAdvertised,
    MalformedArrived,
    SendLldp,
    ServerTimerExpired,
)
from phonesim.mocksite.switch import Switch
from phonesim.wire.lldp import (
    CHASSIS_NETWORK_ADDRESS,
    ENDPOINT_CLASS_III,
    NETWORK_CONNECTIVITY,
    PORT_MAC,
    LldpUnit,
    NetworkPolicy,
    encode_lldp,
)

MAC = bytes.fromhex("0004F2000001")
PHONE = LldpUnit(
    chassis_subtype=CHASSIS_NETWORK_ADDRESS,
    chassis_id=b"\x01\0\0\0\0",
    port_subtype=PORT_MAC,
    port_id=MAC,
    ttl=120,
    med_capabilities=0x33,
    device_class=ENDPOINT_CLASS_III,
)


def heard(port="00-04-F2-00-00-01", **changes):
    return LldpAdvertised(unit=msgspec.structs.replace(PHONE, **changes), port=port)


def answers(switch, event):
    return [action.unit for action in switch.handle(event, 0) if isinstance(action, SendLldp)]


@pytest.mark.parametrize(
    ("voice_vlan", "policy"),
    [
        (100, NetworkPolicy(is_tagged=True, vlan_id=100, priority=5, dscp=46)),
        (None, NetworkPolicy(priority=5, dscp=46)),
    ],
)
def test_a_phone_is_told_the_policy(voice_vlan, policy):
    switch = Switch(SwitchConfig(name="access01", voice_vlan=voice_vlan))
    (action,) = switch.handle(heard(), 0)
    assert action.port == "00-04-F2-00-00-01"
    assert action.unit.policies == (policy,)
    assert action.unit.device_class == NETWORK_CONNECTIVITY
    assert (action.unit.system_name, action.unit.port_id) == ("access01", b"ge-1")
    encode_lldp(action.unit)


KNOWN, UNKNOWN = NetworkPolicy(), NetworkPolicy(is_unknown=True)
VIDEO = NetworkPolicy(application=6)


@pytest.mark.parametrize(
    ("policies", "is_told"),
    [((), True), ((UNKNOWN,), True), ((VIDEO,), True), ((KNOWN,), False), ((VIDEO, KNOWN), False)],
)
def test_a_phone_is_told_until_it_knows(policies, is_told):
    switch = Switch(SwitchConfig())
    for _ in range(2):
        assert bool(answers(switch, heard(policies=policies))) == is_told


def test_a_phone_that_goes_is_told_nothing():
    assert not answers(Switch(SwitchConfig()), heard(ttl=0))


def test_each_port_has_its_own_name():
    switch = Switch(SwitchConfig())
    (first,) = answers(switch, heard())
    (second,) = answers(switch, heard(port="00-04-F2-00-00-02"))
    assert (first.port_id, second.port_id) == (b"ge-1", b"ge-2")


def test_nobody_else_is_told_anything():
    switch = Switch(SwitchConfig())
    assert not answers(switch, heard(med_capabilities=None))
    assert not switch.handle(ServerTimerExpired(), 0)
    assert switch.next_deadline() is None


def test_what_is_malformed_is_reported():
    event = MalformedArrived(protocol="lldp", source="x", reason="cut")
    (report,) = Switch(SwitchConfig()).handle(event, 0)
    assert dict(report.fields)["reason"] == "cut"
