from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterator

import pytest

from phonesim.drivers.timer_queue import TimerQueue


@pytest.fixture
async def timers() -> Iterator[TimerQueue]:
    queue = TimerQueue(time.monotonic)
    yield queue
    queue.close()


def soon(seconds: float) -> float:
    return time.monotonic() + seconds


async def test_timers_are_called_in_order_and_never_early(timers: TimerQueue) -> None:
    called: list[tuple[str, float]] = []
    done = asyncio.Event()

    def note(name: str) -> Callable[[], None]:
        return lambda: called.append((name, time.monotonic()))

    second, first = soon(0.03), soon(0.01)
    timers.call_at(second, note("second"))
    timers.call_at(second, note("third"))
    timers.call_at(first, note("first"))
    timers.call_at(soon(0.04), done.set)
    await done.wait()
    assert [name for name, _ in called] == ["first", "second", "third"]
    assert called[0][1] >= first
    assert called[1][1] >= second


async def test_a_cancelled_timer_is_not_called(timers: TimerQueue) -> None:
    called: list[str] = []
    done = asyncio.Event()
    timers.cancel(timers.call_at(soon(0.01), lambda: called.append("cancelled")))
    timers.call_at(soon(0.02), done.set)
    await done.wait()
    assert called == []


async def test_cancelling_what_was_called_is_harmless(timers: TimerQueue) -> None:
    done = asyncio.Event()
    timer = timers.call_at(soon(0), done.set)
    await done.wait()
    timers.cancel(timer)
    again = asyncio.Event()
    timers.call_at(soon(0), again.set)
    await again.wait()


async def test_a_timer_may_add_and_cancel_timers(timers: TimerQueue) -> None:
    called: list[str] = []
    done = asyncio.Event()
    victim = timers.call_at(soon(0.01), lambda: called.append("victim"))

    def first() -> None:
        timers.cancel(victim)
        timers.call_at(soon(-1), lambda: called.append("overdue"))
        timers.call_at(soon(0.02), done.set)

    timers.call_at(soon(0.001), first)
    await done.wait()
    assert called == ["overdue"]


async def test_many_cancelled_timers_are_swept_out_and_the_others_stay(timers: TimerQueue) -> None:
    called: list[int] = []
    done = asyncio.Event()
    at = soon(0.05)
    kept = [timers.call_at(at, lambda n=n: called.append(n)) for n in range(10)]
    for _ in range(20):
        for timer in [timers.call_at(soon(3600), done.set) for _ in range(100)]:
            timers.cancel(timer)
    assert len(timers) < 1000
    timers.call_at(soon(0.06), done.set)
    await done.wait()
    assert called == list(range(10))
    assert all(timer.perform is None for timer in kept)


async def test_one_that_raises_does_not_stop_the_others(timers: TimerQueue) -> None:
    problems: list[object] = []
    asyncio.get_running_loop().set_exception_handler(
        lambda _, context: problems.append(context["exception"])
    )
    done = asyncio.Event()

    def fails() -> None:
        raise RuntimeError("a defect")

    timers.call_at(soon(0.001), fails)
    timers.call_at(soon(0.002), done.set)
    await done.wait()
    assert [str(problem) for problem in problems] == ["a defect"]


async def test_nobody_is_called_after_close(timers: TimerQueue) -> None:
    called: list[str] = []
    timers.call_at(soon(0.001), lambda: called.append("late"))
    timers.close()
    await asyncio.sleep(0.02)
    assert called == []
