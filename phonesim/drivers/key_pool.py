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
import sys
import warnings
from asyncio.subprocess import PIPE, Process
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Literal, Self

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    PublicFormat,
    load_der_private_key,
)
from cryptography.x509.oid import NameOID

from phonesim.drivers import key_worker
from phonesim.errors import PhonesimError

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
        """A DER PKCS#10 for CN=`subject`, signed with this key, by SHA-1 [source].

        It is put together here (RFC 2986 section 4): cryptography's builder has no SHA-1.
        """
        with warnings.catch_warnings():
            # A user's name can be longer than the 64 octets of RFC 5280: let the server judge.
            warnings.simplefilter("ignore", UserWarning)
            attribute = x509.NameAttribute(NameOID.COMMON_NAME, subject, _validate=False)
        name = x509.Name([attribute]).public_bytes()
        key = self._key.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
        request = _der(_SEQUENCE, _VERSION_1 + name + key + _NO_ATTRIBUTES)
        signature = _der(_BIT_STRING, b"\0" + self.sign(request))
        return _der(_SEQUENCE, request + _SHA1_WITH_RSA + signature)

    def problem_of(self, certificate: bytes, subject: str) -> str:
        """Why a DER certificate is of no use for this key and CN=`subject`; empty if it is."""
        try:
            parsed = x509.load_der_x509_certificate(certificate)
            key = parsed.public_key()
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", UserWarning)
                names = parsed.subject.get_attributes_for_oid(NameOID.COMMON_NAME)
        except (ValueError, UnsupportedAlgorithm):
            return "it cannot be read"
        if [str(name.value).lower() for name in names] != [subject.lower()]:
            return f"it is that of {parsed.subject.rfc4514_string()[:100]}"
        return "" if key == self._key.public_key() else "it is for another key"

    def sign(self, data: bytes) -> bytes:
        """An RSA-SHA1 signature."""
        return self._key.sign(data, padding.PKCS1v15(), hashes.SHA1())  # noqa: S303


_SEQUENCE, _BIT_STRING = 0x30, 0x03
_VERSION_1 = bytes.fromhex("020100")
_NO_ATTRIBUTES = bytes.fromhex("a000")
_SHA1_WITH_RSA = bytes.fromhex("300d06092a864886f70d0101050500")


def _der(tag: int, content: bytes) -> bytes:
    """A DER value (X.690 section 8.1.3)."""
    size = len(content)
    if size < 128:
        return bytes((tag, size)) + content
    length = size.to_bytes((size.bit_length() + 7) // 8, "big")
    return bytes((tag, 0x80 | len(length))) + length + content


def certificate_validity(certificate: bytes) -> tuple[float, float] | None:
    """Begin and end of a DER certificate, Unix seconds; None if it cannot be read."""
    try:
        parsed = x509.load_der_x509_certificate(certificate)
        return parsed.not_valid_before_utc.timestamp(), parsed.not_valid_after_utc.timestamp()
    except ValueError:
        return None


class KeyPool:
    """Gives keys to phones; an async context manager, at whose end the workers end.

    `phones` is how many will ask, `count` how many keys they have between them. Keys `given`
    beforehand need not be made.
    """

    def __init__(
        self,
        phones: int,
        mode: Literal["pool", "unique"] = "pool",
        given: Sequence[PhoneKey] = (),
    ) -> None:
        self.phones = phones
        self.count = max(1, min(phones, SHARED_KEYS) if mode == "pool" else phones)
        self.keys = list(given)
        self._taken = 0
        self._workers: list[Process] = []

    async def __aenter__(self) -> Self:
        """Start making keys."""
        missing = max(0, self.count - len(self.keys))
        count = min(missing, os.cpu_count() or 1)
        for number in range(count):
            share = missing // count + (number < missing % count)
            self._workers.append(await _start_worker(share))
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Stop making keys and end the workers."""
        for worker in self._workers:
            if worker.returncode is None:
                worker.kill()
            await worker.wait()

    async def ready(self) -> None:
        """Wait until every key is made; `PhonesimError` if a worker could not make its own."""
        await asyncio.gather(*(self._collect(worker) for worker in self._workers))
        if len(self.keys) < self.count:
            raise PhonesimError("a process that makes the phones' keys ended too early")

    def key(self) -> PhoneKey:
        """The next phone's key; the pool must be ready."""
        key = self.keys[self._taken % self.count]
        self._taken += 1
        return key

    async def _collect(self, worker: Process) -> None:
        assert worker.stdout is not None
        async for line in worker.stdout:
            self.keys.append(PhoneKey(bytes.fromhex(line.decode())))


async def _start_worker(share: int) -> Process:
    package = Path(key_worker.__file__).parents[2]
    path = os.pathsep.join(filter(None, (str(package), os.environ.get("PYTHONPATH"))))
    return await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        key_worker.__name__,
        str(share),
        stdout=PIPE,
        env={**os.environ, "PYTHONPATH": path},
        start_new_session=True,  # Ctrl-C is for us: we end our workers ourselves
    )
