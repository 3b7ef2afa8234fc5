"""What a web service refuses: the fault for the client, the reason for the operator.

Specifications: [MS-OCAUTHWS], sign-in reference section 9.
"""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from phonesim.wire.soap_envelope import SoapFault

NO_SECURITY_TOKEN = 28020
"""ErrorId of "No valid security token." [capture]."""

USER_DISABLED = 4141
"""ErrorId of "User disabled." [documented MS-OCER for SIP; here inferred]."""

_PIN_REASONS = {
    "UserDoesNotExist": "No user has this phone number or extension.",
    "UserPinAccountDisabled": "The user is disabled.",
    "UserPinAccountLocked": "The user is locked.",
    "PinNotEnabledForUser": "The user may not sign in with a PIN.",
    "PinNotSet": "The user has no PIN.",
    "PinNotUnique": "More than one user has this number and PIN.",
    "NonUniqueUser": "More than one user has this extension and PIN.",
    "PinExpired": "The PIN has expired.",
    "IncorrectPin": "The PIN is not correct.",
    "Unauthorized": "The user is not authorized to sign in.",
}


class Refusal(msgspec.Struct, frozen=True):
    """What the client is told, and what the operator is."""

    fault: SoapFault
    why: str
    fields: tuple[tuple[str, str], ...] = ()


def refuse(code: str, reason: str, why: str, *fields: tuple[str, str]) -> Refusal:
    """A fault without diagnostics."""
    return Refusal(SoapFault(code=code, reason=reason), why, fields)


def refuse_request(why: str, *fields: tuple[str, str]) -> Refusal:
    """The request is understood and cannot be done."""
    return refuse("RequestFailed", "The specified request failed.", why, *fields)


def refuse_token(why: str, *fields: tuple[str, str]) -> Refusal:
    """What should show who the client is does not."""
    fault = SoapFault(
        code="InvalidSecurityToken",
        reason="The security token could not be authenticated or authorized.",
        error_id=NO_SECURITY_TOKEN,
        error_reason="No valid security token.",
    )
    return Refusal(fault, why, fields)


def refuse_disabled(user: str) -> Refusal:
    """Who is known, and may not sign in."""
    fault = SoapFault(
        code="RequestFailed",
        reason="The user is disabled.",
        error_id=USER_DISABLED,
        error_reason="User disabled.",
    )
    return Refusal(fault, "no web ticket: the user is disabled", (("user", user),))


def refuse_pin(failure: str, number: str, error_ids: Mapping[str, int]) -> Refusal:
    """A number and PIN do not make a ticket; `error_ids` by PinFailureReason."""
    reason = _PIN_REASONS[failure]
    error_id = error_ids.get(failure, 0)
    fault = SoapFault(
        code="FailedAuthentication",
        reason=reason,
        error_id=error_id,
        error_reason=reason if error_id else "",
        pin_failure=failure,
    )
    return Refusal(fault, f"no web ticket: {failure}", (("number", number),))
