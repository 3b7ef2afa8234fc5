"""TLS in virtual time: an authority that checks nothing, and the phone's rules for certificates.

A server shows the certificate that its listener names; a phone accepts it if the chain it
downloaded, the name it asked for and the clock it believes permit it.

Specifications: RFC 5280 section 4.1.2.5 (validity), RFC 9525 (names); device reference
section 15 (no wildcards).
"""

from __future__ import annotations

import hashlib
import re

from phonesim.capture import RefusedHandshake, alert_of
from phonesim.device.outcome import ConnectFailure
from phonesim.errors import DecodeError
from phonesim.mocksite.exchange import Listener
from phonesim.virtual_certificates import shown_certificates, trust_chain
from phonesim.virtual_handshake import VirtualServerHandshake

_SIGNING_CERTIFICATE = b"certificate 0 4102444800 virtual authority"
_DAY = 86400
_CERTIFICATE = re.compile(r"certificate (\d{1,12}) (\d{1,12}) (.+)", re.DOTALL | re.ASCII)
_SERVER_CERTIFICATE_DAYS = 365


class VirtualAuthority:
    """A certificate authority without checks: the certificates it issues are readable text."""

    def chain(self) -> bytes:
        """The chain that phones of the virtual world come to trust."""
        return trust_chain(with_issuing=True)

    def root(self) -> bytes:
        """A chain of this world that leads to no server without its issuer's certificate."""
        return trust_chain(with_issuing=False)

    def request_subject(self, csr: bytes) -> str:
        """The subject of a request made by this world."""
        kind, _, subject = csr.decode("utf-8", "replace").partition(" ")
        if kind != "csr" or not subject:
            raise DecodeError("not a certificate request of the virtual world")
        return subject

    def issue(self, csr: bytes, not_before: int, not_after: int) -> bytes:
        """A certificate for the request's subject."""
        return f"certificate {not_before} {not_after} {self.request_subject(csr)}".encode()

    def accept_handshake(self, names: tuple[str, ...]) -> VirtualServerHandshake:
        """An inner TLS handshake with a server whose certificate is made for `names`."""
        return VirtualServerHandshake(names)

    def sign(self, data: bytes) -> bytes:
        """A stand-in for a signature: the digest of the data."""
        return b"signed " + hashlib.sha1(data, usedforsecurity=False).digest()

    def has_signed(self, data: bytes, signature: bytes) -> bool:
        """Whether `sign` made it."""
        return signature == self.sign(data)

    def verifies(self, certificate: bytes, data: bytes, signature: bytes) -> bool:
        """Whether it is what `virtual_signature` makes of the data for that subject."""
        subject = certificate.decode("utf-8", "replace").rpartition(" ")[2]
        return signature == virtual_signature(subject, data)

    def signing_certificate(self) -> bytes:
        """The certificate of `sign`."""
        return _SIGNING_CERTIFICATE

    def subject(self, certificate: bytes, now: int) -> str | None:
        """The subject of a certificate made by `issue`, if valid at `now`."""
        parts = _parts(certificate)
        if parts is None:
            return None
        not_before, not_after, subject = parts
        return subject if not_before <= now <= not_after else None


def valid_until(certificate: bytes) -> int:
    """The last Unix second of a certificate made by `VirtualAuthority.issue`; else 0."""
    parts = _parts(certificate)
    return 0 if parts is None else parts[1]


def virtual_signature(subject: str, data: bytes) -> bytes:
    """What a phone of this world signs with: its user's name stands for its key."""
    return hashlib.sha1(subject.encode() + data, usedforsecurity=False).digest()


def certificate_validity(certificate: bytes) -> tuple[float, float] | None:
    """Begin and end of a certificate of this world, Unix seconds; None if it is none."""
    parts = certificate.decode("utf-8", "replace").split(" ", 3)
    if len(parts) != 4 or parts[0] != "certificate":
        return None
    return float(parts[1]), float(parts[2])


def certificate_problem(certificate: bytes, subject: str) -> str:
    """Why a phone cannot use a certificate that was issued to it; empty if it can."""
    parts = _parts(certificate)
    if parts is None:
        return "it cannot be read"
    return "" if parts[2] == subject else f"it is that of {parts[2]}"


def certificate_refusal(
    listener: Listener,
    name: str,
    trust: bytes | None,
    clock: float,
    epoch: float,
    maximum_tls: str,
) -> tuple[ConnectFailure, str] | None:
    """Why a phone refuses the certificate that a listener shows; None if it accepts it.

    `trust` is the chain it downloaded, `clock` what it believes, `epoch` when the site began:
    Unix seconds. `maximum_tls` is the newest version that it offers.
    """
    if listener.minimum_tls > maximum_tls:
        return (
            ConnectFailure.TLS_VERSION_REFUSED,
            f"the server takes TLS {listener.minimum_tls} and later, the phone speaks up to"
            f" {maximum_tls}",
        )
    root = trust_chain(with_issuing=False)
    if trust not in (None, root, trust_chain(with_issuing=True)):
        return ConnectFailure.CHAIN_UNUSABLE, "the downloaded chain cannot be read"
    if trust == root and listener.certificate == "no-intermediate":
        return (
            ConnectFailure.CERTIFICATE_ISSUER_MISSING,
            "neither the downloaded chain nor the server has its issuer's certificate",
        )
    if listener.certificate == "untrusted" or trust is None:
        return ConnectFailure.CERTIFICATE_UNTRUSTED, "the chain does not lead to its issuer"
    begins, ends = _validity(listener, epoch)
    if clock < begins:
        return ConnectFailure.CERTIFICATE_NOT_YET_VALID, "not yet valid at the phone's clock"
    if clock > ends:
        return ConnectFailure.CERTIFICATE_EXPIRED, "expired at the phone's clock"
    if listener.certificate == "wildcard":
        return ConnectFailure.CERTIFICATE_WILDCARD, "the certificate has a wildcard name"
    if listener.certificate == "wrong-name" or name not in listener.names:
        return ConnectFailure.CERTIFICATE_NAME_MISMATCH, f"not made for {name}"
    return None


def refused_handshake(
    listener: Listener, server_name: str, failure: ConnectFailure, version: str, epoch: float
) -> RefusedHandshake:
    """What is seen of a handshake that `certificate_refusal` lets fail so.

    `version` is the newest TLS that the phone offers.
    """
    begins, ends = _validity(listener, epoch)
    is_too_old = failure is ConnectFailure.TLS_VERSION_REFUSED
    shown = shown_certificates(listener.certificate, listener.names, int(begins), int(ends))
    return RefusedHandshake(
        version=version,
        server_name=server_name,
        shown=() if is_too_old else shown,
        alert=alert_of(failure),
        by_phone=not is_too_old,
    )


def _validity(listener: Listener, epoch: float) -> tuple[float, float]:
    begins = epoch - _DAY
    ends = epoch + _SERVER_CERTIFICATE_DAYS * _DAY
    if listener.certificate == "expired":
        return begins - 2 * _DAY, begins - _DAY
    if listener.certificate == "not-yet-valid":
        return ends, ends + _DAY
    return begins, ends


def _parts(certificate: bytes) -> tuple[int, int, str] | None:
    match = _CERTIFICATE.fullmatch(certificate.decode("utf-8", "replace"))
    return None if match is None else (int(match[1]), int(match[2]), match[3])
