import asyncio
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from phonesim.drivers.gathered_changes import GatheredChanges

Batch = tuple[dict[str, int], dict[str, int]]


@pytest.fixture
def thread() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(1) as made:
        yield made


class Applied:
    """Changes whose batches are noted; `during` runs in the thread, in each."""

    def __init__(self, thread: ThreadPoolExecutor) -> None:
        self.batches: list[Batch] = []
        self.during: Callable[[], object] = lambda: None
        self.changes = GatheredChanges[int](self._apply, thread, 0.01)
        self.loop = asyncio.get_running_loop()

    def _apply(self, gone: dict[str, int], come: dict[str, int]) -> None:
        self.batches.append((gone, come))
        self.during()

    def in_loop(self, perform: Callable[[], object]) -> None:
        """Do something on the loop while a batch is applied."""

        async def once() -> None:
            self.during = lambda: None
            perform()

        self.during = lambda: asyncio.run_coroutine_threadsafe(once(), self.loop).result(5)

    async def done(self, *addresses: str) -> None:
        ready = asyncio.Semaphore(0)
        for address in addresses:
            self.changes.when_done(address, ready.release)
        async with asyncio.timeout(5):
            for _ in addresses:
                await ready.acquire()


async def test_what_is_wanted_meanwhile_goes_in_one_batch(thread: ThreadPoolExecutor) -> None:
    applied = Applied(thread)
    applied.changes.want("a", 1)
    applied.changes.want("b", 1)
    applied.changes.want("a", 2)
    applied.changes.want("c", 3)
    applied.changes.want("c", None)
    await applied.done("a", "b", "c")
    applied.changes.want("a", None)
    applied.changes.want("b", 5)
    await applied.done("a", "b")
    await applied.done("a", "b")
    assert applied.batches == [({}, {"a": 2, "b": 1}), ({"a": 2, "b": 1}, {"b": 5})]


async def test_what_changes_while_a_batch_runs_is_in_the_next(thread: ThreadPoolExecutor) -> None:
    applied = Applied(thread)
    calls: list[str] = []

    def perform() -> None:
        applied.changes.want("a", None)
        applied.changes.when_done("a", lambda: calls.append("gone"))
        applied.changes.want("b", 2)

    applied.in_loop(perform)
    applied.changes.want("a", 1)
    applied.changes.when_done("a", lambda: calls.append("come"))
    applied.changes.want("b", 2)
    await asyncio.sleep(0.05)
    await applied.done("a", "b")
    assert applied.batches == [({}, {"a": 1, "b": 2}), ({"a": 1}, {})]
    assert calls == ["gone"]


async def test_what_a_batch_undoes_while_it_runs_is_not_done_yet(
    thread: ThreadPoolExecutor,
) -> None:
    applied = Applied(thread)
    applied.changes.want("a", 1)
    await applied.done("a")
    calls: list[int] = []

    def perform() -> None:
        applied.changes.want("a", 1)  # as it was before the batch that takes it away
        applied.changes.when_done("a", lambda: calls.append(len(applied.batches)))

    applied.in_loop(perform)
    applied.changes.want("a", None)
    await asyncio.sleep(0.1)
    assert calls == [3]
    assert applied.batches[1:] == [({"a": 1}, {}), ({}, {"a": 1})]


async def test_what_apply_raises_is_the_failure_and_nothing_follows(
    thread: ThreadPoolExecutor,
) -> None:
    applied = Applied(thread)

    def fail() -> None:
        raise ValueError("no")

    applied.during = fail
    applied.changes.want("a", 1)
    with pytest.raises(ValueError, match="no"):
        await asyncio.wait_for(applied.changes.failure, 5)
    applied.changes.close()


async def test_closed_changes_begin_nothing(thread: ThreadPoolExecutor) -> None:
    applied = Applied(thread)
    applied.changes.want("a", 1)
    applied.changes.close()
    applied.changes.want("b", 1)
    await asyncio.sleep(0.05)
    assert applied.batches == []
    assert applied.changes.failure.cancelled()
