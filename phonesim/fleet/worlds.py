"""The worlds that a run can take place in, each behind the same function (`runner.World`).

Drivers are imported when their world is wanted: a virtual run needs no TLS and no sockets.
"""

from __future__ import annotations

import random
from collections.abc import Callable

from phonesim.config.fleet_profile import Attach
from phonesim.drivers.run_folder import RunFolder
from phonesim.fleet.plan import Plan
from phonesim.fleet.runner import StopRequest, Tick, World, WorldReport
from phonesim.mocksite.site import build_site
from phonesim.results import Recorder
from phonesim.simulation import VirtualAuthority, simulate
from phonesim.world import PhoneDisk


def world_for(attach: Attach) -> World:
    """Return the world of that name."""
    match attach:
        case "virtual":
            return run_virtual


def run_virtual(
    plan: Plan, folder: RunFolder, observer: Recorder, stop: StopRequest, tick: Tick
) -> WorldReport:
    """Run in virtual time: as fast as the processor permits, the same every time."""
    assert plan.site is not None
    seed = plan.fleet.seed
    rng = random.Random(f"{seed}/site")
    site = build_site(plan.site, plan.faults, VirtualAuthority(), rng, plan.site.epoch.timestamp())

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
        seed,
        goes_on,
    )
    return WorldReport(seconds=seconds)


def _disks(plan: Plan, folder: RunFolder) -> Callable[[str], PhoneDisk]:
    dialects = {spec.phone_id: spec.profile.log for spec in plan.specs}
    return lambda phone_id: folder.disk(phone_id, dialects[phone_id])
