"""The phone's identity: who signed in on it, on its virtual disk.

The certificate that the web services issued, with the chain of trust that was downloaded for
it and the web ticket that it was asked for with, is kept in one file, written whole. A phone
that starts with it, and with its key, registers without PIN or a new key, while the
certificate has long enough to live. The key's file is the world's, which makes keys: here is
only known whether there is one.

Signing out forgets what the profile says. A factory reset forgets everything but the logs.

A file that cannot be read, or a certificate without its key, is reported and treated as absent.

Specifications: sign-in reference section 8.3 (reuse), device reference sections 9 and 13. The
real files' format is unknown; this one is JSON.
"""

from __future__ import annotations

from collections.abc import Callable

import msgspec

from phonesim.config.device_profile import IdentityConfig
from phonesim.device import device_log as log
from phonesim.device.actions import DeleteFile, PhoneAction, WriteFile
from phonesim.device.device_log import LogRecord
from phonesim.device.events import (
    CertificateIssued,
    Event,
    IdentityLoaded,
    IdentityUnusable,
    PowerApplied,
    RegistrationEnded,
)
from phonesim.errors import DecodeError

Output = PhoneAction | Event | LogRecord

IDENTITY_FILE = "identity.json"
KEY_FILE = "phone.key"

Expiry = Callable[[bytes], float | None]
"""Tells a certificate's end, Unix seconds; None if it cannot be read. The world knows how."""


class Stored(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The whole file. `ticket_expires` is Unix seconds."""

    sip_uri: str
    certificate: bytes
    chain: bytes
    ticket_id: str
    ticket_expires: int


_decoder = msgspec.json.Decoder(Stored)
_encoder = msgspec.json.Encoder()


def decode_identity(data: bytes) -> CertificateIssued:
    """Read an identity file; `DecodeError` if it is torn or none."""
    try:
        stored = _decoder.decode(data)
    except msgspec.MsgspecError as error:
        raise DecodeError(str(error)) from None
    except UnicodeDecodeError as error:
        raise DecodeError(f"not UTF-8: {error.reason}") from None
    return CertificateIssued(
        sip_uri=stored.sip_uri,
        certificate=stored.certificate,
        chain=stored.chain,
        ticket_id=stored.ticket_id,
        ticket_expires=stored.ticket_expires,
    )


class Identity:
    """Gives `IdentityLoaded` at power-on, if there is one; every change writes the file."""

    def __init__(self, config: IdentityConfig, expiry: Expiry) -> None:
        self._config = config
        self._expiry = expiry

    def handle(self, event: Event, now: float) -> list[Output]:
        """Take one event; return actions, log records and events for the phone."""
        match event:
            case PowerApplied():
                return self._load(event)
            case CertificateIssued():
                return [self._write(event)]
            case IdentityUnusable():
                return [log.IDENTITY_UNUSABLE(event.detail), DeleteFile(name=IDENTITY_FILE)]
            case RegistrationEnded():
                return self._sign_out()
            case _:
                return []

    def next_deadline(self) -> tuple[float, str] | None:
        """It waits for nothing."""
        return None

    def lasts(self, identity: CertificateIssued, clock: float) -> bool:
        """Whether the certificate may still be used at Unix time `clock`."""
        until = self._expiry(identity.certificate)
        return until is None or until - clock >= self._config.reuse_margin

    def _load(self, event: PowerApplied) -> list[Output]:
        data = event.files.get(IDENTITY_FILE)
        if data is None:
            if KEY_FILE in event.files and not event.has_key:
                return [log.CACHE_CORRUPT(KEY_FILE, "no RSA key")]
            return []
        if not event.has_key:
            why = "no RSA key" if KEY_FILE in event.files else "missing, and a certificate is there"
            return [log.CACHE_CORRUPT(KEY_FILE, why)]
        try:
            identity = decode_identity(data)
        except DecodeError as error:
            return [log.CACHE_CORRUPT(IDENTITY_FILE, str(error))]
        return [
            log.IDENTITY_LOADED(identity.sip_uri, len(identity.certificate)),
            IdentityLoaded(identity=identity),
        ]

    def _write(self, issued: CertificateIssued) -> WriteFile:
        stored = Stored(
            sip_uri=issued.sip_uri,
            certificate=issued.certificate,
            chain=issued.chain,
            ticket_id=issued.ticket_id,
            ticket_expires=issued.ticket_expires,
        )
        return WriteFile(name=IDENTITY_FILE, data=_encoder.encode(stored))

    def _sign_out(self) -> list[Output]:
        forgets = self._config.sign_out_forgets
        names = {"certificate": IDENTITY_FILE, "key": KEY_FILE}
        return [
            log.SIGNED_OUT(",".join(forgets)),
            *(DeleteFile(name=file) for what, file in names.items() if what in forgets),
        ]
