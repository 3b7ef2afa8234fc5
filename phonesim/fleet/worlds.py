"""The worlds that a run can take place in, each behind the same function (`runner.World`).

Drivers are imported when their world is wanted: a virtual run needs no TLS and no sockets, and
whoever asks for help should not wait for them.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Callable, Coroutine

import uvloop

from phonesim.config.fleet_profile import Attach
from phonesim.drivers.run_folder import RunFolder
from phonesim.fleet.plan import Plan
from phonesim.fleet.runner import PROGRESS_INTERVAL, StopRequest, Tick, World, WorldReport
from phonesim.fleet.tester_health import LoopWatch
from phonesim.mocksite.exchange import CertificateAuthority
from phonesim.mocksite.site import Site, build_site
from phonesim.results import Recorder
from phonesim.simulation import simulate
from phonesim.virtual_authority import VirtualAuthority
from phonesim.world import PhoneDisk


def world_for(attach: Attach) -> World:
    """Return the world of that name."""
    match attach:
        case "virtual":
            return run_virtual
        case "loopback":
            return run_loopback
        case "wire":
            return run_wire


def run_virtual(
    plan: Plan, folder: RunFolder, observer: Recorder, stop: StopRequest, tick: Tick
) -> WorldReport:
    """Run in virtual time: as fast as the processor permits, the same every time."""
    assert plan.site is not None
    site = _site(plan, VirtualAuthority(), plan.site.epoch.timestamp())
    assert site is not None

    def goes_on(now: float) -> bool:
        tick(now)
        return not stop.asked

    seconds = simulate(
        plan.specs,
        site,
        _disks(plan, folder),
        observer,
        plan.limits,
        plan.fleet.links,
        plan.fleet.seed,
        goes_on,
    )
    return WorldReport(seconds=seconds)


def run_loopback(
    plan: Plan, folder: RunFolder, observer: Recorder, stop: StopRequest, tick: Tick
) -> WorldReport:
    """Run on 127.0.0.0/8 of this machine, with real sockets and TLS."""
    from phonesim.drivers import loopback
    from phonesim.drivers.authority import SiteAuthority
    from phonesim.drivers.key_pool import KeyPool

    authority = SiteAuthority()
    site = _site(plan, authority, time.time())

    async def run(stopped: asyncio.Event) -> None:
        await loopback.run_loopback(
            plan.specs,
            site,
            authority,
            _disks(plan, folder),
            observer,
            plan.limits,
            plan.fleet.port_offset,
            KeyPool(len(plan.specs), plan.fleet.keys),
            stopped,
        )

    return _in_real_time(run, stop, tick)


def run_wire(
    plan: Plan, folder: RunFolder, observer: Recorder, stop: StopRequest, tick: Tick
) -> WorldReport:
    """Run on a real interface, each phone with its own MAC and its own leased address."""
    from phonesim.drivers import wire
    from phonesim.drivers.authority import SiteAuthority
    from phonesim.drivers.key_pool import KeyPool

    assert plan.fleet.interface is not None
    interface = plan.fleet.interface
    authority = SiteAuthority()
    site = _site(plan, authority, time.time())

    async def run(stopped: asyncio.Event) -> None:
        await wire.run_wire(
            plan.specs,
            site,
            authority,
            _disks(plan, folder),
            observer,
            plan.limits,
            interface,
            KeyPool(len(plan.specs), plan.fleet.keys),
            stopped,
        )

    return _in_real_time(run, stop, tick)


def _site(plan: Plan, authority: CertificateAuthority, epoch: float) -> Site | None:
    if plan.site is None:
        return None
    rng = random.Random(f"{plan.fleet.seed}/site")
    return build_site(plan.site, plan.faults, authority, rng, epoch)


def _disks(plan: Plan, folder: RunFolder) -> Callable[[str], PhoneDisk]:
    dialects = {spec.phone_id: spec.profile.log for spec in plan.specs}
    return lambda phone_id: folder.disk(phone_id, dialects[phone_id])


def _in_real_time(
    run: Callable[[asyncio.Event], Coroutine[None, None, None]], stop: StopRequest, tick: Tick
) -> WorldReport:
    """Run a world of sockets in an event loop of its own, and watch whether the loop keeps up."""

    async def watched() -> WorldReport:
        loop = asyncio.get_running_loop()
        began = loop.time()
        stopped = asyncio.Event()
        running = loop.create_task(run(stopped))

        def asked() -> None:
            loop.call_soon_threadsafe(stopped.set if stop.asked == 1 else running.cancel)

        stop.on_ask(asked)
        ticking = loop.create_task(_tick_regularly(lambda: tick(loop.time() - began)))
        async with LoopWatch() as watch:
            try:
                await running
            except asyncio.CancelledError:
                if stop.asked < 2:
                    raise
            finally:
                stop.on_ask(None)
                ticking.cancel()
        return WorldReport(seconds=loop.time() - began, notes=watch.notes(), is_valid=watch.kept_up)

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(watched())


async def _tick_regularly(tick: Callable[[], None]) -> None:
    while True:
        tick()
        await asyncio.sleep(PROGRESS_INTERVAL)
