"""Hellos and certificates of a TLS handshake, and real ones of OpenSSL."""

from __future__ import annotations

import ssl

import pytest
from hypothesis import given
from hypothesis import strategies as st

from phonesim.errors import DecodeError
from phonesim.wire.tls_hello import (
    ClientHello,
    decode_certificates,
    decode_client_hello,
    decode_server_version,
    encode_alert,
    encode_client_hello,
    encode_server_flight,
)
from phonesim.wire.tls_records import (
    ALERT,
    CERTIFICATE,
    CLIENT_HELLO,
    HANDSHAKE,
    SERVER_HELLO,
    UNKNOWN_CA,
    alert_name,
)
from phonesim.wire.tls_stream import TlsStream

RANDOM = bytes(range(32))


@pytest.mark.parametrize("version", ["1.0", "1.1", "1.2", "1.3"])
def test_a_hello_is_read_as_it_was_written(version: str) -> None:
    hello = ClientHello(version, "web.contoso.com")
    [part] = TlsStream().feed(encode_client_hello(hello, RANDOM))
    assert (part.kind, part.number) == (HANDSHAKE, CLIENT_HELLO)
    assert decode_client_hello(part.body) == hello


@pytest.mark.parametrize(("newest", "version"), [("TLSv1_2", "1.2"), ("TLSv1_3", "1.3")])
def test_the_hello_of_openssl(newest: str, version: str) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.maximum_version = ssl.TLSVersion[newest]
    outgoing = ssl.MemoryBIO()
    client = context.wrap_bio(ssl.MemoryBIO(), outgoing, server_hostname="fe01.contoso.com")
    with pytest.raises(ssl.SSLWantReadError):
        client.do_handshake()
    [part] = TlsStream().feed(outgoing.read())
    assert decode_client_hello(part.body) == ClientHello(version, "fe01.contoso.com")


def test_a_flight_of_a_server_shows_its_certificates() -> None:
    hello, shown, _ = TlsStream().feed(encode_server_flight("1.1", RANDOM, [b"leaf", b"issuer"]))
    assert (hello.number, shown.number) == (SERVER_HELLO, CERTIFICATE)
    assert decode_server_version(hello.body) == "1.1"
    assert decode_certificates(shown.body) == (b"leaf", b"issuer")


def test_an_alert_has_its_number() -> None:
    [part] = TlsStream().feed(encode_alert(UNKNOWN_CA))
    assert (part.kind, alert_name(part.body)) == (ALERT, "unknown CA")


@given(st.binary(max_size=200))
def test_any_body_is_read_or_refused(body: bytes) -> None:
    for read in (decode_client_hello, decode_server_version, decode_certificates):
        try:
            read(body)
        except DecodeError:
            continue
