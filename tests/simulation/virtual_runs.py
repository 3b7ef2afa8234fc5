"""Fleets in virtual time with disks in memory, and what came of them."""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping, Sequence

import pytest

from phonesim.config.device_profile import DeviceProfile
from phonesim.config.fleet_profile import Links
from phonesim.device.actions import WriteLog
from phonesim.device.device_log import Dialect
from phonesim.device.events import BootFailed, Observation, PoweredOff, SignedIn
from phonesim.device.outcome import Stage
from phonesim.mocksite.site import Site, build_site
from phonesim.profiles import DEVICE, FAULT, SITE, load
from phonesim.simulation import simulate
from phonesim.virtual_authority import VirtualAuthority
from phonesim.world import PhoneSpec, RunLimits

DEVICE_PROFILE = load(DEVICE, "polycom-cx600")
SITE_PROFILE = load(SITE, "contoso")
DIALECT = Dialect(DEVICE_PROFILE.log.records)


class MemoryDisk:
    """A virtual disk without a disk."""

    def __init__(self) -> None:
        self.log = ""
        self.content: dict[str, bytes] = {}

    def files(self) -> Mapping[str, bytes]:
        return dict(self.content)

    def write_file(self, name: str, data: bytes) -> None:
        self.content[name] = data

    def delete_file(self, name: str) -> None:
        self.content.pop(name, None)

    def append_log(self, line: WriteLog) -> None:
        self.log += DIALECT.format(line.records, line.clock, line.tick)

    def settled(self, *, is_well: bool) -> None:
        pass

    def flush(self) -> None:
        pass


class VirtualRun:
    """One run, and what came of it. Also its observer."""

    def __init__(self) -> None:
        self.disks: dict[str, MemoryDisk] = {}
        self.observed: list[tuple[float, str, Observation]] = []
        self.boots: dict[str, int] = {}
        self.started: list[tuple[float, str]] = []
        self.crashes: dict[str, BaseException] = {}
        self.reports: list[tuple[str, str]] = []
        self.seconds = 0.0
        self.site: Site | None = None

    def disk(self, phone_id: str) -> MemoryDisk:
        return self.disks.setdefault(phone_id, MemoryDisk())

    def boot_started(self, phone_id: str, boot: int, now: float) -> None:
        self.boots[phone_id] = boot
        self.started.append((now, phone_id))

    def observe(self, phone_id: str, observation: Observation, now: float) -> None:
        self.observed.append((now, phone_id, observation))

    def crashed(self, phone_id: str, error: BaseException, now: float) -> None:
        self.crashes[phone_id] = error

    def report(
        self,
        server: str,
        text: str,
        fields: tuple[tuple[str, str], ...],
        is_warning: bool,
        now: float,
    ) -> None:
        self.reports.append((server, text))

    @property
    def signed_in(self) -> set[str]:
        return {phone for _, phone, seen in self.observed if isinstance(seen, SignedIn)}

    @property
    def powered_off(self) -> set[str]:
        return {phone for _, phone, seen in self.observed if isinstance(seen, PoweredOff)}

    @property
    def failures(self) -> dict[str, str]:
        """The first failure of each phone, by phone."""
        found: dict[str, str] = {}
        for _, phone, seen in self.observed:
            if isinstance(seen, BootFailed):
                found.setdefault(phone, f"{seen.stage}:{seen.reason}")
        return found


RunFleet = Callable[..., VirtualRun]


def make_specs(
    phones: int,
    profile: DeviceProfile = DEVICE_PROFILE,
    rate: float = 20,
    seed: int = 7,
    last_stage: Stage = Stage.COMMIT,
) -> Sequence[PhoneSpec]:
    users = SITE_PROFILE.users[0]
    specs = []
    for n in range(1, phones + 1):
        mac = bytes.fromhex("0004F2") + n.to_bytes(3, "big")
        specs.append(
            PhoneSpec(
                phone_id=mac.hex("-").upper(),
                mac=mac,
                profile=profile,
                number=users.number.format(n=n),
                pin=users.pin.format(n=n),
                starts_at=(n - 1) / rate,
                seed=f"{seed}/{n}",
                last_stage=last_stage,
            )
        )
    return specs


@pytest.fixture
def run_fleet() -> RunFleet:
    """Run phones of one model in virtual time, against contoso with faults."""

    def run(
        phones: int = 5,
        *faults: str,
        profile: DeviceProfile = DEVICE_PROFILE,
        links: Links | None = None,
        rate: float = 20,
        seed: int = 7,
        last_stage: Stage = Stage.COMMIT,
        **limits: object,
    ) -> VirtualRun:
        result = VirtualRun()
        site = build_site(
            SITE_PROFILE,
            [load(FAULT, fault) for fault in faults],
            VirtualAuthority(),
            random.Random(seed),
            SITE_PROFILE.epoch.timestamp(),
        )
        result.site = site
        result.seconds = simulate(
            make_specs(phones, profile, rate, seed, last_stage),
            site,
            result.disk,
            result,
            RunLimits(**limits),  # type: ignore[arg-type]
            links or Links(),
            seed,
        )
        return result

    return run
