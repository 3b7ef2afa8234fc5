"""The Registrar: whether one is reached, and what it says to a REGISTER."""

from __future__ import annotations

from collections.abc import Iterator

from phonesim.device.outcome import FailureReason
from phonesim.field import causes
from phonesim.field.boots import Boot
from phonesim.field.finding import Certainty, Finding, evidence_of
from phonesim.field.rules.sign import Sign, find, find_signs
from phonesim.field.rules.ways import denied_hosts, host_of_registrar
from phonesim.field.sightings import Sighting

_NOT_REACHED = frozenset({"refused", "timeout", "unreachable", "closed"})
_NOT_REACHED_REASONS = frozenset({FailureReason.REGISTRAR_REFUSED, FailureReason.REGISTRAR_TIMEOUT})

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


def find_refused_credentials(boot: Boot) -> Iterator[Finding]:
    """A Registrar says of what the phone has shown that it is not good."""
    refused = [
        each
        for each in boot.all("register_answer")
        if each["status"] == 401 and each["diagnostics"]
    ]
    if refused and boot.is_hurt:
        shown = [each for each in boot.all("register_sent") if each["auth"]]
        detail = str(refused[0]["diagnostics"])
        cause = causes.REGISTRAR_CREDENTIALS
        yield find(boot, cause, Certainty.CERTAIN, *shown[:1], *refused[:2], detail=detail)


def find_unreachable(boot: Boot) -> Iterator[Finding]:
    """Every Registrar that was tried failed, and none of them answered."""
    if boot.ends_well:
        return
    accepted = boot.last("registered")
    since = -1 if accepted is None else boot.position(accepted)
    failed: dict[str, Sighting] = {}
    for each in boot.all("registrar_failed"):
        if boot.position(each) > since and each["failure"] in _NOT_REACHED:
            failed.setdefault(str(each["registrar"]), each)
    is_told = any(each["reason"] in _NOT_REACHED_REASONS for each in boot.all("boot_failed"))
    is_answered = any(boot.position(each) > since for each in boot.all("registrar_connected"))
    if not failed or (is_answered and accepted is None and not is_told):
        return
    detail = ", ".join(f"{name}: {each['failure']}" for name, each in failed.items())
    if accepted is not None and len(failed) > 1:
        note = "the phone was registered here until then"
        shown = evidence_of(accepted, note)
        cause = causes.BACKUP_UNREACHABLE
        yield find(boot, cause, Certainty.LIKELY, shown, *failed.values(), detail=detail)
    else:
        yield find(boot, causes.REGISTRAR_DOWN, Certainty.LIKELY, *failed.values(), detail=detail)


def find_redirects(boot: Boot) -> Iterator[Finding]:
    """Registrars send the phone to one another, or to a pool that does not take it."""
    redirects = boot.all("registrar_redirected")
    away = [each for each in boot.all("deregistered") if each["event"] == "deactivated"]
    if boot.ends_well or not (redirects or away):
        return
    senders = {host_of_registrar(each["registrar"]) for each in redirects}
    targets = {
        host_of_registrar(target): each
        for each in redirects
        for target in str(each["target"]).split("+")
    }
    if targets and set(targets) <= senders:
        yield find(boot, causes.REDIRECT_LOOP, Certainty.CERTAIN, *redirects)
        return
    at = min(boot.position(each) for each in (*redirects, *away))
    failed = [each for host, each in denied_hosts(boot).items() if host in targets]
    failed += [
        each
        for each in boot.all("registrar_failed")
        if away or host_of_registrar(each["registrar"]) in targets
    ]
    failed = [each for each in failed if boot.position(each) > at]
    if failed:
        sent = [*redirects, *away][0]
        yield find(boot, causes.HOME_POOL_MOVED, Certainty.CERTAIN, sent, failed[0])


def find_no_certificate_scheme(boot: Boot) -> Iterator[Finding]:
    """Every Registrar challenges the phone, and none with what the phone can answer."""
    challenges = [each for each in boot.all("register_answer") if each["status"] == 401]
    has_answered = any(each["auth"] for each in boot.all("register_sent"))
    is_open = not challenges or boot.has("handshake_sent", "registered", "boot_failed")
    if not is_open and not has_answered and not boot.ends_well and challenges[-1].place.is_frame:
        note = "the phone answers none of these challenges"
        shown = evidence_of(challenges[-1], note)
        yield find(boot, causes.CERTIFICATE_AUTHENTICATION_OFF, Certainty.LIKELY, shown)


RULES = (
    find_answers,
    find_refused_credentials,
    find_unreachable,
    find_redirects,
    find_no_certificate_scheme,
)
