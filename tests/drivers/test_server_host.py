import time
from collections.abc import Callable

import pytest
from serving import Client, Serve

from phonesim.mocksite import exchange as on
from phonesim.wire.ntp import SERVER, NtpPacket


async def test_a_deadline_becomes_a_timer(serve: Serve, new_address: Callable[[], str]) -> None:
    served = await serve("ntp", 123)
    served.machine.deadline = time.monotonic() + 0.03
    client = Client(new_address())
    client.socket.send(b"x", served.place(123))
    assert isinstance(await served.machine.events.get(), on.MalformedArrived)
    assert isinstance(await served.machine.events.get(), on.ServerTimerExpired)
    client.socket.close()


async def test_reports_reach_the_observer(serve: Serve, new_address: Callable[[], str]) -> None:
    served = await serve("ntp", 123)
    served.machine.answer = lambda event: [on.Report(text="what was that?")]
    client = Client(new_address())
    client.socket.send(b"x", served.place(123))
    await served.machine.events.get()
    assert served.observer.reports == [("server1", "what was that?")]
    client.socket.close()


async def test_a_server_that_raises_ends_the_run(
    serve: Serve, new_address: Callable[[], str]
) -> None:
    served = await serve("ntp", 123)

    def fail(event: on.ServerEvent) -> list[on.ServerAction]:
        raise RuntimeError("a defect")

    served.machine.answer = fail
    client = Client(new_address())
    client.socket.send(b"x", served.place(123))
    with pytest.raises(RuntimeError, match="a defect"):
        await served.host.failure
    client.socket.close()


async def test_what_the_network_stack_refuses_is_reported_once(
    serve: Serve, new_address: Callable[[], str]
) -> None:
    served = await serve("ntp", 123)
    far = on.SendNtpReply(packet=NtpPacket(mode=SERVER), client="192.0.2.1:123")
    served.machine.answer = lambda event: [far]
    client = Client(new_address())
    for _ in range(2):
        client.socket.send(b"x", served.place(123))
        await served.machine.events.get()
    assert served.observer.reports == [("server1", "an answer could not be sent")]
    client.socket.close()
