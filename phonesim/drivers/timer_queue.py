"""The timers of a whole fleet behind one timer of the event loop.

A phone moves its deadline with nearly every event, and mostly to a later time. So a timer
that fires too early is cheaper than one that is moved: entries stay in the heap until their
time, and whoever is woken looks at what is due. What was cancelled is skipped, and swept out
when it makes up half of the heap.
"""

from __future__ import annotations

import asyncio
import heapq
from collections.abc import Callable
from itertools import count

_SWEPT_FROM = 256


class Timer:
    """One entry: `at` is seconds of the queue's clock, `perform` None once it is over."""

    __slots__ = ("at", "perform")

    def __init__(self, at: float, perform: Callable[[], object]) -> None:
        self.at = at
        self.perform: Callable[[], object] | None = perform


class TimerQueue:
    """Calls back at times of `clock`, which counts seconds."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._loop = asyncio.get_running_loop()
        self._heap: list[tuple[float, int, Timer]] = []
        self._orders = count()
        self._cancelled = 0
        self._armed_for = float("inf")
        self._handle: asyncio.TimerHandle | None = None

    def __len__(self) -> int:
        """How many entries there are, those cancelled and not yet swept out included."""
        return len(self._heap)

    def call_at(self, at: float, perform: Callable[[], object]) -> Timer:
        """Call `perform` when the clock has reached `at`, and never before."""
        order = next(self._orders)
        timer = Timer(at, perform)
        heapq.heappush(self._heap, (at, order, timer))
        if at < self._armed_for:
            self._arm(at)
        return timer

    def cancel(self, timer: Timer) -> None:
        """Do not call back after all; it may have happened already."""
        if timer.perform is None:
            return
        timer.perform = None
        self._cancelled += 1
        if self._cancelled > _SWEPT_FROM and self._cancelled * 2 > len(self._heap):
            self._heap = [entry for entry in self._heap if entry[2].perform is not None]
            heapq.heapify(self._heap)
            self._cancelled = 0

    def close(self) -> None:
        """Call nobody back any more."""
        self._heap.clear()
        if self._handle is not None:
            self._handle.cancel()

    def _arm(self, at: float) -> None:
        if self._handle is not None:
            self._handle.cancel()
        self._armed_for = at
        self._handle = self._loop.call_later(max(0.0, at - self._clock()), self._expired)

    def _expired(self) -> None:
        heap = self._heap
        self._handle = None
        self._armed_for = float("-inf")  # whoever adds one now is looked after below
        now = self._clock()
        try:
            while heap and heap[0][0] <= now:
                timer = heapq.heappop(heap)[2]
                perform, timer.perform = timer.perform, None
                if perform is None:
                    self._cancelled -= 1
                else:
                    perform()
                heap = self._heap  # a sweep makes another
        finally:
            self._armed_for = float("inf")
            if self._heap:
                self._arm(self._heap[0][0])
