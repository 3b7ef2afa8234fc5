"""Random fleets at healthy sites in virtual time, with all that networks do to them every day."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

from phonesim.config.fault import FaultProfile, SetDhcpOption
from phonesim.config.fleet_profile import DeviceShare, FleetProfile, Links
from phonesim.fleet.plan import plan_fleet
from phonesim.fleet.runner import run_fleet
from phonesim.fleet.worlds import world_for
from phonesim.profiles import DEVICE, Override, names

CAPTURE = "capture.pcapng"

OPTION_43 = (
    "010C4D532D55432D436C69656E74020568747470730313776562706F6F6C2E636F6E746F736F2E636F6D"
    "040334343305252F4365727450726F762F4365727450726F766973696F6E696E67536572766963652E737663"
)
_HARMLESS = (
    "lldp-silent",
    "no-sign-in-options",  # they come from DNS then
    "inform-silent",
    "no-option-120",
    "no-option-43",
    "dhcp-every-other",
    "dhcp-slow",
    "no-srv-records",
    "provisioning-silent",
    "provisioning-refused",
    "refresh-added",
    "registrar-redirects",
    "registrar-outage",
    "registrar-outage-prefers-home",
    "users-moved",
    "web-connections-not-kept",
)
"""Faults of which a phone that signs in with a PIN hardly takes notice."""


def describe_run(seed: int) -> dict[str, Any]:
    """What is varied in the run of that seed."""
    rng = random.Random(seed)
    latency = rng.choice([0.0002, 0.002, 0.02, 0.08])
    return {
        "site": rng.choice(["contoso", "contoso", "contoso", "contoso-voice"]),
        "phones": rng.randint(1, 4),
        "devices": (DeviceShare(device=rng.choice(names(DEVICE))),),
        "links": Links(
            latency=latency,
            jitter=rng.choice([0, latency, 5 * latency]),
            loss=rng.choice([0, 0, 0.02, 0.05]),
        ),
        "boots": rng.choice(
            [1, 1, 2, ("cold", "warm", "factory-reset"), ("cold", "sign-out", "warm")]
        ),
        "until": rng.choice(["signed-in", "signed-in", "20m", "1h"]),
        "seed": rng.randrange(1 << 32),
        "rate": rng.choice([1.0, 20.0]),
        "faults": tuple(rng.sample(_HARMLESS, rng.choice([0, 0, 1]))),
    }


def _site_changes(seed: int, site: str) -> tuple[list[Override], tuple[FaultProfile, ...]]:
    """What is otherwise at the site of that seed."""
    kind = random.Random(f"site {seed}").choice(
        ["as it is", "as it is", "one registrar", "no ntp", "an FF behind", "a NUL behind"]
    )
    if site != "contoso":
        return [], ()
    if kind == "one registrar":
        return [_change(["sign_in", "registrars"], ["fe01.contoso.com"])], ()
    if kind == "no ntp":
        return [_change(["scope", "ntp_servers"], [])], ()
    if kind.endswith("behind"):
        value = OPTION_43 + ("FF" if "FF" in kind else "00")
        rule = SetDhcpOption(kind="set-dhcp-option", option=43, value=value)
        return [], (FaultProfile(name=kind.replace(" ", "-"), description=kind, rules=(rule,)),)
    return [], ()


def _change(key: list[str], value: Any) -> Override:
    path = ("dhcp_servers", "0", *key)
    return Override("site", path, value, str(value), f"--set site.{'.'.join(path)}")


def healthy_run(seed: int, base: Path) -> Path | None:
    """Run it under `base`; return its folder, with a capture in it.

    None if packets were lost until a phone failed for the want of them.
    """
    values = describe_run(seed)
    fleet = FleetProfile(name="healthy", attach="virtual", **values)
    plan = plan_fleet(fleet, *_site_changes(seed, values["site"]))
    made: list[Path] = []

    def world(plan: Any, folder: Any, *rest: Any) -> Any:
        made.append(folder.path)
        return world_for("virtual", folder.path / CAPTURE)(plan, folder, *rest)

    finished = run_fleet(plan, world, base, lambda progress: None)
    return made[0] if finished.summary["failed"] == 0 else None
