import asyncio
from collections.abc import Callable

import pytest
from serving import Client, Serve

from phonesim.drivers.site_datagrams import LOOPBACK_BROADCAST
from phonesim.mocksite import exchange as on
from phonesim.wire.dhcp import DhcpMessage, MessageType, decode_dhcp, encode_dhcp
from phonesim.wire.dns import DnsQuery, DnsResponse, decode_response, encode_query
from phonesim.wire.ntp import CLIENT, SERVER, NtpPacket, decode_ntp, encode_ntp

DISCOVER = DhcpMessage(message_type=MessageType.DISCOVER, xid=5, chaddr=b"\0\4\xf2\0\0\1")


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
