import pytest
from playing import matching, play

from phonesim.config.device_profile import SignInConfig
from phonesim.device import device_log as log
from phonesim.device.events import (
    CertificateIssued,
    RenewalWanted,
    SignInFailed,
    TimerExpired,
)
from phonesim.device.outcome import FailureReason, Stage
from phonesim.device.renewal import Renewal

EPOCH, TIMER = 1_700_000_000, TimerExpired()
HOUR = 3600


def issued(certificate=b"c"):
    return CertificateIssued(sip_uri="sip:a@contoso.com", certificate=certificate, chain=b"")


def renewal(begin, end, *, ahead=0, **config):
    def validity(certificate):
        return None if certificate == b"unreadable" else (EPOCH + begin, EPOCH + end)

    return Renewal(SignInConfig(**config), validity, lambda now: EPOCH + now + ahead)


def test_a_certificate_is_renewed_when_a_tenth_of_its_life_is_left():
    play(
        renewal(0, 100 * HOUR),
        [
            (0.0, issued(), [log.RENEWAL_PLANNED(90 * HOUR)]),
            (0.0, None, [(90.0 * HOUR, "renew the certificate")]),
            (89.0 * HOUR, TIMER, []),
            (90.0 * HOUR, TIMER, [RenewalWanted()]),
            # Until a new one is there, it is tried again.
            (90.0 * HOUR, None, [(91.0 * HOUR, "renew the certificate")]),
            (91.0 * HOUR, TIMER, [RenewalWanted()]),
        ],
    )


def test_a_new_certificate_has_its_own_time():
    machine = renewal(0, 100 * HOUR, renewal_share=0.5)
    machine.handle(issued(), 0.0)
    machine.handle(TIMER, 50.0 * HOUR)
    machine.handle(issued(), 0.0)
    assert machine.next_deadline() == (50.0 * HOUR, "renew the certificate")


def test_what_fails_is_tried_again_after_a_pause():
    machine = renewal(0, 100 * HOUR, renewal_retry_delay=60)
    machine.handle(issued(), 0.0)
    machine.handle(TIMER, 90.0 * HOUR)
    failed = SignInFailed(stage=Stage.TICKET, reason=FailureReason.PIN_LOCKED, detail="no")
    play(
        machine,
        [
            (90.0 * HOUR + 5, failed, [matching(log.RENEWAL_FAILED, reason="pin-locked")]),
            (90.0 * HOUR + 5, None, [(90.0 * HOUR + 65, "renew the certificate")]),
        ],
    )


@pytest.mark.parametrize("ahead", [200 * HOUR, -(10**9)])
def test_a_wrong_clock_makes_it_neither_hurry_nor_fail(ahead):
    machine = renewal(0, 100 * HOUR, ahead=ahead)
    machine.handle(issued(), 0.0)
    assert machine.next_deadline()[0] >= HOUR


def test_a_certificate_that_cannot_be_read_is_not_renewed():
    machine = renewal(0, 100)
    machine.handle(issued(), 0.0)
    play(machine, [(1.0, issued(b"unreadable"), []), (1.0, None, []), (9e9, TIMER, [])])


@pytest.mark.parametrize(("at", "is_due"), [(0, False), (89.9, False), (90, True), (200, True)])
def test_a_stored_certificate_may_be_due(at, is_due):
    assert renewal(0, 100 * HOUR).is_due(b"c", EPOCH + at * HOUR) == is_due
    assert not renewal(0, 100 * HOUR).is_due(b"unreadable", EPOCH + at * HOUR)
