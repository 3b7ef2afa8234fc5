import pytest
from hand_loop import HandLoop

from phonesim.drivers.packet_pace import PacketPace


class Sender:
    """Sends numbered datagrams through a pace, and notes when they went."""

    def __init__(self, per_second: float) -> None:
        self.loop = HandLoop()
        self.pace = PacketPace(per_second, self.loop)  # type: ignore[arg-type]
        self.went: list[tuple[float, object]] = []

    def send(self, name: object, sender: str = "a") -> None:
        self.pace.send(sender, lambda: self.went.append((self.loop.now - 100, name)))

    @property
    def names(self) -> list[object]:
        return [name for _, name in self.went]


@pytest.mark.parametrize("per_second", [0.5, 7, 20, 1000])
def test_no_second_has_more_than_the_limit_and_a_small_burst(per_second: float) -> None:
    sender = Sender(per_second)
    for number in range(300):
        sender.send(number, f"phone {number % 40}")
    sender.loop.run()
    assert sorted(sender.names) == list(range(300))
    times = [when for when, _ in sender.went]
    burst = max(1, per_second / 20)
    for first in range(0, 300, 7):
        for last in range(first, 300, 11):
            most = burst + per_second * (times[last] - times[first]) + 1e-6
            assert last - first + 1 <= most + 1
    # and it is used: the last went when the limit allowed
    assert times[-1] == pytest.approx((300 - burst) / per_second, abs=1 / per_second)


def test_below_the_limit_nothing_waits() -> None:
    sender = Sender(10)
    for number in range(50):
        sender.send(number)
        assert sender.names[-1] == number
        sender.loop.now += 0.1
    assert sender.loop.timers == []
    assert sender.pace.longest_wait == 0
    assert sender.pace.notes() == ()


def test_turns_are_taken_in_order() -> None:
    sender = Sender(1)
    for number, who in enumerate("abcabc"):
        sender.send(number, who)
    sender.loop.run()
    assert sender.went == [(float(number), number) for number in range(6)]
    assert sender.pace.notes() == (
        "datagrams waited up to 5.0 s for limits.packets_per_second (1): durations include that",
    )


def test_who_cannot_wait_goes_at_once_and_the_others_wait_the_longer() -> None:
    sender = Sender(1)
    for name, who in (("a1", "a"), ("b1", "b"), ("a2", "a"), ("a3", "a"), ("b2", "b")):
        sender.send(name, who)
    sender.pace.send_waiting("a")
    assert sender.names == ["a1", "a2", "a3"]
    sender.loop.run()
    assert sender.went[3:] == [(3.0, "b1"), (4.0, "b2")]
    sender.pace.send_waiting("a")
    assert len(sender.went) == 5


def test_what_is_forgotten_costs_nothing() -> None:
    sender = Sender(1)
    for name, who in (("a1", "a"), ("b1", "b"), ("b2", "b"), ("c1", "c")):
        sender.send(name, who)
    sender.pace.forget("b")
    sender.loop.run()
    assert sender.went == [(0.0, "a1"), (1.0, "c1")]
    assert sender.loop.timers == []


def test_what_waits_goes_before_what_comes_later() -> None:
    sender = Sender(1)
    sender.send("first")
    sender.send("second")
    sender.loop.now += 5  # the loop is late
    sender.send("third")
    sender.loop.run()
    assert sender.names == ["first", "second", "third"]


def test_a_datagram_of_which_copies_leave_takes_as_many_turns() -> None:
    sender = Sender(20)
    pace = sender.pace = PacketPace(20, sender.loop, copies=4)  # type: ignore[arg-type]
    assert pace.per_second == 5
    for number in range(11):
        sender.send(number)
    sender.loop.run()
    assert sender.went[-1][0] == pytest.approx(2, abs=0.01)
    assert "limits.packets_per_second (20)" in pace.notes()[0]
