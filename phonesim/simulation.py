"""The virtual world: phones and a mock site in simulated time, without sockets or threads.

`virtual_time` says what happens next. A `virtual_phone` or a `virtual_server` handles an
event, and its actions put later entries there: through `virtual_network` the datagrams,
through `virtual_connections` what needs a handshake. All randomness comes from the seed,
so a run repeats exactly. TLS is played by its rules: see `virtual_authority`.

Here is the run itself: when each phone gets power, when it loses it, and when all is over.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence

from phonesim.config.fleet_profile import Links
from phonesim.device import events as on
from phonesim.device.identity import KEY_FILE
from phonesim.mocksite.site import Site
from phonesim.virtual_capture import VirtualCapture
from phonesim.virtual_connections import VirtualConnections
from phonesim.virtual_network import VirtualNetwork
from phonesim.virtual_phone import History, VirtualPhone
from phonesim.virtual_server import connect_site
from phonesim.virtual_time import VirtualTime
from phonesim.world import (
    CRASH_FILE,
    Observer,
    PhoneDisk,
    PhoneSpec,
    RunLimits,
    crash_report,
    prepare_disk,
)

_POWER_OFF_SECONDS = 1.0
_SHUTDOWN_SECONDS = 10.0
_EVENTS_PER_PROGRESS = 2000
_HISTORY_EVENTS = 16


class _Place:
    """A phone's place in the run: its disk, its power, and what outlasts its boots."""

    __slots__ = ("_boot", "_history", "_rounds", "_run", "disk", "is_settled", "phone", "spec")

    def __init__(self, run: _Run, spec: PhoneSpec, disk: PhoneDisk) -> None:
        self._run = run
        self.spec = spec
        self.disk = disk
        self._boot = 0
        self._rounds = 0  # boots, and what the phone did again without one
        self.phone: VirtualPhone | None = None  # while it has power
        self.is_settled = False
        self._history: History = deque(maxlen=_HISTORY_EVENTS)

    def power_on(self) -> None:
        run, spec = self._run, self.spec
        if run.is_ending:
            return
        self._boot += 1
        seed = f"{spec.seed}/{self._boot}"
        phone = VirtualPhone(
            spec, self.disk, seed, run.network, run.connections, self, self._history
        )
        self.phone = phone
        kind = run.limits.boot_kind(spec, self._boot)
        prepare_disk(self.disk, kind)
        run.powered += 1
        self._begin_round()
        files = self.disk.files()
        is_set = spec.fixed_registration is not None
        phone.receive(
            on.PowerApplied(
                files=files,
                has_key=KEY_FILE in files,
                factory_reset=kind == "factory-reset",
                clock=run.epoch + run.time.now if is_set else None,
            )
        )

    def power_off(self) -> None:
        if self.phone is not None:
            self.phone.cut_power()
            self.phone = None
            self._run.powered -= 1

    def observed(self, observation: on.Observation) -> None:
        self._run.observer.observe(self.spec.phone_id, observation, self._run.time.now)
        match observation:
            case on.SignedIn() | on.StagesDone():
                self.disk.settled(is_well=True)
                self._booted()
            case on.SignedOut():
                self._reboot()
            case on.BootFailed():
                self.disk.settled(is_well=False)
                self._end(is_done=False)
            case on.PoweredOff():
                self.power_off()
            case _:
                pass

    def crashed(self, error: Exception) -> None:
        self.disk.write_file(CRASH_FILE, crash_report(error, self._history))
        self._run.observer.crashed(self.spec.phone_id, error, self._run.time.now)
        self.disk.settled(is_well=False)
        self.power_off()
        self._run.settle(self)

    def _begin_round(self) -> None:
        self._rounds += 1
        self._run.observer.boot_started(self.spec.phone_id, self._rounds, self._run.time.now)

    def _booted(self) -> None:
        """A boot is complete: cut the power for the next one, or leave the phone be."""
        run = self._run
        following = run.limits.follows(self._boot)
        if following is None or run.is_ending:
            self._end(is_done=True)
        elif following == "sign-out":
            if self.phone is not None:
                run.time.after(0.0, self.phone.receive, on.SignOutRequested())
        else:
            self._reboot()

    def _reboot(self) -> None:
        self.power_off()
        self._run.time.after(_POWER_OFF_SECONDS, self.power_on)

    def _end(self, *, is_done: bool) -> None:
        """The phone has come to its end: let it be, or let it start again when it is due."""
        run = self._run
        run.settle(self)
        every = run.limits.repeat_every
        if every is not None and not run.is_ending:
            due_at = self.spec.starts_at + self._rounds * every
            if self.spec.fixed_lease is not None and is_done:
                run.time.at(max(run.time.now, due_at), self._repeat)
                return
            self.power_off()
            run.time.at(max(run.time.now + _POWER_OFF_SECONDS, due_at), self.power_on)

    def _repeat(self) -> None:
        if self.phone is not None:
            self._begin_round()
            self.phone.receive(on.RepetitionDue())


class _Run:
    """A run: how many phones have started, have settled, and have power."""

    def __init__(
        self,
        specs: Sequence[PhoneSpec],
        site: Site,
        disk_for: Callable[[str], PhoneDisk],
        observer: Observer,
        limits: RunLimits,
        links: Links,
        seed: int,
        capture: VirtualCapture | None,
    ) -> None:
        self.observer = observer
        self.limits = limits
        self.epoch = site.epoch
        self.time = VirtualTime()
        self.network = VirtualNetwork(self.time, links, seed, site.squatters, capture)
        self.connections = VirtualConnections(self.network, site.epoch)
        self.powered = 0
        self.is_ending = False
        self._servers = connect_site(site, self.network, self.connections, observer)
        self._places = [_Place(self, spec, disk_for(spec.phone_id)) for spec in specs]
        self._unsettled = len(self._places)
        self._outstanding = 0
        self._waiting: deque[_Place] = deque()

    def settle(self, place: _Place) -> None:
        """A phone has come to its end, or has had its time: the next one may start."""
        if not place.is_settled:
            place.is_settled = True
            self._unsettled -= 1
            # What waits in memory is most of a phone's size.
            self.time.after(0.0, place.disk.flush)
            if self._waiting:
                self.time.after(0.0, self._start, self._waiting.popleft())
            else:
                self._outstanding -= 1

    def _arrive(self, place: _Place) -> None:
        """Start a phone, or let it wait until another one has settled."""
        limit = self.limits.outstanding
        if limit is not None and self._outstanding >= limit:
            self._waiting.append(place)
        else:
            self._outstanding += 1
            self._start(place)

    def _start(self, place: _Place) -> None:
        self.time.after(self.limits.timeout, self.settle, place)
        place.power_on()

    def run(self, progress: Callable[[float], bool] | None) -> float:
        time, duration = self.time, self.limits.duration
        for server in self._servers:
            server.start()
        for place in self._places:
            time.at(place.spec.starts_at, self._arrive, place)
        end_at = float("inf") if duration is None else duration
        steps = 0
        goes_on = True
        step = time.step
        while goes_on and (self._unsettled > 0 or duration is not None) and step(end_at):
            steps += 1
            if steps % _EVENTS_PER_PROGRESS == 0 and progress is not None:
                goes_on = progress(time.now)
        if goes_on and duration is not None:
            time.now = duration  # nothing more happens until then
        ended_at = time.now
        self._shut_down()
        for place in self._places:
            if not place.is_settled:
                place.disk.settled(is_well=False)
            place.disk.flush()
        return ended_at

    def _shut_down(self) -> None:
        self.is_ending = True
        self._waiting.clear()
        time = self.time
        if not self.limits.keep_leases:
            for place in self._places:
                if place.phone is not None:
                    place.phone.receive(on.ShutdownRequested())
            give_up_at = time.now + _SHUTDOWN_SECONDS
            while self.powered > 0 and time.step(give_up_at):
                pass
        for place in self._places:
            place.power_off()
        if not self.limits.keep_leases:
            arrived_at = time.now + self.network.slowest
            while time.step(arrived_at):
                pass  # the last RELEASEs are still on their way


def simulate(
    specs: Sequence[PhoneSpec],
    site: Site,
    disk_for: Callable[[str], PhoneDisk],
    observer: Observer,
    limits: RunLimits,
    links: Links,
    seed: int,
    progress: Callable[[float], bool] | None = None,
    capture: VirtualCapture | None = None,
) -> float:
    """Run a fleet in virtual time; returns the virtual seconds until it had settled.

    `progress` is called every so many events with the virtual time; when it returns
    False the run ends as it does at its end: phones shut down, disks flushed. `capture`
    is told what phones send and receive.
    """
    run = _Run(specs, site, disk_for, observer, limits, links, seed, capture)
    seconds = run.run(progress)
    if capture is not None:
        capture.ended(run.time.now)
    return seconds
