"""Virtual time: a heap of what will happen and when.

Taking the next entry moves the clock there. Entries of one moment happen in the order in
which they were put on the heap.
"""

from __future__ import annotations

from collections.abc import Callable
from heapq import heappop, heappush
from typing import Any, Protocol

_Entry = tuple[float, int, Callable[..., None], tuple[Any, ...]]
_NEVER = float("inf")


class VirtualTime:
    """The clock: `now` is seconds since the run's begin."""

    __slots__ = ("_heap", "_sequence", "now")

    def __init__(self) -> None:
        self.now = 0.0
        self._heap: list[_Entry] = []
        self._sequence = 0

    def at(self, when: float, perform: Callable[..., None], *arguments: Any) -> None:
        """Call `perform` when the clock is there."""
        self._sequence += 1
        heappush(self._heap, (when, self._sequence, perform, arguments))

    def after(self, seconds: float, perform: Callable[..., None], *arguments: Any) -> None:
        """Call `perform` so many seconds from now."""
        self._sequence += 1
        heappush(self._heap, (self.now + seconds, self._sequence, perform, arguments))

    def step(self, until: float) -> bool:
        """Let the next thing happen; False if there is none until then."""
        heap = self._heap
        if not heap or heap[0][0] > until:
            return False
        self.now, _, perform, arguments = heappop(heap)
        perform(*arguments)
        return True


class Machine(Protocol):
    """What waits for a moment."""

    def next_deadline(self) -> tuple[float, str] | None:
        """When, and why."""
        ...


class Alarm:
    """Calls `expired` when a machine's deadline has come.

    One that goes off too early looks again: cheaper than to withdraw it from the heap.
    """

    __slots__ = ("_at", "_expired", "_machine", "_time")

    def __init__(self, time: VirtualTime, machine: Machine, expired: Callable[[], None]) -> None:
        self._time = time
        self._machine: Machine | None = machine
        self._expired = expired
        self._at: float | None = None

    def set(self, deadline: tuple[float, str] | None) -> None:
        """Go off at this deadline of the machine, unless it goes off before."""
        if deadline is not None and (self._at is None or deadline[0] < self._at):
            at = self._at = deadline[0]
            if at != _NEVER:
                self._time.at(max(at, self._time.now), self._go_off, at)

    def stop(self) -> None:
        """Never go off again, and let go of the machine."""
        self._machine = None

    def _go_off(self, planned: float) -> None:
        if self._machine is None or self._at != planned:
            return
        self._at = None
        deadline = self._machine.next_deadline()
        if deadline is not None and deadline[0] <= self._time.now:
            self._expired()
        else:
            self.set(deadline)
