"""One powered phone in a world of real sockets.

Hands the phone one event at a time, performs all that it asks for, and only then
takes the next event: an action that fails at once puts its event in the queue. One
timer of the fleet's queue stands for the phone's next deadline.

What differs between worlds (how DHCP travels, what it takes to have an address) is
behind a `PhoneLink`; DNS, NTP, HTTP and SIP use the kernel's sockets in all of them.

A phone whose machine raises is lost: what happened to it last is written beside its
log, its lease is given back if the machine can still say how, and the fleet goes on.
"""

from __future__ import annotations

import contextlib
import traceback
from collections.abc import Callable
from functools import partial
from typing import Protocol, assert_never

from phonesim.capture import PhoneTap
from phonesim.device import actions as do
from phonesim.device.events import (
    CertificateRequestMade,
    DataSigned,
    Event,
    Observation,
    PhoneAbandoned,
    PowerApplied,
    TimerExpired,
)
from phonesim.device.phone import Output
from phonesim.drivers.key_pool import KeyPool, PhoneKey
from phonesim.drivers.packet_pace import PacketPace
from phonesim.drivers.phone_sockets import PhoneSockets
from phonesim.drivers.timer_queue import Timer, TimerQueue
from phonesim.world import PhoneDisk, PhoneSpec

CRASH_FILE = "crash.txt"
KEY_FILE = "phone.key"

_EVENTS_KEPT = 64
_NEVER = float("inf")


class PhoneMachine(Protocol):
    """The phone itself: `phonesim.device.phone.Phone`."""

    def handle(self, event: Event, now: float) -> list[Output]:
        """Take one event; return what to do about it."""
        ...

    def next_deadline(self) -> tuple[float, str] | None:
        """When the phone wants `TimerExpired`, and why."""
        ...


class AddressLink(Protocol):
    """How phones get and use their addresses."""

    @property
    def port_offset(self) -> int:
        """What is added to every standard port."""
        ...

    def attach(self, phone: PhoneHost) -> None:
        """A phone is powered: DHCP messages for its MAC are its own."""
        ...

    def detach(self, phone: PhoneHost) -> None:
        """A phone has lost power: its address is free, its messages are nobody's."""
        ...

    def send_dhcp(self, phone: PhoneHost, action: do.SendDhcp) -> None:
        """Send a DHCP message."""
        ...

    def takes_dns(self, phone: PhoneHost, action: do.SendDns) -> bool:
        """Send a query, now or later, or leave it to the phone's socket; whether it does."""
        ...

    def probe_address(self, phone: PhoneHost, address: str) -> None:
        """Find out whether another host uses `address`; `AddressProbed` follows."""
        ...

    def configure_address(self, phone: PhoneHost, action: do.ConfigureAddress) -> None:
        """Give the phone an address."""
        ...

    def announce_address(self, phone: PhoneHost, address: str) -> None:
        """Tell everybody whose it is."""
        ...

    def remove_address(self, phone: PhoneHost, address: str) -> None:
        """Take it away."""
        ...

    def unsent(self, error: OSError) -> None:
        """The local network stack refused to send."""
        ...


class PhoneLink(AddressLink, Protocol):
    """How the phones of a world reach the network."""

    def advertise(self, phone: PhoneHost, action: do.AdvertiseLldp) -> None:
        """Advertise by LLDP; what the switch says is `LldpReceived`."""
        ...

    def join_vlan(self, phone: PhoneHost, vlan_id: int | None) -> None:
        """Put the phone into a VLAN; a phone that is attached is in none."""
        ...


class PhoneOwner(Protocol):
    """Who watches a powered phone."""

    def observed(self, phone: PhoneHost, observation: Observation, now: float) -> None:
        """The phone let something be known, at that time of the run's clock."""
        ...

    def crashed(self, phone: PhoneHost, error: Exception) -> None:
        """The phone's machine raised, and has no power any more."""
        ...


class PhoneHost:
    """A phone from `power_on` to `power_off`; a reboot needs another host.

    `clock` gives seconds since the run began, and `timers` run by it; `pace` holds its
    datagrams back; `tap` is told what it sends and receives. With `keeps_lease`, a phone that
    is lost does not give it back.
    """

    __slots__ = (
        "_clock",
        "_disk",
        "_events",
        "_is_ending",
        "_is_handling",
        "_is_on",
        "_keeps_lease",
        "_key",
        "_keys",
        "_link",
        "_machine",
        "_owner",
        "_pace",
        "_recent",
        "_sockets",
        "_timer",
        "_timers",
        "spec",
        "tap",
    )

    def __init__(
        self,
        spec: PhoneSpec,
        machine: PhoneMachine,
        link: PhoneLink,
        disk: PhoneDisk,
        keys: KeyPool,
        owner: PhoneOwner,
        clock: Callable[[], float],
        timers: TimerQueue,
        pace: PacketPace | None = None,
        tap: PhoneTap | None = None,
        *,
        keeps_lease: bool = False,
    ) -> None:
        self.spec = spec
        self.tap = tap
        self._machine = machine
        self._link = link
        self._disk = disk
        self._keys = keys
        self._owner = owner
        self._clock = clock
        self._timers = timers
        self._pace = pace
        self._keeps_lease = keeps_lease
        self._is_on = False
        self._is_handling = False
        self._is_ending = False
        self._events: list[Event] = []
        self._recent: list[tuple[float, Event]] = []
        self._timer: Timer | None = None
        self._key: PhoneKey | None = None
        self._sockets: PhoneSockets | None = None

    def power_on(self) -> None:
        """Apply power, with what the virtual disk holds."""
        files = dict(self._disk.files())
        key = files.pop(KEY_FILE, None)
        if key is not None:
            with contextlib.suppress(ValueError):  # somebody spoilt the file: it needs a new one
                self._key = PhoneKey(key)
        self._is_on = True
        self._link.attach(self)
        self.deliver(PowerApplied(files=files))

    def power_off(self) -> None:
        """Cut the power: nothing more is sent, and everything held is let go.

        While the phone is handling an event, what it asks for is performed first.
        """
        if self._is_handling:
            self._is_ending = True
        else:
            self._lose_power()

    def _lose_power(self) -> None:
        if not self._is_on:
            return
        self._is_on = False
        self._events.clear()
        if self._timer is not None:
            self._timers.cancel(self._timer)
            self._timer = None
        if self._pace is not None:
            self._pace.forget(self)
        if self._sockets is not None:
            self._sockets.abort()
        self._link.detach(self)

    @property
    def is_closing(self) -> bool:
        """Whether `powered_off` has something to wait for."""
        return self._sockets is not None

    async def powered_off(self) -> None:
        """Wait until what `power_off` began is done."""
        if self._sockets is not None:
            await self._sockets.closed()

    def deliver(self, event: Event) -> None:
        """Hand the phone an event, now or after the one it is handling."""
        if not self._is_on:
            return
        if self._is_handling:
            self._events.append(event)
            return
        self._is_handling = True
        try:
            self._handle(event)
            while self._events and not self._is_ending:
                self._handle(self._events.pop(0))
            if not self._is_ending:
                self._arm()
        except Exception as error:  # the contract: one phone is lost, the fleet goes on
            self._crash(error)
        finally:
            self._is_handling = False
        if self._is_ending:
            self._lose_power()

    def _handle(self, event: Event) -> None:
        now = self._clock()
        self._recent.append((now, event))
        if len(self._recent) > 2 * _EVENTS_KEPT:
            del self._recent[:_EVENTS_KEPT]
        for output in self._machine.handle(event, now):
            if isinstance(output, Observation):
                self._owner.observed(self, output, now)
            else:
                self._perform(output)

    def _arm(self) -> None:
        """See to it that the phone is woken at its deadline; waking it too early does no harm."""
        deadline = self._machine.next_deadline()
        if deadline is None:
            return
        at, timer = deadline[0], self._timer
        if timer is not None:
            if timer.at <= at:
                return
            self._timers.cancel(timer)
        elif at == _NEVER:
            return
        self._timer = self._timers.call_at(at, self._wake)

    def _wake(self) -> None:
        self._timer = None
        deadline = self._machine.next_deadline()
        if deadline is None:
            return
        if deadline[0] > self._clock():
            self._arm()
        else:
            self.deliver(TimerExpired())

    def _perform(self, action: do.PhoneAction) -> None:
        match action:
            case do.WriteLog():
                self._disk.append_log(action)
            case do.SendDhcp() | do.SendDns() | do.SendNtp():
                if self._pace is not None:
                    self._pace.send(self, partial(self._send_in_turn, action))
                elif isinstance(action, do.SendDhcp):
                    self._link.send_dhcp(self, action)
                else:
                    self._send(action)
            case do.WriteFile():
                self._disk.write_file(action.name, action.data)
            case do.ProbeAddress():
                self._link.probe_address(self, action.address)
            case do.ConfigureAddress():
                self._link.configure_address(self, action)
                if self.tap is not None:
                    self.tap.owns(action.address)
            case do.AnnounceAddress():
                self._link.announce_address(self, action.address)
            case do.SendHttp():
                self._open_sockets().http.send(action)
            case do.SendSip():
                connection = self._open_sockets().connections.find(action.connection_id)
                if connection is not None:
                    connection.send(action.message)
            case do.SendKeepAlive():
                connection = self._open_sockets().connections.find(action.connection_id)
                if connection is not None:
                    connection.send_keep_alive()
            case do.RemoveAddress():
                if self._pace is not None:
                    self._pace.send_waiting(self)
                if self._sockets is not None:
                    self._sockets.datagrams.close()
                self._link.remove_address(self, action.address)
            case do.MakeCertificateRequest():
                self._make_certificate_request(action.subject)
            case do.SignWithKey():
                signature = b"" if self._key is None else self._key.sign(action.data)
                self.deliver(DataSigned(data=action.data, signature=signature))
            case do.OpenConnection():
                self._open_sockets().connections.open(action)
            case do.CloseConnection():
                self._open_sockets().connections.close(action.connection_id)
            case do.AdvertiseLldp():
                self._link.advertise(self, action)
            case do.JoinVlan():
                if self._pace is not None:
                    self._pace.send_waiting(self)
                self._link.join_vlan(self, action.vlan_id)
            case do.DeleteFile():
                self._disk.delete_file(action.name)
            case _:
                assert_never(action)

    def _send(self, action: do.SendDhcp | do.SendDns | do.SendNtp) -> None:
        match action:
            case do.SendDhcp():
                self._link.send_dhcp(self, action)
            case do.SendDns():
                if not self._link.takes_dns(self, action):
                    self.send_dns(action)
            case do.SendNtp():
                self._open_sockets().datagrams.send_ntp(action)

    def send_dns(self, action: do.SendDns) -> None:
        """Send a query from the phone's own socket."""
        self._open_sockets().datagrams.send_dns(action)

    def _send_in_turn(self, action: do.SendDhcp | do.SendDns | do.SendNtp) -> None:
        try:
            self._send(action)
        except Exception as error:  # the contract: one phone is lost, the fleet goes on
            self._crash(error)

    def _open_sockets(self) -> PhoneSockets:
        if self._sockets is None:
            link = self._link
            self._sockets = PhoneSockets(
                link.port_offset,
                self._key_bytes,
                self.deliver,
                link.unsent,
                self._crash,
                self.tap,
            )
        return self._sockets

    def _make_certificate_request(self, subject: str) -> None:
        if self._key is None:
            self._key = self._keys.key()
            self._disk.write_file(KEY_FILE, self._key.der)
        csr = self._key.certificate_request(subject)
        self.deliver(CertificateRequestMade(subject=subject, csr=csr))

    def _key_bytes(self) -> bytes | None:
        return self._key.der if self._key is not None else None

    def _crash(self, error: Exception) -> None:
        if not self._is_on:
            return
        happened = "".join(f"{now:.6f} {event!r}\n" for now, event in self._recent)
        trace = "".join(traceback.format_exception(error))
        self._disk.write_file(CRASH_FILE, f"{trace}\n{happened}".encode())
        if not self._keeps_lease:
            self._give_lease_back(error)
        self._lose_power()
        self._owner.crashed(self, error)

    def _give_lease_back(self, error: Exception) -> None:
        """Send the RELEASE of a machine that raised `error`, and note there what came of it."""
        try:
            outputs = self._machine.handle(PhoneAbandoned(), self._clock())
            releases = [output for output in outputs if isinstance(output, do.SendDhcp)]
            for release in releases:
                self._send(release)
        except Exception as another:  # what is broken may be just that
            error.add_note(f"a lease it had stays at the server until it ends: {another!r}")
        else:
            if releases:
                error.add_note("its lease was released")
