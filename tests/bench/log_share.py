"""What the device logs cost: the same virtual boots with and without them, in one process.

"written" formats every record and writes every phone's log; "formatted" only formats; "none"
throws the records away. Rounds alternate, so that whatever else the machine does falls on all.
"""

from __future__ import annotations

import random
import tempfile
import time
from collections.abc import Callable, Mapping
from pathlib import Path

from phonesim.device.actions import WriteLog
from phonesim.device.device_log import Dialect
from phonesim.drivers.run_folder import RunFolder
from phonesim.fleet.plan import Plan, read_plan
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

    def flush(self) -> None:
        pass


class FormattingDisk(NoDisk):
    def __init__(self, dialect: Dialect) -> None:
        self._format = dialect.format

    def append_log(self, line: WriteLog) -> None:
        self._format(line.records, line.clock, line.tick)


def cpu_seconds(plan: Plan, disk_for: Callable[[str], PhoneDisk]) -> float:
    assert plan.site is not None
    site = build_site(
        plan.site, (), VirtualAuthority(), random.Random(1), plan.site.epoch.timestamp()
    )
    recorder = Recorder(plan.specs, lambda *_: None)
    began = time.process_time()
    simulate(plan.specs, site, disk_for, recorder, plan.limits, plan.fleet.links, 1)
    used = time.process_time() - began
    assert all(phone.is_signed_in for phone in recorder.phones.values())
    return used


def main() -> None:
    plan = read_plan("power-cut", [option_override("--phones", "fleet", "phones", PHONES)])
    dialects = {spec.phone_id: Dialect(spec.profile.log.records) for spec in plan.specs[:1]}
    [dialect] = dialects.values()
    logs = {spec.phone_id: spec.profile.log for spec in plan.specs}
    best = dict.fromkeys(("none", "formatted", "written"), float("inf"))
    for number in range(ROUNDS):
        with tempfile.TemporaryDirectory() as base:
            folder = RunFolder.create(Path(base), f"run{number}")
            kinds: dict[str, Callable[[str], PhoneDisk]] = {
                "none": lambda _: NoDisk(),
                "formatted": lambda _: FormattingDisk(dialect),
                "written": lambda phone_id, f=folder: f.disk(phone_id, logs[phone_id]),
            }
            for kind, disk_for in kinds.items():
                best[kind] = min(best[kind], cpu_seconds(plan, disk_for))
    print(f"device logs: {PHONES} virtual boots, best of {ROUNDS}")
    for kind, seconds in best.items():
        print(f"  logs {kind:9}  {seconds / PHONES * 1e6:6.0f} us CPU a boot")
    share = 1 - best["none"] / best["written"]
    print(f"  device logs take {share:.0%} of a boot's CPU")


if __name__ == "__main__":
    main()
