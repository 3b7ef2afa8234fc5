"""Who has this number and this PIN, as the PIN policy allows.

Wrong PINs are counted twice. The local count is one web server's: so many within half an
hour lock the user there for an hour, right PIN or not, and the right PIN clears it. The
global count is the pool's: what it locks stays locked until an administrator unlocks it.
How many depends on the length of the PIN.

Users may share a number or an extension: the PIN tells them apart, and where it does not,
nobody gets in. A wrong PIN counts for each of them.

Specifications: device reference section 11 (Set-CsPinPolicy, PinFailureReason). Which of two
reasons is given when both hold is [inferred].
"""

from __future__ import annotations

import msgspec

from phonesim.mocksite.users import User, UserDirectory
from phonesim.wire.web_ticket import PinCredential

ATTEMPT_WINDOW = 1800.0
"""Seconds during which wrong PINs add up [documented Set-CsPinPolicy]."""
LOCKOUT_TIME = 3600.0
"""Seconds for which a user is locked [documented Set-CsPinPolicy]."""

_DAY = 86400
_LIMITS = {4: (10, 100), 5: (25, 1000)}
_LIMITS_OF_LONGER = (25, 5000)
"""Local and global limits by a PIN's length [documented Set-CsPinPolicy; 6 digits inferred]."""


class _Attempts(msgspec.Struct):
    """Wrong PINs of one user at one server: when each was tried, until when that locks."""

    tried_at: list[float]
    locked_until: float = 0


class PinAuthentication:
    """One web server's authentication; what the pool shares is in the directory."""

    def __init__(self, users: UserDirectory) -> None:
        self._users = users
        self._policy = users.pin_policy
        self._attempts: dict[str, _Attempts] = {}

    def authenticate(self, credential: PinCredential, now: float) -> User | str:
        """The user, or the PinFailureReason."""
        candidates = self._users.by_number(credential.number)
        if not candidates:
            return "UserDoesNotExist"
        if len(candidates) > 1:
            matching = [user for user in candidates if user.pin == credential.pin]
            if len(matching) > 1:
                shares_number = len({user.number for user in matching}) < len(matching)
                return "PinNotUnique" if shares_number else "NonUniqueUser"
            if not matching:
                for user in candidates:
                    self._count_attempt(user, now)
                return "IncorrectPin"
            candidates = (matching[0],)
        return self._check(candidates[0], credential.pin, now)

    def _check(self, user: User, pin: str, now: float) -> User | str:
        if not user.is_enabled:
            return "UserPinAccountDisabled"
        if user.pin_state == "locked" or self._is_locked(user, now):
            return "UserPinAccountLocked"
        if user.pin_state == "not-enabled":
            return "PinNotEnabledForUser"
        if user.pin_state == "not-set":
            return "PinNotSet"
        if user.pin != pin:
            self._count_attempt(user, now)
            return "IncorrectPin"
        self._attempts.pop(user.sip_uri, None)
        if user.pin_state == "expired" or self._is_too_old(user, now):
            return "PinExpired"
        if user.pin_state == "unauthorized":
            return "Unauthorized"
        return user

    def _is_locked(self, user: User, now: float) -> bool:
        if self._users.wrong_pins(user) >= self._limits(user)[1]:
            return True
        attempts = self._attempts.get(user.sip_uri)
        return attempts is not None and now < attempts.locked_until

    def _is_too_old(self, user: User, now: float) -> bool:
        lifetime = self._policy.lifetime_days
        return lifetime > 0 and user.pin_age_days + now / _DAY > lifetime

    def _count_attempt(self, user: User, now: float) -> None:
        self._users.count_wrong_pin(user)
        attempts = self._attempts.setdefault(user.sip_uri, _Attempts([]))
        attempts.tried_at = [at for at in attempts.tried_at if at > now - ATTEMPT_WINDOW]
        attempts.tried_at.append(now)
        if len(attempts.tried_at) >= self._limits(user)[0]:
            attempts.tried_at = []
            attempts.locked_until = now + LOCKOUT_TIME

    def _limits(self, user: User) -> tuple[int, int]:
        local, pool_wide = _LIMITS.get(len(user.pin), _LIMITS_OF_LONGER)
        return self._policy.maximum_logon_attempts or local, pool_wide
