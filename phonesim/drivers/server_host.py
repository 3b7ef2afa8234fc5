"""One server of the mock site in a world of real sockets.

Hands the server one event at a time and performs what it asks for through the
`ServerPorts` that its listeners registered. One timer of the loop stands for its next
deadline. A server whose machine raises is a defect of this program: it ends the run.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from typing import Protocol

import msgspec

from phonesim.drivers.refusals import Refusals
from phonesim.drivers.sip_connection import SipConnection
from phonesim.mocksite import exchange as on
from phonesim.world import SiteObserver


class StoppablePort(Protocol):
    """A port that goes down with its server."""

    def go_down(self) -> None:
        """Close the port and drop its connections, of which the server is told."""
        ...

    def come_back(self) -> None:
        """Open it again."""
        ...


class ServerPorts(msgspec.Struct):
    """Where a server's actions go; each is set by the listener that serves it.

    `streams` are its TCP ports. Those of datagrams stay open when it goes down: it hears nothing.
    `show` are told which kind of certificate TLS ports show from now on.
    """

    lldp: Callable[[on.SendLldp], None] | None = None
    dhcp: Callable[[on.SendDhcpReply], None] | None = None
    dns: Callable[[on.SendDnsResponse], None] | None = None
    ntp: Callable[[on.SendNtpReply], None] | None = None
    exchanges: dict[int, asyncio.Future[on.SendHttpResponse]] = {}
    connections: dict[int, SipConnection] = {}
    streams: list[StoppablePort] = []
    show: list[Callable[[str], None]] = []


class ServerHost:
    """A server named `name`; `clock` gives seconds since the run began.

    `failed` is called with what the server's machine raised.
    """

    def __init__(
        self,
        name: str,
        server: on.Server,
        observer: SiteObserver,
        clock: Callable[[], float],
        failed: Callable[[Exception], None],
    ) -> None:
        self.name = name
        self.ports = ServerPorts()
        self._server = server
        self._observer = observer
        self._clock = clock
        self._failed = failed
        self._loop = asyncio.get_running_loop()
        self._events: deque[on.ServerEvent] = deque()
        self._is_handling = False
        self._last_id = 0
        self._refusals = Refusals(name, "an answer could not be sent", observer, clock)
        self._wake_at: float | None = None
        self._timer: asyncio.TimerHandle | None = None

    def start(self) -> None:
        """Begin to keep the server's deadlines."""
        self._arm()

    def broke(self, error: Exception) -> None:
        """End the run: what serves this server has failed."""
        self._failed(error)

    def new_id(self) -> int:
        """An id for an exchange or a connection, unique at this server."""
        self._last_id += 1
        return self._last_id

    def deliver(self, event: on.ServerEvent) -> None:
        """Hand the server an event, now or after the one it is handling."""
        self._events.append(event)
        if self._is_handling:
            return
        self._is_handling = True
        try:
            while self._events:
                for action in self._server.handle(self._events.popleft(), self._clock()):
                    self._perform(action)
            self._arm()
        except Exception as error:
            self._failed(error)
        finally:
            self._is_handling = False

    def unsent(self, error: OSError | None) -> None:
        """Report each kind of refusal by the local network stack once."""
        if error is not None:
            self._refusals.met(error)

    def close(self) -> None:
        """Stop the timer."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _arm(self) -> None:
        deadline = self._server.next_deadline()
        at = None if deadline is None or deadline[0] == float("inf") else deadline[0]
        if at == self._wake_at and self._timer is not None:
            return
        self.close()
        self._wake_at = at
        if at is not None:
            self._timer = self._loop.call_later(max(0.0, at - self._clock()), self._wake)

    def _wake(self) -> None:
        self._timer = None
        early = 0.0 if self._wake_at is None else self._wake_at - self._clock()
        if early > 0:  # the loop's clock is coarser than ours
            self._timer = self._loop.call_later(early, self._wake)
        else:
            self.deliver(on.ServerTimerExpired())

    def _perform(self, action: on.ServerAction) -> None:
        ports = self.ports
        match action:
            case on.SendLldp() if ports.lldp is not None:
                ports.lldp(action)
            case on.SendDhcpReply() if ports.dhcp is not None:
                ports.dhcp(action)
            case on.SendDnsResponse() if ports.dns is not None:
                ports.dns(action)
            case on.SendNtpReply() if ports.ntp is not None:
                ports.ntp(action)
            case on.SendHttpResponse():
                answer = ports.exchanges.pop(action.exchange_id, None)
                if answer is not None and not answer.done():
                    answer.set_result(action)
            case on.SendSipToClient():
                connection = ports.connections.get(action.connection_id)
                if connection is not None:
                    connection.send(action.message)
            case on.CloseClientConnection():
                connection = ports.connections.pop(action.connection_id, None)
                if connection is not None:
                    connection.close()
            case on.ClosePorts():
                for port in ports.streams:
                    port.go_down()
            case on.OpenPorts():
                for port in ports.streams:
                    port.come_back()
            case on.ChangeCertificate():
                for show in ports.show:
                    show(action.certificate)
            case on.Report():
                self._observer.report(
                    self.name, action.text, action.fields, action.is_warning, self._clock()
                )
            case _:
                raise TypeError(f"{self.name} has no port for {type(action).__name__}")
