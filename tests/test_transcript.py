"""A run in words."""

from __future__ import annotations

from phonesim.capture import Capture
from phonesim.transcript import Transcript
from phonesim.wire.dns import DnsQuery, encode_query
from phonesim.wire.lldp import LldpUnit
from phonesim.wire.pcapng import INBOUND
from phonesim.wire.tls_hello import encode_alert

PHONE_ID, MAC = "00-04-F2-00-00-01", bytes.fromhex("0004f2000001")
PHONE, DNS, WEB = ("10.0.0.7", 49152), ("10.0.0.1", 53), ("10.0.0.2", 443)
SECOND = 1_000_000_000
EPOCH = 1_767_596_400 * SECOND


class Written:
    def __init__(self) -> None:
        self.octets: list[bytes] = []
        self.now = EPOCH
        self.transcript = Transcript(self.octets.append)
        self.capture = Capture([self.transcript], lambda: self.now, makes_frames=True)
        self.tap = self.capture.tap(PHONE_ID, MAC)

    def entries(self) -> list[list[str]]:
        return [entry.splitlines() for entry in b"".join(self.octets).decode().split("\n\n")[1:]]


def test_messages_stand_in_order_with_their_time_and_their_ends() -> None:
    written = Written()
    query = encode_query(DnsQuery(id=1, qname="web.contoso.com", qtype="A"))
    written.tap.sent_datagram(PHONE, DNS, query)
    written.now += SECOND // 4
    written.tap.sent_message("http", PHONE, WEB, b"GET /mex HTTP/1.1\r\nHost: x\r\n\r\n")
    written.tap.received_message("dns", PHONE, DNS, bytes(2) + query)
    head = b"".join(written.octets).decode().splitlines()[:2]
    assert head == [
        "Messages of a run, in order, without secrets. Times count from the first message.",
        "The first message was at 2026-01-05 07:00:00 UTC.",
    ]
    assert written.entries() == [
        [
            "   1      0.000 s  00-04-F2-00-00-01  10.0.0.7:49152 -> 10.0.0.1:53",
            "      DNS query A web.contoso.com",
        ],
        [
            "   2      0.250 s  00-04-F2-00-00-01  10.0.0.7:49152 -> 10.0.0.2:443",
            "      HTTP GET /mex",
            "          Host: x",
        ],
        [
            "   3      0.250 s  00-04-F2-00-00-01  10.0.0.1:53 -> 10.0.0.7:49152",
            "      DNS query A web.contoso.com",
        ],
    ]


def test_of_a_handshake_that_failed_the_messages_are_named() -> None:
    written = Written()
    written.tap.sent_message("tls", PHONE, WEB, encode_alert(42))
    [[_, title]] = written.entries()
    assert title.strip() == "TLS Alert (bad certificate)"


def test_what_is_no_message_is_left_out() -> None:
    written = Written()
    written.tap.probed("10.0.0.7", None)
    written.tap.sent_datagram(PHONE, ("10.0.0.1", 9999), b"something else")
    place = written.capture.add_interface("eth1", lambda: None)
    stranger = b"\xff" * 6 + b"\xfe" * 6 + b"\x08\x06" + bytes(28)
    written.capture.frame(place, EPOCH, stranger, INBOUND)
    assert written.entries() == []


def test_the_switch_and_the_clock_are_one_line_each() -> None:
    written = Written()
    unit = LldpUnit(chassis_subtype=4, chassis_id=MAC, port_subtype=3, port_id=MAC, ttl=120)
    written.tap.advertised(unit)
    written.tap.heard_lldp(unit)
    written.tap.sent_datagram(PHONE, ("10.0.0.1", 123), bytes(48))
    written.tap.received_datagram(PHONE, ("10.0.0.1", 123), bytes(48))
    assert [entry[1].strip() for entry in written.entries()] == [
        "LLDP advertisement",
        "LLDP advertisement",
        "NTP query",
        "NTP answer",
    ]
    assert written.entries()[1][0].endswith("from the switch")


def test_frames_that_are_missing_are_counted() -> None:
    written = Written()
    written.capture.statistics(0, EPOCH, 100, 0)
    assert written.entries() == []
    written.capture.statistics(0, EPOCH, 100, 7)
    assert b"".join(written.octets).endswith(b"7 of 100 frames are missing here.\n")


def test_a_frame_that_cannot_be_read_says_so() -> None:
    written = Written()
    frame = MAC + bytes(6) + b"\x08\x00" + b"\x45" + bytes(10)
    place = written.capture.add_interface("eth1", lambda: None)
    written.capture.frame(place, EPOCH, frame, INBOUND)
    assert "a frame that cannot be read" in written.entries()[0][1]
