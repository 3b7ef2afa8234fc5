"""What can mend a failed boot: waiting, a person, another certificate, or asking the site anew.

Which of the phone's belongings a failure speaks against, by its reason. `phonesim.device.boot`
does what follows.

Specifications: device reference sections 11 and 13; which certificate errors make a phone fetch
its chain again, and whether a wrong clock speaks against a cache, is the device profile's to say.
"""

from __future__ import annotations

from phonesim.device.outcome import FailureReason

_NEED_A_PERSON = frozenset(
    {
        FailureReason.PASSWORD_INCORRECT,
        FailureReason.PIN_INCORRECT,
        FailureReason.PIN_LOCKED,
        FailureReason.PIN_EXPIRED,
        FailureReason.PIN_NOT_SET,
        FailureReason.PIN_NOT_ENABLED,
        FailureReason.PIN_NOT_UNIQUE,
        FailureReason.USER_NOT_UNIQUE,
        FailureReason.USER_UNAUTHORIZED,
        FailureReason.USER_UNKNOWN,
        FailureReason.USER_DISABLED,
        FailureReason.REGISTRATION_DISPLACED,
    }
)
_REFUSE_IDENTITY = frozenset(
    {FailureReason.REGISTRATION_UNAUTHORIZED, FailureReason.REGISTRATION_FORBIDDEN}
)
_OUTDATE_CHAIN = frozenset(
    {
        FailureReason.CERTIFICATE_UNTRUSTED,
        FailureReason.CERTIFICATE_ISSUER_MISSING,
        FailureReason.CHAIN_UNUSABLE,
    }
)
_OF_TIME = frozenset({FailureReason.CERTIFICATE_EXPIRED, FailureReason.CERTIFICATE_NOT_YET_VALID})


def needs_a_person(reason: FailureReason) -> bool:
    """Whether waiting cannot mend it: another PIN is to be typed, or an administrator to act."""
    return reason in _NEED_A_PERSON


def outdates_identity(reason: FailureReason, *, refetches_chain: bool) -> bool:
    """Whether the phone's certificate, or the chain beside it, is to blame at the Registrar."""
    return reason in _REFUSE_IDENTITY or (refetches_chain and reason in _OUTDATE_CHAIN)


def blames_cache(reason: FailureReason, *, has_time: bool, clears_without_time: bool) -> bool:
    """Whether addresses of the cache may have misled the phone."""
    return has_time or reason not in _OF_TIME or clears_without_time
