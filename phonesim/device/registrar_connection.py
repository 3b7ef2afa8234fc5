"""The connection of a registration: to one Registrar after another, at one address after another.

A Registrar's name is looked up, and its addresses are tried in the order of the answer until one
takes the connection. Where DNS does not answer, they are those that the name had when the phone
last registered there; where DNS says that there is none, it is believed. Whatever is sent over
an open connection keeps it alive; when nothing is for the time that the Registrar named,
CRLFCRLF does.

Specifications: RFC 5626 section 4.4.1 (keep-alive), [MS-CONMGMT], device reference section 13.
"""

from __future__ import annotations

from collections.abc import Callable

import msgspec

from phonesim.config.device_profile import RegistrationConfig
from phonesim.device import device_log as log
from phonesim.device.actions import (
    CloseConnection,
    OpenConnection,
    PhoneAction,
    SendKeepAlive,
    SendSip,
)
from phonesim.device.device_log import LogRecord
from phonesim.device.events import (
    CertificateIssued,
    ConnectionClosed,
    ConnectionFailed,
    ConnectionOpened,
    Event,
    LookupAnswered,
    LookupRequested,
    RegistrarAddress,
    RegistrarUnreachable,
    RegistrationWanted,
)
from phonesim.device.outcome import PEER_REASONS, ConnectFailure, FailureReason
from phonesim.wire.ipv4 import is_address
from phonesim.wire.sip import SipMessage

Output = PhoneAction | Event | LogRecord

CONNECT_REASONS = {
    ConnectFailure.REFUSED: FailureReason.REGISTRAR_REFUSED,
    ConnectFailure.UNREACHABLE: FailureReason.REGISTRAR_REFUSED,
    ConnectFailure.CLOSED: FailureReason.REGISTRAR_REFUSED,
    ConnectFailure.TIMEOUT: FailureReason.REGISTRAR_TIMEOUT,
    **PEER_REASONS,
}
"""What a connection that could not be had means here."""


class Closed(msgspec.Struct, frozen=True, gc=False):
    """There is no connection, and none is wanted."""


class Resolving(msgspec.Struct, frozen=True, gc=False):
    """The Registrar's name is being looked up."""


class Connecting(msgspec.Struct, frozen=True, gc=False):
    """TCP, and TLS if the Registrar wants it, is being set up."""


class Open(msgspec.Struct, frozen=True, gc=False):
    """Messages can be sent."""


class RegistrarConnection:
    """Begun with `reach`; gives `ConnectionOpened` on, or says `RegistrarUnreachable`.

    It gives `ConnectionClosed` on, too, if that closed its open connection: events of others, or
    that crossed its own close, are dropped. `RegistrationWanted` and `CertificateIssued` tell it
    from where to connect, and what to trust.
    """

    __slots__ = (
        "_believed",
        "_chain",
        "_config",
        "_keep_alive_interval",
        "_known",
        "_number",
        "_registrar",
        "_resolved",
        "_source",
        "_untried",
        "keep_alive_at",
        "state",
    )

    def __init__(self, config: RegistrationConfig, believed: Callable[[float], float]) -> None:
        self._config = config
        self._believed = believed
        self._source = ""
        self._chain = b""
        self._registrar: RegistrarAddress
        self._resolved: tuple[str, ...] = ()
        self._untried: tuple[str, ...] = ()
        self._known: dict[str, tuple[str, ...]] = {}
        self._number = 0
        self._keep_alive_interval = config.keep_alive_interval
        self.keep_alive_at = 0.0
        self.state: Closed | Resolving | Connecting | Open = Closed()

    def handle(self, event: Event, now: float) -> list[Output]:
        """Take one event; return actions, log records, and what became of the connection."""
        match event:
            case ConnectionClosed() if self.carries(event.connection_id):
                self.state = Closed()
                return [event]
            case ConnectionOpened() if self._is_connecting(event.connection_id):
                self.state = Open()
                self._keep_alive_interval = self._config.keep_alive_interval
                local = f"{event.local_address}:{event.local_port}"
                return [log.REGISTRAR_CONNECTED(self._registrar.name, local), event]
            case ConnectionFailed() if self._is_connecting(event.connection_id):
                return self._not_connected(event, now)
            case LookupAnswered():
                return self._looked_up(event, now)
            case RegistrationWanted():
                self._source = event.source
                self._chain = event.chain
                self._known = {
                    each.host: each.addresses for each in event.registrars if each.addresses
                }
                return []
            case CertificateIssued():
                self._chain = event.chain
                return []
            case _:
                return []

    def _is_connecting(self, connection_id: int) -> bool:
        return connection_id == self._number and isinstance(self.state, Connecting)

    # --- getting it ---

    def reach(self, registrar: RegistrarAddress, now: float) -> list[Output]:
        """Connect to that Registrar."""
        self._registrar = registrar
        if is_address(registrar.host):  # as a 301 may name its target
            return self._connect_to_any((registrar.host,), now)
        self.state = Resolving()
        return [
            LookupRequested(lookup_id="registration:registrar", qname=registrar.host, qtype="A")
        ]

    def _looked_up(self, event: LookupAnswered, now: float) -> list[Output]:
        if not isinstance(self.state, Resolving) or event.qname != self._registrar.host:
            return []
        name = self._registrar.name
        resolved = tuple(str(record.data) for record in event.records)
        if resolved:
            return self._connect_to_any(resolved, now)
        detail = f"{event.qname}: {event.rcode}, no address"
        if event.rcode not in ("NXDOMAIN", "NOERROR"):
            resolved = self.addresses(event.qname)
        if resolved:
            remembered = log.REGISTRAR_REMEMBERED(name, "+".join(resolved), detail)
            return [remembered, *self._connect_to_any(resolved, now)]
        self.state = Closed()
        return [
            log.REGISTRAR_FAILED(name, "unresolved", detail),
            RegistrarUnreachable(reason=FailureReason.REGISTRAR_NAME_UNRESOLVED, detail=detail),
        ]

    def _connect_to_any(self, addresses: tuple[str, ...], now: float) -> list[Output]:
        self._resolved = self._untried = addresses
        return self._connect(now)

    def _connect(self, now: float) -> list[Output]:
        registrar, address = self._registrar, self._untried[0]
        self._untried = self._untried[1:]
        self._number += 1
        self.state = Connecting()
        return [
            log.REGISTRAR_CONNECTING(
                registrar.name, address, registrar.transport, registrar.source
            ),
            OpenConnection(
                connection_id=self._number,
                source=self._source,
                address=address,
                port=registrar.port,
                transport=registrar.transport,
                server_name=registrar.host,
                trust=self._chain if registrar.transport == "tls" else None,
                clock=self._believed(now),
                timeout=self._config.connect_timeout,
            ),
        ]

    def _not_connected(self, event: ConnectionFailed, now: float) -> list[Output]:
        name = self._registrar.name
        failed = log.REGISTRAR_FAILED(name, event.failure, event.detail)
        if self._untried:
            return [failed, *self._connect(now)]
        self.state = Closed()
        reason = CONNECT_REASONS[event.failure]
        return [failed, RegistrarUnreachable(reason=reason, detail=f"{name}: {event.detail}")]

    # --- having it ---

    @property
    def is_open(self) -> bool:
        """Whether messages can be sent."""
        return isinstance(self.state, Open)

    def carries(self, connection_id: int) -> bool:
        """Whether that connection is this one, and open."""
        return connection_id == self._number and isinstance(self.state, Open)

    def send(self, message: SipMessage, now: float) -> SendSip:
        """The one way out: whatever is sent keeps the connection alive, too."""
        self.keep_alive_at = now + self._keep_alive_interval
        return SendSip(connection_id=self._number, message=message)

    def keep_alive(self, now: float) -> SendKeepAlive:
        """Send CRLFCRLF, as is due at `keep_alive_at`."""
        self.keep_alive_at = now + self._keep_alive_interval
        return SendKeepAlive(connection_id=self._number)

    def keep_alive_within(self, timeout: int | None, now: float) -> None:
        """The Registrar has answered; it closes what is silent for `timeout` seconds, if any."""
        if timeout is not None:
            # Earlier than the server's limit, so that a slow network does not cost the flow.
            self._keep_alive_interval = max(1.0, timeout * 0.8)
        self.keep_alive_at = now + self._keep_alive_interval

    def remember(self) -> None:
        """Keep the addresses of this Registrar: it accepted the registration."""
        self._known[self._registrar.host] = self._resolved

    def addresses(self, host: str) -> tuple[str, ...]:
        """The addresses that a Registrar's name had when the phone last registered there."""
        return self._known.get(host, ())

    def close(self) -> list[Output]:
        """Want no connection any more."""
        before, self.state = self.state, Closed()
        if isinstance(before, Connecting | Open):
            return [CloseConnection(connection_id=self._number)]
        return []
