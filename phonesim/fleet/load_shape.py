"""Load shapes: when each phone of a fleet starts, seconds after the run began.

    rate 20       a phone every 50 ms
    ramp          the rate rises (or falls) evenly, then stays
    steps         one rate after another
    burst         all at once
    switches      power over Ethernet comes back: every switch powers port after port, all
                  switches at once, so that arrivals are the sum of as many slow rows

Arrivals do not wait for what came before them (an open model), and are the same for the same
seed. Only `switches` draws at random, and does not give its times in order.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from itertools import count

from phonesim.config.fleet_profile import Burst, FleetProfile, Ramp, Steps, Switches


def start_times(fleet: FleetProfile) -> Iterator[float]:
    """Yield the start of phone after phone, for ever."""
    match fleet.shape:
        case None:
            return (index / fleet.rate for index in count())
        case Ramp():
            return _ramp(fleet.shape)
        case Steps():
            return _steps(fleet.shape)
        case Burst():
            return (0.0 for _ in count())
        case Switches():
            return _switches(fleet.shape, random.Random(f"{fleet.seed}/switches"))


def peak_starts(times: list[float]) -> int:
    """Return the most starts within any second."""
    times = sorted(times)
    most = first = 0
    for index, time in enumerate(times):
        while times[first] < time - 1 + 1e-9:  # a second later is another second
            first += 1
        most = max(most, index - first + 1)
    return most


def _ramp(ramp: Ramp) -> Iterator[float]:
    slope = (ramp.end - ramp.begin) / ramp.seconds
    within = (ramp.begin + ramp.end) / 2 * ramp.seconds
    yield 0.0
    for index in count(1):
        if index < within:
            # begin * t + slope * t**2 / 2 = index, solved so that a slope of 0 is no special case
            root = max(0.0, ramp.begin**2 + 2 * slope * index) ** 0.5
            yield 2 * index / (ramp.begin + root)
        else:
            yield ramp.seconds + (index - within) / ramp.end


def _steps(steps: Steps) -> Iterator[float]:
    began_at, started = 0.0, 0.0
    index = 0
    for step in steps.steps[:-1]:
        ended_with = started + step.rate * step.seconds
        while index < ended_with:
            yield began_at + (index - started) / step.rate
            index += 1
        began_at, started = began_at + step.seconds, ended_with
    for later in count(index):
        yield began_at + (later - started) / steps.steps[-1].rate


def _switches(switches: Switches, rng: random.Random) -> Iterator[float]:
    while True:
        powered_at = rng.uniform(0, switches.power_up_jitter)
        for port in range(switches.ports):
            yield powered_at + port * switches.stagger
