"""The phones' RSA keys, made by worker processes.

One key takes 50 to 300 ms of a processor, which would stop every phone of the fleet
meanwhile. Worker processes start making keys when the pool opens. With "pool" a few
keys are shared by all phones in turn: registration does not care, and a boot storm
measures the servers instead of our arithmetic. With "unique" every phone waits for
one of its own.

Specifications: RFC 2986 (PKCS#10), sign-in reference section 8.3 (RSA 2048, CN).
"""

from __future__ import annotations

import asyncio
import os
import signal
import warnings
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from functools import lru_cache
from multiprocessing import get_context
from types import TracebackType
from typing import Literal, Self

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_der_private_key,
)
from cryptography.x509.oid import NameOID

KEY_SIZE = 2048
SHARED_KEYS = 8
"""Keys of a "pool", if there are that many phones."""


class PhoneKey:
    """One RSA key; `der` is its private half, unencrypted PKCS#1."""

    __slots__ = ("_key", "der")

    def __init__(self, der: bytes) -> None:
        """`ValueError` if `der` is not an RSA key."""
        key = load_der_private_key(der, password=None)
        if not isinstance(key, rsa.RSAPrivateKey):
            raise ValueError("an RSA key expected")
        self.der = der
        self._key = key

    def certificate_request(self, subject: str) -> bytes:
        """A DER PKCS#10 for CN=`subject`, signed with this key."""
        with warnings.catch_warnings():
            # A user's name can be longer than the 64 octets of RFC 5280: let the server judge.
            warnings.simplefilter("ignore", UserWarning)
            attribute = x509.NameAttribute(NameOID.COMMON_NAME, subject, _validate=False)
        name = x509.Name([attribute])
        request = x509.CertificateSigningRequestBuilder(name).sign(self._key, hashes.SHA256())
        return request.public_bytes(Encoding.DER)


class KeyPool:
    """Gives keys to phones; an async context manager, at whose end the workers end.

    `phones` is how many will ask. Keys `given` beforehand are handed out first.
    """

    def __init__(
        self,
        phones: int,
        mode: Literal["pool", "unique"] = "pool",
        given: Sequence[PhoneKey] = (),
    ) -> None:
        self._wanted = max(1, min(phones, SHARED_KEYS) if mode == "pool" else phones)
        self._keys = list(given)
        self._pending: list[asyncio.Future[bytes]] = []
        self._taken = 0
        self._workers: ProcessPoolExecutor | None = None

    async def __aenter__(self) -> Self:
        """Start making keys."""
        missing = self._wanted - len(self._keys)
        if missing > 0:
            # "spawn": a child must not inherit the fleet's sockets and event loop.
            self._workers = ProcessPoolExecutor(
                max_workers=min(missing, os.cpu_count() or 1),
                mp_context=get_context("spawn"),
                initializer=_ignore_interrupts,
            )
            self._pending = [
                asyncio.wrap_future(self._workers.submit(_make_key)) for _ in range(missing)
            ]
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Stop making keys and end the workers."""
        for future in self._pending:
            future.cancel()
        if self._workers is not None:
            workers, self._workers = self._workers, None
            await asyncio.to_thread(workers.shutdown, wait=True, cancel_futures=True)

    async def key(self) -> PhoneKey:
        """The next phone's key."""
        number = self._taken % self._wanted
        self._taken += 1
        given = len(self._keys)
        if number < given:
            return self._keys[number]
        return _load(await asyncio.shield(self._pending[number - given]))


@lru_cache(maxsize=SHARED_KEYS)
def _load(der: bytes) -> PhoneKey:
    return PhoneKey(der)


def _ignore_interrupts() -> None:
    # Ctrl-C reaches the whole process group; the parent ends its workers itself.
    signal.signal(signal.SIGINT, signal.SIG_IGN)


def _make_key() -> bytes:
    key = rsa.generate_private_key(public_exponent=65537, key_size=KEY_SIZE)
    return key.private_bytes(Encoding.DER, PrivateFormat.TraditionalOpenSSL, NoEncryption())
