import asyncio
import threading

import pytest
from namespaces import PHONES, SERVERS, Inside, Segment

from phonesim.drivers.interface import Interface
from phonesim.drivers.packet_socket import PacketSocket, dhcp_program
from phonesim.wire.frame import UdpFrame, add_tag, encode_udp_frame

pytestmark = pytest.mark.interop()


def test_the_filter_lets_through_what_is_wanted_and_nothing_else(segment: Segment) -> None:
    def frame(port: int, payload: bytes) -> bytes:
        return encode_udp_frame(
            UdpFrame(
                source_mac=bytes.fromhex("0004f2000001"),
                destination_mac=b"\xff" * 6,
                source="0.0.0.0",
                destination="255.255.255.255",
                source_port=68,
                destination_port=port,
                payload=payload,
            )
        )

    arp = b"\xff" * 6 + bytes.fromhex("0004f2000001") + b"\x08\x06" + bytes(28)
    tcp = bytearray(frame(67, b"tcp"))
    tcp[23] = 6
    fragment = bytearray(frame(67, b"fragment"))
    fragment[20:22] = b"\x00\x05"
    tagged, prioritized = add_tag(frame(67, b"tagged"), 100), add_tag(frame(67, b"priority"), 0)
    marker = frame(67, b"the end")

    async def listen() -> list[bytes]:
        interface = Interface(SERVERS)
        frames: list[bytes] = []
        ended = asyncio.Event()

        def received(data: bytes) -> None:
            frames.append(data)
            if data == marker:
                ended.set()

        socket = PacketSocket(SERVERS, interface.index, dhcp_program(67, takes_arp=True), received)
        is_open.set()
        async with asyncio.timeout(10):
            await ended.wait()
        socket.close()
        interface.close()
        return frames

    async def send() -> None:
        interface = Interface(PHONES)
        socket = PacketSocket(PHONES, interface.index, dhcp_program(68), lambda data: None)
        for data in (
            *(frame(53, b"dns"), bytes(tcp), bytes(fragment), arp, frame(67, b"1")),
            *(tagged, prioritized, marker),
        ):
            assert socket.send(data) is None
        socket.close()
        interface.close()

    is_open = threading.Event()
    listening = Inside(segment.servers, listen)
    assert is_open.wait(10)
    Inside(segment.phones, send).join_and_raise()
    frames = [each for each in listening.join_and_raise() if b"\x00\x04\xf2" in each[:12]]
    assert frames == [arp, frame(67, b"1"), frame(67, b"priority"), marker]
