"""What a capture shows, as scapy reads it."""

import msgspec
import pytest
from captured import MAC, PHONE_ID, Captured
from scapy.layers.dhcp import BOOTP
from scapy.layers.inet import IP, TCP, UDP
from scapy.layers.l2 import ARP, Dot1Q, Ether

from phonesim.capture import RefusedHandshake, without_secrets
from phonesim.wire.pcap import PacketReader
from phonesim.wire.pcapng import INBOUND, OUTBOUND
from phonesim.wire.soap import decode_soap_request, encode_soap
from phonesim.wire.tls_hello import ClientHello, decode_certificates, decode_client_hello
from phonesim.wire.tls_records import ALERT, CERTIFICATE, UNKNOWN_CA
from phonesim.wire.tls_stream import TlsPart, TlsStream
from phonesim.wire.web_ticket import PinCredential, RequestSecurityToken

OTHER_ID, OTHER = "00-04-F2-00-00-02", bytes.fromhex("0004f2000002")
STRANGER = bytes.fromhex("fe0000000001")
PHONE, SERVER = ("10.0.0.7", 49152), ("10.0.0.1", 53)
EVERYBODY = "255.255.255.255"


@pytest.fixture
def made() -> Captured:
    return Captured()


@pytest.fixture
def heard() -> Captured:
    return Captured(makes_frames=False)


def has_right_checksums(frame: Ether) -> bool:
    fresh = frame.copy()
    del fresh[IP].chksum, fresh[UDP].chksum
    built = Ether(bytes(fresh))
    return (built[IP].chksum, built[UDP].chksum) == (frame[IP].chksum, frame[UDP].chksum)


def test_a_datagram_becomes_a_frame_of_the_phone(made: Captured) -> None:
    made.tap.sent_datagram(PHONE, SERVER, b"question")
    octets, metadata = made.packet()
    frame = Ether(octets)
    assert (frame.src, frame.dst) == ("00:04:f2:00:00:01", "02:00:0a:00:00:01")
    assert (frame[IP].src, frame[IP].dst) == ("10.0.0.7", "10.0.0.1")
    assert (frame[UDP].sport, frame[UDP].dport) == (49152, 53)
    assert bytes(frame[UDP].payload) == b"question"
    assert has_right_checksums(frame)
    assert metadata.comments == [PHONE_ID.encode()]
    assert (metadata.direction, metadata.tslow, metadata.ifname) == (OUTBOUND, 5, b"frames")


def test_an_answer_comes_from_the_servers_made_mac(made: Captured) -> None:
    made.tap.received_datagram(PHONE, SERVER, b"answer")
    octets, metadata = made.packet()
    frame = Ether(octets)
    assert (frame.src, frame.dst) == ("02:00:0a:00:00:01", "00:04:f2:00:00:01")
    assert (frame[IP].src, frame[UDP].sport) == ("10.0.0.1", 53)
    assert has_right_checksums(frame)
    assert metadata.direction == INBOUND


def test_broadcasts_go_to_everybody(made: Captured) -> None:
    made.tap.sent_datagram(("0.0.0.0", 68), (EVERYBODY, 67), b"discover")
    made.tap.received_datagram((EVERYBODY, 68), ("10.0.0.1", 67), b"offer")
    assert [Ether(octets).dst for octets, _ in made.packets()] == ["ff:ff:ff:ff:ff:ff"] * 2


def test_a_probe_and_its_answer_are_arp(made: Captured) -> None:
    made.tap.probed("10.0.0.7", "FE-00-00-00-00-01")
    probe, answer = (Ether(octets) for octets, _ in made.packets())
    assert (probe.dst, probe[ARP].op, probe[ARP].psrc) == ("ff:ff:ff:ff:ff:ff", 1, "0.0.0.0")
    assert (answer.src, answer[ARP].op, answer[ARP].psrc) == ("fe:00:00:00:00:01", 2, "10.0.0.7")


WEB = ("10.0.0.1", 443)
HANDSHAKE = RefusedHandshake(
    version="1.2",
    server_name="web.contoso.com",
    shown=(b"certificate", b"issuer"),
    alert=UNKNOWN_CA,
    by_phone=True,
)


def test_a_refused_and_a_silent_connection_are_segments(made: Captured) -> None:
    made.tap.attempted(PHONE, WEB)
    made.tap.refused(PHONE, WEB)
    made.tap.attempted(PHONE, WEB)
    made.tap.ended(PHONE, WEB)
    flags = [(str(frame[TCP].flags), frame[TCP].dport) for frame in made.frames()]
    assert flags == [("S", 443), ("RA", PHONE[1]), ("S", 443), ("FA", PHONE[1])]


@pytest.mark.parametrize("by_phone", [True, False])
def test_a_refused_handshake_shows_who_said_what(made: Captured, by_phone: bool) -> None:
    shown = HANDSHAKE.shown if by_phone else ()
    handshake = msgspec.structs.replace(HANDSHAKE, by_phone=by_phone, shown=shown)
    made.tap.refused_tls(PHONE, WEB, handshake)
    [accepted] = made.frames()
    assert str(accepted[TCP].flags) == "SA"
    sides: dict[bool, list[TlsPart]] = {True: [], False: []}
    for message in made.messages():
        assert message.protocol == "tls"
        sides[message.direction == OUTBOUND] += TlsStream().feed(message.octets)
    hello = sides[True][0]
    assert decode_client_hello(hello.body) == ClientHello("1.2", "web.contoso.com")
    alert = sides[by_phone][-1]
    assert (alert.kind, alert.body[1]) == (ALERT, UNKNOWN_CA)
    certificates = [part.body for part in sides[False] if part.number == CERTIFICATE]
    assert [decode_certificates(body) for body in certificates] == ([shown] if by_phone else [])


def test_where_an_interface_is_heard_no_connection_is_made(heard: Captured) -> None:
    heard.tap.attempted(PHONE, WEB)
    heard.tap.refused(PHONE, WEB)
    heard.tap.refused_tls(PHONE, WEB, HANDSHAKE)
    assert heard.packets() == []


def test_an_announcement_is_arp(made: Captured) -> None:
    made.tap.announced("169.254.1.2")
    [frame] = made.frames()
    assert (frame[ARP].op, frame[ARP].psrc, frame[ARP].pdst) == (1, "169.254.1.2", "169.254.1.2")


def test_the_end_of_a_run_is_told(made: Captured) -> None:
    made.tap.attempted(PHONE, WEB)
    made.now = 77
    made.capture.end()
    reader = PacketReader(made.blocks)
    assert [packet.time_ns for packet in reader] == [5]
    assert reader.ended_ns == 77


def test_a_message_has_no_frame(made: Captured) -> None:
    made.tap.received_message("sip", PHONE, ("10.0.0.1", 5061), b"SIP/2.0 200 OK\r\n\r\n")
    octets, metadata = made.packet()
    assert octets.endswith(b"SIP/2.0 200 OK\r\n\r\n")
    assert (metadata.ifname, metadata.linktype) == (b"messages", 252)
    assert metadata.comments == [PHONE_ID.encode()]


def test_where_an_interface_is_heard_no_frames_are_made(heard: Captured) -> None:
    heard.tap.sent_datagram(PHONE, SERVER, b"question")
    assert heard.packets() == []
    heard.tap.sent_message("dns", PHONE, SERVER, b"\0\0")
    assert len(heard.packets()) == 1


def test_frames_that_wait_stand_before_a_message(heard: Captured) -> None:
    frame = bytes(Ether(src=MAC) / IP())
    place = heard.capture.add_interface(
        "eth1", lambda: heard.capture.frame(place, 1, frame, OUTBOUND)
    )
    heard.tap.sent_message("sip", PHONE, SERVER, b"")
    assert [metadata.ifname for _, metadata in heard.packets()] == [b"eth1", b"messages"]


def frames_of_one() -> dict[str, Ether]:
    dhcp = IP(src="10.0.0.1", dst=EVERYBODY) / UDP(sport=67, dport=68) / BOOTP(chaddr=MAC)
    arp = ARP(op=1, hwsrc=STRANGER, psrc="10.0.0.1", pdst=PHONE[0])
    tagged = Dot1Q(vlan=7, prio=5)
    return {
        "from its MAC": Ether(src=MAC, dst=STRANGER) / IP(src="1.2.3.4"),
        "to its MAC": Ether(src=STRANGER, dst=MAC) / IP(),
        "with a VLAN tag": Ether(src=MAC) / tagged / IP(),
        "broadcast DHCP": Ether(src=STRANGER) / dhcp,
        "broadcast DHCP in a VLAN": Ether(src=STRANGER) / tagged / dhcp,
        "from its address": Ether(src=STRANGER, dst=STRANGER) / IP(src=PHONE[0], dst="10.0.0.1"),
        "to its address": Ether(src=STRANGER, dst=STRANGER) / IP(src="10.0.0.1", dst=PHONE[0]),
        "in a VLAN, to its address": Ether(src=STRANGER) / tagged / IP(dst=PHONE[0]),
        "whoever asks for its address": Ether(src=STRANGER) / arp,
        "its claim under another MAC": Ether(src=STRANGER) / ARP(hwsrc=MAC, psrc="10.0.0.7"),
    }


@pytest.mark.parametrize("what", frames_of_one())
def test_a_frame_is_its_phones(heard: Captured, what: str) -> None:
    place = heard.capture.add_interface("eth1", lambda: None)
    heard.tap.owns(PHONE[0])
    heard.capture.tap(OTHER_ID, OTHER).owns("10.0.0.8")
    frame = bytes(frames_of_one()[what])
    heard.capture.frame(place, 9, frame, INBOUND)
    octets, metadata = heard.packet()
    assert octets == frame
    assert metadata.comments == [PHONE_ID.encode()]
    assert (metadata.ifname, metadata.tslow, metadata.direction) == (b"eth1", 9, INBOUND)


def test_an_address_is_the_last_phones_that_had_it(heard: Captured) -> None:
    place = heard.capture.add_interface("eth1", lambda: None)
    heard.tap.owns("10.0.0.7")
    heard.capture.tap(OTHER_ID, OTHER).owns("10.0.0.7")
    heard.capture.frame(place, 9, bytes(Ether(src=STRANGER) / IP(dst="10.0.0.7")), INBOUND)
    assert heard.packet()[1].comments == [OTHER_ID.encode()]


@pytest.mark.parametrize(
    ("frame", "is_shown"),
    [
        (Ether(src=STRANGER) / ARP(psrc="10.0.0.1", pdst="10.0.0.9"), True),
        (Ether(src=STRANGER, type=0x88CC) / b"\0\0", True),
        (Ether(src=STRANGER) / IP(src="10.0.0.1", dst="10.0.0.9"), False),
        (Ether(src=STRANGER, type=0x86DD) / bytes(40), False),
    ],
    ids=["ARP", "LLDP", "IPv4", "IPv6"],
)
def test_of_what_is_nobodys_only_arp_and_lldp_is_shown(
    heard: Captured, frame: Ether, is_shown: bool
) -> None:
    place = heard.capture.add_interface("eth1", lambda: None)
    heard.capture.frame(place, 9, bytes(frame), INBOUND)
    assert [metadata.comments for _, metadata in heard.packets()] == [None] * is_shown


@pytest.mark.parametrize("what", frames_of_one())
def test_a_frame_that_is_cut_anywhere_does_no_harm(heard: Captured, what: str) -> None:
    place = heard.capture.add_interface("eth1", lambda: None)
    whole = bytes(frames_of_one()[what])
    for size in range(len(whole)):
        heard.capture.frame(place, 9, whole[:size], INBOUND)
    assert len(heard.packets()) <= len(whole)


def test_a_phone_has_one_tap(made: Captured) -> None:
    assert made.capture.tap(PHONE_ID, MAC) is made.tap


def test_no_secret_is_in_a_message(made: Captured) -> None:
    request = RequestSecurityToken(
        context="c",
        applies_to="https://web.example/",
        credential=PinCredential(number="+14255550001", pin="80&0014"),
        entropy=bytes(range(32)),
    )
    body = encode_soap(request)
    made.tap.sent_message("http", PHONE, ("10.0.0.1", 443), b"POST / HTTP/1.1\r\n\r\n" + body)
    shown = made.packet()[0].partition(b"\r\n\r\n")[2]
    assert len(shown) == len(body)
    read = decode_soap_request(shown.replace(b"*" * 44, b"A" * 43 + b"="))
    assert isinstance(read, RequestSecurityToken)
    assert read.credential.pin == "*" * len("80&amp;0014")
    assert read.entropy == bytes(32)
    assert read.credential.number == request.credential.number


@pytest.mark.parametrize(
    ("soap", "shown"),
    [
        (b"<Password>1234</Password>", b"<Password>****</Password>"),
        (b"<a:Password Type='x'\n>12</a:Password>", b"<a:Password Type='x'\n>**</a:Password>"),
        (b"<p><BinarySecret>QUE=</BinarySecret></p>", b"<p><BinarySecret>****</BinarySecret></p>"),
        (b"<Password><![CDATA[1]]></Password>", b"<Password>*************</Password>"),
        (b"<w:Password>12", b"<w:Password>**"),
        (b"<PasswordHint>12</PasswordHint>", b"<PasswordHint>12</PasswordHint>"),
        (b"<Password/><a>1</a>", b"<Password/><a>1</a>"),
    ],
)
def test_secrets_are_found_however_they_are_written(soap: bytes, shown: bytes) -> None:
    assert without_secrets(soap) == shown
