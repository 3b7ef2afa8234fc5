from __future__ import annotations

import pytest

from phonesim.device.outcome import FailureReason
from phonesim.device.registration_failures import ANSWERED, REFUSED, RegistrationFailures

UNREACHED, TIMEOUT = FailureReason.REGISTRAR_REFUSED, FailureReason.REGISTRAR_TIMEOUT
BUSY, FORBIDDEN = FailureReason.REGISTRAR_UNAVAILABLE, FailureReason.REGISTRATION_FORBIDDEN


@pytest.mark.parametrize(
    ("reasons", "told"),
    [
        ([UNREACHED], UNREACHED),
        ([UNREACHED, TIMEOUT], TIMEOUT),
        ([BUSY, TIMEOUT], BUSY),
        ([TIMEOUT, FORBIDDEN, UNREACHED], FORBIDDEN),
        ([FORBIDDEN, BUSY], BUSY),
    ],
)
def test_the_last_registrar_that_answered_gives_the_reason(reasons, told):
    failures = RegistrationFailures()
    for number, reason in enumerate(reasons):
        failures.add(reason, f"fe{number}", 0.0)
    detail = "; ".join(f"fe{number}" for number in range(len(reasons)))
    assert failures.sum_up() == (told, detail)


def test_every_round_has_failures_of_its_own():
    failures = RegistrationFailures()
    failures.add(FORBIDDEN, "fe01", 0.0)
    failures.sum_up()
    failures.add(TIMEOUT, "fe02", 0.0)
    assert failures.sum_up() == (TIMEOUT, "fe02")


def test_the_longest_wait_is_asked_for_once():
    failures = RegistrationFailures()
    for wait in (0.0, 30.0, 5.0):
        failures.add(BUSY, "fe01", wait)
    failures.sum_up()
    assert failures.take_retry_after() == 30.0
    assert failures.take_retry_after() == 0.0


def test_a_success_makes_failures_forgotten():
    failures = RegistrationFailures()
    failures.add(FORBIDDEN, "fe01", 30.0)
    failures.clear()
    assert failures.take_retry_after() == 0.0
    failures.add(TIMEOUT, "fe02", 0.0)
    assert failures.sum_up() == (TIMEOUT, "fe02")


def test_who_refuses_has_answered():
    assert REFUSED < ANSWERED
    assert not {UNREACHED, TIMEOUT} & ANSWERED
