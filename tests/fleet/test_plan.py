from itertools import islice
from pathlib import Path

import pytest

from phonesim.config.fleet_profile import DeviceShare, FleetProfile
from phonesim.config.site_profile import UserRange
from phonesim.device.events import Lease
from phonesim.device.http_authentication import WindowsCredentials
from phonesim.device.outcome import Stage
from phonesim.errors import ProfileError
from phonesim.fleet.plan import (
    Plan,
    interleave,
    phone_specs,
    read_plan,
    run_limits,
)
from phonesim.profiles import DEVICE, Override, load, option_override, parse_override

DEVICES = {name: load(DEVICE, name) for name in ("polycom-cx600", "aastra-6725ip")}
USERS = (
    UserRange(first=1, count=2, sip_uri="sip:a{n}@x", number="10{n}", pin="{n:04d}"),
    UserRange(first=7, count=8, sip_uri="sip:b{n}@x", number="20{n}", pin="9{n:03d}"),
)


TYPED = "{first: 10.77.40.1, count: 9, prefix: 16, dns_servers: [10.77.0.2], domain: x.com}"
DISCOVERING = ("fleet.stages=[discovery]", f"fleet.addresses={TYPED}")


def fleet(**values: object) -> FleetProfile:
    return FleetProfile.model_validate({"name": "f", **values})


def shares(*weights: tuple[str, int]) -> tuple[DeviceShare, ...]:
    return tuple(DeviceShare(device=name, weight=weight) for name, weight in weights)


def test_phones_have_their_own_mac_user_start_and_seed() -> None:
    mixed = shares(("polycom-cx600", 2), ("aastra-6725ip", 1))
    specs = phone_specs(fleet(phones=4, rate=2, seed=9, devices=mixed), DEVICES, USERS)
    assert [spec.phone_id for spec in specs] == [
        "00-04-F2-00-00-01",
        "00-08-5D-00-00-02",
        "00-04-F2-00-00-03",
        "00-04-F2-00-00-04",
    ]
    assert specs[1].mac == bytes.fromhex("00085d000002")
    assert specs[1].profile is DEVICES["aastra-6725ip"]
    assert [spec.starts_at for spec in specs] == [0, 0.5, 1.0, 1.5]
    typed = [(spec.number, spec.pin) for spec in specs]
    assert typed == [("101", "0001"), ("102", "0002"), ("207", "9007"), ("208", "9008")]
    assert specs[0].seed == "9/00-04-F2-00-00-01"


def test_the_same_profiles_give_the_same_phones() -> None:
    first, second = (phone_specs(fleet(phones=5), DEVICES, USERS) for _ in range(2))
    assert first == second


def test_models_keep_their_proportion_in_every_stretch() -> None:
    mixed = shares(("a", 5), ("b", 3), ("c", 1))
    drawn = list(islice(interleave(mixed), 90))
    assert {name: drawn.count(name) for name in "abc"} == {"a": 50, "b": 30, "c": 10}
    for start in range(0, 90, 9):
        stretch = drawn[start : start + 9]
        assert (stretch.count("a"), stretch.count("b"), stretch.count("c")) == (5, 3, 1)
    assert "aaa" not in "".join(drawn)


def test_a_fleet_chooses_its_macs_and_keeps_its_users() -> None:
    ours, others = (phone_specs(fleet(phones=3, first_phone=n), DEVICES, USERS) for n in (1, 0x1FF))
    assert [spec.phone_id[9:] for spec in others][:3] == ["00-01-FF", "00-02-00", "00-02-01"]
    assert not {spec.mac for spec in ours} & {spec.mac for spec in others}
    assert [spec.number for spec in ours] == [spec.number for spec in others]


def test_more_phones_than_macs_are_refused() -> None:
    last = fleet(phones=2, first_phone=0xFFFFFE)
    assert phone_specs(last, DEVICES, USERS)[-1].phone_id.endswith("FF-FF-FF")
    with pytest.raises(ProfileError, match=r"more than a MAC has room for"):
        phone_specs(fleet(phones=3, first_phone=0xFFFFFE), DEVICES, USERS)


def test_more_phones_than_users_are_refused() -> None:
    with pytest.raises(ProfileError, match=r"11 phones need as many users.*'contoso'.* 10"):
        phone_specs(fleet(phones=11), DEVICES, USERS)
    assert len(phone_specs(fleet(phones=10), DEVICES, USERS)) == 10


def test_a_user_template_that_cannot_be_filled_in_is_refused_without_its_pin() -> None:
    broken = UserRange(sip_uri="sip:a", number="1", pin="{secret}")
    with pytest.raises(ProfileError, match=r"only \{n\} is known") as caught:
        phone_specs(fleet(phones=1), DEVICES, [broken])
    assert "pin=" not in str(caught.value)


def test_users_with_a_password_have_their_own_or_their_pin() -> None:
    named = UserRange(
        count=2,
        sip_uri="sip:a{n}@x",
        number="1",
        pin="9{n}",
        user_name="X\\a{n}",
        password="Pa{n}",
    )
    signs_in = fleet(phones=3, sign_in="credentials")
    specs = phone_specs(signs_in, DEVICES, [named, USERS[0]])
    assert [spec.credentials for spec in specs] == [
        WindowsCredentials(sip_uri="sip:a1@x", user_name="X\\a1", password="Pa1"),
        WindowsCredentials(sip_uri="sip:a2@x", user_name="X\\a2", password="Pa2"),
        WindowsCredentials(sip_uri="sip:a1@x", user_name="a1@x", password="0001"),
    ]
    assert {spec.credentials for spec in phone_specs(fleet(phones=2), DEVICES, USERS)} == {None}


@pytest.mark.parametrize("template", [{"user_name": "{m}"}, {"password": "{secret}"}])
def test_credentials_that_cannot_be_filled_in_are_refused(template: dict[str, str]) -> None:
    broken = UserRange(sip_uri="sip:a", number="1", pin="1", **template)
    with pytest.raises(ProfileError, match=r"only \{n\} is known") as caught:
        phone_specs(fleet(phones=1, sign_in="credentials"), DEVICES, [broken])
    assert "password=" not in str(caught.value)


@pytest.mark.parametrize(
    ("device", "has_tether"),
    [
        ("polycom-cx600", True),
        ("polycom-cx3000", True),
        ("aastra-6725ip", True),
        ("hp-4120", True),
        ("polycom-cx500", False),
        ("aastra-6721ip", False),
        ("hp-4110", False),
    ],
)
def test_only_models_with_a_tether_take_passwords(device: str, has_tether: bool) -> None:
    profile = load(DEVICE, device)
    assert profile.usb_tether is has_tether
    signs_in = fleet(phones=1, sign_in="credentials", devices=shares((device, 1)))
    if has_tether:
        assert phone_specs(signs_in, {device: profile}, USERS)
        return
    with pytest.raises(ProfileError, match=f"device {device} has no USB tether"):
        phone_specs(signs_in, {device: profile}, USERS)


def test_limits_follow_the_fleet() -> None:
    limits = run_limits(fleet(until="10m", timeout=30, boots=3, keep_leases=True))
    assert (limits.duration, limits.timeout) == (600, 30)
    assert (limits.boots, limits.keep_leases) == (("cold", "warm", "warm"), True)
    assert run_limits(fleet(boots=2, phones_from="earlier")).boots == ("warm", "warm")
    named = ["cold", "sign-out", "factory-reset"]
    assert run_limits(fleet(boots=named)).boots == tuple(named)
    assert run_limits(fleet()).duration is None
    assert run_limits(fleet()).outstanding is None
    assert run_limits(fleet(limits={"outstanding": 7})).outstanding == 7
    assert run_limits(fleet()).repeat_every is None
    again = fleet(repeat_every=5, stages=["ip"], until="1m")
    assert (run_limits(again).repeat_every, run_limits(again).duration) == (5, 60)


def test_phones_of_whole_boots_go_to_the_end() -> None:
    specs = phone_specs(fleet(phones=2), DEVICES, USERS)
    assert {(spec.first_stage, spec.last_stage, spec.fixed_lease) for spec in specs} == {
        (Stage.VLAN, Stage.COMMIT, None)
    }


def stages_of(*assignments: str) -> Plan:
    settings = ["fleet.attach=virtual", "fleet.phones=3", *assignments]
    return read_plan("demo", [parse_override(text) for text in settings])


@pytest.mark.parametrize(
    ("stages", "first", "last"),
    [
        ("[ip]", Stage.IP, Stage.IP),
        ("[vlan, ip]", Stage.VLAN, Stage.IP),
        ("[ip, discovery]", Stage.IP, Stage.DISCOVERY),
        ("[discovery]", Stage.DISCOVERY, Stage.DISCOVERY),
    ],
)
def test_phones_that_stop_early_need_no_users(stages: str, first: Stage, last: Stage) -> None:
    plan = stages_of(f"fleet.stages={stages}", "site.users=[]")
    assert [(spec.number, spec.pin) for spec in plan.specs] == [("", "")] * 3
    assert {(spec.first_stage, spec.last_stage) for spec in plan.specs} == {(first, last)}
    has_address = stages == "[discovery]"
    assert [spec.fixed_lease is not None for spec in plan.specs] == [has_address] * 3


def test_real_servers_are_loaded_without_users() -> None:
    plan = stages_of(
        "fleet.stages=[ip]", "fleet.site=none", "fleet.attach=wire", "fleet.interface=eth9"
    )
    assert len(plan.specs) == 3


def test_fixed_addresses_are_those_of_the_first_scope() -> None:
    plan = stages_of("fleet.stages=[discovery]")
    leases = [spec.fixed_lease for spec in plan.specs]
    assert [lease.address for lease in leases if lease] == [f"127.20.16.{n}" for n in (1, 2, 3)]
    assert leases[0] is not None
    assert leases[0].subnet_mask == "255.255.0.0"
    assert (leases[0].dns_servers, leases[0].domain) == (("127.20.0.11",), "contoso.com")
    assert leases[0].expires_at == float("inf")


def test_fixed_addresses_can_be_the_fleet_s_own_and_dns_is_asked_alone() -> None:
    plan = stages_of(
        *DISCOVERING,
        "fleet.addresses.router=10.77.0.1",
        "fleet.addresses.search_list=[eu.x.com]",
        "fleet.site=none",
        "fleet.attach=wire",
        "fleet.interface=eth9",
    )
    leases = [spec.fixed_lease for spec in plan.specs]
    assert [lease.address for lease in leases if lease] == [f"10.77.40.{n}" for n in (1, 2, 3)]
    assert leases[2] == Lease(
        address="10.77.40.3",
        subnet_mask="255.255.0.0",
        server="0.0.0.0",
        t1_at=float("inf"),
        t2_at=float("inf"),
        expires_at=float("inf"),
        routers=("10.77.0.1",),
        dns_servers=("10.77.0.2",),
        domain="x.com",
        search_list=("eu.x.com",),
    )
    assert {spec.profile.discovery.asks_dhcp for spec in plan.specs} == {False}
    asking = stages_of(*DISCOVERING, "fleet.addresses.asks_dhcp=true")
    assert {spec.profile.discovery.asks_dhcp for spec in asking.specs} == {True}


def test_phones_start_as_the_shape_says_and_rate_alone_is_one_rate() -> None:
    shaped = stages_of("fleet.stages=[ip]", "fleet.shape={kind: burst}")
    assert [spec.starts_at for spec in shaped.specs] == [0, 0, 0]
    steady = stages_of("fleet.stages=[ip]", "fleet.rate=4")
    assert [spec.starts_at for spec in steady.specs] == [0, 0.25, 0.5]


def test_a_plan_is_read_with_everything_it_names() -> None:
    overrides = [
        parse_override("fleet.phones=3"),
        parse_override("device.retry_delay=5"),
        parse_override("site.dhcp_servers.0.scope.lease_time=77"),
        option_override("--attach", "fleet", "attach", "virtual"),
    ]
    plan = read_plan("demo", overrides, ["dns-silent"])
    assert len(plan.specs) == 3
    assert {spec.profile.retry_delay for spec in plan.specs} == {5}
    assert plan.site is not None
    assert plan.site.dhcp_servers[0].scope is not None
    assert plan.site.dhcp_servers[0].scope.lease_time == 77
    assert [fault.name for fault in plan.faults] == ["dns-silent"]


def test_a_fleet_without_a_mock_site_brings_its_users(tmp_path: Path) -> None:
    users = "name: hq\nusers: [{count: 2, sip_uri: s, number: '{n}', pin: p}]"
    (tmp_path / "hq.yaml").write_text(users)
    file = tmp_path / "x.yaml"
    file.write_text("name: x\nsite: none\nphones: 2\nusers_from: ./hq.yaml\n")
    plan = read_plan(str(file))
    assert plan.site is None
    assert [spec.number for spec in plan.specs] == ["1", "2"]


@pytest.mark.parametrize(
    ("assignments", "faults", "said"),
    [
        (["fleet.site=none", "fleet.attach=virtual"], [], "needs a mock site"),
        (["fleet.attach=wire"], [], "--interface"),
        (["fleet.site=none"], ["dns-silent"], "faults act on the mock site"),
        (["fleet.site=none", "site.name=x"], [], "has no mock site"),
        (["fleet.site=none"], [], "who signs in with fleet.users_from"),
        (["fleet.until=soon"], [], "until"),
        (
            ["fleet.stages=[discovery]", "fleet.site=none"],
            [],
            "there is none: give fleet.addresses",
        ),
        (
            ["fleet.stages=[discovery]", "site.dhcp_servers.0.scope.last=127.20.16.9"],
            [],
            "25 phones need as many addresses, and the scope of dhcp01 has 9",
        ),
        (["fleet.stages=[discovery]", "fleet.attach=wire"], [], "needs an address of its own"),
        (
            ["fleet.stages=[discovery]", "fleet.addresses={first: 127.1.0.1, count: 30}"],
            [],
            "stages .discovery. need addresses.dns_servers and addresses.domain",
        ),
        ([f"fleet.addresses={TYPED}"], [], "addresses are for stages .discovery. or"),
        (
            [*DISCOVERING, "fleet.attach=virtual"],
            [],
            "25 phones need as many addresses, and addresses.count is 9",
        ),
        (
            ["fleet.phones=2", *DISCOVERING, "fleet.attach=loopback"],
            [],
            "10.77.40.1, and the loopback world has only addresses of 127",
        ),
        (
            [*DISCOVERING, "fleet.attach=wire", "fleet.addresses.first=127.0.0.9"],
            [],
            "127.0.0.9, and the wire world has no addresses of 127",
        ),
        (["fleet.repeat_every=5"], [], "for fleets with stages: a whole boot is not repeated"),
        (["fleet.repeat_every=5", "fleet.stages=[ip]"], [], "needs a duration in until"),
        (
            ["fleet.repeat_every=5", "fleet.stages=[ip]", "fleet.until=9s", "fleet.boots=2"],
            [],
            "and no boots of its own",
        ),
        (
            ["fleet.limits.packets_per_second=9", "fleet.attach=virtual"],
            [],
            "limits.packets_per_second is for real packets",
        ),
        (["fleet.stages=[time]"], [], "stages"),
        (["fleet.stages=[]"], [], "should be .ip., .vlan, ip., .ip, discovery., .disc"),
        (["fleet.site=contosso"], [], "did you mean 'contoso'"),
        ([], ["dns-silence"], "did you mean 'dns-silent'"),
    ],
)
def test_what_does_not_go_together_is_refused(
    assignments: list[str], faults: list[str], said: str
) -> None:
    with pytest.raises(ProfileError, match=said):
        read_plan("demo", [parse_override(text) for text in assignments], faults)


@pytest.mark.parametrize(
    ("attach", "override", "worlds"),
    [
        ("virtual", option_override("--interface", "fleet", "interface", "eth1"), "wire or relay"),
        ("loopback", option_override("--own-mac", "fleet", "own_mac", "full"), "wire"),
        (
            "virtual",
            option_override("--port-offset", "fleet", "port_offset", 0),
            "loopback or relay",
        ),
        ("virtual", parse_override("fleet.keys=unique"), "loopback or wire or relay"),
        ("loopback", parse_override("fleet.links.loss=0.1"), "virtual"),
    ],
)
def test_an_option_that_the_world_has_no_use_for_is_refused(
    attach: str, override: Override, worlds: str
) -> None:
    with pytest.raises(ProfileError) as raised:
        read_plan("demo", [parse_override(f"fleet.attach={attach}"), override])
    assert str(raised.value) == (
        f"{override.label}: the {attach} world has no use for it: leave it out, or use"
        f" --attach {worlds}"
    )


@pytest.mark.parametrize("setting", ["interface=null", "own_mac=null", "port_offset=null"])
def test_an_option_that_is_taken_back_needs_no_use(setting: str) -> None:
    read_plan("demo", [parse_override(f"fleet.{text}") for text in ("attach=virtual", setting)])


def test_what_a_fleet_says_for_one_world_does_not_keep_it_from_another(tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text(
        "name: mine\nattach: wire\ninterface: eth1\nown_mac: full\nlinks: {loss: 0.1}\n"
    )
    assert read_plan(str(path), [parse_override("fleet.attach=virtual")]).specs
