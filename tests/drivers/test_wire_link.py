"""The link of a wire world whose phones have no sockets, with frames in a list for a network."""

import asyncio
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any, cast

import pytest
from arp_frames import arp_frame

from phonesim.config.device_profile import ArpConfig
from phonesim.device.actions import ConfigureAddress
from phonesim.device.events import AddressClaimed, AddressProbed, Event
from phonesim.drivers import wire
from phonesim.drivers.interface import Interface
from phonesim.drivers.phone_host import PhoneHost
from phonesim.drivers.wire import WireLink
from phonesim.wire.frame import ARP_REQUEST

PHONE = bytes.fromhex("0004f2000001")
OTHER = bytes.fromhex("0004f2000002")
ADDRESS = "10.0.0.5"


class Socket:
    def __init__(self, *args: object) -> None:
        self.sent: list[bytes] = []

    def send(self, frame: bytes) -> None:
        self.sent.append(frame)

    def close(self) -> None:
        pass


class Phone:
    """What the link knows of a phone; it uses the address that it finds free."""

    def __init__(self, link: WireLink, arp: ArpConfig) -> None:
        profile = SimpleNamespace(arp=arp)
        self.spec = SimpleNamespace(mac=PHONE, phone_id="00-04-F2-00-00-01", profile=profile)
        self.link = link
        self.events: list[Event] = []

    def deliver(self, event: Event) -> None:
        self.events.append(event)
        if event == AddressProbed(address=ADDRESS, conflict=None):
            action = ConfigureAddress(address=ADDRESS, subnet_mask="255.255.255.0")
            self.link.configure_address(cast(PhoneHost, self), action)


@pytest.fixture
async def new_link(monkeypatch: pytest.MonkeyPatch) -> Callable[[], WireLink]:
    monkeypatch.setattr(wire, "PacketSocket", Socket)
    monkeypatch.setattr(wire, "_open_sink", lambda interface: None)

    class Network:
        name, index, mac = "phones0", 1, bytes.fromhex("020000000001")

        def phone_addresses(self, failed: object) -> Any:
            return SimpleNamespace(close=lambda: None)

    def make() -> WireLink:
        network = cast(Interface, Network())
        return WireLink(network, False, None, frozenset(), cast(Any, None), lambda: 0.0)

    return make


@pytest.mark.parametrize("probes", [0, 1])
async def test_whoever_claims_a_phones_address_is_told_to_it(
    new_link: Callable[[], WireLink], probes: int
) -> None:
    link = new_link()
    phone = Phone(link, ArpConfig(probes=probes, announce_wait=0.01, announcements=0))
    link.attach(cast(PhoneHost, phone))
    link.probe_address(cast(PhoneHost, phone), ADDRESS)
    assert phone.events == []
    await asyncio.sleep(0.05)
    assert phone.events == [AddressProbed(address=ADDRESS, conflict=None)]
    link._arrived(arp_frame(ARP_REQUEST, OTHER, ADDRESS, ADDRESS))
    assert phone.events[1:] == [AddressClaimed(address=ADDRESS, mac="00-04-F2-00-00-02")]
    link.close()
