"""Virtual time: the order in which things happen, and alarms."""

from __future__ import annotations

import pytest

from phonesim.virtual_time import Alarm, VirtualTime


class Waiting:
    """A machine with a deadline, which `time` and its alarm are to meet."""

    def __init__(self) -> None:
        self.time = VirtualTime()
        self.deadline: float | None = None
        self.expired_at: list[float] = []
        self.alarm = Alarm(self.time, self, self.expired)

    def next_deadline(self) -> tuple[float, str] | None:
        return None if self.deadline is None else (self.deadline, "a test")

    def expired(self) -> None:
        self.expired_at.append(self.time.now)
        self.deadline = None

    def wait_until(self, deadline: float | None) -> None:
        self.deadline = deadline
        self.alarm.set(self.next_deadline())

    def pass_time(self, until: float = 100.0) -> None:
        while self.time.step(until):
            pass


def test_things_happen_in_order_and_those_of_one_moment_as_they_were_put() -> None:
    time = VirtualTime()
    happened: list[tuple[float, str]] = []

    def happen(name: str) -> None:
        happened.append((time.now, name))
        if name == "a":
            time.after(0.0, happen, "after a")

    time.at(2.0, happen, "c")
    time.after(1.0, happen, "a")
    time.at(1.0, happen, "b")
    while time.step(2.0):
        pass
    assert happened == [(1.0, "a"), (1.0, "b"), (1.0, "after a"), (2.0, "c")]


def test_what_is_later_stays_where_it_is() -> None:
    time = VirtualTime()
    time.at(3.0, pytest.fail, "it is not due")
    assert not time.step(2.999)
    assert time.now == 0.0


@pytest.mark.parametrize(
    ("deadlines", "expires_at"),
    [
        ([5.0], [5.0]),
        ([5.0, 7.0], [7.0]),  # goes off too early, and looks again
        ([5.0, 3.0], [3.0]),
        ([5.0, None], []),
        ([float("inf")], []),
        ([-1.0], [0.0]),  # overdue: at once
    ],
)
def test_an_alarm_goes_off_at_the_last_deadline(
    deadlines: list[float | None], expires_at: list[float]
) -> None:
    waiting = Waiting()
    for deadline in deadlines:
        waiting.wait_until(deadline)
    waiting.pass_time()
    assert waiting.expired_at == expires_at


def test_a_stopped_alarm_does_not_go_off() -> None:
    waiting = Waiting()
    waiting.wait_until(5.0)
    waiting.alarm.stop()
    waiting.pass_time()
    assert waiting.expired_at == []
