import pytest

from phonesim.fleet.live_safety import describe_impact, expected_packets
from phonesim.fleet.plan import read_plan
from phonesim.profiles import DEVICE, load, parse_override


def impact(*assignments: str) -> str:
    settings = ["fleet.attach=wire", "fleet.interface=eth9", "fleet.phones=3", *assignments]
    plan = read_plan("demo", [parse_override(text) for text in settings])
    return "\n".join(describe_impact(plan))


def test_a_fleet_that_stops_early_sends_less() -> None:
    profile = load(DEVICE, "polycom-cx600")
    address = expected_packets(profile, ("ip",))
    discovery = expected_packets(profile, ("ip", "discovery"))
    assert address == 8
    assert address < discovery < expected_packets(profile)


def test_phones_that_speak_lldp_send_that_too() -> None:
    profile = load(DEVICE, "polycom-cx600")
    silent = profile.model_copy(update={"vlan": profile.vlan.model_copy(update={"lldp_wait": 0})})
    assert expected_packets(profile, ("vlan", "ip")) == 14
    assert expected_packets(silent, ("vlan", "ip")) == 8
    assert expected_packets(profile) - expected_packets(silent) == 6


@pytest.mark.parametrize(
    ("stages", "signs_in"), [("null", True), ("[ip]", False), ("[ip, discovery]", False)]
)
def test_it_is_said_whether_phones_sign_in(stages: str, signs_in: bool) -> None:
    users = ["fleet.users_from=contoso"] if signs_in else []
    said = impact("fleet.site=none", f"fleet.stages={stages}", *users)
    assert ("phones sign in as real users" in said) is signs_in
    assert "servers   those of this network" in said


def test_the_limit_on_datagrams_is_said() -> None:
    assert "limit     50 datagrams a second" in impact("fleet.limits.packets_per_second=50")
    assert "limit " not in impact()
