"""Fleets that load a site in virtual time: first stages only, and so many phones at once."""

from __future__ import annotations

import pytest
from virtual_runs import RunFleet, VirtualRun

from phonesim.device.events import BootFailed, ExchangeEnded, SignedIn, StagesDone
from phonesim.device.outcome import Stage

DISCOVER = "dhcp_discover"


def done(run: VirtualRun) -> list[str]:
    return [phone for _, phone, seen in run.observed if isinstance(seen, StagesDone)]


def exchanges(run: VirtualRun) -> set[str]:
    return {seen.kind for _, _, seen in run.observed if isinstance(seen, ExchangeEnded)}


def outstanding(run: VirtualRun) -> list[int]:
    """How many phones were between their first start and their end after each start."""
    began: dict[str, float] = {}
    for when, phone in run.started:
        began.setdefault(phone, when)
    ended = {
        phone: when
        for when, phone, seen in run.observed
        if isinstance(seen, SignedIn | StagesDone | BootFailed)
    }
    return [
        sum(start <= when < ended[phone] for phone, start in began.items())
        for when in began.values()
    ]


@pytest.mark.parametrize(
    ("last_stage", "kinds"),
    [
        (Stage.IP, {"dhcp_discover", "dhcp_request"}),
        (Stage.DISCOVERY, {"dhcp_discover", "dhcp_request", "dhcp_inform", "dns"}),
    ],
)
def test_a_fleet_does_its_stages_and_the_run_ends(
    run_fleet: RunFleet, last_stage: Stage, kinds: set[str]
) -> None:
    run = run_fleet(20, last_stage=last_stage)
    assert sorted(done(run)) == sorted(run.boots)
    assert len(done(run)) == 20
    assert exchanges(run) == kinds
    assert run.signed_in == set()
    assert len(run.powered_off) == 20
    assert run.seconds < 2


def test_phones_that_are_done_boot_again(run_fleet: RunFleet) -> None:
    run = run_fleet(3, last_stage=Stage.IP, boots=("cold", "warm", "warm"))
    assert set(run.boots.values()) == {3}
    assert len(done(run)) == 9


def test_phones_that_are_done_renew_their_leases_to_the_end(run_fleet: RunFleet) -> None:
    run = run_fleet(2, last_stage=Stage.IP, duration=7 * 86400)
    requests = [
        seen for _, _, seen in run.observed if isinstance(seen, ExchangeEnded) and seen.sent
    ]
    assert len(requests) > 2 * 2
    assert len(done(run)) == 2


def test_no_more_phones_boot_at_once_than_allowed(run_fleet: RunFleet) -> None:
    run = run_fleet(30, rate=1000, last_stage=Stage.IP, outstanding=4)
    assert len(done(run)) == 30
    assert max(outstanding(run)) == 4
    started = [phone for _, phone in run.started]
    assert started == sorted(started)
    assert run.started[4][0] > 0.1


def test_a_limit_that_is_not_reached_changes_nothing(run_fleet: RunFleet) -> None:
    one = run_fleet(10, last_stage=Stage.IP)
    two = run_fleet(10, last_stage=Stage.IP, outstanding=10)
    assert one.observed == two.observed
    assert [when for when, _ in two.started] == [n / 20 for n in range(10)]


def test_a_phone_that_never_settles_makes_room_in_the_end(run_fleet: RunFleet) -> None:
    run = run_fleet(3, "dhcp-silent", rate=100, outstanding=1, timeout=5)
    assert [when for when, _ in run.started] == [0, 5, 10]
    assert run.seconds == 15


def test_it_makes_room_in_a_timed_run_as_well(run_fleet: RunFleet) -> None:
    run = run_fleet(3, "dhcp-silent", rate=100, outstanding=1, timeout=5, duration=7)
    assert [when for when, _ in run.started] == [0, 5]
    assert run.seconds == 7


def test_whole_boots_and_reboots_are_limited_too(run_fleet: RunFleet) -> None:
    run = run_fleet(6, rate=100, outstanding=2, boots=("cold", "warm"))
    assert len(run.signed_in) == 6
    assert max(outstanding(run)) == 2


def starts_of(run: VirtualRun, phone_id: str) -> list[float]:
    return [when for when, phone in run.started if phone == phone_id]


def test_phones_repeat_their_stages_with_an_empty_cache(run_fleet: RunFleet) -> None:
    run = run_fleet(4, rate=2, last_stage=Stage.DISCOVERY, duration=20, repeat_every=5)
    assert starts_of(run, "00-04-F2-00-00-01") == [0, 5, 10, 15, 20]
    assert starts_of(run, "00-04-F2-00-00-04") == [1.5, 6.5, 11.5, 16.5]
    # Each time from the beginning: DISCOVER, not the REQUEST of a phone that was here before.
    discovers = [seen for _, _, seen in run.observed if getattr(seen, "kind", "") == DISCOVER]
    assert len(discovers) == len(done(run)) == 16
    assert run.seconds == 20


def test_phones_that_fail_do_so_again_when_they_are_due(run_fleet: RunFleet) -> None:
    run = run_fleet(
        1, "dhcp-silent", last_stage=Stage.IP, duration=400, repeat_every=150, timeout=5
    )
    assert starts_of(run, "00-04-F2-00-00-01") == [0, 150, 300]


def test_a_phone_that_is_slower_than_its_period_starts_late(run_fleet: RunFleet) -> None:
    run = run_fleet(
        1, "dhcp-silent", last_stage=Stage.IP, duration=400, repeat_every=100, timeout=5
    )
    first, second, third, *_ = starts_of(run, "00-04-F2-00-00-01")
    assert first == 0
    assert 110 < second < 140
    assert third > 220
