"""A mock server in virtual time: what wakes it, and what its actions do."""

from __future__ import annotations

import pytest

from phonesim.config.fleet_profile import Links
from phonesim.mocksite import exchange as site_side
from phonesim.virtual_connections import VirtualConnections
from phonesim.virtual_network import VirtualNetwork
from phonesim.virtual_server import VirtualServer
from phonesim.virtual_time import VirtualTime

LOST = site_side.ConnectionLost(connection_id=1)


class Scripted:
    """A server that answers each event with the next of its actions, and wakes at `deadlines`."""

    def __init__(
        self, actions: list[site_side.ServerAction], deadlines: tuple[float, ...] = ()
    ) -> None:
        self.actions = actions
        self.deadlines = list(deadlines)
        self.handled: list[tuple[float, site_side.ServerEvent]] = []

    def handle(self, event: site_side.ServerEvent, now: float) -> list[site_side.ServerAction]:
        self.handled.append((now, event))
        if isinstance(event, site_side.ServerTimerExpired):
            self.deadlines.pop(0)
        return [self.actions.pop(0)] if self.actions else []

    def next_deadline(self) -> tuple[float, str] | None:
        return (self.deadlines[0], "a test") if self.deadlines else None


class Hall:
    """Where a server stands, and who notes its reports."""

    def __init__(self, scripted: Scripted) -> None:
        self.time = VirtualTime()
        network = VirtualNetwork(self.time, Links(), 1, (), None)
        self.listener = site_side.Listener(
            name="web", protocol="https", address="10.0.0.1", port=443, server=scripted
        )
        self.network = network
        self.reports: list[tuple[str, str, float]] = []
        connections = VirtualConnections(network, 0.0)
        self.server = VirtualServer("web", scripted, network, connections, self)
        network.listen(self.listener, self.server.port)

    def report(
        self,
        server: str,
        text: str,
        fields: tuple[tuple[str, str], ...],
        is_warning: bool,
        now: float,
    ) -> None:
        self.reports.append((server, text, now))


def test_a_server_is_woken_at_each_of_its_deadlines() -> None:
    scripted = Scripted([], (2.0, 5.0))
    hall = Hall(scripted)
    hall.server.start()
    while hall.time.step(60.0):
        pass
    expired = site_side.ServerTimerExpired()
    assert scripted.handled == [(2.0, expired), (5.0, expired)]


def test_its_actions_change_its_place_in_the_network() -> None:
    changed = site_side.ChangeCertificate(certificate="expired")
    hall = Hall(Scripted([site_side.ClosePorts(), site_side.OpenPorts(), changed]))
    downs = []
    for _ in range(3):
        hall.server.receive(LOST)
        downs.append(hall.server.port.is_down)
    assert downs == [True, False, False]
    found = hall.network.listener("https", "10.0.0.1", 443)
    assert found is not None
    assert found[0].certificate == "expired"


def test_what_it_reports_is_told_under_its_name() -> None:
    report = site_side.Report(text="refused")
    hall = Hall(Scripted([report]))
    hall.server.receive(LOST)
    assert hall.reports == [("web", "refused", 0.0)]


def test_an_action_of_no_world_is_an_error() -> None:
    hall = Hall(Scripted([site_side.ServerAction()]))
    with pytest.raises(TypeError, match="no world performs ServerAction"):
        hall.server.receive(LOST)
