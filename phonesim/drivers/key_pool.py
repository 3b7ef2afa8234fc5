"""The phones' RSA keys, made by worker processes.

One key takes 50 to 300 ms of a processor, which would stop every phone of the fleet
meanwhile. Worker processes make the keys before the first phone starts, so that no
phone's boot is measured longer than its servers made it. With "pool" a few keys are
shared by all phones in turn: registration does not care. With "unique" every phone has
one of its own, and the run begins that much later.

Specifications: RFC 2986 (PKCS#10), sign-in reference section 8.3 (RSA 2048, CN).
"""

from __future__ import annotations

import asyncio
import os
import signal
import warnings
from collections import deque
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
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
        # Not checked whether it is a sound key, which takes 60 ms: it is one of our own.
        key = load_der_private_key(der, password=None, unsafe_skip_rsa_key_validation=True)
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
        self._pending: deque[asyncio.Future[bytes]] = deque()
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
            self._pending.extend(
                asyncio.wrap_future(self._workers.submit(_make_key)) for _ in range(missing)
            )
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

    async def ready(self) -> None:
        """Wait until every key is made."""
        while self._pending:
            self._keys.append(PhoneKey(await self._pending[0]))
            self._pending.popleft()

    def key(self) -> PhoneKey:
        """The next phone's key; the pool must be ready."""
        key = self._keys[self._taken % self._wanted]
        self._taken += 1
        return key


def _ignore_interrupts() -> None:
    # Ctrl-C reaches the whole process group; the parent ends its workers itself.
    signal.signal(signal.SIGINT, signal.SIG_IGN)


def _make_key() -> bytes:
    key = rsa.generate_private_key(public_exponent=65537, key_size=KEY_SIZE)
    return key.private_bytes(Encoding.DER, PrivateFormat.TraditionalOpenSSL, NoEncryption())
