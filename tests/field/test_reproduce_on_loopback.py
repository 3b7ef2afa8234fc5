"""Every failure with real sockets and TLS: it and its diagnosis come out as declared.

They wait for most of their time, so several run at once, in processes of their own.
"""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path

import pytest

from phonesim.field.failures import FAILURE
from phonesim.field.reproduce import reproduce
from phonesim.profiles import load, names, parse_override

pytestmark = pytest.mark.xdist_group("failures on loopback")

AT_ONCE = 4
QUICK = [
    "device.dhcp.retransmit_delays=[1, 1]",
    "device.dhcp.retransmit_jitter=0",
    "device.dhcp.decline_wait=0.5",
    "device.vlan.lldp_wait=1",
    "device.discovery.inform_delays=[1, 1]",
    "device.discovery.answer_window=1",
    "device.resolver.attempt_timeouts=[1, 1]",
    "device.clock.attempt_timeouts=[1]",
    "device.sign_in.http_timeout=5",
    "device.sign_in.attempts=1",
    "device.registration.reconnect_delays=[1]",
    "device.registration.failover_delay=3",
]
"""So that nobody waits for what does not come for longer than it takes to say so."""
OTHERWISE = {
    "backup-registrar-unreachable": ["fleet.until=20s"],
    # A capture is without the phone's patience: what has no answer for long has none.
    "web-services-slow": ["device.sign_in.http_timeout=26"],
}
TAKES_LONG = {*OTHERWISE, "endpoint-displaced"}

Result = tuple[tuple[str, ...], bool]


def run(name: str, folder: Path) -> Result:
    overrides = [*QUICK, *OTHERWISE.get(name, ())]
    came = reproduce(load(FAILURE, name), folder, "loopback", list(map(parse_override, overrides)))
    return came.differences, came.is_valid


@pytest.fixture(scope="module")
def running(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[dict[str, Future[Result]]]:
    """All of them that are wanted, begun; those that take longest first."""
    wanted = [
        item.callspec.params["name"]
        for item in request.session.items
        if item.path == request.path and isinstance(item, pytest.Function)
    ]
    wanted.sort(key=lambda name: name not in TAKES_LONG)
    with ProcessPoolExecutor(AT_ONCE, get_context("spawn")) as processes:
        try:
            yield {
                name: processes.submit(run, name, tmp_path_factory.mktemp(name)) for name in wanted
            }
        finally:
            processes.shutdown(cancel_futures=True)


@pytest.mark.timeout(240)
@pytest.mark.parametrize("name", names(FAILURE))
def test_a_failure_comes_out_as_declared(name: str, running: dict[str, Future[Result]]) -> None:
    assert running[name].result() == ((), True)
