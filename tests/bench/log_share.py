"""What the device logs cost: the same virtual boots with and without them, in one process.

"written" formats every record and writes every phone's log; "formatted" only formats; "none"
throws the records away. Rounds alternate, so that whatever else the machine does falls on all.
System time is that of the file system, which three folders and two files a phone keep busy.
"""

from __future__ import annotations

import os
import random
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import NamedTuple

from phonesim.device.actions import WriteLog
from phonesim.device.device_log import Dialect
from phonesim.drivers.run_folder import RunFolder
from phonesim.fleet.plan import Plan, read_plan
from phonesim.fleet.tester_health import collecting_rarely
from phonesim.mocksite.site import build_site
from phonesim.profiles import option_override
from phonesim.results import Recorder
from phonesim.simulation import simulate
from phonesim.virtual_authority import VirtualAuthority
from phonesim.world import PhoneDisk

PHONES = 1000
ROUNDS = 5


class NoDisk:
    def files(self) -> Mapping[str, bytes]:
        return {}

    def write_file(self, name: str, data: bytes) -> None:
        pass

    def delete_file(self, name: str) -> None:
        pass

    def append_log(self, line: WriteLog) -> None:
        pass

    def settled(self, *, is_well: bool) -> None:
        pass

    def flush(self) -> None:
        pass


class FormattingDisk(NoDisk):
    def __init__(self, dialect: Dialect) -> None:
        self._format = dialect.format

    def append_log(self, line: WriteLog) -> None:
        self._format(line.records, line.clock, line.tick)


class Cost(NamedTuple):
    user: float
    system: float

    @property
    def total(self) -> float:
        return self.user + self.system


def cost(plan: Plan, disk_for: Callable[[str], PhoneDisk]) -> Cost:
    assert plan.site is not None
    site = build_site(
        plan.site, (), VirtualAuthority(), random.Random(1), plan.site.epoch.timestamp()
    )
    recorder = Recorder(plan.specs, lambda *_: None)
    began = os.times()
    with collecting_rarely():
        simulate(plan.specs, site, disk_for, recorder, plan.limits, plan.fleet.links, 1)
    ended = os.times()
    assert all(phone.is_signed_in for phone in recorder.phones.values())
    return Cost(ended.user - began.user, ended.system - began.system)


def main() -> None:
    plan = read_plan("power-cut", [option_override("--phones", "fleet", "phones", PHONES)])
    logs = {spec.phone_id: spec.profile.log for spec in plan.specs}
    dialect = Dialect(plan.specs[0].profile.log.records)
    costs: dict[str, list[Cost]] = {"none": [], "formatted": [], "written": []}
    for _ in range(ROUNDS):
        with tempfile.TemporaryDirectory(dir="logs") as base:
            folder = RunFolder.create(Path(base), "run")
            kinds: dict[str, Callable[[str], PhoneDisk]] = {
                "none": lambda _: NoDisk(),
                "formatted": lambda _: FormattingDisk(dialect),
                "written": lambda phone_id, f=folder: f.disk(phone_id, logs[phone_id]),
            }
            for kind, disk_for in kinds.items():
                costs[kind].append(cost(plan, disk_for))
    best = {kind: min(found, key=lambda each: each.total) for kind, found in costs.items()}
    print(f"device logs: {PHONES} virtual boots, best of {ROUNDS}")
    for kind, least in best.items():
        user, system = least.user / PHONES * 1e6, least.system / PHONES * 1e6
        print(f"  logs {kind:9}  {user:6.0f} us user, {system:6.0f} us system a boot")
    for what, part in (("user CPU", "user"), ("CPU", "total")):
        share = 1 - getattr(best["none"], part) / getattr(best["written"], part)
        print(f"  device logs take {share:.0%} of a boot's {what}")


if __name__ == "__main__":
    main()
