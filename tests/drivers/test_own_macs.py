"""The table of own MACs, and what it makes of frames between two namespaces."""

import asyncio
import contextlib
import json
import socket
from collections.abc import Awaitable, Callable
from contextlib import closing
from typing import Any

import pytest
from arp_frames import arp_frame
from namespaces import PHONES, SERVERS, Inside, Segment, ip

from phonesim.drivers.interface import Interface
from phonesim.drivers.own_macs import OwnMacs, try_own_macs
from phonesim.errors import UsageError
from phonesim.wire.frame import (
    ARP_REPLY,
    ARP_REQUEST,
    ArpFrame,
    UdpFrame,
    decode_arp_frame,
    encode_udp_frame,
)

pytestmark = pytest.mark.interop("nft")

PHONE, OTHER = bytes.fromhex("0004f2000001"), bytes.fromhex("0004f2000002")
STRANGER = bytes.fromhex("0200000000aa")
ADDRESS, HOST_ADDRESS, SERVER = "10.77.16.1", "10.77.0.2", "10.77.0.1"
TABLE = ("netdev", "phonesim_1")


async def added(own_macs: OwnMacs, *addresses: str) -> None:
    """Wait until the kernel knows the addresses' MACs."""
    ready = asyncio.Semaphore(0)
    for address in addresses:
        own_macs.when_added(address, ready.release)
    async with asyncio.timeout(10):
        for _ in addresses:
            await ready.acquire()


def nft(segment: Segment, *arguments: str) -> str:
    return ip("netns", "exec", segment.phones, "nft", *arguments)


def known(segment: Segment) -> dict[str, str]:
    """The addresses that the kernel knows, and their MACs: the same in the map and the set."""
    entries = json.loads(nft(segment, "-j", "list", "table", *TABLE))["nftables"]
    (by_address,) = [dict(entry["map"].get("elem", [])) for entry in entries if "map" in entry]
    (pairs,) = [entry["set"].get("elem", []) for entry in entries if "set" in entry]
    assert {address: mac for mac, address in (pair["concat"] for pair in pairs)} == by_address
    return by_address


def inside(segment: Segment, use: Callable[[Interface, OwnMacs], Awaitable[Any]]) -> Any:
    """Use own MACs on the phones' interface; both are closed afterwards."""

    async def main() -> Any:
        with (
            closing(Interface(PHONES)) as interface,
            closing(OwnMacs(PHONES, interface.mac, interface.mark)) as own_macs,
        ):
            return await use(interface, own_macs)

    return Inside(segment.phones, main).join_and_raise()


def test_many_addresses_go_in_together_and_nothing_is_left(segment: Segment) -> None:
    before = segment.state()
    addresses = {f"10.77.{16 + n // 250}.{n % 250 + 1}": n for n in range(2000)}

    async def use(interface: Interface, own_macs: OwnMacs) -> dict[str, str]:
        for address, number in addresses.items():
            own_macs.add(address, b"\x00\x04\xf2" + number.to_bytes(3, "big"))
        await added(own_macs, *addresses)
        return known(segment)

    assert inside(segment, use) == {
        address: f"00:04:f2:{number >> 16:02x}:{number >> 8 & 255:02x}:{number & 255:02x}"
        for address, number in addresses.items()
    }
    assert segment.state() == before


def test_an_address_can_change_hands(segment: Segment) -> None:
    async def use(interface: Interface, own_macs: OwnMacs) -> list[dict[str, str]]:
        own_macs.add(ADDRESS, PHONE)
        await added(own_macs, ADDRESS)
        seen = [known(segment)]
        own_macs.remove(ADDRESS)
        own_macs.add(ADDRESS, OTHER)
        own_macs.add("10.77.16.2", PHONE)
        await added(own_macs, ADDRESS, "10.77.16.2")
        await added(own_macs, ADDRESS)
        seen.append(known(segment))
        own_macs.remove(ADDRESS)
        own_macs.add("10.77.16.3", OTHER)
        own_macs.remove("10.77.16.9")
        await added(own_macs, "10.77.16.3")
        return [*seen, known(segment)]

    phone, other = PHONE.hex(":"), OTHER.hex(":")
    assert inside(segment, use) == [
        {ADDRESS: phone},
        {ADDRESS: other, "10.77.16.2": phone},
        {"10.77.16.2": phone, "10.77.16.3": other},
    ]


def test_whoever_waits_for_an_address_that_is_removed_is_not_called(segment: Segment) -> None:
    async def use(interface: Interface, own_macs: OwnMacs) -> list[str]:
        called: list[str] = []
        own_macs.add(ADDRESS, PHONE)
        own_macs.when_added(ADDRESS, lambda: called.append(ADDRESS))
        own_macs.remove(ADDRESS)
        own_macs.add("10.77.16.2", PHONE)
        await added(own_macs, "10.77.16.2")
        return called

    assert inside(segment, use) == []


def test_a_table_that_somebody_removed_is_a_failure(segment: Segment) -> None:
    async def use(interface: Interface, own_macs: OwnMacs) -> None:
        nft(segment, "delete", "table", *TABLE)
        own_macs.add(ADDRESS, PHONE)
        async with asyncio.timeout(10):
            await own_macs.failure

    with pytest.raises(UsageError, match=r"nft: .*No such file or directory"):
        inside(segment, use)


def test_a_table_that_cannot_be_made_is_the_users_error(segment: Segment) -> None:
    async def main() -> None:
        with closing(Interface(PHONES)) as interface:
            OwnMacs('no " name', interface.mac, interface.mark)

    before = segment.state()
    with pytest.raises(UsageError, match="nft: "):
        Inside(segment.phones, main).join_and_raise()
    assert segment.state() == before


def test_a_trial_changes_nothing(segment: Segment) -> None:
    async def main() -> None:
        try_own_macs()

    before = segment.state()
    Inside(segment.phones, main).join_and_raise()
    assert segment.state() == before


class Peer:
    """A station on the servers' side that writes and reads whole frames."""

    def __init__(self) -> None:
        self._socket = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(3))
        self._socket.bind((SERVERS, 0))
        self._socket.settimeout(10)
        self.mac = self._socket.getsockname()[4]

    def close(self) -> None:
        self._socket.close()

    def ask(self, sender_ip: str, target_ip: str) -> ArpFrame:
        """Ask who has an address, as the station `STRANGER`; return the answer."""
        self._socket.send(arp_frame(ARP_REQUEST, STRANGER, sender_ip, target_ip))
        while True:
            frame = decode_arp_frame(self._socket.recv(2048))
            if frame is not None and frame.operation == ARP_REPLY:
                return frame

    def knock(self, mac: bytes, address: str) -> None:
        """Send a datagram to a port that is closed."""
        self._socket.send(
            encode_udp_frame(
                UdpFrame(
                    source_mac=self.mac,
                    destination_mac=mac,
                    source=SERVER,
                    destination=address,
                    source_port=9,
                    destination_port=9,
                    payload=b"anybody there?",
                )
            )
        )

    def refusal(self) -> tuple[bytes, bytes]:
        """Wait for an ICMP message: the MAC and the address that it is from."""
        while True:
            frame = self._socket.recv(2048)
            if frame[12:14] == b"\x08\x00" and frame[23] == socket.IPPROTO_ICMP:
                return frame[6:12], frame[26:30]


def test_what_the_kernel_says_for_a_phone_has_the_phones_mac(segment: Segment) -> None:
    host_mac = b""
    ip("-n", segment.servers, "addr", "add", f"{SERVER}/16", "dev", SERVERS)
    ip("-n", segment.phones, "addr", "add", f"{HOST_ADDRESS}/16", "dev", PHONES)

    async def speak() -> None:
        with closing(Peer()) as peer:
            # Somebody who wants the address, and somebody who wants to talk to it.
            for sender in ("0.0.0.0", "10.77.9.9"):
                reply = peer.ask(sender, ADDRESS)
                assert (reply.source_mac, reply.sender_mac) == (PHONE, PHONE)
                assert (reply.destination_mac, reply.target_mac) == (STRANGER, STRANGER)
                assert (reply.sender_ip, reply.target_ip) == (ADDRESS, sender)
            # This machine's own address stays where it was.
            assert peer.ask("10.77.9.9", HOST_ADDRESS).sender_mac == host_mac
            # To the phone's MAC, only what is for the phone's address is accepted.
            peer.knock(PHONE, HOST_ADDRESS)
            peer.knock(OTHER, ADDRESS)
            peer.knock(PHONE, ADDRESS)
            peer.knock(host_mac, HOST_ADDRESS)
            assert peer.refusal() == (PHONE, socket.inet_aton(ADDRESS))
            assert peer.refusal() == (host_mac, socket.inet_aton(HOST_ADDRESS))
        for address in (ADDRESS, HOST_ADDRESS):
            with contextlib.closing(socket.socket()) as stream:
                stream.settimeout(10)
                with pytest.raises(ConnectionRefusedError):
                    stream.connect((address, 9))

    async def use(interface: Interface, own_macs: OwnMacs) -> None:
        nonlocal host_mac
        host_mac = interface.mac
        own_macs.add(ADDRESS, PHONE)
        await added(own_macs, ADDRESS)
        interface.add_address(ADDRESS)
        speaking = Inside(segment.servers, speak)
        await asyncio.to_thread(speaking.join_and_raise)

    inside(segment, use)
    neighbors = ip("-n", segment.servers, "neigh", "show", "dev", SERVERS)
    assert f"{ADDRESS} lladdr {PHONE.hex(':')}" in neighbors
    assert f"{HOST_ADDRESS} lladdr {host_mac.hex(':')}" in neighbors
