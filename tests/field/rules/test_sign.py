from __future__ import annotations

from made_boots import boot_of, failed

from phonesim.device import device_log as log
from phonesim.field import causes
from phonesim.field.finding import Certainty, Evidence
from phonesim.field.rules.sign import MOST_SHOWN, Sign, find, find_signs

SIGN = Sign(
    cause=causes.REGISTRAR_UNAVAILABLE,
    name="register_answer",
    where={"status": (503, 504)},
    detail="{status} {reason}",
)


def answered(status: int) -> log.LogRecord:
    return log.REGISTER_ANSWER(status, "Server time-out", 1, "")


def test_a_sign_is_sightings_with_these_values() -> None:
    boot = boot_of(answered(200), answered(504), answered(504), answered(504))
    (finding,) = find_signs(boot, [SIGN])
    assert finding.cause is causes.REGISTRAR_UNAVAILABLE
    assert finding.certainty is Certainty.CERTAIN
    assert finding.detail == "504 Server time-out"
    assert [each.place.number for each in finding.evidence] == [2, 3]


def test_without_such_sightings_there_is_none() -> None:
    assert not list(find_signs(boot_of(answered(200)), [SIGN]))
    assert not list(find_signs(boot_of(), [SIGN]))


def test_what_it_led_to_is_the_last_evidence_and_not_twice() -> None:
    boot = boot_of(answered(504), failed("register", "registrar-unavailable"))
    first, failure = boot.sightings
    for shown in ([first], [first, failure]):
        finding = find(boot, causes.REGISTRAR_UNAVAILABLE, Certainty.LIKELY, *shown)
        assert [each.place.number for each in finding.evidence] == [1, 2]


def test_evidence_may_have_notes_and_is_not_endless() -> None:
    boot = boot_of(*[answered(504)] * 9)
    noted = Evidence(boot.sightings[0].place, "line", "its octets")
    shown = [noted, *boot.sightings[1:]]
    finding = find(boot, causes.REGISTRAR_UNAVAILABLE, Certainty.LIKELY, *shown)
    assert len(finding.evidence) == MOST_SHOWN
    assert finding.evidence[0] is noted
