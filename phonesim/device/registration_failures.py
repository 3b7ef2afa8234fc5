"""Why a round of attempts to register came to nothing, and whether another one may do better.

Every Registrar of a round fails in its own way. Together they are told as one failure: its reason
is that of the last Registrar that answered, for an answer tells more than none. A refusal stands
whatever the time; what else went wrong may mend. The longest Retry-After of all is kept until it
is used.

Specifications: RFC 3261 section 21, sign-in reference sections 17 to 20.
"""

from __future__ import annotations

from phonesim.device.outcome import FailureReason

REFUSED = frozenset(
    {
        FailureReason.REGISTRATION_UNAUTHORIZED,
        FailureReason.REGISTRATION_FORBIDDEN,
        FailureReason.REGISTRATION_NOT_FOUND,
        FailureReason.REGISTRATION_REJECTED,
        FailureReason.REGISTRAR_REDIRECTS,
        FailureReason.REGISTRATION_NO_COMMON_SCHEME,
        FailureReason.USER_DISABLED,
    }
)
"""What another round of attempts would not mend."""
ANSWERED = REFUSED | {
    FailureReason.REGISTRAR_UNAVAILABLE,
    FailureReason.REGISTRATION_HANDSHAKE_FAILED,
    FailureReason.REGISTRAR_UNVERIFIED,
}
"""The reasons of Registrars that answered."""


class RegistrationFailures:
    """Fed with `add`; `sum_up` ends a round, `clear` forgets what a success has mended."""

    __slots__ = ("_failures", "_retry_after")

    def __init__(self) -> None:
        self.clear()

    def clear(self) -> None:
        """Forget them all."""
        self._failures: list[tuple[FailureReason, str]] = []
        self._retry_after = 0.0

    def add(self, reason: FailureReason, detail: str, retry_after: float) -> None:
        """Another Registrar failed; it is unwanted for `retry_after` seconds, if not 0."""
        self._failures.append((reason, detail))
        self._retry_after = max(self._retry_after, retry_after)

    def sum_up(self) -> tuple[FailureReason, str]:
        """Why the round that is over, with one failure at least, came to nothing."""
        failures, self._failures = self._failures, []
        answered = [reason for reason, _ in failures if reason in ANSWERED]
        reasons = answered or [reason for reason, _ in failures]
        return reasons[-1], "; ".join(detail for _, detail in failures)

    def take_retry_after(self) -> float:
        """The seconds to wait that Registrars asked for, 0 for none; they are asked for once."""
        retry_after, self._retry_after = self._retry_after, 0.0
        return retry_after
