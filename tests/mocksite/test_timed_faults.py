import pytest

from phonesim.config.fault import Deregister, Outage, ShowCertificate, Silence
from phonesim.mocksite.exchange import (
    ChangeCertificate,
    ClosePorts,
    ConnectionLost,
    DeregistrationOrdered,
    KeepAliveReceived,
    OpenPorts,
    Report,
    ServerTimerExpired,
)
from phonesim.mocksite.timed_faults import TimedFaults, is_timed

TIMER = ServerTimerExpired()
HEARD = KeepAliveReceived(connection_id=1)
LOST = ConnectionLost(connection_id=1)


class Echo:
    """A server that reports what it hears, and has a deadline of its own."""

    def __init__(self, deadline=None):
        self.deadline = deadline
        self.heard = []

    def handle(self, event, now):
        self.heard.append(event)
        return []

    def next_deadline(self):
        return self.deadline


def outage(begins_at=0, lasts=None):
    return Outage(kind="outage", protocol="sip", begins_at=begins_at, lasts=lasts)


def deregister(at, event="rejected"):
    return Deregister(kind="deregister", event=event, at=at, users="sip:a*", registrar="lync02")


def test_a_server_goes_down_and_comes_back(play, said):
    inner = Echo((1.0, "its own"))
    down, back = said("is down", is_warning=False), said("is back", is_warning=False)
    faults = TimedFaults(inner, [outage(60, 300)])
    assert faults.next_deadline() == (1.0, "its own")
    inner.deadline = None
    assert faults.next_deadline() == (60, "a fault is due")
    play(
        faults,
        [
            (59, HEARD, []),
            (60, TIMER, [ClosePorts(), down]),
            (61, HEARD, []),
            (61, LOST, []),
            (359, HEARD, []),
            (360, TIMER, [OpenPorts(), back]),
            (361, HEARD, []),
        ],
    )
    assert inner.heard == [HEARD, LOST, TIMER, HEARD]
    assert faults.next_deadline() is None


def test_an_outage_can_be_for_good():
    faults = TimedFaults(Echo((5.0, "its own")), [outage()])
    assert faults.handle(TIMER, 0)[0] == ClosePorts()
    assert faults.next_deadline() is None


def test_outages_that_overlap_are_one():
    faults = TimedFaults(Echo(), [outage(1, 10), outage(5, 10)])
    actions = [action for at in (1, 5, 11, 15) for action in faults.handle(TIMER, at)]
    assert [each for each in actions if not isinstance(each, Report)] == [ClosePorts(), OpenPorts()]


@pytest.mark.parametrize("is_down", [False, True])
def test_a_server_is_ordered_to_deregister_unless_it_is_down(is_down):
    inner = Echo()
    faults = TimedFaults(inner, [deregister(60), *([outage(50)] if is_down else [])])
    faults.handle(TIMER, 50)
    faults.handle(TIMER, 60)
    order = DeregistrationOrdered(kind="rejected", users="sip:a*", registrar="lync02")
    assert (order in inner.heard) is not is_down


def test_what_is_due_comes_before_what_came_late():
    inner = Echo()
    TimedFaults(inner, [deregister(60)]).handle(HEARD, 99)
    assert [type(each) for each in inner.heard] == [DeregistrationOrdered, KeepAliveReceived]


def test_other_rules_are_not_timed():
    assert not is_timed(Silence(kind="silence", protocol="sip"))
    assert is_timed(outage())
    assert is_timed(deregister(1))


def shows(certificate, begins_at=0, lasts=None):
    return ShowCertificate(
        kind="show-certificate", certificate=certificate, begins_at=begins_at, lasts=lasts
    )


def test_a_certificate_is_another_one_for_a_while(play, said):
    rules = [shows("expired", 10, 20), shows("wildcard", 15, 5), shows("untrusted", 25, 10)]
    faults = TimedFaults(Echo(), rules)

    def shown(certificate):
        told = said(f"the certificate is {certificate}", is_warning=False)
        return [ChangeCertificate(certificate=certificate), told]

    play(
        faults,
        [
            (10, TIMER, shown("expired")),
            (15, TIMER, shown("wildcard")),
            (20, TIMER, shown("expired")),
            (25, TIMER, shown("untrusted")),
            (30, TIMER, shown("untrusted")),
            (35, TIMER, shown("valid")),
        ],
    )


def test_a_certificate_that_is_wrong_for_good_is_shown_again_after_another_one():
    faults = TimedFaults(Echo(), [shows("wildcard"), shows("expired", 10, 20)])
    changes = [action for at in (10, 30) for action in faults.handle(TIMER, at)]
    assert [each.certificate for each in changes if isinstance(each, ChangeCertificate)] == [
        "expired",
        "wildcard",
    ]


def test_when_a_fault_of_requests_begins_and_ends_is_told(play, said):
    rule = Silence(kind="silence", protocol="sip", begins_at=5, lasts=5)
    play(
        TimedFaults(Echo(), [rule]),
        [
            (5, TIMER, [said("fault silence: begins", is_warning=False)]),
            (10, TIMER, [said("fault silence: is over", is_warning=False)]),
        ],
    )


def test_what_does_not_pass_has_no_time():
    assert not is_timed(shows("expired"))
    assert is_timed(shows("expired", 1))
    assert is_timed(shows("expired", 0, 1))
