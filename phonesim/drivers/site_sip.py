"""The mock site's SIP ports."""

from __future__ import annotations

import asyncio
import ssl

from phonesim.drivers.server_host import ServerHost
from phonesim.drivers.sip_connection import SipConnection
from phonesim.mocksite.exchange import (
    ConnectionAccepted,
    ConnectionLost,
    KeepAliveReceived,
    Listener,
    MalformedArrived,
    SipReceived,
)
from phonesim.wire.sip import SipMessage

_BACKLOG = 1024


class SipPort:
    """One SIP port of a registrar."""

    def __init__(self, listener: Listener, host: ServerHost) -> None:
        self._listener = listener
        self._host = host
        self._port: asyncio.Server | None = None
        self._reopening: asyncio.Task[None] | None = None

    async def start(self, port_offset: int, context: ssl.SSLContext | None) -> None:
        """Listen; OSError if the port is taken."""

        def open_again() -> None:
            self._reopening = asyncio.ensure_future(self._listen(port_offset, context))
            self._reopening.add_done_callback(self._reopened)

        self._host.ports.close = self._go_down
        self._host.ports.open_again = open_again
        await self._listen(port_offset, context)

    async def _listen(self, port_offset: int, context: ssl.SSLContext | None) -> None:
        self._port = await asyncio.get_running_loop().create_server(
            lambda: SipConnection(self._host.new_id(), self),
            self._listener.address,
            self._listener.port + port_offset,
            ssl=context,
            backlog=_BACKLOG,
        )

    def close(self) -> None:
        """Close the port and drop its connections."""
        if self._reopening is not None:
            self._reopening.cancel()
        if self._port is not None:
            self._port.close()
            self._port = None
        for connection in list(self._host.ports.connections.values()):
            connection.abort()
        self._host.ports.connections.clear()

    def _go_down(self) -> None:
        """As `close`, and tell the registrar which connections it has lost."""
        lost = list(self._host.ports.connections)
        self.close()
        for number in lost:
            self._host.deliver(ConnectionLost(connection_id=number))

    def _reopened(self, task: asyncio.Task[None]) -> None:
        error = None if task.cancelled() else task.exception()
        if isinstance(error, Exception):
            self._host.broke(error)

    def opened(self, connection: SipConnection) -> None:
        """Tell the registrar."""
        number = connection.connection_id
        self._host.ports.connections[number] = connection
        address, port = connection.peer
        self._host.deliver(
            ConnectionAccepted(
                connection_id=number,
                peer=address,
                peer_port=port,
                transport="tls" if self._listener.protocol == "sips" else "tcp",
            )
        )

    def received(self, connection: SipConnection, message: SipMessage) -> None:
        """Tell the registrar."""
        self._host.deliver(SipReceived(connection_id=connection.connection_id, message=message))

    def kept_alive(self, connection: SipConnection) -> None:
        """Tell the registrar."""
        self._host.deliver(KeepAliveReceived(connection_id=connection.connection_id))

    def malformed(self, connection: SipConnection, reason: str, size: int) -> None:
        """Tell the registrar."""
        source = f"{connection.peer[0]}:{connection.peer[1]}"
        self._host.deliver(MalformedArrived(protocol="sip", source=source, reason=reason))

    def closed(self, connection: SipConnection, detail: str) -> None:
        """Tell the registrar."""
        self._host.ports.connections.pop(connection.connection_id, None)
        self._host.deliver(ConnectionLost(connection_id=connection.connection_id))
