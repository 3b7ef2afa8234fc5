"""Faults that come at a time instead of with a request, or go again.

A server goes down, users are deregistered, a certificate is another one for a while; and of what a
`FaultInjector` does to requests for a time, when it begins and ends is told here. Times are
seconds after the run's begin. A server that is down hears nothing, and its ports are closed; what
it knew it still knows when it is back.
"""

from __future__ import annotations

from collections.abc import Sequence
from heapq import heappop, heappush

import msgspec

from phonesim.config.fault import (
    Deregister,
    FaultRule,
    Outage,
    PassingFault,
    ShowCertificate,
)
from phonesim.mocksite.exchange import (
    ChangeCertificate,
    ClosePorts,
    ConnectionLost,
    DeregistrationOrdered,
    OpenPorts,
    Report,
    Server,
    ServerAction,
    ServerEvent,
)


class _Change(msgspec.Struct, frozen=True):
    """A rule begins, or ends."""

    rule: PassingFault | Deregister
    begins: bool


def is_timed(rule: FaultRule) -> bool:
    """Whether `TimedFaults` carries the rule out, or tells when it begins and ends."""
    return isinstance(rule, Outage | Deregister) or (
        isinstance(rule, PassingFault) and rule.is_passing
    )


class TimedFaults:
    """A server that `rules` act on; rules that are not `is_timed` are left out."""

    def __init__(self, server: Server, rules: Sequence[FaultRule]) -> None:
        self._server = server
        self._down = 0
        self._certificates = ["valid"]
        self._schedule: list[tuple[float, int, _Change]] = []
        for rule in rules:
            if isinstance(rule, Deregister):
                self._plan(rule.at, _Change(rule, begins=True))
            elif isinstance(rule, ShowCertificate) and not rule.is_passing:
                self._certificates.append(rule.certificate)
            elif isinstance(rule, PassingFault) and is_timed(rule):
                self._plan(rule.begins_at, _Change(rule, begins=True))
                if rule.lasts is not None:
                    self._plan(rule.ends_at, _Change(rule, begins=False))

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

    def _plan(self, at: float, change: _Change) -> None:
        heappush(self._schedule, (at, len(self._schedule), change))

    def _carry_out(self, change: _Change, now: float) -> list[ServerAction]:
        match change.rule:
            case Deregister() as rule:
                order = DeregistrationOrdered(
                    kind=rule.event, users=rule.users, registrar=rule.registrar
                )
                return [] if self._down else self._server.handle(order, now)
            case Outage():
                return self._go_down() if change.begins else self._come_back()
            case ShowCertificate() as rule:
                return self._change_certificate(rule.certificate, begins=change.begins)
            case rule:
                what = "begins" if change.begins else "is over"
                return [_told(rule.kind, what)]

    def _go_down(self) -> list[ServerAction]:
        self._down += 1
        return [ClosePorts(), _told("outage", "the server is down")] if self._down == 1 else []

    def _come_back(self) -> list[ServerAction]:
        self._down -= 1
        return [] if self._down else [OpenPorts(), _told("outage", "the server is back")]

    def _change_certificate(self, certificate: str, *, begins: bool) -> list[ServerAction]:
        """Show the certificate that came last of those that are to be shown now."""
        if begins:
            self._certificates.append(certificate)
        else:
            self._certificates.reverse()
            self._certificates.remove(certificate)
            self._certificates.reverse()
        shown = self._certificates[-1]
        return [
            ChangeCertificate(certificate=shown),
            _told("show-certificate", f"the certificate is {shown}"),
        ]


def _told(kind: str, text: str) -> Report:
    return Report(text=f"fault {kind}: {text}", is_warning=False)
