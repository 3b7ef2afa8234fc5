"""Connections of a phone, as a capture tells them: refused, silent, closed, plain and TLS."""

from __future__ import annotations

from pathlib import Path

import pytest
from captures import (
    PHONE,
    SERVER,
    TcpTalk,
    Timed,
    capture_of,
    lease,
    names,
    read,
    sightings,
    udp,
    values,
)

from phonesim.field.sightings import Sighting
from phonesim.virtual_certificates import shown_certificates
from phonesim.wire.dns import DnsQuery, DnsRecord, DnsResponse, encode_query, encode_response
from phonesim.wire.tcp_frame import ACK, FIN, RST, SYN
from phonesim.wire.tls_hello import (
    ClientHello,
    encode_alert,
    encode_client_hello,
    encode_server_flight,
)

NAME = "fe01.contoso.com"
DAY = 86400
NOW = 1_764_072_000
VALID = (NOW - DAY, NOW + DAY)


def named() -> list[bytes]:
    """The phone asks for the address of NAME."""
    query = encode_query(DnsQuery(id=1, qname=NAME, qtype="A"))
    record = DnsRecord(name=NAME, rtype="A", ttl=60, data=SERVER)
    answer = encode_response(DnsResponse(id=1, qname=NAME, qtype="A", answers=(record,)))
    return [
        udp((PHONE, 5000), (SERVER, 53), query),
        udp((SERVER, 53), (PHONE, 5000), answer),
    ]


def connections(folder: Path, *frames: Timed | bytes) -> list[Sighting]:
    """What is told after the lease and the name."""
    found = sightings(folder, *lease(), *named(), *frames)
    return [each for each in found if each.place.number > 6]


@pytest.mark.parametrize("kind", ["web", "registrar"])
def test_a_refused_connection(kind: str, tmp_path: Path) -> None:
    port = 5061 if kind == "registrar" else 443
    talk = TcpTalk(port)
    found = connections(tmp_path, talk.segment(SYN), talk.segment(RST | ACK, sent=False))
    assert values(found, "connect_failed") == [(f"{SERVER}:{port}", "refused")]
    if kind == "registrar":
        assert names(found) == [
            *("cache_used", "registrar_connecting", "connect_failed", "registrar_failed")
        ]
        assert values(found, "registrar_failed")[0][:2] == (f"{NAME}:5061", "refused")
    else:
        assert names(found) == ["cache_used", "connect_failed", "http_failed"]
        assert values(found, "http_failed")[0][1] == "refused"


def test_a_connection_that_nobody_answers(tmp_path: Path) -> None:
    talk = TcpTalk(5061)
    syn = talk.segment(SYN)
    found = connections(tmp_path, (1, syn), (2, syn), (4, syn), (30, TcpTalk(80).segment(SYN)))
    assert values(found, "connect_failed") == [(f"{SERVER}:5061", "timeout")]
    [failed] = [each for each in found if each.name == "registrar_failed"]
    assert (failed["failure"], failed.place.number) == ("timeout", 9)
    assert failed.text.startswith("nobody answers 10.0.0.7:")
    assert names(found).count("registrar_connecting") == 1


def test_a_phone_without_discovery_has_a_cache(tmp_path: Path) -> None:
    assert values(connections(tmp_path, *TcpTalk(443).open()), "cache_used") == [
        ("", f"{SERVER}:443", "")
    ]


def dns_over_tcp() -> tuple[bytes, bytes]:
    """A query and its answer, each behind its length."""
    record = DnsRecord(name=NAME, rtype="A", ttl=60, data=SERVER)
    query = encode_query(DnsQuery(id=2, qname=NAME, qtype="A"))
    answer = encode_response(DnsResponse(id=2, qname=NAME, qtype="A", answers=(record,)))
    return len(query).to_bytes(2, "big") + query, len(answer).to_bytes(2, "big") + answer


@pytest.mark.parametrize("size", [1, 7, 1000])
def test_dns_over_tcp_is_read(size: int, tmp_path: Path) -> None:
    talk = TcpTalk(53)
    query, answer = dns_over_tcp()
    frames = [*talk.open(), *talk.say(query * 2, size=size)]
    frames += [*talk.say(answer, sent=False, size=size), talk.segment(FIN | ACK, sent=False)]
    found = connections(tmp_path, *frames)
    assert values(found, "dns_sent") == [("A", NAME, SERVER, "tcp", 1)] * 2
    assert values(found, "dns_answer") == [("A", NAME, "NOERROR", SERVER, f"A {SERVER} ttl 60")]
    assert all(NAME in each.text for each in found)
    assert names(found) == ["dns_sent", "dns_sent", "dns_answer"]


def test_dns_over_tcp_that_is_refused_or_no_dns(tmp_path: Path) -> None:
    talk = TcpTalk(53)
    refused = [talk.segment(SYN), talk.segment(RST | ACK, sent=False)]
    assert connections(tmp_path, *refused) == []
    other = TcpTalk(53)
    found = connections(tmp_path, *other.open(), *other.say(b"\0\7garbage\xff"))
    assert [value[:3] for value in values(found, "malformed")] == [("dns", "phone", 7)]


def handshake(talk: TcpTalk, certificates: tuple[bytes, ...], said: bytes = b"") -> list[bytes]:
    hello = encode_client_hello(ClientHello("1.0", NAME), bytes(32))
    shown = encode_server_flight("1.0", bytes(32), certificates)
    return [*talk.open(), *talk.say(hello), *talk.say(shown, sent=False, size=100), *talk.say(said)]


@pytest.mark.parametrize(
    ("kind", "names_shown", "valid", "alert", "failure"),
    [
        ("valid", (NAME,), (NOW - 9 * DAY, NOW - DAY), 45, "certificate-expired"),
        ("valid", (NAME,), (NOW + DAY, NOW + 9 * DAY), 45, "certificate-not-yet-valid"),
        ("wildcard", (NAME,), VALID, 42, "certificate-wildcard"),
        ("wrong-name", (NAME,), VALID, 42, "certificate-name-mismatch"),
        ("untrusted", (NAME,), VALID, 48, "certificate-untrusted"),
        ("no-intermediate", (NAME,), VALID, 48, "certificate-issuer-missing"),
        ("valid", (NAME,), VALID, 40, "tls-failed"),
    ],
)
def test_a_certificate_that_the_phone_refuses(
    kind: str,
    names_shown: tuple[str, ...],
    valid: tuple[int, int],
    alert: int,
    failure: str,
    tmp_path: Path,
) -> None:
    talk = TcpTalk(5061)
    shown = shown_certificates(kind, names_shown, *valid)
    found = connections(tmp_path, *handshake(talk, shown, encode_alert(alert)))
    assert names(found)[2:] == [
        *("certificate_shown", "tls_alert", "connect_failed", "registrar_failed")
    ]
    [(server, asked, subject, listed, begins, ends, issuer, count, outdated)] = values(
        found, "certificate_shown"
    )
    assert outdated == (subject if valid != VALID else "")
    assert (server, asked, begins, ends) == (f"{SERVER}:5061", NAME, *valid)
    assert subject == str(listed).partition(",")[0]
    assert str(issuer).startswith("phonesim virtual")
    assert count == len(shown)
    assert values(found, "tls_alert")[0][:2] == (server, "phone")
    assert values(found, "connect_failed") == [(server, failure)]
    assert "the phone offers up to TLS 1.0" in next(
        each.text for each in found if each.name == "tls_alert"
    )


@pytest.mark.parametrize(
    ("ends", "failure"),
    [(NOW - DAY, "certificate-expired"), (NOW + DAY, "certificate-not-yet-valid")],
)
def test_an_issuers_certificate_that_the_phone_refuses(
    ends: int, failure: str, tmp_path: Path
) -> None:
    leaf = shown_certificates("valid", (NAME,), *VALID)[0]
    issuer = shown_certificates("valid", ("the issuer",), NOW - 9 * DAY, ends)[0]
    found = connections(tmp_path, *handshake(TcpTalk(443), (leaf, issuer), encode_alert(45)))
    [certificate] = [each for each in found if each.name == "certificate_shown"]
    assert certificate["subject"] == NAME
    assert certificate["not_after"] == min(ends, VALID[1])
    assert certificate["outdated"] == ("the issuer" if ends < NOW else "")
    assert ("of which the issuer is valid from" in certificate.text) is (ends < NOW)
    assert values(found, "http_failed")[0][1] == failure


def test_a_server_that_wants_a_newer_tls(tmp_path: Path) -> None:
    talk = TcpTalk(443)
    hello = encode_client_hello(ClientHello("1.0", NAME), bytes(32))
    refusal = talk.open() + talk.say(hello) + talk.say(encode_alert(70), sent=False)
    found = connections(tmp_path, *refusal)
    assert values(found, "tls_alert") == [(f"{SERVER}:443", "server", "protocol_version")]
    assert values(found, "http_failed")[0][1] == "tls-version-refused"


def test_a_handshake_that_goes_well_ends_in_what_nobody_can_read(tmp_path: Path) -> None:
    talk = TcpTalk(5061)
    data = b"\x14\x03\x01\0\x01\x01\x16\x03\x01\0\x02xx\x17\x03\x01\0\x04data"
    frames = handshake(talk, shown_certificates("valid", (NAME,), *VALID))
    frames += talk.say(data) + talk.say(data, sent=False)
    frames += [talk.segment(FIN | ACK, sent=False)]
    found = connections(tmp_path, *frames)
    assert names(found)[1:] == ["registrar_connecting", "certificate_shown", "registrar_connected"]


def test_a_server_that_hangs_up_in_the_handshake(tmp_path: Path) -> None:
    talk = TcpTalk(5061)
    hello = encode_client_hello(ClientHello("1.0", NAME), bytes(32))
    frames = [*talk.open(), *talk.say(hello), talk.segment(RST, sent=False)]
    assert values(connections(tmp_path, *frames), "connect_failed") == [
        (f"{SERVER}:5061", "closed")
    ]


def test_plain_http_is_read(tmp_path: Path) -> None:
    talk = TcpTalk(80)
    post = b"POST /CertProv HTTP/1.1\r\nHost: web.a\r\nContent-Length: 0\r\n\r\n"
    refusal = b"HTTP/1.1 404 Not Found\r\nContent-Length: 4\r\n\r\nnope"
    frames = talk.open() + talk.say(post, size=20) + talk.say(refusal, sent=False, size=9)
    found = connections(tmp_path, *frames)
    assert values(found, "http_sent") == [
        ("RequestSecurityToken", "http://web.a:80/CertProv", SERVER, 1)
    ]
    assert values(found, "http_answer") == [("RequestSecurityToken", 404, "no SOAP message")]


def test_plain_sip_is_read_and_garbage_is_said(tmp_path: Path) -> None:
    talk = TcpTalk(5060)
    register = (
        b"REGISTER sip:a.example SIP/2.0\r\nVia: SIP/2.0/TCP 10.0.0.7;branch=z9hG4bK1\r\n"
        b"From: <sip:u@a.example>;tag=1\r\nTo: <sip:u@a.example>\r\nCall-ID: 1\r\n"
        b"CSeq: 1 REGISTER\r\nMax-Forwards: 70\r\nExpires: 600\r\nContent-Length: 0\r\n\r\n"
    )
    answer = register.replace(b"REGISTER sip:a.example SIP/2.0", b"SIP/2.0 403 Forbidden")
    frames = [*talk.open(), *talk.say(register, size=50), *talk.say(b"\r\n\r\n")]
    frames += talk.say(answer, sent=False) + talk.say(b"garbage\r\n\r\n", sent=False)
    found = connections(tmp_path, *frames)
    assert values(found, "register_sent") == [(f"{NAME}:5060", 1, 600, "")]
    assert values(found, "register_answer") == [(403, "Forbidden", 1, "")]
    assert [value[0] for value in values(found, "malformed")] == ["sip"]


def test_a_capture_that_lacks_segments_says_so(tmp_path: Path) -> None:
    talk = TcpTalk(80)
    late = [*talk.open(), *talk.say(bytes(100_000))][4:]
    opening = TcpTalk(80)
    frames = [*lease(), *opening.open(), *late]
    _, reader = read(tmp_path, capture_of(frames))
    assert reader.notes == []
    missing = opening.say(bytes(100_000))[1:]
    _, reader = read(tmp_path, capture_of([*frames, *missing]))
    assert "1 TCP connection not read to the end" in reader.notes[0]
