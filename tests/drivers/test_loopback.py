import asyncio
import random
import subprocess
import sys
import textwrap
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from phonesim.config.device_profile import DeviceProfile
from phonesim.device.actions import WriteLog
from phonesim.device.events import (
    BootFailed,
    Observation,
    PoweredOff,
    SignedIn,
    StageEnded,
)
from phonesim.device.outcome import FailureReason, Stage
from phonesim.drivers.authority import SiteAuthority
from phonesim.drivers.key_pool import SHARED_KEYS, KeyPool, PhoneKey
from phonesim.drivers.loopback import run_loopback
from phonesim.drivers.phone_host import CRASH_FILE
from phonesim.drivers.run_folder import FolderDisk, RunFolder
from phonesim.drivers.site_host import SiteHost
from phonesim.errors import UsageError
from phonesim.mocksite.site import Site, build_site
from phonesim.profiles import DEVICE, FAULT, SITE, load
from phonesim.world import PhoneDisk, PhoneSpec, RunLimits


class Observer:
    """Notes what a run lets be known."""

    def __init__(self) -> None:
        self.boots: list[tuple[str, int]] = []
        self.observations: list[tuple[str, Observation]] = []
        self.crashes: list[tuple[str, str]] = []
        self.reports: list[str] = []
        self.all_signed_in = asyncio.Event()
        self.awaited = 0

    def boot_started(self, phone_id: str, boot: int, now: float) -> None:
        self.boots.append((phone_id, boot))

    def observe(self, phone_id: str, observation: Observation, now: float) -> None:
        self.observations.append((phone_id, observation))
        if len(self.of(SignedIn)) == self.awaited:
            self.all_signed_in.set()

    def crashed(self, phone_id: str, error: BaseException, now: float) -> None:
        self.crashes.append((phone_id, str(error)))

    def report(
        self,
        server: str,
        text: str,
        fields: tuple[tuple[str, str], ...],
        is_warning: bool,
        now: float,
    ) -> None:
        self.reports.append(text)

    def of(self, kind: type[Observation]) -> list[str]:
        """The phones of which this was observed."""
        return [phone_id for phone_id, each in self.observations if isinstance(each, kind)]

    def failures(self) -> list[tuple[Stage, FailureReason]]:
        return [
            (each.stage, each.reason)
            for _, each in self.observations
            if isinstance(each, BootFailed)
        ]


class Run:
    """A run of a few phones at the contoso site, in a folder of its own."""

    def __init__(self, folder: Path, authority: SiteAuthority, key: PhoneKey) -> None:
        self.folder = RunFolder.create(folder, "run")
        self.authority = authority
        self.key = key
        self.observer = Observer()
        self.stop = asyncio.Event()

    def site(self, *faults: str) -> Site:
        return build_site(
            load(SITE, "contoso"),
            [load(FAULT, name) for name in faults],
            self.authority,
            random.Random(1),
            time.time(),
        )

    def specs(self, count: int, **policies: object) -> list[PhoneSpec]:
        profile = load(DEVICE, "polycom-cx600")
        for name, value in policies.items():
            section, _, key = name.partition("__")
            changed = getattr(profile, section).model_copy(update={key: value})
            profile = profile.model_copy(update={section: changed})
        return [
            PhoneSpec(
                phone_id=f"00-04-F2-00-00-{number:02X}",
                mac=bytes.fromhex(f"0004f20000{number:02x}"),
                profile=profile,
                number=f"+1425555{number:05d}",
                pin=f"8{number:05d}4",
                starts_at=number / 100,
                seed=str(number),
            )
            for number in range(1, count + 1)
        ]

    def disk(self, profile: DeviceProfile) -> Callable[[str], PhoneDisk]:
        return lambda phone_id: self.folder.disk(phone_id, profile.log)

    async def boot(
        self,
        specs: Sequence[PhoneSpec],
        site: Site | None,
        limits: RunLimits | None = None,
        port_offset: int | None = None,
        disk_for: Callable[[str], PhoneDisk] | None = None,
    ) -> Observer:
        self.observer.awaited = len(specs)
        await run_loopback(
            specs,
            site,
            self.authority,
            disk_for or self.disk(specs[0].profile),
            self.observer,
            limits or RunLimits(timeout=20),
            port_offset,
            KeyPool(len(specs), given=[self.key] * SHARED_KEYS),
            self.stop,
        )
        return self.observer

    def log(self, spec: PhoneSpec) -> str:
        return (self.folder.path / spec.phone_id / "DSK1/logs/cpsw3g.log").read_text()


@pytest.fixture
async def run(tmp_path: Path, site_authority: SiteAuthority, phone_key: PhoneKey) -> Run:
    return Run(tmp_path, site_authority, phone_key)


async def test_a_few_phones_boot_sign_in_and_shut_down(run: Run) -> None:
    specs = run.specs(3)
    observer = await run.boot(specs, run.site())
    phones = [spec.phone_id for spec in specs]
    assert sorted(observer.of(SignedIn)) == phones
    assert sorted(observer.of(PoweredOff)) == phones
    assert observer.crashes == []
    stages = [
        each.stage
        for phone_id, each in observer.observations
        if isinstance(each, StageEnded) and phone_id == phones[0]
    ]
    assert stages[-6:] == [
        Stage.DISCOVERY,
        Stage.CHAIN,
        Stage.TICKET,
        Stage.CERTIFICATE,
        Stage.REGISTER,
        Stage.COMMIT,
    ]
    for spec in specs:
        log = run.log(spec)
        assert log.count("Signed in as") == 1
        assert "DHCP RELEASE" in log
        assert spec.pin not in log
    files = run.folder.path / phones[0] / "DSK1"
    assert sorted(path.name for path in files.iterdir()) == ["cache.json", "logs", "phone.key"]


async def test_a_second_boot_finds_what_the_first_left_on_the_disk(run: Run) -> None:
    (spec,) = run.specs(1)
    observer = await run.boot([spec], run.site(), RunLimits(timeout=20, boots=2))
    assert observer.boots == [(spec.phone_id, 1), (spec.phone_id, 2)]
    assert observer.of(SignedIn) == [spec.phone_id] * 2
    first, second = run.log(spec).split("Power applied")[1:]
    assert "DHCP INFORM" in first
    assert "DHCP INFORM" not in second
    assert "DHCP RELEASE" not in first  # it lost power


@pytest.mark.parametrize(
    ("fault", "stage", "reason"),
    [
        ("web-refused", Stage.CHAIN, FailureReason.WEB_SERVICES_REFUSED),
        ("web-404", Stage.CHAIN, FailureReason.WEB_SERVICES_NOT_FOUND),
        ("web-certificate-wildcard", Stage.TICKET, FailureReason.CERTIFICATE_WILDCARD),
        ("web-certificate-expired", Stage.TICKET, FailureReason.CERTIFICATE_EXPIRED),
        ("pin-locked", Stage.TICKET, FailureReason.PIN_LOCKED),
        ("registrars-down", Stage.REGISTER, FailureReason.REGISTRAR_REFUSED),
    ],
)
async def test_faults_reach_the_phones_over_real_sockets(
    run: Run, fault: str, stage: Stage, reason: FailureReason
) -> None:
    observer = await run.boot(run.specs(1, sign_in__retry_delay=0), run.site(fault))
    assert observer.failures()[0] == (stage, reason)


async def test_an_address_that_another_host_has_is_declined(run: Run) -> None:
    (spec,) = run.specs(1, dhcp__decline_wait=0)
    observer = await run.boot([spec], run.site("address-conflict"))
    assert observer.of(SignedIn) == [spec.phone_id]
    assert "DHCP DECLINE" in run.log(spec)


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


async def serve_elsewhere(run: Run, site: Site, port_offset: int | None = None) -> SiteHost:
    """A site, served by someone else."""
    began = time.time() - site.epoch
    zero = time.monotonic() - began
    host = SiteHost(site, run.authority, run.observer, lambda: time.monotonic() - zero)
    await host.start(port_offset)
    return host


async def test_phones_notice_that_their_servers_are_gone_and_come_back(run: Run) -> None:
    specs = run.specs(2, registration__reconnect_delays=(0.2,))
    site = run.site()
    host = await serve_elsewhere(run, site)
    offset = host.port_offset
    running = asyncio.ensure_future(
        run.boot(specs, None, RunLimits(duration=60), port_offset=offset)
    )
    await run.observer.all_signed_in.wait()
    await host.stop()
    await asyncio.sleep(0.5)
    host = await serve_elsewhere(run, site, offset)
    await asyncio.sleep(1)
    run.stop.set()
    await running
    await host.stop()
    for spec in specs:
        after_loss = run.log(spec).partition("closed by the other side")[2]
        assert "connection refused" in after_loss
        assert "Registered at" in after_loss


async def test_two_fleets_share_one_site(
    run: Run, tmp_path: Path, site_authority: SiteAuthority, phone_key: PhoneKey
) -> None:
    other = Run(tmp_path, site_authority, phone_key)
    specs = run.specs(4)
    host = await serve_elsewhere(run, run.site())
    offset = host.port_offset
    first, second = await asyncio.gather(
        run.boot(specs[:2], None, port_offset=offset),
        other.boot(specs[2:], None, port_offset=offset),
    )
    await host.stop()
    assert len(first.of(SignedIn)) == 2
    assert len(second.of(SignedIn)) == 2


async def test_without_a_site_the_offset_must_be_known(run: Run) -> None:
    with pytest.raises(UsageError, match="--port-offset"):
        await run.boot(run.specs(1), None)


async def test_a_defect_of_a_server_ends_the_run(run: Run) -> None:
    site = run.site()

    class Broken:
        def handle(self, event: object, now: float) -> list[object]:
            raise RuntimeError("a defect")

        def next_deadline(self) -> None:
            return None

    dhcp = site.listeners[0]
    broken = type(dhcp)(
        name=dhcp.name,
        protocol=dhcp.protocol,
        address=dhcp.address,
        port=dhcp.port,
        server=Broken(),  # type: ignore[arg-type]
    )
    listeners = (broken, *site.listeners[1:])
    site = Site(
        name=site.name,
        listeners=listeners,
        squatters=site.squatters,
        epoch=site.epoch,
        users=site.users,
    )
    with pytest.raises(RuntimeError, match="a defect"):
        await run.boot(run.specs(1), site)


def test_no_privilege_is_needed(tmp_path: Path) -> None:
    script = textwrap.dedent(
        """
        import asyncio, ctypes, pathlib, sys

        # Not one capability is left, which is what tells root from anybody else here.
        header = (ctypes.c_uint32 * 2)(0x20080522, 0)
        assert ctypes.CDLL(None).capset(header, (ctypes.c_uint32 * 6)()) == 0

        from phonesim.drivers.authority import SiteAuthority
        from phonesim.drivers.key_pool import PhoneKey
        from test_loopback import Run, SignedIn

        async def main():
            key = PhoneKey(pathlib.Path("key.der").read_bytes())
            run = Run(pathlib.Path("."), SiteAuthority(), key)
            observer = await run.boot(run.specs(2), run.site())
            print(len(observer.of(SignedIn)), "signed in")

        asyncio.run(main())
        """
    )
    (tmp_path / "script.py").write_text(script)
    from cryptography.hazmat.primitives.asymmetric import rsa
    from cryptography.hazmat.primitives.serialization import (
        Encoding,
        NoEncryption,
        PrivateFormat,
    )

    key = rsa.generate_private_key(65537, 2048)
    (tmp_path / "key.der").write_bytes(
        key.private_bytes(Encoding.DER, PrivateFormat.TraditionalOpenSSL, NoEncryption())
    )
    here = Path(__file__).parent
    ended = subprocess.run(
        [sys.executable, "script.py"],
        cwd=tmp_path,
        env={"PYTHONPATH": f"{here}:{here.parents[1]}"},
        capture_output=True,
        text=True,
        timeout=50,
        check=False,
    )
    assert (ended.returncode, ended.stdout) == (0, "2 signed in\n"), ended.stderr
