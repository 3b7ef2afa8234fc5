"""The web services: whether they are there, and what they say of the user."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from phonesim.device.outcome import FailureReason
from phonesim.device.web_exchange import describe
from phonesim.field import causes
from phonesim.field.boots import Boot
from phonesim.field.causes import Cause
from phonesim.field.finding import Certainty, Finding, evidence_of
from phonesim.field.rules.option_rules import lacks_registrar
from phonesim.field.rules.sign import find
from phonesim.field.rules.ways import is_of_chain, stops_at
from phonesim.field.sightings import Sighting

_BY_REASON: Mapping[str, Cause] = {
    FailureReason.PIN_INCORRECT: causes.PIN_WRONG,
    FailureReason.PIN_LOCKED: causes.PIN_LOCKED,
    FailureReason.PIN_EXPIRED: causes.PIN_EXPIRED,
    FailureReason.PIN_NOT_SET: causes.PIN_NOT_SET,
    FailureReason.PIN_NOT_ENABLED: causes.PIN_NOT_ENABLED,
    FailureReason.PIN_NOT_UNIQUE: causes.NUMBER_NOT_UNIQUE,
    FailureReason.USER_NOT_UNIQUE: causes.NUMBER_NOT_UNIQUE,
    FailureReason.USER_UNKNOWN: causes.USER_UNKNOWN,
    FailureReason.USER_DISABLED: causes.USER_DISABLED,
    FailureReason.USER_UNAUTHORIZED: causes.USER_UNAUTHORIZED,
    FailureReason.PASSWORD_INCORRECT: causes.PASSWORD_WRONG,
    FailureReason.CERTIFICATE_UNUSABLE: causes.FOREIGN_CERTIFICATE,
}
_BY_TICKET_REASON: Mapping[str, Cause] = {
    "IncorrectPin": causes.PIN_WRONG,
    "UserPinAccountLocked": causes.PIN_LOCKED,
    "UserPinAccountDisabled": causes.USER_DISABLED,
    "PinExpired": causes.PIN_EXPIRED,
    "PinNotSet": causes.PIN_NOT_SET,
    "PinNotEnabledForUser": causes.PIN_NOT_ENABLED,
    "PinNotUnique": causes.NUMBER_NOT_UNIQUE,
    "NonUniqueUser": causes.NUMBER_NOT_UNIQUE,
    "UserDoesNotExist": causes.USER_UNKNOWN,
    "Unauthorized": causes.USER_UNAUTHORIZED,
}
_BY_STATUS: Mapping[int, Cause] = {
    404: causes.WEB_SERVICES_404,
    408: causes.WEB_SERVICES_BUSY,
    503: causes.WEB_SERVICES_BUSY,
}
_CHALLENGE = 401
_CLOSED_PORT = frozenset({"refused", "unreachable"})
_DATA_STORE = "data store"
_PIN_PORT = "WebTicketServicePin"


def find_refused_users(boot: Boot) -> Iterator[Finding]:
    """The web services, or the Registrar, say what is the matter with the user."""
    told: dict[Cause, list[Sighting]] = {}
    for each in boot.all("ticket_refused", "boot_failed"):
        by = _BY_REASON if each.name == "boot_failed" else _BY_TICKET_REASON
        cause = by.get(str(each["reason"]))
        if cause is not None:
            told.setdefault(cause, []).append(each)
    for cause, shown in told.items():
        yield find(boot, cause, Certainty.CERTAIN, *shown[:2])


def find_answers(boot: Boot) -> Iterator[Finding]:
    """An HTTP status without a word of the service itself."""
    if not boot.is_hurt:
        return
    told: dict[Cause, list[Sighting]] = {}
    for each in boot.all("http_answer"):
        cause = _cause_of_status(boot, each)
        if cause is not None:
            told.setdefault(cause, []).append(each)
    for cause, answers in told.items():
        sent = _requests_before(boot, answers[0])
        detail = str(sent[0]["url"]) if sent else ""
        yield find(boot, cause, Certainty.CERTAIN, *sent, *answers[:2], detail=detail)


def _cause_of_status(boot: Boot, answer: Sighting) -> Cause | None:
    status = int(answer["status"])
    if status in _BY_STATUS or status < 400 or status == _CHALLENGE:
        return _BY_STATUS.get(status)
    follows = boot.after(answer)[:1]
    is_told = any(each.name == "web_diagnostics" for each in follows)
    return causes.WEB_SERVICES_ERROR if answer["detail"] == describe(None) and not is_told else None


def find_absent_services(boot: Boot) -> Iterator[Finding]:
    """No connection comes about, or no answer over it."""
    if not boot.is_hurt:
        return
    # Packets show whether it was the connection that came to nothing, or the answer.
    unopened = {each.place for each in boot.all("connect_failed") if each["failure"] == "timeout"}
    failed = boot.all("http_failed")
    closed = [each for each in failed if each["failure"] in _CLOSED_PORT or each.place in unopened]
    late = [each for each in failed if each["failure"] == "timeout" and each.place not in unopened]
    if closed:
        is_only_chain = all(is_of_chain(each) for each in closed)
        certainty = Certainty.POSSIBLE if is_only_chain else Certainty.CERTAIN
        sent = _requests_before(boot, closed[0])
        yield find(boot, causes.WEB_SERVICES_DOWN, certainty, *sent, *closed[:2])
    if late:
        has_answers = boot.has("chain_received", "service_port", "http_ignored", "http_answer")
        certainty = Certainty.LIKELY if has_answers else Certainty.POSSIBLE
        shown = [*_requests_before(boot, late[0]), *late[:2]]
        ignored = boot.all("http_ignored")[:1]
        yield find(boot, causes.WEB_SERVICES_SLOW, certainty, *shown, *ignored)
        if not closed:
            yield find(boot, causes.WEB_SERVICES_DOWN, Certainty.POSSIBLE, *shown)


def find_wrong_password(boot: Boot) -> Iterator[Finding]:
    """NTLM went to its end, and the service asks for it again."""
    answers = [each for each in boot.all("http_answer") if each["status"] == 401]
    challenged = [each for each in answers if "octets" in str(each["detail"])]
    if challenged and answers[-1] is not challenged[-1] and stops_at(boot, answers[-1]):
        note = "after the phone's answer to the challenge"
        yield find(
            boot,
            causes.PASSWORD_WRONG,
            Certainty.LIKELY,
            challenged[-1],
            evidence_of(answers[-1], note),
        )


def find_no_pin_port(boot: Boot) -> Iterator[Finding]:
    """The metadata of the ticket service list no port that takes a PIN."""
    for each in boot.all("boot_failed"):
        if each["reason"] == FailureReason.WEB_SERVICES_UNUSABLE and "Pin" in str(each["detail"]):
            issuer = boot.all("ticket_issuer")[:1]
            yield find(boot, causes.PIN_AUTHENTICATION_OFF, Certainty.CERTAIN, *issuer, each)
            return
    for each in boot.all("metadata_shown"):
        ports = str(each["ports"]).split(",")
        is_of_tickets = any(port.startswith("WebTicketService") for port in ports)
        if is_of_tickets and _PIN_PORT not in ports and stops_at(boot, each):
            note = f"it has {', '.join(ports)}, and no {_PIN_PORT}"
            shown = evidence_of(each, note)
            yield find(boot, causes.PIN_AUTHENTICATION_OFF, Certainty.CERTAIN, shown)
            return


def find_no_data_store(boot: Boot) -> Iterator[Finding]:
    """The ticket was issued, and the certificate could not be published."""
    told = boot.all("web_diagnostics", "ticket_refused", "boot_failed")
    said = [each for each in told if _DATA_STORE in str(each.values).lower()]
    if said:
        yield find(boot, causes.DATA_STORE_UNAVAILABLE, Certainty.CERTAIN, *said[:2])
        return
    refused = [
        each
        for each in boot.all("boot_failed")
        if each["reason"] == FailureReason.CERTIFICATE_NOT_ISSUED
    ]
    if refused:
        shown = [*boot.all("http_answer")[-1:], refused[0]]
        yield find(boot, causes.DATA_STORE_UNAVAILABLE, Certainty.POSSIBLE, *shown)


def find_foreign_certificate(boot: Boot) -> Iterator[Finding]:
    """The certificate came, and the phone does nothing with it, though it has a Registrar."""
    received = boot.last("certificate_received")
    if received is None or not received.place.is_frame or lacks_registrar(boot):
        return
    if boot.is_hurt and stops_at(boot, received):
        note = "the phone does not go on with it"
        shown = evidence_of(received, note)
        yield find(boot, causes.FOREIGN_CERTIFICATE, Certainty.LIKELY, shown)


def _requests_before(boot: Boot, answer: Sighting) -> list[Sighting]:
    """The request that an answer belongs to."""
    until = boot.position(answer)
    sent = [
        each
        for each in boot.all("http_sent")
        if boot.position(each) < until and each["operation"] == answer["operation"]
    ]
    return sent[-1:]


RULES = (
    find_refused_users,
    find_answers,
    find_absent_services,
    find_wrong_password,
    find_no_pin_port,
    find_no_data_store,
    find_foreign_certificate,
)
