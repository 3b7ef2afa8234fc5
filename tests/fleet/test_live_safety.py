import pytest

from phonesim.fleet.live_safety import describe_impact, expected_packets, needs_consent
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


def relayed(*assignments: str) -> str:
    settings = [
        "fleet.site=none",
        "fleet.relay={servers: [10.0.0.1, 10.0.0.2], copies: 2, giaddrs: [10.1.0.1, 10.2.0.1]}",
        *assignments,
    ]
    plan = read_plan("relay-load", [parse_override(text) for text in settings])
    assert needs_consent(plan)
    return "\n".join(describe_impact(plan))


def test_servers_giaddrs_and_the_highest_rate_are_said() -> None:
    said = relayed("fleet.phones=10", "fleet.rate=5")
    assert "to        10.0.0.1, 10.0.0.2" in said
    assert "giaddrs   10.1.0.1, 10.2.0.1" in said
    assert "request of a phone is sent 4 times" in said
    # DISCOVER, OFFER, REQUEST and ACK, four times each, and no ARP
    assert "about 16 a boot when everything answers, 160 in all, up to 80 a second" in said
    assert "put on interface eth9 if need be" in relayed("fleet.interface=eth9")


def test_many_giaddrs_are_not_all_said() -> None:
    giaddrs = ", ".join(f"10.{n}.0.1" for n in range(1, 31))
    said = relayed(f"fleet.relay.giaddrs=[{giaddrs}]")
    assert "10.8.0.1 and 22 more" in said


def test_on_loopback_nobody_is_asked() -> None:
    assert not needs_consent(read_plan("relay-load"))
