from __future__ import annotations

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from phonesim.errors import DecodeError
from phonesim.wire.tls_records import (
    CERTIFICATE,
    CERTIFICATE_REQUEST,
    SERVER_HELLO,
    SERVER_HELLO_DONE,
    describe_flight,
    encode_finished,
    encode_handshake,
    read_flight,
)

HELLO = encode_handshake(
    (SERVER_HELLO, b"hello"), (CERTIFICATE, b"c" * 300), (CERTIFICATE_REQUEST, b"")
) + encode_handshake((SERVER_HELLO_DONE, b""))


def test_a_flight_is_named_by_its_messages():
    assert describe_flight(HELLO) == "ServerHello, Certificate, CertificateRequest, ServerHelloDone"
    assert [message.body for message in read_flight(HELLO)] == [b"hello", b"c" * 300, b"", b""]


def test_what_follows_a_change_cipher_spec_is_finished():
    assert describe_flight(encode_finished(b"\x99" * 48)) == "ChangeCipherSpec, Finished"


def test_a_message_may_be_spread_over_records():
    message = encode_handshake((CERTIFICATE, b"c" * 60))[5:]
    parts = [message[:2], message[2:30], message[30:]]
    records = b"".join(b"\x16\x03\x01" + len(part).to_bytes(2, "big") + part for part in parts)
    assert [each.body for each in read_flight(records)] == [b"c" * 60]


def test_an_alert_says_what_is_wrong():
    assert describe_flight(b"\x15\x03\x01\x00\x02\x02\x30") == "Alert (unknown CA)"
    assert describe_flight(b"\x15\x03\x01\x00\x02\x02\xff") == "Alert (number 255)"
    assert describe_flight(b"\x15\x03\x01\x00\x20" + b"x" * 32) == "Alert (encrypted)"


@pytest.mark.parametrize(
    ("octets", "problem"),
    [
        (b"", "no record"),
        (b"garbage", "do not begin with a record"),
        (b"\x16\x03\x01", "3 octets are too few"),
        (b"\x17\x03\x01\x00\x01x", "do not begin with a record"),
        (b"\x16\x03\x01\x00\x00", "a record of 0 octets"),
        (b"\x16\x03\x01\xff\xff", "a record of 65535 octets"),
        (HELLO[:-1], "a record has 3 of 4 octets"),
        (HELLO[:40], "octets"),
        (b"\x16\x03\x01\x00\x03\x01\x00\x00", "the last handshake message is cut off"),
        (
            b"\x16\x03\x01\x00\x03\x01\x00\x00\x15\x03\x01\x00\x02\x02\x30",
            "cut off by another record",
        ),
        (b"\x16\x03\x01\x00\x04\x63\x00\x00\x00", "99 is no type"),
    ],
)
def test_what_is_no_flight_is_refused_with_a_reason(octets, problem):
    with pytest.raises(DecodeError, match=problem):
        read_flight(octets)


@given(st.binary(max_size=400) | st.binary(max_size=100).map(lambda tail: HELLO + tail))
def test_any_octets_are_read_or_refused(octets):
    with contextlib.suppress(DecodeError):
        assert read_flight(octets)
