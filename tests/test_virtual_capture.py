"""What a capture of the virtual world shows of one phone's actions and events."""

import pytest
from captured import MAC, PHONE_ID, read_messages, read_packets
from scapy.layers.dhcp import BOOTP
from scapy.layers.inet import IP, TCP, UDP
from scapy.layers.l2 import ARP, Ether
from virtual_parts import SPEC

from phonesim.capture import RefusedHandshake
from phonesim.device import actions as do
from phonesim.device import events as on
from phonesim.device.outcome import ConnectFailure
from phonesim.pcapng_writer import PcapngWriter
from phonesim.virtual_capture import VirtualCapture
from phonesim.wire.cert_provisioning import GetRootCertChains
from phonesim.wire.dhcp import BOOTREPLY, BROADCAST_FLAG, DhcpMessage, MessageType, decode_dhcp
from phonesim.wire.dns import DnsQuery, DnsResponse, decode_query, decode_response
from phonesim.wire.http import HttpRequest, HttpResponse
from phonesim.wire.ntp import CLIENT, SERVER, NtpPacket, decode_ntp
from phonesim.wire.sip import NameAddress, SipRequest, encode_sip, response_to

EPOCH = 1_764_072_000.25
PHONE, PEER, EVERYBODY = "10.0.0.7", "10.0.0.1", "255.255.255.255"
REGISTER = SipRequest(
    method="REGISTER",
    uri="sip:a.example",
    vias=("SIP/2.0/TLS 10.0.0.7:49153;branch=z9hG4bK1",),
    sender=NameAddress(uri="sip:u@a.example", tag="1"),
    recipient=NameAddress(uri="sip:u@a.example"),
    call_id="c1",
    cseq=1,
)
OK = response_to(REGISTER, 200, "OK")
QUERY = DnsQuery(id=7, qname="a.example", qtype="A")
RESPONSE = DnsResponse(id=7, qname="a.example", qtype="A", rcode="NXDOMAIN")


class Virtual:
    """A capture of one phone, at time `now`."""

    def __init__(self) -> None:
        self.blocks: list[bytes] = []
        self.capture = VirtualCapture([PcapngWriter(self.blocks.append)], EPOCH)

    def sent(self, action: do.Action, now: float = 1.5) -> None:
        self.capture.sent(SPEC, action, now)

    def received(self, event: on.Event, now: float = 2.0) -> None:
        self.capture.received(SPEC, event, now)

    def frames(self) -> list[Ether]:
        return [Ether(octets) for octets, _ in read_packets(b"".join(self.blocks))]

    def messages(self) -> list[tuple[object, ...]]:
        found = read_messages(read_packets(b"".join(self.blocks)))
        return [(each.protocol, *each.ends, each.octets) for each in found]


@pytest.fixture
def virtual() -> Virtual:
    return Virtual()


def message(kind: MessageType, **fields: object) -> DhcpMessage:
    return DhcpMessage(message_type=kind, xid=9, chaddr=MAC, **fields)  # type: ignore[arg-type]


def test_times_are_the_sites_epoch_and_virtual_seconds(virtual: Virtual) -> None:
    virtual.received(on.AddressProbed(address=PHONE), 3.000001)
    [(_, seen)] = read_packets(b"".join(virtual.blocks))
    assert seen.tshigh << 32 | seen.tslow == 1_764_072_003_250_001_000
    assert seen.comments == [PHONE_ID.encode()]


def test_a_discover_is_broadcast_from_the_dhcp_client_port(virtual: Virtual) -> None:
    discover = message(MessageType.DISCOVER, options={53: b"\x01"})
    virtual.sent(do.SendDhcp(message=discover, source="0.0.0.0", destination=EVERYBODY))
    [frame] = virtual.frames()
    assert (frame.src, frame.dst) == ("00:04:f2:00:00:01", "ff:ff:ff:ff:ff:ff")
    assert (frame[IP].src, frame[UDP].sport, frame[UDP].dport) == ("0.0.0.0", 68, 67)
    assert decode_dhcp(bytes(frame[UDP].payload)) == discover


@pytest.mark.parametrize(
    ("reply", "destination"),
    [
        (message(MessageType.OFFER, op=BOOTREPLY, yiaddr=PHONE), PHONE),
        (message(MessageType.OFFER, op=BOOTREPLY, yiaddr=PHONE, flags=BROADCAST_FLAG), EVERYBODY),
        (message(MessageType.ACK, op=BOOTREPLY, ciaddr=PHONE, flags=BROADCAST_FLAG), PHONE),
        (message(MessageType.NAK, op=BOOTREPLY), EVERYBODY),
    ],
    ids=["to the new address", "broadcast as asked", "to the address in use", "NAK"],
)
def test_a_reply_goes_where_rfc_2131_says(
    virtual: Virtual, reply: DhcpMessage, destination: str
) -> None:
    virtual.received(on.DhcpMessageReceived(message=reply, source=PEER))
    [frame] = virtual.frames()
    assert (frame[IP].src, frame[IP].dst) == (PEER, destination)
    assert (frame[UDP].sport, frame[UDP].dport) == (67, 68)
    assert frame[BOOTP].yiaddr == reply.yiaddr


def test_a_conflict_is_arp(virtual: Virtual) -> None:
    virtual.received(on.AddressProbed(address=PHONE, conflict="02-00-00-00-00-01"))
    probe, answer = virtual.frames()
    assert (probe[ARP].op, probe[ARP].pdst) == (1, PHONE)
    assert (answer[ARP].op, answer[ARP].hwsrc) == (2, "02:00:00:00:00:01")


def test_without_a_conflict_nobody_answers(virtual: Virtual) -> None:
    virtual.received(on.AddressProbed(address=PHONE))
    [probe] = virtual.frames()
    assert probe[ARP].op == 1


def test_dns_and_ntp_are_asked_and_answered_at_the_same_ports(virtual: Virtual) -> None:
    virtual.sent(do.SendDns(query=QUERY, source=PHONE, server=PEER))
    virtual.received(on.DnsResponseReceived(response=RESPONSE, server=PEER))
    asked_time, told_time = NtpPacket(mode=CLIENT), NtpPacket(mode=SERVER, stratum=2)
    virtual.sent(do.SendNtp(packet=asked_time, source=PHONE, server=PEER))
    virtual.received(on.NtpPacketReceived(packet=told_time, server=PEER))
    query, answer, asked, told = virtual.frames()
    for question, reply, port in ((query, answer, 53), (asked, told, 123)):
        assert (question[IP].src, question[IP].dst) == (PHONE, PEER)
        assert (reply[IP].src, reply[IP].dst) == (PEER, PHONE)
        assert question[UDP].dport == reply[UDP].sport == port
        assert question[UDP].sport == reply[UDP].dport
    assert decode_query(bytes(query[UDP].payload)) == QUERY
    assert decode_response(bytes(answer[UDP].payload)) == RESPONSE
    assert decode_ntp(bytes(told[UDP].payload)) == told_time


def test_dns_over_tcp_has_its_length_before_it(virtual: Virtual) -> None:
    virtual.sent(do.SendDns(query=QUERY, source=PHONE, server=PEER, over_tcp=True))
    virtual.received(on.DnsResponseReceived(response=RESPONSE, server=PEER, over_tcp=True))
    (_, phone, server, asked), (_, back, there, answered) = virtual.messages()
    assert (phone, server) == (there, back)
    for octets, read in ((asked, decode_query), (answered, decode_response)):
        assert isinstance(octets, bytes)
        assert int.from_bytes(octets[:2], "big") == len(octets) - 2
        read(octets[2:])


def http(exchange_id: int) -> do.SendHttp:
    return do.SendHttp(
        exchange_id=exchange_id,
        request=HttpRequest(
            scheme="https", host="a.example", port=443, path="/x", message=GetRootCertChains()
        ),
        source=PHONE,
        address=PEER,
        trust=None,
        clock=0,
        timeout=5,
    )


def test_an_answer_goes_back_to_where_its_request_came_from(virtual: Virtual) -> None:
    virtual.sent(http(3))
    virtual.sent(http(4))
    for exchange_id in (4, 3):
        answer = HttpResponse(status=503)
        virtual.received(on.HttpResponseReceived(exchange_id=exchange_id, response=answer))
    first, second, to_second, to_first = virtual.messages()
    assert first[1] != second[1]
    assert first[2] == (PEER, 443)
    assert (to_first[1:3], to_second[1:3]) == (first[2:0:-1], second[2:0:-1])
    assert isinstance(to_first[3], bytes)
    assert to_first[3].startswith(b"HTTP/1.1 503 ")


def test_a_request_that_was_refused_is_syn_and_rst(virtual: Virtual) -> None:
    virtual.capture.attempted(SPEC, http(3), None, 1.0)
    failed = on.HttpFailed(exchange_id=3, failure=ConnectFailure.REFUSED, detail="")
    virtual.received(failed)
    virtual.received(failed)
    assert [(str(frame[TCP].flags), frame[IP].dst) for frame in virtual.frames()] == [
        ("S", PEER),
        ("RA", PHONE),
    ]


def test_a_refused_handshake_is_told_when_it_fails(virtual: Virtual) -> None:
    handshake = RefusedHandshake(
        version="1.0", server_name="a.example", shown=(b"x",), alert=42, by_phone=True
    )
    virtual.capture.attempted(SPEC, http(3), handshake, 1.0)
    assert virtual.messages() == []
    failure = ConnectFailure.CERTIFICATE_WILDCARD
    virtual.received(on.HttpFailed(exchange_id=3, failure=failure, detail=""))
    assert [message[0] for message in virtual.messages()] == ["tls"] * 3


def test_an_answer_that_never_came_because_the_server_hung_up(virtual: Virtual) -> None:
    virtual.sent(http(3))
    failed = on.HttpFailed(exchange_id=3, failure=ConnectFailure.CLOSED, detail="")
    virtual.received(failed)
    [_, frame] = virtual.frames()
    assert Ether(bytes(frame))[TCP].flags == "FA"


def test_what_power_cut_off_is_forgotten(virtual: Virtual) -> None:
    virtual.capture.attempted(SPEC, http(3), None, 1.0)
    virtual.received(on.PowerApplied())
    virtual.received(on.HttpFailed(exchange_id=3, failure=ConnectFailure.REFUSED, detail=""))
    assert len(virtual.frames()) == 1


def opened(virtual: Virtual, connection_id: int = 1) -> None:
    virtual.sent(
        do.OpenConnection(
            connection_id=connection_id,
            source=PHONE,
            address=PEER,
            port=5061,
            transport="tls",
            server_name="a.example",
            trust=None,
            clock=0,
            timeout=5,
        )
    )
    virtual.received(
        on.ConnectionOpened(connection_id=connection_id, local_address=PHONE, local_port=50000)
    )


def test_sip_goes_both_ways_between_the_ends_of_its_connection(virtual: Virtual) -> None:
    opened(virtual)
    virtual.sent(do.SendSip(connection_id=1, message=REGISTER))
    virtual.received(on.SipMessageReceived(connection_id=1, message=OK))
    virtual.sent(do.SendKeepAlive(connection_id=1))
    phone, server = (PHONE, 50000), (PEER, 5061)
    assert virtual.messages() == [
        ("sip", phone, server, encode_sip(REGISTER)),
        ("sip", server, phone, encode_sip(OK)),
        ("sip", phone, server, b"\r\n\r\n"),
    ]


@pytest.mark.parametrize(
    "end",
    [
        on.ConnectionClosed(connection_id=1, detail=""),
        on.ConnectionFailed(connection_id=1, failure=ConnectFailure.CLOSED, detail=""),
        on.PowerApplied(),
        do.CloseConnection(connection_id=1),
    ],
)
def test_what_comes_after_a_connection_is_not_shown(
    virtual: Virtual, end: on.Event | do.Action
) -> None:
    opened(virtual)
    if isinstance(end, do.Action):
        virtual.sent(end)
    else:
        virtual.received(end)
    virtual.received(on.SipMessageReceived(connection_id=1, message=OK))
    assert virtual.messages() == []


def test_what_no_network_could_carry_is_not_shown(virtual: Virtual) -> None:
    query = DnsQuery(id=7, qname="x" * 64 + ".example", qtype="A")
    virtual.sent(do.SendDns(query=query, source=PHONE, server=PEER))
    assert virtual.frames() == []


def test_what_belongs_to_nothing_is_not_shown(virtual: Virtual) -> None:
    """A phone may close a connection before it is up, and is told of it all the same."""
    virtual.received(on.ConnectionOpened(connection_id=9, local_address=PHONE, local_port=1))
    virtual.sent(do.SendSip(connection_id=9, message=REGISTER))
    virtual.received(on.SipMessageReceived(connection_id=9, message=OK))
    virtual.received(on.HttpResponseReceived(exchange_id=9, response=HttpResponse(status=200)))
    assert virtual.messages() == []
