import asyncio
import contextlib
import time

import pytest
from serving import NAME, REGISTER, Serve

from phonesim.drivers.authority import SiteAuthority
from phonesim.drivers.trust import PhoneTls
from phonesim.mocksite import exchange as on
from phonesim.wire.sip import encode_sip, response_to


async def test_a_sip_client_is_heard_answered_and_missed(serve: Serve) -> None:
    served = await serve("sip", 5060)
    served.machine.answer = lambda event: (
        [
            on.SendSipToClient(
                connection_id=event.connection_id, message=response_to(REGISTER, 200, "OK")
            )
        ]
        if isinstance(event, on.SipReceived)
        else []
    )
    reader, writer = await asyncio.open_connection(*served.place(5060))
    accepted = await served.machine.events.get()
    assert isinstance(accepted, on.ConnectionAccepted)
    assert (accepted.peer, accepted.transport) == ("127.0.0.1", "tcp")
    writer.write(encode_sip(REGISTER))
    assert isinstance(await served.machine.events.get(), on.SipReceived)
    assert await reader.readline() == b"SIP/2.0 200 OK\r\n"
    writer.write(b"\r\n\r\n")
    assert isinstance(await served.machine.events.get(), on.KeepAliveReceived)
    writer.close()
    await writer.wait_closed()
    assert await served.machine.events.get() == on.ConnectionLost(
        connection_id=accepted.connection_id
    )


async def test_a_server_can_close_a_connection(serve: Serve) -> None:
    served = await serve("sip", 5060)
    served.machine.answer = lambda event: (
        [on.CloseClientConnection(connection_id=event.connection_id)]
        if isinstance(event, on.SipReceived)
        else []
    )
    reader, writer = await asyncio.open_connection(*served.place(5060))
    writer.write(encode_sip(REGISTER))
    assert await reader.read() == b""
    writer.close()
    await writer.wait_closed()


async def connect_when_open(place: tuple[str, int]) -> asyncio.StreamWriter:
    while True:
        try:
            _, writer = await asyncio.open_connection(*place)
        except ConnectionRefusedError:
            await asyncio.sleep(0.01)
        else:
            return writer


async def test_a_server_can_go_down_and_come_back(serve: Serve) -> None:
    served = await serve("sip", 5060)
    order: list[on.ServerAction] = [on.ClosePorts()]
    served.machine.answer = lambda event: order if isinstance(event, on.KeepAliveReceived) else []
    reader, writer = await asyncio.open_connection(*served.place(5060))
    accepted = await served.machine.events.get()
    assert isinstance(accepted, on.ConnectionAccepted)
    writer.write(b"\r\n\r\n")
    with contextlib.suppress(ConnectionResetError):
        assert await reader.read() == b""
    assert isinstance(await served.machine.events.get(), on.KeepAliveReceived)
    assert await served.machine.events.get() == on.ConnectionLost(
        connection_id=accepted.connection_id
    )
    with pytest.raises(ConnectionRefusedError):
        await asyncio.open_connection(*served.place(5060))
    order[:] = [on.OpenPorts()]
    served.host.server("server1").deliver(on.KeepAliveReceived(connection_id=0))
    assert isinstance(await served.machine.events.get(), on.KeepAliveReceived)
    again = await connect_when_open(served.place(5060))
    assert isinstance(await served.machine.events.get(), on.ConnectionAccepted)
    for each in (writer, again):
        each.close()
        with contextlib.suppress(ConnectionResetError):
            await each.wait_closed()


async def test_sip_garbage_is_told_and_the_connection_closed(serve: Serve) -> None:
    served = await serve("sip", 5060)
    reader, writer = await asyncio.open_connection(*served.place(5060))
    writer.write(b"\x00garbage\r\n\r\n")
    assert isinstance(await served.machine.events.get(), on.ConnectionAccepted)
    event = await served.machine.events.get()
    assert isinstance(event, on.MalformedArrived)
    assert event.protocol == "sip"
    assert await reader.read() == b""
    writer.close()
    await writer.wait_closed()


async def test_a_sips_port_asks_for_no_certificate(
    serve: Serve, site_authority: SiteAuthority
) -> None:
    served = await serve("sips", 5061)
    context = PhoneTls().context(site_authority.chain(), time.time())
    _, writer = await asyncio.open_connection(
        *served.place(5061), ssl=context, server_hostname=NAME
    )
    accepted = await served.machine.events.get()
    assert isinstance(accepted, on.ConnectionAccepted)
    assert accepted.transport == "tls"
    writer.close()
    await writer.wait_closed()


async def test_octets_that_are_no_tls_open_nothing(serve: Serve) -> None:
    served = await serve("sips", 5061)
    reader, writer = await asyncio.open_connection(*served.place(5061))
    writer.write(b"REGISTER sip:contoso.com SIP/2.0\r\n\r\n")
    with pytest.raises((ConnectionResetError, asyncio.IncompleteReadError)):
        await reader.readexactly(4096)
    assert served.machine.events.empty()
    writer.close()
