import asyncio

from phonesim.drivers.phone_tasks import PhoneTasks


async def test_a_task_that_raises_is_told() -> None:
    errors: asyncio.Queue[Exception] = asyncio.Queue()

    async def work() -> None:
        raise RuntimeError("a defect")

    PhoneTasks(errors.put_nowait).spawn(work())
    assert str(await errors.get()) == "a defect"


async def test_a_task_that_ends_or_is_cancelled_is_not() -> None:
    errors: list[Exception] = []
    tasks = PhoneTasks(errors.append)
    ended = asyncio.Event()

    async def work() -> None:
        ended.set()

    short, long = tasks.spawn(work()), tasks.spawn(asyncio.Event().wait())
    await ended.wait()
    tasks.cancel()
    await asyncio.gather(short, long, return_exceptions=True)
    assert long.cancelled()
    assert errors == []
