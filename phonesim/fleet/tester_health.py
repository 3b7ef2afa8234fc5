"""Whether the tester itself kept up: a result is worth nothing if it did not.

In the live worlds every phone shares one event loop. When the loop is late, phones answer late
and retransmit for no fault of the site's. So the loop's lateness is sampled all the time: a
sample is late by what a sleep of `SAMPLE_INTERVAL` took longer than that.

The shortest timeout of a phone is a second (DNS). A run whose loop was ever later than that is
not valid. Below it, lateness worth mentioning is noted: durations that are not much longer
say more about the tester than about the site.
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import resource
import sys
import time
from collections.abc import Iterator

SAMPLE_INTERVAL = 0.05
LATENESS_LIMIT = 1.0
LATENESS_WORTH_MENTIONING = 0.25

_COLLECTOR_THRESHOLDS = (200_000, 50, 1000)


@contextlib.contextmanager
def collecting_rarely() -> Iterator[None]:
    """Let the garbage collector look for cycles seldom while entered.

    A fleet's objects are many, live long and die by their reference counts: looking at them
    again and again takes up to half of a run's time, and stops the loop for longer and longer.
    """
    thresholds = gc.get_threshold()
    gc.freeze()
    gc.set_threshold(*_COLLECTOR_THRESHOLDS)
    try:
        yield
    finally:
        gc.set_threshold(*thresholds)
        gc.unfreeze()


class LoopWatch:
    """Samples how late the event loop is while it is entered as a context."""

    def __init__(self) -> None:
        self.worst = 0.0
        self._task: asyncio.Task[None] | None = None

    async def __aenter__(self) -> LoopWatch:
        """Begin to sample."""
        self._task = asyncio.create_task(self._sample(), name="loop-watch")
        return self

    async def __aexit__(self, *_: object) -> None:
        """Stop sampling."""
        assert self._task is not None
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)

    @property
    def kept_up(self) -> bool:
        """Whether the run is valid."""
        return self.worst <= LATENESS_LIMIT

    def notes(self) -> tuple[str, ...]:
        """What to say of the tester beside the results."""
        if not self.kept_up:
            return (
                f"the tester was the bottleneck: its event loop was up to {self.worst:.1f} s late;"
                " lower --rate or --phones",
            )
        if self.worst > LATENESS_WORTH_MENTIONING:
            return (
                f"the tester's event loop was up to {self.worst:.1f} s late: durations near that"
                " are its own",
            )
        return ()

    async def _sample(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            asked_at = loop.time()
            await asyncio.sleep(SAMPLE_INTERVAL)
            self.worst = max(self.worst, loop.time() - asked_at - SAMPLE_INTERVAL)


class Costs:
    """What the process has used since this object was made."""

    def __init__(self) -> None:
        self._wall = time.perf_counter()
        self._cpu = time.process_time()

    @property
    def wall_s(self) -> float:
        """Seconds by the clock on the wall."""
        return time.perf_counter() - self._wall

    @property
    def cpu_s(self) -> float:
        """Seconds of processor time."""
        return time.process_time() - self._cpu


def peak_rss_mb() -> float:
    """Most memory that the process ever had, in MB."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak * (1 if sys.platform == "darwin" else 1024) / 1e6
