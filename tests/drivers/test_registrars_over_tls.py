"""What happens to Registrars reaches the phones over real sockets and real TLS."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence

import pytest
from fleet_runs import Run

from phonesim.device.events import BootFailed, PoweredOff, SignedIn
from phonesim.drivers.site_host import SiteHost
from phonesim.mocksite.exchange import DeregistrationOrdered
from phonesim.world import RunLimits

QUICK = {
    "registration__reconnect_delays": (0.2, 0.4),
    "registration__failover_delay": 0.3,
    "registration__return_interval": 0.3,
    "registration__provisioning_timeout": 1.0,
}

# What is wrong from the beginning, and lines that every phone writes of it.
FROM_THE_BEGINNING: Sequence[tuple[str, Sequence[str]]] = [
    (
        "registrar-redirects",
        ("Redirected by fe01.contoso.com:5061 to fe02.contoso.com:5061", "Signed in as"),
    ),
    ("registrar-redirect-loop", ("Sign-in failed at register, registrar-redirects",)),
    (
        "registrar-503",
        ('diagnostics "17000 Server overloaded"', "register, registrar-unavailable"),
    ),
    ("registrar-504", ("1007 Temporarily cannot route", "register, registrar-unavailable")),
    ("registrar-480", ("REGISTER answered 480", "register, registrar-unavailable")),
    ("registrar-404", ("REGISTER answered 404", "register, registration-not-found")),
    ("user-services-lost", ("User Services unavailable", "Limited functionality due to outage.")),
    ("provisioning-silent", ("No in-band provisioning: ", "Signed in as")),
    ("provisioning-refused", ('No in-band provisioning: "403 Forbidden"', "Signed in as")),
    ("provisioning-malformed", ('No in-band provisioning: "malformed', "Signed in as")),
]


@pytest.mark.parametrize(
    ("fault", "lines"), FROM_THE_BEGINNING, ids=[story[0] for story in FROM_THE_BEGINNING]
)
async def test_what_is_wrong_from_the_beginning(run: Run, fault: str, lines: Sequence[str]) -> None:
    (spec,) = run.specs(1, **QUICK)
    observer = await run.boot([spec], run.site(fault))
    assert observer.crashes == []
    log = run.log(spec)
    for line in lines:
        assert line in log


# What a Registrar is ordered to do once the phone is signed in, the line that tells that the
# phone has reacted, and whether the phone is signed out for good.
ORDERS: Sequence[tuple[DeregistrationOrdered, str, bool]] = [
    (DeregistrationOrdered(kind="unregistered"), "register, registration-displaced", True),
    (DeregistrationOrdered(kind="rejected"), "register, user-disabled", True),
    (
        DeregistrationOrdered(kind="deactivated", registrar="lync02"),
        "Registrar changed fe01.contoso.com:5061 -> fe02.contoso.com:5061, survivable mode no",
        False,
    ),
    (
        DeregistrationOrdered(kind="preferred-registrar-change", registrar="lync02"),
        "Registrar changed fe01.contoso.com:5061 -> fe02.contoso.com:5061, survivable mode yes",
        False,
    ),
]


@pytest.mark.parametrize(
    ("order", "reaction", "is_over"), ORDERS, ids=[order.kind for order, _, _ in ORDERS]
)
async def test_a_registrar_deregisters_a_phone(
    run: Run, order: DeregistrationOrdered, reaction: str, is_over: bool
) -> None:
    (spec,) = run.specs(1, **QUICK)
    site = run.site()
    zero = time.monotonic()
    host = SiteHost(site, run.authority, run.observer, lambda: time.monotonic() - zero)
    await host.start(None)
    running = asyncio.ensure_future(
        run.boot([spec], None, RunLimits(duration=60), port_offset=host.port_offset)
    )
    await run.observer.all_signed_in.wait()
    host.server("lync01").deliver(order)
    await run.until(lambda: reaction in run.log(spec))
    run.stop.set()
    await running
    await host.stop()
    assert f"Deregistered by fe01.contoso.com:5061, {order.kind}" in run.log(spec)
    assert run.observer.of(BootFailed) == ([spec.phone_id] if is_over else [])
    assert run.observer.of(PoweredOff) == [spec.phone_id]
    assert run.observer.of(SignedIn) == [spec.phone_id]


async def test_an_outage_closes_the_port_for_its_time(run: Run) -> None:
    """The first Registrar is down from the beginning, and comes back."""
    (spec,) = run.specs(1, **QUICK)
    site = run.site()
    zero = time.monotonic()
    host = SiteHost(site, run.authority, run.observer, lambda: time.monotonic() - zero)
    await host.start(None)
    [first] = host.server("lync01").ports.streams
    first.go_down()
    running = asyncio.ensure_future(
        run.boot([spec], None, RunLimits(duration=60), port_offset=host.port_offset)
    )
    await run.observer.all_signed_in.wait()
    await run.until(lambda: "probed: " in run.log(spec))
    assert "connection refused" in run.log(spec)
    first.come_back()
    back = "Registrar changed fe02.contoso.com:5061 -> fe01.contoso.com:5061, survivable mode no"
    await run.until(lambda: back in run.log(spec))
    run.stop.set()
    await running
    await host.stop()
