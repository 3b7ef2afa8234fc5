"""The DHCP client ports of phones that have an address of their own on this host.

Each is bound to the phone's address when the phone first sends from it, and closes when
nothing was sent for a while: a fleet that is up has no DHCP sockets open.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from phonesim.device.events import DhcpMessageReceived, Event, MalformedReceived
from phonesim.drivers.phone_host import PhoneHost
from phonesim.drivers.udp_socket import Address, UdpSocket
from phonesim.errors import DecodeError
from phonesim.wire.dhcp import CLIENT_PORT, SERVER_PORT, decode_dhcp

IDLE_SECONDS = 15.0


class ClientPorts:
    """The ports numbered `port`, by address; `unsent` takes why one could not be opened."""

    def __init__(self, port: int, unsent: Callable[[OSError], None]) -> None:
        self._port = port
        self._unsent = unsent
        self._sockets: dict[str, _OwnSocket] = {}
        self._loop = asyncio.get_running_loop()
        self._sweep = self._loop.call_later(IDLE_SECONDS, self._close_idle)

    def open(self, phone: PhoneHost, address: str) -> UdpSocket | None:
        """Return the port of the phone's `address`, opened if it was not; None if it cannot be."""
        own = self._sockets.get(address)
        if own is None:

            def arrived(data: bytes, sender: Address) -> None:
                deliver_dhcp(phone, address, data, sender)

            try:
                socket = UdpSocket((address, self._port), arrived)
            except OSError as error:
                self._unsent(error)
                return None
            own = self._sockets[address] = _OwnSocket(socket)
        own.used_at = self._loop.time()
        return own.socket

    def forget(self, address: str) -> None:
        """Close the port of an address that is given up."""
        own = self._sockets.pop(address, None)
        if own is not None:
            own.socket.close()

    def close(self) -> None:
        """Close all of them."""
        self._sweep.cancel()
        for own in self._sockets.values():
            own.socket.close()
        self._sockets.clear()

    def _close_idle(self) -> None:
        oldest = self._loop.time() - IDLE_SECONDS
        for address, own in list(self._sockets.items()):
            if own.used_at < oldest:
                own.socket.close()
                del self._sockets[address]
        self._sweep = self._loop.call_later(IDLE_SECONDS, self._close_idle)


class _OwnSocket:
    __slots__ = ("socket", "used_at")

    def __init__(self, socket: UdpSocket) -> None:
        self.socket = socket
        self.used_at = 0.0


def deliver_dhcp(phone: PhoneHost, destination: str, data: bytes, sender: Address) -> None:
    """Hand a phone what came to its DHCP port at `destination`."""
    if phone.tap is not None:
        local, peer = (destination, CLIENT_PORT), (sender[0], SERVER_PORT)
        phone.tap.received_datagram(local, peer, data)
    phone.deliver(read_dhcp(data, sender))


def read_dhcp(data: bytes, sender: Address) -> Event:
    """Return the event that a datagram at a phone's DHCP port is."""
    try:
        message = decode_dhcp(data)
    except DecodeError as error:
        return MalformedReceived(
            protocol="dhcp", source=sender[0], reason=str(error), size=len(data)
        )
    return DhcpMessageReceived(message=message, source=sender[0])
