"""Packets in one line of words."""

from __future__ import annotations

import pytest

from phonesim.field.captures.captured_words import (
    dhcp_words,
    dns_words,
    http_words,
    plain_words,
    sip_words,
    tls_words,
)
from phonesim.wire.dhcp import DhcpMessage, MessageType, encode_dhcp
from phonesim.wire.dns import DnsQuery, encode_query
from phonesim.wire.tls_hello import encode_alert

ENDS = (("10.0.0.1", 67), ("10.0.0.7", 68))
WHERE = "10.0.0.1:67 -> 10.0.0.7:68 "


def test_dhcp_has_the_options_that_matter_with_their_bytes() -> None:
    message = DhcpMessage(
        message_type=MessageType.ACK,
        xid=5,
        chaddr=bytes(6),
        options={12: b"left-out", 43: bytes.fromhex("010100"), 120: b"\0\1a\0"},
    )
    text = dhcp_words(encode_dhcp(message), ENDS)
    assert text.startswith(f"{WHERE}DHCP ACK; xid 0x00000005 secs 0")
    assert "option 43 vendor specific information: 010100" in text
    assert "option 120 sip servers: 00016100 (a)" in text
    assert "left-out" not in text


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (
            dns_words(encode_query(DnsQuery(id=1, qname="a.example", qtype="SRV")), ENDS),
            "DNS query SRV a.example",
        ),
        (tls_words(encode_alert(48), ENDS), "TLS Alert (unknown CA)"),
        (tls_words(b"\x16\x03", ENDS), "TLS"),
        (plain_words("NTP query", ENDS), "NTP query"),
        (http_words(b"POST /a HTTP/1.1\r\nHost: b\r\n\r\n", ENDS), "HTTP POST /a"),
        (
            http_words(b"HTTP/1.1 200 OK\r\n\r\n<s:Envelope><s:Body><Answer/></s:Body>", ENDS),
            "HTTP 200 OK, Answer",
        ),
        (
            http_words(b"HTTP/1.1 503 Busy\r\nRetry-After: 5\r\nServer: x\r\n\r\n", ENDS),
            "HTTP 503 Busy; Retry-After: 5",
        ),
    ],
)
def test_other_packets(text: str, words: str) -> None:
    assert text == WHERE + words


def test_sip_has_what_is_said_of_errors() -> None:
    octets = b'SIP/2.0 403 Forbidden\r\nms-diagnostics: 4004;reason="no"\r\nX: 1\r\n\r\n'
    assert 'ms-diagnostics: 4004;reason="no"' in sip_words(octets, ENDS)
    assert "X: 1" not in sip_words(octets, ENDS)
    assert sip_words(b"\r\n\r\n", ENDS).endswith("SIP keep-alive")


def test_a_line_has_an_end() -> None:
    assert len(http_words(b"GET /" + b"a" * 5000 + b" HTTP/1.1\r\n\r\n", ENDS)) <= 800
