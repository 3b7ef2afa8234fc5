"""The Registrar: whether one is reached, and what it says to a REGISTER."""

from __future__ import annotations

from collections.abc import Iterator

from phonesim.device.outcome import FailureReason
from phonesim.field import causes
from phonesim.field.boots import Boot
from phonesim.field.finding import Certainty, Finding, evidence_of
from phonesim.field.rules.sign import Sign, find, find_signs
from phonesim.field.sightings import Sighting

_NOT_REACHED = frozenset({"refused", "timeout", "unreachable", "closed"})

_SIGNS_OF_HURT = (
    Sign(
        cause=causes.REGISTRAR_REFUSES,
        name="register_answer",
        where={"status": (403,)},
        detail="{diagnostics}",
    ),
    Sign(
        cause=causes.REGISTRAR_KNOWS_NO_USER,
        name="register_answer",
        where={"status": (404,)},
        detail="{diagnostics}",
    ),
    Sign(
        cause=causes.REGISTRAR_UNAVAILABLE,
        name="register_answer",
        where={"status": (408, 480, 500, 502, 503, 504)},
        detail="{status} {reason}",
    ),
    Sign(
        cause=causes.REDIRECT_LOOP,
        name="boot_failed",
        where={"reason": (FailureReason.REGISTRAR_REDIRECTS,)},
        detail="{detail}",
    ),
    Sign(
        cause=causes.REGISTRAR_UNVERIFIED,
        name="boot_failed",
        where={"reason": (FailureReason.REGISTRAR_UNVERIFIED,)},
        detail="{detail}",
    ),
    Sign(
        cause=causes.CERTIFICATE_AUTHENTICATION_OFF,
        name="boot_failed",
        where={"reason": (FailureReason.REGISTRATION_NO_COMMON_SCHEME,)},
        detail="{detail}",
    ),
)
_SIGNS = (
    Sign(
        cause=causes.SIGNED_OUT_ELSEWHERE,
        name="deregistered",
        where={"event": ("unregistered",)},
        detail="{diagnostics}",
    ),
    Sign(
        cause=causes.USER_DISABLED,
        name="deregistered",
        where={"event": ("rejected",)},
        detail="{diagnostics}",
    ),
)


def find_answers(boot: Boot) -> Iterator[Finding]:
    """What Registrars said, row by row."""
    yield from find_signs(boot, _SIGNS)
    if boot.is_hurt:
        yield from find_signs(boot, _SIGNS_OF_HURT)


def find_unreachable(boot: Boot) -> Iterator[Finding]:
    """Every Registrar of a round failed, and none of them answered."""
    if not boot.is_hurt:
        return
    failed = [each for each in boot.all("registrar_failed") if each["failure"] in _NOT_REACHED]
    lost = boot.last("registration_lost")
    is_lost = lost is not None and not boot.ends_well
    failures = [
        each
        for each in boot.all("boot_failed")
        if each["reason"] in (FailureReason.REGISTRAR_REFUSED, FailureReason.REGISTRAR_TIMEOUT)
    ]
    if not failed or not (failures or is_lost):
        return
    per_name: dict[str, Sighting] = {}
    for each in failed:
        per_name.setdefault(str(each["registrar"]), each)
    detail = ", ".join(f"{name}: {each['failure']}" for name, each in per_name.items())
    shown = list(per_name.values())
    if boot.has("registered") and lost is not None and len(per_name) > 1:
        note = "the phone was registered here until now"
        yield find(
            boot,
            causes.BACKUP_UNREACHABLE,
            Certainty.CERTAIN,
            evidence_of(lost, note),
            *shown,
            detail=detail,
        )
    else:
        yield find(boot, causes.REGISTRAR_DOWN, Certainty.LIKELY, *shown, detail=detail)


def find_moved_home(boot: Boot) -> Iterator[Finding]:
    """A Registrar sends the phone to another pool, and that does not take it."""
    sent_away = [each for each in boot.all("deregistered") if each["event"] == "deactivated"]
    sent_away += boot.all("registrar_redirected")
    if not sent_away or not boot.is_hurt:
        return
    at = sent_away[0].place.number
    failed = [each for each in boot.all("registrar_failed") if each.place.number > at]
    if failed:
        detail = f"{failed[0]['registrar']}: {failed[0]['failure']}"
        yield find(
            boot, causes.HOME_POOL_MOVED, Certainty.CERTAIN, sent_away[0], failed[0], detail=detail
        )


RULES = (find_answers, find_unreachable, find_moved_home)
