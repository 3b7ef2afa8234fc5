"""Options 43 and 120, and the INFORM that asks for them.

What is missing matters only where the phone had to do without: an option that DNS made up for,
or that was not needed before the boot failed of something else, is no cause.
"""

from __future__ import annotations

from collections.abc import Iterator

from phonesim.field import causes
from phonesim.field.boots import Boot
from phonesim.field.finding import Certainty, Finding, evidence_of
from phonesim.field.rules.option_verdict import judge_option_43, judge_option_120
from phonesim.field.rules.sign import find
from phonesim.field.rules.ways import (
    denied_hosts,
    denies_every_srv,
    failed_web_hosts,
    has_registrar_in_dns,
    has_web_services,
    host_of_registrar,
    registrars_of_dhcp,
    web_url_of_dhcp,
)
from phonesim.field.sightings import Sighting
from phonesim.wire.provisioning import UC_IDENTIFIER

_INFORM_ATTEMPTS = 3
_GONE = frozenset({"unresolved", "refused", "timeout", "unreachable"})


def lacks_web_services(boot: Boot) -> bool:
    """Whether DHCP gave no URL, and the phone never got an answer it could use from any."""
    return boot.is_hurt and not has_web_services(boot) and web_url_of_dhcp(boot) is None


def lacks_registrar(boot: Boot) -> bool:
    """Whether DHCP gave no Registrar, and none was reached that another source gave."""
    if not boot.is_hurt or boot.has("registered") or registrars_of_dhcp(boot):
        return False
    return boot.has("registrar_failed") or not (
        has_registrar_in_dns(boot) or boot.has("registrar_connecting", "cache_used")
    )


def find_wrong_class(boot: Boot) -> Iterator[Finding]:
    """The phone itself sends another class, or the same in another case."""
    if not lacks_web_services(boot) and not lacks_registrar(boot):
        return
    asked = [
        each
        for each in boot.all("dhcp_sent")
        if each["type"] == "INFORM" and each["vendor_class"] != UC_IDENTIFIER
    ]
    if asked:
        given = asked[0]["vendor_class"] or "none"
        note = f'option 60 is "{given}": servers compare it octet by octet with "{UC_IDENTIFIER}"'
        yield find(
            boot,
            causes.INFORM_CLASS_WRONG,
            Certainty.CERTAIN,
            evidence_of(asked[0], note),
            *boot.all("option_missing")[:2],
            detail=f'it is "{given}"',
        )


def find_inform_trouble(boot: Boot) -> Iterator[Finding]:
    """INFORM is answered astray, with a NAK, or by nobody."""
    if not lacks_web_services(boot) and not lacks_registrar(boot):
        return
    asked = [each for each in boot.all("dhcp_sent") if each["type"] == "INFORM"]
    xids = {each["xid"] for each in asked}
    answers = [each for each in boot.all("dhcp_received") if each["xid"] in xids]
    if any(each["type"] == "ACK" for each in answers):
        return
    astray = [each for each in boot.all("reply_astray") if each["xid"] in xids]
    refused = [each for each in answers if each["type"] == "NAK"]
    given_up = [each for each in boot.all("dhcp_no_answer") if each["type"] == "INFORM"]
    if astray:
        first = astray[0]
        detail = f"it went to {first['destination']}, the phone is at {first['expected']}"
        yield find(
            boot,
            causes.INFORM_ASTRAY,
            Certainty.CERTAIN,
            *asked[:1],
            evidence_of(first, detail),
            detail=detail,
        )
    elif refused:
        detail = f"DHCP server {refused[0]['server']}"
        yield find(
            boot, causes.INFORM_REFUSED, Certainty.CERTAIN, *asked[:1], refused[0], detail=detail
        )
    elif given_up or len(asked) >= _INFORM_ATTEMPTS:
        cause = causes.INFORM_UNANSWERED
        yield find(boot, cause, _how_sure(boot, cause), *asked[:1], *(given_up or asked)[-1:])


def find_missing_options(boot: Boot) -> Iterator[Finding]:
    """Servers answered the INFORM, and none gave the option that the phone had to do without."""
    missing = {
        option: [each for each in boot.all("option_missing") if each["option"] == option]
        for option in (43, 120)
    }
    if boot.has("option_43"):
        missing[43] = []
    if boot.has("option_120"):
        missing[120] = []
    needs = {43: lacks_web_services(boot), 120: lacks_registrar(boot)}
    if missing[43] and missing[120] and (needs[43] or needs[120]):
        shown = [missing[43][0], missing[120][0]]
        yield _missing(boot, causes.OPTIONS_MISSING, shown)
        return
    if missing[43] and needs[43]:
        yield _missing(boot, causes.OPTION_43_MISSING, missing[43][:1])
    if missing[120] and needs[120]:
        yield _missing(boot, causes.OPTION_120_MISSING, missing[120][:1])


def find_options_by_word(boot: Boot) -> Iterator[Finding]:
    """The option itself is not in a log that was cut, and the phone says that it had no use for it.

    A warning about the option says that there was one.
    """
    words = boot.all("web_services_not_located", "registrar_not_located", "boot_failed")
    rows = (
        (43, lacks_web_services(boot), causes.OPTION_43_MALFORMED, causes.OPTION_43_MISSING),
        (120, lacks_registrar(boot), causes.OPTION_120_MALFORMED, causes.OPTION_120_MISSING),
    )
    for option, is_needed, if_warned, otherwise in rows:
        said = [each for each in words if f"no usable option {option}" in str(each["detail"])]
        missing = [each for each in boot.all("option_missing") if each["option"] == option]
        if not said or not is_needed or missing or boot.has(f"option_{option}"):
            continue
        warned = [each for each in boot.all("option_warning") if each["option"] == option]
        cause = if_warned if warned else otherwise
        note = f"the phone's own word; the line with option {option} is not in this log"
        word = evidence_of(said[0], note)
        yield find(boot, cause, Certainty.LIKELY, *warned[:2], word)


def _missing(boot: Boot, cause: causes.Cause, shown: list[Sighting]) -> Finding:
    detail = f"DHCP server {shown[0]['server']}"
    return find(boot, cause, _how_sure(boot, cause), *shown, detail=detail)


def _how_sure(boot: Boot, cause: causes.Cause) -> Certainty:
    """How sure it is that an option, or the whole answer, was missed.

    Where DNS has what DHCP lacks, phones live without: what DNS says is looked at first then. But
    it has no URL, and web services need not be where the Registrar is.
    """
    if has_registrar_in_dns(boot):
        needs_url = cause is not causes.OPTION_120_MISSING
        failures = failed_web_hosts(boot).values()
        leads_nowhere = any(each["failure"] in _GONE for each in failures)
        return Certainty.LIKELY if needs_url and leads_nowhere else Certainty.POSSIBLE
    has_come_to_nothing = boot.has("boot_failed") or denies_every_srv(boot)
    return Certainty.CERTAIN if has_come_to_nothing else Certainty.LIKELY


def find_bad_option_43(boot: Boot) -> Iterator[Finding]:
    """The option is there, its octets make no URL, and no other server's do.

    Even if DNS made up for it, this was not meant; an option of another class may have been.
    """
    if web_url_of_dhcp(boot) is not None:
        return
    for each in boot.all("option_43"):
        data = _octets(each)
        verdict = None if data is None else judge_option_43(data)
        if verdict is None or verdict.cause is None:
            continue
        certainty = Certainty.CERTAIN
        if verdict.cause is causes.OPTION_43_OTHER_CLASS:
            if not lacks_web_services(boot):
                continue
            certainty = _how_sure(boot, verdict.cause)
        yield _bad_option(boot, each, verdict.cause, certainty, verdict.note)
        return


def find_bad_option_120(boot: Boot) -> Iterator[Finding]:
    """The option is there, its octets name no Registrar, and no other server's do."""
    if registrars_of_dhcp(boot):
        return
    for each in boot.all("option_120"):
        data = _octets(each)
        verdict = None if data is None else judge_option_120(data)
        if verdict is None or verdict.cause is None:
            continue
        if each["registrars"] and not lacks_registrar(boot):
            continue  # text, which a phone may have put up with
        yield _bad_option(boot, each, verdict.cause, Certainty.CERTAIN, verdict.note)
        return


def _bad_option(
    boot: Boot, option: Sighting, cause: causes.Cause, certainty: Certainty, note: str
) -> Finding:
    shown = evidence_of(option, note)
    return find(boot, cause, certainty, shown, detail=f"DHCP server {option['server']}")


def find_stale_option_120(boot: Boot) -> Iterator[Finding]:
    """The first Registrar of two is not to be reached, and another one is."""
    given = registrars_of_dhcp(boot)
    accepted = boot.first("registered") or boot.first("registrar_connected")
    if len(given) < 2 or accepted is None:
        return
    first, option = next(iter(given.items()))
    if host_of_registrar(accepted["registrar"]) == first:
        return
    denied = denied_hosts(boot).get(first)
    failures = [] if denied is None else [denied]
    failures += [
        each
        for each in boot.all("registrar_failed")
        if host_of_registrar(each["registrar"]) == first and each["failure"] in _GONE
    ]
    failures = [each for each in failures if boot.position(each) < boot.position(accepted)]
    if failures:
        yield find(
            boot,
            causes.OPTION_120_STALE,
            Certainty.CERTAIN,
            option,
            failures[0],
            accepted,
            detail=f"{first} is not there; {accepted['registrar']} takes the phone",
        )


def _octets(option: Sighting) -> bytes | None:
    try:
        return bytes.fromhex(str(option["hex"]))
    except ValueError:
        return None


RULES = (
    find_wrong_class,
    find_inform_trouble,
    find_missing_options,
    find_options_by_word,
    find_bad_option_43,
    find_bad_option_120,
    find_stale_option_120,
)
