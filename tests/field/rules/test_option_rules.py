from __future__ import annotations

import pytest
from cause_cases import OPTIONS
from made_boots import (
    NO_SRV,
    ONE_SRV,
    POWER,
    SIGNED_IN,
    causes_in,
    failed,
    findings_in,
    http_failed,
    lease,
    option_43,
    received,
    sent,
)

from phonesim.device import device_log as log
from phonesim.device.device_log import LogRecord
from phonesim.field.finding import Certainty

LACKING = (
    lease(),
    sent("INFORM"),
    received("ACK", informs=True),
    log.OPTION_MISSING("192.0.2.10", 43),
    log.OPTION_MISSING("192.0.2.10", 120),
)


@pytest.mark.parametrize("cause", OPTIONS)
def test_a_small_log_shows_the_cause_first(cause: str) -> None:
    assert causes_in(*OPTIONS[cause])[:1] == [cause]


@pytest.mark.parametrize(
    ("after", "certainty"),
    [
        ((), Certainty.LIKELY),
        ((NO_SRV,), Certainty.CERTAIN),
        ((failed("discovery", "web-services-not-located"),), Certainty.CERTAIN),
        ((ONE_SRV,), Certainty.POSSIBLE),
        ((ONE_SRV, http_failed("certificate-wildcard")), Certainty.POSSIBLE),
        ((ONE_SRV, http_failed("refused")), Certainty.LIKELY),
    ],
)
def test_options_are_missed_the_more_surely_the_less_dns_makes_up_for_them(
    after: tuple[LogRecord, ...], certainty: Certainty
) -> None:
    found = {each.cause.name: each.certainty for each in findings_in(POWER, *LACKING, *after)}
    assert found["sign-in-options-missing"] is certainty


def test_a_log_without_its_beginning_makes_nothing_missing_certain() -> None:
    after = failed("discovery", "web-services-not-located")
    found = {each.cause.name: each.certainty for each in findings_in(*LACKING, after)}
    assert found["sign-in-options-missing"] is Certainty.LIKELY


@pytest.mark.parametrize("option", [43, 120])
def test_the_phones_own_word_counts_where_the_option_is_not_in_the_log(option: int) -> None:
    name = {43: "web-services-not-located", 120: "registrar-not-located"}[option]
    detail = f"the DHCP answer of 192.0.2.10 has no usable option {option}; DNS is no help"
    failure = failed("discovery", name, detail)
    warning = log.OPTION_WARNING("192.0.2.10", option, "it is of no use")
    for before, cause in (((), "missing"), ((warning,), "malformed")):
        found = {each.cause.name: each for each in findings_in(*before, failure)}
        assert found[f"option-{option}-{cause}"].certainty is Certainty.LIKELY


def test_options_that_dns_made_up_for_are_not_missed() -> None:
    assert causes_in(*LACKING, ONE_SRV, *SIGNED_IN) == []


def test_octets_that_nobody_can_read_are_found_even_if_dns_made_up_for_them() -> None:
    spoilt = option_43("010c4d532d55432d436c69656e74037f776562310403343433")
    assert causes_in(lease(), spoilt, ONE_SRV, *SIGNED_IN[-3:]) == ["option-43-malformed"]


@pytest.mark.parametrize("octets", ["0104ac100001", "f1040aff0001", b"http://prov.a/cfg".hex()])
def test_octets_for_other_devices_hurt_only_phones_that_find_nothing_else(octets: str) -> None:
    assert causes_in(lease(), option_43(octets), ONE_SRV, *SIGNED_IN[-3:]) == []
    hurt = (POWER, lease(), option_43(octets), NO_SRV, failed("discovery", "x"))
    assert "option-43-other-class" in causes_in(*hurt)


def test_options_are_no_cause_of_what_failed_behind_them() -> None:
    reached = (log.CHAIN_RECEIVED(900), failed("ticket", "pin-incorrect"))
    assert causes_in(*LACKING, ONE_SRV, *reached) == ["pin-wrong"]
