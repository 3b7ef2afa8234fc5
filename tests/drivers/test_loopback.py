import asyncio
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import pytest
from fleet_runs import Run

from phonesim.device.events import (
    PoweredOff,
    SignedIn,
    StageEnded,
)
from phonesim.device.outcome import FailureReason, Stage
from phonesim.drivers.authority import SiteAuthority
from phonesim.drivers.key_pool import PhoneKey
from phonesim.drivers.site_host import SiteHost
from phonesim.errors import UsageError
from phonesim.mocksite.site import Site
from phonesim.world import RunLimits


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
    kept = ["cache.json", "identity.json", "logs", "phone.key"]
    assert sorted(path.name for path in files.iterdir()) == kept


@pytest.mark.parametrize(
    ("faults", "source"), [((), "lldp:02-00-00-00-00-01"), (("lldp-silent",), "dhcp:127.20.0.10")]
)
async def test_phones_find_their_voice_vlan(run: Run, faults: tuple[str, ...], source: str) -> None:
    specs = run.specs(3, vlan__lldp_wait=0.2)
    observer = await run.boot(specs, run.site(*faults, profile="contoso-voice"))
    assert len(observer.of(SignedIn)) == 3
    assert observer.crashes == []
    for spec in specs:
        log = run.log(spec)
        assert f"Voice VLAN 100 source {source}" in log
        assert "from 127.20.0.13 T1" in log
        assert log.count("DHCP RELEASE") == (2 if faults else 1)


async def test_a_vlan_without_a_dhcp_server_is_silent(run: Run) -> None:
    specs = run.specs(1, dhcp__retransmit_delays=(0.1,), dhcp__retransmit_jitter=0)
    observer = await run.boot(specs, run.site("lldp-wrong-vlan"))
    assert observer.failures() == [(Stage.IP, FailureReason.NO_LEASE)]
    assert "no DHCP server answered in VLAN 666" in run.log(specs[0])


@pytest.mark.parametrize(
    ("fault", "stage", "reason"),
    [
        ("web-refused", Stage.CHAIN, FailureReason.WEB_SERVICES_REFUSED),
        ("web-404", Stage.CHAIN, FailureReason.WEB_SERVICES_NOT_FOUND),
        ("chain-not-downloadable", Stage.CHAIN, FailureReason.WEB_SERVICES_REFUSED),
        ("chain-empty", Stage.CHAIN, FailureReason.CHAIN_UNUSABLE),
        ("chain-unreadable", Stage.TICKET, FailureReason.CHAIN_UNUSABLE),
        *(
            (f"{server}-certificate-{kind}", stage, reason)
            for server, stage in (("web", Stage.TICKET), ("registrar", Stage.REGISTER))
            for kind, reason in (
                ("expired", FailureReason.CERTIFICATE_EXPIRED),
                ("not-yet-valid", FailureReason.CERTIFICATE_NOT_YET_VALID),
                ("wildcard", FailureReason.CERTIFICATE_WILDCARD),
                ("wrong-name", FailureReason.CERTIFICATE_NAME_MISMATCH),
                ("untrusted", FailureReason.CERTIFICATE_UNTRUSTED),
                ("no-intermediate", FailureReason.CERTIFICATE_ISSUER_MISSING),
            )
        ),
        ("pin-locked", Stage.TICKET, FailureReason.PIN_LOCKED),
        ("registrars-down", Stage.REGISTER, FailureReason.REGISTRAR_REFUSED),
    ],
)
async def test_faults_reach_the_phones_over_real_sockets(
    run: Run, fault: str, stage: Stage, reason: FailureReason
) -> None:
    observer = await run.boot(run.specs(1, sign_in__retry_delay=0), run.site(fault))
    assert observer.failures()[0] == (stage, reason)


@pytest.mark.parametrize(("fault", "stage"), [("web", Stage.TICKET), ("registrar", Stage.REGISTER)])
async def test_old_firmware_fails_where_a_newer_tls_is_required(
    run: Run, fault: str, stage: Stage
) -> None:
    specs = run.specs(1, tls__maximum_version="1.0")
    observer = await run.boot(specs, run.site(f"{fault}-tls-1.2-only"))
    assert observer.failures()[0] == (stage, FailureReason.TLS_VERSION_REFUSED)
    assert "takes no TLS version that the phone offers" in run.log(specs[0])


async def test_old_firmware_signs_in_where_its_tls_is_taken(run: Run) -> None:
    specs = run.specs(2, tls__maximum_version="1.0")
    assert len((await run.boot(specs, run.site())).of(SignedIn)) == 2


async def test_an_address_that_another_host_has_is_declined(run: Run) -> None:
    (spec,) = run.specs(1, dhcp__decline_wait=0)
    observer = await run.boot([spec], run.site("address-conflict"))
    assert observer.of(SignedIn) == [spec.phone_id]
    assert "DHCP DECLINE" in run.log(spec)


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
    offset = 41000  # one that no other test takes while the site is away
    host = await serve_elsewhere(run, site, offset)
    running = asyncio.ensure_future(
        run.boot(specs, None, RunLimits(duration=60), port_offset=offset)
    )
    await run.observer.all_signed_in.wait()
    await host.stop()
    await run.until(lambda: all("connection refused" in run.log(spec) for spec in specs))
    host = await serve_elsewhere(run, site, offset)
    await run.until(lambda: all(run.log(spec).count("Registered at") == 2 for spec in specs))
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
        from fleet_runs import Run, SignedIn

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
