"""The TLS handshake of one connection in a capture: what can be read before it is encrypted.

The server's certificates up to TLS 1.2, the version that the phone offers, alerts. Of TLS 1.3
the certificates are encrypted, and so is what a phone thinks of them.

Specifications: RFC 5246 sections 7.2 and 7.4, RFC 5280 section 4.
"""

from __future__ import annotations

import datetime

import msgspec
from cryptography import x509
from cryptography.x509.oid import NameOID

from phonesim.device.device_log import LogRecord
from phonesim.device.outcome import ConnectFailure
from phonesim.errors import DecodeError
from phonesim.field.captured_seen import Seen, Told, shown
from phonesim.wire.tls_hello import (
    decode_certificates,
    decode_client_hello,
    decode_server_version,
)
from phonesim.wire.tls_records import ALERT, CERTIFICATE, CLIENT_HELLO, SERVER_HELLO, alert_name
from phonesim.wire.tls_stream import TlsStream

_CLOSE_NOTIFY = 0


class ShownCertificate(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """What matters of a certificate; times are Unix seconds."""

    subject: str
    names: tuple[str, ...]
    not_before: int
    not_after: int
    issuer: str


class TlsNarrator:
    """Tells one connection's handshake; `server` is what sightings call its server."""

    def __init__(self, server: str) -> None:
        self.failure = ""
        """A `ConnectFailure` that an alert tells, else empty."""
        self._server = server
        self._client, self._peer = TlsStream(), TlsStream()
        self._asked = ""
        self._offered = ""
        self._certificate: ShownCertificate | None = None

    @property
    def is_encrypted(self) -> bool:
        """Whether both sides have come to what nobody can read: the handshake went well."""
        return self._client.is_closed and self._peer.is_closed and not self.failure

    def take(self, octets: bytes, seen: Seen, *, by_client: bool) -> list[Told]:
        """Take octets of a direction."""
        stream = self._client if by_client else self._peer
        told: list[Told] = []
        try:
            for part in stream.feed(octets):
                if part.kind == ALERT:
                    told += self._alerted(part.body, seen, by_client=by_client)
                elif by_client and part.number == CLIENT_HELLO:
                    hello = decode_client_hello(part.body)
                    self._asked, self._offered = hello.server_name, hello.version
                elif not by_client and part.number == CERTIFICATE:
                    told += self._showed(part.body, seen)
                elif not by_client and part.number == SERVER_HELLO:
                    decode_server_version(part.body)
        except DecodeError:
            return told  # no TLS, or a middle of it
        return told

    def _showed(self, body: bytes, seen: Seen) -> list[Told]:
        certificates = decode_certificates(body)
        if not certificates:
            return []
        read = read_certificate(certificates[0])
        if read is None:
            return []
        self._certificate = read
        text = (
            f"{seen.text}: certificate of {', '.join(read.names) or read.subject}, valid from "
            f"{_day(read.not_before)} to {_day(read.not_after)}, issued by {read.issuer}, "
            f"shown with {len(certificates) - 1} others"
        )
        record = shown(
            "certificate_shown",
            self._server,
            self._asked,
            read.subject,
            ",".join(read.names),
            read.not_before,
            read.not_after,
            read.issuer,
            len(certificates),
        )
        return [Told(record, Seen(seen.number, seen.at, text))]

    def _alerted(self, body: bytes, seen: Seen, *, by_client: bool) -> list[Told]:
        if body[1] == _CLOSE_NOTIFY:
            return []
        name = alert_name(body).replace(" ", "_").lower()
        by = "phone" if by_client else "server"
        record: LogRecord = shown("tls_alert", self._server, by, name)
        self.failure = self._failure(name, seen.at, by_client=by_client)
        text = f"{seen.text}: the {by} says {name}"
        if self._offered:
            text += f"; the phone offers up to TLS {self._offered}"
        return [Told(record, Seen(seen.number, seen.at, text))]

    def _failure(self, alert: str, at: float, *, by_client: bool) -> ConnectFailure:
        certificate = self._certificate
        if alert == "protocol_version":
            return ConnectFailure.TLS_VERSION_REFUSED
        if not by_client or certificate is None:
            return ConnectFailure.TLS_FAILED
        if alert == "certificate_expired":
            if certificate.not_before > at:
                return ConnectFailure.CERTIFICATE_NOT_YET_VALID
            return ConnectFailure.CERTIFICATE_EXPIRED
        if alert == "unknown_ca":
            return ConnectFailure.CERTIFICATE_UNTRUSTED
        if alert in ("bad_certificate", "certificate_unknown"):
            if any(name.startswith("*") for name in certificate.names):
                return ConnectFailure.CERTIFICATE_WILDCARD
            if self._asked and self._asked.lower() not in map(str.lower, certificate.names):
                return ConnectFailure.CERTIFICATE_NAME_MISMATCH
        return ConnectFailure.TLS_FAILED


def read_certificate(octets: bytes) -> ShownCertificate | None:
    """What matters of a certificate (DER); None if it cannot be read."""
    try:
        certificate = x509.load_der_x509_certificate(octets)
        subject = _common_name(certificate.subject)
        issuer = _common_name(certificate.issuer)
        not_before = certificate.not_valid_before_utc
        not_after = certificate.not_valid_after_utc
    except (ValueError, TypeError, x509.InvalidVersion):
        return None
    names: tuple[str, ...] = ()
    try:
        extension = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName)
        names = tuple(extension.value.get_values_for_type(x509.DNSName))
    except (ValueError, x509.ExtensionNotFound, x509.DuplicateExtension):
        pass
    return ShownCertificate(
        subject=subject,
        names=names or ((subject,) if subject else ()),
        not_before=int(not_before.timestamp()),
        not_after=int(not_after.timestamp()),
        issuer=issuer,
    )


def _common_name(name: x509.Name) -> str:
    attributes = name.get_attributes_for_oid(NameOID.COMMON_NAME)
    return str(attributes[0].value) if attributes else name.rfc4514_string()


def _day(seconds: int) -> str:
    return f"{datetime.datetime.fromtimestamp(seconds, datetime.UTC):%Y-%m-%d}"
