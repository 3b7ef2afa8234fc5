import asyncio
import ssl
import time
from collections.abc import AsyncIterator, Callable

import pytest
from captured import Captured
from scapy.layers.inet import TCP
from serving import REGISTER
from tls_servers import tls_server

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
from phonesim.drivers.authority import CertificateKind, SiteAuthority
from phonesim.drivers.sip_connection import PhoneConnections, SipConnection
from phonesim.drivers.trust import PhoneTls
from phonesim.wire.sip import (
    SipMessage,
    decode_sip,
    encode_sip,
    response_to,
)

OFFSET = 23000
NAME = "fe01.contoso.com"
OK = response_to(REGISTER, 200, "OK")


class Registrar:
    """The other end: what reached it, and a way to answer."""

    def __init__(self) -> None:
        self.opened_by: asyncio.Queue[SipConnection] = asyncio.Queue()
        self.messages: asyncio.Queue[SipMessage] = asyncio.Queue()
        self.faults: list[str] = []
        self.keep_alives = asyncio.Event()
        self.is_closed = asyncio.Event()

    def opened(self, connection: SipConnection) -> None:
        self.opened_by.put_nowait(connection)

    def received(self, connection: SipConnection, message: SipMessage) -> None:
        self.messages.put_nowait(message)

    def kept_alive(self, connection: SipConnection) -> None:
        self.keep_alives.set()

    def malformed(self, connection: SipConnection, reason: str, size: int) -> None:
        self.faults.append(reason)

    def closed(self, connection: SipConnection, detail: str) -> None:
        self.is_closed.set()

    async def listen(
        self, address: str, context: ssl.SSLContext | None = None, port: int = 5061
    ) -> asyncio.Server:
        return await asyncio.get_running_loop().create_server(
            lambda: SipConnection(1, self), address, port + OFFSET, ssl=context
        )


class Phone:
    """A phone's connections, and what came of them."""

    def __init__(self, address: str, source: str) -> None:
        self.events: asyncio.Queue[Event] = asyncio.Queue()
        self.address = address
        self.source = source
        self.captured = Captured()
        self.connections = PhoneConnections(
            *(OFFSET, PhoneTls()),
            *(self.events.put_nowait, asyncio.ensure_future),
            self.captured.tap,
        )

    def open(
        self,
        transport: str = "tcp",
        trust: bytes | None = None,
        timeout: float = 10,
        name: str = NAME,
    ) -> None:
        self.connections.open(
            OpenConnection(
                connection_id=4,
                source=self.source,
                address=self.address,
                port=5061,
                transport=transport,
                server_name=name,
                trust=trust,
                clock=time.time(),
                timeout=timeout,
            )
        )

    async def failure(self) -> tuple[ConnectFailure, str]:
        event = await self.events.get()
        assert isinstance(event, ConnectionFailed)
        return event.failure, event.detail


@pytest.fixture
async def phone(new_address: Callable[[], str]) -> AsyncIterator[Phone]:
    phone = Phone(new_address(), new_address())
    yield phone
    phone.connections.abort()
    await asyncio.sleep(0)


async def test_messages_go_both_ways_from_the_phones_address(phone: Phone) -> None:
    registrar = Registrar()
    async with await registrar.listen(phone.address):
        phone.open()
        opened = await phone.events.get()
        assert isinstance(opened, ConnectionOpened)
        assert (opened.connection_id, opened.local_address) == (4, phone.source)
        other_end = await registrar.opened_by.get()
        assert other_end.peer == (phone.source, opened.local_port)
        connection = phone.connections.find(4)
        assert connection is not None
        connection.send(REGISTER)
        assert await registrar.messages.get() == decode_sip(encode_sip(REGISTER))
        other_end.send(OK)
        assert await phone.events.get() == SipMessageReceived(
            connection_id=4, message=decode_sip(encode_sip(OK))
        )
        connection.send_keep_alive()
        await registrar.keep_alives.wait()
        phone.connections.close(4)
        await registrar.is_closed.wait()
    assert phone.connections.find(4) is None
    assert phone.events.empty()


async def test_a_registrar_over_tls_is_connected_to(
    phone: Phone, site_authority: SiteAuthority
) -> None:
    registrar = Registrar()
    async with await registrar.listen(phone.address, tls_server(site_authority, NAME)):
        phone.open("tls", site_authority.chain())
        assert isinstance(await phone.events.get(), ConnectionOpened)
        phone.connections.close(4)
        await registrar.is_closed.wait()


@pytest.mark.parametrize(
    ("kind", "failure"),
    [
        ("expired", ConnectFailure.CERTIFICATE_EXPIRED),
        ("wildcard", ConnectFailure.CERTIFICATE_WILDCARD),
        ("untrusted", ConnectFailure.CERTIFICATE_UNTRUSTED),
    ],
)
async def test_a_registrar_that_is_not_trusted_is_refused(
    phone: Phone,
    site_authority: SiteAuthority,
    kind: CertificateKind,
    failure: ConnectFailure,
) -> None:
    async with await Registrar().listen(phone.address, tls_server(site_authority, NAME, kind)):
        phone.open("tls", site_authority.chain())
        found, detail = await phone.failure()
    assert found == failure
    assert detail.startswith(f"{phone.address}:5061: ")
    assert [message.protocol for message in phone.captured.messages()] == ["tls"] * 3


async def test_a_closed_port_is_refused(phone: Phone) -> None:
    phone.open()
    assert (await phone.failure())[0] == ConnectFailure.REFUSED
    assert [str(frame[TCP].flags) for frame in phone.captured.frames()] == ["S", "RA"]


async def test_a_name_that_cannot_be_one_is_explained(
    phone: Phone, site_authority: SiteAuthority
) -> None:
    async with await Registrar().listen(phone.address, tls_server(site_authority, NAME)):
        phone.open("tls", site_authority.chain(), name="a" * 64 + ".com")
        failure, detail = await phone.failure()
    assert failure == ConnectFailure.CERTIFICATE_NAME_MISMATCH
    assert "is no host name" in detail


async def test_a_server_without_tls_fails_the_handshake(
    phone: Phone, site_authority: SiteAuthority
) -> None:
    async def greet(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"220 mail.contoso.com ESMTP\r\n")
        await reader.read()
        writer.close()

    async with await asyncio.start_server(greet, phone.address, 5061 + OFFSET):
        phone.open("tls", site_authority.chain())
        assert (await phone.failure())[0] == ConnectFailure.TLS_FAILED


async def test_a_handshake_that_hangs_times_out(
    phone: Phone, site_authority: SiteAuthority
) -> None:
    async def hang(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()
        writer.close()

    async with await asyncio.start_server(hang, phone.address, 5061 + OFFSET):
        phone.open("tls", site_authority.chain(), timeout=0.1)
        failure, detail = await phone.failure()
    assert failure == ConnectFailure.TIMEOUT
    assert "no connection within" in detail


async def test_a_connection_that_the_server_ends_is_told_as_closed(phone: Phone) -> None:
    registrar = Registrar()
    async with await registrar.listen(phone.address):
        phone.open()
        assert isinstance(await phone.events.get(), ConnectionOpened)
        (await registrar.opened_by.get()).close()
        assert await phone.events.get() == ConnectionClosed(
            connection_id=4, detail="closed by the other side"
        )
    assert phone.connections.find(4) is None


async def test_a_broken_connection_is_told_as_closed(phone: Phone) -> None:
    registrar = Registrar()
    async with await registrar.listen(phone.address):
        phone.open()
        assert isinstance(await phone.events.get(), ConnectionOpened)
        other_end = await registrar.opened_by.get()
        connection = phone.connections.find(4)
        assert connection is not None
        connection.send(REGISTER)
        other_end.abort()
        event = await phone.events.get()
    assert isinstance(event, ConnectionClosed)


async def test_garbage_between_messages_is_told_and_skipped(phone: Phone) -> None:
    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        good = encode_sip(OK)
        writer.write(good + b"GARBAGE\r\nContent-Length: 2\r\n\r\nxx" + good)
        await reader.read()
        writer.close()

    async with await asyncio.start_server(answer, phone.address, 5061 + OFFSET):
        phone.open()
        kinds = [type(await phone.events.get()) for _ in range(4)]
        assert kinds == [
            ConnectionOpened,
            SipMessageReceived,
            MalformedReceived,
            SipMessageReceived,
        ]
        phone.connections.close(4)


async def test_a_stream_that_cannot_be_read_on_is_closed(phone: Phone) -> None:
    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"\x00\x01\x02\r\n\r\nno head at all")
        await reader.read()
        writer.close()

    async with await asyncio.start_server(answer, phone.address, 5061 + OFFSET):
        phone.open()
        assert isinstance(await phone.events.get(), ConnectionOpened)
        malformed = await phone.events.get()
        assert isinstance(malformed, MalformedReceived)
        assert (malformed.protocol, malformed.source) == ("sip", phone.address)
        closed = await phone.events.get()
        assert isinstance(closed, ConnectionClosed)
        assert "could not be told apart" in closed.detail


async def test_closing_while_connecting_makes_no_event(
    phone: Phone, site_authority: SiteAuthority
) -> None:
    async with await Registrar().listen(phone.address, tls_server(site_authority, NAME)):
        phone.open("tls", site_authority.chain())
        await asyncio.sleep(0)
        phone.connections.close(4)
        await asyncio.sleep(0.05)
    assert phone.events.empty()


async def test_a_tap_is_told_every_message_whole(phone: Phone) -> None:
    registrar = Registrar()
    async with await registrar.listen(phone.address):
        phone.open()
        opened = await phone.events.get()
        assert isinstance(opened, ConnectionOpened)
        other_end = await registrar.opened_by.get()
        connection = phone.connections.find(4)
        assert connection is not None
        connection.send(REGISTER)
        connection.send_keep_alive()
        await registrar.messages.get()
        other_end.send(OK)
        other_end.send(OK)
        for _ in range(2):
            await phone.events.get()
        phone.connections.abort()  # a server waits for its connections, from Python 3.12 on
    ends = ((phone.source, opened.local_port), (phone.address, 5061))
    assert [message[:1] + message[2:] for message in phone.captured.messages()] == [
        ("sip", ends, encode_sip(REGISTER)),
        ("sip", ends, b"\r\n\r\n"),
        ("sip", ends[::-1], encode_sip(OK)),
        ("sip", ends[::-1], encode_sip(OK)),
    ]
