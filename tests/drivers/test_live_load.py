"""Fleets that load a site over real sockets: first stages only, held back by limits."""

from __future__ import annotations

import random

import msgspec
from fleet_runs import Run

from phonesim.device.events import ExchangeEnded, Lease, PoweredOff, SignedIn, StagesDone
from phonesim.device.outcome import Stage
from phonesim.drivers.packet_pace import PacketPace
from phonesim.mocksite.site import build_site
from phonesim.profiles import SITE, load, parse_override
from phonesim.world import PhoneSpec, RunLimits


def only(spec: PhoneSpec, last_stage: Stage, **more: object) -> PhoneSpec:
    return msgspec.structs.replace(spec, last_stage=last_stage, **more)


def fixed(number: int) -> Lease:
    forever = float("inf")
    return Lease(
        address=f"127.20.16.{number}",
        subnet_mask="255.255.0.0",
        server="",
        t1_at=forever,
        t2_at=forever,
        expires_at=forever,
        dns_servers=("127.20.0.11",),
        domain="contoso.com",
    )


def exchanges(run: Run) -> set[str]:
    observed = run.observer.observations
    return {seen.kind for _, seen in observed if isinstance(seen, ExchangeEnded)}


async def test_phones_that_only_lease_an_address_are_done_and_release_it(run: Run) -> None:
    specs = [only(spec, Stage.IP) for spec in run.specs(4)]
    observer = await run.boot(specs, run.site())
    assert sorted(observer.of(StagesDone)) == [spec.phone_id for spec in specs]
    assert observer.of(SignedIn) == []
    assert exchanges(run) == {"dhcp_discover", "dhcp_request"}
    assert len(observer.of(PoweredOff)) == 4
    assert "DHCP RELEASE" in run.log(specs[0])


async def test_phones_with_fixed_addresses_find_the_services(run: Run) -> None:
    specs = [
        only(spec, Stage.DISCOVERY, fixed_lease=fixed(number))
        for number, spec in enumerate(run.specs(3), 1)
    ]
    observer = await run.boot(specs, run.site())
    assert len(observer.of(StagesDone)) == 3
    assert exchanges(run) >= {"dhcp_inform"}
    assert "DHCP DISCOVER" not in run.log(specs[0])
    assert "ciaddr 127.20.16.1" in run.log(specs[0])


async def test_phones_repeat_their_stages_with_an_empty_cache(run: Run) -> None:
    specs = [
        only(spec, Stage.DISCOVERY, fixed_lease=fixed(number), starts_at=0.0)
        for number, spec in enumerate(run.specs(2, discovery__asks_dhcp=False), 1)
    ]
    limits = RunLimits(duration=4, repeat_every=1.5)
    observer = await run.boot(specs, run.site(), limits)
    assert [boot for _, boot in observer.boots] == [1, 1, 2, 2, 3, 3]
    assert len(observer.of(StagesDone)) == 6
    assert run.log(specs[0]).count("DNS query SRV _sipinternaltls._tcp.contoso.com") == 3
    assert "DHCP INFORM" not in run.log(specs[0])
    assert run.log(specs[0]).count("Power applied") == 1


async def test_phones_that_leased_their_addresses_boot_to_repeat_their_stages(run: Run) -> None:
    specs = [only(spec, Stage.IP, starts_at=0.0) for spec in run.specs(1)]
    observer = await run.boot(specs, run.site(), RunLimits(duration=2.5, repeat_every=1.5))
    assert [boot for _, boot in observer.boots] == [1, 2]
    assert run.log(specs[0]).count("Power applied") == 2


async def test_a_paced_fleet_sends_everything_its_releases_too(run: Run) -> None:
    specs = [only(spec, Stage.IP) for spec in run.specs(12)]
    narrow = load(SITE, "contoso", [parse_override("site.dhcp_servers.0.scope.last=127.20.16.6")])
    site = build_site(narrow, [], run.authority, random.Random(1), 0)
    pace = PacketPace(60)
    await run.boot(specs[:6], site, pace=pace)
    assert pace.longest_wait > 0
    # There are six addresses: the next phones get them if the server has heard every RELEASE.
    # Their clock begins anew, so they start when the first ones were gone.
    later = [msgspec.structs.replace(spec, starts_at=1.5) for spec in specs[6:]]
    observer = await run.boot(later, site, RunLimits(timeout=8))
    assert len(observer.of(StagesDone)) == 12


async def test_no_more_phones_boot_at_once_than_allowed(run: Run) -> None:
    specs = [only(spec, Stage.IP) for spec in run.specs(5)]
    booting = most = 0
    started = run.observer.boot_started
    observed = run.observer.observe

    def count_start(phone_id: str, boot: int, now: float) -> None:
        nonlocal booting, most
        booting += 1
        most = max(most, booting)
        started(phone_id, boot, now)

    def count_end(phone_id: str, observation: object, now: float) -> None:
        nonlocal booting
        booting -= isinstance(observation, StagesDone)
        observed(phone_id, observation, now)  # type: ignore[arg-type]

    run.observer.boot_started = count_start  # type: ignore[method-assign]
    run.observer.observe = count_end  # type: ignore[method-assign,assignment]
    observer = await run.boot(specs, run.site(), RunLimits(timeout=20, outstanding=2))
    assert len(observer.of(StagesDone)) == 5
    assert [phone for phone, _ in observer.boots] == [spec.phone_id for spec in specs]
    assert most == 2


async def test_phones_that_never_settle_make_room(run: Run) -> None:
    limits = RunLimits(timeout=0.1, outstanding=1)
    observer = await run.boot(run.specs(3), run.site("dhcp-silent"), limits)
    assert len(observer.boots) == 3
