"""Certificates of the virtual world as octets, for those who look into a capture of it.

    root -> issuing authority -> a server's certificate

In virtual time nobody checks a signature, so that nothing here has to be secret: keys come
from constants, and the same certificate has the same octets in every run.

Specifications: RFC 5280, RFC 2315 (the PKCS#7 bag), RFC 8410 (Ed25519).
"""

from __future__ import annotations

import datetime
import hashlib
from functools import lru_cache

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, pkcs7
from cryptography.x509.oid import NameOID

ROOT_NAME = "phonesim virtual root"
ISSUING_NAME = "phonesim virtual issuing authority"
STRANGER_NAME = "phonesim virtual stranger"

_BEGIN, _END = 946684800, 4102444800  # 2000 and 2100


@lru_cache(maxsize=2)
def trust_chain(*, with_issuing: bool) -> bytes:
    """The root, with or without the issuing authority, as a PKCS#7 bag (DER)."""
    root = _authority(ROOT_NAME, ROOT_NAME)
    chain = [_authority(ISSUING_NAME, ROOT_NAME), root] if with_issuing else [root]
    return pkcs7.serialize_certificates(chain, Encoding.DER)


@lru_cache(maxsize=1024)
def shown_certificates(
    kind: str, names: tuple[str, ...], not_before: int, not_after: int
) -> tuple[bytes, ...]:
    """What a server shows (DER): a certificate of that kind for its names, its issuer's with it.

    Times are Unix seconds.
    """
    issuer = STRANGER_NAME if kind == "untrusted" else ISSUING_NAME
    if kind in ("wildcard", "wrong-name"):
        label = "*" if kind == "wildcard" else "wrong-name"
        names = tuple(dict.fromkeys(f"{label}.{name.partition('.')[2]}" for name in names))
    leaf = _certificate(names[0] if names else "", issuer, not_before, not_after, names)
    shown = [leaf]
    if kind != "no-intermediate":
        shown.append(_authority(issuer, ROOT_NAME if issuer == ISSUING_NAME else issuer))
    return tuple(each.public_bytes(Encoding.DER) for each in shown)


@lru_cache(maxsize=8)
def _authority(name: str, issuer: str) -> x509.Certificate:
    return _certificate(name, issuer, _BEGIN, _END, ())


def _certificate(
    subject: str, issuer: str, not_before: int, not_after: int, names: tuple[str, ...]
) -> x509.Certificate:
    """A certificate for names, or without any one of an authority."""
    marks = f"{subject}/{issuer}/{not_before}/{not_after}/{','.join(names)}"
    builder = (
        x509.CertificateBuilder()
        .subject_name(_name(subject))
        .issuer_name(_name(issuer))
        .public_key(_key(subject).public_key())
        .serial_number(int.from_bytes(hashlib.sha256(marks.encode()).digest()[:15], "big") + 1)
        .not_valid_before(_moment(not_before))
        .not_valid_after(_moment(not_after))
        .add_extension(x509.BasicConstraints(ca=not names, path_length=None), critical=True)
    )
    if names:
        general = [x509.DNSName(name) for name in names]
        builder = builder.add_extension(x509.SubjectAlternativeName(general), critical=False)
    return builder.sign(_key(issuer), None)


def _name(text: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text[:64] or "nobody")])


def _key(owner: str) -> Ed25519PrivateKey:
    return Ed25519PrivateKey.from_private_bytes(hashlib.sha256(owner.encode()).digest())


def _moment(seconds: int) -> datetime.datetime:
    return datetime.datetime.fromtimestamp(seconds, datetime.UTC)
