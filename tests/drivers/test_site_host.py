import asyncio
import ssl
import time
from collections.abc import AsyncIterator, Awaitable, Callable

import aiohttp
import pytest

from phonesim.drivers.authority import SiteAuthority
from phonesim.drivers.key_pool import PhoneKey
from phonesim.drivers.site_datagrams import LOOPBACK_BROADCAST
from phonesim.drivers.site_host import OFFSETS, SiteHost
from phonesim.drivers.site_http import BODY_LIMIT
from phonesim.drivers.trust import PhoneTls
from phonesim.drivers.udp_socket import UdpSocket
from phonesim.errors import UsageError
from phonesim.mocksite import exchange as on
from phonesim.mocksite.site import Site
from phonesim.mocksite.users import UserDirectory
from phonesim.wire.dhcp import DhcpMessage, MessageType, decode_dhcp, encode_dhcp
from phonesim.wire.dns import DnsQuery, DnsResponse, decode_response, encode_query
from phonesim.wire.ntp import CLIENT, SERVER, NtpPacket, decode_ntp, encode_ntp
from phonesim.wire.sip import NameAddress, SipRequest, encode_sip, response_to
from phonesim.wire.soap import (
    GetRootCertChains,
    GetRootCertChainsResponse,
    HttpResponse,
    encode_soap,
)

NAME = "web.contoso.com"
DISCOVER = DhcpMessage(message_type=MessageType.DISCOVER, xid=5, chaddr=b"\0\4\xf2\0\0\1")
REGISTER = SipRequest(
    method="REGISTER",
    uri="sip:contoso.com",
    vias=("SIP/2.0/TLS 127.20.16.1:5061;branch=z9hG4bK1",),
    sender=NameAddress(uri="sip:user1@contoso.com", tag="1"),
    recipient=NameAddress(uri="sip:user1@contoso.com"),
    call_id="c1",
    cseq=1,
)
CHAIN = GetRootCertChainsResponse(chain=b"a chain")


class Machine:
    """A server that notes its events and answers as the test says."""

    def __init__(self) -> None:
        self.events: asyncio.Queue[on.ServerEvent] = asyncio.Queue()
        self.answer: Callable[[on.ServerEvent], list[on.ServerAction]] = lambda event: []
        self.deadline: float | None = None

    def handle(self, event: on.ServerEvent, now: float) -> list[on.ServerAction]:
        self.events.put_nowait(event)
        if isinstance(event, on.ServerTimerExpired):
            self.deadline = None
        return self.answer(event)

    def next_deadline(self) -> tuple[float, str] | None:
        return None if self.deadline is None else (self.deadline, "the test says so")


class Observer:
    """Notes what servers report."""

    def __init__(self) -> None:
        self.reports: list[tuple[str, str]] = []

    def boot_started(self, phone_id: str, boot: int, now: float) -> None: ...

    def observe(self, phone_id: str, observation: object, now: float) -> None: ...

    def crashed(self, phone_id: str, error: BaseException, now: float) -> None: ...

    def report(
        self,
        server: str,
        text: str,
        fields: tuple[tuple[str, str], ...],
        is_warning: bool,
        now: float,
    ) -> None:
        self.reports.append((server, text))


class Served:
    """One listener, served; and the machine behind it."""

    def __init__(self, machine: Machine, host: SiteHost, observer: Observer, address: str) -> None:
        self.machine = machine
        self.host = host
        self.observer = observer
        self.address = address

    def place(self, port: int) -> tuple[str, int]:
        return self.address, port + self.host.port_offset


def site_of(*listeners: on.Listener) -> Site:
    return Site(
        name="test",
        listeners=listeners,
        squatters=frozenset(),
        epoch=time.time(),
        users=UserDirectory((), ()),
    )


Serve = Callable[..., Awaitable[Served]]


@pytest.fixture
async def serve(
    new_address: Callable[[], str], site_authority: SiteAuthority
) -> AsyncIterator[Serve]:
    hosts: list[SiteHost] = []

    async def start(protocol: str, port: int, **more: object) -> Served:
        machine, observer, address = Machine(), Observer(), new_address()
        listener = on.Listener(
            name="server1",
            protocol=protocol,
            address=address,
            port=port,
            server=machine,
            names=(NAME,),
            **more,  # type: ignore[arg-type]
        )
        host = SiteHost(site_of(listener), site_authority, observer, time.monotonic)
        hosts.append(host)
        await host.start(None)
        return Served(machine, host, observer, address)

    yield start
    for host in hosts:
        await host.stop()


class Client:
    """A UDP client on an address of its own."""

    def __init__(self, address: str, port: int = 0) -> None:
        self.replies: asyncio.Queue[bytes] = asyncio.Queue()
        shares = address == LOOPBACK_BROADCAST
        self.socket = UdpSocket(
            (address, port), lambda data, _: self.replies.put_nowait(data), shares_port=shares
        )


# --- DHCP --------------------------------------------------------------------


async def test_a_client_without_an_address_is_heard_and_answered_by_broadcast(
    serve: Serve,
) -> None:
    served = await serve("dhcp", 67)
    offer = DhcpMessage(
        op=2,
        message_type=MessageType.OFFER,
        xid=5,
        chaddr=DISCOVER.chaddr,
        yiaddr="127.20.16.1",
    )
    served.machine.answer = lambda event: [
        on.SendDhcpReply(message=offer, source=served.address, destination="127.20.16.1", port=68)
    ]
    client = Client(LOOPBACK_BROADCAST, 68 + served.host.port_offset)
    client.socket.send(encode_dhcp(DISCOVER), (LOOPBACK_BROADCAST, 67 + served.host.port_offset))
    event = await served.machine.events.get()
    assert event == on.DhcpReceived(
        message=decode_dhcp(encode_dhcp(DISCOVER)),
        source="0.0.0.0",
        destination="255.255.255.255",
    )
    assert decode_dhcp(await client.replies.get()).yiaddr == "127.20.16.1"
    client.socket.close()


async def test_a_client_with_an_address_is_answered_there(
    serve: Serve, new_address: Callable[[], str]
) -> None:
    served, source = await serve("dhcp", 67), new_address()
    inform = DhcpMessage(
        message_type=MessageType.INFORM, xid=6, chaddr=DISCOVER.chaddr, ciaddr=source
    )
    ack = DhcpMessage(
        op=2, message_type=MessageType.ACK, xid=6, chaddr=DISCOVER.chaddr, ciaddr=source
    )
    served.machine.answer = lambda event: [
        on.SendDhcpReply(message=ack, source=served.address, destination=source, port=68)
    ]
    client = Client(source, 68 + served.host.port_offset)
    client.socket.send(encode_dhcp(inform), served.place(67))
    event = await served.machine.events.get()
    assert isinstance(event, on.DhcpReceived)
    assert (event.source, event.destination) == (source, served.address)
    assert decode_dhcp(await client.replies.get()).message_type == MessageType.ACK
    client.socket.close()


# --- DNS and NTP ---------------------------------------------------------------

QUERY = DnsQuery(id=9, qname="fe01.contoso.com", qtype="A")
NXDOMAIN = DnsResponse(id=9, qname="fe01.contoso.com", qtype="A", rcode="NXDOMAIN")


def answer_dns(event: on.ServerEvent) -> list[on.ServerAction]:
    if not isinstance(event, on.DnsReceived):
        return []
    return [on.SendDnsResponse(response=NXDOMAIN, client=event.client, over_tcp=event.over_tcp)]


async def test_dns_is_answered_over_udp(serve: Serve, new_address: Callable[[], str]) -> None:
    served = await serve("dns", 53)
    served.machine.answer = answer_dns
    client = Client(new_address())
    client.socket.send(encode_query(QUERY), served.place(53))
    assert decode_response(await client.replies.get()) == NXDOMAIN
    client.socket.close()


async def test_dns_is_answered_over_tcp_again_and_again(serve: Serve) -> None:
    served = await serve("dns", 53)
    served.machine.answer = answer_dns
    reader, writer = await asyncio.open_connection(*served.place(53))
    data = encode_query(QUERY)
    for _ in range(2):
        writer.write(len(data).to_bytes(2, "big") + data)
        size = int.from_bytes(await reader.readexactly(2), "big")
        assert decode_response(await reader.readexactly(size)) == NXDOMAIN
    writer.close()
    await writer.wait_closed()


async def test_a_malformed_query_gets_a_format_error(
    serve: Serve, new_address: Callable[[], str]
) -> None:
    served = await serve("dns", 53)
    client = Client(new_address())
    client.socket.send(b"\x12\x34\x01\x00garbage", served.place(53))
    assert await client.replies.get() == b"\x12\x34\x80\x01" + bytes(8)
    event = await served.machine.events.get()
    assert isinstance(event, on.MalformedArrived)
    assert event.protocol == "dns"
    client.socket.close()


async def test_time_is_told(serve: Serve, new_address: Callable[[], str]) -> None:
    served = await serve("ntp", 123)
    reply = NtpPacket(mode=SERVER, stratum=1)
    served.machine.answer = lambda event: (
        [on.SendNtpReply(packet=reply, client=event.client)]
        if isinstance(event, on.NtpReceived)
        else []
    )
    client = Client(new_address())
    client.socket.send(encode_ntp(NtpPacket(mode=CLIENT)), served.place(123))
    assert decode_ntp(await client.replies.get()) == reply
    client.socket.close()


@pytest.mark.parametrize(("protocol", "port"), [("dhcp", 67), ("dns", 53), ("ntp", 123)])
async def test_garbage_is_told_to_the_server(
    serve: Serve, new_address: Callable[[], str], protocol: str, port: int
) -> None:
    served = await serve(protocol, port)
    client = Client(address := new_address())
    client.socket.send(b"x", served.place(port))
    event = await served.machine.events.get()
    assert isinstance(event, on.MalformedArrived)
    assert event.protocol == protocol
    assert event.source.startswith(address)
    client.socket.close()


# --- web services --------------------------------------------------------------


def answer_http(event: on.ServerEvent) -> list[on.ServerAction]:
    if not isinstance(event, on.HttpReceived):
        return []
    return [
        on.SendHttpResponse(
            exchange_id=event.exchange_id, response=HttpResponse(status=200, message=CHAIN)
        )
    ]


async def test_a_soap_request_is_answered(serve: Serve) -> None:
    served = await serve("http", 80)
    served.machine.answer = answer_http
    address, port = served.place(80)
    async with (
        aiohttp.ClientSession() as session,
        session.post(
            f"http://{address}:{port}/CertProv",
            data=encode_soap(GetRootCertChains()),
            headers={"Host": NAME},
        ) as answer,
    ):
        assert answer.status == 200
        assert answer.headers["Content-Type"] == "text/xml; charset=utf-8"
        assert await answer.read() == encode_soap(CHAIN)
    event = await served.machine.events.get()
    assert isinstance(event, on.HttpReceived)
    assert (event.request.url, event.peer) == (f"http://{NAME}:80/CertProv", "127.0.0.1")


async def test_an_answer_without_soap_is_a_page(serve: Serve) -> None:
    served = await serve("http", 80)
    served.machine.answer = lambda event: (
        [
            on.SendHttpResponse(
                exchange_id=event.exchange_id,
                response=HttpResponse(status=503, retry_after=30),
            )
        ]
        if isinstance(event, on.HttpReceived)
        else []
    )
    address, port = served.place(80)
    async with (
        aiohttp.ClientSession() as session,
        session.post(f"http://{address}:{port}/", data=encode_soap(GetRootCertChains())) as answer,
    ):
        assert answer.status == 503
        assert answer.headers["Retry-After"] == "30"
        assert "503" in await answer.text()


@pytest.mark.parametrize(
    ("octets", "status"),
    [
        (b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 7\r\n\r\n<soap/>", 400),
        (b"GET /status HTTP/1.1\r\nHost: a\r\n\r\n", 405),
        (b"\x16\x03\x01\x02\x00\x01\x00", 400),
        (b"hello\r\n\r\n", 400),
        (
            b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 999999\r\n\r\n" + bytes(BODY_LIMIT + 1),
            413,
        ),
    ],
    ids=["no SOAP", "no POST", "TLS", "no HTTP", "too long"],
)
async def test_what_is_no_soap_request_is_refused_and_told(
    serve: Serve, octets: bytes, status: int
) -> None:
    served = await serve("http", 80)
    reader, writer = await asyncio.open_connection(*served.place(80))
    writer.write(octets)
    assert (await reader.readline()).split()[1] == str(status).encode()
    event = await served.machine.events.get()
    assert isinstance(event, on.MalformedArrived)
    assert event.protocol == "http"
    assert event.reason
    writer.close()
    await writer.wait_closed()


async def test_a_client_that_gives_up_leaves_nothing_behind(serve: Serve) -> None:
    served = await serve("http", 80)
    address, port = served.place(80)
    async with aiohttp.ClientSession() as session:
        asking = asyncio.ensure_future(
            session.post(f"http://{address}:{port}/", data=encode_soap(GetRootCertChains()))
        )
        event = await served.machine.events.get()
        assert isinstance(event, on.HttpReceived)
        asking.cancel()
    late = on.SendHttpResponse(exchange_id=event.exchange_id, response=HttpResponse(status=200))
    served.machine.answer = lambda _: [late]
    client = Client("127.0.0.1")
    client.socket.close()
    await asyncio.sleep(0.02)
    assert served.machine.events.empty()


# --- SIP -------------------------------------------------------------------------


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


@pytest.mark.parametrize("shows", [True, False])
async def test_a_sips_port_asks_for_a_certificate_but_does_not_insist(
    serve: Serve, site_authority: SiteAuthority, phone_key: PhoneKey, shows: bool
) -> None:
    served = await serve("sips", 5061)
    now = int(time.time())
    csr = phone_key.certificate_request("user1@contoso.com")
    # Expired: the handshake lets it through, because the registrar says so itself.
    certificate = site_authority.issue(csr, now - 7200, now - 3600) if shows else None
    context = PhoneTls().context(site_authority.chain(), now, certificate, phone_key.der)
    _, writer = await asyncio.open_connection(
        *served.place(5061), ssl=context, server_hostname=NAME
    )
    accepted = await served.machine.events.get()
    assert isinstance(accepted, on.ConnectionAccepted)
    assert (accepted.transport, accepted.peer_certificate) == ("tls", certificate)
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


async def test_a_listener_shows_the_kind_of_certificate_that_it_names(
    serve: Serve, site_authority: SiteAuthority
) -> None:
    served = await serve("https", 443, certificate="expired")
    context = PhoneTls().context(site_authority.chain(), time.time())
    with pytest.raises(ssl.SSLCertVerificationError, match="expired"):
        await asyncio.open_connection(*served.place(443), ssl=context, server_hostname=NAME)


# --- the site --------------------------------------------------------------------


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


async def test_a_listener_that_refuses_is_not_bound(serve: Serve) -> None:
    served = await serve("http", 80, refuses=True)
    with pytest.raises(ConnectionRefusedError):
        await asyncio.open_connection(*served.place(80))


async def test_two_sites_get_offsets_of_their_own(serve: Serve) -> None:
    first, second = await serve("dhcp", 67), await serve("dhcp", 67)
    assert first.host.port_offset in OFFSETS
    assert second.host.port_offset in OFFSETS
    assert first.host.port_offset != second.host.port_offset


async def test_a_taken_port_is_the_users_error(serve: Serve, site_authority: SiteAuthority) -> None:
    served = await serve("http", 80)
    listener = on.Listener(
        name="second", protocol="http", address=served.address, port=80, server=Machine()
    )
    host = SiteHost(site_of(listener), site_authority, Observer(), time.monotonic)
    with pytest.raises(UsageError, match=r"second .*already in use; .*--port-offset"):
        await host.start(served.host.port_offset)
    await host.stop()


async def test_an_address_of_another_machine_is_the_users_error(
    site_authority: SiteAuthority,
) -> None:
    listener = on.Listener(
        name="far", protocol="dns", address="192.0.2.77", port=53, server=Machine()
    )
    host = SiteHost(site_of(listener), site_authority, Observer(), time.monotonic)
    with pytest.raises(UsageError, match=r"far .*no such address"):
        await host.start(None)
    await host.stop()
