import asyncio
import errno
import socket

import pytest

from phonesim.drivers.stream_port import StreamPort


async def reaches(address: tuple[str, int]) -> bool:
    try:
        _, writer = await asyncio.open_connection(*address)
    except ConnectionRefusedError:
        return False
    writer.close()
    return True


async def test_a_port_is_closed_and_opened_again(unused_tcp_port: int) -> None:
    address = ("127.0.0.1", unused_tcp_port)
    failed: list[Exception] = []
    port = StreamPort(asyncio.Protocol, address, None, failed.append)
    await port.open()
    assert await reaches(address)
    port.close()
    assert not await reaches(address)
    port.open_again()
    for _ in range(500):
        if await reaches(address):
            break
        await asyncio.sleep(0.01)
    else:
        pytest.fail("it did not open again")
    port.close()
    port.open_again()
    port.close()  # before it was open
    await asyncio.sleep(0.05)
    assert not await reaches(address)
    assert failed == []


async def test_a_port_that_somebody_took_meanwhile_is_told(unused_tcp_port: int) -> None:
    address = ("127.0.0.1", unused_tcp_port)
    failed: asyncio.Future[Exception] = asyncio.get_running_loop().create_future()
    port = StreamPort(asyncio.Protocol, address, None, failed.set_result)
    with socket.create_server(address):
        with pytest.raises(OSError, match="in use"):
            await port.open()
        port.open_again()
        error = await asyncio.wait_for(failed, 5)
    assert isinstance(error, OSError)
    assert error.errno == errno.EADDRINUSE
