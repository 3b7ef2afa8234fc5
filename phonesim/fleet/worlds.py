"""The worlds that a run can take place in, each behind the same function (`runner.World`).

Drivers are imported when their world is wanted: a virtual run needs no TLS and no sockets, and
whoever asks for help should not wait for them.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
import time
from collections.abc import Callable, Coroutine, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

import msgspec
import uvloop

from phonesim.capture import Capture, PacketWriter
from phonesim.config.fleet_profile import Attach
from phonesim.drivers.capture_file import CaptureFile
from phonesim.drivers.run_folder import RunFolder
from phonesim.errors import UsageError
from phonesim.fleet.plan import Plan
from phonesim.fleet.relay_plan import has_addresses
from phonesim.fleet.runner import (
    PROGRESS_INTERVAL,
    StopRequest,
    Tick,
    World,
    WorldReport,
    has_begun,
)
from phonesim.fleet.tester_health import LoopWatch
from phonesim.mocksite.exchange import CertificateAuthority
from phonesim.mocksite.site import Site, build_site
from phonesim.pcapng_writer import PcapngWriter
from phonesim.results import Recorder
from phonesim.simulation import simulate
from phonesim.transcript import Transcript
from phonesim.virtual_authority import VirtualAuthority
from phonesim.virtual_capture import VirtualCapture
from phonesim.world import PhoneDisk

if TYPE_CHECKING:
    from phonesim.drivers.key_pool import KeyPool
    from phonesim.drivers.packet_pace import PacketPace
    from phonesim.drivers.relay import RelayNetwork


def check_machine(plan: Plan) -> None:
    """`UsageError` if this machine could not begin a run on a real network now.

    Nothing is sent and nothing is changed.
    """
    from phonesim.drivers import relay, wire

    if plan.fleet.relay is not None:
        relay.check_agents(map(str, plan.fleet.relay.agents), _relay_network(plan))
    else:
        assert plan.fleet.interface is not None
        site = _site(plan, VirtualAuthority(), 0)
        wire.check_wire(plan.fleet.interface, (spec.mac for spec in plan.specs), site)


Write = Callable[[bytes], None]
"""Takes octets for a file."""


class CapturedWorld(Protocol):
    """A world that tells its packets to `writers`, if there are any."""

    def __call__(
        self,
        plan: Plan,
        folder: RunFolder,
        observer: Recorder,
        stop: StopRequest,
        tick: Tick,
        writers: Sequence[PacketWriter] = (),
    ) -> WorldReport:
        """Run; see `World`."""
        ...


def world_for(attach: Attach, pcap: Path | None = None, transcript: Path | None = None) -> World:
    """Return the world of that name, which writes its packets to new files at these paths."""
    world: CapturedWorld
    match attach:
        case "virtual":
            world = run_virtual
        case "loopback":
            world = run_loopback
        case "wire":
            world = run_wire
        case "relay":
            world = run_relay
    kinds: list[tuple[str, Path | None, Callable[[Write], PacketWriter]]] = [
        ("--pcap", pcap, PcapngWriter),
        ("--transcript", transcript, Transcript),
    ]
    wanted = [(option, path, kind) for option, path, kind in kinds if path is not None]
    return captured(world, wanted) if wanted else world


def captured(
    world: CapturedWorld, wanted: Sequence[tuple[str, Path, Callable[[Write], PacketWriter]]]
) -> World:
    """Return a world that writes its packets to new files, which are gone if no phone began.

    `wanted` are the options that ask for a file, its path, and who fills it.
    """

    def run(
        plan: Plan, folder: RunFolder, observer: Recorder, stop: StopRequest, tick: Tick
    ) -> WorldReport:
        with contextlib.ExitStack() as stack:
            files: list[CaptureFile] = []
            writers: list[PacketWriter] = []

            def discard() -> None:
                for file in files:
                    file.discard()

            def ticked(now: float) -> None:
                for file in files:
                    file.flush()
                tick(now)

            try:
                for option, path, kind in wanted:
                    file = stack.enter_context(CaptureFile(path, option))
                    files.append(file)
                    writers.append(kind(file.write))
                    file.flush()
                report = world(plan, folder, observer, stop, ticked, writers)
            except UsageError:
                if not has_begun(observer):
                    discard()
                raise
        notes = [note for file in files for note in file.notes()]
        return msgspec.structs.replace(report, notes=(*report.notes, *notes))

    return run


def run_virtual(
    plan: Plan,
    folder: RunFolder,
    observer: Recorder,
    stop: StopRequest,
    tick: Tick,
    writers: Sequence[PacketWriter] = (),
) -> WorldReport:
    """Run in virtual time: as fast as the processor permits, the same every time."""
    assert plan.site is not None
    epoch = plan.site.epoch.timestamp()
    site = _site(plan, VirtualAuthority(), epoch)
    assert site is not None
    capture = VirtualCapture(writers, epoch) if writers else None

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
        capture,
    )
    return WorldReport(seconds=seconds)


def run_loopback(
    plan: Plan,
    folder: RunFolder,
    observer: Recorder,
    stop: StopRequest,
    tick: Tick,
    writers: Sequence[PacketWriter] = (),
) -> WorldReport:
    """Run on 127.0.0.0/8 of this machine, with real sockets and TLS."""
    from phonesim.drivers import loopback
    from phonesim.drivers.authority import SiteAuthority

    async def run(keys: KeyPool, stopped: asyncio.Event, pace: PacketPace | None) -> None:
        authority = SiteAuthority() if plan.site is not None else None
        await loopback.run_loopback(
            plan.specs,
            _site(plan, authority, time.time()),
            authority,
            _disks(plan, folder),
            observer,
            plan.limits,
            plan.fleet.port_offset,
            keys,
            stopped,
            pace,
            capture,
        )

    capture = _live_capture(writers, makes_frames=True)
    return _in_real_time(plan, run, stop, tick)


def run_wire(
    plan: Plan,
    folder: RunFolder,
    observer: Recorder,
    stop: StopRequest,
    tick: Tick,
    writers: Sequence[PacketWriter] = (),
) -> WorldReport:
    """Run on a real interface, each phone with its own MAC and its own leased address."""
    from phonesim.drivers import wire
    from phonesim.drivers.authority import SiteAuthority

    assert plan.fleet.interface is not None
    interface = plan.fleet.interface
    wire.check_privileges()
    notes: list[str] = []

    async def run(keys: KeyPool, stopped: asyncio.Event, pace: PacketPace | None) -> None:
        authority = SiteAuthority() if plan.site is not None else None
        await wire.run_wire(
            plan.specs,
            _site(plan, authority, time.time()),
            authority,
            _disks(plan, folder),
            observer,
            plan.limits,
            interface,
            plan.fleet.own_mac,
            keys,
            stopped,
            notes.append,
            pace,
            capture,
        )

    capture = _live_capture(writers, makes_frames=False)
    report = _in_real_time(plan, run, stop, tick)
    return msgspec.structs.replace(report, notes=(*notes, *report.notes))


def run_relay(
    plan: Plan,
    folder: RunFolder,
    observer: Recorder,
    stop: StopRequest,
    tick: Tick,
    writers: Sequence[PacketWriter] = (),
) -> WorldReport:
    """Run behind relay agents of this host, which speak to the servers wherever these are."""
    from phonesim.drivers import relay
    from phonesim.drivers.authority import SiteAuthority

    network = _relay_network(plan)
    notes: list[str] = []

    async def run(keys: KeyPool, stopped: asyncio.Event, pace: PacketPace | None) -> None:
        authority = SiteAuthority() if plan.site is not None else None
        await relay.run_relay(
            plan.specs,
            _site(plan, authority, time.time()),
            authority,
            _disks(plan, folder),
            observer,
            plan.limits,
            network,
            plan.fleet.port_offset,
            keys,
            stopped,
            notes.append,
            pace,
            _live_capture(writers, makes_frames=True),
        )

    report = _in_real_time(plan, run, stop, tick)
    return msgspec.structs.replace(report, notes=(*notes, *report.notes))


def _relay_network(plan: Plan) -> RelayNetwork:
    from phonesim.drivers.relay import RelayNetwork

    assert plan.fleet.relay is not None
    return RelayNetwork(
        servers=tuple(map(str, plan.fleet.relay.servers)),
        copies=plan.fleet.relay.copies,
        interface=plan.fleet.interface,
        has_addresses=has_addresses(plan.fleet),
    )


def _live_capture(writers: Sequence[PacketWriter], *, makes_frames: bool) -> Capture | None:
    if not writers:
        return None
    return Capture(writers, time.time_ns, makes_frames=makes_frames)


def _site(plan: Plan, authority: CertificateAuthority | None, epoch: float) -> Site | None:
    if plan.site is None or authority is None:
        return None
    rng = random.Random(f"{plan.fleet.seed}/site")
    return build_site(plan.site, plan.faults, authority, rng, epoch)


def _disks(plan: Plan, folder: RunFolder) -> Callable[[str], PhoneDisk]:
    dialects = {spec.phone_id: spec.profile.log for spec in plan.specs}
    return lambda phone_id: folder.disk(phone_id, dialects[phone_id])


def _in_real_time(
    plan: Plan,
    run: Callable[[KeyPool, asyncio.Event, PacketPace | None], Coroutine[None, None, None]],
    stop: StopRequest,
    tick: Tick,
) -> WorldReport:
    """Run a world of sockets in an event loop of its own, and watch whether the loop keeps up."""
    from phonesim.drivers.packet_pace import PacketPace

    async def keyed(stopped: asyncio.Event) -> WorldReport:
        loop = asyncio.get_running_loop()
        began = loop.time()
        most, relay = plan.fleet.limits.packets_per_second, plan.fleet.relay
        pace = None if most is None else PacketPace(most, loop, relay.fan_out if relay else 1)
        watch = LoopWatch()
        try:
            keys = await _make_keys(plan, stopped)
            began = loop.time()
            ticking = loop.create_task(_tick_regularly(lambda: tick(loop.time() - began)))
            try:
                async with watch:
                    if keys is not None:
                        await run(keys, stopped, pace)
            finally:
                ticking.cancel()
        except asyncio.CancelledError:  # asked twice, and perhaps at the very end
            if stop.asked < 2:
                raise
        notes = watch.notes() if pace is None else (*watch.notes(), *pace.notes())
        return WorldReport(seconds=loop.time() - began, notes=notes, is_valid=watch.kept_up)

    async def watched() -> WorldReport:
        loop = asyncio.get_running_loop()
        stopped = asyncio.Event()
        running = loop.create_task(keyed(stopped))

        def asked() -> None:
            loop.call_soon_threadsafe(stopped.set if stop.asked == 1 else running.cancel)

        stop.on_ask(asked)
        try:
            return await running
        finally:
            stop.on_ask(None)

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(watched())


async def _make_keys(plan: Plan, stopped: asyncio.Event) -> KeyPool | None:
    """Make the phones' keys before the run begins, for the site's clock starts with it."""
    from phonesim.drivers.key_pool import SHARED_KEYS, KeyPool
    from phonesim.drivers.live_run import first_of

    # Phones that end before they ask for a certificate have no use for a key.
    phones = len(plan.specs) if plan.fleet.stages is None else 1
    mode = plan.fleet.keys
    async with KeyPool(phones, mode) as making:
        await first_of(making.ready(), stopped.wait())
        if stopped.is_set():
            return None
        wanted = phones if mode == "unique" else min(phones, SHARED_KEYS)
        return KeyPool(phones, mode, [making.key() for _ in range(wanted)])


async def _tick_regularly(tick: Callable[[], None]) -> None:
    while True:
        tick()
        await asyncio.sleep(PROGRESS_INTERVAL)
