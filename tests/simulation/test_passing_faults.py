"""What phones meet when servers of any kind stop for a while, and certificates change."""

from __future__ import annotations

import random

import pytest
from virtual_runs import SITE_PROFILE, VirtualRun, make_specs

from phonesim.config.fault import FaultProfile
from phonesim.config.fleet_profile import Links
from phonesim.device.events import BootFailed, SignedIn
from phonesim.mocksite.site import build_site
from phonesim.simulation import simulate
from phonesim.virtual_authority import VirtualAuthority
from phonesim.world import RunLimits


def run(*rules: dict[str, object]) -> VirtualRun:
    fault = FaultProfile.model_validate({"name": "f", "description": "f", "rules": list(rules)})
    came = VirtualRun()
    site = build_site(SITE_PROFILE, [fault], VirtualAuthority(), random.Random(1), 1_767_596_400)
    specs = make_specs(1)
    simulate(specs, site, came.disk, came, RunLimits(duration=1000), Links(), 1)
    return came


def ends(came: VirtualRun) -> list[tuple[str, float]]:
    return [
        (str(seen.reason) if isinstance(seen, BootFailed) else "signed-in", now)
        for now, _, seen in came.observed
        if isinstance(seen, BootFailed | SignedIn)
    ]


@pytest.mark.parametrize(
    ("protocol", "target", "reason"),
    [
        ("https", "pool01", "web-services-refused"),
        ("dhcp", "dhcp01", "no-lease"),
        ("dns", "dns01", "web-server-name-unresolved"),
    ],
)
def test_a_phone_signs_in_when_the_server_is_back(protocol: str, target: str, reason: str) -> None:
    outage = {"kind": "outage", "protocol": protocol, "target": target, "lasts": 100}
    [*failed, (last, at)] = ends(run(outage))
    assert {each for each, _ in failed} == {reason}
    assert last == "signed-in"
    assert at > 100


def test_without_its_time_server_a_phone_goes_on() -> None:
    outage = {"kind": "outage", "protocol": "ntp", "lasts": 100}
    assert ends(run(outage))[-1][0] == "signed-in"


@pytest.mark.parametrize("protocol", ["https", "sip"])
def test_a_certificate_that_is_wrong_for_a_while_is_refused_for_a_while(protocol: str) -> None:
    shown = {"kind": "show-certificate", "certificate": "expired", "protocol": protocol}
    came = run({**shown, "lasts": 100})
    [*failed, (last, at)] = ends(came)
    assert {each for each, _ in failed} == {"certificate-expired"}
    assert last == "signed-in"
    assert at > 100


def test_an_exchange_is_cut_off_when_its_server_stops() -> None:
    slow = {"kind": "delay", "protocol": "http", "target": "pool01", "seconds": 5, "lasts": 2}
    outage = {"kind": "outage", "protocol": "https", "target": "pool01", "begins_at": 3}
    came = run(slow, {**outage, "lasts": 10})
    [log] = [disk.log for disk in came.disks.values()]
    assert 'HTTP GetRootCertChains failed, closed: "the server closed the connection"' in log
    assert ends(came)[-1][0] == "signed-in"
