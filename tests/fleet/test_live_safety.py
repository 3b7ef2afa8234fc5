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


TYPED = "{first: 10.77.40.1, count: 9, prefix: 16, dns_servers: [10.77.0.2], domain: x.com}"


def test_typed_in_addresses_and_what_is_sent_again_and_again_are_said() -> None:
    said = impact(
        "fleet.site=none",
        "fleet.stages=[discovery]",
        f"fleet.addresses={TYPED}",
        "fleet.rate=1",
        "fleet.repeat_every=2",
        "fleet.until=9s",
    )
    assert "starts    1 a second, the last after 2 s" in said
    # Starts at 0 2 4 6 8, at 1 3 5 7 and at 2 4 6 8: two phones in the same second.
    assert "about 8 a boot when everything answers, 104 in all, up to 16 a second" in said
    assert "again     every 2 s, for 9s" in said
    assert "addresses 10.77.40.1 to 10.77.40.3, which no server leased" in said
    assert "leases" not in said


def test_the_busiest_second_of_a_shape_is_said() -> None:
    assert "starts    up to 3 a second, the last after 0 s" in impact("fleet.shape={kind: burst}")
