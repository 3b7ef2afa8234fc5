"""The TLS handshake within SIP: both ends of it, over memory instead of a socket.

A flight goes in, the next one comes out. Nothing is ever sent over the connection that the
handshake sets up: it is made for the keys that both ends export from it.

OpenSSL's pyOpenSSL is used because Python's ssl exports no keying material. TLS 1.0 is what
the phones of the time spoke, and OpenSSL has it at security level 0 only. The suites are
those whose MAC has a hash of its own, for it is also the hash of the signatures.

A context costs 0.3 ms, and a key that is new to OpenSSL costs more at its first use: phones that
share a key and trust the same chain share a context. A phone's certificate is that of its
connection.

Specifications: [MS-SIPAE] section 3.2.5.1, RFC 5705 (the exporter equals the key derivation
of RFC 5216 section 2.3), sign-in reference sections 12 and 13.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    load_der_private_key,
    load_pem_private_key,
)
from OpenSSL import SSL, crypto

from phonesim.device.actions import BeginHandshake, ContinueHandshake
from phonesim.device.events import Event, HandshakeAdvanced, HandshakeFailed
from phonesim.drivers.trust import CertificateRefused, check_certificate, trusted_certificates
from phonesim.errors import DecodeError
from phonesim.wire.sipae import (
    KEY_LABEL,
    KEYING_MATERIAL_SIZE,
    SigningKeys,
    mac_hash_of,
    signing_keys,
)

_SUITES = {
    "tls1.0": b"kRSA+AES+SHA1:@SECLEVEL=0",
    "tls1.2": b"kRSA+AES+SHA1:kRSA+AES:kECDHE+AES:!AESCCM:!aNULL:@SECLEVEL=0",
}
_VERSIONS = {"tls1.0": SSL.TLS1_VERSION, "tls1.2": SSL.TLS1_2_VERSION}
_NO_CHECK_TIME = 0x200000  # X509_V_FLAG_NO_CHECK_TIME: dates are judged by another clock
_NO_AUTO_CHAIN = 0x8  # SSL_MODE_NO_AUTO_CHAIN: a phone shows its own certificate alone
_LARGEST_FLIGHT = 65536


class _InnerTls:
    """One end of a handshake."""

    def __init__(self, context: SSL.Context) -> None:
        self.connection = SSL.Connection(context, None)
        self.is_over = False

    def advance(self, received: bytes) -> bytes:
        """Take a flight, return the next one; `DecodeError` if the handshake cannot go on."""
        connection = self.connection
        try:
            if received:
                connection.bio_write(received)
            connection.do_handshake()
            self.is_over = True
        except SSL.WantReadError:
            pass
        except SSL.Error as error:
            raise DecodeError(f"TLS handshake failed: {_words(error)}") from None
        try:
            return connection.bio_read(_LARGEST_FLIGHT)
        except SSL.WantReadError:
            if not self.is_over:
                raise DecodeError("TLS handshake failed: the flight is not complete") from None
            return b""

    def export_keys(self) -> SigningKeys:
        """The keys of the finished handshake."""
        suite = self.connection.get_cipher_name() or ""
        material = self.connection.export_keying_material(KEY_LABEL, KEYING_MATERIAL_SIZE)
        return signing_keys(material, mac_hash_of(suite))

    def peer_certificate(self) -> bytes:
        """What the other end showed, DER; empty before it did."""
        certificate = self.connection.get_peer_certificate(as_cryptography=True)
        return b"" if certificate is None else certificate.public_bytes(Encoding.DER)


class SiteHandshake:
    """Implements `phonesim.mocksite.exchange.ServerHandshake`; `context` is a `site_context`."""

    def __init__(self, context: SSL.Context) -> None:
        self._tls = _InnerTls(context)
        self._tls.connection.set_accept_state()

    @property
    def keys(self) -> SigningKeys | None:
        """What both sides sign with; None before the handshake is over."""
        return self._tls.export_keys() if self._tls.is_over else None

    @property
    def certificate(self) -> bytes:
        """The client's certificate, DER."""
        return self._tls.peer_certificate()

    def advance(self, received: bytes) -> bytes:
        """Take a flight of the client, return the next one; `DecodeError` says what is wrong."""
        return self._tls.advance(received)


def site_context(certificate: bytes, key: bytes) -> SSL.Context:
    """What a site's handshakes share: its PEM certificate, the issuing one behind it, its key.

    Every client certificate gets through whose key the client holds: who that is, and whether
    the site issued it, is for the Registrar to say.
    """
    context = _new_context("tls1.2")
    leaf, *others = x509.load_pem_x509_certificates(certificate)
    context.use_certificate(leaf)
    for other in others:
        context.add_extra_chain_cert(other)
    context.use_privatekey(_rsa(load_pem_private_key(key, None)))
    demands = SSL.VERIFY_PEER | SSL.VERIFY_FAIL_IF_NO_PEER_CERT
    context.set_verify(demands, lambda *_: True)
    return context


class PhoneHandshake:
    """The inner TLS of one phone; `key` gives its DER PKCS#1 key, `deliver` takes its events.

    A new handshake takes the place of the last one.
    """

    def __init__(self, key: Callable[[], bytes | None], deliver: Callable[[Event], None]) -> None:
        self._key = key
        self._deliver = deliver
        self._begun: BeginHandshake | None = None
        self._tls: _InnerTls | None = None

    def begin(self, action: BeginHandshake) -> None:
        """Make the first flight."""
        self._begun = action
        try:
            tls = self._tls = self._connect(action)
        except (ValueError, UnsupportedAlgorithm, SSL.Error) as error:
            detail = _words(error) if isinstance(error, SSL.Error) else str(error)
            self._fail(action.handshake_id, f"no TLS handshake can begin: {detail}")
        else:
            self._advance(action, tls, b"")

    def go_on(self, action: ContinueHandshake) -> None:
        """Take a flight of the other side."""
        begun, tls = self._begun, self._tls
        if begun is not None and tls is not None and begun.handshake_id == action.handshake_id:
            self._advance(begun, tls, action.received)

    def _advance(self, begun: BeginHandshake, tls: _InnerTls, received: bytes) -> None:
        try:
            flight = tls.advance(received)
            if received:
                certificate = tls.peer_certificate()
                check_certificate(certificate, begun.server_name, begun.trust, begun.clock)
            keys = tls.export_keys() if tls.is_over else None
        except (DecodeError, CertificateRefused) as error:
            self._fail(begun.handshake_id, str(error))
            return
        if keys is not None:
            self._begun = self._tls = None
        self._deliver(
            HandshakeAdvanced(
                handshake_id=begun.handshake_id,
                flight=flight,
                keys=keys,
                valid_until=_valid_until(begun.certificate),
            )
        )

    def _connect(self, action: BeginHandshake) -> _InnerTls:
        key = self._key()
        if key is None:
            raise ValueError("the phone has no key")
        context, public_key = _phone_context(key, action.trust, action.maximum_version)
        certificate = x509.load_der_x509_certificate(action.certificate)
        if certificate.public_key() != public_key:
            raise ValueError("mismatch of the phone's certificate and its key")
        tls = _InnerTls(context)
        tls.connection.use_certificate(certificate)
        tls.connection.set_connect_state()
        return tls

    def _fail(self, handshake_id: int, detail: str) -> None:
        self._begun = self._tls = None
        self._deliver(HandshakeFailed(handshake_id=handshake_id, detail=detail))


@lru_cache(maxsize=16)
def _phone_context(
    key: bytes, trust: bytes, maximum_version: str
) -> tuple[SSL.Context, rsa.RSAPublicKey]:
    """What the handshakes of phones share that have the same DER key and trust the same chain."""
    context = _new_context(maximum_version)
    # Not tested whether it is a sound key, which takes 60 ms: it is one of our own.
    private_key = _rsa(load_der_private_key(key, None, unsafe_skip_rsa_key_validation=True))
    context.use_privatekey(private_key)
    store = context.get_cert_store()
    assert store is not None
    for each in trusted_certificates(trust):
        store.add_cert(crypto.X509.from_cryptography(each))
    store.set_flags(_NO_CHECK_TIME)
    context.set_verify(SSL.VERIFY_PEER, lambda _connection, _cert, _errno, _depth, ok: bool(ok))
    return context, private_key.public_key()


def _new_context(maximum_version: str) -> SSL.Context:
    context = SSL.Context(SSL.TLS_METHOD)
    context.set_min_proto_version(SSL.TLS1_VERSION)
    context.set_max_proto_version(_VERSIONS[maximum_version])
    context.set_cipher_list(_SUITES[maximum_version])
    # Tickets would make the last flight longer, and nothing is ever resumed.
    context.set_options(SSL.OP_NO_TICKET | SSL.OP_NO_COMPRESSION)
    context.set_session_cache_mode(SSL.SESS_CACHE_OFF)
    context.set_mode(_NO_AUTO_CHAIN)
    return context


def _rsa(key: object) -> rsa.RSAPrivateKey:
    if not isinstance(key, rsa.RSAPrivateKey):
        raise ValueError("an RSA key expected")
    return key


@lru_cache(maxsize=256)
def _valid_until(certificate: bytes) -> float:
    return x509.load_der_x509_certificate(certificate).not_valid_after_utc.timestamp()


def _words(error: SSL.Error) -> str:
    """What OpenSSL says, such as "certificate verify failed"."""
    queue = error.args[0] if error.args else ()
    reasons = [str(entry[-1]) for entry in queue if isinstance(entry, tuple) and entry[-1]]
    return reasons[-1].lower() if reasons else "the connection was closed"
