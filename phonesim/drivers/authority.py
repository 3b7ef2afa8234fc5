"""The mock site's certificate authority, made anew for every run.

A root signs an issuing authority, which signs the servers' certificates and those
that phones ask for. A run that takes the phones of an earlier one takes its authority,
too, as `dump` gave it. Every server shares one
key: a fleet's time goes into handshakes, not into key generation.

Specifications: RFC 5280 (certificates), RFC 2986 (PKCS#10), RFC 2315 (the PKCS#7 bag).
"""

from __future__ import annotations

import datetime
import re
import time
import warnings
from collections.abc import Callable
from functools import cached_property, lru_cache
from typing import Literal, Self

import msgspec
from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
    pkcs7,
)
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID
from OpenSSL import SSL

from phonesim.drivers.inner_tls import SiteHandshake, site_context
from phonesim.errors import DecodeError, UsageError

CertificateKind = Literal[
    "valid", "expired", "not-yet-valid", "wildcard", "wrong-name", "untrusted", "no-intermediate"
]

_PEM_KEY = re.compile(
    rb"-----BEGIN RSA PRIVATE KEY-----.*?-----END RSA PRIVATE KEY-----", re.DOTALL
)

_DAY = 86400
_VALIDITY = 397 * _DAY
_MINIMUM_KEY_SIZE = 1024


class ServerCredentials(msgspec.Struct, frozen=True, kw_only=True):
    """What a TLS server shows: its certificate with the issuing one after it, and its key (PEM)."""

    certificate: bytes
    key: bytes


class SiteAuthority:
    """Implements `phonesim.mocksite.exchange.CertificateAuthority` with real cryptography.

    `organization` names the authority in its certificates; `clock` gives Unix seconds.
    """

    def __init__(
        self, organization: str = "phonesim", clock: Callable[[], float] = time.time
    ) -> None:
        self._prepare(clock)
        self._root = _Authority.make(f"{organization} Root CA", None, self._now)
        self._issuing = _Authority.make(f"{organization} Issuing CA", self._root, self._now)

    def _prepare(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._now = int(clock())
        self._server_key = _make_key()
        self._request = lru_cache(maxsize=64)(_read_request)
        self._inner_context = lru_cache(maxsize=64)(self._make_inner_context)
        self._identity = lru_cache(maxsize=16384)(self._read_identity)

    @classmethod
    def load(cls, dumped: bytes, clock: Callable[[], float] = time.time) -> Self:
        """The authority that `dump` gave; `UsageError` if it is none."""
        authority = cls.__new__(cls)
        authority._prepare(clock)
        try:
            certificates = x509.load_pem_x509_certificates(dumped)
            keys = [_read_key(each) for each in _PEM_KEY.findall(dumped)]
            authority._root, authority._issuing = (
                _Authority(key, certificate)
                for key, certificate in zip(keys, certificates, strict=True)
            )
        except (ValueError, TypeError, UnsupportedAlgorithm) as error:
            raise UsageError(
                f"the site's kept certificate authority cannot be read: {error}"
            ) from None
        return authority

    def dump(self) -> bytes:
        """Both authorities with their keys, as PEM: who has it can issue certificates."""
        return b"".join(each.dump() for each in (self._root, self._issuing))

    def chain(self) -> bytes:
        """The root and the issuing certificate as a DER PKCS#7 bag."""
        return self._chain

    @cached_property
    def _chain(self) -> bytes:
        return pkcs7.serialize_certificates(
            [self._root.certificate, self._issuing.certificate], Encoding.DER
        )

    def root(self) -> bytes:
        """The root certificate alone, as a DER PKCS#7 bag."""
        return pkcs7.serialize_certificates([self._root.certificate], Encoding.DER)

    def request_subject(self, csr: bytes) -> str:
        """The common name in a DER PKCS#10; `DecodeError` if malformed or not self-signed."""
        return self._request(csr)[0]

    def issue(self, csr: bytes, not_before: int, not_after: int) -> bytes:
        """Sign a client certificate (DER) for the request's own subject and key.

        `DecodeError` as for `request_subject`.
        """
        _, name, key = self._request(csr)
        certificate = self._issuing.sign(
            name, key, not_before, not_after, (), ExtendedKeyUsageOID.CLIENT_AUTH
        )
        return certificate.public_bytes(Encoding.DER)

    def accept_handshake(self, names: tuple[str, ...]) -> SiteHandshake:
        """An inner TLS handshake with a server whose certificate is made for `names`."""
        return SiteHandshake(self._inner_context(names))

    def sign(self, data: bytes) -> bytes:
        """An RSA-SHA1 signature of the issuing authority."""
        return self._issuing.sign_octets(data)

    def has_signed(self, data: bytes, signature: bytes) -> bool:
        """Whether `sign` made this signature of `data`."""
        return verifies(self._issuing.certificate, data, signature)

    def verifies(self, certificate: bytes, data: bytes, signature: bytes) -> bool:
        """Whether the key of a certificate made this RSA-SHA1 signature of `data`."""
        try:
            return verifies(x509.load_der_x509_certificate(certificate), data, signature)
        except ValueError:
            return False

    def signing_certificate(self) -> bytes:
        """The issuing authority's certificate (DER)."""
        return self._issuing.certificate.public_bytes(Encoding.DER)

    def subject(self, certificate: bytes, now: int) -> str | None:
        """The common name of a certificate issued here and valid at `now`; None otherwise."""
        identity = self._identity(certificate)
        if identity is None:
            return None
        name, not_before, not_after = identity
        return name if not_before <= now <= not_after else None

    def server_credentials(
        self, names: tuple[str, ...], kind: CertificateKind = "valid"
    ) -> ServerCredentials:
        """A server certificate for `names`, or one that is wrong in the way `kind` says."""
        now = int(self._clock())
        authority, not_before, not_after = self._issuing, now - _DAY, now + _VALIDITY
        match kind:
            case "valid" | "no-intermediate":
                pass
            case "expired":
                not_before, not_after = now - _VALIDITY, now - _DAY
            case "not-yet-valid":
                not_before = now + _DAY
            case "wildcard":
                names = tuple(dict.fromkeys(f"*.{_parent(name)}" for name in names))
            case "wrong-name":
                names = tuple(dict.fromkeys(f"wrong-name.{_parent(name)}" for name in names))
            case "untrusted":
                authority = self._stranger
        certificate = authority.sign(
            _name(names[0]),
            self._server_key.public_key(),
            not_before,
            not_after,
            names,
            ExtendedKeyUsageOID.SERVER_AUTH,
        )
        shown = [certificate, authority.certificate]
        if kind == "no-intermediate":
            shown = [certificate]
        return ServerCredentials(
            certificate=b"".join(each.public_bytes(Encoding.PEM) for each in shown),
            key=self._server_key.private_bytes(
                Encoding.PEM, PrivateFormat.TraditionalOpenSSL, NoEncryption()
            ),
        )

    def _make_inner_context(self, names: tuple[str, ...]) -> SSL.Context:
        credentials = self.server_credentials(names)
        return site_context(credentials.certificate, credentials.key)

    @cached_property
    def _stranger(self) -> _Authority:
        return _Authority.make("Unknown CA", None, self._now)

    def _read_identity(self, certificate: bytes) -> tuple[str, float, float] | None:
        try:
            parsed = x509.load_der_x509_certificate(certificate)
            parsed.verify_directly_issued_by(self._issuing.certificate)
            name = _common_name(_subject(parsed))
        except (ValueError, TypeError, InvalidSignature, UnsupportedAlgorithm):
            return None
        return (
            name,
            parsed.not_valid_before_utc.timestamp(),
            parsed.not_valid_after_utc.timestamp(),
        )


class _Authority:
    """A key and its certificate."""

    def __init__(self, key: rsa.RSAPrivateKey, certificate: x509.Certificate) -> None:
        self._key = key
        self.certificate = certificate

    @classmethod
    def make(cls, name: str, issuer: _Authority | None, now: int) -> _Authority:
        """A new one; self-signed without an `issuer`."""
        key = _make_key()
        subject = _name(name)
        builder = _builder(
            subject,
            issuer.certificate.subject if issuer else subject,
            key.public_key(),
            now - 10 * _VALIDITY,
            now + 10 * _VALIDITY,
            (key if issuer is None else issuer._key).public_key(),
        )
        builder = builder.add_extension(
            x509.BasicConstraints(ca=True, path_length=None), critical=True
        ).add_extension(_KEY_CERT_SIGN, critical=True)
        signing = key if issuer is None else issuer._key
        return cls(key, builder.sign(signing, hashes.SHA256()))

    def dump(self) -> bytes:
        """Key and certificate as PEM."""
        key = self._key.private_bytes(
            Encoding.PEM, PrivateFormat.TraditionalOpenSSL, NoEncryption()
        )
        return key + self.certificate.public_bytes(Encoding.PEM)

    def sign_octets(self, data: bytes) -> bytes:
        """An RSA-SHA1 signature."""
        return self._key.sign(data, padding.PKCS1v15(), hashes.SHA1())  # noqa: S303

    def sign(
        self,
        name: x509.Name,
        key: rsa.RSAPublicKey,
        not_before: int,
        not_after: int,
        dns_names: tuple[str, ...],
        usage: x509.ObjectIdentifier,
    ) -> x509.Certificate:
        """A certificate for somebody else's key."""
        builder = _builder(
            name, self.certificate.subject, key, not_before, not_after, self._key.public_key()
        )
        builder = builder.add_extension(
            x509.BasicConstraints(ca=False, path_length=None), critical=True
        ).add_extension(x509.ExtendedKeyUsage([usage]), critical=False)
        if dns_names:
            builder = builder.add_extension(
                x509.SubjectAlternativeName([x509.DNSName(each) for each in dns_names]),
                critical=False,
            )
        return builder.sign(self._key, hashes.SHA256())


def verifies(certificate: x509.Certificate, data: bytes, signature: bytes) -> bool:
    """Whether the key of `certificate` made this RSA-SHA1 signature of `data`."""
    key = certificate.public_key()
    if not isinstance(key, rsa.RSAPublicKey):
        return False
    try:
        key.verify(signature, data, padding.PKCS1v15(), hashes.SHA1())  # noqa: S303
    except InvalidSignature:
        return False
    return True


_KEY_CERT_SIGN = x509.KeyUsage(
    digital_signature=True,
    content_commitment=False,
    key_encipherment=False,
    data_encipherment=False,
    key_agreement=False,
    key_cert_sign=True,
    crl_sign=True,
    encipher_only=False,
    decipher_only=False,
)


def _read_key(pem: bytes) -> rsa.RSAPrivateKey:
    key = load_pem_private_key(pem, password=None)
    if not isinstance(key, rsa.RSAPrivateKey):
        raise ValueError("an RSA key expected")
    return key


def _make_key() -> rsa.RSAPrivateKey:
    return rsa.generate_private_key(public_exponent=65537, key_size=2048)


def _builder(
    subject: x509.Name,
    issuer: x509.Name,
    key: rsa.RSAPublicKey,
    not_before: int,
    not_after: int,
    issuer_key: rsa.RSAPublicKey,
) -> x509.CertificateBuilder:
    builder = x509.CertificateBuilder(
        issuer_name=issuer,
        subject_name=subject,
        public_key=key,
        serial_number=x509.random_serial_number(),
        not_valid_before=datetime.datetime.fromtimestamp(not_before, datetime.UTC),
        not_valid_after=datetime.datetime.fromtimestamp(not_after, datetime.UTC),
    )
    return builder.add_extension(
        x509.SubjectKeyIdentifier.from_public_key(key), critical=False
    ).add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(issuer_key), critical=False)


def _name(common_name: str) -> x509.Name:
    # RFC 5280 gives a common name 64 characters; the names that count are the DNS names.
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common_name[:64])])


def _subject(signed: x509.Certificate | x509.CertificateSigningRequest) -> x509.Name:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # a common name of more than 64 octets
        return signed.subject


def _common_name(name: x509.Name) -> str:
    attributes = name.get_attributes_for_oid(NameOID.COMMON_NAME)
    if len(attributes) != 1 or not isinstance(attributes[0].value, str):
        raise ValueError("one common name expected")
    return attributes[0].value


def _parent(name: str) -> str:
    return name.partition(".")[2] or name


def _read_request(csr: bytes) -> tuple[str, x509.Name, rsa.RSAPublicKey]:
    try:
        request = x509.load_der_x509_csr(csr)
        subject = _subject(request)
        name = _common_name(subject)
        key = request.public_key()
    except (ValueError, TypeError, UnsupportedAlgorithm) as error:
        raise DecodeError(f"certificate request: {error}") from None
    if not isinstance(key, rsa.RSAPublicKey) or key.key_size < _MINIMUM_KEY_SIZE:
        raise DecodeError(
            f"certificate request: an RSA key of {_MINIMUM_KEY_SIZE} bits or more expected"
        )
    if not _is_signed(request, key):
        raise DecodeError("certificate request: its signature does not fit its key")
    return name, subject, key


def _is_signed(request: x509.CertificateSigningRequest, key: rsa.RSAPublicKey) -> bool:
    # `is_signature_valid` knows no SHA-1, which clients of the time sign with.
    algorithm, scheme = request.signature_hash_algorithm, request.signature_algorithm_parameters
    if algorithm is None or not isinstance(scheme, padding.PKCS1v15):
        return False
    try:
        key.verify(request.signature, request.tbs_certrequest_bytes, scheme, algorithm)
    except (InvalidSignature, UnsupportedAlgorithm):
        return False
    return True
