"""Taps, tags, and which link a phone uses."""

import asyncio
import socket
import threading
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Any, cast

import pytest
from arp_frames import arp_frame
from namespaces import PHONES, SERVERS, Inside, Segment, ip

from phonesim.device.actions import ConfigureAddress, SendDhcp
from phonesim.drivers import voice_vlan
from phonesim.drivers.interface import Interface
from phonesim.drivers.lldp_port import LldpPort
from phonesim.drivers.phone_host import AddressLink, PhoneHost
from phonesim.drivers.raw_socket import LARGEST_FRAME, all_in_vlan, open_raw_socket
from phonesim.drivers.voice_vlan import VlanBridge, VoiceVlans
from phonesim.errors import UsageError
from phonesim.wire.dhcp import DhcpMessage, MessageType
from phonesim.wire.frame import ARP_REQUEST, BROADCAST_MAC, add_tag

pytestmark = pytest.mark.interop("nsenter")

MAC, OTHER = (bytes.fromhex(f"0004f200000{number}") for number in (1, 2))


def arp(destination_mac: bytes, number: int) -> bytes:
    return arp_frame(ARP_REQUEST, OTHER, f"10.0.0.{number}", "10.0.0.200", destination_mac)


def inside(namespace: str, main: Callable[[], Any]) -> Any:
    return Inside(namespace, main).join_and_raise()


def test_what_leaves_the_tap_is_tagged_if_it_is_ip_or_arp(segment: Segment) -> None:
    is_open = threading.Event()

    async def listen() -> list[bytes]:
        interface = Interface(SERVERS)
        opened = open_raw_socket(SERVERS, interface.index, all_in_vlan(100))
        is_open.set()
        loop, frames = asyncio.get_running_loop(), list[bytes]()
        async with asyncio.timeout(10):
            while not frames or frames[-1][14:] != arp(BROADCAST_MAC, 9)[14:]:
                frames.append(await loop.sock_recv(opened, LARGEST_FRAME))
        opened.close()
        interface.close()
        return frames

    async def send() -> str:
        interface = Interface(PHONES)
        bridge = VlanBridge(PHONES, interface.index, 100, lambda error: pytest.fail(str(error)))
        with socket.socket(socket.AF_PACKET, socket.SOCK_RAW) as raw:
            raw.bind((bridge.name, 0))
            raw.send(BROADCAST_MAC + MAC + b"\x86\xdd" + bytes(40))
            raw.send(BROADCAST_MAC + MAC + b"\x08\x00" + bytes(1500))  # a whole frame and a tag
            await asyncio.sleep(0.2)
            links = ip("-n", segment.phones, "-br", "link")
            raw.send(arp(BROADCAST_MAC, 9))
        bridge.close()  # takes what was sent last along
        interface.close()
        return links

    listening = Inside(segment.servers, listen)
    assert is_open.wait(10)
    assert "voice100.0" in inside(segment.phones, send)
    frames = listening.join_and_raise()
    assert [len(frame) for frame in frames] == [1514, 42]
    assert "voice" not in ip("-n", segment.phones, "-br", "link")


def test_what_comes_in_is_of_the_vlan_and_for_a_phone_or_many(segment: Segment) -> None:
    frames = [
        arp(BROADCAST_MAC, 1),  # untagged
        add_tag(arp(BROADCAST_MAC, 2), 101),
        add_tag(arp(OTHER, 3), 100),
        add_tag(arp(MAC, 4), 100),
        add_tag(arp(BROADCAST_MAC, 5), 100),
    ]

    async def listen() -> list[int]:
        interface = Interface(PHONES)
        bridge = VlanBridge(PHONES, interface.index, 100, lambda error: pytest.fail(str(error)))
        bridge.admit(MAC)
        loop, seen = asyncio.get_running_loop(), list[int]()
        with socket.socket(socket.AF_PACKET, socket.SOCK_RAW | socket.SOCK_NONBLOCK) as raw:
            raw.bind((bridge.name, 0x0806))
            is_open.set()
            async with asyncio.timeout(10):
                while 5 not in seen:
                    seen.append((await loop.sock_recv(raw, 2000))[31])
        bridge.close()
        interface.close()
        return seen

    async def send() -> None:
        with socket.socket(socket.AF_PACKET, socket.SOCK_RAW) as raw:
            raw.bind((SERVERS, 0))
            for frame in frames:
                raw.send(frame)

    is_open = threading.Event()
    listening = Inside(segment.phones, listen)
    assert is_open.wait(10)
    inside(segment.servers, send)
    assert listening.join_and_raise() == [4, 5]


class Link:
    """Notes what a link is asked for."""

    port_offset = 0

    def __init__(self, name: str, calls: list[str]) -> None:
        self._name = name
        self._calls = calls

    def __getattr__(self, call: str) -> Callable[..., None]:
        return lambda *_: self._calls.append(f"{self._name} {call}")

    async def drained(self) -> None:
        self._calls.append(f"{self._name} drained")


class Port:
    def forget(self, phone: PhoneHost) -> None:
        pass


class Spec:
    mac = MAC


class Phone:
    spec = Spec()


PHONE = cast(PhoneHost, Phone())
DISCOVER = SendDhcp(
    message=DhcpMessage(message_type=MessageType.DISCOVER, xid=1, chaddr=MAC),
    source="0.0.0.0",
    destination="255.255.255.255",
)
ADDRESS = ConfigureAddress(address="10.0.0.50", subnet_mask="255.255.255.0")


async def with_vlans(main: Callable[[VoiceVlans], Any], calls: list[str]) -> None:
    interface = Interface(PHONES)

    def open_link(tap: Interface, closing: ExitStack) -> AddressLink:
        closing.callback(calls.append, f"{tap.name} closed")
        return cast(AddressLink, Link(tap.name, calls))

    untagged = cast(AddressLink, Link("untagged", calls))
    vlans = VoiceVlans(interface, untagged, cast(LldpPort, Port()), open_link)
    try:
        await main(vlans)
    finally:
        vlans.close()
        interface.close()


def test_a_phone_uses_the_link_of_its_vlan(segment: Segment) -> None:
    calls: list[str] = []

    async def main(vlans: VoiceVlans) -> None:
        vlans.attach(PHONE)
        vlans.send_dhcp(PHONE, DISCOVER)
        vlans.join_vlan(PHONE, 100)
        vlans.send_dhcp(PHONE, DISCOVER)
        vlans.probe_address(PHONE, "10.0.0.50")
        vlans.configure_address(PHONE, ADDRESS)
        vlans.join_vlan(PHONE, 101)
        vlans.join_vlan(PHONE, 100)
        vlans.remove_address(PHONE, "10.0.0.50")
        vlans.detach(PHONE)
        vlans.attach(PHONE)
        vlans.join_vlan(PHONE, None)
        await vlans.drained()

    inside(segment.phones, lambda: with_vlans(main, calls))
    assert calls == [
        *("untagged attach", "untagged send_dhcp", "untagged detach"),
        *("voice100.0 attach", "voice100.0 send_dhcp", "voice100.0 probe_address"),
        *("voice100.0 configure_address", "voice100.0 detach"),
        *("voice101.0 attach", "voice101.0 detach"),
        *("voice100.0 attach", "voice100.0 remove_address", "voice100.0 detach"),
        *("untagged attach", "untagged detach", "untagged attach"),
        *("untagged drained", "voice100.0 drained", "voice101.0 drained"),
        *("voice101.0 closed", "voice100.0 closed"),
    ]
    assert "voice" not in ip("-n", segment.phones, "-br", "link")


def test_without_a_tap_the_run_is_told(segment: Segment, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(voice_vlan, "TUN", Path("/dev/net/none"))

    async def main(vlans: VoiceVlans) -> None:
        vlans.attach(PHONE)
        vlans.join_vlan(PHONE, 100)
        with pytest.raises(UsageError, match=r"VLAN 100: no tap .*/dev/net/none: No such"):
            await vlans.failure

    inside(segment.phones, lambda: with_vlans(main, []))
