import asyncio
from collections.abc import AsyncIterator, Callable

import pytest
from captured import Captured
from scapy.layers.inet import IP, UDP

from phonesim.device.actions import SendDns, SendNtp
from phonesim.device.events import (
    DnsResponseReceived,
    Event,
    MalformedReceived,
    NtpPacketReceived,
)
from phonesim.drivers.datagrams import Datagrams
from phonesim.drivers.udp_socket import Address, UdpSocket
from phonesim.wire.dns import DnsQuery, DnsRecord, DnsResponse, decode_query, encode_response
from phonesim.wire.ntp import CLIENT, SERVER, NtpPacket, decode_ntp, encode_ntp

OFFSET = 21000
QUERY = DnsQuery(id=7, qname="fe01.contoso.com", qtype="A")
RESPONSE = DnsResponse(
    id=7,
    qname="fe01.contoso.com",
    qtype="A",
    answers=(DnsRecord("fe01.contoso.com", "A", 3600, "127.20.0.21"),),
)


class Phone:
    """A phone's side: its exchanges, and what came of them."""

    def __init__(self, tap: Captured | None = None) -> None:
        self.events: asyncio.Queue[Event] = asyncio.Queue()
        self.errors: list[OSError] = []
        self.datagrams = Datagrams(
            OFFSET,
            self.events.put_nowait,
            self.errors.append,
            asyncio.ensure_future,
            tap.tap if tap is not None else None,
        )


@pytest.fixture
async def phone() -> AsyncIterator[Phone]:
    phone = Phone()
    yield phone
    phone.datagrams.close()


async def test_a_query_is_answered_from_and_to_the_phones_own_address(
    phone: Phone, new_address: Callable[[], str]
) -> None:
    server, source = new_address(), new_address()
    asked: list[tuple[DnsQuery, str]] = []

    def answer(data: bytes, client: Address) -> None:
        asked.append((decode_query(data), client[0]))
        socket.send(encode_response(RESPONSE), client)

    socket = UdpSocket((server, 53 + OFFSET), answer)
    phone.datagrams.send_dns(SendDns(query=QUERY, source=source, server=server))
    assert await phone.events.get() == DnsResponseReceived(response=RESPONSE, server=server)
    assert asked == [(QUERY, source)]
    socket.close()


async def test_a_query_over_tcp_is_answered_over_tcp(
    phone: Phone, new_address: Callable[[], str]
) -> None:
    address, source = new_address(), new_address()
    peers: list[str] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        peers.append(writer.get_extra_info("peername")[0])
        size = int.from_bytes(await reader.readexactly(2), "big")
        assert decode_query(await reader.readexactly(size)) == QUERY
        data = encode_response(RESPONSE)
        writer.write(len(data).to_bytes(2, "big"))
        await writer.drain()
        writer.write(data)
        writer.close()

    async with await asyncio.start_server(serve, address, 53 + OFFSET):
        phone.datagrams.send_dns(SendDns(query=QUERY, source=source, server=address, over_tcp=True))
        assert await phone.events.get() == DnsResponseReceived(
            response=RESPONSE, server=address, over_tcp=True
        )
    assert peers == [source]


async def test_the_time_is_asked_and_told(phone: Phone, new_address: Callable[[], str]) -> None:
    server = new_address()
    reply = NtpPacket(mode=SERVER, stratum=2, originate=99, transmit=1 << 63)

    def answer(data: bytes, client: Address) -> None:
        assert decode_ntp(data).transmit == 99
        socket.send(encode_ntp(reply), client)

    socket = UdpSocket((server, 123 + OFFSET), answer)
    phone.datagrams.send_ntp(
        SendNtp(packet=NtpPacket(mode=CLIENT, transmit=99), source=new_address(), server=server)
    )
    assert await phone.events.get() == NtpPacketReceived(packet=reply, server=server)
    socket.close()


@pytest.mark.parametrize(("port", "protocol"), [(53, "dns"), (123, "ntp")])
async def test_garbage_is_told_as_malformed(
    phone: Phone, new_address: Callable[[], str], port: int, protocol: str
) -> None:
    server, source = new_address(), new_address()
    socket = UdpSocket((server, port + OFFSET), lambda _, client: reply(client))

    def reply(client: Address) -> None:
        socket.send(b"garbage", client)

    if protocol == "dns":
        phone.datagrams.send_dns(SendDns(query=QUERY, source=source, server=server))
    else:
        packet = NtpPacket(mode=CLIENT)
        phone.datagrams.send_ntp(SendNtp(packet=packet, source=source, server=server))
    event = await phone.events.get()
    assert isinstance(event, MalformedReceived)
    assert (event.protocol, event.source, event.size) == (protocol, server, 7)
    assert event.reason
    socket.close()


async def test_what_comes_from_another_port_is_ignored(
    phone: Phone, new_address: Callable[[], str]
) -> None:
    server = new_address()
    stranger = UdpSocket((server, 0), lambda data, client: None)

    def answer(data: bytes, client: Address) -> None:
        stranger.send(encode_response(RESPONSE), client)
        socket.send(encode_response(RESPONSE), client)

    socket = UdpSocket((server, 53 + OFFSET), answer)
    phone.datagrams.send_dns(SendDns(query=QUERY, source=new_address(), server=server))
    await phone.events.get()
    await asyncio.sleep(0.02)
    assert phone.events.empty()
    socket.close()
    stranger.close()


async def test_a_silent_or_closed_server_makes_no_event(
    phone: Phone, new_address: Callable[[], str]
) -> None:
    server, source = new_address(), new_address()
    phone.datagrams.send_dns(SendDns(query=QUERY, source=source, server=server))
    phone.datagrams.send_dns(SendDns(query=QUERY, source=source, server=server, over_tcp=True))
    await asyncio.sleep(0.05)
    assert phone.events.empty()
    assert phone.errors == []


async def test_an_address_that_is_not_ours_is_reported(
    phone: Phone, new_address: Callable[[], str]
) -> None:
    phone.datagrams.send_dns(SendDns(query=QUERY, source="192.0.2.77", server=new_address()))
    assert [error.strerror for error in phone.errors] == ["Cannot assign requested address"]


async def test_a_name_that_dns_cannot_carry_is_not_asked_for(
    phone: Phone, new_address: Callable[[], str]
) -> None:
    query = DnsQuery(id=1, qname="a" * 64 + ".com", qtype="A")
    phone.datagrams.send_dns(SendDns(query=query, source=new_address(), server=new_address()))
    assert phone.events.empty()


async def test_a_new_address_means_a_new_socket(
    phone: Phone, new_address: Callable[[], str]
) -> None:
    server, clients = new_address(), asyncio.Queue[str]()
    socket = UdpSocket((server, 53 + OFFSET), lambda _, client: clients.put_nowait(client[0]))
    for source in (new_address(), new_address()):
        phone.datagrams.send_dns(SendDns(query=QUERY, source=source, server=server))
        assert await clients.get() == source
    socket.close()


async def test_a_tap_is_told_both_ways_with_standard_ports(
    new_address: Callable[[], str],
) -> None:
    captured, server, source = Captured(), new_address(), new_address()
    phone = Phone(captured)
    socket = UdpSocket((server, 53 + OFFSET), lambda _, client: reply(client))

    def reply(client: Address) -> None:
        socket.send(b"garbage", client)

    phone.datagrams.send_dns(SendDns(query=QUERY, source=source, server=server))
    await phone.events.get()
    asked, answered = captured.frames()
    assert (asked[IP].src, asked[IP].dst, asked[UDP].dport) == (source, server, 53)
    assert decode_query(bytes(asked[UDP].payload)) == QUERY
    assert (answered[IP].src, answered[UDP].sport) == (server, 53)
    assert answered[UDP].dport == asked[UDP].sport >= 1024
    assert bytes(answered[UDP].payload) == b"garbage"
    phone.datagrams.close()
    socket.close()


async def test_a_tap_is_told_dns_over_tcp_as_messages(new_address: Callable[[], str]) -> None:
    captured, address, source = Captured(), new_address(), new_address()
    phone = Phone(captured)
    answer = encode_response(RESPONSE)

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readexactly(2)
        writer.write(len(answer).to_bytes(2, "big") + answer)
        writer.close()

    async with await asyncio.start_server(serve, address, 53 + OFFSET):
        phone.datagrams.send_dns(SendDns(query=QUERY, source=source, server=address, over_tcp=True))
        await phone.events.get()
    asked, answered = captured.messages()
    assert asked.protocol == answered.protocol == "dns"
    assert asked.ends == answered.ends[::-1]
    assert (asked.ends[0][0], asked.ends[1]) == (source, (address, 53))
    assert decode_query(asked.octets[2:]) == QUERY
    assert answered.octets == len(answer).to_bytes(2, "big") + answer
    phone.datagrams.close()


async def test_a_tap_is_not_told_what_was_not_sent(new_address: Callable[[], str]) -> None:
    captured = Captured()
    phone = Phone(captured)
    phone.datagrams.send_dns(SendDns(query=QUERY, source=new_address(), server="192.0.2.1"))
    assert len(phone.errors) == 1
    assert captured.frames() == []
    phone.datagrams.close()
