import asyncio
import time

import pytest
from fleet_runs import Run

from phonesim.config.fleet_profile import BootKind
from phonesim.device.actions import WriteLog
from phonesim.device.events import (
    PoweredOff,
    SignedIn,
)
from phonesim.drivers.run_folder import FolderDisk
from phonesim.world import CRASH_FILE, PhoneDisk, RunLimits


async def test_a_second_boot_finds_what_the_first_left_on_the_disk(run: Run) -> None:
    (spec,) = run.specs(1)
    observer = await run.boot([spec], run.site(), RunLimits(timeout=20, boots=("cold", "warm")))
    assert observer.boots == [(spec.phone_id, 1), (spec.phone_id, 2)]
    assert observer.of(SignedIn) == [spec.phone_id] * 2
    first, second = run.log(spec).split("Power applied")[1:]
    assert "DHCP INFORM" in first
    assert "DHCP INFORM" not in second
    assert "DHCP RELEASE" not in first  # it lost power


async def test_a_run_ends_when_its_phones_have_had_their_time(run: Run) -> None:
    observer = await run.boot(run.specs(1), run.site("dhcp-silent"), RunLimits(timeout=0.2))
    assert observer.of(SignedIn) == []
    assert len(observer.boots) == 1


async def test_a_run_of_a_given_duration_goes_on_after_everybody_signed_in(run: Run) -> None:
    began = time.monotonic()
    observer = await run.boot(run.specs(1), run.site(), RunLimits(duration=1.5))
    assert time.monotonic() - began >= 1.5
    assert len(observer.of(SignedIn)) == 1
    assert len(observer.of(PoweredOff)) == 1


async def test_leases_can_be_kept(run: Run) -> None:
    (spec,) = run.specs(1)
    observer = await run.boot([spec], run.site(), RunLimits(timeout=20, keep_leases=True))
    assert observer.of(SignedIn) == [spec.phone_id]
    assert observer.of(PoweredOff) == []
    assert "DHCP RELEASE" not in run.log(spec)


async def test_phones_that_are_asked_to_stop_deregister_first(run: Run) -> None:
    specs = run.specs(2)
    running = asyncio.ensure_future(run.boot(specs, run.site(), RunLimits(duration=60)))
    await run.observer.all_signed_in.wait()
    run.stop.set()
    observer = await running
    assert len(observer.of(PoweredOff)) == 2
    for spec in specs:
        assert "expires 0" in run.log(spec)
        assert "DHCP RELEASE" in run.log(spec)


async def test_a_run_that_is_stopped_before_it_starts_boots_nobody(run: Run) -> None:
    run.stop.set()
    assert (await run.boot(run.specs(1), run.site())).boots == []


async def test_a_cancelled_run_cuts_the_power_and_keeps_the_logs(run: Run) -> None:
    (spec,) = run.specs(1)
    running = asyncio.ensure_future(run.boot([spec], run.site(), RunLimits(duration=60)))
    await run.observer.all_signed_in.wait()
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    assert "Signed in as" in run.log(spec)
    assert run.observer.of(PoweredOff) == []


async def test_one_crash_leaves_the_others_alone(run: Run) -> None:
    specs = run.specs(2)
    broken = specs[0].phone_id

    class BrokenDisk(FolderDisk):
        __slots__ = ()

        def append_log(self, line: WriteLog) -> None:
            raise RuntimeError("a defect")

    def disk_for(phone_id: str) -> PhoneDisk:
        disk = run.folder.disk(phone_id, specs[0].profile.log)
        if phone_id == broken:
            disk.__class__ = BrokenDisk
        return disk

    observer = await run.boot(specs, run.site(), disk_for=disk_for)
    assert observer.crashes == [(broken, "a defect")]
    assert observer.of(SignedIn) == [specs[1].phone_id]
    crash = (run.folder.path / broken / "DSK1" / CRASH_FILE).read_text()
    assert "RuntimeError: a defect" in crash
    assert "PowerApplied" in crash


async def test_phones_begin_in_every_way_one_after_another(run: Run) -> None:
    specs = run.specs(2)
    kinds: tuple[BootKind, ...] = ("cold", "warm", "sign-out", "factory-reset")
    observer = await run.boot(specs, run.site(), RunLimits(timeout=20, boots=kinds))
    assert observer.failures() == []
    assert len(observer.of(SignedIn)) == 8
    for spec in specs:
        cold, warm, signed_out, reset = run.log(spec).split("Power applied")[1:]
        for log in (cold, signed_out, reset):
            assert "HTTP GetAndPublishCert" in log
        assert "HTTP " not in warm
        assert "Signed out, forgotten" in warm
        assert "Factory reset, erased cache.json,identity.json,phone.key" in reset


async def test_files_that_a_crash_tore_are_told_once_and_got_anew(run: Run) -> None:
    (spec,) = run.specs(1)
    disk = run.folder.disk(spec.phone_id, spec.profile.log)
    for name in ("cache.json", "identity.json", "phone.key"):
        disk.write_file(name, b"torn")
    observer = await run.boot(
        [spec], run.site(), RunLimits(timeout=20, boots=("warm", "warm")), disk_for=lambda _: disk
    )
    assert len(observer.of(SignedIn)) == 2
    first, second = run.log(spec).split("Power applied")[1:]
    assert first.count("treated as empty") == 2  # the key, and so the certificate; the cache
    assert "treated as empty" not in second
    assert "used again" in second
