"""The clock, certificates and TLS versions: mostly the phone's own word, in one row each."""

from __future__ import annotations

from collections.abc import Iterator

from phonesim.device.outcome import ConnectFailure
from phonesim.field import causes
from phonesim.field.boots import Boot
from phonesim.field.causes import Cause
from phonesim.field.finding import Certainty, Finding, evidence_of
from phonesim.field.rules.sign import find
from phonesim.field.rules.ways import is_of_chain, stops_at
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
_DAY = 86400
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
    for cause, refusals in told.items():
        yield from _refused(boot, cause, refusals[0])


def _refused(boot: Boot, cause: Cause, refusal: Sighting) -> Iterator[Finding]:
    who = "the web services"
    if refusal.name == "registrar_failed":
        who = f"Registrar {refusal['registrar']}"
    certificate = _shown_before(boot, refusal)
    shown = [] if certificate is None else [certificate]
    no_clock = boot.last("clock_not_set")
    if cause in _OF_TIME and no_clock is not None and not boot.has("clock_set"):
        note = "no time server answered: the phone goes by the date it was made with"
        reason = evidence_of(no_clock, note)
        yield find(boot, causes.CLOCK_WRONG, Certainty.CERTAIN, reason, *shown, refusal)
    elif certificate is None:
        yield find(boot, cause, Certainty.CERTAIN, refusal, detail=who)
    elif cause in _OF_TIME:
        yield _out_of_date(boot, cause, certificate, refusal, who)
    elif cause is causes.INTERMEDIATE_MISSING:
        yield from _without_issuer(boot, certificate, refusal, who)
    else:
        yield find(boot, cause, Certainty.CERTAIN, certificate, refusal, detail=who)


def _out_of_date(
    boot: Boot, cause: Cause, certificate: Sighting, refusal: Sighting, who: str
) -> Finding:
    """A capture knows the time: what the phone takes for out of date may not be."""
    outdated = certificate["outdated"]
    if outdated:
        is_leaf = outdated == certificate["subject"]
        note = "" if is_leaf else f"{outdated}, sent with it, is what is out of date"
        reason = evidence_of(certificate, note)
        return find(boot, cause, Certainty.CERTAIN, reason, refusal, detail=who)
    until = boot.position(refusal)
    times = [each for each in boot.all("clock_set") if boot.position(each) < until][-1:]
    if times and abs(float(times[0]["offset"])) < _DAY:
        note = (
            "all that was sent is valid, and the phone has the time: one that it had before is not"
        )
        reason = evidence_of(certificate, note)
        return find(
            boot, causes.CERTIFICATE_EXPIRED, Certainty.LIKELY, *times, reason, refusal, detail=who
        )
    note = "it is valid at the time of the capture: the phone has another time"
    reason = evidence_of(certificate, note)
    return find(boot, causes.CLOCK_WRONG, Certainty.LIKELY, *times, reason, refusal)


def _without_issuer(
    boot: Boot, certificate: Sighting, refusal: Sighting, who: str
) -> Iterator[Finding]:
    """A lone certificate: packets do not say whether its issuer is an intermediate or a root."""
    issuer = str(certificate["issuer"])
    chains = [each for each in boot.all("chain_shown") if not each["problem"]][-1:]
    found = [causes.CERTIFICATE_UNTRUSTED]
    if not any(issuer in str(each["subjects"]).split(",") for each in chains):
        found.append(causes.INTERMEDIATE_MISSING)
    reason = evidence_of(certificate, f"the server sent no certificate of {issuer}")
    for cause in found:
        yield find(boot, cause, Certainty.LIKELY, *chains, reason, refusal, detail=who)


def _shown_before(boot: Boot, refusal: Sighting) -> Sighting | None:
    """The certificate that a refusal is about, if packets show it."""
    before = [
        each
        for each in boot.all("certificate_shown")
        if boot.position(each) < boot.position(refusal)
        and str(each["server"]) in str(refusal["detail"])
    ]
    return before[-1] if before else None


def find_missing_time(boot: Boot) -> Iterator[Finding]:
    """The phone does not go on without the time."""
    failures = [each for each in boot.all("boot_failed") if each["reason"] == "clock-not-set"]
    no_clock = boot.last("clock_not_set")
    if failures and no_clock is not None:
        yield find(boot, causes.CLOCK_WRONG, Certainty.CERTAIN, no_clock)


def find_chain_trouble(boot: Boot) -> Iterator[Finding]:
    """The chain of trust, asked for over http, does not come or is of no use."""
    if not boot.is_hurt:
        return
    unusable = [each for each in boot.all("boot_failed") if each["reason"] == "chain-unusable"]
    unusable += [each for each in boot.all("chain_received") if each["size"] == 0]
    chain = boot.last("chain_received")
    failed = [each for each in boot.all("http_failed") if is_of_chain(each)]
    if unusable:
        yield find(boot, causes.CHAIN_UNUSABLE, Certainty.CERTAIN, unusable[0])
    elif chain is not None and chain.place.is_frame and stops_at(boot, chain):
        note = "the phone does not go on with it"
        yield find(boot, causes.CHAIN_UNUSABLE, Certainty.LIKELY, evidence_of(chain, note))
    elif failed and chain is None:
        sent = boot.all("http_sent")[:1]
        detail = str(failed[0]["failure"])
        yield find(
            boot, causes.CHAIN_NOT_DOWNLOADABLE, Certainty.LIKELY, *sent, failed[0], detail=detail
        )


RULES = (find_refused_certificates, find_missing_time, find_chain_trouble)
