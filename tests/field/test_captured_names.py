"""DNS and NTP of a phone, as a capture tells them."""

from __future__ import annotations

from pathlib import Path

from captures import PHONE, SERVER, lease, names, request, sightings, udp, values

from phonesim.wire import ntp
from phonesim.wire.dhcp import MessageType
from phonesim.wire.dns import (
    DnsQuery,
    DnsRecord,
    DnsResponse,
    SrvData,
    encode_query,
    encode_response,
)

SRV = "_sipinternaltls._tcp.a.example"


def query(number: int, name: str = "web.a.example", qtype: str = "A") -> bytes:
    octets = encode_query(DnsQuery(id=number, qname=name, qtype=qtype))
    return udp((PHONE, 5000), (SERVER, 53), octets)


def answer(response: DnsResponse) -> bytes:
    return udp((SERVER, 53), (PHONE, 5000), encode_response(response))


def test_queries_are_counted_until_one_is_answered(tmp_path: Path) -> None:
    record = DnsRecord(name="web.a.example", rtype="A", ttl=60, data="10.0.0.9")
    found = sightings(
        tmp_path,
        *lease(),
        query(1),
        query(2),
        answer(DnsResponse(id=2, qname="web.a.example", qtype="A", answers=(record,))),
        query(3),
        answer(DnsResponse(id=9, qname="web.a.example", qtype="A")),
    )[5:]
    assert [value[-1] for value in values(found, "dns_sent")] == [1, 2, 1]
    assert values(found, "dns_answer") == [
        ("A", "web.a.example", "NOERROR", SERVER, "A 10.0.0.9 ttl 60")
    ]
    assert values(found, "dns_ignored")[0][:2] == ("web.a.example", SERVER)


def test_an_error_is_an_answer_and_the_query_goes_on(tmp_path: Path) -> None:
    failed = answer(DnsResponse(id=1, qname="web.a.example", qtype="A", rcode="SERVFAIL"))
    found = sightings(tmp_path, *lease(), query(1), failed, query(2))[5:]
    assert names(found) == ["dns_sent", "dns_answer", "dns_sent"]
    assert found[2]["attempt"] == 2


def test_an_srv_record_and_what_cannot_be_read(tmp_path: Path) -> None:
    data = SrvData(priority=10, weight=0, port=5061, target="fe01.a.example")
    record = DnsRecord(name=SRV, rtype="SRV", ttl=60, data=data)
    found = sightings(
        tmp_path,
        *lease(),
        query(1, SRV, "SRV"),
        answer(DnsResponse(id=1, qname=SRV, qtype="SRV", answers=(record,))),
        udp((SERVER, 53), (PHONE, 5000), b"\0\1\x81garbage"),
    )[5:]
    assert found[1]["records"] == "SRV 10 0 5061 fe01.a.example ttl 60"
    assert values(found, "malformed")[0][:3] == ("dns", SERVER, 10)


# --- NTP ---


def clock(packet: ntp.NtpPacket, *, sent: bool = True) -> bytes:
    ends = ((PHONE, 123), (SERVER, 123))
    return udp(*(ends if sent else ends[::-1]), ntp.encode_ntp(packet))


ASKED = ntp.from_unix(1_000_000_000)


def test_the_offset_is_that_which_the_phone_finds(tmp_path: Path) -> None:
    now = ntp.from_unix(1_764_072_000)
    given = ntp.NtpPacket(mode=ntp.SERVER, stratum=2, originate=ASKED, receive=now, transmit=now)
    found = sightings(
        tmp_path,
        *lease(),
        (1.0, clock(ntp.NtpPacket(mode=ntp.CLIENT, transmit=ASKED))),
        (1.5, clock(given, sent=False)),
    )[5:]
    assert names(found) == ["ntp_sent", "clock_set"]
    assert abs(float(found[1]["offset"]) - 764_071_999.75) < 0.001


def test_answers_that_the_phone_does_not_take(tmp_path: Path) -> None:
    stranger = ntp.NtpPacket(mode=ntp.SERVER, stratum=2, originate=5, transmit=1)
    unsynchronised = ntp.NtpPacket(mode=ntp.SERVER, stratum=16, originate=ASKED, transmit=1)
    found = sightings(
        tmp_path,
        *lease(),
        clock(ntp.NtpPacket(mode=ntp.CLIENT, transmit=ASKED)),
        clock(stranger, sent=False),
        clock(unsynchronised, sent=False),
    )[6:]
    assert [value[1] for value in values(found, "ntp_ignored")] == [
        "it does not answer an open packet",
        "the server is not synchronised",
    ]


def test_a_phone_that_goes_on_without_the_time(tmp_path: Path) -> None:
    asked = clock(ntp.NtpPacket(mode=ntp.CLIENT, transmit=ASKED))
    inform = request(MessageType.INFORM, xid=9, asked=(43, 120), ciaddr=PHONE)
    found = sightings(tmp_path, *lease(), (1, asked), (3, asked), (5, inform))[5:]
    assert names(found) == ["ntp_sent", "ntp_sent", "clock_not_set", "dhcp_sent"]
    assert found[2]["detail"] == f"{SERVER}: no answer"
    assert found[1]["attempt"] == 2
