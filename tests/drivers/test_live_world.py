"""The way of a run in a world of real sockets, with a network that is none."""

from typing import Any, cast

import msgspec
import pytest
from fleet_runs import Run

from phonesim.drivers.key_pool import KeyPool
from phonesim.drivers.live_world import LiveFleet, LiveWorld, boot_fleet
from phonesim.drivers.phone_host import PhoneLink
from phonesim.errors import UsageError
from phonesim.world import RunLimits


class Network:
    """Opens a link that only drains, and serves the site; notes what happens to it."""

    def __init__(self, fails: bool = False) -> None:
        self.did: list[str] = []
        self.fails = fails
        self.world: LiveWorld | None = None

    async def open(self, world: LiveWorld) -> PhoneLink:
        self.world = world
        world.closing.callback(self.did.append, "closed first opened")
        await world.serve_site(None)
        world.closing.callback(self.did.append, "closed last opened")
        if self.fails:
            raise UsageError("there is no network")
        return cast(PhoneLink, self)

    async def drained(self) -> None:
        self.did.append("drained")


CLOSED = ["closed last opened", "closed first opened"]


def nobody(run: Run, **changes: Any) -> LiveFleet:
    """A fleet without phones: its run is over as soon as it begins, unless it has a duration."""
    return msgspec.structs.replace(run.fleet(run.specs(1)), specs=(), **changes)


async def test_a_link_drains_before_all_is_closed_last_opened_first(run: Run) -> None:
    network = Network()
    await boot_fleet(nobody(run, site=run.site()), network.open, run.stop)
    assert network.did == ["drained", *CLOSED]
    assert network.world is not None
    assert [failure.cancelled() for failure in network.world.failures] == [True]


async def test_a_network_that_cannot_be_opened_is_closed_as_far_as_it_was(run: Run) -> None:
    network = Network(fails=True)
    with pytest.raises(UsageError, match="no network"):
        await boot_fleet(nobody(run), network.open, run.stop)
    assert network.did == CLOSED


async def test_a_server_that_breaks_ends_the_run(run: Run) -> None:
    network = Network()

    async def open_and_break(world: LiveWorld) -> PhoneLink:
        link = await network.open(world)
        world.failures[0].set_exception(RuntimeError("a defect"))
        return link

    fleet = nobody(run, site=run.site(), limits=RunLimits(duration=3600))
    with pytest.raises(RuntimeError, match="a defect"):
        await boot_fleet(fleet, open_and_break, run.stop)
    assert network.did == CLOSED


async def test_who_stops_while_keys_are_made_opens_no_network(run: Run) -> None:
    network = Network()
    run.stop.set()
    await boot_fleet(nobody(run, keys=KeyPool(1, "unique")), network.open, run.stop)
    assert network.did == []
