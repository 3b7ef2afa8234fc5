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
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

import msgspec
import uvloop

from phonesim.capture import Capture, PacketWriter
from phonesim.config.fleet_profile import Attach
from phonesim.device.identity import IDENTITY_FILE, KEY_FILE, decode_identity
from phonesim.drivers.capture_file import CaptureFile
from phonesim.drivers.run_folder import RunFolder
from phonesim.errors import DecodeError, UsageError
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
from phonesim.wire.endpoint import epid_for, sip_instance
from phonesim.world import PhoneDisk, PhoneSpec

if TYPE_CHECKING:
    from phonesim.drivers.authority import SiteAuthority
    from phonesim.drivers.key_pool import KeyPool
    from phonesim.drivers.live_world import OpenNetwork
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
        site = _build_site(plan, VirtualAuthority(), 0)
        wire.check_wire(plan.fleet.interface, (spec.mac for spec in plan.specs), site)


Write = Callable[[bytes], None]
"""Takes octets for a file."""


_AUTHORITY_FILE = "site-authority.pem"
_A_DAY = 86400


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
    world: CapturedWorld = run_virtual if attach == "virtual" else run_live
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
    if plan.fleet.phones_from is not None:
        epoch += _A_DAY  # what was issued in the earlier run is valid by now
    authority = VirtualAuthority()
    site = _site(plan, folder, authority, epoch)
    assert site is not None
    capture = VirtualCapture(writers, epoch) if writers else None

    def goes_on(now: float) -> bool:
        tick(now)
        return not stop.asked

    seconds = simulate(
        _specs(plan, authority),
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


def run_live(
    plan: Plan,
    folder: RunFolder,
    observer: Recorder,
    stop: StopRequest,
    tick: Tick,
    writers: Sequence[PacketWriter] = (),
) -> WorldReport:
    """Run in real time, with real sockets and TLS, where the plan's fleet is attached."""
    from phonesim.drivers.live_world import LiveFleet, boot_fleet

    network = _network(plan)
    capture = _live_capture(writers, makes_frames=network.makes_frames)
    notes: list[str] = []

    async def run(keys: KeyPool, stopped: asyncio.Event, pace: PacketPace | None) -> None:
        authority = _authority(plan, folder)
        fleet = LiveFleet(
            specs=_specs(plan, authority),
            site=_site(plan, folder, authority, time.time()),
            authority=authority,
            disk_for=_disks(plan, folder),
            observer=observer,
            limits=plan.limits,
            keys=keys,
            note=notes.append,
            pace=pace,
            capture=capture,
        )
        await boot_fleet(fleet, network.open, stopped)

    report = _in_real_time(plan, folder, run, stop, tick)
    return msgspec.structs.replace(report, notes=(*notes, *report.notes))


class _Network(msgspec.Struct, frozen=True, kw_only=True):
    """Where phones are attached: what opens it, and whether captures make up its frames."""

    open: OpenNetwork
    makes_frames: bool = True


def _network(plan: Plan) -> _Network:
    """Where the plan says; `UsageError` at once if this process may not open it at all."""
    fleet = plan.fleet
    match fleet.attach:
        case "loopback":
            from phonesim.drivers.loopback import open_loopback

            return _Network(open=partial(open_loopback, port_offset=fleet.port_offset))
        case "wire":
            from phonesim.drivers.wire import check_privileges, open_wire

            check_privileges()
            assert fleet.interface is not None
            on_wire = partial(open_wire, interface=fleet.interface, own_mac=fleet.own_mac)
            return _Network(open=on_wire, makes_frames=False)
        case "relay":
            from phonesim.drivers.relay import open_relay

            network, port_offset = _relay_network(plan), fleet.port_offset
            return _Network(open=partial(open_relay, network=network, port_offset=port_offset))
        case "virtual":
            raise AssertionError("nothing of it is real")


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


def _authority(plan: Plan, folder: RunFolder) -> SiteAuthority | None:
    """The mock site's authority: that of the run that the phones are from, or a new one."""
    from phonesim.drivers.authority import SiteAuthority

    if plan.site is None:
        return None
    kept = folder.kept(_AUTHORITY_FILE)
    authority = SiteAuthority() if kept is None else SiteAuthority.load(kept)
    folder.keep(_AUTHORITY_FILE, authority.dump())
    return authority


def _specs(plan: Plan, authority: CertificateAuthority | None) -> Sequence[PhoneSpec]:
    """The phones: those that nobody told whom to trust, and that download nothing, know the
    mock site's authority.
    """
    if plan.fleet.registration is None or authority is None:
        return plan.specs
    chain = authority.chain()
    return [
        msgspec.structs.replace(
            spec, fixed_registration=msgspec.structs.replace(spec.fixed_registration, chain=chain)
        )
        if spec.fixed_registration is not None
        else spec
        for spec in plan.specs
    ]


def _site(
    plan: Plan, folder: RunFolder, authority: CertificateAuthority | None, epoch: float
) -> Site | None:
    site = _build_site(plan, authority, epoch)
    if site is not None and folder.earlier is not None:
        _publish_kept(plan, folder, site)
    return site


def _build_site(plan: Plan, authority: CertificateAuthority | None, epoch: float) -> Site | None:
    if plan.site is None or authority is None:
        return None
    rng = random.Random(f"{plan.fleet.seed}/site")
    return build_site(plan.site, plan.faults, authority, rng, epoch)


def _publish_kept(plan: Plan, folder: RunFolder, site: Site) -> None:
    """Let the site know the certificates that it published in the earlier run."""
    for spec in plan.specs:
        data = folder.kept_file(spec.phone_id, spec.profile.log, IDENTITY_FILE)
        try:
            kept = decode_identity(data or b"")
        except DecodeError:
            continue  # the phone will say so
        user = site.users.by_sip_uri(kept.sip_uri)
        if user is not None:
            device_id = sip_instance(epid_for(spec.mac, kept.sip_uri))
            site.users.publish(user, device_id, kept.certificate)


def _disks(plan: Plan, folder: RunFolder) -> Callable[[str], PhoneDisk]:
    dialects = {spec.phone_id: spec.profile.log for spec in plan.specs}
    return lambda phone_id: folder.disk(phone_id, dialects[phone_id])


def _in_real_time(
    plan: Plan,
    folder: RunFolder,
    run: Callable[[KeyPool, asyncio.Event, PacketPace | None], Coroutine[None, None, None]],
    stop: StopRequest,
    tick: Tick,
) -> WorldReport:
    """Run a world of sockets in an event loop of its own, and watch whether the loop keeps up."""
    from phonesim.drivers.packet_pace import PacketPace

    async def keyed(stopped: asyncio.Event) -> WorldReport:
        loop = asyncio.get_running_loop()
        began = loop.time()
        keys: KeyPool | None = None
        most, relay = plan.fleet.limits.packets_per_second, plan.fleet.relay
        pace = None if most is None else PacketPace(most, loop, relay.fan_out if relay else 1)
        watch = LoopWatch()
        try:
            keys = await _make_keys(plan, folder, stopped)
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
        notes = (*watch.notes(), *(pace.notes() if pace is not None else ()), *_key_notes(keys))
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


async def _make_keys(plan: Plan, folder: RunFolder, stopped: asyncio.Event) -> KeyPool | None:
    """Make the phones' keys before the run begins, for the site's clock starts with it."""
    from phonesim.drivers.key_pool import KeyPool
    from phonesim.drivers.live_run import first_of

    phones, mode = _keyless(plan, folder), plan.fleet.keys
    async with KeyPool(phones, mode) as making:
        await first_of(making.ready(), stopped.wait())
        if stopped.is_set():
            return None
        return KeyPool(phones, mode, making.keys)


def _keyless(plan: Plan, folder: RunFolder) -> int:
    """How many phones will ask for a key: those that sign in, and have none of an earlier run."""
    if plan.fleet.stages is not None:
        return 0
    if plan.limits.boots != ("warm",) * len(plan.limits.boots):
        return len(plan.specs)
    kept = (
        None
        if spec.first_boot == "factory-reset"
        else folder.kept_file(spec.phone_id, spec.profile.log, KEY_FILE)
        for spec in plan.specs
    )
    return sum(key is None for key in kept)


def _key_notes(keys: KeyPool | None) -> tuple[str, ...]:
    """Say that phones share keys, which real ones do not."""
    if keys is None or keys.count >= keys.phones:
        return ()
    return (
        f"{keys.phones} phones share {keys.count} RSA keys: fleet.keys=unique gives each its own"
        " (0.25 s of processor time a key)",
    )


async def _tick_regularly(tick: Callable[[], None]) -> None:
    while True:
        tick()
        await asyncio.sleep(PROGRESS_INTERVAL)
