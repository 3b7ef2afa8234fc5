"""Faults that come at a time instead of with a request: a server goes down, users are deregistered.

Times are seconds after the run's begin. A server that is down hears nothing, and its ports are
closed; what it knew it still knows when it is back.
"""

from __future__ import annotations

from collections.abc import Sequence
from heapq import heappop, heappush

from phonesim.config.fault import Deregister, FaultRule, Outage
from phonesim.mocksite.exchange import (
    ClosePorts,
    ConnectionLost,
    DeregistrationOrdered,
    OpenPorts,
    Report,
    Server,
    ServerAction,
    ServerEvent,
)


def is_timed(rule: FaultRule) -> bool:
    """Whether `TimedFaults` carries the rule out."""
    return isinstance(rule, Outage | Deregister)


class TimedFaults:
    """A server that `rules` act on; rules that are not `is_timed` are left out."""

    def __init__(self, server: Server, rules: Sequence[FaultRule]) -> None:
        self._server = server
        self._down = 0
        self._schedule: list[tuple[float, int, ClosePorts | OpenPorts | DeregistrationOrdered]] = []
        for rule in rules:
            match rule:
                case Outage():
                    self._plan(rule.begins_at, ClosePorts())
                    if rule.lasts is not None:
                        self._plan(rule.begins_at + rule.lasts, OpenPorts())
                case Deregister():
                    order = DeregistrationOrdered(
                        kind=rule.event, users=rule.users, registrar=rule.registrar
                    )
                    self._plan(rule.at, order)
                case _:
                    pass

    def handle(self, event: ServerEvent, now: float) -> list[ServerAction]:
        """Take one event, after what has become due."""
        actions: list[ServerAction] = []
        while self._schedule and self._schedule[0][0] <= now:
            actions += self._carry_out(heappop(self._schedule)[2], now)
        if not self._down or isinstance(event, ConnectionLost):
            actions += self._server.handle(event, now)
        return actions

    def next_deadline(self) -> tuple[float, str] | None:
        """Return when the next fault is due, or the server's deadline if it is sooner."""
        deadline = None if self._down else self._server.next_deadline()
        if self._schedule and (deadline is None or self._schedule[0][0] < deadline[0]):
            return self._schedule[0][0], "a fault is due"
        return deadline

    def _plan(self, at: float, what: ClosePorts | OpenPorts | DeregistrationOrdered) -> None:
        heappush(self._schedule, (at, len(self._schedule), what))

    def _carry_out(
        self, what: ClosePorts | OpenPorts | DeregistrationOrdered, now: float
    ) -> list[ServerAction]:
        match what:
            case ClosePorts():
                self._down += 1
                return [what, _told("the server is down")] if self._down == 1 else []
            case OpenPorts():
                self._down -= 1
                return [] if self._down else [what, _told("the server is back")]
            case DeregistrationOrdered():
                return [] if self._down else self._server.handle(what, now)


def _told(text: str) -> Report:
    return Report(text=f"fault outage: {text}", is_warning=False)
