from __future__ import annotations

from typing import Any, cast

import msgspec
import pytest
from arp_frames import arp_frame
from scapy.layers.inet import ICMP, IP
from scapy.layers.l2 import Ether

from phonesim.device.actions import SendDns
from phonesim.device.events import DnsResponseReceived, Event, MalformedReceived
from phonesim.drivers.arp import Arp
from phonesim.drivers.frame_hosts import FrameHosts
from phonesim.drivers.phone_host import PhoneHost
from phonesim.wire.dns import DnsQuery, DnsResponse, decode_query, encode_response
from phonesim.wire.frame import (
    ARP_REPLY,
    ARP_REQUEST,
    UdpFrame,
    decode_arp_frame,
    decode_udp_frame,
)

PHONE = bytes.fromhex("0004f2000001")
OTHER = bytes.fromhex("0004f2000002")
SERVER = bytes.fromhex("020000000001")
ADDRESS, DNS, ROUTER = "10.0.0.5", "10.9.0.2", "10.0.0.1"
QUERY = DnsQuery(id=7, qname="fe01.contoso.com", qtype="A")
ASKED = SendDns(query=QUERY, source=ADDRESS, server=DNS)


class Spec(msgspec.Struct):
    mac: bytes


class StubPhone:
    """What hosts need to know of a phone, and what it is told."""

    def __init__(self, mac: bytes) -> None:
        self.spec = Spec(mac)
        self.events: list[Event] = []

    def deliver(self, event: Event) -> None:
        self.events.append(event)


class Network:
    """Hosts, and the frames that they sent."""

    def __init__(self) -> None:
        self.frames: list[bytes] = []
        self.arp = Arp(self.frames.append, lambda address, mac: None)
        self.hosts = FrameHosts(self.arp, self.frames.append, lambda source, destination: ROUTER)
        self.phone = StubPhone(PHONE)
        self.hosts.take(ADDRESS, self.host)

    @property
    def host(self) -> PhoneHost:
        return cast(PhoneHost, self.phone)

    def hear_arp(self, operation: int, sender_ip: str, target_ip: str) -> None:
        self.arp.heard(arp_frame(operation, SERVER, sender_ip, target_ip))

    def asked(self) -> UdpFrame:
        """The query that was sent last."""
        query = decode_udp_frame(self.frames.pop())
        assert query is not None
        return query


def answer_to(query: UdpFrame, payload: bytes) -> UdpFrame:
    return UdpFrame(
        source_mac=SERVER,
        destination_mac=PHONE,
        source=DNS,
        destination=ADDRESS,
        source_port=53,
        destination_port=query.source_port,
        payload=payload,
    )


@pytest.fixture
async def network() -> Network:
    return Network()


async def test_whoever_asks_for_a_phone_by_arp_finds_it(network: Network) -> None:
    network.hear_arp(ARP_REQUEST, DNS, ADDRESS)
    reply = decode_arp_frame(network.frames.pop())
    assert reply is not None
    assert (reply.operation, reply.sender_mac, reply.sender_ip) == (ARP_REPLY, PHONE, ADDRESS)
    assert ADDRESS in network.hosts
    network.hosts.give_up(ADDRESS)
    network.hear_arp(ARP_REQUEST, DNS, ADDRESS)
    assert network.frames == []
    assert ADDRESS not in network.hosts


@pytest.mark.parametrize(
    ("mac", "address", "is_answered"),
    [(PHONE, ADDRESS, True), (OTHER, ADDRESS, False), (PHONE, "10.0.0.6", False)],
)
async def test_a_phone_answers_pings_for_its_own_mac_and_address(
    network: Network, mac: bytes, address: str, is_answered: bool
) -> None:
    ethernet = Ether(src=SERVER.hex(":"), dst=mac.hex(":"))
    network.hosts.received_ping(bytes(ethernet / IP(src=DNS, dst=address) / ICMP(id=3, seq=4)))
    assert len(network.frames) == is_answered
    for frame in network.frames:
        seen = Ether(frame)
        assert (seen.src, seen.dst) == (PHONE.hex(":"), SERVER.hex(":"))
        assert (seen[IP].src, seen[ICMP].type, seen[ICMP].seq) == (ADDRESS, 0, 4)


async def test_a_query_goes_to_the_next_hop_with_the_phones_mac_and_its_answer_back(
    network: Network,
) -> None:
    network.hosts.send_dns(network.host, ASKED)
    request = decode_arp_frame(network.frames.pop())
    assert request is not None
    assert (request.sender_mac, request.sender_ip, request.target_ip) == (PHONE, ADDRESS, ROUTER)
    network.hear_arp(ARP_REPLY, ROUTER, ADDRESS)

    query = network.asked()
    assert (query.source_mac, query.destination_mac) == (PHONE, SERVER)
    assert (query.source, query.destination, query.destination_port) == (ADDRESS, DNS, 53)
    assert decode_query(query.payload) == QUERY

    response = DnsResponse(id=7, qname=QUERY.qname, qtype="A", rcode="NXDOMAIN")
    answer = answer_to(query, encode_response(response))
    network.hosts.received_dns(answer)
    assert network.phone.events == [DnsResponseReceived(response=response, server=DNS)]
    network.hosts.received_dns(msgspec.structs.replace(answer, payload=b"x"))
    assert isinstance(network.phone.events[1], MalformedReceived)


@pytest.mark.parametrize("change", [{"destination": "10.0.0.6"}, {"destination_port": 53}])
async def test_what_is_for_nobody_here_is_dropped(network: Network, change: dict[str, Any]) -> None:
    network.arp.learn(ROUTER, SERVER)
    network.hosts.send_dns(network.host, ASKED)
    query = network.asked()
    answer = answer_to(query, b"x")
    network.hosts.received_dns(msgspec.structs.replace(answer, **change))
    assert network.phone.events == []


async def test_a_name_that_no_message_can_hold_is_not_asked_for(network: Network) -> None:
    query = DnsQuery(id=1, qname="a" * 70, qtype="A")
    network.hosts.send_dns(network.host, msgspec.structs.replace(ASKED, query=query))
    assert network.frames == []
