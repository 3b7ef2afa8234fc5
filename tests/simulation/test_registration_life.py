"""What becomes of registered phones when something happens to their Registrars."""

from __future__ import annotations

import random
import statistics
from collections.abc import Sequence

import msgspec
import pytest
from virtual_runs import DEVICE_PROFILE, SITE_PROFILE, RunFleet, VirtualRun, make_specs

from phonesim.config.device_profile import DeviceProfile
from phonesim.config.fleet_profile import Links
from phonesim.device.events import (
    BootFailed,
    RegistrarChanged,
    RegistrationLost,
    RegistrationRegained,
    SignedIn,
)
from phonesim.mocksite.site import build_site
from phonesim.simulation import simulate
from phonesim.virtual_authority import VirtualAuthority
from phonesim.world import RunLimits

FE01, FE02 = "fe01.contoso.com:5061", "fe02.contoso.com:5061"


def registering(**changes: object) -> DeviceProfile:
    registration = DEVICE_PROFILE.registration.model_copy(update=changes)
    return DEVICE_PROFILE.model_copy(update={"registration": registration})


def count(run: VirtualRun, kind: type) -> int:
    return sum(isinstance(seen, kind) for _, _, seen in run.observed)


def moves(run: VirtualRun) -> list[tuple[str, str, bool]]:
    return [
        (seen.previous, seen.registrar, seen.is_survivable)
        for _, _, seen in run.observed
        if isinstance(seen, RegistrarChanged)
    ]


def reasons(run: VirtualRun) -> set[str]:
    return {str(seen.reason) for _, _, seen in run.observed if isinstance(seen, BootFailed)}


# Fault, seconds of the run, failure reason, registrations lost and regained a phone, lines of
# every phone's log.
STORIES: Sequence[tuple[str, float, str | None, int, int, Sequence[str]]] = [
    (
        "registrar-outage",
        600,
        None,
        1,
        1,
        (
            'Display "Cannot connect to the server. Retrying.',
            "Registrar changed fe01.contoso.com:5061 -> fe02.contoso.com:5061, survivable mode yes",
            'Display "Limited functionality due to outage."',
            "connected to the primary no",
            "Primary Registrar fe01.contoso.com:5061 probed: ",
            'Returning to Registrar fe01.contoso.com:5061: "it answers again"',
            "Registrar changed fe02.contoso.com:5061 -> fe01.contoso.com:5061, survivable mode no",
        ),
    ),
    (
        "registrar-outage-prefers-home",
        180,
        None,
        1,
        1,
        (
            "Deregistered by fe02.contoso.com:5061, preferred-registrar-change",
            'Returning to Registrar fe01.contoso.com:5061: "the Registrar prefers it"',
            "survivable mode no",
        ),
    ),
    (
        "registrar-redirects",
        60,
        None,
        0,
        0,
        (
            "REGISTER answered 301",
            "Redirected by fe01.contoso.com:5061 to fe02.contoso.com:5061",
            "by tls source redirect:fe01.contoso.com",
            "Registered at fe02.contoso.com:5061",
        ),
    ),
    (
        "registrar-redirect-loop",
        20,
        "registrar-redirects",
        0,
        0,
        (
            "more than 3 times in a row",
            "Sign-in failed at register, registrar-redirects",
            'Display "Unable to contact Registrar for authentication. Please sign in again."',
        ),
    ),
    (
        "registrar-503",
        30,
        "registrar-unavailable",
        0,
        0,
        (
            'diagnostics "17000 Server overloaded"',
            "Sign-in failed at register, registrar-unavailable",
        ),
    ),
    (
        "registrar-504",
        30,
        "registrar-unavailable",
        0,
        0,
        ('diagnostics "1007 Temporarily cannot route"', "Sign-in failed at register"),
    ),
    ("registrar-480", 30, "registrar-unavailable", 0, 0, ("REGISTER answered 480",)),
    ("registrar-404", 30, "registration-not-found", 0, 0, ('diagnostics "4005 Destination',)),
    ("registrar-forbids", 30, "registration-forbidden", 0, 0, ('diagnostics "4004 Credentials',)),
    (
        "refresh-added",
        700,
        None,
        1,
        1,
        ("a refresh was answered with %22added%22: there was no binding", "action added"),
    ),
    (
        "user-services-lost",
        30,
        None,
        0,
        0,
        ("User Services unavailable", 'Display "Limited functionality due to outage."'),
    ),
    (
        "endpoint-displaced",
        90,
        "registration-displaced",
        1,
        0,
        (
            "Deregistered by fe01.contoso.com:5061, unregistered",
            "Sign-in failed at register, registration-displaced",
            "not again until a person acts",
        ),
    ),
    (
        "user-disabled-later",
        90,
        "user-disabled",
        1,
        0,
        (
            'Deregistered by fe01.contoso.com:5061, rejected: "4141 User disabled',
            "Sign-in failed at register, user-disabled",
            "not again until a person acts",
        ),
    ),
    (
        "users-moved",
        120,
        None,
        1,
        1,
        (
            'Deregistered by fe01.contoso.com:5061, deactivated: "4006 User not found in pool.',
            "Redirected by fe01.contoso.com:5061 to fe02.contoso.com:5061",
            "Registrar changed fe01.contoso.com:5061 -> fe02.contoso.com:5061, survivable mode no",
        ),
    ),
    (
        "provisioning-silent",
        30,
        None,
        0,
        0,
        ('No in-band provisioning: "nothing came within 10 s"', "Signed in as"),
    ),
    (
        "provisioning-refused",
        30,
        None,
        0,
        0,
        ('No in-band provisioning: "403 Forbidden"', "Signed in as"),
    ),
    (
        "provisioning-malformed",
        30,
        None,
        0,
        0,
        ('No in-band provisioning: "malformed, 19 octets: not well-formed XML', "Signed in as"),
    ),
]


@pytest.mark.parametrize(
    ("fault", "seconds", "reason", "lost", "regained", "lines"),
    STORIES,
    ids=[story[0] for story in STORIES],
)
def test_a_fault_has_its_consequence_and_its_lines(
    run_fleet: RunFleet,
    fault: str,
    seconds: float,
    reason: str | None,
    lost: int,
    regained: int,
    lines: Sequence[str],
) -> None:
    phones = 3
    run = run_fleet(phones, fault, duration=seconds)
    assert run.crashes == {}
    assert reasons(run) == (set() if reason is None else {reason})
    assert count(run, RegistrationLost) == lost * phones
    assert count(run, RegistrationRegained) == regained * phones
    for disk in run.disks.values():
        for line in lines:
            assert line in disk.log


@pytest.mark.timeout(300)  # on a machine that does much else
def test_a_fleet_fails_over_returns_and_does_neither_as_one(run_fleet: RunFleet) -> None:
    phones = 2000
    profile = registering(failover_delay=30, return_interval=60, reconnect_jitter=1)
    run = run_fleet(phones, "registrar-outage", profile=profile, rate=200, duration=490)
    assert run.crashes == {}
    assert len(run.signed_in) == phones
    assert sorted(moves(run)) == sorted(
        [(FE01, FE02, True)] * phones + [(FE02, FE01, False)] * phones
    )
    regained = [at for at, _, seen in run.observed if isinstance(seen, RegistrationRegained)]
    assert len(regained) == phones
    # The profile's own bound: the primary is missed for 30 to 60 s before the backup is asked,
    # and one more pause, of at most 2 * 20 s, may be under way by then.
    assert max(regained) <= 60 + 2 * 30 + 2 * 20 + 1
    # Thundering herd: of the spread that the profile allows, no second has many times its share.
    seconds = [int(at) for at in regained]
    busiest = max(seconds.count(second) for second in set(seconds))
    assert busiest <= 4 * phones / 30
    back = [
        at
        for at, _, seen in run.observed
        if isinstance(seen, RegistrarChanged) and not seen.is_survivable
    ]
    assert min(back) >= 360
    assert max(back) <= 360 + 2 * 60 + 1
    assert statistics.pstdev(back) > 10


def test_what_the_site_provides_is_what_the_cache_keeps(run_fleet: RunFleet) -> None:
    run = run_fleet(1, boots=("cold", "warm"))
    assert count(run, SignedIn) == 2
    (disk,) = run.disks.values()
    assert b'"source":"inband:fe01.contoso.com"' in disk.content["cache.json"]
    second = disk.log.split("Power applied")[2]
    assert "by tls source inband:fe01.contoso.com" in second


def test_a_registrar_that_asks_for_patience_has_it(run_fleet: RunFleet) -> None:
    run = run_fleet(5, "registrar-503", duration=400)
    waits = [seen.retry_in for _, _, seen in run.observed if isinstance(seen, BootFailed)]
    assert len(waits) >= 2 * 5
    assert all(wait is not None and wait >= 120 for wait in waits)


def test_one_endpoint_too_many_pushes_out_the_oldest_and_no_more() -> None:
    first, *others = make_specs(9)
    same = [msgspec.structs.replace(each, number=first.number, pin=first.pin) for each in others]
    run = VirtualRun()
    authority = VirtualAuthority()
    site = build_site(SITE_PROFILE, [], authority, random.Random(1), 1.7e9)
    simulate([first, *same], site, run.disk, run, RunLimits(duration=700), Links(), 1)
    assert run.crashes == {}
    assert len(run.signed_in) == 9
    failed = [(phone, seen) for _, phone, seen in run.observed if isinstance(seen, BootFailed)]
    assert [(phone, str(seen.reason), seen.retry_in) for phone, seen in failed] == [
        (first.phone_id, "registration-displaced", None)
    ]
