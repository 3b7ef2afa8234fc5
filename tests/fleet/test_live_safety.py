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
    assert address == 4 + 3 + 2
    assert address < discovery < expected_packets(profile)


@pytest.mark.parametrize(
    ("stages", "signs_in"), [("null", True), ("[ip]", False), ("[ip, discovery]", False)]
)
def test_it_is_said_whether_phones_sign_in(stages: str, signs_in: bool) -> None:
    users = ["fleet.users_from=contoso"] if signs_in else []
    said = impact("fleet.site=none", f"fleet.stages={stages}", *users)
    assert ("phones sign in as real users" in said) is signs_in
    assert "servers   those of this network" in said


@pytest.mark.parametrize(
    ("limits", "said"),
    [
        ([], "limits    none: the phones do not slow down"),
        (["packets_per_second=50"], "limits    50 datagrams a second from all phones together"),
        (
            ["outstanding=7", "unanswered_share=0.25", "unanswered_window=40"],
            "limits    7 phones booting at once; the run stops when more than 25% of 40 exchanges"
            " have no answer",
        ),
    ],
)
def test_the_limits_are_said_and_that_there_are_none(limits: list[str], said: str) -> None:
    assert said in impact(*(f"fleet.limits.{each}" for each in limits))


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        (["fleet.rate=2"], "duration  until every phone is done, at most 601 s"),
        (["fleet.until=10m"], "duration  600 s (until 10m), and the time to shut down"),
    ],
)
def test_it_is_said_how_long_it_takes(settings: list[str], said: str) -> None:
    assert said in impact(*settings)


def test_every_mac_is_said() -> None:
    said = impact("fleet.first_phone=257", "fleet.devices=[{device: polycom-cx600}]")
    assert "phones    3, with MACs 00-04-F2-00-01-01 to 00-04-F2-00-01-03" in said
    assert "with MACs 00-08-5D-00-00-0A\n" in impact(
        "fleet.phones=1", "fleet.first_phone=10", "fleet.devices=[{device: aastra-6721ip}]"
    )
