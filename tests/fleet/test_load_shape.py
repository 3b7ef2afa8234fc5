from itertools import islice, pairwise

import pytest

from phonesim.config.fleet_profile import FleetProfile
from phonesim.fleet.load_shape import peak_starts, start_times


def starts(phones: int, seed: int = 1, rate: float = 20, **shape: object) -> list[float]:
    values = {"name": "f", "seed": seed, "rate": rate, "shape": shape or None}
    return list(islice(start_times(FleetProfile.model_validate(values)), phones))


def test_a_rate_is_evenly_spaced() -> None:
    assert starts(4, rate=2) == [0, 0.5, 1.0, 1.5]


def test_a_burst_is_all_at_once() -> None:
    assert starts(3, kind="burst") == [0, 0, 0]


@pytest.mark.parametrize(
    ("begin", "end", "seconds"), [(0, 10, 10), (5, 15, 10), (10, 0.5, 20), (4, 4, 5)]
)
def test_a_ramp_goes_evenly_from_one_rate_to_the_other_and_stays_there(
    begin: float, end: float, seconds: float
) -> None:
    phones = int((begin + end) / 2 * seconds) + 20
    times = starts(phones, kind="ramp", begin=begin, end=end, seconds=seconds)
    assert times[0] == 0
    assert all(one < two for one, two in pairwise(times))
    # At any time as many have started as the area under the rate.
    for index, time in enumerate(times):
        within = min(time, seconds)
        rate_then = begin + (end - begin) * within / seconds
        area = (begin + rate_then) / 2 * within + max(0.0, time - seconds) * end
        assert area == pytest.approx(index, abs=1e-6)


def test_steps_follow_one_another_and_the_last_one_stays() -> None:
    steps = [{"rate": 2, "seconds": 2}, {"rate": 4, "seconds": 1}, {"rate": 1, "seconds": 1}]
    expected = [0, 0.5, 1, 1.5, 2, 2.25, 2.5, 2.75, 3, 4, 5]
    assert starts(11, kind="steps", steps=steps) == expected


def test_a_step_too_short_for_a_phone_is_waited_out() -> None:
    steps = [{"rate": 1, "seconds": 2.5}, {"rate": 2, "seconds": 9}]
    assert starts(5, kind="steps", steps=steps) == [0, 1, 2, 2.75, 3.25]


def test_switches_power_their_ports_side_by_side() -> None:
    assert starts(6, kind="switches", ports=2, stagger=0.5) == [0, 0.5] * 3


def test_switches_differ_at_random_by_seed_and_their_ports_do_not() -> None:
    shape = {"kind": "switches", "ports": 4, "stagger": 0.5, "power_up_jitter": 30}
    times = starts(400, **shape)
    firsts = times[::4]
    assert len(set(firsts)) == 100
    assert 0 <= min(firsts) < 3
    assert 27 < max(firsts) <= 30
    for port in range(4):
        assert times[port::4] == pytest.approx([first + port * 0.5 for first in firsts])
    assert times == starts(400, **shape)
    assert times != starts(400, seed=2, **shape)


@pytest.mark.parametrize(
    ("times", "most"),
    [([], 0), ([5], 1), ([0, 0, 0], 3), ([0, 0.5, 1.0, 1.5], 2), ([9, 0, 9.9, 0.5, 9.5], 3)],
)
def test_the_busiest_second_is_found(times: list[float], most: int) -> None:
    assert peak_starts(times) == most
