import asyncio

import pytest
from arp_frames import arp_frame

from phonesim.config.device_profile import ArpConfig
from phonesim.drivers.arp import Arp
from phonesim.wire.frame import (
    ARP_REPLY,
    ARP_REQUEST,
    BROADCAST_MAC,
    ArpFrame,
    decode_arp_frame,
)

PHONE = bytes.fromhex("0004f2000001")
OTHER = bytes.fromhex("0004f2000002")
TIMING = ArpConfig(probes=3, probe_interval=0.02, announce_wait=0.03)


class Network:
    """What an `Arp` sent, and a way to answer it."""

    def __init__(self) -> None:
        self.sent: list[ArpFrame] = []
        self.claims: list[tuple[str, bytes]] = []
        self.arp = Arp(self._send, lambda address, mac: self.claims.append((address, mac)))

    def _send(self, data: bytes) -> None:
        frame = decode_arp_frame(data)
        assert frame is not None
        self.sent.append(frame)

    def hear(self, operation: int, sender_mac: bytes, sender_ip: str, target_ip: str) -> None:
        self.arp.heard(arp_frame(operation, sender_mac, sender_ip, target_ip))


@pytest.fixture
async def network() -> Network:
    return Network()


async def probe(network: Network, address: str = "10.0.0.5") -> asyncio.Future[str | None]:
    found: asyncio.Future[str | None] = asyncio.get_running_loop().create_future()
    network.arp.probe(address, PHONE, TIMING, found.set_result)
    return found


async def test_an_address_that_nobody_claims_is_free(network: Network) -> None:
    assert await (await probe(network)) is None
    assert len(network.sent) == TIMING.probes
    for frame in network.sent:
        assert (frame.operation, frame.source_mac, frame.sender_mac) == (ARP_REQUEST, PHONE, PHONE)
        assert (frame.sender_ip, frame.target_ip) == ("0.0.0.0", "10.0.0.5")


@pytest.mark.parametrize("operation", [ARP_REQUEST, ARP_REPLY])
async def test_whoever_speaks_from_the_address_has_it(network: Network, operation: int) -> None:
    found = await probe(network)
    network.hear(operation, OTHER, "10.0.0.5", "10.0.0.1")
    assert await found == "00-04-F2-00-00-02"


async def test_another_who_probes_for_it_is_a_conflict(network: Network) -> None:
    found = await probe(network)
    network.hear(ARP_REQUEST, OTHER, "0.0.0.0", "10.0.0.5")
    assert await found == "00-04-F2-00-00-02"


async def test_ones_own_voice_and_other_addresses_are_no_conflict(network: Network) -> None:
    found = await probe(network)
    network.hear(ARP_REQUEST, PHONE, "0.0.0.0", "10.0.0.5")
    network.hear(ARP_REPLY, OTHER, "10.0.0.6", "10.0.0.5")
    network.hear(ARP_REQUEST, OTHER, "10.0.0.7", "10.0.0.5")
    assert await found is None


async def test_two_phones_of_one_fleet_cannot_probe_the_same_address(network: Network) -> None:
    found = await probe(network)
    second: list[str | None] = []
    network.arp.probe("10.0.0.5", OTHER, TIMING, second.append)
    assert second == ["00-04-F2-00-00-01"]
    assert await found is None


async def test_a_probe_that_ended_does_not_hasten_the_next(network: Network) -> None:
    found = await probe(network)
    network.hear(ARP_REPLY, OTHER, "10.0.0.5", "10.0.0.1")
    assert await found is not None
    sent = len(network.sent)
    assert await (await probe(network)) is None
    assert len(network.sent) - sent == TIMING.probes


async def test_without_probes_every_address_is_free(network: Network) -> None:
    found: list[str | None] = []
    network.arp.probe("10.0.0.5", PHONE, ArpConfig(probes=0), found.append)
    assert found == []  # whoever asked has something else to do first
    await asyncio.sleep(0)
    assert (found, network.sent) == ([None], [])


async def test_who_sends_from_an_address_claims_it_and_who_probes_for_it_does_not(
    network: Network,
) -> None:
    network.hear(ARP_REQUEST, OTHER, "10.0.0.5", "10.0.0.5")
    network.hear(ARP_REPLY, OTHER, "10.0.0.6", "10.0.0.1")
    network.hear(ARP_REQUEST, OTHER, "0.0.0.0", "10.0.0.7")
    assert network.claims == [("10.0.0.5", OTHER), ("10.0.0.6", OTHER)]


async def test_a_next_hop_is_asked_for_once_and_remembered(network: Network) -> None:
    ready: list[bytes] = []
    network.arp.resolve("10.0.0.1", PHONE, "10.0.0.5", ready.append)
    network.arp.resolve("10.0.0.1", PHONE, "10.0.0.6", ready.append)
    assert [(f.sender_mac, f.sender_ip, f.target_ip) for f in network.sent] == [
        (PHONE, "10.0.0.5", "10.0.0.1")
    ]
    network.hear(ARP_REPLY, OTHER, "10.0.0.1", "10.0.0.5")
    network.arp.resolve("10.0.0.1", PHONE, "10.0.0.5", ready.append)
    assert ready == [OTHER] * 3
    assert len(network.sent) == 1
    network.arp.close()


async def test_a_next_hop_that_was_heard_of_need_not_be_asked_for(network: Network) -> None:
    ready: list[bytes] = []
    network.arp.learn("10.0.0.1", OTHER)
    network.arp.resolve("10.0.0.1", PHONE, "10.0.0.5", ready.append)
    assert ready == [OTHER]
    assert network.sent == []


@pytest.mark.parametrize(("times", "wanted", "sent"), [(3, 9, 3), (3, 2, 2), (1, 9, 1), (0, 9, 0)])
async def test_an_address_is_announced_as_long_as_it_is_wanted(
    network: Network, times: int, wanted: int, sent: int
) -> None:
    asked = iter(range(wanted))
    network.arp.announce("10.0.0.5", PHONE, times, 0.01, lambda: next(asked, None) is not None)
    await asyncio.sleep(0.1)
    assert len(network.sent) == sent
    for frame in network.sent:
        assert (frame.operation, frame.source_mac, frame.sender_mac) == (ARP_REQUEST, PHONE, PHONE)
        assert (frame.sender_ip, frame.target_ip) == ("10.0.0.5", "10.0.0.5")
        assert frame.destination_mac == BROADCAST_MAC


async def test_a_closed_arp_sends_nothing_more(network: Network) -> None:
    await probe(network)
    network.arp.close()
    await asyncio.sleep(2 * TIMING.probe_interval)
    assert len(network.sent) == 1


async def test_what_is_no_arp_or_malformed_is_dropped(network: Network) -> None:
    found = await probe(network)
    network.arp.heard(bytes(12) + b"\x08\x00" + bytes(40))
    network.arp.heard(bytes(12) + b"\x08\x06\x00\x01\x08\x00")
    assert await found is None


async def test_a_question_for_an_address_that_is_ours_is_answered(network: Network) -> None:
    network.arp.answer("10.0.0.5", PHONE)
    network.hear(ARP_REQUEST, OTHER, "10.0.0.9", "10.0.0.5")
    (reply,) = network.sent
    assert (reply.operation, reply.destination_mac, reply.sender_mac) == (ARP_REPLY, OTHER, PHONE)
    assert (reply.sender_ip, reply.target_mac, reply.target_ip) == ("10.0.0.5", OTHER, "10.0.0.9")
    network.hear(ARP_REQUEST, OTHER, "10.0.0.9", "10.0.0.7")
    network.arp.answer_no_more("10.0.0.5")
    network.hear(ARP_REQUEST, OTHER, "10.0.0.9", "10.0.0.5")
    assert len(network.sent) == 1
