"""Whole device logs in virtual time, as they were when somebody last read and approved them.

`pytest tests/golden --update-golden` writes them anew; the difference is for review.
"""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from phonesim.config.fleet_profile import Links
from phonesim.drivers.run_folder import RunFolder
from phonesim.fleet.plan import read_plan
from phonesim.mocksite.site import build_site
from phonesim.profiles import parse_override
from phonesim.results import Recorder
from phonesim.simulation import simulate
from phonesim.virtual_authority import VirtualAuthority

FOLDER = Path(__file__).with_name("logs")
STORIES: dict[str, tuple[str, ...]] = {
    "cold-boot": (),
    "second-boot": ("boots=2",),
    "four-boots": ("boots=[cold, warm, sign-out, factory-reset]",),
    "registrar-certificate-untrusted": ("faults=[registrar-certificate-untrusted]",),
    "web-certificate-no-intermediate": ("faults=[web-certificate-no-intermediate]",),
    "no-option-43": ("faults=[no-option-43]",),
    "no-option-43-no-dns": ("faults=[no-option-43, no-registrar-records]",),
    "no-option-120": ("faults=[no-option-120]",),
    "no-option-120-no-dns": ("faults=[no-option-120, no-registrar-records]",),
    "rogue-dhcp-server": ("faults=[rogue-dhcp-server]",),
    "first-registrar-down": ("faults=[first-registrar-down]",),
    "pin-wrong": ("faults=[pin-wrong]",),
    "sign-in-by-password": ("sign_in=credentials", "devices=[{device: polycom-cx600}]"),
    "address-conflict": ("faults=[address-conflict]",),
    "dhcp-silent": ("faults=[dhcp-silent]",),
    "voice-vlan": ("site=contoso-voice",),
    "voice-vlan-by-dhcp": ("site=contoso-voice", "faults=[lldp-silent]"),
    "lldp-wrong-vlan": ("faults=[lldp-wrong-vlan]",),
    "vlan-option-malformed": ("faults=[vlan-option-malformed]",),
    "an-hour": ("until=1h",),
}


@pytest.mark.parametrize("story", STORIES)
def test_the_log_is_the_approved_one(
    story: str, tmp_path: Path, pytestconfig: pytest.Config
) -> None:
    settings = [*STORIES[story], "phones=1", "attach=virtual"]
    plan = read_plan("demo", [parse_override(f"fleet.{setting}") for setting in settings])
    assert plan.site is not None
    site = build_site(
        plan.site, plan.faults, VirtualAuthority(), random.Random(1), plan.site.epoch.timestamp()
    )
    folder = RunFolder.create(tmp_path, "run")
    (spec,) = plan.specs

    simulate(
        plan.specs,
        site,
        lambda phone_id: folder.disk(phone_id, spec.profile.log),
        Recorder(plan.specs, lambda *_: None),
        plan.limits,
        Links(),
        plan.fleet.seed,
    )

    log = (folder.path / spec.phone_id / spec.profile.log.path).read_bytes()
    golden = FOLDER / f"{story}.log"
    if pytestconfig.getoption("--update-golden"):
        golden.parent.mkdir(exist_ok=True)
        golden.write_bytes(log)
    assert log.decode().splitlines() == golden.read_bytes().decode().splitlines()
    assert log.endswith(b"\r\n")
    assert log == golden.read_bytes()
