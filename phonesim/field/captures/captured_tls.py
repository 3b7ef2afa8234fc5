"""The TLS handshake of one connection in a capture: what can be read before it is encrypted.

The server's certificates up to TLS 1.2, the version that the phone offers, alerts. Of TLS 1.3
the certificates are encrypted, and so is what a phone thinks of them.

Specifications: RFC 5246 sections 7.2 and 7.4.
"""

from __future__ import annotations

import datetime

from phonesim.device.device_log import LogRecord
from phonesim.device.outcome import ConnectFailure
from phonesim.errors import DecodeError
from phonesim.field.captures.captured_certificates import ShownCertificate, read_certificate
from phonesim.field.captures.captured_seen import Seen, Told, shown
from phonesim.wire.tls_hello import (
    decode_certificates,
    decode_client_hello,
    decode_server_version,
)
from phonesim.wire.tls_records import ALERT, CERTIFICATE, CLIENT_HELLO, SERVER_HELLO, alert_name
from phonesim.wire.tls_stream import TlsStream

_CLOSE_NOTIFY = 0


class TlsNarrator:
    """Tells one connection's handshake; `server` is what sightings call its server."""

    def __init__(self, server: str) -> None:
        self.failure = ""
        """A `ConnectFailure` that an alert tells, else empty."""
        self._server = server
        self._client, self._peer = TlsStream(), TlsStream()
        self._asked = ""
        self._offered = ""
        self._shown: list[ShownCertificate] = []

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
        certificates = [read_certificate(each) for each in decode_certificates(body)]
        leaf = certificates[0] if certificates else None
        if leaf is None:
            return []
        self._shown = [each for each in certificates if each is not None]
        outdated = next((each for each in self._shown if not _is_valid(each, seen.at)), None)
        text = (
            f"{seen.text}: certificate of {', '.join(leaf.names) or leaf.subject}, valid "
            f"{_days(leaf)}, issued by {leaf.issuer}, shown with {len(certificates) - 1} others"
        )
        if outdated is not None and outdated is not leaf:
            text += f", of which {outdated.subject} is valid {_days(outdated)}"
        record = shown(
            "certificate_shown",
            self._server,
            self._asked,
            leaf.subject,
            ",".join(leaf.names),
            max(each.not_before for each in self._shown),
            min(each.not_after for each in self._shown),
            leaf.issuer,
            len(certificates),
            "" if outdated is None else outdated.subject,
        )
        return [Told(record, Seen(seen.number, seen.at, text))]

    def _alerted(self, body: bytes, seen: Seen, *, by_client: bool) -> list[Told]:
        if body[1] == _CLOSE_NOTIFY:
            return []
        name = alert_name(body).replace(" ", "_").lower()
        by = "phone" if by_client else "server"
        record: LogRecord = shown("tls_alert", self._server, by, name)
        self.failure = self._failure(name, seen.at, by_client=by_client).value
        text = f"{seen.text}: the {by} says {name}"
        if self._offered:
            text += f"; the phone offers up to TLS {self._offered}"
        return [Told(record, Seen(seen.number, seen.at, text))]

    def _failure(self, alert: str, at: float, *, by_client: bool) -> ConnectFailure:
        if alert == "protocol_version":
            return ConnectFailure.TLS_VERSION_REFUSED
        if not by_client or not self._shown:
            return ConnectFailure.TLS_FAILED
        certificate = self._shown[0]
        if alert == "certificate_expired":
            # A phone that refuses what is valid has a clock that still stands in the past.
            if any(each.not_after < at for each in self._shown):
                return ConnectFailure.CERTIFICATE_EXPIRED
            return ConnectFailure.CERTIFICATE_NOT_YET_VALID
        if alert == "unknown_ca":
            if len(self._shown) == 1 and certificate.issuer != certificate.subject:
                return ConnectFailure.CERTIFICATE_ISSUER_MISSING
            return ConnectFailure.CERTIFICATE_UNTRUSTED
        if alert in ("bad_certificate", "certificate_unknown"):
            if any(name.startswith("*") for name in certificate.names):
                return ConnectFailure.CERTIFICATE_WILDCARD
            if self._asked and self._asked.lower() not in map(str.lower, certificate.names):
                return ConnectFailure.CERTIFICATE_NAME_MISMATCH
        return ConnectFailure.TLS_FAILED


def _is_valid(certificate: ShownCertificate, at: float) -> bool:
    return certificate.not_before <= at <= certificate.not_after


def _days(certificate: ShownCertificate) -> str:
    days = [
        f"{datetime.datetime.fromtimestamp(each, datetime.UTC):%Y-%m-%d}"
        for each in (certificate.not_before, certificate.not_after)
    ]
    return f"from {days[0]} to {days[1]}"
