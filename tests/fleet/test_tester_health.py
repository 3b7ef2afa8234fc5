import asyncio
import time

from phonesim.fleet.tester_health import LATENESS_WORTH_MENTIONING, Costs, LoopWatch, peak_rss_mb


def hold_up(seconds: float) -> None:
    time.sleep(seconds)


async def test_a_loop_that_is_held_up_makes_the_run_not_valid() -> None:
    async with LoopWatch() as watch:
        await asyncio.sleep(0.1)
        hold_up(1.2)
        await asyncio.sleep(0.1)
    assert not watch.kept_up
    [note] = watch.notes()
    assert "bottleneck" in note


async def test_a_loop_that_is_a_little_late_is_noted() -> None:
    async with LoopWatch() as watch:
        await asyncio.sleep(0.1)
        hold_up(0.4)
        await asyncio.sleep(0.1)
    assert watch.worst > LATENESS_WORTH_MENTIONING
    assert watch.notes()


def test_costs_are_in_seconds_and_megabytes() -> None:
    costs = Costs()
    while costs.cpu_s < 0.02:
        pass
    assert costs.wall_s >= 0.01
    assert 10 < peak_rss_mb() < 10_000
