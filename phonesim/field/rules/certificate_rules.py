"""The clock, certificates and TLS versions: mostly the phone's own word, in one row each."""

from __future__ import annotations

from collections.abc import Iterator

from phonesim.device.outcome import ConnectFailure
from phonesim.field import causes
from phonesim.field.boots import Boot
from phonesim.field.causes import Cause
from phonesim.field.finding import Certainty, Finding, evidence_of
from phonesim.field.rules.sign import find
from phonesim.field.sightings import Sighting

_REFUSALS: dict[str, Cause] = {
    ConnectFailure.CERTIFICATE_EXPIRED: causes.CERTIFICATE_EXPIRED,
    ConnectFailure.CERTIFICATE_NOT_YET_VALID: causes.CERTIFICATE_NOT_YET_VALID,
    ConnectFailure.CERTIFICATE_WILDCARD: causes.CERTIFICATE_WILDCARD,
    ConnectFailure.CERTIFICATE_NAME_MISMATCH: causes.CERTIFICATE_NAME_MISMATCH,
    ConnectFailure.CERTIFICATE_UNTRUSTED: causes.CERTIFICATE_UNTRUSTED,
    ConnectFailure.CERTIFICATE_ISSUER_MISSING: causes.INTERMEDIATE_MISSING,
    ConnectFailure.TLS_VERSION_REFUSED: causes.TLS_VERSION_TOO_NEW,
    ConnectFailure.CHAIN_UNUSABLE: causes.CHAIN_UNUSABLE,
}
_OF_TIME = frozenset({causes.CERTIFICATE_EXPIRED, causes.CERTIFICATE_NOT_YET_VALID})


def find_refused_certificates(boot: Boot) -> Iterator[Finding]:
    """The phone says what it has against a server's certificate, or against its TLS."""
    if not boot.is_hurt:
        return
    told: dict[Cause, list[Sighting]] = {}
    for each in boot.all("http_failed", "registrar_failed"):
        cause = _REFUSALS.get(str(each["failure"]))
        if cause is not None:
            told.setdefault(cause, []).append(each)
    no_clock = boot.last("clock_not_set")
    for cause, refusals in told.items():
        who = "the web services"
        if refusals[0].name == "registrar_failed":
            who = f"Registrar {refusals[0]['registrar']}"
        if cause in _OF_TIME and no_clock is not None and not boot.has("clock_set"):
            note = "no time server answered: the phone goes by the date it was made with"
            yield find(
                boot,
                causes.CLOCK_WRONG,
                Certainty.CERTAIN,
                evidence_of(no_clock, note),
                refusals[0],
                detail=f"it met {who}",
            )
        else:
            yield find(boot, cause, Certainty.CERTAIN, *refusals[:2], detail=who)


def find_missing_time(boot: Boot) -> Iterator[Finding]:
    """The phone does not go on without the time."""
    failures = [each for each in boot.all("boot_failed") if each["reason"] == "clock-not-set"]
    no_clock = boot.last("clock_not_set")
    if failures and no_clock is not None:
        yield find(boot, causes.CLOCK_WRONG, Certainty.CERTAIN, no_clock)


def find_chain_trouble(boot: Boot) -> Iterator[Finding]:
    """The chain of trust, asked for over http, does not come or is of no use."""
    if not boot.is_hurt or boot.has("chain_received"):
        return
    failed = [each for each in boot.all("http_failed") if each["operation"] == "GetRootCertChains"]
    unusable = [each for each in boot.all("boot_failed") if each["reason"] == "chain-unusable"]
    if unusable:
        yield find(boot, causes.CHAIN_UNUSABLE, Certainty.CERTAIN, *unusable[:1])
    elif failed:
        sent = boot.all("http_sent")[:1]
        detail = str(failed[0]["failure"])
        yield find(
            boot, causes.CHAIN_NOT_DOWNLOADABLE, Certainty.LIKELY, *sent, failed[0], detail=detail
        )


RULES = (find_refused_certificates, find_missing_time, find_chain_trouble)
