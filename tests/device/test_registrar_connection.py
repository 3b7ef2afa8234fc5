from __future__ import annotations

import msgspec
import pytest
from connection_events import ME, PORT, closed, opened, refused
from playing import matching

from phonesim.config.device_profile import RegistrationConfig
from phonesim.device import device_log as log
from phonesim.device.actions import CloseConnection, OpenConnection, SendKeepAlive, SendSip
from phonesim.device.events import (
    CertificateIssued,
    LookupAnswered,
    LookupRequested,
    RegistrarAddress,
    RegistrarUnreachable,
    RegistrationWanted,
)
from phonesim.device.outcome import ConnectFailure, FailureReason
from phonesim.device.registrar_connection import RegistrarConnection
from phonesim.wire.dns import DnsRecord
from phonesim.wire.sip import NameAddress, SipRequest

EPOCH = 1.7e9
CHAIN = b"the chain"
FIRST = RegistrarAddress(host="fe01.contoso.com", port=5061, transport="tls", source="dhcp:x")
PLAIN = RegistrarAddress(host="pbx.contoso.com", port=5060, transport="tcp", source="dns:x")
NAME = "fe01.contoso.com:5061"
MESSAGE = SipRequest(
    method="REGISTER",
    uri="sip:contoso.com",
    vias=(),
    sender=NameAddress(uri="sip:a@contoso.com"),
    recipient=NameAddress(uri="sip:a@contoso.com"),
    call_id="c",
    cseq=1,
)


def wanted(*registrars):
    return RegistrationWanted(
        registrars=registrars,
        sip_uri="sip:a@contoso.com",
        certificate=b"the certificate",
        chain=CHAIN,
        source=ME,
    )


def connection(*registrars, **config):
    made = RegistrarConnection(RegistrationConfig(**config), lambda now: EPOCH + now)
    assert made.handle(wanted(*registrars), 0.0) == []
    return made


def looked_up(*addresses, registrar=FIRST, rcode="NOERROR"):
    return LookupAnswered(
        lookup_id="registration:registrar",
        qname=registrar.host,
        qtype="A",
        rcode=rcode,
        records=tuple(DnsRecord(registrar.host, "A", 60, address) for address in addresses),
    )


def opens(number, registrar=FIRST, *, address="10.0.0.21", at=0.0, trust=CHAIN):
    return OpenConnection(
        connection_id=number,
        source=ME,
        address=address,
        port=registrar.port,
        transport=registrar.transport,
        server_name=registrar.host,
        trust=trust if registrar.transport == "tls" else None,
        clock=EPOCH + at,
        timeout=10,
    )


def given(outputs):
    return [item for item in outputs if not isinstance(item, log.LogRecord)]


def open_connection(made=None, number=1, now=0.0):
    made = made or connection()
    made.reach(FIRST, now)
    made.handle(looked_up("10.0.0.21"), now)
    made.handle(opened(number), now)
    assert made.is_open
    return made


def test_a_registrar_is_looked_up_and_connected_to():
    made = connection()
    assert made.reach(FIRST, 0.0) == [
        LookupRequested(lookup_id="registration:registrar", qname=FIRST.host, qtype="A")
    ]
    assert made.handle(looked_up("10.0.0.21"), 1.0) == [
        log.REGISTRAR_CONNECTING(NAME, "10.0.0.21", "tls", "dhcp:x"),
        opens(1, at=1.0),
    ]
    assert not made.is_open
    assert made.handle(opened(), 2.0) == [
        log.REGISTRAR_CONNECTED(NAME, f"{ME}:{PORT}"),
        opened(),
    ]
    assert made.is_open


def test_an_address_needs_no_lookup_and_tcp_no_trust():
    there = msgspec.structs.replace(PLAIN, host="10.0.0.30")
    assert given(connection().reach(there, 0.0)) == [opens(1, there, address="10.0.0.30")]


def test_a_new_certificate_brings_the_trust_of_the_next_connection():
    made = connection()
    issued = CertificateIssued(sip_uri="sip:a@contoso.com", certificate=b"", chain=b"new")
    assert made.handle(issued, 0.0) == []
    made.reach(FIRST, 0.0)
    assert given(made.handle(looked_up("10.0.0.21"), 0.0)) == [opens(1, trust=b"new")]


# --- what fails ---

CONNECT_REASONS = {
    ConnectFailure.REFUSED: FailureReason.REGISTRAR_REFUSED,
    ConnectFailure.UNREACHABLE: FailureReason.REGISTRAR_REFUSED,
    ConnectFailure.CLOSED: FailureReason.REGISTRAR_REFUSED,
    ConnectFailure.TIMEOUT: FailureReason.REGISTRAR_TIMEOUT,
    ConnectFailure.CERTIFICATE_EXPIRED: FailureReason.CERTIFICATE_EXPIRED,
    ConnectFailure.CERTIFICATE_NOT_YET_VALID: FailureReason.CERTIFICATE_NOT_YET_VALID,
    ConnectFailure.CERTIFICATE_WILDCARD: FailureReason.CERTIFICATE_WILDCARD,
    ConnectFailure.CERTIFICATE_NAME_MISMATCH: FailureReason.CERTIFICATE_NAME_MISMATCH,
    ConnectFailure.CERTIFICATE_UNTRUSTED: FailureReason.CERTIFICATE_UNTRUSTED,
    ConnectFailure.CERTIFICATE_ISSUER_MISSING: FailureReason.CERTIFICATE_ISSUER_MISSING,
    ConnectFailure.CHAIN_UNUSABLE: FailureReason.CHAIN_UNUSABLE,
    ConnectFailure.TLS_VERSION_REFUSED: FailureReason.TLS_VERSION_REFUSED,
    ConnectFailure.TLS_FAILED: FailureReason.TLS_FAILED,
    ConnectFailure.MALFORMED: FailureReason.MALFORMED_ANSWER,
}


@pytest.mark.parametrize("failure", ConnectFailure)
def test_every_failure_has_its_reason(failure):
    made = connection()
    made.reach(FIRST, 0.0)
    made.handle(looked_up("10.0.0.21"), 0.0)
    assert made.handle(refused(1, failure), 1.0) == [
        log.REGISTRAR_FAILED(NAME, failure, "no luck"),
        RegistrarUnreachable(reason=CONNECT_REASONS[failure], detail=f"{NAME}: no luck"),
    ]
    assert made.close() == []


def test_every_address_of_a_name_is_tried():
    made = connection()
    made.reach(FIRST, 0.0)
    assert given(made.handle(looked_up("10.0.0.21", "10.0.0.22"), 0.0)) == [opens(1)]
    assert given(made.handle(refused(1), 0.0)) == [opens(2, address="10.0.0.22")]
    (failed,) = given(made.handle(refused(2), 0.0))
    assert failed.reason is FailureReason.REGISTRAR_REFUSED


@pytest.mark.parametrize("rcode", ["NXDOMAIN", "NOERROR", "TIMEOUT"])
def test_a_name_without_address_is_a_failure(rcode):
    made = connection()
    made.reach(FIRST, 0.0)
    detail = f"{FIRST.host}: {rcode}, no address"
    assert made.handle(looked_up(rcode=rcode), 0.0) == [
        log.REGISTRAR_FAILED(NAME, "unresolved", detail),
        RegistrarUnreachable(reason=FailureReason.REGISTRAR_NAME_UNRESOLVED, detail=detail),
    ]


# --- addresses that are known ---


@pytest.mark.parametrize("rcode", ["TIMEOUT", "SERVFAIL"])
def test_without_dns_the_addresses_serve_where_the_phone_last_registered(rcode):
    made = open_connection()
    assert made.addresses(FIRST.host) == ()
    made.remember()
    assert made.addresses(FIRST.host) == ("10.0.0.21",)
    made.close()
    made.reach(FIRST, 5.0)
    remembered, *others = made.handle(looked_up(rcode=rcode), 5.0)
    assert remembered == matching(log.REGISTRAR_REMEMBERED, addresses="10.0.0.21")
    assert given(others) == [opens(2, at=5.0)]


@pytest.mark.parametrize("rcode", ["NXDOMAIN", "NOERROR"])
def test_dns_that_says_that_there_is_none_is_believed(rcode):
    made = open_connection()
    made.remember()
    made.close()
    made.reach(FIRST, 5.0)
    (failed,) = given(made.handle(looked_up(rcode=rcode), 5.0))
    assert failed.reason is FailureReason.REGISTRAR_NAME_UNRESOLVED


def test_the_cache_s_addresses_are_known_too_but_dns_goes_before_them():
    cached = msgspec.structs.replace(FIRST, addresses=("10.0.0.7", "10.0.0.8"))
    made = connection(cached)
    made.reach(cached, 0.0)
    assert given(made.handle(looked_up(rcode="TIMEOUT"), 0.0)) == [opens(1, address="10.0.0.7")]
    assert given(made.handle(refused(1), 0.0)) == [opens(2, address="10.0.0.8")]
    made = connection(cached)
    made.reach(cached, 0.0)
    assert given(made.handle(looked_up("10.0.0.21"), 0.0)) == [opens(1)]


# --- having it ---


def test_what_is_sent_puts_the_keep_alive_off():
    made = open_connection()
    made.keep_alive_within(100, 0.0)
    assert made.keep_alive_at == 80.0
    assert made.send(MESSAGE, 50.0) == SendSip(connection_id=1, message=MESSAGE)
    assert made.keep_alive_at == 130.0
    assert made.keep_alive(130.0) == SendKeepAlive(connection_id=1)
    assert made.keep_alive_at == 210.0
    made.keep_alive_within(None, 200.0)
    assert made.keep_alive_at == 280.0


def test_the_shortest_keep_alive_interval_is_a_second():
    made = open_connection()
    made.keep_alive_within(0, 5.0)
    assert made.keep_alive_at == 6.0


def test_a_new_connection_forgets_the_old_server_s_timeout():
    made = open_connection(connection(keep_alive_interval=60))
    made.keep_alive_within(300, 0.0)
    made.close()
    open_connection(made, 2)
    made.send(MESSAGE, 0.0)
    assert made.keep_alive_at == 60.0


# --- the end ---


def test_a_close_is_given_on_if_it_ended_the_open_connection():
    made = open_connection()
    assert made.carries(1)
    assert not made.carries(2)
    assert made.handle(closed(2), 0.0) == []
    assert made.handle(closed(1), 0.0) == [closed(1)]
    assert not made.carries(1)
    assert made.handle(closed(1), 0.0) == []
    assert made.close() == []


@pytest.mark.parametrize(
    ("events", "expected"),
    [
        ([], []),
        ([looked_up("10.0.0.21")], [CloseConnection(connection_id=1)]),
        ([looked_up("10.0.0.21"), opened()], [CloseConnection(connection_id=1)]),
    ],
    ids=["resolving", "connecting", "open"],
)
def test_after_the_end_nothing_wakes_it(events, expected):
    made = connection()
    made.reach(FIRST, 0.0)
    for event in events:
        made.handle(event, 0.0)
    assert made.close() == expected
    for event in (looked_up("10.0.0.21"), opened(), refused(), closed()):
        assert made.handle(event, 1.0) == []


def test_the_lookup_of_another_registrar_is_dropped():
    made = connection()
    made.reach(FIRST, 0.0)
    assert made.handle(looked_up("10.0.0.30", registrar=PLAIN), 0.0) == []


def test_events_of_an_earlier_connection_are_dropped():
    made = open_connection()
    made.close()
    made.reach(FIRST, 0.0)
    made.handle(looked_up("10.0.0.21"), 0.0)
    for event in (closed(1), refused(1), opened(1)):
        assert made.handle(event, 0.0) == []
    assert made.handle(opened(2), 0.0)[-1] == opened(2)
