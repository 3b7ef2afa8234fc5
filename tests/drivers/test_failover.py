"""Five hundred registered phones lose their Registrar, fail over, and return, over real TLS.

Times are never asserted: the profile's own delays bound them, and a run that never gets there
ends by the test's time limit.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence
from functools import partial

import pytest
from fleet_runs import Run

from phonesim.device.events import Observation, RegistrarChanged, RegistrationRegained, SignedIn
from phonesim.drivers.live_world import boot_fleet
from phonesim.drivers.loopback import open_loopback
from phonesim.drivers.site_host import SiteHost
from phonesim.results import Recorder, RunFacts, summarize
from phonesim.world import PhoneSpec, RunLimits

PHONES = 500
FE01, FE02 = "fe01.contoso.com:5061", "fe02.contoso.com:5061"


_CHANGES = (SignedIn, RegistrarChanged, RegistrationRegained)


class Watcher(Recorder):
    """A recorder that says when a count is reached."""

    def __init__(self, specs: Sequence[PhoneSpec]) -> None:
        super().__init__(specs, lambda *_: None)
        self.signed_in = 0
        self._awaited: list[tuple[Callable[[], bool], asyncio.Event]] = []

    def observe(self, phone_id: str, observation: Observation, now: float) -> None:
        super().observe(phone_id, observation, now)
        if isinstance(observation, SignedIn):
            self.signed_in += 1
        if type(observation) in _CHANGES:
            for holds, event in self._awaited:
                if holds():
                    event.set()

    def registered_at(self, registrar: str) -> int:
        """How many phones are registered there."""
        return sum(
            phone.is_signed_in and phone.registrar == registrar for phone in self.phones.values()
        )

    async def until(self, holds: Callable[[], bool]) -> None:
        event = asyncio.Event()
        self._awaited.append((holds, event))
        if not holds():
            await event.wait()


@pytest.mark.xdist_group("neighbours")  # see tests/interop/test_own_mac.py
@pytest.mark.timeout(300)
async def test_a_fleet_fails_over_to_the_backup_and_returns(run: Run) -> None:
    specs = run.specs(
        PHONES,
        registration__reconnect_delays=(1.0, 2.0),
        registration__failover_delay=1.0,
        registration__return_interval=1.5,
    )
    watcher = Watcher(specs)
    zero = time.monotonic()
    host = SiteHost(run.site(), run.authority, watcher, lambda: time.monotonic() - zero)
    await host.start(None)
    fleet = run.fleet(specs, observer=watcher, limits=RunLimits(duration=600))
    open_network = partial(open_loopback, port_offset=host.port_offset)
    running = asyncio.ensure_future(boot_fleet(fleet, open_network, run.stop))
    await watcher.until(lambda: watcher.signed_in == PHONES)
    [first] = host.server("lync01").ports.streams

    # On a machine that does much else, a phone may have signed in at the second one.
    at_first = watcher.registered_at(FE01)
    first.go_down()
    await watcher.until(lambda: watcher.registered_at(FE02) == PHONES)

    first.come_back()
    await watcher.until(lambda: watcher.registered_at(FE01) == PHONES)
    run.stop.set()
    await running
    await host.stop()

    assert not any(phone.reason for phone in watcher.phones.values())
    facts = RunFacts(
        run="run",
        fleet="test",
        site="contoso",
        attach="loopback",
        seed=1,
        wall_s=0,
        cpu_s=0,
        peak_rss_mb=0,
        valid=True,
    )
    summary = summarize(watcher, facts)
    assert summary["signed_in"] == PHONES
    # A busy machine may make a phone lose its registration once more: it regains that as well.
    assert summary["registrations_lost"] == summary["registrations_regained"] >= at_first > 0
    failed_over = summary["registrations_failed_over"]
    assert failed_over >= at_first
    assert summary["registrations_returned"] == failed_over + (PHONES - at_first)
