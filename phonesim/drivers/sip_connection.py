"""A SIP connection over TCP or TLS: octets to messages, on either side.

`SipConnection` is the protocol that a transport drives; the phone's and the site's
drivers give it a listener. `PhoneConnections` opens the phone's own.

Octets that are no SIP message are told, and the stream goes on behind them where its
framing permits; else the connection is closed.

Specifications: RFC 3261 section 18.3 (framing), RFC 5626 section 3.5.1 (CRLF).
"""

from __future__ import annotations

import asyncio
import os
import socket
import ssl
from collections.abc import Callable
from typing import Protocol, cast

from phonesim.capture import PhoneTap
from phonesim.device.actions import OpenConnection
from phonesim.device.events import (
    ConnectionClosed,
    ConnectionFailed,
    ConnectionOpened,
    Event,
    MalformedReceived,
    SipMessageReceived,
)
from phonesim.device.outcome import ConnectFailure
from phonesim.drivers.failed_connections import tell_failure
from phonesim.drivers.phone_tasks import Spawn
from phonesim.drivers.trust import (
    PhoneTls,
    certificates_shown,
    check_server_name,
    connects_on,
    explain,
)
from phonesim.errors import DecodeError
from phonesim.wire.sip import KeepAlive, SipMessage, SipStream, encode_sip

_KEEP_ALIVE = b"\r\n\r\n"


class SipListener(Protocol):
    """Who is told what happens on a connection."""

    def opened(self, connection: SipConnection) -> None:
        """It is up, its TLS handshake over."""
        ...

    def received(self, connection: SipConnection, message: SipMessage) -> None:
        """A message came."""
        ...

    def kept_alive(self, connection: SipConnection) -> None:
        """CRLFCRLF came."""
        ...

    def malformed(self, connection: SipConnection, reason: str, size: int) -> None:
        """Octets came that are no SIP message."""
        ...

    def closed(self, connection: SipConnection, detail: str) -> None:
        """It ended without our asking."""
        ...


class SipConnection(asyncio.Protocol):
    """One connection, named `connection_id`; `peer` is the other end's address and port.

    `tap`, if any, is the phone's; it knows the ports without `port_offset`.
    """

    def __init__(
        self,
        connection_id: int,
        listener: SipListener,
        tap: PhoneTap | None = None,
        port_offset: int = 0,
    ) -> None:
        self.connection_id = connection_id
        self.peer: tuple[str, int] = ("", 0)
        self.local: tuple[str, int] = ("", 0)
        self.is_open = False
        self._listener = listener
        self._tap = tap
        self._port_offset = port_offset
        self._stream = SipStream(None if tap is None else self._saw)
        self._transport: asyncio.Transport | None = None
        self._detail = "closed by the other side"

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Take the transport: TLS is already through its handshake."""
        self._transport = cast(asyncio.Transport, transport)  # uvloop's have a base of their own
        self.peer = transport.get_extra_info("peername")[:2]
        self.local = transport.get_extra_info("sockname")[:2]
        self.is_open = True
        self._listener.opened(self)

    def data_received(self, data: bytes) -> None:
        """Cut what came into messages."""
        size = len(data)
        while self.is_open:
            try:
                items = self._stream.feed(data)
            except DecodeError as error:
                self._listener.malformed(self, str(error), size)
                if self._stream.framing_lost:
                    self._fail("its SIP messages could not be told apart any more")
                    return
            else:
                if not items:
                    return
                for item in items:
                    self._take(item)
            data = b""

    def connection_lost(self, exc: Exception | None) -> None:
        """The transport is gone."""
        was_open, self.is_open = self.is_open, False
        self._transport = None
        if was_open:
            self._listener.closed(self, self._detail if exc is None else explain(exc)[1])

    def send(self, message: SipMessage) -> None:
        """Send a message, if the connection is still open."""
        self._write(encode_sip(message))

    def send_keep_alive(self) -> None:
        """Send CRLFCRLF."""
        self._write(_KEEP_ALIVE)

    def close(self) -> None:
        """Close it, which takes TLS a moment; the listener is not told."""
        self.is_open = False
        if self._transport is not None:
            self._transport.close()

    @property
    def is_gone(self) -> bool:
        """Whether it is closed, and nothing of it is left."""
        return self._transport is None

    def abort(self) -> None:
        """Drop it at once; the listener is not told."""
        self.is_open = False
        if self._transport is not None:
            self._transport.abort()

    def tell_end(self) -> None:
        """Tell the tap that the other side has closed it."""
        if self._tap is not None:
            self._tap.ended(self.local, self._peer())

    def _write(self, octets: bytes) -> None:
        if self.is_open and self._transport is not None:
            if self._tap is not None:
                self._tap.sent_message("sip", self.local, self._peer(), octets)
            self._transport.write(octets)

    def _saw(self, octets: bytes) -> None:
        assert self._tap is not None
        self._tap.received_message("sip", self.local, self._peer(), octets)

    def _peer(self) -> tuple[str, int]:
        return self.peer[0], self.peer[1] - self._port_offset

    def _take(self, item: SipMessage | KeepAlive) -> None:
        if not self.is_open:
            return
        if isinstance(item, KeepAlive):
            if item.is_ping:
                self._listener.kept_alive(self)
        else:
            self._listener.received(self, item)

    def _fail(self, detail: str) -> None:
        if self.is_open and self._transport is not None:
            self._detail = detail
            self._transport.abort()


class PhoneConnections:
    """The connections of one phone; `deliver` takes its events.

    `spawn` begins a task; `tap` is told every message.
    """

    def __init__(
        self,
        port_offset: int,
        tls: PhoneTls,
        deliver: Callable[[Event], None],
        spawn: Spawn,
        tap: PhoneTap | None = None,
    ) -> None:
        self._tap = tap
        self._port_offset = port_offset
        self._tls = tls
        self._deliver = deliver
        self._spawn = spawn
        self._connections: dict[int, SipConnection] = {}
        self._closing: list[SipConnection] = []
        self._opening: dict[int, asyncio.Task[None]] = {}

    def open(self, action: OpenConnection) -> None:
        """Begin to connect."""
        number = action.connection_id
        task = self._spawn(self._open(action))
        self._opening[number] = task
        task.add_done_callback(lambda _: self._opening.pop(number, None))

    def find(self, connection_id: int) -> SipConnection | None:
        """The open connection of that id."""
        return self._connections.get(connection_id)

    def close(self, connection_id: int) -> None:
        """Close one, open or not yet; no event follows."""
        task = self._opening.get(connection_id)
        if task is not None:
            task.cancel()
        connection = self._connections.pop(connection_id, None)
        if connection is not None:
            connection.close()
            self._closing = [each for each in self._closing if not each.is_gone]
            self._closing.append(connection)

    def abort(self) -> None:
        """Drop them all; no event follows."""
        for task in self._opening.values():
            task.cancel()
        for connection in (*self._connections.values(), *self._closing):
            connection.abort()
        self._connections.clear()
        self._closing.clear()

    def opened(self, connection: SipConnection) -> None:
        """Tell the phone."""
        self._connections[connection.connection_id] = connection
        address, port = connection.local
        self._deliver(
            ConnectionOpened(
                connection_id=connection.connection_id, local_address=address, local_port=port
            )
        )

    def received(self, connection: SipConnection, message: SipMessage) -> None:
        """Tell the phone."""
        self._deliver(SipMessageReceived(connection_id=connection.connection_id, message=message))

    def kept_alive(self, connection: SipConnection) -> None:
        """A server's CRLFCRLF asks nothing of a phone."""

    def malformed(self, connection: SipConnection, reason: str, size: int) -> None:
        """Tell the phone."""
        source = connection.peer[0]
        self._deliver(MalformedReceived(protocol="sip", source=source, reason=reason, size=size))

    def closed(self, connection: SipConnection, detail: str) -> None:
        """Tell the phone."""
        self._connections.pop(connection.connection_id, None)
        connection.tell_end()
        self._deliver(ConnectionClosed(connection_id=connection.connection_id, detail=detail))

    async def _open(self, action: OpenConnection) -> None:
        connection = SipConnection(action.connection_id, self, self._tap, self._port_offset)
        try:
            context = None
            if action.transport == "tls":
                check_server_name(action.server_name)
                context = self._tls.context(action.trust, action.clock)
            async with asyncio.timeout(action.timeout):
                await self._connect(action, connection, context)
        except TimeoutError:
            text = f"no connection within {action.timeout:.0f} s"
            self._failed(action, connection, ConnectFailure.TIMEOUT, text)
        except (OSError, ValueError) as error:
            self._failed(action, connection, *explain(error))

    async def _connect(
        self, action: OpenConnection, connection: SipConnection, context: ssl.SSLContext | None
    ) -> None:
        loop = asyncio.get_running_loop()
        own = socket.socket(socket.AF_INET, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
        try:
            own.bind((action.source, 0))
            await _connect_socket(own, (action.address, action.port + self._port_offset))
        except BaseException:
            own.close()
            raise
        connects_on(own)
        await loop.create_connection(
            lambda: connection,
            ssl=context,
            sock=own,
            server_hostname=action.server_name if context is not None else None,
        )

    def _failed(
        self,
        action: OpenConnection,
        connection: SipConnection,
        failure: ConnectFailure,
        detail: str,
    ) -> None:
        if action.connection_id in self._connections or connection.is_open:
            return  # it was up already: `closed` tells its end
        if self._tap is not None:
            version = self._tls.newest_version
            tell_failure(self._tap, action, failure, certificates_shown(), version)
        self._deliver(
            ConnectionFailed(
                connection_id=action.connection_id,
                failure=failure,
                detail=f"{action.address}:{action.port}: {detail}",
            )
        )


async def _connect_socket(own: socket.socket, peer: tuple[str, int]) -> None:
    """Connect to an address, for which uvloop's own `sock_connect` asks a resolver's thread."""
    try:
        own.connect(peer)
    except BlockingIOError:
        loop = asyncio.get_running_loop()
        is_writable = asyncio.Event()
        loop.add_writer(own, is_writable.set)
        try:
            await is_writable.wait()
        finally:
            loop.remove_writer(own)
        error = own.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
        if error:
            raise OSError(error, os.strerror(error)) from None
