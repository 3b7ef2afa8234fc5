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
    assert address == 4 + 3 + 2
    assert address < discovery < expected_packets(profile)


def test_phones_that_speak_lldp_send_that_too() -> None:
    profile = load(DEVICE, "polycom-cx600")
    silent = profile.model_copy(update={"vlan": profile.vlan.model_copy(update={"lldp_wait": 0})})
    assert expected_packets(profile, ("vlan", "ip")) == 15
    assert expected_packets(silent, ("vlan", "ip")) == 9
    assert expected_packets(profile) - expected_packets(silent) == 6


@pytest.mark.parametrize(
    ("stages", "signs_in"), [("null", True), ("[ip]", False), ("[ip, discovery]", False)]
)
def test_it_is_said_whether_phones_sign_in(stages: str, signs_in: bool) -> None:
    users = ["fleet.users_from=contoso"] if signs_in else []
    said = impact("fleet.site=none", f"fleet.stages={stages}", *users)
    assert ("phones sign in as real users" in said) is signs_in
    assert "servers   those of this network" in said


def test_it_is_said_where_phones_register_as_whom() -> None:
    plan = read_plan(
        "register-load",
        [
            parse_override(text)
            for text in (
                "fleet.attach=wire",
                "fleet.interface=eth9",
                "fleet.site=none",
                "fleet.phones=3",
                "fleet.addresses={first: 10.77.40.1, count: 3, prefix: 16}",
                "fleet.registration={registrars: [{host: 10.77.0.11, transport: tcp}],"
                " sip_uri: 'sip:a{n}@x', password: p}",
            )
        ],
    )
    said = "\n".join(describe_impact(plan))
    assert "to        10.77.0.11:5060" in said
    assert "about 27 a boot" in said
    assert "phones sign in as real users" in said


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
    assert "about 9 a boot when everything answers, 117 in all, up to 18 a second" in said
    assert "again     every 2 s, for 9s" in said
    assert "addresses 10.77.40.1 to 10.77.40.3, which no server leased" in said
    assert "leases" not in said


def test_the_busiest_second_of_a_shape_is_said() -> None:
    assert "starts    up to 3 a second, the last after 0 s" in impact("fleet.shape={kind: burst}")


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
