"""When the phone's certificate is to be renewed.

A certificate has a share of its life left when that is due: the phone then signs in with the
certificate itself, in the background, and registers with the new one from its next connection
on. What fails is tried again after a pause.

Specifications: sign-in reference section 8.3; when the real phone renews is unknown.
"""

from __future__ import annotations

from collections.abc import Callable

from phonesim.config.device_profile import SignInConfig
from phonesim.device import device_log as log
from phonesim.device.device_log import LogRecord
from phonesim.device.events import (
    CertificateIssued,
    Event,
    RenewalWanted,
    SignInFailed,
    TimerExpired,
)

Output = Event | LogRecord

Validity = Callable[[bytes], tuple[float, float] | None]
"""Tells a certificate's begin and end, Unix seconds; None if it cannot be read."""


class Renewal:
    """Takes `CertificateIssued`, gives `RenewalWanted` when it is due."""

    def __init__(
        self, config: SignInConfig, validity: Validity, believed: Callable[[float], float]
    ) -> None:
        self._config = config
        self._validity = validity
        self._believed = believed
        self._due_at: float | None = None

    def handle(self, event: Event, now: float) -> list[Output]:
        """Take one event; return log records and events for the phone."""
        match event:
            case CertificateIssued():
                return self._issued(event, now)
            case SignInFailed():
                self._due_at = now + self._config.renewal_retry_delay
                return [log.RENEWAL_FAILED(event.reason, event.detail)]
            case TimerExpired() if self._due_at is not None and now >= self._due_at:
                self._due_at = now + self._config.renewal_retry_delay
                return [RenewalWanted()]
            case _:
                return []

    def next_deadline(self) -> tuple[float, str] | None:
        """When the certificate is to be renewed."""
        return None if self._due_at is None else (self._due_at, "renew the certificate")

    def is_due(self, certificate: bytes, clock: float) -> bool:
        """Whether a certificate should be renewed before it is used, at Unix time `clock`."""
        due = self._due(certificate)
        return due is not None and clock >= due

    def _issued(self, event: CertificateIssued, now: float) -> list[Output]:
        due = self._due(event.certificate)
        if due is None:
            self._due_at = None
            return []
        # A clock that is wrong must not make the phone renew without end.
        delay = max(due - self._believed(now), self._config.renewal_retry_delay)
        self._due_at = now + delay
        return [log.RENEWAL_PLANNED(round(delay))]

    def _due(self, certificate: bytes) -> float | None:
        validity = self._validity(certificate)
        if validity is None:
            return None
        begin, end = validity
        return end - self._config.renewal_share * (end - begin)
