"""What of a phone's datagrams reaches which server, and what of a server's the phone."""

from __future__ import annotations

from functools import partial

import pytest
from captured import MAC, PHONE_ID
from virtual_parts import Nobody

from phonesim.config.fleet_profile import Links
from phonesim.device import actions as do
from phonesim.device import events as on
from phonesim.mocksite import exchange as site_side
from phonesim.profiles import DEVICE, load
from phonesim.virtual_network import PhonePort, ServerPort, VirtualNetwork
from phonesim.virtual_time import VirtualTime
from phonesim.wire.dhcp import BOOTREPLY, BROADCAST, CLIENT_PORT, DhcpMessage, MessageType
from phonesim.world import PhoneSpec

SQUATTER, SERVER, LEASED = "10.0.0.66", "10.0.0.1", "10.0.0.7"
DISCOVER = DhcpMessage(message_type=MessageType.DISCOVER, xid=7, chaddr=MAC)
OFFER = DhcpMessage(message_type=MessageType.OFFER, xid=7, chaddr=MAC, op=BOOTREPLY, yiaddr=LEASED)


class Cabling:
    """A network with two phones and two DHCP servers, one of them in VLAN 20."""

    def __init__(self, loss: float = 0.0) -> None:
        self.time = VirtualTime()
        links = Links(latency=0.25, jitter=0, loss=loss)
        self.network = VirtualNetwork(self.time, links, 1, {SQUATTER}, None)
        self.arrived: list[tuple[float, str]] = []
        self.met: list[on.Event] = []
        for vlan_id, address in ((None, SERVER), (20, "10.0.20.1")):
            name = f"VLAN {vlan_id}"
            listener = site_side.Listener(
                name=name,
                protocol="dhcp",
                address=address,
                port=67,
                server=Nobody(),
                on_vlan=vlan_id,
            )
            self.network.listen(listener, ServerPort(partial(self._arrive, name)))
        self.phone = self._plug_in(PHONE_ID, MAC)
        self.other = self._plug_in("00-04-F2-00-00-99", b"\0\4\xf2\0\0\x99")

    def _plug_in(self, phone_id: str, mac: bytes) -> PhonePort:
        spec = PhoneSpec(
            phone_id=phone_id,
            mac=mac,
            profile=load(DEVICE, "polycom-cx600"),
            number="1",
            pin="2",
            starts_at=0,
            seed="s",
        )
        port = PhonePort(spec, self.met.append)
        self.network.plug_in(port)
        return port

    def _arrive(self, server: str, event: site_side.ServerEvent) -> None:
        assert isinstance(event, site_side.DhcpReceived)
        self.arrived.append((self.time.now, server))

    def pass_time(self) -> None:
        while self.time.step(60.0):
            pass


@pytest.mark.parametrize(
    ("vlan_id", "destination", "reached"),
    [
        (None, BROADCAST, ["VLAN None"]),
        (20, BROADCAST, ["VLAN 20"]),
        (30, BROADCAST, []),
        (20, SERVER, ["VLAN None"]),  # routed
        (None, "10.0.0.2", []),
    ],
)
def test_a_broadcast_stays_in_its_vlan(
    vlan_id: int | None, destination: str, reached: list[str]
) -> None:
    cabling = Cabling()
    cabling.phone.vlan_id = vlan_id
    sent = do.SendDhcp(message=DISCOVER, source="0.0.0.0", destination=destination)
    cabling.network.send_dhcp(cabling.phone, sent)
    cabling.pass_time()
    assert cabling.arrived == [(0.25, name) for name in reached]


@pytest.mark.parametrize(
    ("destination", "port", "is_met"),
    [
        (BROADCAST, CLIENT_PORT, True),
        (LEASED, CLIENT_PORT, True),
        (BROADCAST, 67, False),
        ("10.0.0.8", CLIENT_PORT, False),
    ],
)
def test_a_reply_is_met_where_the_phone_listens(destination: str, port: int, is_met: bool) -> None:
    cabling = Cabling()
    reply = site_side.SendDhcpReply(
        message=OFFER, source=SERVER, destination=destination, port=port
    )
    cabling.network.answer_dhcp(reply)
    cabling.pass_time()
    met = [on.DhcpMessageReceived(message=OFFER, source=SERVER)] if is_met else []
    assert cabling.met == met


def test_links_lose_datagrams() -> None:
    cabling = Cabling(loss=0.5)
    reply = site_side.SendDhcpReply(
        message=OFFER, source=SERVER, destination=BROADCAST, port=CLIENT_PORT
    )
    for _ in range(100):
        cabling.network.answer_dhcp(reply)
    cabling.pass_time()
    assert 0 < len(cabling.met) < 100


def test_a_probe_finds_who_has_the_address() -> None:
    cabling = Cabling()
    network, phone, other = cabling.network, cabling.phone, cabling.other

    def conflict(address: str) -> str | None:
        network.probe(phone, address)
        cabling.pass_time()
        probed = cabling.met.pop()
        assert isinstance(probed, on.AddressProbed)
        assert probed.address == address
        return probed.conflict

    assert conflict(SQUATTER) == "02-00-00-00-00-01"
    assert conflict(LEASED) is None
    network.add_address(phone, LEASED)
    assert conflict(LEASED) is None
    network.remove_address(phone, LEASED)
    network.add_address(other, LEASED)
    assert conflict(LEASED) == other.spec.phone_id
    network.remove_address(phone, LEASED)  # it is not its own
    assert conflict(LEASED) == other.spec.phone_id
    network.unplug(other)
    assert conflict(LEASED) is None
