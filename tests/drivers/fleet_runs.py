"""A few phones at the contoso site, in a run folder of their own."""

import asyncio
import random
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import msgspec

from phonesim.config.device_profile import DeviceProfile
from phonesim.device.events import (
    BootFailed,
    Observation,
    SignedIn,
)
from phonesim.device.outcome import FailureReason, Stage
from phonesim.drivers.authority import SiteAuthority
from phonesim.drivers.key_pool import SHARED_KEYS, KeyPool, PhoneKey
from phonesim.drivers.live_world import LiveFleet, boot_fleet
from phonesim.drivers.loopback import open_loopback
from phonesim.drivers.packet_pace import PacketPace
from phonesim.drivers.run_folder import RunFolder
from phonesim.mocksite.site import Site, build_site
from phonesim.profiles import DEVICE, FAULT, SITE, load
from phonesim.wire.dhcp import format_mac
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
        self.notes: list[str] = []

    def site(self, *faults: str, profile: str = "contoso") -> Site:
        return build_site(
            load(SITE, profile),
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
        macs = [bytes.fromhex("0004f2") + n.to_bytes(3, "big") for n in range(1, count + 1)]
        return [
            PhoneSpec(
                phone_id=format_mac(mac),
                mac=mac,
                profile=profile,
                number=f"+1425555{number:05d}",
                pin=f"8{number:05d}4",
                starts_at=number / 100,
                seed=str(number),
            )
            for number, mac in enumerate(macs, 1)
        ]

    def disk(self, profile: DeviceProfile) -> Callable[[str], PhoneDisk]:
        return lambda phone_id: self.folder.disk(phone_id, profile.log)

    def fleet(self, specs: Sequence[PhoneSpec], **changes: Any) -> LiveFleet:
        """These phones without a site, of which something may be otherwise."""
        fleet = LiveFleet(
            specs=specs,
            site=None,
            authority=self.authority,
            disk_for=self.disk(specs[0].profile),
            observer=self.observer,
            limits=RunLimits(timeout=20),
            keys=KeyPool(len(specs), given=[self.key] * SHARED_KEYS),
            note=self.notes.append,
        )
        return msgspec.structs.replace(fleet, **changes)

    async def boot(
        self,
        specs: Sequence[PhoneSpec],
        site: Site | None,
        limits: RunLimits | None = None,
        port_offset: int | None = None,
        disk_for: Callable[[str], PhoneDisk] | None = None,
        pace: PacketPace | None = None,
    ) -> Observer:
        self.observer.awaited = len(specs)
        fleet = self.fleet(
            specs,
            site=site,
            disk_for=disk_for or self.disk(specs[0].profile),
            limits=limits or RunLimits(timeout=20),
            pace=pace,
        )
        await boot_fleet(fleet, partial(open_loopback, port_offset=port_offset), self.stop)
        return self.observer

    def log(self, spec: PhoneSpec) -> str:
        path = self.folder.path / spec.phone_id / "DSK1/logs/cpsw3g.log"
        return path.read_text() if path.exists() else ""

    async def until(self, holds: Callable[[], bool]) -> None:
        """Wait until something holds; what is in a log holds a second late."""
        for _ in range(1000):
            if holds():
                return
            await asyncio.sleep(0.03)
        raise AssertionError("it never held")
