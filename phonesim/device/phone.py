"""The phone: takes every event of the world to the machine that it is for.

What a machine returns for its siblings is taken on, until only actions and observations are left.
What sub-machines find, `phonesim.device.attachment` and `phonesim.device.boot` take, and tell
others what to do next: those two lead the phone. The records of one event become one `WriteLog`,
stamped with the clock that the phone believes.

Specifications: device reference section 1.
"""

from __future__ import annotations

import random
from typing import get_args

from phonesim.config.device_profile import DeviceProfile
from phonesim.device import device_log as log
from phonesim.device.actions import PhoneAction, WriteLog
from phonesim.device.attachment import Attachment
from phonesim.device.boot import Boot
from phonesim.device.device_log import LogRecord
from phonesim.device.events import (
    AddressClaimed,
    AddressProbed,
    CertificateChecked,
    CertificateRequestMade,
    ConnectionClosed,
    ConnectionFailed,
    ConnectionOpened,
    DataSigned,
    DhcpAnswerKept,
    DhcpMessageReceived,
    DnsAnswerKept,
    DnsResponseReceived,
    Event,
    HandshakeAdvanced,
    HandshakeFailed,
    HttpFailed,
    HttpResponseReceived,
    Lease,
    LeaseBound,
    LeaseFailed,
    LeaseLost,
    LldpReceived,
    LookupAnswered,
    LookupRequested,
    MalformedReceived,
    NtpPacketReceived,
    Observation,
    PhoneAbandoned,
    PowerApplied,
    RegistrationLost,
    RegistrationWanted,
    RepetitionDue,
    ShutdownRequested,
    SignOutRequested,
    SipMessageReceived,
    StageEnded,
    StageEntered,
    TimerExpired,
    VlanChanged,
    VlanOffered,
    VlanSettled,
)
from phonesim.device.http_authentication import WindowsCredentials
from phonesim.device.outcome import Stage
from phonesim.device.renewal import Validity
from phonesim.device.sub_machines import Machine, SubMachines
from phonesim.device.tell import MachineName, Tell
from phonesim.wire.dhcp import BOOTREPLY

Output = PhoneAction | Observation


def _unreadable(certificate: bytes) -> None:
    return None


class Phone:
    """One phone, from power-on to power-off.

    `last_stage` is IP, DISCOVERY or, for a whole boot, COMMIT; `first_stage` is VLAN or, for a
    phone that takes no notice of VLANs, IP. A `fixed_lease` is an address that somebody typed in:
    the phone begins with it, and never asks for another. With a `fixed_registration` the phone
    has a fixed lease, and its only stage is REGISTER. `validity` reads certificates. With
    `credentials` the user signs in on a tethered computer, and types no PIN.
    """

    def __init__(
        self,
        profile: DeviceProfile,
        mac: bytes,
        number: str,
        pin: str,
        rng: random.Random,
        last_stage: Stage = Stage.COMMIT,
        fixed_lease: Lease | None = None,
        first_stage: Stage = Stage.VLAN,
        validity: Validity = _unreadable,
        fixed_registration: RegistrationWanted | None = None,
        credentials: WindowsCredentials | None = None,
    ) -> None:
        finds_vlan = first_stage is Stage.VLAN and fixed_lease is None
        attachment = Attachment(profile, fixed_lease, finds_vlan=finds_vlan)
        self._machines = SubMachines(
            profile, mac, rng, validity, number, pin, credentials, attachment
        )
        self._boot = Boot(profile, mac, rng, self._machines, last_stage, fixed_registration)
        self._prober: MachineName = "dhcp" if fixed_lease is None else "attachment"
        self._deadlines: dict[Machine, tuple[float, str]] = {}
        self._records: list[LogRecord] = []

    # --- the contract ---

    def handle(self, event: Event, now: float) -> list[Output]:
        """Take one event; return actions for the world, and observations."""
        out: list[Output] = []
        kind = type(event)
        name = _TAKERS.get(kind)
        if name is not None:
            self._tell(name, event, now, out)
        elif kind is TimerExpired:
            self._timer_expired(event, now, out)
        elif kind in _FOR_THE_BOOT:
            self._lead(event, now, out)
        else:
            self._take_special(event, now, out)
        if self._records:
            # One moment, one stamp: handling an event takes no time.
            clock = self._machines.clock.believed(now)
            tick = int((now - self._boot.powered_at) * 1000)
            out.append(WriteLog(records=tuple(self._records), clock=clock, tick=tick))
            self._records = []
        return out

    def next_deadline(self) -> tuple[float, str] | None:
        """When the next timer is due, and which."""
        if self._boot.is_off:
            return None
        earliest = self._boot.next_deadline()
        for deadline in self._deadlines.values():
            if earliest is None or deadline < earliest:
                earliest = deadline
        return earliest

    # --- what comes from the world ---

    def _timer_expired(self, event: Event, now: float, out: list[Output]) -> None:
        deadline = self._boot.next_deadline()
        if deadline is not None and now >= deadline[0]:
            self._lead(event, now, out)
        for machine in [m for m, (at, _) in self._deadlines.items() if at <= now]:
            self._run(machine, event, now, out)

    def _take_special(self, event: Event, now: float, out: list[Output]) -> None:
        match event:
            case DhcpMessageReceived():
                self._dhcp_received(event, now, out)
            case AddressProbed():
                self._tell(self._prober, event, now, out)
            case MalformedReceived():
                self._records.append(
                    log.MALFORMED(event.protocol, event.source, event.size, event.reason)
                )
                if event.protocol == "sip":
                    self._tell("line", event, now, out)
            case _:
                raise TypeError(f"no world event: {type(event).__name__}")

    def _dhcp_received(self, event: DhcpMessageReceived, now: float, out: list[Output]) -> None:
        message, machines = event.message, self._machines
        if message.op != BOOTREPLY:
            name, why = message.message_type.name, "no reply: op is not 2"
            self._records.append(log.DHCP_IGNORED(name, message.xid, event.source, why))
        elif not machines.dhcp.expects(message.xid) and machines.discovery.expects(message.xid):
            self._run(machines.discovery, event, now, out)
        else:
            self._run(machines.dhcp, event, now, out)

    # --- what machines return ---

    def _tell(self, name: MachineName, event: Event, now: float, out: list[Output]) -> None:
        self._run(getattr(self._machines, name), event, now, out)

    def _run(self, machine: Machine, event: Event, now: float, out: list[Output]) -> None:
        """Give an event to a sub-machine, and take on what it returns."""
        results = machine.handle(event, now)
        deadline = machine.next_deadline()
        if deadline is None:
            self._deadlines.pop(machine, None)
        else:
            self._deadlines[machine] = deadline
        for result in results:
            if isinstance(result, LogRecord):
                self._records.append(result)
            elif isinstance(result, Tell):
                self._tell(result.machine, result.event, now, out)
            elif type(result) in _OUTWARD:
                out.append(result)  # type: ignore[arg-type]  # a set of types narrows nothing
            else:
                assert isinstance(result, Event)
                self._take_on(result, now, out)

    def _take_on(self, event: Event, now: float, out: list[Output]) -> None:
        name = _SIBLINGS.get(type(event))
        if name is not None:
            self._tell(name, event, now, out)
        elif isinstance(event, LookupAnswered):
            owner = self._machines.owner_of_lookup(event.lookup_id)
            self._run(owner, event, now, out)
        else:
            self._lead(event, now, out)

    def _lead(self, event: Event, now: float, out: list[Output]) -> None:
        """Give an event to the boot, and do what it says."""
        for result in self._boot.handle(event, now):
            if isinstance(result, LogRecord):
                self._records.append(result)
            elif isinstance(result, Tell):
                self._tell(result.machine, result.event, now, out)
            else:
                out.append(result)


# What sub-machines say to the world, and nothing else follows from it here.
_OUTWARD = frozenset((*get_args(PhoneAction), *Observation.__subclasses__())) - {
    StageEntered,
    StageEnded,
    RegistrationLost,
}

_TAKERS: dict[type[Event], MachineName] = {
    DnsResponseReceived: "resolver",
    HttpResponseReceived: "sign_in",
    HttpFailed: "sign_in",
    CertificateRequestMade: "sign_in",
    DataSigned: "sign_in",
    CertificateChecked: "sign_in",
    SipMessageReceived: "line",
    ConnectionOpened: "line",
    ConnectionFailed: "line",
    ConnectionClosed: "line",
    HandshakeAdvanced: "line",
    HandshakeFailed: "line",
    AddressClaimed: "dhcp",
    NtpPacketReceived: "clock",
    LldpReceived: "lldp",
}

_FOR_THE_BOOT = frozenset(
    {PowerApplied, ShutdownRequested, RepetitionDue, SignOutRequested, PhoneAbandoned}
)

_SIBLINGS: dict[type[Event], MachineName] = {
    VlanSettled: "attachment",
    VlanOffered: "attachment",
    VlanChanged: "attachment",
    LeaseBound: "attachment",
    LeaseFailed: "attachment",
    LeaseLost: "attachment",
    LookupRequested: "resolver",
    DhcpAnswerKept: "cache",
    DnsAnswerKept: "cache",
}
