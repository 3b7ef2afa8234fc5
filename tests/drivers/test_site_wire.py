import asyncio
import threading
import time
from functools import partial
from typing import Any

import pytest
from namespaces import PHONES, SERVERS, Inside, Segment
from serving import Machine, Observer, site_of

from phonesim.drivers.authority import SiteAuthority
from phonesim.drivers.interface import Interface
from phonesim.drivers.packet_socket import PacketSocket, dhcp_program
from phonesim.drivers.site_host import SiteHost
from phonesim.drivers.site_wire import WireDhcpPorts
from phonesim.mocksite import exchange as on
from phonesim.wire.dhcp import DhcpMessage, MessageType, encode_dhcp
from phonesim.wire.frame import UdpFrame, decode_udp_frame, encode_udp_frame

pytestmark = pytest.mark.interop()

SERVER = "10.77.0.10"
PHONE = bytes.fromhex("0004f2000001")
RELAY = bytes.fromhex("020000000077")


def ask(
    segment: Segment,
    authority: SiteAuthority,
    request: bytes,
    destination: str,
    answer: on.SendDhcpReply | None,
    source_mac: bytes = PHONE,
) -> tuple[on.ServerEvent, list[UdpFrame]]:
    """Send a request to a site of one DHCP server; return its event and the frames it sent."""
    is_up, is_seen = threading.Event(), threading.Event()

    async def serve() -> on.ServerEvent:
        machine = Machine()
        if answer is not None:
            machine.answer = lambda event: [answer]
        listener = on.Listener(
            name="dhcp1", protocol="dhcp", address=SERVER, port=67, server=machine
        )
        interface = Interface(SERVERS)
        host = SiteHost(
            site_of(listener),
            authority,
            Observer(),
            time.monotonic,
            partial(WireDhcpPorts, interface),
        )
        await host.start(0)
        is_up.set()
        event = await machine.events.get()
        await asyncio.to_thread(is_seen.wait, 10)
        await host.stop()
        interface.close()
        return event

    async def send() -> list[UdpFrame]:
        interface = Interface(PHONES)
        frames: list[UdpFrame] = []
        answered = asyncio.Event()

        def received(data: bytes) -> None:
            frame = decode_udp_frame(data)
            assert frame is not None
            frames.append(frame)
            answered.set()

        port = answer.port if answer is not None else 68
        socket = PacketSocket(PHONES, interface.index, dhcp_program(port), received)
        socket.send(
            encode_udp_frame(
                UdpFrame(
                    source_mac=source_mac,
                    destination_mac=b"\xff" * 6,
                    source="0.0.0.0",
                    destination=destination,
                    source_port=68,
                    destination_port=67,
                    payload=request,
                )
            )
        )
        if answer is not None:
            async with asyncio.timeout(10):
                await answered.wait()
        socket.close()
        interface.close()
        return frames

    serving = Inside(segment.servers, serve)
    assert is_up.wait(10)
    frames = Inside(segment.phones, send).join_and_raise()
    is_seen.set()
    return serving.join_and_raise(), frames


def message(kind: MessageType, **more: Any) -> DhcpMessage:
    return DhcpMessage(message_type=kind, xid=7, chaddr=PHONE, **more)


DISCOVER = message(MessageType.DISCOVER)
OFFER = message(MessageType.OFFER, op=2, yiaddr="10.77.16.1")


def test_a_client_without_an_address_is_reached_by_its_mac(
    segment: Segment, site_authority: SiteAuthority
) -> None:
    reply = on.SendDhcpReply(message=OFFER, source=SERVER, destination="10.77.16.1", port=68)
    request = encode_dhcp(DISCOVER)
    event, (frame,) = ask(segment, site_authority, request, "255.255.255.255", reply)
    assert isinstance(event, on.DhcpReceived)
    assert (event.source, event.destination) == ("0.0.0.0", "255.255.255.255")
    assert (frame.destination_mac, frame.destination) == (PHONE, "10.77.16.1")
    assert (frame.source, frame.source_port) == (SERVER, 67)


def test_a_broadcast_is_for_everybody(segment: Segment, site_authority: SiteAuthority) -> None:
    reply = on.SendDhcpReply(message=OFFER, source=SERVER, destination="255.255.255.255", port=68)
    request = encode_dhcp(DISCOVER)
    _, (frame,) = ask(segment, site_authority, request, "255.255.255.255", reply)
    assert (frame.destination_mac, frame.destination) == (b"\xff" * 6, "255.255.255.255")


def test_a_relay_is_answered_where_it_sent_from(
    segment: Segment, site_authority: SiteAuthority
) -> None:
    relayed = message(MessageType.DISCOVER, giaddr="10.99.0.1", hops=1)
    offer = message(MessageType.OFFER, op=2, yiaddr="10.99.0.50", giaddr="10.99.0.1")
    reply = on.SendDhcpReply(message=offer, source=SERVER, destination="10.99.0.1", port=67)
    event, (frame,) = ask(
        segment, site_authority, encode_dhcp(relayed), SERVER, reply, source_mac=RELAY
    )
    assert isinstance(event, on.DhcpReceived)
    assert event.destination == SERVER
    assert (frame.destination_mac, frame.destination) == (RELAY, "10.99.0.1")
    assert frame.destination_port == 67


def test_garbage_is_told_to_the_server(segment: Segment, site_authority: SiteAuthority) -> None:
    event, frames = ask(segment, site_authority, b"garbage", SERVER, None)
    assert isinstance(event, on.MalformedArrived)
    assert event.protocol == "dhcp"
    assert frames == []
