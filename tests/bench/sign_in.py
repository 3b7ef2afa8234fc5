"""What signing in costs on loopback, with the mock site in a process of its own.

    python tests/bench/sign_in.py [PHONES [REGISTERED [SECONDS]]]

1. Cold boots: PHONES of them, each from its power to its registration by TLS-DSK. Beside them the
   floor: the same TLS handshakes (two of connections, one within SIP), certificate requests,
   signatures and certificates, bare, both sides in this process.
2. REGISTERED phones that boot cold and stay registered for SECONDS, with keep-alives.
3. Meanwhile each of them refreshes its registration every four seconds, because the site grants
   eight: every request is signed and checked, every answer signed and verified.

CPU time is user and system of each process: from the first start to the last sign-in, and then
while all are registered. As in any load fleet, phones keep the logs of failed boots only.
"""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import re
import resource
import signal
import ssl
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import NamedTuple

from phonesim.device.actions import BeginHandshake, ContinueHandshake
from phonesim.device.events import Event, HandshakeAdvanced
from phonesim.drivers.authority import SiteAuthority
from phonesim.drivers.inner_tls import PhoneHandshake
from phonesim.drivers.key_pool import PhoneKey
from phonesim.drivers.run_folder import RunFolder
from phonesim.drivers.trust import PhoneTls, server_context
from phonesim.fleet.plan import Plan, read_plan
from phonesim.fleet.runner import StopRequest, Tick, WorldReport, run_fleet
from phonesim.fleet.worlds import run_live
from phonesim.profiles import parse_override
from phonesim.results import Recorder

AT_ONCE = 100
"""Phones that boot at once: each spends 0.2 s waiting for its ARP probe."""

FLOOR_TIMES = 200
GRANTED = 8
KEEP_ALIVE_TIMEOUT = 5
"""A phone sends a keep-alive when 0.8 of it have passed since its last refresh."""

LONGEST = 270.0
"""Seconds that a fleet may take until all of it has signed in."""

ENDED = "seen enough"
FE01 = "fe01.contoso.com"


class Sample(NamedTuple):
    """A fleet at one moment: seconds of the run, CPU seconds of either process, counts, memory."""

    now: float
    phones_cpu: float
    site_cpu: float
    signed_in: int
    registers: int
    resident_kb: float


class Outcome(NamedTuple):
    """A fleet as it began, when all of it had signed in, and just before it ended."""

    began: Sample
    complete: Sample
    ended: Sample
    failed: int
    lost: int
    unanswered: int
    peak_kb: int
    notes: list[str]


@contextlib.contextmanager
def served(*settings: str) -> Iterator[tuple[int, int]]:
    """Serve the mock site from another process: its process id, and its port offset."""
    command = [sys.executable, "-m", "phonesim", "site", "contoso"]
    command += [f"--set={each}" for each in settings]
    with tempfile.TemporaryFile("w+") as errors:
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=errors, text=True)
        try:
            assert process.stdout is not None
            for line in process.stdout:
                offset = re.search(r"--port-offset (\d+)", line)
                if offset is not None:
                    yield process.pid, int(offset[1])
                    return
            errors.seek(0)
            raise SystemExit(f"the mock site did not start: {errors.read()}")
        finally:
            process.send_signal(signal.SIGINT)
            process.communicate()


def boot(phones: int, hold: float, site: tuple[int, int]) -> Outcome:
    """Boot a fleet in a process of its own; end it `hold` seconds after all have signed in."""
    fresh = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(1, mp_context=fresh) as processes:
        return processes.submit(run, phones, hold, *site).result()


def run(phones: int, hold: float, site: int, port_offset: int) -> Outcome:
    """Run the fleet in this process, and watch it."""
    settings = {
        "fleet.phones": phones,
        "fleet.site": "none",
        "fleet.users_from": "contoso",
        "fleet.port_offset": port_offset,
        "fleet.device_logs": "failed",
        "fleet.shape": "{kind: burst}",
        "fleet.limits.outstanding": AT_ONCE,
        "fleet.until": f"{LONGEST + hold:.0f}s",
        "device.vlan.lldp_wait": 0,
    }
    plan = read_plan("demo", [parse_override(f"{key}={value}") for key, value in settings.items()])
    began = complete = ended = None
    failed = lost = unanswered = 0

    def world(
        plan: Plan, folder: RunFolder, observer: Recorder, stop: StopRequest, tick: Tick
    ) -> WorldReport:
        def watch(now: float) -> None:
            nonlocal began, complete, ended, failed, lost, unanswered
            tick(now)
            if stop.asked:
                return
            ended = take_sample(now, site, observer)
            began = began or ended
            if complete is None and ended.signed_in == phones:
                complete = ended
            failed = sum(phone.reason is not None for phone in observer.phones.values())
            lost = observer.registrations_lost
            registers = observer.exchanges.get("sip_register")
            unanswered = 0 if registers is None else registers.failed
            too_long = complete is None and now > LONGEST
            if too_long or failed or (complete is not None and now >= complete.now + hold):
                stop.ask(ENDED)

        return run_live(plan, folder, observer, stop, watch)

    with tempfile.TemporaryDirectory() as out:
        finished = run_fleet(plan, world, Path(out), lambda _: None)
    assert began is not None
    assert ended is not None
    peak_kb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    notes = [note for note in finished.summary["notes"] if not note.startswith(ENDED)]
    return Outcome(began, complete or ended, ended, failed, lost, unanswered, peak_kb, notes)


def take_sample(now: float, site: int, observer: Recorder) -> Sample:
    """What the fleet and the site came to so far."""
    registers = observer.exchanges.get("sip_register")
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return Sample(
        now=now,
        phones_cpu=time.process_time(),
        site_cpu=cpu_seconds(site),
        signed_in=sum(phone.is_signed_in for phone in observer.phones.values()),
        registers=0 if registers is None else registers.count - registers.failed,
        resident_kb=pages * resource.getpagesize() / 1024,
    )


def cpu_seconds(process: int) -> float:
    """CPU time of a process, user and system."""
    fields = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


class Floor:
    """What a boot has OpenSSL do, on both sides, and nothing else."""

    def __init__(self) -> None:
        authority = self.authority = SiteAuthority()
        self.key = PhoneKey(new_key())
        self.chain = authority.chain()
        credentials = authority.server_credentials((FE01,))
        self.server = server_context(credentials.certificate, credentials.key, "1.0")

    def boot(self, number: int) -> None:
        """All of one boot."""
        now = int(time.time())
        self.connect(now)
        ticket = f"<ticket>{number}</ticket>".encode()
        assert self.authority.has_signed(ticket, self.authority.sign(ticket))
        csr = self.key.certificate_request(f"user{number:05d}@contoso.com")
        certificate = self.authority.issue(csr, now - 60, now + 86400)
        self.connect(now)
        self.shake_hands_within_sip(certificate, now)

    def connect(self, now: int) -> None:
        """The handshake of a TLS connection."""
        up, down = ssl.MemoryBIO(), ssl.MemoryBIO()
        context = PhoneTls().context(self.chain, now)
        phone = context.wrap_bio(down, up, server_hostname=FE01)
        server = self.server.wrap_bio(up, down, server_side=True)
        for end in (phone, server, phone, server):
            with contextlib.suppress(ssl.SSLWantReadError):
                end.do_handshake()
        phone.do_handshake()

    def shake_hands_within_sip(self, certificate: bytes, now: int) -> None:
        """The handshake whose keys sign SIP."""
        said: list[Event] = []
        phone = PhoneHandshake(lambda: self.key.der, said.append)
        site = self.authority.accept_handshake((FE01,))
        phone.begin(
            BeginHandshake(
                handshake_id=1,
                server_name=FE01,
                certificate=certificate,
                trust=self.chain,
                clock=now,
                maximum_version="tls1.0",
            )
        )
        while True:
            advanced = said.pop()
            assert isinstance(advanced, HandshakeAdvanced), advanced
            if advanced.keys is not None:
                break
            flight = site.advance(advanced.flight)
            phone.go_on(ContinueHandshake(handshake_id=1, received=flight))
        assert self.authority.subject(site.certificate, now) is not None


def new_key() -> bytes:
    """A phone's key, DER."""
    worker = [sys.executable, "-m", "phonesim.drivers.key_worker", "1"]
    return bytes.fromhex(subprocess.run(worker, capture_output=True, check=True).stdout.decode())


def floor_ms() -> float:
    """CPU time of the floor of one boot."""
    floor = Floor()
    floor.boot(0)
    return cpu_ms(floor.boot, FLOOR_TIMES)


def cpu_ms(each: Callable[[int], None], times: int) -> float:
    """The mean CPU time of some calls."""
    began = time.process_time()
    for number in range(times):
        each(number)
    return (time.process_time() - began) / times * 1000


def show_boots(phones: int) -> None:
    """The first of the three."""
    floor = floor_ms()
    with served() as site:
        came = boot(phones, 0, site)
    seconds = came.complete.now - came.began.now
    count = came.complete.signed_in
    mine = (came.complete.phones_cpu - came.began.phones_cpu) / count * 1000
    theirs = (came.complete.site_cpu - came.began.site_cpu) / count * 1000
    print(
        f"  {count} of {phones} cold boots, {came.failed} failed: {count / seconds:.0f} a second;"
        f" CPU a boot {mine:.1f} ms of the phones' process, {theirs:.1f} ms of the site's"
    )
    print(f"  floor {floor:.1f} ms a boot: {floor / (mine + theirs):.2f} of it")


def show_registered(phones: int, hold: float) -> None:
    """The second and the third."""
    fast = (f"expires_maximum={GRANTED}", f"expires_default={GRANTED}", "expires_minimum=1")
    slow = f"keep_alive_timeout={KEEP_ALIVE_TIMEOUT}"
    with served(*(f"site.registrars.0.{each}" for each in (*fast, slow))) as site:
        few = boot(100, 0, site)
        came = boot(phones, hold, site)
    complete, ended = came.complete, came.ended
    seconds = ended.now - complete.now
    refreshes = ended.registers - complete.registers
    memory = (ended.resident_kb - few.ended.resident_kb) / (phones - 100)
    print(
        f"  {complete.signed_in} of {phones} signed in after {complete.now - came.began.now:.0f} s,"
        f" {ended.signed_in} registered {seconds:.0f} s later, {came.failed} failed,"
        f" {came.lost} registrations lost, {came.unanswered} REGISTERs unanswered"
    )
    print(
        f"  memory of the phones' process: {memory:.0f} KB a phone more than with 100,"
        f" {came.peak_kb / phones:.0f} KB a phone at its peak"
    )
    if refreshes:
        print(
            f"  {refreshes / seconds:.0f} signed refreshes a second; CPU of each, keep-alives"
            f" included: {(ended.phones_cpu - complete.phones_cpu) / refreshes * 1e6:.0f} us of the"
            f" phones' process, {(ended.site_cpu - complete.site_cpu) / refreshes * 1e6:.0f} us of"
            " the site's"
        )
    for note in came.notes:
        print(f"       {note}")


def main(phones: int = 1000, registered: int = 10_000, seconds: float = 180) -> None:
    """Print all three."""
    print(f"loopback, the site in another process: {phones} cold boots, {AT_ONCE} at once")
    show_boots(phones)
    print(f"{registered} phones, a refresh every {GRANTED // 2} s each, for {seconds:.0f} s")
    show_registered(registered, seconds)


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
