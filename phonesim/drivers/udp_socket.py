"""A UDP socket on the event loop, lighter than an asyncio datagram endpoint.

What the kernel does not take at once is dropped, as a network would: every protocol
that runs over it repeats itself.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable

_LARGEST_DATAGRAM = 65535
_RECEIVE_BUFFER = 4 * 1024 * 1024
_SO_RCVBUFFORCE = 33
_BURST = 64

Address = tuple[str, int]


def enlarge_receive_buffer(endpoint: socket.socket) -> None:
    """Let a socket keep a burst from a whole fleet, as far as this process may."""
    try:
        endpoint.setsockopt(socket.SOL_SOCKET, _SO_RCVBUFFORCE, _RECEIVE_BUFFER)
    except PermissionError:
        endpoint.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _RECEIVE_BUFFER)


class UdpSocket:
    """Bound to `address`; `received` gets every datagram and where it came from.

    A busy socket takes many datagrams at a time and asks for a large buffer.
    `shares_port` lets other sockets have the same address, for broadcasts.
    Raises OSError if it cannot be bound.
    """

    def __init__(
        self,
        address: Address,
        received: Callable[[bytes, Address], None],
        *,
        is_busy: bool = False,
        shares_port: bool = False,
    ) -> None:
        self._received = received
        self._burst = _BURST if is_busy else 1
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)
        try:
            self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_BROADCAST, 1)
            if shares_port:
                self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            if is_busy:
                enlarge_receive_buffer(self._socket)
            self._socket.bind(address)
        except OSError:
            self._socket.close()
            raise
        self._loop = asyncio.get_running_loop()
        self._loop.add_reader(self._socket, self._read)

    @property
    def address(self) -> Address:
        """What it is bound to."""
        address, port = self._socket.getsockname()
        return address, port

    def send(self, data: bytes, address: Address) -> OSError | None:
        """Send a datagram; an error is returned that another attempt would meet again."""
        try:
            self._socket.sendto(data, address)
        except BlockingIOError:
            return None
        except OSError as error:
            return error
        return None

    def close(self) -> None:
        """Close it; closing twice is allowed."""
        if self._socket.fileno() >= 0:
            self._loop.remove_reader(self._socket)
            self._socket.close()

    def _read(self) -> None:
        for _ in range(self._burst):
            try:
                data, address = self._socket.recvfrom(_LARGEST_DATAGRAM)
            except OSError:  # nothing left, or a peer's ICMP error
                return
            self._received(data, address)
            if self._socket.fileno() < 0:
                return
