"""A world of real sockets, from its phones' keys to the last socket closed.

    keys made -> clock begins -> network and site opened -> phones run -> drained -> all closed

Every such world goes this way, and they differ in one function, which opens the network:
`loopback.open_loopback`, `wire.open_wire` and `relay.open_relay`.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence
from contextlib import AsyncExitStack

import msgspec

from phonesim.capture import Capture
from phonesim.drivers.authority import SiteAuthority
from phonesim.drivers.key_pool import KeyPool
from phonesim.drivers.live_run import LiveRun, first_of
from phonesim.drivers.packet_pace import PacketPace
from phonesim.drivers.phone_host import PhoneLink
from phonesim.drivers.site_datagrams import DhcpPorts
from phonesim.drivers.site_host import OpenDhcp, SiteHost
from phonesim.mocksite.site import Site
from phonesim.world import Observer, PhoneDisk, PhoneSpec, RunLimits


class LiveFleet(msgspec.Struct, frozen=True, kw_only=True):
    """The phones of a run, and what they are given in every world of real sockets.

    A `site` is served from this process, with certificates of `authority`. `note` is told what
    whoever reads the results has to know. `pace` limits datagrams, `capture` is told of packets.
    """

    specs: Sequence[PhoneSpec]
    site: Site | None
    authority: SiteAuthority | None
    disk_for: Callable[[str], PhoneDisk]
    observer: Observer
    limits: RunLimits
    keys: KeyPool
    note: Callable[[str], None]
    pace: PacketPace | None = None
    capture: Capture | None = None


class LiveWorld:
    """A world whose network is being opened for `fleet`.

    What has to be closed goes on `closing`, the last one is closed first. If one of `failures`
    gets an exception, the run ends with it.
    """

    def __init__(self, fleet: LiveFleet, closing: AsyncExitStack) -> None:
        self.fleet = fleet
        self.closing = closing
        self.failures: list[asyncio.Future[None]] = []
        self._began = time.monotonic()

    def clock(self) -> float:
        """Seconds since the run began."""
        return time.monotonic() - self._began

    @property
    def squatters(self) -> frozenset[str]:
        """Addresses that other hosts of the site use."""
        site = self.fleet.site
        return frozenset() if site is None else site.squatters

    async def serve_site(
        self, port_offset: int | None, open_dhcp: OpenDhcp = DhcpPorts
    ) -> SiteHost | None:
        """Serve the fleet's site, if it has one; see `SiteHost`."""
        fleet = self.fleet
        if fleet.site is None:
            return None
        assert fleet.authority is not None
        host = SiteHost(fleet.site, fleet.authority, fleet.observer, self.clock, open_dhcp)
        self.closing.push_async_callback(host.stop)
        await host.start(port_offset)
        self.failures.append(host.failure)
        return host


OpenNetwork = Callable[[LiveWorld], Awaitable[PhoneLink]]
"""Opens the network of a world; `UsageError` if this machine does not permit it."""


async def boot_fleet(fleet: LiveFleet, open_network: OpenNetwork, stop: asyncio.Event) -> None:
    """Boot a fleet in the world whose network `open_network` opens.

    Returns when the fleet's limits or `stop` end the run, the phones are down and the machine is
    as it was. `UsageError` if it does not permit such a run.
    """
    async with fleet.keys:
        await first_of(fleet.keys.ready(), stop.wait())
        if stop.is_set():
            return
        async with AsyncExitStack() as closing:
            world = LiveWorld(fleet, closing)
            link = await open_network(world)
            run = LiveRun(
                fleet.specs,
                link,
                fleet.disk_for,
                fleet.observer,
                fleet.limits,
                fleet.keys,
                world.clock,
                fleet.pace,
                fleet.capture,
            )
            await run.run(stop, *world.failures)
            await link.drained()
