from __future__ import annotations

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from phonesim.errors import DecodeError
from phonesim.virtual_handshake import VirtualClientHandshake, VirtualServerHandshake
from phonesim.wire.tls_records import describe_flight, encode_finished

NAME = "fe01.contoso.com"


def shake(seed="a", certificate=b"the certificate"):
    client = VirtualClientHandshake(seed, NAME, certificate)
    server = VirtualServerHandshake((NAME, "sip.contoso.com"))
    flights = [client.advance(b"")]
    for end in (server, client, server):
        flights.append(end.advance(flights[-1]))
    assert client.advance(flights[-1]) == b""
    return client, server, flights


def test_the_flights_are_those_of_tls_and_both_ends_have_the_same_keys():
    client, server, flights = shake()
    assert [describe_flight(flight) for flight in flights] == [
        "ClientHello",
        "ServerHello, Certificate, CertificateRequest, ServerHelloDone",
        "Certificate, ClientKeyExchange, CertificateVerify, ChangeCipherSpec, Finished",
        "ChangeCipherSpec, Finished",
    ]
    assert client.keys == server.keys
    assert server.certificate == b"the certificate"


def test_the_same_seed_gives_the_same_handshake_and_another_other_keys():
    assert shake()[2] == shake()[2]
    assert shake()[0].keys != shake("b")[0].keys
    assert shake()[0].keys != shake(certificate=b"another")[0].keys


def test_a_server_by_another_name_is_refused():
    client = VirtualClientHandshake("a", NAME, b"c")
    server = VirtualServerHandshake(("fe09.contoso.com",))
    with pytest.raises(DecodeError, match=f"not made for {NAME}"):
        client.advance(server.advance(client.advance(b"")))


def test_a_finished_that_is_wrong_ends_it_on_either_side():
    client = VirtualClientHandshake("a", NAME, b"c")
    server = VirtualServerHandshake((NAME,))
    flight = client.advance(server.advance(client.advance(b"")))
    with pytest.raises(DecodeError, match="client's Finished is wrong"):
        server.advance(flight[:-1] + b"!")
    with pytest.raises(DecodeError, match="server's Finished is wrong"):
        client.advance(encode_finished(b"!"))
    assert client.keys is None
    assert server.keys is None


@given(st.lists(st.binary(max_size=60), max_size=4))
def test_any_octets_are_taken_or_refused(flights):
    for end in (VirtualClientHandshake("a", NAME, b"c"), VirtualServerHandshake((NAME,))):
        for flight in flights:
            with contextlib.suppress(DecodeError):
                end.advance(flight)
        assert end.keys is None
