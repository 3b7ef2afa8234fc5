"""TLS as the phone does it: which servers it trusts, and what it says when it does not.

A phone trusts only the chain that it downloaded, refuses wildcard certificates, and
judges validity by the clock it believes, which may be years off. OpenSSL checks the
signatures with its own time check switched off; names and dates are checked on the
certificate right after the handshake, before a byte of the application is sent.

A refused server is told why by a TLS alert. No event loop sends the one that OpenSSL made
when a handshake fails, so it goes out on the socket, past the loop. Names and dates are
checked on the certificate as soon as it is there, in the middle of the handshake, because
an alert is not encrypted until then; whoever resumes a session is shown none, and checks
what the session remembers.

A context costs 0.3 ms and 22 KB. What differs from phone to phone, the clock, is not in it but
in a context variable of the task that connects: phones that trust the same chain share one.
Only a phone that shows a certificate of its own needs a context of its own.

Specifications: RFC 5280 (path and validity), RFC 6125 (names), RFC 5246 section 7.2 (alerts),
device reference section 10 (TLS 1.0, no wildcards).
"""

from __future__ import annotations

import asyncio
import contextlib
import datetime
import errno
import os
import socket
import ssl
import sys
import warnings
from contextvars import ContextVar
from functools import lru_cache

import msgspec
from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.serialization import Encoding, pkcs7
from cryptography.x509.oid import NameOID

from phonesim.config.device_profile import TlsConfig
from phonesim.device.outcome import ConnectFailure

_NO_CHECK_TIME = ssl.VerifyFlags(0x200000)
"""X509_V_FLAG_NO_CHECK_TIME, which the ssl module has no name for."""

_LEGACY_SERVER_CONNECT = ssl.Options(0x4)
"""SSL_OP_LEGACY_SERVER_CONNECT: servers of the phone's era know no RFC 5746."""

# X509_V_ERR_CERT_HAS_EXPIRED, ..._NOT_YET_VALID, ..._UNABLE_TO_GET_ISSUER_CERT, ..._LOCALLY,
# ..._UNABLE_TO_VERIFY_LEAF_SIGNATURE
_EXPIRED, _NOT_YET_VALID, _ISSUER_MISSING = 10, 9, (2, 20, 21)

_VERSION_REFUSALS = ("TLSV1_ALERT_PROTOCOL_VERSION", "UNSUPPORTED_PROTOCOL")

_SERVER_REFUSALS = ("UNSUPPORTED_PROTOCOL", "NO_SHARED_CIPHER", "CERTIFICATE_VERIFY_FAILED")

_VERSIONS = {
    "1.0": ssl.TLSVersion.TLSv1,
    "1.1": ssl.TLSVersion.TLSv1_1,
    "1.2": ssl.TLSVersion.TLSv1_2,
    "1.3": ssl.TLSVersion.TLSv1_3,
}

# RFC 5246 section 7.2: a record of type alert, fatal.
_ALERT = b"\x15\x03\x03\x00\x02\x02"
_BAD_CERTIFICATE, _CERTIFICATE_EXPIRED, _UNKNOWN_CA = b"\x2a", b"\x2d", b"\x30"
_ALERTS = {
    ConnectFailure.CERTIFICATE_EXPIRED: _CERTIFICATE_EXPIRED,
    ConnectFailure.CERTIFICATE_NOT_YET_VALID: _CERTIFICATE_EXPIRED,
    ConnectFailure.CERTIFICATE_UNTRUSTED: _UNKNOWN_CA,
}


class CertificateRefused(ssl.SSLCertVerificationError):
    """The server's certificate is none that a phone accepts."""

    def __init__(self, failure: ConnectFailure, detail: str) -> None:
        super().__init__(detail)
        self.failure = failure
        self.detail = detail


class PhoneTls:
    """What one phone needs to speak TLS, as its profile says."""

    def __init__(self, config: TlsConfig | None = None) -> None:
        self._config = config or TlsConfig()
        self._sessions: dict[str, ssl.SSLSession] = {}
        self._own: _PhoneContext | None = None

    @property
    def newest_version(self) -> str:
        """The newest TLS that the phone offers."""
        return self._config.maximum_version

    def context(
        self,
        trust: bytes | None,
        clock: float,
    ) -> ssl.SSLContext:
        """A context that trusts the DER PKCS#7 `trust` alone.

        Connections that this task, or one that it begins, opens next are judged at Unix time
        `clock`. `CertificateRefused` if the chain holds no certificate to trust.
        """
        anchors = _read_chain(trust or b"")
        if not anchors.certificates:
            if trust is None:
                untrusted = ConnectFailure.CERTIFICATE_UNTRUSTED
                raise CertificateRefused(untrusted, "no chain of trust was downloaded")
            raise CertificateRefused(ConnectFailure.CHAIN_UNUSABLE, anchors.problem)
        _connecting.set(_Connecting(clock, self._sessions))
        return _shared_context(trust or b"", self._config)


def connects_on(connection: socket.socket) -> None:
    """Say which socket this task's next handshake is on: an alert can be sent there."""
    connecting = _connecting.get(None)
    if connecting is not None:
        connecting.socket = connection


def certificates_shown() -> tuple[bytes, ...]:
    """What the server of this task's last handshake has shown (DER), if that failed."""
    connecting = _connecting.get(None)
    return () if connecting is None else connecting.shown


def server_context(certificate: bytes, key: bytes, minimum_version: str) -> ssl.SSLContext:
    """A server's context that shows a PEM certificate (chain), and takes TLS from a version on."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.sslobject_class = _ServerTlsObject
    load_credentials(context, certificate, key)
    take_versions(context, minimum_version, "1.3")
    return context


def take_versions(context: ssl.SSLContext, oldest: str, newest: str) -> None:
    """Let a context speak the TLS versions from `oldest` to `newest`, with their old ciphers."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # the phone's era is what it is
        context.minimum_version = _VERSIONS[oldest]
        context.maximum_version = _VERSIONS[newest]
    context.set_ciphers("DEFAULT:@SECLEVEL=0")


def trusted_certificates(trust: bytes) -> tuple[x509.Certificate, ...]:
    """The certificates of a downloaded chain; none if it cannot be read."""
    return _read_chain(trust).parsed


def check_certificate(certificate: bytes, server_name: str, trust: bytes, clock: float) -> None:
    """`CertificateRefused` unless a DER certificate that leads to `trust` has that name and is
    valid at Unix time `clock`.
    """
    _check(certificate, server_name, _read_chain(trust), clock)


@lru_cache(maxsize=64)
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
        case ssl.SSLError() if getattr(error, "reason", None) in _VERSION_REFUSALS:
            return (
                ConnectFailure.TLS_VERSION_REFUSED,
                f"the server takes no TLS version that the phone offers ({_words(error)})",
            )
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


class _Connecting:
    """What a task's connections are judged by; `sessions` are the phone's, by server name."""

    __slots__ = ("clock", "sessions", "shown", "socket")

    def __init__(self, clock: float, sessions: dict[str, ssl.SSLSession]) -> None:
        self.clock = clock
        self.sessions = sessions
        self.shown: tuple[bytes, ...] = ()
        self.socket: socket.socket | None = None


_connecting: ContextVar[_Connecting] = ContextVar("_connecting")


class _PhoneContext(ssl.SSLContext):
    """A context that knows what its connections must check."""

    anchors: _Anchors
    resumes: bool

    def wrap_bio(
        self, incoming: ssl.MemoryBIO, outgoing: ssl.MemoryBIO, *args: object, **kwargs: object
    ) -> ssl.SSLObject:
        """Wrap as ssl does, and remember where an alert goes, and what the phone is."""
        wrapped = super().wrap_bio(incoming, outgoing, *args, **kwargs)  # type: ignore[arg-type]
        assert isinstance(wrapped, _PhoneTlsObject)
        wrapped.outgoing = outgoing
        wrapped.connecting = _connecting.get()
        session = wrapped.connecting.sessions.get(wrapped.server_hostname or "")
        if session is not None:
            wrapped.session = session
        return wrapped


class _ServerTlsObject(ssl.SSLObject):
    """Tells a client why the handshake failed, which no event loop does by itself.

    It asks for more instead of failing, so that the alert is sent; then the client closes.
    """

    def do_handshake(self) -> None:
        try:
            super().do_handshake()
        except ssl.SSLError as error:
            if error.reason in _SERVER_REFUSALS:
                raise ssl.SSLWantReadError from error
            raise


class _PhoneTlsObject(ssl.SSLObject):
    """Both asyncio and uvloop make this object, and ask it for the handshake."""

    outgoing: ssl.MemoryBIO
    connecting: _Connecting
    _is_judged = False

    def do_handshake(self) -> None:
        try:
            super().do_handshake()
        except ssl.SSLWantReadError:
            self._judge_early()
            raise
        except ssl.SSLError:
            self._send_now(self.outgoing.read())
            self.connecting.shown = _chain_shown(self)
            raise
        self.connecting.socket = None
        if not self._is_judged:
            certificate = self.getpeercert(binary_form=True)
            assert certificate is not None
            self._judge(certificate)
        context = self.context
        assert isinstance(context, _PhoneContext)
        if context.resumes and self.session is not None:
            self.connecting.sessions[self.server_hostname or ""] = self.session

    def _judge_early(self) -> None:
        """Judge the certificate as soon as it is there, in time for an alert."""
        if self._is_judged:
            return
        shown = _chain_shown(self)
        if not shown:
            return
        try:
            self._judge(shown[0])
        except CertificateRefused as error:
            self.connecting.shown = shown
            self.outgoing.read()  # our half of the keys: a phone does not send it any more
            self._send_now(_ALERT + _ALERTS.get(error.failure, _BAD_CERTIFICATE))
            raise

    def _judge(self, certificate: bytes) -> None:
        self._is_judged = True
        context = self.context
        assert isinstance(context, _PhoneContext)
        clock = self.connecting.clock
        _check(certificate, self.server_hostname or "", context.anchors, clock)

    def _send_now(self, octets: bytes) -> None:
        connection = self.connecting.socket
        if connection is not None and octets:
            with contextlib.suppress(OSError):  # it is gone already
                connection.send(octets)


if sys.version_info >= (3, 13):

    def _chain_shown(connection: ssl.SSLObject) -> tuple[bytes, ...]:
        """The certificates (DER) that the other end has shown so far, even in mid-handshake."""
        return tuple(connection.get_unverified_chain())

else:

    def _chain_shown(connection: ssl.SSLObject) -> tuple[bytes, ...]:
        # Older Pythons have it, but not in public: their `getpeercert` waits for the end of the
        # handshake, and whoever listens to the octets cannot read certificates in TLS 1.3.
        chain = connection._sslobj.get_unverified_chain()  # type: ignore[attr-defined]
        return tuple(ssl.PEM_cert_to_DER_cert(each.public_bytes()) for each in chain or ())


@lru_cache(maxsize=16)
def _shared_context(trust: bytes, config: TlsConfig) -> _PhoneContext:
    return _make_context(_read_chain(trust), config)


def _make_context(anchors: _Anchors, config: TlsConfig) -> _PhoneContext:
    context = _PhoneContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False  # `_check` does it, as the phone does
    without_time_check(context)
    # In TLS 1.3 a server refuses our certificate only after the handshake is over.
    take_versions(context, "1.0", config.maximum_version)
    context.options |= _LEGACY_SERVER_CONNECT
    if not config.session_resumption:
        context.options |= ssl.OP_NO_TICKET
    context.load_verify_locations(cadata=anchors.certificates)
    context.sslobject_class = _PhoneTlsObject
    context.anchors = anchors
    context.resumes = config.session_resumption
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
    if error.verify_code in _ISSUER_MISSING:
        return (
            ConnectFailure.CERTIFICATE_ISSUER_MISSING,
            f"{detail}: neither the downloaded chain nor the server has its issuer's certificate",
        )
    return ConnectFailure.CERTIFICATE_UNTRUSTED, detail


def _explain_os_error(error: OSError) -> tuple[ConnectFailure, str]:
    if error.errno == errno.ETIMEDOUT:
        return ConnectFailure.TIMEOUT, "no answer in time"
    text = os.strerror(error.errno) if error.errno else str(error)
    return ConnectFailure.UNREACHABLE, text


def _words(error: ssl.SSLError) -> str:
    reason = (getattr(error, "reason", None) or str(error)).replace("_", " ").lower()
    return f"TLS handshake failed: {reason}"
