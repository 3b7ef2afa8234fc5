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
import time
from collections import deque
from collections.abc import Callable
from functools import partial
from typing import Any, Protocol

from phonesim.capture import PhoneTap
from phonesim.device import actions as do
from phonesim.device.events import (
    CertificateChecked,
    CertificateRequestMade,
    DataSigned,
    Event,
    Observation,
    PhoneAbandoned,
    PowerApplied,
    TimerExpired,
)
from phonesim.device.identity import KEY_FILE
from phonesim.device.phone import Output
from phonesim.drivers.key_pool import KeyPool, PhoneKey
from phonesim.drivers.packet_pace import PacketPace
from phonesim.drivers.phone_sockets import PhoneSockets
from phonesim.drivers.timer_queue import Timer, TimerQueue
from phonesim.world import CRASH_FILE, PhoneDisk, PhoneSpec, crash_report

_EVENTS_KEPT = 16
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

    async def drained(self) -> None:
        """Wait until the addresses that phones gave up may go."""
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
        self._recent: deque[tuple[float, Event]] = deque(maxlen=_EVENTS_KEPT)
        self._timer: Timer | None = None
        self._key: PhoneKey | None = None
        self._sockets: PhoneSockets | None = None

    def power_on(self, *, factory_reset: bool = False) -> None:
        """Apply power, with what the virtual disk holds."""
        files = dict(self._disk.files())
        key = files.get(KEY_FILE)
        if key is not None:
            files[KEY_FILE] = b""  # nobody's but this module's
            with contextlib.suppress(ValueError):  # somebody spoilt the file: it needs a new one
                self._key = PhoneKey(key)
        self._is_on = True
        self._link.attach(self)
        self.deliver(
            PowerApplied(
                files=files,
                has_key=self._key is not None,
                factory_reset=factory_reset,
                clock=None if self.spec.fixed_registration is None else time.time(),
            )
        )

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
        for output in self._machine.handle(event, now):
            perform = _PERFORMERS.get(type(output))
            if perform is not None:
                perform(self, output)
            else:
                assert isinstance(output, Observation)
                self._owner.observed(self, output, now)

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

    # --- what each action does ---

    def _write_log(self, action: do.WriteLog) -> None:
        self._disk.append_log(action)

    def _write_file(self, action: do.WriteFile) -> None:
        self._disk.write_file(action.name, action.data)

    def _delete_file(self, action: do.DeleteFile) -> None:
        if action.name == KEY_FILE:
            self._key = None
        self._disk.delete_file(action.name)

    def _send_datagram(self, action: do.SendDhcp | do.SendDns | do.SendNtp) -> None:
        if self._pace is not None:
            self._pace.send(self, partial(self._send_in_turn, action))
        else:
            self._send(action)

    def _probe_address(self, action: do.ProbeAddress) -> None:
        self._link.probe_address(self, action.address)

    def _configure_address(self, action: do.ConfigureAddress) -> None:
        self._link.configure_address(self, action)
        if self.tap is not None:
            self.tap.owns(action.address)

    def _announce_address(self, action: do.AnnounceAddress) -> None:
        self._link.announce_address(self, action.address)

    def _remove_address(self, action: do.RemoveAddress) -> None:
        if self._pace is not None:
            self._pace.send_waiting(self)
        if self._sockets is not None:
            self._sockets.datagrams.close()
        self._link.remove_address(self, action.address)

    def _advertise(self, action: do.AdvertiseLldp) -> None:
        self._link.advertise(self, action)

    def _join_vlan(self, action: do.JoinVlan) -> None:
        if self._pace is not None:
            self._pace.send_waiting(self)
        self._link.join_vlan(self, action.vlan_id)

    def _send_http(self, action: do.SendHttp) -> None:
        self._open_sockets().http.send(action)

    def _open_connection(self, action: do.OpenConnection) -> None:
        self._open_sockets().connections.open(action)

    def _close_connection(self, action: do.CloseConnection) -> None:
        self._open_sockets().connections.close(action.connection_id)

    def _send_sip(self, action: do.SendSip) -> None:
        connection = self._open_sockets().connections.find(action.connection_id)
        if connection is not None:
            connection.send(action.message)

    def _send_keep_alive(self, action: do.SendKeepAlive) -> None:
        connection = self._open_sockets().connections.find(action.connection_id)
        if connection is not None:
            connection.send_keep_alive()

    def _begin_handshake(self, action: do.BeginHandshake) -> None:
        self._open_sockets().handshake.begin(action)

    def _continue_handshake(self, action: do.ContinueHandshake) -> None:
        self._open_sockets().handshake.go_on(action)

    def _sign_with_key(self, action: do.SignWithKey) -> None:
        signature = b"" if self._key is None else self._key.sign(action.data)
        self.deliver(DataSigned(data=action.data, signature=signature))

    def _check_certificate(self, action: do.CheckCertificate) -> None:
        problem = "its key is gone"
        if self._key is not None:
            problem = self._key.problem_of(action.certificate, action.subject)
        self.deliver(CertificateChecked(certificate=action.certificate, problem=problem))

    def _send(self, action: do.SendDhcp | do.SendDns | do.SendNtp) -> None:
        if isinstance(action, do.SendDhcp):
            self._link.send_dhcp(self, action)
        elif isinstance(action, do.SendNtp):
            self._open_sockets().datagrams.send_ntp(action)
        elif not self._link.takes_dns(self, action):
            self.send_dns(action)

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
                self.spec.profile.tls,
            )
        return self._sockets

    def _make_certificate_request(self, action: do.MakeCertificateRequest) -> None:
        if self._key is None:
            self._key = self._keys.key()
            self._disk.write_file(KEY_FILE, self._key.der)
        csr = self._key.certificate_request(action.subject)
        self.deliver(CertificateRequestMade(subject=action.subject, csr=csr))

    def _key_bytes(self) -> bytes | None:
        return self._key.der if self._key is not None else None

    def _crash(self, error: Exception) -> None:
        if not self._is_on:
            return
        self._disk.write_file(CRASH_FILE, crash_report(error, self._recent))
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


# By type, for a fleet looks here with every action.
_PERFORMERS: dict[type[Event | do.PhoneAction], Callable[[PhoneHost, Any], None]] = {
    do.WriteLog: PhoneHost._write_log,
    do.WriteFile: PhoneHost._write_file,
    do.DeleteFile: PhoneHost._delete_file,
    do.SendDhcp: PhoneHost._send_datagram,
    do.SendDns: PhoneHost._send_datagram,
    do.SendNtp: PhoneHost._send_datagram,
    do.ProbeAddress: PhoneHost._probe_address,
    do.ConfigureAddress: PhoneHost._configure_address,
    do.AnnounceAddress: PhoneHost._announce_address,
    do.RemoveAddress: PhoneHost._remove_address,
    do.AdvertiseLldp: PhoneHost._advertise,
    do.JoinVlan: PhoneHost._join_vlan,
    do.SendHttp: PhoneHost._send_http,
    do.MakeCertificateRequest: PhoneHost._make_certificate_request,
    do.SignWithKey: PhoneHost._sign_with_key,
    do.CheckCertificate: PhoneHost._check_certificate,
    do.OpenConnection: PhoneHost._open_connection,
    do.CloseConnection: PhoneHost._close_connection,
    do.BeginHandshake: PhoneHost._begin_handshake,
    do.ContinueHandshake: PhoneHost._continue_handshake,
    do.SendSip: PhoneHost._send_sip,
    do.SendKeepAlive: PhoneHost._send_keep_alive,
}
