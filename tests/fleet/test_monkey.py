import random

import pytest

from phonesim.config.fault import Outage, ShowCertificate, Silence
from phonesim.errors import UsageError
from phonesim.fleet.monkey import (
    AT_A_TIME,
    DEFAULT_SPAN,
    LONGEST,
    describe,
    longest_way_back,
    plan_faults,
    schedule,
    with_monkey,
)
from phonesim.fleet.plan import read_plan
from phonesim.mocksite.site import build_site
from phonesim.profiles import DEVICE, SITE, load, parse_override
from phonesim.virtual_authority import VirtualAuthority


def plan(*settings, fleet="power-cut"):
    return read_plan(fleet, [parse_override(each) for each in ("fleet.phones=3", *settings)])


@pytest.mark.parametrize("name", ["contoso", "contoso-voice", "branches"])
@pytest.mark.parametrize("span", [0.5, 30.0, 300.0, 7200.0])
def test_every_fault_is_over_by_the_end_and_finds_its_server(name, span):
    site = load(SITE, name)
    for seed in range(20):
        rules = plan_faults(seed, site, span)
        assert [rule.begins_at for rule in rules] == sorted(rule.begins_at for rule in rules)
        for rule in rules:
            assert 0 <= rule.begins_at < rule.ends_at <= span + 0.01
            assert rule.is_passing
            assert rule.lasts <= LONGEST
        monkey = with_monkey(plan(f"fleet.site={name}", f"fleet.until={span}s"), seed)
        build_site(site, monkey.faults, VirtualAuthority(), random.Random(0), 0)


def test_the_same_seed_gives_the_same_faults_and_another_one_others():
    site = load(SITE, "contoso")
    assert plan_faults(7, site, 60) == plan_faults(7, site, 60)
    assert plan_faults(7, site, 60) != plan_faults(8, site, 60)


def test_all_kinds_of_faults_come_up_about_so_many_at_a_time():
    rules = plan_faults(1, load(SITE, "contoso"), 36000)
    assert {type(rule) for rule in rules} == {Outage, Silence, ShowCertificate}
    assert {rule.protocol for rule in rules} == {"dhcp", "dns", "ntp", "https", "sip"}
    assert AT_A_TIME * 0.9 < sum(rule.lasts for rule in rules) / 36000 < AT_A_TIME * 1.1


def test_after_the_faults_phones_have_time():
    made = with_monkey(plan(), 3)
    way_back = longest_way_back(load(DEVICE, "polycom-cx600"))
    assert made.monkey.span == DEFAULT_SPAN
    assert made.limits.duration == DEFAULT_SPAN + made.monkey.grace
    assert made.monkey.grace >= way_back > 300
    short = with_monkey(plan("fleet.until=20s"), 3, 5.0)
    assert short.limits.duration == 25
    late = with_monkey(plan("fleet.until=20s", "fleet.rate=0.01"), 3, 5.0, keeps_starts=True)
    assert late.limits.duration == 205  # the last phone starts after 200 s


def test_faults_fall_on_boots_too_for_phones_start_over_half_of_the_span():
    made = with_monkey(plan("fleet.until=60s"), 3)
    assert [spec.starts_at for spec in made.specs] == [0.0, 10.0, 20.0]
    kept = with_monkey(plan("fleet.until=60s"), 3, keeps_starts=True)
    assert [spec.starts_at for spec in kept.specs] == [0.0, 0.01, 0.02]


def test_what_it_does_is_told():
    made = with_monkey(plan("fleet.until=40s"), 3)
    [profile] = made.faults
    assert profile.name == "monkey-3"
    told = schedule(made, made.limits.duration)
    assert len(told) == len(profile.rules)
    assert all(each["begins_at"] < each["ends_at"] <= 40.01 for each in told)


def test_of_a_run_that_is_cut_short_only_what_happened_is_told():
    made = with_monkey(plan("fleet.until=40s"), 3)
    whole, cut = schedule(made, 40.01), schedule(made, 12.0)
    assert [each["fault"] for each in cut] == [
        each["fault"] for each in whole if each["begins_at"] < 12
    ]
    assert 0 < len(cut) < len(whole)
    assert all(each["ends_at"] is None or each["ends_at"] <= 12 for each in cut)
    assert any(each["ends_at"] is None for each in cut)


@pytest.mark.parametrize(
    ("rule", "words"),
    [
        (Outage(kind="outage", protocol="sip", lasts=1), "stopped"),
        (
            Silence(kind="silence", protocol="dns", every_nth=3, lasts=1),
            "loses 1 of 3 dns requests",
        ),
        (
            ShowCertificate(kind="show-certificate", certificate="expired", lasts=1),
            "certificate expired",
        ),
    ],
)
def test_faults_in_words(rule, words):
    assert describe(rule) == words


@pytest.mark.parametrize(
    ("fleet", "settings", "told"),
    [
        ("relay-load", [], "--attach virtual or loopback"),
        ("dhcp-load", [], "no stages"),
        ("power-cut", ["fleet.faults=[pin-wrong]"], "leave out --fault"),
        ("power-cut", ["fleet.links.loss=0.1"], "fleet.links.loss"),
    ],
)
def test_where_it_cannot_play(fleet, settings, told):
    with pytest.raises(UsageError, match=told):
        with_monkey(plan(*settings, fleet=fleet), 1)
