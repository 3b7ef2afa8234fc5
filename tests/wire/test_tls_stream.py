"""One direction of TLS, in pieces, until it is encrypted."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from phonesim.errors import DecodeError
from phonesim.wire.tls_hello import encode_alert, encode_server_flight
from phonesim.wire.tls_records import ALERT, HANDSHAKE, encode_finished
from phonesim.wire.tls_stream import TlsPart, TlsStream

FLIGHT = encode_server_flight("1.0", bytes(32), [b"certificate" * 30])


def numbers(parts: list[TlsPart]) -> list[tuple[int, int]]:
    return [(part.kind, part.number) for part in parts]


@given(st.integers(1, len(FLIGHT) - 1))
def test_messages_come_when_they_are_whole(cut: int) -> None:
    stream = TlsStream()
    parts = stream.feed(FLIGHT[:cut]) + stream.feed(FLIGHT[cut:])
    assert numbers(parts) == [(HANDSHAKE, 2), (HANDSHAKE, 11), (HANDSHAKE, 14)]


def test_a_message_in_several_records() -> None:
    body = FLIGHT[5:]
    half = len(body) // 2
    records = b"".join(
        b"\x16\x03\x01" + len(part).to_bytes(2, "big") + part for part in (body[:half], body[half:])
    )
    assert numbers(TlsStream().feed(records)) == [(HANDSHAKE, 2), (HANDSHAKE, 11), (HANDSHAKE, 14)]


def test_what_is_encrypted_is_left_alone() -> None:
    stream = TlsStream()
    assert stream.feed(encode_finished(b"secret" * 7)) == []
    encrypted_alert = b"\x15\x03\x03\0\x1a" + bytes(26)
    assert stream.feed(encrypted_alert) == []
    assert not stream.is_closed
    assert stream.feed(b"\x17\x03\x03\0\x02ab" + encode_alert(40)) == []
    assert stream.is_closed


def test_a_plain_alert_is_read() -> None:
    [part] = TlsStream().feed(encode_alert(70))
    assert (part.kind, part.body) == (ALERT, b"\2\x46")


@pytest.mark.parametrize(
    "octets", [b"GET / HTTP/1.1\r\n", b"\x16\x03\x01\xff\xff", b"\x16\2\0\0\1x"]
)
def test_what_is_no_tls_closes_the_stream(octets: bytes) -> None:
    stream = TlsStream()
    with pytest.raises(DecodeError):
        stream.feed(octets)
    assert stream.is_closed


@given(st.lists(st.binary(max_size=80), max_size=6))
def test_any_octets_are_messages_or_no_tls(pieces: list[bytes]) -> None:
    stream = TlsStream()
    for piece in pieces:
        try:
            stream.feed(piece)
        except DecodeError:
            assert stream.is_closed
