"""TLS as the phone does it: which servers it trusts, and what it says when it does not.

A phone trusts only the chain that it downloaded, refuses wildcard certificates, and
judges validity by the clock it believes, which may be years off. OpenSSL checks the
signatures with its own time check switched off; names and dates are checked on the
certificate right after the handshake, before a byte of the application is sent.

Each phone has one context at a time: a context costs 0.3 ms and 22 KB, and only the
parsed chain can be shared between phones.

Specifications: RFC 5280 (path and validity), RFC 6125 (names), device reference
section 10 (TLS 1.0 era, no wildcards). The phones spoke TLS 1.0; the emulated one
offers up to TLS 1.2, so that it can also be used against servers of today.
"""

from __future__ import annotations

import asyncio
import datetime
import errno
import os
import ssl
import warnings
from functools import lru_cache

import msgspec
from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.serialization import Encoding, pkcs7
from cryptography.x509.oid import NameOID

from phonesim.device.outcome import ConnectFailure

_NO_CHECK_TIME = ssl.VerifyFlags(0x200000)
"""X509_V_FLAG_NO_CHECK_TIME, which the ssl module has no name for."""

_LEGACY_SERVER_CONNECT = ssl.Options(0x4)
"""SSL_OP_LEGACY_SERVER_CONNECT: servers of the phone's era know no RFC 5746."""

_EXPIRED, _NOT_YET_VALID = 10, 9  # X509_V_ERR_CERT_HAS_EXPIRED, ..._NOT_YET_VALID


class CertificateRefused(ssl.SSLCertVerificationError):
    """The server's certificate is none that a phone accepts."""

    def __init__(self, failure: ConnectFailure, detail: str) -> None:
        super().__init__(detail)
        self.failure = failure
        self.detail = detail


class PhoneTls:
    """One phone's TLS contexts."""

    def __init__(self) -> None:
        self._context: _PhoneContext | None = None

    def context(self, trust: bytes | None, clock: float) -> ssl.SSLContext:
        """A context that trusts the DER PKCS#7 `trust` alone, at Unix time `clock`.

        `CertificateRefused` if the chain holds no certificate to trust.
        """
        anchors = _read_chain(trust or b"")
        if not anchors.certificates:
            raise CertificateRefused(
                ConnectFailure.CERTIFICATE_UNTRUSTED,
                "no chain of trust was downloaded" if trust is None else anchors.problem,
            )
        context = self._context
        if context is None or context.anchors is not anchors:
            context = self._context = _make_context(anchors)
        context.believed_clock = clock
        return context


def trusted_certificates(trust: bytes) -> tuple[x509.Certificate, ...]:
    """The certificates of a downloaded chain; none if it cannot be read."""
    return _read_chain(trust).parsed


def check_certificate(certificate: bytes, server_name: str, trust: bytes, clock: float) -> None:
    """`CertificateRefused` unless a DER certificate that leads to `trust` has that name and is
    valid at Unix time `clock`.
    """
    _check(certificate, server_name, _read_chain(trust), clock)


def check_server_name(name: str) -> None:
    """`CertificateRefused` if no TLS handshake can ask for such a name."""
    try:
        if not name or name.startswith("."):
            raise ValueError("it has an empty label")
        name.encode("idna")
    except ValueError as error:
        raise CertificateRefused(
            ConnectFailure.CERTIFICATE_NAME_MISMATCH, f"{name!r} is no host name: {error}"
        ) from None


def load_credentials(context: ssl.SSLContext, certificate: bytes, key: bytes) -> None:
    """Give a context its own PEM certificate (chain) and key.

    The ssl module reads them from a path only: the path is that of a file in memory,
    so that no key reaches a disk.
    """
    file = os.memfd_create("phonesim", os.MFD_CLOEXEC)
    try:
        os.write(file, certificate + key)
        context.load_cert_chain(f"/proc/self/fd/{file}")
    finally:
        os.close(file)


def without_time_check(context: ssl.SSLContext) -> None:
    """Let OpenSSL check signatures but not dates: they are judged by another clock."""
    context.verify_flags |= _NO_CHECK_TIME


def explain(error: BaseException) -> tuple[ConnectFailure, str]:
    """Why a connection failed, as a phone tells it and as an engineer reads it."""
    match error:
        case CertificateRefused():
            return error.failure, error.detail
        case ssl.SSLCertVerificationError():
            return _explain_verification(error)
        case ssl.SSLEOFError() | ssl.SSLZeroReturnError():
            return ConnectFailure.CLOSED, "the server closed the connection during the handshake"
        case ssl.SSLError():
            return ConnectFailure.TLS_FAILED, _words(error)
        case TimeoutError() | asyncio.TimeoutError():
            return ConnectFailure.TIMEOUT, "no answer in time"
        case ConnectionRefusedError():
            return ConnectFailure.REFUSED, "connection refused: nothing listens on that port"
        case ConnectionError():
            return ConnectFailure.CLOSED, str(error) or "the connection was closed"
        case OSError():
            return _explain_os_error(error)
        case _:
            return ConnectFailure.MALFORMED, str(error) or type(error).__name__


class _Anchors(msgspec.Struct, frozen=True):
    """A downloaded chain: its certificates as ssl takes them, and their dates by subject."""

    certificates: bytes
    validity: dict[bytes, _Validity]
    problem: str = ""
    parsed: tuple[x509.Certificate, ...] = ()


class _Validity(msgspec.Struct, frozen=True):
    subject: str
    issuer: bytes
    not_before: float
    not_after: float


class _Leaf(msgspec.Struct, frozen=True):
    names: frozenset[str]
    validity: _Validity


class _PhoneContext(ssl.SSLContext):
    """A context that knows what its connections must check after the handshake."""

    anchors: _Anchors
    believed_clock: float


class _PhoneTlsObject(ssl.SSLObject):
    """Both asyncio and uvloop make this object, and ask it for the handshake."""

    def do_handshake(self) -> None:
        super().do_handshake()
        certificate = self.getpeercert(binary_form=True)
        context = self.context
        assert isinstance(context, _PhoneContext)
        assert certificate is not None
        _check(certificate, self.server_hostname or "", context.anchors, context.believed_clock)


def _make_context(anchors: _Anchors) -> _PhoneContext:
    context = _PhoneContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False  # `_check` does it, as the phone does
    without_time_check(context)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # the phone's era is what it is
        context.minimum_version = ssl.TLSVersion.TLSv1
    context.maximum_version = ssl.TLSVersion.TLSv1_2
    context.set_ciphers("DEFAULT:@SECLEVEL=0")
    context.options |= _LEGACY_SERVER_CONNECT
    context.load_verify_locations(cadata=anchors.certificates)
    context.sslobject_class = _PhoneTlsObject
    context.anchors = anchors
    return context


@lru_cache(maxsize=16)
def _read_chain(trust: bytes) -> _Anchors:
    try:
        certificates = pkcs7.load_der_pkcs7_certificates(trust)
        validity = {each.subject.public_bytes(): _read_validity(each) for each in certificates}
    except (ValueError, UnsupportedAlgorithm) as error:
        return _Anchors(b"", {}, f"the downloaded chain cannot be read: {error}")
    if not certificates:
        return _Anchors(b"", {}, "the downloaded chain is empty")
    octets = b"".join(each.public_bytes(Encoding.DER) for each in certificates)
    return _Anchors(octets, validity, parsed=tuple(certificates))


@lru_cache(maxsize=256)
def _read_leaf(certificate: bytes) -> _Leaf:
    parsed = x509.load_der_x509_certificate(certificate)
    try:
        extension = parsed.extensions.get_extension_for_class(x509.SubjectAlternativeName)
        names = [str(name.value) for name in extension.value]
    except x509.ExtensionNotFound:
        names = [
            str(attribute.value)
            for attribute in parsed.subject.get_attributes_for_oid(NameOID.COMMON_NAME)
        ]
    return _Leaf(frozenset(name.lower() for name in names), _read_validity(parsed))


def _read_validity(certificate: x509.Certificate) -> _Validity:
    return _Validity(
        certificate.subject.rfc4514_string(),
        certificate.issuer.public_bytes(),
        certificate.not_valid_before_utc.timestamp(),
        certificate.not_valid_after_utc.timestamp(),
    )


def _check(certificate: bytes, server_name: str, anchors: _Anchors, clock: float) -> None:
    try:
        leaf = _read_leaf(certificate)
    except ValueError as error:
        raise CertificateRefused(
            ConnectFailure.CERTIFICATE_UNTRUSTED, f"the certificate cannot be read: {error}"
        ) from None
    wildcards = sorted(name for name in leaf.names if "*" in name)
    if wildcards:
        raise CertificateRefused(
            ConnectFailure.CERTIFICATE_WILDCARD,
            f"the certificate for {', '.join(wildcards)} is a wildcard certificate, "
            "which the phone does not support",
        )
    if server_name.lower() not in leaf.names:
        raise CertificateRefused(
            ConnectFailure.CERTIFICATE_NAME_MISMATCH,
            f"the certificate is for {', '.join(sorted(leaf.names)) or 'no name'}, "
            f"not for {server_name}",
        )
    validity: _Validity | None = leaf.validity
    for _ in range(len(anchors.validity) + 1):
        if validity is None:
            break
        _check_dates(validity, clock)
        validity = anchors.validity.get(validity.issuer)


def _check_dates(validity: _Validity, clock: float) -> None:
    if clock > validity.not_after:
        raise CertificateRefused(
            ConnectFailure.CERTIFICATE_EXPIRED,
            f"the certificate of {validity.subject} expired on {_date(validity.not_after)}; "
            f"the phone's clock says {_date(clock)}",
        )
    if clock < validity.not_before:
        raise CertificateRefused(
            ConnectFailure.CERTIFICATE_NOT_YET_VALID,
            f"the certificate of {validity.subject} is not valid before "
            f"{_date(validity.not_before)}; the phone's clock says {_date(clock)}",
        )


def _date(seconds: float) -> str:
    return f"{datetime.datetime.fromtimestamp(seconds, datetime.UTC):%Y-%m-%d %H:%M:%S} UTC"


def _explain_verification(error: ssl.SSLCertVerificationError) -> tuple[ConnectFailure, str]:
    detail = f"the server's certificate was refused: {error.verify_message}"
    if error.verify_code == _EXPIRED:
        return ConnectFailure.CERTIFICATE_EXPIRED, detail
    if error.verify_code == _NOT_YET_VALID:
        return ConnectFailure.CERTIFICATE_NOT_YET_VALID, detail
    return ConnectFailure.CERTIFICATE_UNTRUSTED, detail


def _explain_os_error(error: OSError) -> tuple[ConnectFailure, str]:
    if error.errno == errno.ETIMEDOUT:
        return ConnectFailure.TIMEOUT, "no answer in time"
    text = os.strerror(error.errno) if error.errno else str(error)
    return ConnectFailure.UNREACHABLE, text


def _words(error: ssl.SSLError) -> str:
    reason = (getattr(error, "reason", None) or str(error)).replace("_", " ").lower()
    return f"TLS handshake failed: {reason}"
