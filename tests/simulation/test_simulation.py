"""Fleets in virtual time: the worlds' contract, the faults, and that a seed repeats a run."""

from __future__ import annotations

import random

import pytest
import virtual_runs
from virtual_runs import DEVICE_PROFILE, SITE_PROFILE, RunFleet, VirtualRun, make_specs

from phonesim.config.fleet_profile import Links
from phonesim.device.boot import Boot
from phonesim.mocksite.site import build_site
from phonesim.profiles import FAULT, names
from phonesim.simulation import simulate
from phonesim.virtual_authority import VirtualAuthority
from phonesim.world import RunLimits

# What each shipped fault leads to: None is signed in, else stage and reason of the failure.
OUTCOMES: dict[tuple[str, ...], str | None] = {
    (): None,
    ("no-option-43",): None,
    ("no-option-120",): None,
    ("no-sign-in-options",): None,
    ("no-srv-records",): None,
    ("no-registrar-records",): None,
    ("wrong-class-answered",): None,
    ("option-43-malformed",): None,
    ("option-43-cut",): None,
    ("option-43-numeric-port",): None,
    ("option-120-malformed",): None,
    ("option-120-raw-text",): None,
    ("dhcp-slow",): None,
    ("dhcp-every-other",): None,
    ("inform-silent",): None,
    ("inform-refused",): None,
    ("inform-wrong-address",): None,
    ("inform-wrong-port",): None,
    ("inform-refused", "no-registrar-records"): "discovery:web-services-not-located",
    ("inform-wrong-address", "no-registrar-records"): "discovery:web-services-not-located",
    ("inform-wrong-port", "no-registrar-records"): "discovery:web-services-not-located",
    ("request-refused",): "ip:no-lease",
    ("option-43-as-text",): None,
    ("option-43-ff",): None,
    ("option-43-identifier",): None,
    ("option-43-other-class",): None,
    ("option-120-address",): None,
    ("option-120-stale-first",): None,
    ("first-registrar-down",): None,
    ("address-conflict",): None,
    ("lldp-silent",): None,
    ("lldp-wrong-vlan",): "ip:no-lease",
    ("vlan-option-malformed",): None,
    ("dhcp-silent",): "ip:no-lease",
    ("rogue-dhcp-server",): "chain:web-server-name-unresolved",
    ("dns-silent",): "chain:web-server-name-unresolved",
    ("dns-nxdomain",): "chain:web-server-name-unresolved",
    ("dns-servfail",): "chain:web-server-name-unresolved",
    ("no-option-43", "no-registrar-records"): "discovery:web-services-not-located",
    ("no-option-43", "dns-wrong-target"): "chain:web-server-name-unresolved",
    ("no-option-120", "no-registrar-records"): "register:registrar-not-located",
    ("web-404",): "chain:web-services-not-found",
    ("web-503",): "chain:web-services-unavailable",
    ("web-refused",): "chain:web-services-refused",
    ("web-certificate-expired",): "ticket:certificate-expired",
    ("web-certificate-not-yet-valid",): "ticket:certificate-not-yet-valid",
    ("web-certificate-wildcard",): "ticket:certificate-wildcard",
    ("web-certificate-wrong-name",): "ticket:certificate-name-mismatch",
    ("web-certificate-untrusted",): "ticket:certificate-untrusted",
    ("web-certificate-no-intermediate",): "ticket:certificate-issuer-missing",
    ("registrar-certificate-expired",): "register:certificate-expired",
    ("registrar-certificate-not-yet-valid",): "register:certificate-not-yet-valid",
    ("registrar-certificate-wildcard",): "register:certificate-wildcard",
    ("registrar-certificate-wrong-name",): "register:certificate-name-mismatch",
    ("registrar-certificate-untrusted",): "register:certificate-untrusted",
    ("registrar-certificate-no-intermediate",): "register:certificate-issuer-missing",
    ("web-tls-1.2-only",): None,
    ("registrar-tls-1.2-only",): None,
    ("chain-not-downloadable",): "chain:web-services-refused",
    ("chain-empty",): "chain:chain-unusable",
    ("chain-unreadable",): "ticket:chain-unusable",
    ("foreign-certificate",): "certificate:certificate-unusable",
    ("ntp-silent",): "ticket:certificate-not-yet-valid",
    ("clock-a-year-slow",): "ticket:certificate-not-yet-valid",
    ("data-store-unavailable",): "certificate:certificate-not-issued",
    ("pin-wrong",): "ticket:pin-incorrect",
    ("pin-locked",): "ticket:pin-locked",
    ("pin-expired",): "ticket:pin-expired",
    ("pin-not-set",): "ticket:pin-not-set",
    ("pin-not-enabled",): "ticket:pin-not-enabled",
    ("registrars-down",): "register:registrar-refused",
    ("registrar-forbids",): "register:registration-forbidden",
    ("user-disabled",): "ticket:user-disabled",
    ("registrar-404",): "register:registration-not-found",
    ("registrar-480",): "register:registrar-unavailable",
    ("registrar-503",): "register:registrar-unavailable",
    ("registrar-504",): "register:registrar-unavailable",
    ("registrar-redirect-loop",): "register:registrar-redirects",
    ("registrar-redirects",): None,
    ("provisioning-malformed",): None,
    ("provisioning-refused",): None,
    ("provisioning-silent",): None,
    ("user-services-lost",): None,
    # What these do comes after the sign-in: test_registration_life tells it.
    ("endpoint-displaced",): None,
    ("refresh-added",): None,
    ("registrar-outage",): None,
    ("registrar-outage-prefers-home",): None,
    ("user-disabled-later",): None,
    ("users-moved",): None,
    ("user-unauthorized",): "ticket:user-unauthorized",
    ("web-slow",): None,
    ("web-connections-not-kept",): None,
}


@pytest.mark.parametrize("faults", OUTCOMES, ids="+".join)
def test_a_fault_leads_to_its_outcome(run_fleet: RunFleet, faults: tuple[str, ...]) -> None:
    run = run_fleet(3, *faults)

    expected = OUTCOMES[faults]
    if expected is None:
        assert (run.failures, len(run.signed_in)) == ({}, 3)
    else:
        assert set(run.failures.values()) == {expected}
        assert len(run.failures) == 3
    # Each log tells the end of its own story.
    told = "Signed in as" if expected is None else f"{expected.split(':')[1]}: "
    assert all(told in disk.log for disk in run.disks.values())


@pytest.mark.parametrize(
    ("faults", "failure"),
    [
        (("web-tls-1.2-only",), "ticket:tls-version-refused"),
        (("registrar-tls-1.2-only",), "register:tls-version-refused"),
        ((), None),
    ],
)
def test_old_firmware_speaks_tls_1_0_alone(
    run_fleet: RunFleet, faults: tuple[str, ...], failure: str | None
) -> None:
    tls = DEVICE_PROFILE.tls.model_copy(update={"maximum_version": "1.0"})
    run = run_fleet(1, *faults, profile=DEVICE_PROFILE.model_copy(update={"tls": tls}))

    assert list(run.failures.values()) == ([] if failure is None else [failure])


def test_every_shipped_fault_has_its_outcome() -> None:
    told = {fault for faults in OUTCOMES for fault in faults}
    # This one leaves one address: some phones sign in (test_held_leases).
    assert set(names(FAULT)) == told | {"scope-held"}


def test_two_runs_of_one_seed_are_identical(run_fleet: RunFleet) -> None:
    links = Links(loss=0.05)

    first, second = (run_fleet(30, links=links, boots=("cold", "warm")) for _ in range(2))

    assert first.observed == second.observed
    assert {name: disk.log for name, disk in first.disks.items()} == {
        name: disk.log for name, disk in second.disks.items()
    }
    assert first.reports == second.reports


def test_another_seed_is_another_run(run_fleet: RunFleet) -> None:
    assert run_fleet(2, seed=1).observed != run_fleet(2, seed=2).observed


def test_phones_get_through_a_network_that_loses_a_fifth(run_fleet: RunFleet) -> None:
    run = run_fleet(40, links=Links(loss=0.2), duration=3600)

    assert len(run.signed_in) == 40


def test_every_phone_ends_powered_off_without_lease_or_binding(run_fleet: RunFleet) -> None:
    run = run_fleet(10)

    assert run.powered_off == set(run.disks)
    for disk in run.disks.values():
        assert "expires 0 auth" in disk.log
        assert "DHCP RELEASE" in disk.log
    assert [text for _, text in run.reports] == []


@pytest.mark.parametrize(("keep_leases", "signed_in"), [(False, 8), (True, 4)])
def test_released_addresses_are_there_for_the_next_phones(
    keep_leases: bool, signed_in: int
) -> None:
    (dhcp,) = SITE_PROFILE.dhcp_servers
    assert dhcp.scope is not None
    scope = dhcp.scope.model_copy(update={"last": dhcp.scope.first + 3})
    profile = SITE_PROFILE.model_copy(
        update={"dhcp_servers": (dhcp.model_copy(update={"scope": scope}),)}
    )
    epoch = SITE_PROFILE.epoch.timestamp()
    site = build_site(profile, [], VirtualAuthority(), random.Random(1), epoch)
    specs = make_specs(8, rate=1000)

    runs = []
    for phones in (specs[:4], specs[4:]):
        runs.append(VirtualRun())
        limits = RunLimits(keep_leases=keep_leases)
        simulate(phones, site, runs[-1].disk, runs[-1], limits, Links(), 1)

    assert len(runs[0].signed_in) == 4
    assert sum(len(run.signed_in) for run in runs) == signed_in


def test_keep_leases_cuts_the_power(run_fleet: RunFleet) -> None:
    run = run_fleet(3, keep_leases=True)

    assert run.powered_off == set()
    assert not any("RELEASE" in disk.log for disk in run.disks.values())


def test_the_second_boot_lives_on_cache_and_lease(run_fleet: RunFleet) -> None:
    run = run_fleet(4, boots=("cold", "warm"))

    assert set(run.boots.values()) == {2}
    for disk in run.disks.values():
        first, second = disk.log.split("Power applied")[1:]
        assert "DHCP DISCOVER" in first
        assert "DHCP INFORM" in first
        assert "INIT-REBOOT -> REBOOTING" in second
        assert "kept as in-use" in second
        assert "Stage discovery ended skipped" in second
        assert "DHCP DISCOVER" not in second
        assert "INFORM" not in second
        assert "DNS query SRV" not in second


def test_a_corrupt_cache_is_reported_and_treated_as_empty(
    run_fleet: RunFleet, monkeypatch: pytest.MonkeyPatch
) -> None:
    class CorruptDisk(virtual_runs.MemoryDisk):
        def files(self) -> dict[str, bytes]:
            return {"cache.json": b'{"in_use": 5'}

    monkeypatch.setattr(virtual_runs, "MemoryDisk", CorruptDisk)

    run = run_fleet(1)

    (disk,) = run.disks.values()
    assert "Cache file cache.json unreadable, treated as empty" in disk.log
    assert "DHCP INFORM" in disk.log
    assert len(run.signed_in) == 1


def test_a_crash_of_one_phone_leaves_the_others(
    run_fleet: RunFleet, monkeypatch: pytest.MonkeyPatch
) -> None:
    original = Boot._clock_set

    def clock_set(boot: Boot, *arguments: object) -> None:
        if boot._mac.endswith(b"\x02"):
            raise RuntimeError("made to fail")
        original(boot, *arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(Boot, "_clock_set", clock_set)

    run = run_fleet(3)

    assert list(run.crashes) == ["00-04-F2-00-00-02"]
    assert run.signed_in == {"00-04-F2-00-00-01", "00-04-F2-00-00-03"}
    saved = run.disks["00-04-F2-00-00-02"].content["crash.txt"].decode()
    assert "made to fail" in saved
    assert "NtpPacketReceived" in saved


def test_a_duration_keeps_phones_registered(run_fleet: RunFleet) -> None:
    run = run_fleet(2, duration=3600)

    assert run.seconds == 3600
    for disk in run.disks.values():
        assert disk.log.count("action refreshed") >= 5
        assert "Registration at" not in disk.log


def test_progress_can_end_the_run_early(run_fleet: RunFleet) -> None:
    result = VirtualRun()
    epoch = SITE_PROFILE.epoch.timestamp()
    site = build_site(SITE_PROFILE, [], VirtualAuthority(), random.Random(1), epoch)
    simulate(
        make_specs(500),
        site,
        result.disk,
        result,
        RunLimits(),
        Links(),
        1,
        progress=lambda now: False,
    )

    assert 0 < len(result.boots) < 500
    assert result.powered_off == set(result.boots)


def test_an_address_in_use_is_declined(run_fleet: RunFleet) -> None:
    run = run_fleet(1, "address-conflict")

    log = next(iter(run.disks.values())).log
    assert "is in use by 02-00-00-00-00-01" in log
    assert "DHCP DECLINE" in log
    assert len(run.signed_in) == 1


def test_a_phone_that_lost_power_is_told_its_vlan_again(run_fleet: RunFleet) -> None:
    vlan = DEVICE_PROFILE.vlan.model_copy(update={"chassis_id": "mac-address"})
    run = run_fleet(
        1, profile=DEVICE_PROFILE.model_copy(update={"vlan": vlan}), boots=("cold", "warm", "warm")
    )
    (disk,) = run.disks.values()
    assert disk.log.count('No voice VLAN: "untagged, says lldp:') == 3
    assert "no network policy" not in disk.log


def test_phones_begin_in_every_way_one_after_another(run_fleet: RunFleet) -> None:
    run = run_fleet(3, boots=("cold", "warm", "sign-out", "factory-reset", "cold"))

    assert set(run.boots.values()) == {5}
    assert run.failures == {}
    assert run.reports == []
    for disk in run.disks.values():
        cold, warm, signed_out, reset, another = disk.log.split("Power applied")[1:]
        for log in (cold, signed_out, reset, another):
            assert "DHCP INFORM" in log
            assert "HTTP RequestSecurityToken" in log
        for text in ("DHCP INFORM", "HTTP ", "DNS query SRV"):
            assert text not in warm
        assert "used again" in warm
        assert "expires 0 auth" in warm
        assert "Signed out, forgotten certificate,key,services" in warm
        assert "INIT-REBOOT -> REBOOTING" in signed_out  # its last address it still knows
        assert "Factory reset, erased cache.json,identity.json,phone.key" in reset
        assert "DHCP DISCOVER" in reset
        assert set(disk.content) == {"cache.json", "identity.json", "phone.key"}
