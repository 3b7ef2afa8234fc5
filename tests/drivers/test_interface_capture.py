"""Frames between two network namespaces, as a capture on one side sees them."""

import asyncio
import re
import socket
import time
from collections.abc import Callable
from typing import Any

import pytest
from captured import MAC, Captured
from namespaces import PHONES, SERVERS, Inside, Segment
from scapy.layers.dhcp import BOOTP
from scapy.layers.inet import IP, TCP, UDP
from scapy.layers.l2 import ARP, Dot1Q, Ether
from scapy.packet import Packet

from phonesim.drivers.interface_capture import InterfaceCapture, capture_interfaces
from phonesim.errors import UsageError
from phonesim.wire.pcapng import INBOUND, OUTBOUND

OUIS = {MAC[:3]}
STRANGER = "fe:00:00:00:00:01"
PHONE, SERVER = "10.0.0.7", "10.0.0.1"

pytestmark = pytest.mark.interop("nsenter")


def listener(address: str = PHONE) -> Captured:
    """A capture that makes no frames; its phone has `MAC` and an address."""
    heard = Captured(makes_frames=False)
    heard.tap.owns(address)
    return heard


def send(interface: str, *frames: Packet) -> None:
    with socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0) as sender:
        sender.bind((interface, 0))
        for frame in frames:
            sender.send(bytes(frame))


async def hear(
    segment: Segment, ouis: set[bytes] | None, ours: list[Packet], theirs: list[Packet]
) -> tuple[Captured, tuple[str, ...]]:
    heard = listener()
    listening = InterfaceCapture(PHONES, heard.capture, ouis)

    async def send_theirs() -> None:
        send(SERVERS, *theirs)

    send(PHONES, *ours)
    await asyncio.to_thread(Inside(segment.servers, send_theirs).join_and_raise)
    await asyncio.sleep(0.1)  # a busy kernel delivers late
    return heard, listening.close()


def run_hear(
    segment: Segment,
    ouis: set[bytes] | None,
    ours: list[Packet],
    theirs: list[Packet],
) -> tuple[Captured, tuple[str, ...]]:
    main: Callable[[], Any] = lambda: hear(segment, ouis, ours, theirs)  # noqa: E731
    return Inside(segment.phones, main).join_and_raise()  # type: ignore[no-any-return]


def test_both_directions_are_heard_with_the_kernels_times(segment: Segment) -> None:
    ours = Ether(src=MAC, dst=STRANGER) / IP(src=PHONE, dst=SERVER) / TCP(sport=4000)
    theirs = Ether(src=STRANGER, dst=MAC) / IP(src=SERVER, dst=PHONE) / TCP(dport=4000)
    began = time.time_ns()
    heard, notes = run_hear(segment, OUIS, [ours], [theirs])
    ended = time.time_ns()
    out, back = heard.packets()
    assert (out[0], back[0]) == (bytes(ours), bytes(theirs))
    assert (out[1].direction, back[1].direction) == (OUTBOUND, INBOUND)
    times = [metadata.tshigh << 32 | metadata.tslow for _, metadata in (out, back)]
    assert all(began <= at <= ended for at in times)
    assert notes == ()


def test_vlan_tags_are_where_they_were(segment: Segment) -> None:
    tag = Dot1Q(vlan=77, prio=5)
    ours = Ether(src=MAC, dst=STRANGER) / tag / IP(src=PHONE, dst=SERVER) / UDP()
    theirs = Ether(src=STRANGER, dst=MAC) / tag / IP(src=SERVER, dst=PHONE) / UDP()
    heard, _ = run_hear(segment, OUIS, [ours], [theirs])
    assert [octets for octets, _ in heard.packets()] == [bytes(ours), bytes(theirs)]


@pytest.mark.parametrize("ouis", [OUIS, None], ids=["own MACs", "DHCP only"])
def test_what_may_be_a_phones_passes_the_kernels_filter(
    segment: Segment, ouis: set[bytes] | None
) -> None:
    theirs = [
        Ether(src=STRANGER, dst="ff:ff:ff:ff:ff:ff")
        / IP(src=SERVER, dst="255.255.255.255")
        / UDP(sport=67, dport=68)
        / BOOTP(chaddr=MAC),
        Ether(src=STRANGER, dst="ff:ff:ff:ff:ff:ff") / ARP(psrc=SERVER, pdst=PHONE),
        Ether(src=STRANGER, dst="01:80:c2:00:00:0e", type=0x88CC) / bytes(46),
        Ether(src=STRANGER, dst=MAC) / IP(src=SERVER, dst=PHONE),
    ]
    heard, _ = run_hear(segment, ouis, [], theirs)
    assert [octets for octets, _ in heard.packets()] == [bytes(frame) for frame in theirs]


@pytest.mark.parametrize(("ouis", "count"), [(OUIS, 0), (None, 1)], ids=["own MACs", "DHCP only"])
def test_only_without_own_macs_an_address_is_enough(
    segment: Segment, ouis: set[bytes] | None, count: int
) -> None:
    strangers = Ether(src=STRANGER, dst=STRANGER) / IP(src=SERVER, dst="10.0.0.99")
    addressed = Ether(src=STRANGER, dst=STRANGER) / IP(src=SERVER, dst=PHONE)
    heard, _ = run_hear(segment, ouis, [], [strangers, addressed])
    assert [octets for octets, _ in heard.packets()] == [bytes(addressed)] * count


def test_a_segment_that_the_card_would_cut_is_whole(segment: Segment) -> None:
    """The kernel hands out 64 KB at once and leaves it to the card to cut it into frames."""

    async def exchange() -> Captured:
        heard = listener("127.0.0.1")
        async with capture_interfaces(["lo"], heard.capture, OUIS, lambda note: None):
            server = socket.create_server(("127.0.0.1", 0))
            client = socket.create_connection(server.getsockname())
            taken, _ = server.accept()
            client.sendall(bytes(200_000))
            client.shutdown(socket.SHUT_WR)
            while taken.recv(65536):
                pass
            for each in (taken, client, server):
                each.close()
        return heard

    heard = Inside(segment.phones, exchange).join_and_raise()
    packets = heard.packets()
    assert max(len(octets) for octets, _ in packets) > 20_000
    for octets, metadata in packets:
        assert metadata.wirelen == len(octets) == 14 + Ether(octets)[IP].len
    assert {metadata.direction for _, metadata in packets} == {OUTBOUND}
    carried = sum(
        Ether(octets)[IP].len - 4 * (Ether(octets)[TCP].dataofs + 5) for octets, _ in packets
    )
    assert carried == 200_000


def test_an_interface_that_is_not_there_is_refused(segment: Segment) -> None:
    async def listen() -> None:
        notes: list[str] = []
        async with capture_interfaces(["none0"], listener().capture, OUIS, notes.append):
            pass

    with pytest.raises(UsageError, match="capture: interface none0 cannot be listened to: No such"):
        Inside(segment.phones, listen).join_and_raise()


def test_frames_that_find_no_room_are_counted(
    segment: Segment, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("phonesim.drivers.interface_capture._BUFFER", 4096)
    frames = [Ether(src=MAC, dst=STRANGER) / IP(src=PHONE, dst=SERVER) / UDP() / bytes(1000)] * 200
    heard, notes = run_hear(segment, OUIS, frames, [])
    kept = len(heard.packets())
    assert 0 < kept < 200
    [note] = notes
    dropped, received = map(int, re.findall(r"\d+", note.removesuffix(PHONES)))
    assert note == f"the capture lacks {dropped} of {received} frames on {PHONES}"
    assert dropped >= 200 - kept, (note, kept)  # a frame of the kernel's own may be among them
    assert received >= 200
