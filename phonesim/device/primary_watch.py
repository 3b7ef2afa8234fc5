"""Looks from the backup Registrar whether the primary one is back.

While the phone is registered elsewhere, it connects to the primary Registrar every so often, TLS
included, and closes the connection at once: it is back when it takes connections. The interval
has a random part, so that a fleet neither looks nor returns as one.

Specifications: device reference section 13. How the real phone finds out is not documented; where
a Registrar sends `preferred-registrar-change` the registration acts on that, too.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import assert_never

import msgspec

from phonesim.config.device_profile import RegistrationConfig
from phonesim.device import device_log as log
from phonesim.device.actions import CloseConnection, OpenConnection, PhoneAction
from phonesim.device.device_log import LogRecord
from phonesim.device.events import (
    ConnectionFailed,
    ConnectionOpened,
    Event,
    LookupAnswered,
    LookupRequested,
    PrimaryAnswered,
    PrimaryUnwanted,
    PrimaryWanted,
    ShutdownRequested,
    TimerExpired,
)
from phonesim.wire.ipv4 import is_address

Output = PhoneAction | Event | LogRecord


class Idle(msgspec.Struct, frozen=True, gc=False):
    """The phone is where it belongs."""


class Waiting(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """Until the next look."""

    look_at: float


class Resolving(msgspec.Struct, frozen=True, gc=False):
    """Its name is being looked up."""


class Connecting(msgspec.Struct, frozen=True, gc=False):
    """A connection is being tried."""


class PrimaryWatch:
    """Takes `PrimaryWanted`, gives `PrimaryAnswered`. Its connection ids are negative."""

    def __init__(
        self, config: RegistrationConfig, rng: random.Random, believed: Callable[[float], float]
    ) -> None:
        self._config = config
        self._rng = rng
        self._believed = believed
        self._wanted: PrimaryWanted | None = None
        self._connection_id = 0
        self.state: Idle | Waiting | Resolving | Connecting = Idle()

    def handle(self, event: Event, now: float) -> list[Output]:
        """Take one event; return actions, log records and events for the phone."""
        match event, self.state:
            case PrimaryWanted(), Idle():
                self._wanted = event
                return self._wait(now)
            case ((PrimaryUnwanted() | ShutdownRequested()), Connecting()):
                self.state = Idle()
                return [CloseConnection(connection_id=self._connection_id)]
            case ((PrimaryUnwanted() | ShutdownRequested()), _):
                self.state = Idle()
                return []
            case TimerExpired(), Waiting(look_at=at) if now >= at:
                return self._look(now)
            case LookupAnswered(), Resolving() if event.records:
                return self._connect(str(event.records[0].data), now)
            case LookupAnswered(), Resolving():
                return [self._probed(f"{event.rcode}, no address"), *self._wait(now)]
            case ConnectionFailed(), Connecting() if self.owns(event.connection_id):
                return [self._probed(event.detail), *self._wait(now)]
            case ConnectionOpened(), Connecting() if self.owns(event.connection_id):
                assert self._wanted is not None
                self.state = Idle()
                return [
                    self._probed("it answers"),
                    CloseConnection(connection_id=self._connection_id),
                    PrimaryAnswered(registrar=self._wanted.registrar),
                ]
            case _:
                return []

    def next_deadline(self) -> tuple[float, str] | None:
        """When to look again."""
        match self.state:
            case Waiting(look_at=at):
                return at, "look for the primary Registrar"
            case Idle() | Resolving() | Connecting():
                return None
            case _:
                assert_never(self.state)

    def owns(self, connection_id: int) -> bool:
        """Whether that connection is the one by which this machine looks."""
        return connection_id < 0 and connection_id == self._connection_id

    def _wait(self, now: float) -> list[Output]:
        share = self._rng.uniform(1, 1 + self._config.reconnect_jitter)
        self.state = Waiting(look_at=now + self._config.return_interval * share)
        return []

    def _look(self, now: float) -> list[Output]:
        assert self._wanted is not None
        host = self._wanted.registrar.host
        if is_address(host):
            return self._connect(host, now)
        self.state = Resolving()
        return [LookupRequested(lookup_id="primary_watch:registrar", qname=host, qtype="A")]

    def _connect(self, address: str, now: float) -> list[Output]:
        wanted = self._wanted
        assert wanted is not None
        registrar = wanted.registrar
        is_tls = registrar.transport == "tls"
        self._connection_id -= 1
        self.state = Connecting()
        return [
            OpenConnection(
                connection_id=self._connection_id,
                source=wanted.source,
                address=address,
                port=registrar.port,
                transport=registrar.transport,
                server_name=registrar.host,
                trust=wanted.chain if is_tls else None,
                clock=self._believed(now),
                timeout=self._config.connect_timeout,
            )
        ]

    def _probed(self, result: str) -> LogRecord:
        assert self._wanted is not None
        return log.PRIMARY_PROBED(self._wanted.registrar.name, result)
