"""TLS in virtual time: an authority without cryptography, and the phone's rules for certificates.

A server shows the certificate that its listener names; a phone accepts it if the chain it
downloaded, the name it asked for and the clock it believes permit it.

Specifications: RFC 5280 section 4.1.2.5 (validity), RFC 9525 (names); device reference
section 15 (no wildcards).
"""

from __future__ import annotations

import hashlib

from phonesim.device.outcome import ConnectFailure
from phonesim.errors import DecodeError
from phonesim.mocksite.exchange import Listener

_DAY = 86400
_SERVER_CERTIFICATE_DAYS = 365


class VirtualAuthority:
    """A certificate authority without cryptography: its certificates are readable text."""

    def chain(self) -> bytes:
        """The chain that phones of the virtual world come to trust."""
        return b"virtual chain"

    def request_subject(self, csr: bytes) -> str:
        """The subject of a request made by this world."""
        kind, _, subject = csr.decode("utf-8", "replace").partition(" ")
        if kind != "csr" or not subject:
            raise DecodeError("not a certificate request of the virtual world")
        return subject

    def issue(self, csr: bytes, not_before: int, not_after: int) -> bytes:
        """A certificate for the request's subject."""
        return f"certificate {not_before} {not_after} {self.request_subject(csr)}".encode()

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
        return b"virtual signing certificate"

    def subject(self, certificate: bytes, now: int) -> str | None:
        """The subject of a certificate made by `issue`, if valid at `now`."""
        parts = certificate.decode("utf-8", "replace").split(" ", 3)
        if len(parts) != 4 or parts[0] != "certificate":
            return None
        return parts[3] if int(parts[1]) <= now <= int(parts[2]) else None


def virtual_signature(subject: str, data: bytes) -> bytes:
    """What a phone of this world signs with: its user's name stands for its key."""
    return hashlib.sha1(subject.encode() + data, usedforsecurity=False).digest()


def certificate_validity(certificate: bytes) -> tuple[float, float] | None:
    """Begin and end of a certificate of this world, Unix seconds; None if it is none."""
    parts = certificate.decode("utf-8", "replace").split(" ", 3)
    if len(parts) != 4 or parts[0] != "certificate":
        return None
    return float(parts[1]), float(parts[2])


def certificate_refusal(
    listener: Listener, name: str, trust: bytes | None, clock: float, epoch: float
) -> tuple[ConnectFailure, str] | None:
    """Why a phone refuses the certificate that a listener shows; None if it accepts it.

    `trust` is the chain it downloaded, `clock` what it believes, `epoch` when the site began:
    Unix seconds.
    """
    if listener.certificate == "untrusted" or trust != VirtualAuthority().chain():
        return ConnectFailure.CERTIFICATE_UNTRUSTED, "the chain does not lead to its issuer"
    begins = epoch - _DAY
    ends = epoch + _SERVER_CERTIFICATE_DAYS * _DAY
    if listener.certificate == "expired":
        begins, ends = begins - 2 * _DAY, begins - _DAY
    elif listener.certificate == "not-yet-valid":
        begins, ends = ends, ends + _DAY
    if clock < begins:
        return ConnectFailure.CERTIFICATE_NOT_YET_VALID, "not yet valid at the phone's clock"
    if clock > ends:
        return ConnectFailure.CERTIFICATE_EXPIRED, "expired at the phone's clock"
    if listener.certificate == "wildcard":
        return ConnectFailure.CERTIFICATE_WILDCARD, "the certificate has a wildcard name"
    if listener.certificate == "wrong-name" or name not in listener.names:
        return ConnectFailure.CERTIFICATE_NAME_MISMATCH, f"not made for {name}"
    return None
