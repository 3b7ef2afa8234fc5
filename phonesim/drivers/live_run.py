"""A fleet in real time: phones start, boot, reboot and end as `RunLimits` says.

Used by every world of real sockets; they differ only in their `PhoneLink`.
Every second the phones' logs are flushed, a few phones at a time, so that neither
the disk nor the flush stops the network.
"""

from __future__ import annotations

import asyncio
import random
import secrets
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from functools import partial

from phonesim.capture import Capture
from phonesim.device.events import (
    BootFailed,
    Observation,
    PoweredOff,
    RepetitionDue,
    ShutdownRequested,
    SignedIn,
    SignedOut,
    SignOutRequested,
    StagesDone,
)
from phonesim.drivers.key_pool import KeyPool, certificate_validity
from phonesim.drivers.packet_pace import PacketPace
from phonesim.drivers.phone_host import PhoneHost, PhoneLink
from phonesim.drivers.timer_queue import Timer, TimerQueue
from phonesim.world import Observer, PhoneDisk, PhoneSpec, RunLimits, new_phone, prepare_disk

POWER_OFF_SECONDS = 1.0
"""How long a phone is without power between two boots."""

SHUTDOWN_SECONDS = 5.0
"""How long a fleet may take to deregister and release, and ..."""

SHUTDOWNS_PER_SECOND = 250
"""... how many phones of a large fleet are asked to a second, ..."""

RELEASES_PER_SECOND = 2500
"""... or those of one whose phones have nothing but a lease to give back."""

_ENDINGS = frozenset((SignedIn, SignedOut, StagesDone, BootFailed, PoweredOff))
_FLUSH_INTERVAL = 1.0
_GIVE_UP_INTERVAL = 0.1
_AT_ONCE = 20
_CLOSING_TURNS = 4


class LiveRun:
    """The phones of one run; `clock` gives seconds since it began.

    `pace` limits the datagrams of all of them, `capture` is told what they send and receive.
    """

    def __init__(
        self,
        specs: Sequence[PhoneSpec],
        link: PhoneLink,
        disk_for: Callable[[str], PhoneDisk],
        observer: Observer,
        limits: RunLimits,
        keys: KeyPool,
        clock: Callable[[], float],
        pace: PacketPace | None = None,
        capture: Capture | None = None,
    ) -> None:
        self._link = link
        self._capture = capture
        self._disk_for = disk_for
        self._observer = observer
        self._limits = limits
        self._keys = keys
        self._clock = clock
        # One for all, and never the same twice: servers outlive a run, and a Call-ID or an
        # xid that they have seen before is a repetition to them.
        self._rng = random.Random(secrets.randbits(128))
        self._pace = pace
        self._loop = asyncio.get_running_loop()
        self._timers = TimerQueue(clock)
        self._places = {spec.phone_id: _Place(spec) for spec in specs}
        self._started: deque[tuple[float, _Place]] = deque()
        self._unsettled = len(specs)
        self._powered = 0
        room = limits.outstanding
        self._room = None if room is None else asyncio.Semaphore(room)
        self._is_ending = False
        self._is_over = asyncio.Event()
        self._is_dark = asyncio.Event()
        self._ended_hosts: set[asyncio.Task[None]] = set()

    async def run(self, stop: asyncio.Event, *failures: asyncio.Future[None]) -> None:
        """Run until the limits or `stop` end it; then every phone is shut down.

        If one of `failures` gets an exception it is raised, and if this is cancelled every
        phone loses its power, both at once.
        """
        duration = self._limits.duration
        if duration is not None:
            self._loop.call_later(max(0.0, duration - self._clock()), self._is_over.set)
        elif not self._places:
            self._is_over.set()
        ends: list[Awaitable[object]] = [self._is_over.wait(), stop.wait(), *failures]
        try:
            await first_of(
                *ends, self._start_phones(), self._give_up_on_phones(), self._flush_regularly()
            )
            await self._shut_down()
        finally:
            self._is_ending = True
            for place in self._places.values():
                self._power_off(place)
            self._timers.close()
            for place in self._places.values():
                if place.disk is not None:
                    if not place.is_settled:
                        place.disk.settled(is_well=False)
                    place.disk.flush()
            await asyncio.gather(*self._ended_hosts)
            await let_transports_close()

    def observed(self, phone: PhoneHost, observation: Observation, now: float) -> None:
        """Take what a phone let be known."""
        self._observer.observe(phone.spec.phone_id, observation, now)
        if type(observation) not in _ENDINGS:
            return
        place = self._places[phone.spec.phone_id]
        assert place.disk is not None
        match observation:
            case SignedIn() | StagesDone():
                place.disk.settled(is_well=True)
                following = self._limits.follows(place.boot)
                if following is None or self._is_ending:
                    self._settled(place, is_done=True)
                elif following == "sign-out":
                    phone.deliver(SignOutRequested())
                else:
                    self._reboot(place, now)
            case SignedOut():
                self._reboot(place, now)
            case BootFailed():
                place.disk.settled(is_well=False)
                self._settled(place, is_done=False)
            case _:
                self._power_off(place)

    def _reboot(self, place: _Place, now: float) -> None:
        self._power_off(place)
        if not self._is_ending:
            again = partial(self._power_on, place)
            place.reboot = self._timers.call_at(now + POWER_OFF_SECONDS, again)

    def crashed(self, phone: PhoneHost, error: Exception) -> None:
        """Count a phone as lost."""
        place = self._places[phone.spec.phone_id]
        self._observer.crashed(phone.spec.phone_id, error, self._clock())
        assert place.disk is not None
        place.disk.settled(is_well=False)
        self._power_off(place)
        self._settle(place)

    async def _start_phones(self) -> None:
        """Start every phone when its time comes and there is room; never ends by itself."""
        in_turn = sorted(self._places.values(), key=lambda place: place.spec.starts_at)
        for count, place in enumerate(in_turn, 1):
            delay = place.spec.starts_at - self._clock()
            if delay > 0 or not count % _AT_ONCE:
                await asyncio.sleep(max(0.0, delay))
            if self._room is not None:
                await self._room.acquire()
            place.disk = self._disk_for(place.spec.phone_id)
            self._started.append((self._clock() + self._limits.timeout, place))
            self._power_on(place)
        await self._loop.create_future()

    def _power_on(self, place: _Place) -> None:
        assert place.disk is not None
        place.boot += 1
        self._powered += 1
        kind = self._limits.boot_kind(place.spec, place.boot)
        prepare_disk(place.disk, kind)
        spec, capture = place.spec, self._capture
        place.host = PhoneHost(
            spec,
            new_phone(spec, self._rng, certificate_validity),
            self._link,
            place.disk,
            self._keys,
            self,
            self._clock,
            self._timers,
            self._pace,
            None if capture is None else capture.tap(spec.phone_id, spec.mac),
            keeps_lease=self._limits.keep_leases,
        )
        self._observer.boot_started(place.spec.phone_id, place.boot, self._clock())
        place.host.power_on(factory_reset=kind == "factory-reset")

    def _power_off(self, place: _Place) -> None:
        host, place.host = place.host, None
        if host is None:
            return
        host.power_off()
        if host.is_closing:
            task = self._loop.create_task(host.powered_off())
            self._ended_hosts.add(task)
            task.add_done_callback(self._ended_hosts.discard)
        self._powered -= 1
        if not self._powered:
            self._is_dark.set()

    def _settled(self, place: _Place, *, is_done: bool) -> None:
        self._settle(place)
        every = self._limits.repeat_every
        if every is not None and not self._is_ending:
            at = place.spec.starts_at + place.boot * every
            again = self._repeat
            if place.spec.fixed_lease is None or not is_done:
                at = max(self._clock() + POWER_OFF_SECONDS, at)
                again = self._power_on
                self._power_off(place)
            place.reboot = self._timers.call_at(at, partial(again, place))

    def _repeat(self, place: _Place) -> None:
        if place.host is not None:
            place.boot += 1
            self._observer.boot_started(place.spec.phone_id, place.boot, self._clock())
            place.host.deliver(RepetitionDue())

    def _settle(self, place: _Place) -> None:
        if place.is_settled:
            return
        place.is_settled = True
        if self._room is not None:
            self._room.release()
        self._unsettled -= 1
        if not self._unsettled and self._limits.duration is None:
            self._is_over.set()

    async def _shut_down(self) -> None:
        """Ask every phone to deregister and release its lease, and give it time to."""
        self._is_ending = True
        for place in self._places.values():
            if place.reboot is not None:
                self._timers.cancel(place.reboot)
        if not self._powered or self._limits.keep_leases:
            return
        may_be_registered = any(place.spec.may_register for place in self._places.values())
        most = SHUTDOWNS_PER_SECOND if may_be_registered else RELEASES_PER_SECOND
        rate: float = most
        if self._pace is not None:
            rate = min(rate, self._pace.per_second)  # a RELEASE each
        at_once = max(1, int(_AT_ONCE * rate / most))
        began = self._loop.time()
        deadline = began + SHUTDOWN_SECONDS + self._powered / rate
        asked = 0
        for place in self._places.values():
            if place.host is not None:
                place.host.deliver(ShutdownRequested())
                asked += 1
                early = began + asked / rate - self._loop.time()
                # A loop that is late catches up: each of its turns may take seconds.
                if early > 0 and not asked % at_once:
                    await asyncio.sleep(early)
        if self._powered:
            self._is_dark.clear()
            try:
                async with asyncio.timeout_at(deadline):
                    await self._is_dark.wait()
            except TimeoutError:
                pass

    async def _give_up_on_phones(self) -> None:
        """Settle those that have not done so in time; never ends by itself."""
        while True:
            await asyncio.sleep(_GIVE_UP_INTERVAL)
            now = self._clock()
            while self._started and self._started[0][0] <= now:
                self._settle(self._started.popleft()[1])

    async def _flush_regularly(self) -> None:
        while True:
            await asyncio.sleep(_FLUSH_INTERVAL)
            count = 0
            for place in list(self._places.values()):
                if place.disk is not None:
                    place.disk.flush()
                    count += 1
                    if not count % _AT_ONCE:
                        await asyncio.sleep(0)


async def let_transports_close() -> None:
    """Wait the few turns of the loop in which transports that were closed let go of theirs."""
    for _ in range(_CLOSING_TURNS):
        await asyncio.sleep(0)


async def first_of(*awaited: Awaitable[object]) -> None:
    """Wait for the first of several, raise what it raised, and cancel the others."""
    tasks = [asyncio.ensure_future(each) for each in awaited]
    try:
        done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        for task in done:
            task.result()
    finally:
        for task in tasks:
            task.cancel()


class _Place:
    """A phone of the plan, powered or not."""

    __slots__ = ("boot", "disk", "host", "is_settled", "reboot", "spec")

    def __init__(self, spec: PhoneSpec) -> None:
        self.spec = spec
        self.disk: PhoneDisk | None = None
        self.host: PhoneHost | None = None
        self.boot = 0
        self.is_settled = False
        self.reboot: Timer | None = None
