"""The line: a registration, its subscription to in-band provisioning, its way back home.

Joins three machines as `phonesim.device.phone` joins those of a boot: the registration owns
the connection, and what the other two have to say leaves over it or, to look for the primary
Registrar, over one of its own.

A line is usable, and `LineUsable` says with which Registrars, when the phone is registered and
in-band provisioning has come or is missed. It comes again when provisioning changes. From the
first one on, a lost registration, one that was made again, and another Registrar are observed.

Specifications: sign-in reference sections 17 to 21, device reference section 13.
"""

from __future__ import annotations

import random
from collections.abc import Callable

import msgspec

from phonesim.config.device_profile import RegistrationConfig
from phonesim.device import device_log as log
from phonesim.device.actions import PhoneAction
from phonesim.device.device_log import LogRecord
from phonesim.device.events import (
    ConnectionClosed,
    ConnectionFailed,
    ConnectionOpened,
    Event,
    LineUsable,
    LookupAnswered,
    PrimaryAnswered,
    PrimaryUnwanted,
    PrimaryWanted,
    ProvisioningLearned,
    ProvisioningMissed,
    ProvisioningWanted,
    Registered,
    RegistrarAddress,
    RegistrarChanged,
    RegistrationAbandoned,
    RegistrationFailed,
    RegistrationLost,
    RegistrationRegained,
    RegistrationWanted,
    ShutdownRequested,
    SipMessageReceived,
    SipMessageWanted,
    TimerExpired,
)
from phonesim.device.primary_watch import PrimaryWatch
from phonesim.device.registration import Registration
from phonesim.device.subscription import ProvisioningSubscription

Output = PhoneAction | Event | LogRecord
Machine = Registration | ProvisioningSubscription | PrimaryWatch


class Line:
    """Takes `RegistrationWanted`; gives `Registered`, `LineUsable` or `RegistrationFailed`."""

    def __init__(
        self,
        config: RegistrationConfig,
        mac: bytes,
        pin: str,
        user_agent: str,
        rng: random.Random,
        believed: Callable[[float], float],
    ) -> None:
        self._registration = Registration(config, mac, pin, user_agent, rng, believed)
        self._subscription = ProvisioningSubscription(config, user_agent, rng)
        self._primary_watch = PrimaryWatch(config, rng, believed)
        self._machines = (self._registration, self._subscription, self._primary_watch)
        self._wanted: RegistrationWanted | None = None
        self._registrar: RegistrarAddress | None = None
        self._is_usable = False
        self._is_lost = False
        self._awaits_provisioning = False
        self._provisioning: ProvisioningLearned | None = None

    def handle(self, event: Event, now: float) -> list[Output]:
        """Take one event; return actions, log records, and events for the phone."""
        out: list[Output] = []
        match event:
            case SipMessageReceived() if self._subscription.expects(event.message.call_id):
                refused = self._registration.unverified(event.message)
                if refused:
                    out += refused
                else:
                    self._run(self._subscription, event, now, out)
            case ConnectionOpened() | ConnectionFailed() | ConnectionClosed() if (
                event.connection_id < 0
            ):
                self._run(self._primary_watch, event, now, out)
            case LookupAnswered() if event.lookup_id.startswith("primary_watch"):
                self._run(self._primary_watch, event, now, out)
            case TimerExpired():
                for machine in self._machines:
                    deadline = machine.next_deadline()
                    if deadline is not None and deadline[0] <= now:
                        self._run(machine, event, now, out)
            case RegistrationWanted():
                self._wanted = event
                self._registrar = self._provisioning = None
                self._is_usable = self._is_lost = self._awaits_provisioning = False
                self._run(self._registration, event, now, out)
            case RegistrationAbandoned():
                self._leave_registrar(now, out)
                self._run(self._registration, event, now, out)
            case ShutdownRequested():
                for machine in reversed(self._machines):
                    self._run(machine, event, now, out)
            case _:
                self._run(self._registration, event, now, out)
        return out

    def next_deadline(self) -> tuple[float, str] | None:
        """The earliest deadline of the three."""
        earliest: tuple[float, str] | None = None
        for machine in self._machines:  # after every event of a fleet: no list, no generator
            deadline = machine.next_deadline()
            if deadline is not None and (earliest is None or deadline < earliest):
                earliest = deadline
        return earliest

    def _run(self, machine: Machine, event: Event, now: float, out: list[Output]) -> None:
        for result in machine.handle(event, now):
            match result:
                case SipMessageWanted() | PrimaryAnswered():
                    self._run(self._registration, result, now, out)
                case ProvisioningWanted():
                    self._awaits_provisioning = not self._is_usable
                    self._run(self._subscription, result, now, out)
                case ProvisioningLearned():
                    self._provisioning = result
                    self._run(self._registration, result, now, out)
                    self._become_usable(now, out)
                case ProvisioningMissed():
                    if self._awaits_provisioning:
                        self._become_usable(now, out)
                case Registered():
                    self._registered(result, now, out)
                case RegistrationLost():
                    self._leave_registrar(now, out)
                    self._is_lost = True
                    if self._is_usable:
                        out.append(result)
                case RegistrationFailed():
                    self._leave_registrar(now, out)
                    out.append(result)
                case _:
                    out.append(result)

    def _registered(self, event: Registered, now: float, out: list[Output]) -> None:
        before, self._registrar = self._registrar, event.registrar
        was_lost, self._is_lost = self._is_lost, False
        if self._is_usable:
            name = event.registrar.name
            if was_lost:
                out.append(RegistrationRegained(registrar=name))
            if before is not None and before.name != name:
                survivable = "yes" if event.is_survivable else "no"
                out.append(log.REGISTRAR_CHANGED(before.name, name, survivable))
                out.append(
                    RegistrarChanged(
                        previous=before.name, registrar=name, is_survivable=event.is_survivable
                    )
                )
        out.append(event)
        if not self._is_usable and not self._awaits_provisioning:
            self._become_usable(now, out)
        self._watch(now, out)

    def _become_usable(self, now: float, out: list[Output]) -> None:
        assert self._wanted is not None
        if self._registrar is None:
            return
        self._is_usable = True
        self._awaits_provisioning = False
        told = self._provisioning
        registrars = told.registrars if told is not None else ()
        if not registrars:
            # The Registrar in use is tried first the next time.
            here = self._registrar.name
            others = (each for each in self._wanted.registrars if each.name != here)
            registrars = (self._registrar, *others)
        registrars = tuple(
            msgspec.structs.replace(each, addresses=self._registration.addresses(each.host))
            for each in registrars
        )
        web_services = None if told is None else told.web_services
        out.append(
            LineUsable(registrar=self._registrar, registrars=registrars, web_services=web_services)
        )
        self._watch(now, out)

    def _watch(self, now: float, out: list[Output]) -> None:
        """Look for the primary Registrar while the phone is registered at another one."""
        primary = self._registration.primary
        if primary is None or not self._registration.is_elsewhere:
            self._run(self._primary_watch, PrimaryUnwanted(), now, out)
            return
        assert self._wanted is not None
        wanted = PrimaryWanted(
            registrar=primary,
            source=self._wanted.source,
            chain=self._wanted.chain,
        )
        self._run(self._primary_watch, wanted, now, out)

    def _leave_registrar(self, now: float, out: list[Output]) -> None:
        """End what rests on a registration."""
        self._run(self._subscription, RegistrationAbandoned(), now, out)
        self._run(self._primary_watch, PrimaryUnwanted(), now, out)
