"""The wire world between two network namespaces that are joined by a pair of interfaces."""

import asyncio
import json
import random
import subprocess
import sys
import textwrap
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from fleet_runs import Observer, Run
from namespaces import PHONES, SERVERS, Inside, Segment, Servers, ip

from phonesim.config.fleet_profile import OwnMac
from phonesim.config.site_profile import SiteProfile
from phonesim.device.actions import WriteLog
from phonesim.device.events import PoweredOff, SignedIn
from phonesim.drivers.live_world import boot_fleet
from phonesim.drivers.nft import run_nft
from phonesim.drivers.run_folder import FolderDisk
from phonesim.drivers.wire import open_wire
from phonesim.errors import UsageError
from phonesim.mocksite.site import Site, build_site
from phonesim.profiles import SITE, load
from phonesim.world import PhoneDisk, RunLimits

pytestmark = pytest.mark.interop("nsenter", "nft")


def site_of(run: Run, **changes: object) -> Site:
    """The contoso site, moved to addresses of the segment."""
    text = load(SITE, "contoso").model_dump_json().replace("127.20.", "10.77.")
    profile = SiteProfile.model_validate_json(text).model_copy(update=changes)
    return build_site(profile, [], run.authority, random.Random(1), time.time())


async def boot(
    run: Run,
    count: int,
    site: Site | None = None,
    own_mac: OwnMac | None = None,
    notes: list[str] | None = None,
    disk_for: Callable[[str], PhoneDisk] | None = None,
    **limits: Any,
) -> Observer:
    specs = run.specs(count, vlan__lldp_wait=0)
    run.observer = Observer()
    run.observer.awaited = count
    fleet = run.fleet(
        specs,
        site=site,
        disk_for=disk_for or run.disk(specs[0].profile),
        limits=RunLimits(**{"timeout": 20, **limits}),
        note=(notes if notes is not None else []).append,
    )
    await boot_fleet(fleet, partial(open_wire, interface=PHONES, own_mac=own_mac), run.stop)
    return run.observer


def test_phones_boot_under_their_own_macs_and_leave_nothing(segment: Segment, run: Run) -> None:
    before = segment.state()
    servers = Servers(segment, site_of(run), run.authority)
    notes: list[str] = []
    observer = Inside(segment.phones, lambda: boot(run, 3, notes=notes)).join_and_raise()
    neighbors = macs_by_address(segment)
    servers.stop()
    specs = run.specs(3)
    phones = [spec.phone_id for spec in specs]
    assert notes == ["phones had MACs of their own in full"]
    assert sorted(neighbors.values()) == phones
    assert sorted(observer.of(SignedIn)) == phones
    assert sorted(observer.of(PoweredOff)) == phones
    assert servers.macs == set(phones)
    assert observer.reports == []
    for spec in specs:
        assert "DHCP RELEASE" in run.log(spec)
    assert segment.state() == before


@pytest.mark.parametrize("keeps", [False, True])
def test_a_phone_that_crashes_gives_its_lease_back(segment: Segment, run: Run, keeps: bool) -> None:
    before = segment.state()
    servers = Servers(segment, site_of(run), run.authority)
    broken, healthy = (spec.phone_id for spec in run.specs(2))

    class BrokenDisk(FolderDisk):
        __slots__ = ()

        def append_log(self, line: WriteLog) -> None:
            if any(record.name == "signed_in" for record in line.records):
                raise RuntimeError("a defect")

    def disk_for(phone_id: str) -> PhoneDisk:
        disk = run.folder.disk(phone_id, run.specs(1)[0].profile.log)
        if phone_id == broken:
            disk.__class__ = BrokenDisk
        return disk

    main = partial(boot, run, 2, disk_for=disk_for, keep_leases=keeps)
    observer = Inside(segment.phones, main).join_and_raise()
    servers.stop()
    assert observer.crashes == [(broken, "a defect")]
    assert observer.of(PoweredOff) == ([] if keeps else [healthy])
    assert servers.released == (set() if keeps else {broken, healthy})
    assert segment.state() == before


def macs_by_address(segment: Segment) -> dict[str, str]:
    """Where the servers' kernel found the phones' addresses."""
    entries = json.loads(ip("-n", segment.servers, "-j", "neigh", "show", "dev", SERVERS))
    return {
        entry["dst"]: entry["lladdr"].replace(":", "-").upper()
        for entry in entries
        if entry["dst"].startswith("10.77.16.")
    }


def refuse(script: str, *, is_trial: bool = False) -> str:
    raise UsageError("nft: not on this machine")


@pytest.mark.parametrize(
    ("own_mac", "run_nft", "told"),
    [
        ("dhcp-only", run_nft, "phones had MACs of their own in DHCP only, as asked"),
        (None, refuse, "phones had MACs of their own in DHCP only: nft: not on this machine"),
    ],
)
def test_phones_can_share_the_interfaces_mac(
    segment: Segment,
    run: Run,
    monkeypatch: pytest.MonkeyPatch,
    own_mac: OwnMac | None,
    run_nft: Callable[..., str],
    told: str,
) -> None:
    monkeypatch.setattr("phonesim.drivers.own_macs.run_nft", run_nft)
    before = segment.state()
    servers = Servers(segment, site_of(run), run.authority)
    notes: list[str] = []
    main = partial(boot, run, 2, own_mac=own_mac, notes=notes)
    observer = Inside(segment.phones, main).join_and_raise()
    neighbors = macs_by_address(segment)
    servers.stop()
    assert len(observer.of(SignedIn)) == 2
    assert servers.macs == set(observer.of(SignedIn))
    assert notes == [told]
    mac = ip("-n", segment.phones, "-br", "link", "show", PHONES).split()[2]
    assert set(neighbors.values()) == {mac.replace(":", "-").upper()}
    assert segment.state() == before


def test_who_insists_on_own_macs_is_told_why_not(
    segment: Segment, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("phonesim.drivers.own_macs.run_nft", refuse)
    before = segment.state()
    main = partial(boot, run, 1, own_mac="full")
    with pytest.raises(UsageError, match="MACs of their own in full: nft: not on this machine"):
        Inside(segment.phones, main).join_and_raise()
    assert segment.state() == before


def test_a_table_that_somebody_took_away_leaves_nothing_either(segment: Segment, run: Run) -> None:
    before = segment.state()
    servers = Servers(segment, site_of(run), run.authority)

    async def main() -> None:
        running = asyncio.ensure_future(boot(run, 2, duration=60))
        await asyncio.sleep(0)
        await run.observer.all_signed_in.wait()
        ip("netns", "exec", segment.phones, "nft", "flush", "ruleset")
        running.cancel()
        with pytest.raises(asyncio.CancelledError):
            await running

    Inside(segment.phones, main).join_and_raise()
    servers.stop()
    assert segment.state() == before


def test_what_a_killed_run_left_is_removed_first(segment: Segment, run: Run) -> None:
    before = segment.state()
    address = ("10.77.16.200/32", "dev", PHONES, "label", "phonesim:1")
    ip("-n", segment.phones, "addr", "add", *address)
    notes: list[str] = []
    main = partial(boot, run, 1, site_of(run), notes=notes)
    Inside(segment.phones, main).join_and_raise()
    assert notes[0] == f"removed what a killed run had left: 1 address on {PHONES}"
    assert segment.state() == before


def test_a_site_can_share_the_phones_interface(segment: Segment, run: Run) -> None:
    before = segment.state()
    observer = Inside(segment.phones, lambda: boot(run, 2, site_of(run))).join_and_raise()
    assert len(observer.of(SignedIn)) == 2
    assert segment.state() == before


def test_an_address_that_answers_arp_is_declined(segment: Segment, run: Run) -> None:
    servers = Servers(segment, site_of(run), run.authority)
    ip("-n", segment.servers, "addr", "add", "10.77.16.1/32", "dev", SERVERS)
    (spec,) = run.specs(1)

    async def until_declined() -> None:
        running = asyncio.ensure_future(boot(run, 1))
        await run.until(lambda: "DHCP DECLINE" in run.log(spec))
        run.stop.set()
        await running

    Inside(segment.phones, until_declined).join_and_raise()
    servers.stop()
    log = run.log(spec)
    mac = ip("-n", segment.servers, "-br", "link", "show", SERVERS).split()[2]
    assert mac.replace(":", "-").upper() in log


def test_a_cancelled_run_leaves_nothing_on_the_interface(segment: Segment, run: Run) -> None:
    before = segment.state()
    servers = Servers(segment, site_of(run), run.authority)
    during: list[str] = []

    async def cancelled() -> None:
        running = asyncio.ensure_future(boot(run, 2, duration=60))
        await asyncio.sleep(0)
        await run.observer.all_signed_in.wait()
        during.append(segment.state())
        running.cancel()
        with pytest.raises(asyncio.CancelledError):
            await running

    Inside(segment.phones, cancelled).join_and_raise()
    servers.stop()
    assert during[0].count("inet 10.77.") == 2
    assert segment.state() == before


def test_phones_behind_a_router_find_it(segment: Segment, run: Run) -> None:
    # The web services and registrars are in another subnet, on the far side of 10.77.0.1.
    text = load(SITE, "contoso").model_dump_json().replace("127.20.", "10.77.")
    for server in ("20", "21", "22"):
        text = text.replace(f'"10.77.0.{server}"', f'"10.88.0.{server}"')
    profile = SiteProfile.model_validate_json(text)
    site = build_site(profile, [], run.authority, random.Random(1), time.time())
    servers = Servers(segment, site, run.authority)
    ip("-n", segment.servers, "addr", "add", "10.77.0.1/32", "dev", SERVERS)
    observer = Inside(segment.phones, lambda: boot(run, 1)).join_and_raise()
    servers.stop()
    assert len(observer.of(SignedIn)) == 1


def test_a_loopback_site_is_not_for_the_wire(segment: Segment, run: Run) -> None:
    main = partial(boot, run, 1, run.site())
    with pytest.raises(UsageError, match="loopback address"):
        Inside(segment.phones, main).join_and_raise()


def test_without_capabilities_the_user_is_told(tmp_path: Path) -> None:
    script = textwrap.dedent(
        """
        import ctypes
        header = (ctypes.c_uint32 * 2)(0x20080522, 0)
        assert ctypes.CDLL(None).capset(header, (ctypes.c_uint32 * 6)()) == 0
        from phonesim.drivers.wire import check_privileges
        from phonesim.errors import UsageError
        try:
            check_privileges()
        except UsageError as error:
            print(error)
        """
    )
    root = Path(__file__).parents[2]
    ended = subprocess.run(
        [sys.executable, "-c", script], cwd=root, capture_output=True, text=True, check=True
    )
    assert "CAP_NET_ADMIN and CAP_NET_RAW" in ended.stdout
    assert "--attach loopback" in ended.stdout
