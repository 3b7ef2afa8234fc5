"""One DHCP client on a network that is there: frames on an interface, or UDP to one server.

On an interface the client sends from the address that the host has there, or another one, to
everybody, and sees every DHCP answer that comes by, wherever it was sent; the host's own DHCP
client keeps its port. To one server it sends from port 68 of an address of the host, which no
other client may have then.

Specifications: RFC 2131 sections 4.1 and 4.4.3; packet(7).
"""

from __future__ import annotations

import asyncio
import errno
import socket
from collections.abc import Callable
from typing import Protocol

import msgspec
from pyroute2 import IPRoute

from phonesim.device.actions import SendDhcp
from phonesim.device.events import Event, MalformedReceived, TimerExpired
from phonesim.drivers.client_events import ClientStarted, DhcpMessageSeen
from phonesim.drivers.packet_socket import PacketSocket, dhcp_program
from phonesim.drivers.udp_socket import Address, UdpSocket
from phonesim.errors import DecodeError, UsageError
from phonesim.wire.dhcp import CLIENT_PORT, SERVER_PORT, decode_dhcp, encode_dhcp
from phonesim.wire.frame import BROADCAST_MAC, UdpFrame, decode_udp_frame, encode_udp_frame

_NO_MAC = bytes(6)


class LinkEnd(msgspec.Struct, frozen=True):
    """An interface of the host: its name, index, MAC and IPv4 addresses."""

    name: str
    index: int
    mac: bytes
    addresses: tuple[str, ...]


class DhcpClient(Protocol):
    """What speaks over a link. Times are monotonic seconds."""

    def handle(self, event: Event, now: float) -> list[SendDhcp]:
        """Take `ClientStarted`, `DhcpMessageSeen`, `MalformedReceived` or `TimerExpired`."""

    def next_deadline(self) -> tuple[float, str] | None:
        """Return when something is due, and what; None when it is over."""


class _Link(Protocol):
    def send(self, action: SendDhcp) -> OSError | None: ...

    def close(self) -> None: ...


Received = Callable[[bytes, str, str], None]
"""Takes the octets of a message, where they came from, and where they were sent."""


def look_up_link(name: str) -> LinkEnd:
    """The interface of that name; `UsageError` if a client cannot use it.

    Not to be called on an event loop.
    """
    with IPRoute() as netlink:
        found = list(netlink.link_lookup(ifname=name))
        if not found:
            raise UsageError(f"interface {name}: there is none of that name")
        (link,) = netlink.get_links(found[0])
        addresses = [
            str(each.get("local") or each.get("address"))
            for each in netlink.get_addr(socket.AF_INET, index=found[0])
        ]
        mac = bytes.fromhex((link.get("address") or "").replace(":", ""))
        if link["state"] != "up":
            raise UsageError(f"interface {name}: it is down; bring it up (ip link set {name} up)")
    if len(mac) != len(_NO_MAC) or mac == _NO_MAC:
        raise UsageError(f"interface {name}: it is no Ethernet interface")
    return LinkEnd(name, found[0], mac, tuple(addresses))


def source_towards(server: str) -> str:
    """The address from which the host reaches `server`; `UsageError` if it does not."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect((server, SERVER_PORT))
        except OSError as error:
            raise UsageError(f"--server {server}: {error.strerror}; is there a route?") from None
        return str(probe.getsockname()[0])


def ask_on_interface(client: DhcpClient, end: LinkEnd, address: str) -> None:
    """Let the client speak by frames, until it is over; `UsageError` if it may not."""
    _run(client, lambda received: _FrameLink(end, address, received))


def ask_server(client: DhcpClient, address: str, server: str, port_offset: int) -> None:
    """Let the client speak to one server alone, until it is over; `UsageError` if it may not."""
    _run(client, lambda received: _UdpLink(address, server, port_offset, received))


def _run(client: DhcpClient, open_link: Callable[[Received], _Link]) -> None:
    asyncio.run(_speak(client, open_link))


async def _speak(client: DhcpClient, open_link: Callable[[Received], _Link]) -> None:
    loop = asyncio.get_running_loop()
    events: asyncio.Queue[Event] = asyncio.Queue()
    link = open_link(
        lambda data, source, destination: events.put_nowait(_read(data, source, destination))
    )
    try:
        event: Event = ClientStarted()
        while True:
            for action in client.handle(event, loop.time()):
                problem = link.send(action)
                if problem is not None:
                    raise UsageError(f"INFORM cannot be sent: {problem.strerror}")
            deadline = client.next_deadline()
            if deadline is None:
                return
            try:
                async with asyncio.timeout_at(deadline[0]):
                    event = await events.get()
            except TimeoutError:
                event = TimerExpired()
    finally:
        link.close()


def _read(data: bytes, source: str, destination: str) -> Event:
    try:
        message = decode_dhcp(data)
    except DecodeError as error:
        return MalformedReceived(protocol="dhcp", source=source, reason=str(error), size=len(data))
    return DhcpMessageSeen(message=message, source=source, destination=destination)


class _FrameLink:
    """Frames from an address, which need not be the host's, to everybody."""

    def __init__(self, end: LinkEnd, address: str, received: Received) -> None:
        self._mac = end.mac
        self._received = received
        self._port: socket.socket | None = None
        try:
            program = dhcp_program(CLIENT_PORT)
            self._socket = PacketSocket(end.name, end.index, program, self._arrived)
        except PermissionError:
            raise UsageError(
                f"interface {end.name}: raw frames need CAP_NET_RAW: run as root, or see:"
                " phonesim doctor"
            ) from None
        except OSError as error:
            raise UsageError(f"interface {end.name}: {error.strerror}") from None
        # Where nobody has the port, the host would refuse the answers by ICMP.
        port = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        try:
            port.bind((address, CLIENT_PORT))
        except OSError:
            port.close()
        else:
            self._port = port

    def send(self, action: SendDhcp) -> OSError | None:
        return self._socket.send(
            encode_udp_frame(
                UdpFrame(
                    source_mac=self._mac,
                    destination_mac=BROADCAST_MAC,
                    source=action.source,
                    destination=action.destination,
                    source_port=CLIENT_PORT,
                    destination_port=SERVER_PORT,
                    payload=encode_dhcp(action.message),
                )
            )
        )

    def close(self) -> None:
        self._socket.close()
        if self._port is not None:
            self._port.close()

    def _arrived(self, data: bytes) -> None:
        try:
            frame = decode_udp_frame(data, verify_udp_checksum=False)
        except DecodeError:
            return
        if frame is not None:
            self._received(frame.payload, frame.source, frame.destination)


class _UdpLink:
    """Datagrams to one server and back."""

    def __init__(self, address: str, server: str, port_offset: int, received: Received) -> None:
        self._server = (server, SERVER_PORT + port_offset)
        self._received = received
        port = CLIENT_PORT + port_offset
        try:
            self._socket = UdpSocket((address, port), self._arrived)
        except PermissionError:
            raise UsageError(
                f"port {port} of {address} needs CAP_NET_BIND_SERVICE: run as root"
            ) from None
        except OSError as error:
            remedy = "name an address of this host with --from"
            if error.errno == errno.EADDRINUSE:
                remedy = "another DHCP client has it: ask by frames, with --interface"
            raise UsageError(
                f"port {port} of {address} cannot be had: {error.strerror}; {remedy}"
            ) from None

    def send(self, action: SendDhcp) -> OSError | None:
        return self._socket.send(encode_dhcp(action.message), self._server)

    def close(self) -> None:
        self._socket.close()

    def _arrived(self, data: bytes, sender: Address) -> None:
        self._received(data, sender[0], "")
