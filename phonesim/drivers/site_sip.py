"""The mock site's SIP ports."""

from __future__ import annotations

import ssl

from phonesim.drivers.server_host import ServerHost
from phonesim.drivers.sip_connection import SipConnection
from phonesim.drivers.stream_port import StreamPort
from phonesim.mocksite.exchange import (
    ConnectionAccepted,
    ConnectionLost,
    KeepAliveReceived,
    Listener,
    MalformedArrived,
    SipReceived,
)
from phonesim.wire.sip import SipMessage


class SipPort:
    """One SIP port of a registrar."""

    def __init__(self, listener: Listener, host: ServerHost) -> None:
        self._listener = listener
        self._host = host
        self._port: StreamPort | None = None

    async def start(self, port_offset: int, context: ssl.SSLContext | None) -> None:
        """Listen; OSError if the port is taken."""
        host = self._host
        address = (self._listener.address, self._listener.port + port_offset)
        self._port = StreamPort(
            lambda: SipConnection(host.new_id(), self), address, context, host.broke
        )
        await self._port.open()
        host.ports.streams.append(self)

    def close(self) -> None:
        """Close the port and drop its connections."""
        if self._port is not None:
            self._port.close()
        for connection in list(self._host.ports.connections.values()):
            connection.abort()
        self._host.ports.connections.clear()

    def go_down(self) -> None:
        """As `close`, and tell the registrar which connections it has lost."""
        lost = list(self._host.ports.connections)
        self.close()
        for number in lost:
            self._host.deliver(ConnectionLost(connection_id=number))

    def come_back(self) -> None:
        """Listen again."""
        if self._port is not None:
            self._port.open_again()

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
