"""The real inner handshake, both ends of it."""

from __future__ import annotations

import contextlib
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from phonesim.device.actions import BeginHandshake, ContinueHandshake
from phonesim.device.events import Event, HandshakeAdvanced, HandshakeFailed
from phonesim.drivers.authority import SiteAuthority
from phonesim.drivers.inner_tls import PhoneHandshake
from phonesim.drivers.key_pool import PhoneKey
from phonesim.drivers.key_worker import make_key
from phonesim.errors import DecodeError
from phonesim.wire.sipae import HmacKey
from phonesim.wire.tls_records import describe_flight

NAME = "fe01.contoso.com"


class Phone:
    """A phone's end, with a certificate of `authority`."""

    def __init__(self, authority: SiteAuthority, key: PhoneKey, user: str = "user1") -> None:
        now = int(time.time())
        csr = key.certificate_request(f"{user}@contoso.com")
        self.certificate = authority.issue(csr, now - 60, now + 3600)
        self.trust = authority.chain()
        self.key: bytes | None = key.der
        self.events: list[Event] = []
        self.end = PhoneHandshake(lambda: self.key, self.events.append)

    def begin(self, number: int = 1, version: str = "tls1.0", name: str = NAME, clock: float = 0):
        self.end.begin(
            BeginHandshake(
                handshake_id=number,
                server_name=name,
                certificate=self.certificate,
                trust=self.trust,
                clock=clock or time.time(),
                maximum_version=version,
            )
        )
        return self.events[-1]

    def go_on(self, flight: bytes, number: int = 1):
        self.end.go_on(ContinueHandshake(handshake_id=number, received=flight))
        return self.events[-1]


@pytest.mark.parametrize(("version", "mac_hash"), [("tls1.0", "sha1"), ("tls1.2", "sha1")])
def test_both_ends_come_to_the_same_keys_in_four_flights(
    site_authority: SiteAuthority, phone_key: PhoneKey, version: str, mac_hash: str
) -> None:
    phone = Phone(site_authority, phone_key)
    site = site_authority.accept_handshake((NAME,))
    flights = []
    event = phone.begin(version=version)
    while isinstance(event, HandshakeAdvanced) and event.keys is None:
        assert site.keys is None
        flights.append(event.flight)
        flights.append(site.advance(event.flight))
        event = phone.go_on(flights[-1])
    assert [describe_flight(flight) for flight in flights] == [
        "ClientHello",
        "ServerHello, Certificate, CertificateRequest, ServerHelloDone",
        "Certificate, ClientKeyExchange, CertificateVerify, ChangeCipherSpec, Finished",
        "ChangeCipherSpec, Finished",
    ]
    assert flights[0][:3] == b"\x16\x03\x01"
    assert isinstance(event, HandshakeAdvanced)
    assert event.keys == site.keys
    assert event.keys is not None
    assert isinstance(event.keys.client, HmacKey)
    assert event.keys.client.mac_hash == mac_hash
    assert event.keys.client != event.keys.server
    assert site.certificate == phone.certificate
    assert abs(event.valid_until - time.time() - 3600) < 60
    # The phone's flight holds its own certificate alone, 15 octets into it.
    assert flights[2][15 : 15 + len(phone.certificate)] == phone.certificate
    assert len(flights[2]) < 2 * len(phone.certificate) + 700


def test_a_server_that_the_phone_does_not_trust_is_refused(
    site_authority: SiteAuthority, phone_key: PhoneKey
) -> None:
    phone = Phone(site_authority, phone_key)
    stranger = SiteAuthority("Fabrikam").accept_handshake((NAME,))
    event = phone.go_on(stranger.advance(phone.begin().flight))
    assert isinstance(event, HandshakeFailed)
    assert event.detail == "TLS handshake failed: certificate verify failed"


@pytest.mark.parametrize(
    ("fields", "detail"),
    [
        ({"name": "fe02.contoso.com"}, "is for fe01.contoso.com, not for fe02.contoso.com"),
        ({"clock": 1.0e9}, "is not valid before"),
        ({"clock": 4.0e9}, "expired on"),
    ],
)
def test_names_and_dates_are_judged_as_the_phone_judges_them(
    site_authority: SiteAuthority, phone_key: PhoneKey, fields: dict, detail: str
) -> None:
    phone = Phone(site_authority, phone_key)
    site = site_authority.accept_handshake((NAME,))
    event = phone.go_on(site.advance(phone.begin(**fields).flight))
    assert isinstance(event, HandshakeFailed)
    assert detail in event.detail


def test_phones_of_one_key_shake_hands_side_by_side_each_with_its_own_certificate(
    site_authority: SiteAuthority, phone_key: PhoneKey
) -> None:
    phones = [Phone(site_authority, phone_key, user) for user in ("user1", "user2")]
    sites = [site_authority.accept_handshake((NAME,)) for _ in phones]
    for phone in phones:
        phone.begin()
    for _ in range(2):
        for phone, site in zip(phones, sites, strict=True):
            phone.go_on(site.advance(phone.events[-1].flight))
    for phone, site in zip(phones, sites, strict=True):
        assert phone.events[-1].keys == site.keys is not None
        assert site.certificate == phone.certificate


def test_a_phone_with_a_new_key_shakes_hands_with_that_one(
    site_authority: SiteAuthority, phone_key: PhoneKey
) -> None:
    for key in (phone_key, PhoneKey(make_key()), phone_key):
        phone = Phone(site_authority, key)
        site = site_authority.accept_handshake((NAME,))
        flight = site.advance(phone.begin().flight)
        site.advance(phone.go_on(flight).flight)
        assert site.certificate == phone.certificate
        assert site.keys is not None


def test_a_certificate_of_somebody_else_does_not_get_through(
    site_authority: SiteAuthority, phone_key: PhoneKey
) -> None:
    phone = Phone(site_authority, phone_key)
    phone.key = make_key()
    event = phone.begin()
    assert isinstance(event, HandshakeFailed)
    assert "no TLS handshake can begin" in event.detail
    assert "mismatch" in event.detail


def test_a_client_of_another_authority_is_for_the_registrar_to_judge(
    site_authority: SiteAuthority, phone_key: PhoneKey
) -> None:
    phone = Phone(SiteAuthority("Fabrikam"), phone_key)
    phone.trust = site_authority.chain()
    site = site_authority.accept_handshake((NAME,))
    event = phone.go_on(site.advance(phone.begin().flight))
    site.advance(event.flight)
    assert site.keys is not None
    assert site_authority.subject(site.certificate, int(time.time())) is None


@pytest.mark.parametrize(
    ("key", "certificate", "detail"),
    [(None, None, "the phone has no key"), (b"x", b"no certificate", "no TLS handshake can begin")],
)
def test_a_phone_without_its_identity_cannot_begin(
    site_authority: SiteAuthority,
    phone_key: PhoneKey,
    key: bytes | None,
    certificate: bytes | None,
    detail: str,
) -> None:
    phone = Phone(site_authority, phone_key)
    phone.key = key
    phone.certificate = certificate or phone.certificate
    event = phone.begin()
    assert isinstance(event, HandshakeFailed)
    assert detail in event.detail


def test_a_new_handshake_takes_the_place_of_the_last(
    site_authority: SiteAuthority, phone_key: PhoneKey
) -> None:
    phone = Phone(site_authority, phone_key)
    site = site_authority.accept_handshake((NAME,))
    hello = phone.begin(1)
    second = phone.begin(2)
    assert phone.go_on(site.advance(hello.flight), 1) is second


def test_a_flight_that_is_cut_off_is_refused_by_both(
    site_authority: SiteAuthority, phone_key: PhoneKey
) -> None:
    phone = Phone(site_authority, phone_key)
    site = site_authority.accept_handshake((NAME,))
    hello = phone.begin().flight
    with pytest.raises(DecodeError, match="the flight is not complete"):
        site.advance(hello[:20])
    whole = site_authority.accept_handshake((NAME,)).advance(hello)
    event = phone.go_on(whole[:40])
    assert isinstance(event, HandshakeFailed)
    assert "the flight is not complete" in event.detail


@settings(max_examples=60)
@given(octets=st.binary(max_size=200), cut=st.integers(0, 2000), flip=st.integers(0, 2000))
def test_whatever_comes_is_taken_or_refused(
    site_authority: SiteAuthority, phone_key: PhoneKey, octets: bytes, cut: int, flip: int
) -> None:
    phone = Phone(site_authority, phone_key)
    with contextlib.suppress(DecodeError):
        site_authority.accept_handshake((NAME,)).advance(octets)
    site = site_authority.accept_handshake((NAME,))
    flight = bytearray(site.advance(phone.begin().flight))
    flight[flip % len(flight)] ^= 0x55
    event = phone.go_on(bytes(flight[:cut]))
    assert isinstance(event, HandshakeFailed | HandshakeAdvanced)
    if isinstance(event, HandshakeAdvanced):
        with contextlib.suppress(DecodeError):
            site.advance(event.flight + octets)
