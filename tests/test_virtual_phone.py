"""A phone under power in virtual time: whom it tells, and what is left when power is cut."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping

import pytest
from virtual_parts import SPEC

from phonesim.config.fleet_profile import Links
from phonesim.device import events as on
from phonesim.device.actions import WriteLog
from phonesim.device.phone import Output, Phone
from phonesim.virtual_connections import VirtualConnections
from phonesim.virtual_network import VirtualNetwork
from phonesim.virtual_phone import VirtualPhone
from phonesim.virtual_time import VirtualTime

POWER = on.PowerApplied(files={}, has_key=False)


class Desk:
    """A phone's keeper and disk, in a network without servers."""

    def __init__(self) -> None:
        self.time = VirtualTime()
        self.observations: list[on.Observation] = []
        self.errors: list[Exception] = []
        self.lines = 0
        self.history: deque[tuple[float, on.Event]] = deque(maxlen=16)
        network = VirtualNetwork(self.time, Links(), 1, (), None)
        connections = VirtualConnections(network, 0.0)
        self.phone = VirtualPhone(SPEC, self, "s/1", network, connections, self, self.history)

    def observed(self, observation: on.Observation) -> None:
        self.observations.append(observation)

    def crashed(self, error: Exception) -> None:
        self.errors.append(error)

    def files(self) -> Mapping[str, bytes]:
        return {}

    def write_file(self, name: str, data: bytes) -> None:
        pytest.fail(f"no phone without an address writes {name}")

    def delete_file(self, name: str) -> None:
        pytest.fail(f"there is no {name}")

    def append_log(self, line: WriteLog) -> None:
        self.lines += 1

    def settled(self, *, is_well: bool) -> None:
        pytest.fail("its keeper says so, not the phone")

    def flush(self) -> None:
        pytest.fail("its keeper says so, not the phone")

    def pass_time(self, until: float) -> None:
        while self.time.step(until):
            pass


def test_a_phone_without_servers_tells_its_keeper_that_it_failed() -> None:
    desk = Desk()
    desk.phone.receive(POWER)
    desk.pass_time(3600.0)
    assert desk.lines > 0
    assert any(isinstance(each, on.BootFailed) for each in desk.observations)
    assert (0.0, POWER) not in desk.history  # only the last events are kept
    assert on.TimerExpired() in [event for _, event in desk.history]


def test_a_phone_without_power_does_nothing_more() -> None:
    desk = Desk()
    desk.phone.receive(POWER)
    desk.phone.cut_power()
    lines, history = desk.lines, list(desk.history)
    desk.phone.receive(on.ShutdownRequested())
    desk.pass_time(3600.0)
    assert (desk.lines, list(desk.history)) == (lines, history)


def test_what_a_machine_raises_is_its_keepers_affair(monkeypatch: pytest.MonkeyPatch) -> None:
    error = RuntimeError("made to fail")

    def handle(phone: Phone, event: on.Event, now: float) -> list[Output]:
        raise error

    monkeypatch.setattr(Phone, "handle", handle)
    desk = Desk()
    desk.phone.receive(POWER)
    assert desk.errors == [error]
    assert list(desk.history) == [(0.0, POWER)]
