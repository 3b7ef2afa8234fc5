"""The mock site's DHCP, DNS and NTP ports.

Every DHCP server has a socket of its own address, and all of them share the one that
takes broadcasts. On the loopback interface a client without an address cannot be
reached at the address it is about to get: what goes to such a client is broadcast.

Specifications: RFC 2131 section 4.1 (where a reply goes), RFC 1035 section 4.2,
RFC 5905.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from functools import partial

from phonesim.drivers.server_host import ServerHost
from phonesim.drivers.udp_socket import Address, UdpSocket
from phonesim.errors import DecodeError
from phonesim.mocksite.exchange import (
    DhcpReceived,
    DnsReceived,
    Listener,
    MalformedArrived,
    NtpReceived,
    SendDhcpReply,
    SendDnsResponse,
    SendNtpReply,
)
from phonesim.wire.dhcp import (
    BROADCAST,
    SERVER_PORT,
    UNSPECIFIED,
    DhcpMessage,
    decode_dhcp,
    encode_dhcp,
)
from phonesim.wire.dns import decode_query, encode_response
from phonesim.wire.ntp import decode_ntp, encode_ntp

LOOPBACK_BROADCAST = "127.255.255.255"

_TCP_IDLE_SECONDS = 10.0
_FORMERR = b"\x80\x01" + bytes(8)
"""Flags and counts of a response that says only "format error"."""


class DhcpPorts:
    """The site's DHCP servers on the loopback interface, at their own addresses and broadcasts.

    Frames have no tags there: `vlans` says which phones, by MAC, are in a VLAN. Every reply is
    told to `listening`, too, wherever it goes.
    """

    def __init__(
        self,
        servers: Sequence[tuple[Listener, ServerHost]],
        port_offset: int,
        vlans: Mapping[bytes, int] | None = None,
        listening: Sequence[Callable[[SendDhcpReply], None]] = (),
    ) -> None:
        """OSError if a port is taken."""
        self._listening = listening
        self._servers = servers
        self._vlans = {} if vlans is None else vlans
        self._port_offset = port_offset
        self._sockets: list[UdpSocket] = []
        port = SERVER_PORT + port_offset
        try:
            self._sockets.append(
                UdpSocket((LOOPBACK_BROADCAST, port), self._broadcast_arrived, is_busy=True)
            )
            for listener, host in servers:
                own = UdpSocket(
                    (listener.address, listener.port + port_offset),
                    partial(self._arrived, host, listener.address),
                    is_busy=True,
                )
                self._sockets.append(own)
                host.ports.dhcp = partial(self._reply, host, own)
        except OSError:
            self.close()
            raise

    def close(self) -> None:
        """Close every port."""
        for each in self._sockets:
            each.close()

    def _broadcast_arrived(self, data: bytes, address: Address) -> None:
        message = self._read([host for _, host in self._servers], data, address)
        if message is not None:
            event = _received(message, address, BROADCAST)
            vlan_id = self._vlans.get(message.chaddr)
            for listener, host in self._servers:
                if listener.on_vlan == vlan_id:
                    host.deliver(event)

    def _arrived(self, host: ServerHost, own: str, data: bytes, address: Address) -> None:
        message = self._read([host], data, address)
        if message is not None:
            host.deliver(_received(message, address, own))

    def _read(
        self, hosts: Sequence[ServerHost], data: bytes, address: Address
    ) -> DhcpMessage | None:
        try:
            return decode_dhcp(data)
        except DecodeError as error:
            for host in hosts:
                host.deliver(
                    MalformedArrived(protocol="dhcp", source=address[0], reason=str(error))
                )
            return None

    def _reply(self, host: ServerHost, own: UdpSocket, action: SendDhcpReply) -> None:
        message = action.message
        has_no_address = message.ciaddr == UNSPECIFIED and message.giaddr == UNSPECIFIED
        destination = action.destination
        if destination == BROADCAST or has_no_address:
            destination = LOOPBACK_BROADCAST
        address = (destination, action.port + self._port_offset)
        host.unsent(own.send(encode_dhcp(message), address))
        for listener in self._listening:
            listener(action)


class DnsPort:
    """A DNS server, over UDP and TCP."""

    def __init__(self, listener: Listener, host: ServerHost, port_offset: int) -> None:
        """OSError if the UDP port is taken."""
        self._host = host
        self._address = (listener.address, listener.port + port_offset)
        self._udp = UdpSocket(self._address, self._arrived, is_busy=True)
        self._tcp: asyncio.Server | None = None
        self._writers: dict[str, asyncio.StreamWriter] = {}
        host.ports.dns = self._reply

    async def start(self) -> None:
        """Listen on TCP as well; OSError if the port is taken."""
        address, port = self._address
        self._tcp = await asyncio.start_server(self._serve, address, port)

    def close(self) -> None:
        """Close both ports, and the connections."""
        self._udp.close()
        if self._tcp is not None:
            self._tcp.close()
        for writer in self._writers.values():
            writer.close()

    def _arrived(self, data: bytes, address: Address) -> None:
        client = f"{address[0]}:{address[1]}"
        refusal = self._take(data, client, over_tcp=False)
        if refusal is not None:
            self._udp.send(refusal, address)

    def _take(self, data: bytes, client: str, *, over_tcp: bool) -> bytes | None:
        """Deliver a query; return the answer to one that cannot be read."""
        try:
            query = decode_query(data)
        except DecodeError as error:
            self._host.deliver(MalformedArrived(protocol="dns", source=client, reason=str(error)))
            is_query = len(data) >= 3 and not data[2] & 0x80
            return data[:2] + _FORMERR if is_query else None
        self._host.deliver(DnsReceived(query=query, client=client, over_tcp=over_tcp))
        return None

    def _reply(self, action: SendDnsResponse) -> None:
        data = encode_response(action.response)
        if action.over_tcp:
            writer = self._writers.get(action.client)
            if writer is not None:
                writer.write(len(data).to_bytes(2, "big") + data)
            return
        address, _, port = action.client.rpartition(":")
        self._host.unsent(self._udp.send(data, (address, int(port))))

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        address, port = writer.get_extra_info("peername")[:2]
        client = f"{address}:{port}"
        self._writers[client] = writer
        try:
            while True:
                async with asyncio.timeout(_TCP_IDLE_SECONDS):
                    size = int.from_bytes(await reader.readexactly(2), "big")
                    data = await reader.readexactly(size)
                refusal = self._take(data, client, over_tcp=True)
                if refusal is not None:
                    writer.write(len(refusal).to_bytes(2, "big") + refusal)
        except (OSError, TimeoutError, asyncio.IncompleteReadError):
            pass
        finally:
            del self._writers[client]
            writer.close()


class NtpPort:
    """An NTP server."""

    def __init__(self, listener: Listener, host: ServerHost, port_offset: int) -> None:
        """OSError if the port is taken."""
        self._host = host
        address = (listener.address, listener.port + port_offset)
        self._udp = UdpSocket(address, self._arrived, is_busy=True)
        host.ports.ntp = self._reply

    def close(self) -> None:
        """Close the port."""
        self._udp.close()

    def _arrived(self, data: bytes, address: Address) -> None:
        client = f"{address[0]}:{address[1]}"
        try:
            packet = decode_ntp(data)
        except DecodeError as error:
            self._host.deliver(MalformedArrived(protocol="ntp", source=client, reason=str(error)))
            return
        self._host.deliver(NtpReceived(packet=packet, client=client))

    def _reply(self, action: SendNtpReply) -> None:
        address, _, port = action.client.rpartition(":")
        self._host.unsent(self._udp.send(encode_ntp(action.packet), (address, int(port))))


def _received(message: DhcpMessage, address: Address, destination: str) -> DhcpReceived:
    # A client without an address sends from one all the same: the kernel gives it its own.
    source = (
        address[0]
        if message.ciaddr != UNSPECIFIED or message.giaddr != UNSPECIFIED
        else UNSPECIFIED
    )
    return DhcpReceived(message=message, source=source, destination=destination)
