"""Certificates in a capture: what matters of them to a phone.

Specifications: RFC 5280 section 4, RFC 2315 (the PKCS#7 bag of a chain).
"""

from __future__ import annotations

import msgspec
from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.serialization import pkcs7
from cryptography.x509.oid import NameOID


class ShownCertificate(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """What matters of a certificate; times are Unix seconds."""

    subject: str
    names: tuple[str, ...]
    not_before: int
    not_after: int
    issuer: str


def read_chain(octets: bytes) -> tuple[tuple[str, ...], str]:
    """The subjects in a downloaded chain of trust, or why it cannot be used."""
    if not octets:
        return (), "it is empty"
    try:
        certificates = pkcs7.load_der_pkcs7_certificates(octets)
    except (ValueError, UnsupportedAlgorithm) as error:
        return (), f"it cannot be read: {error}"
    if not certificates:
        return (), "it holds no certificate"
    try:
        return tuple(_common_name(each.subject) for each in certificates), ""
    except ValueError as error:
        return (), f"it cannot be read: {error}"


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
    except (
        ValueError,
        x509.ExtensionNotFound,
        x509.DuplicateExtension,
        x509.UnsupportedGeneralNameType,
    ):
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
