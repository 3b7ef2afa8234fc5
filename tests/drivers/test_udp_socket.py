import asyncio
from collections.abc import Callable

import pytest

from phonesim.drivers.udp_socket import Address, UdpSocket

BROADCAST = "127.255.255.255"


class Inbox:
    """Collects datagrams; `wait` returns once there are so many."""

    def __init__(self) -> None:
        self.received: list[tuple[bytes, Address]] = []
        self._more = asyncio.Event()

    def __call__(self, data: bytes, address: Address) -> None:
        self.received.append((data, address))
        self._more.set()

    async def wait(self, count: int) -> list[tuple[bytes, Address]]:
        while len(self.received) < count:
            self._more.clear()
            await self._more.wait()
        return self.received


async def test_datagrams_go_there_and_back(new_address: Callable[[], str]) -> None:
    here, there = new_address(), new_address()
    inbox, echoes = Inbox(), Inbox()
    server = UdpSocket((there, 0), lambda data, sender: echo(data, sender), is_busy=True)
    client = UdpSocket((here, 0), inbox)

    def echo(data: bytes, sender: Address) -> None:
        echoes(data, sender)
        server.send(data.upper(), sender)

    assert client.send(b"hello", server.address) is None
    assert await inbox.wait(1) == [(b"HELLO", server.address)]
    assert echoes.received == [(b"hello", client.address)]
    client.close()
    client.close()
    server.close()


async def test_a_broadcast_reaches_every_socket_that_shares_the_port(
    new_address: Callable[[], str],
) -> None:
    first, second = Inbox(), Inbox()
    one = UdpSocket((BROADCAST, 0), first, shares_port=True)
    other = UdpSocket((BROADCAST, one.address[1]), second, shares_port=True)
    sender = UdpSocket((new_address(), 0), Inbox())
    sender.send(b"all", (BROADCAST, one.address[1]))
    assert (await first.wait(1))[0][0] == b"all"
    assert (await second.wait(1))[0][0] == b"all"
    for each in (one, other, sender):
        each.close()


async def test_a_port_that_is_not_shared_is_exclusive(new_address: Callable[[], str]) -> None:
    address = new_address()
    one = UdpSocket((address, 0), Inbox())
    with pytest.raises(OSError, match="in use"):
        UdpSocket((address, one.address[1]), Inbox(), shares_port=True)
    one.close()


async def test_an_error_of_the_local_stack_is_returned(new_address: Callable[[], str]) -> None:
    socket = UdpSocket((new_address(), 0), Inbox())
    error = socket.send(b"x" * 70000, (new_address(), 9))
    assert isinstance(error, OSError)
    socket.close()


async def test_a_refused_datagram_makes_no_noise(new_address: Callable[[], str]) -> None:
    inbox = Inbox()
    socket = UdpSocket((new_address(), 0), inbox, is_busy=True)
    assert socket.send(b"nobody is there", (new_address(), 9)) is None
    socket.send(b"to myself", (socket_address := socket.address))
    assert (await inbox.wait(1))[0] == (b"to myself", socket_address)
    socket.close()


async def test_a_receiver_may_close_its_socket(new_address: Callable[[], str]) -> None:
    seen: list[bytes] = []

    def received(data: bytes, _: Address) -> None:
        seen.append(data)
        server.close()

    server = UdpSocket((new_address(), 0), received, is_busy=True)
    client = UdpSocket((new_address(), 0), Inbox())
    address = server.address
    client.send(b"one", address)
    client.send(b"two", address)
    await asyncio.sleep(0.05)
    assert seen == [b"one"]
    client.close()
