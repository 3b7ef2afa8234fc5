"""A phone's DNS and NTP exchanges, over sockets bound to the phone's own address.

One UDP socket serves both, from a port of the kernel's choice; it closes when it has
been idle, and with the phone's address. Answers are told apart by the port they come
from. What is not answered makes no event: the phone has timers for that.

Specifications: RFC 1035 section 4.2 (UDP, and TCP's length prefix), RFC 5905.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from phonesim.capture import PhoneTap
from phonesim.device.actions import SendDns, SendNtp
from phonesim.device.events import (
    DnsResponseReceived,
    Event,
    MalformedReceived,
    NtpPacketReceived,
)
from phonesim.drivers.phone_tasks import Spawn
from phonesim.drivers.udp_socket import Address, UdpSocket
from phonesim.errors import DecodeError
from phonesim.wire.dns import DNS_PORT, decode_response, encode_query
from phonesim.wire.ntp import NTP_PORT, decode_ntp, encode_ntp

IDLE_SECONDS = 15.0
"""How long an unused socket stays open: longer than any answer is waited for."""

_TCP_TIMEOUT = 10.0


class Datagrams:
    """The exchanges of one phone.

    `port_offset` is added to the standard ports; `deliver` takes the events and
    `unsent` the errors of the local network stack; `spawn` begins a task; `tap` is told
    every datagram.
    """

    def __init__(
        self,
        port_offset: int,
        deliver: Callable[[Event], None],
        unsent: Callable[[OSError], None],
        spawn: Spawn,
        tap: PhoneTap | None = None,
    ) -> None:
        self._tap = tap
        self._port_offset = port_offset
        self._deliver = deliver
        self._unsent = unsent
        self._spawn = spawn
        self._socket: UdpSocket | None = None
        self._source = ""
        self._used_at = 0.0
        self._idle_check: asyncio.TimerHandle | None = None
        self._exchanges: set[asyncio.Task[None]] = set()

    def send_dns(self, action: SendDns) -> None:
        """Send a query."""
        try:
            data = encode_query(action.query)
        except ValueError:
            return  # no DNS message can hold such a name, so no server knows it
        if action.over_tcp:
            task = self._spawn(self._ask_over_tcp(action, data))
            self._exchanges.add(task)
            task.add_done_callback(self._exchanges.discard)
        else:
            self._send(action.source, data, (action.server, DNS_PORT + self._port_offset))

    def send_ntp(self, action: SendNtp) -> None:
        """Send a packet."""
        data = encode_ntp(action.packet)
        self._send(action.source, data, (action.server, NTP_PORT + self._port_offset))

    def close(self) -> None:
        """End every exchange and close the socket; it opens again when it is needed."""
        for task in self._exchanges:
            task.cancel()
        if self._socket is not None:
            self._socket.close()
            self._socket = None
        if self._idle_check is not None:
            self._idle_check.cancel()
            self._idle_check = None

    def _send(self, source: str, data: bytes, address: Address) -> None:
        loop = asyncio.get_running_loop()
        if self._socket is not None and self._source != source:
            self._socket.close()
            self._socket = None
        if self._socket is None:
            try:
                self._socket = UdpSocket((source, 0), self._received)
            except OSError as error:
                self._unsent(error)
                return
            self._source = source
        problem = self._socket.send(data, address)
        if problem is not None:
            self._unsent(problem)
        elif self._tap is not None:
            peer = (address[0], address[1] - self._port_offset)
            self._tap.sent_datagram(self._socket.address, peer, data)
        self._used_at = loop.time()
        if self._idle_check is None:
            self._idle_check = loop.call_later(IDLE_SECONDS, self._check_idle)

    def _check_idle(self) -> None:
        loop = asyncio.get_running_loop()
        left = self._used_at + IDLE_SECONDS - loop.time()
        if left > 0:
            self._idle_check = loop.call_later(left, self._check_idle)
            return
        self._idle_check = None
        if self._socket is not None:
            self._socket.close()
            self._socket = None

    def _received(self, data: bytes, address: Address) -> None:
        server, port = address
        port -= self._port_offset
        if self._tap is not None and self._socket is not None:
            self._tap.received_datagram(self._socket.address, (server, port), data)
        if port == DNS_PORT:
            self._deliver(read_dns(data, server, over_tcp=False))
        elif port == NTP_PORT:
            self._deliver(_read_ntp(data, server))

    async def _ask_over_tcp(self, action: SendDns, data: bytes) -> None:
        try:
            async with asyncio.timeout(_TCP_TIMEOUT):
                reader, writer = await asyncio.open_connection(
                    action.server,
                    DNS_PORT + self._port_offset,
                    local_addr=(action.source, 0),
                )
                local, server = writer.get_extra_info("sockname"), (action.server, DNS_PORT)
                try:
                    framed = len(data).to_bytes(2, "big") + data
                    if self._tap is not None:
                        self._tap.sent_message("dns", local, server, framed)
                    writer.write(framed)
                    size = await reader.readexactly(2)
                    answer = await reader.readexactly(int.from_bytes(size, "big"))
                    if self._tap is not None:
                        self._tap.received_message("dns", local, server, size + answer)
                finally:
                    writer.close()
        except (OSError, TimeoutError, asyncio.IncompleteReadError):
            return
        self._deliver(read_dns(answer, action.server, over_tcp=True))


def read_dns(data: bytes, server: str, *, over_tcp: bool) -> Event:
    """The event that a datagram or message from a DNS server is."""
    try:
        response = decode_response(data)
    except DecodeError as error:
        return _malformed("dns", data, server, error)
    return DnsResponseReceived(response=response, server=server, over_tcp=over_tcp)


def _read_ntp(data: bytes, server: str) -> Event:
    try:
        packet = decode_ntp(data)
    except DecodeError as error:
        return _malformed("ntp", data, server, error)
    return NtpPacketReceived(packet=packet, server=server)


def _malformed(protocol: str, data: bytes, source: str, error: DecodeError) -> Event:
    return MalformedReceived(protocol=protocol, source=source, reason=str(error), size=len(data))
