"""The inner TLS handshake in virtual time: its flights and its keys, without cryptography.

The flights have the records and messages of the real ones, so that whoever reads them finds
the same order; what is in them is readable. Both sides make the same secret of what they said,
and by the real key derivation the same keys of it.

Specifications: RFC 2246 section 7.3 (the flights), sign-in reference sections 11 to 13.
"""

from __future__ import annotations

import hashlib

from phonesim.errors import DecodeError
from phonesim.wire.sipae import SigningKeys, keying_material, signing_keys
from phonesim.wire.tls_records import (
    CERTIFICATE,
    CERTIFICATE_REQUEST,
    CERTIFICATE_VERIFY,
    CLIENT_HELLO,
    CLIENT_KEY_EXCHANGE,
    SERVER_HELLO,
    SERVER_HELLO_DONE,
    encode_finished,
    encode_handshake,
    read_flight,
)


class VirtualClientHandshake:
    """A phone's side; `seed` makes its random number, `certificate` is what it shows."""

    def __init__(self, seed: str, server_name: str, certificate: bytes) -> None:
        self.keys: SigningKeys | None = None
        self._random = hashlib.sha256(seed.encode()).digest()
        self._server_name = server_name
        self._certificate = certificate
        self._secret: _Secret | None = None

    def advance(self, received: bytes) -> bytes:
        """Take a flight of the server, b"" to begin; return the next one.

        `DecodeError` if the handshake cannot go on.
        """
        if not received:
            return encode_handshake((CLIENT_HELLO, self._random))
        if self._secret is None:
            hello, certificate = _bodies(received, "ServerHello", "Certificate")
            if self._server_name not in certificate.decode("utf-8", "replace").split(","):
                raise DecodeError(f"the certificate is not made for {self._server_name}")
            self._secret = _Secret(self._random, hello, self._certificate)
            return encode_handshake(
                (CERTIFICATE, self._certificate),
                (CLIENT_KEY_EXCHANGE, b""),
                (CERTIFICATE_VERIFY, b""),
            ) + encode_finished(self._secret.verify_data("client"))
        if _bodies(received, "Finished") != [self._secret.verify_data("server")]:
            raise DecodeError("TLS handshake failed: the server's Finished is wrong")
        self.keys = self._secret.keys()
        return b""


class VirtualServerHandshake:
    """A server's side; its certificate is made for `names`."""

    def __init__(self, names: tuple[str, ...]) -> None:
        self.keys: SigningKeys | None = None
        self.certificate = b""
        self._names = names
        self._hellos: tuple[bytes, bytes] | None = None

    def advance(self, received: bytes) -> bytes:
        """Take a flight of the client, return the next one; `DecodeError` says what is wrong."""
        if self._hellos is None:
            (client,) = _bodies(received, "ClientHello")
            server = hashlib.sha256(client).digest()
            self._hellos = client, server
            return encode_handshake(
                (SERVER_HELLO, server),
                (CERTIFICATE, ",".join(self._names).encode()),
                (CERTIFICATE_REQUEST, b""),
                (SERVER_HELLO_DONE, b""),
            )
        certificate, finished = _bodies(received, "Certificate", "Finished")
        secret = _Secret(*self._hellos, certificate)
        if finished != secret.verify_data("client"):
            raise DecodeError("TLS handshake failed: the client's Finished is wrong")
        self.certificate = certificate
        self.keys = secret.keys()
        return encode_finished(secret.verify_data("server"))


class _Secret:
    def __init__(self, client: bytes, server: bytes, certificate: bytes) -> None:
        self._client = client
        self._server = server
        self._master = hashlib.sha384(client + server + certificate).digest()

    def verify_data(self, side: str) -> bytes:
        return hashlib.sha256(side.encode() + self._master).digest()

    def keys(self) -> SigningKeys:
        material = keying_material(self._master, self._client, self._server, "md5-sha1")
        return signing_keys(material, "sha1")


def _bodies(flight: bytes, *names: str) -> list[bytes]:
    """The bodies of the messages with these names; DecodeError if one is missing."""
    bodies = {message.name: message.body for message in read_flight(flight)}
    missing = [name for name in names if name not in bodies]
    if missing:
        raise DecodeError(f"TLS handshake failed: no {missing[0]} in {', '.join(bodies)}")
    return [bodies[name] for name in names]
