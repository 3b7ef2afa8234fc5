"""Which hosts of a capture are phones."""

from __future__ import annotations

from pathlib import Path

import pytest
from captures import MAC, PHONE, SERVER, TcpTalk, capture_of, names, read, request, sightings, udp

from phonesim.field.captures.phones_in_captures import maker_prefixes
from phonesim.wire.dhcp import MessageType
from phonesim.wire.dns import DnsQuery, encode_query

OTHER = bytes.fromhex("020000000099")
DISCOVER, INFORM = MessageType.DISCOVER, MessageType.INFORM


@pytest.mark.parametrize(
    "frame",
    [
        request(DISCOVER, mac=OTHER, vendor_class=b"CPE-OCPHONE"),
        request(DISCOVER, mac=OTHER, vendor_class=b"ms-uc-client"),
        request(INFORM, mac=OTHER, vendor_class=b"Other", asked=(120, 1, 43), ciaddr=PHONE),
        request(DISCOVER, mac=MAC, vendor_class=b""),
        request(DISCOVER, mac=OTHER, giaddr="10.0.0.254", destination=SERVER),
    ],
    ids=["class", "class in the wrong case", "INFORM", "maker", "relayed"],
)
def test_a_phone(frame: bytes, tmp_path: Path) -> None:
    assert names(sightings(tmp_path, frame))[0] == "dhcp_sent"


@pytest.mark.parametrize(
    "frame",
    [
        request(DISCOVER, mac=OTHER, vendor_class=b"MSFT 5.0"),
        request(DISCOVER, mac=MAC, vendor_class=b"MSFT 5.0"),
        request(DISCOVER, mac=MAC, vendor_class=b"Polycom-VVX410"),
        request(DISCOVER, mac=MAC, vendor_class=b"AastraIPPhone"),
        request(INFORM, mac=OTHER, vendor_class=b"MSFT 5.0", asked=(43,), ciaddr=PHONE),
        udp((PHONE, 5000), (SERVER, 53), b"no query"),
    ],
    ids=[
        "Windows",
        "Windows of a maker",
        "VVX",
        "Aastra",
        "INFORM for 43 alone",
        "no query for SIP",
    ],
)
def test_no_phone(frame: bytes, tmp_path: Path) -> None:
    found, reader = read(tmp_path, capture_of([frame]))
    assert (found, reader.phones) == ([], 0)
    assert "no packet of 1 is a phone's" in reader.notes[0]


def test_a_maker_asks_for_a_registrar_or_connects_to_one(tmp_path: Path) -> None:
    query = encode_query(DnsQuery(id=1, qname="_sipinternaltls._tcp.a.example", qtype="SRV"))
    assert names(sightings(tmp_path, udp((PHONE, 5000), (SERVER, 53), query))) == ["dns_sent"]
    connecting = TcpTalk(5061).open()
    assert names(sightings(tmp_path, *connecting)) == ["registrar_connecting"]
    assert sightings(tmp_path, *TcpTalk(443).open()) == []


def test_the_makers_are_those_of_the_device_profiles() -> None:
    assert MAC[:3] in maker_prefixes()
    assert len(maker_prefixes()) >= 3
