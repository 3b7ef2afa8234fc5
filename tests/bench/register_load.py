"""Registrations at Kamailio beside SIPp, and TLS handshakes beside `openssl s_time`.

Kamailio takes Digest, over TCP and over TLS, on the loopback interface of a network namespace; the
tools come one after the other in the same namespace, each with a connection for every registration.
Needs root, and the programs kamailio and openssl; without sipp (Debian: sip-tester) the comparison
over TCP is left out.

More and more is offered until a tool falls behind twice; its best rate counts. Phones keep their
connections, and do not deregister here: SIPp does not. CPU time is that of the tool's whole
process, user and system, without what a run of one phone takes. `openssl s_time` opens one
connection after the other, and nothing but a handshake happens on it; both sides speak TLS 1.2 and
check the certificate. Kamailio has one process for TCP and TLS: with OpenSSL 3, several of its
version 5.6 free each other's memory, and end.
"""

from __future__ import annotations

import csv
import json
import os
import re
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

sys.path.insert(0, str(Path(__file__).parents[1] / "interop"))

from netlab import FE01, Lab, missing_programs
from real_servers import make_certificate, start_kamailio

PASSWORD = "s3cret"
SCENARIO = Path(__file__).with_name("register_scenario.xml")
RATES = (250, 500, 1000, 1500, 2000, 3000, 4000)
SECONDS = 4
KEPT_UP = 0.9
MISSES = 2
BUSY = 0.85
PHONES = "127.77"
AUTHORITY = "kamailio-ca"
PROGRAMS = ("ip", "kamailio", "openssl")


class Outcome(NamedTuple):
    """Registrations a second, the CPU time that each takes here and there, and who is busy."""

    per_second: float
    cpu_us: float
    server_us: float
    busy: str


class Usage:
    """What a tool, Kamailio and everybody else do with the processor while the tool runs."""

    def __init__(self, lab: Lab) -> None:
        self._lab = lab
        self._before = self._now()

    def _now(self) -> tuple[float, float, float, float]:
        used = resource.getrusage(resource.RUSAGE_CHILDREN)
        total = Path("/proc/stat").read_text().split(maxsplit=6)
        idle = (int(total[4]) + int(total[5])) / os.sysconf("SC_CLK_TCK")
        tool = used.ru_utime + used.ru_stime
        return time.monotonic(), tool, self._lab.cpu_seconds("kamailio"), idle

    def end(self, start: float = 0.0, seconds: float | None = None) -> Used:
        """What it was; `start` seconds of the tool's are left out, and those before `seconds`."""
        passed, tool, kamailio, idle = (
            after - before for after, before in zip(self._now(), self._before, strict=True)
        )
        shares = passed * len(os.sched_getaffinity(0))
        return Used(seconds or passed, tool - start, kamailio, idle / shares)


class Used(NamedTuple):
    """Seconds that passed, CPU seconds of the tool and of Kamailio, idle share of the machine."""

    seconds: float
    tool: float
    kamailio: float
    idle: float

    def outcome(self, made: int) -> Outcome:
        """What it comes to for each of those that were made."""
        return Outcome(
            made / self.seconds, self.tool / made * 1e6, self.kamailio / made * 1e6, self._busy()
        )

    def _busy(self) -> str:
        """Who used up the processor time that it can: a tool, and Kamailio, have one thread."""
        tool, kamailio = self.tool / self.seconds, self.kamailio / self.seconds
        shares = f"tool {tool:.0%} of a core, Kamailio {kamailio:.0%}, {self.idle:.0%} idle"
        if tool >= BUSY:
            return f"the tool ({shares})"
        if kamailio >= BUSY:
            return f"Kamailio ({shares})"
        return f"{'nobody' if self.idle >= 1 - BUSY else 'the machine'} ({shares})"


def inside(lab: Lab, *command: str) -> tuple[str, str]:
    """Run a command beside Kamailio: what it prints, and its errors."""
    finished = subprocess.run(
        ["ip", "netns", "exec", lab.servers, *command],
        capture_output=True,
        text=True,
        check=False,
        stdin=subprocess.DEVNULL,
        cwd=lab.folder,  # SIPp leaves files where it runs
    )
    return finished.stdout, finished.stderr


def phones(lab: Lab, transport: str, count: int, rate: float) -> tuple[dict[str, Any], Usage]:
    """Let that many phones register: the summary, and the usage that has not ended."""
    trust = f"\n  trust: {lab.folder}/{AUTHORITY}.pem" if transport == "tls" else ""
    fleet = lab.folder / "registering.yaml"
    fleet.write_text(
        f"""
name: registering
stages: [register]
phones: {count}
rate: {rate}
site: none
attach: loopback
port_offset: 0
keep_leases: true
device_logs: failed
addresses: {{first: {PHONES}.0.1, count: {count}, prefix: 16}}
registration:
  registrars: [{{host: {FE01}, transport: {transport}}}]
  sip_uri: sip:user{{n:05d}}@contoso.com
  password: {PASSWORD}{trust}
"""
    )
    usage = Usage(lab)
    with tempfile.TemporaryDirectory(dir=lab.folder) as out:
        command = (sys.executable, "-m", "phonesim", "run", str(fleet), "--json", "--out", out)
        told, error = inside(lab, *command, "--set=device.arp={probes: 0, announcements: 0}")
    try:
        summary: dict[str, Any] = json.loads(told)
    except ValueError:
        raise SystemExit(f"phonesim: {told}{error}") from None
    if summary["completed"] != count:
        raise SystemExit(f"phonesim: {summary['failures']}")
    return summary, usage


def phones_at(lab: Lab, transport: str, start: float, rate: int) -> Outcome:
    """As many phones as start in the time, at that rate."""
    count = rate * SECONDS
    summary, usage = phones(lab, transport, count, rate)
    per_second = summary["exchanges"]["sip_register"]["per_second"]
    return usage.end(start, count / per_second).outcome(count)


def sipp_at(lab: Lab, rate: int) -> Outcome:
    """As many calls of SIPp; each rate has an address, for ports are free again after a minute."""
    count = rate * SECONDS
    users = lab.folder / "users.csv"
    users.write_text(
        "SEQUENTIAL\n"
        + "".join(
            f"user{n:05d};[authentication username=user{n:05d} password={PASSWORD}]\n"
            for n in range(1, count + 1)
        )
    )
    statistics = lab.folder / f"sipp-{rate}.csv"
    usage = Usage(lab)
    told, error = inside(
        lab,
        *("sipp", f"{FE01}:5060", "-t", "tn", "-i", f"127.78.0.{RATES.index(rate) + 1}"),
        *("-sf", str(SCENARIO), "-inf", str(users), "-nostdin", "-max_socket", "15000"),
        *("-r", str(rate), "-m", str(count), "-trace_stat", "-stf", str(statistics), "-fd", "1"),
    )
    used = usage.end()
    if not statistics.exists():
        raise SystemExit(f"sipp: {error or told}")
    *_, last = csv.DictReader(statistics.open(), delimiter=";")
    registered = int(last["SuccessfulCall(C)"])
    if registered < count:
        raise SystemExit(f"sipp: {registered} of {count} calls went well: {told[-2000:]}{error}")
    return used.outcome(count)


def handshakes(lab: Lab) -> Outcome:
    """What `openssl s_time` does, one handshake after the other."""
    usage = Usage(lab)
    told, error = inside(
        lab,
        *("openssl", "s_time", "-connect", f"{FE01}:5061", "-new", "-tls1_2"),
        *("-time", str(SECONDS), "-verify", "2", "-CAfile", str(lab.folder / f"{AUTHORITY}.pem")),
    )
    used = usage.end()
    found = re.search(r"(\d+) connections in (\d+) real seconds", told)
    if found is None:
        raise SystemExit(f"openssl s_time: {told}{error}")
    return used.outcome(int(found[1]))


def saturate(name: str, run: Callable[[int], Outcome]) -> Outcome:
    """Offer more and more until the tool has fallen behind twice; return its best."""
    outcomes: list[Outcome] = []
    misses = 0
    for rate in RATES:
        outcome = run(rate)
        outcomes.append(outcome)
        is_behind = outcome.per_second < KEPT_UP * rate
        show(f"{name:9} offered {rate:5}/s", outcome, "  (behind)" if is_behind else "")
        misses += is_behind
        if misses == MISSES:
            break
    return max(outcomes)


def show(what: str, outcome: Outcome, note: str = "") -> None:
    print(
        f"    {what}: {outcome.per_second:6.0f}/s, {outcome.cpu_us:5.0f} us CPU each,"
        f" Kamailio {outcome.server_us:5.0f}; busy: {outcome.busy}{note}",
        flush=True,
    )


def compare(what: str, ours: Outcome, theirs: Outcome, peer: str, wanted: float) -> None:
    print(
        f"  {what}: {ours.per_second:.0f}/s against {theirs.per_second:.0f}/s"
        f" ({ours.per_second / theirs.per_second:.2f} x {peer}, wanted {wanted}),"
        f" {ours.cpu_us:.0f} us CPU each against {theirs.cpu_us:.0f};"
        f" busy: {ours.busy}; {peer}: {theirs.busy}"
    )


def measure(folder: Path, *, has_sipp: bool) -> None:
    with Lab(folder) as lab:
        make_certificate(folder, AUTHORITY)
        start_kamailio(lab, PASSWORD, processes=1, memory_mb=1024, is_quiet=True)
        _, usage = phones(lab, "tcp", 1, 1)
        start = usage.end().tool
        print(f"Registrations with Digest at Kamailio; phonesim's start takes {start:.2f} s of CPU")
        print("  over TCP, a connection each")
        calls = saturate("sipp", lambda rate: sipp_at(lab, rate)) if has_sipp else None
        plain = saturate("phonesim", lambda rate: phones_at(lab, "tcp", start, rate))
        if calls is None:
            print(
                "  over TCP: sipp is not installed (Debian: sip-tester), so nothing to compare with"
            )
        else:
            compare("over TCP", plain, calls, "sipp", 0.5)
        print("  over TLS 1.2, a whole handshake each")
        bare = handshakes(lab)
        show("openssl s_time", bare)
        secure = saturate("phonesim", lambda rate: phones_at(lab, "tls", start, rate))
        compare("over TLS", secure, bare, "handshakes of openssl s_time", 0.6)


def main() -> None:
    missing = missing_programs(*PROGRAMS)
    if missing or os.geteuid() != 0:
        print(f"register load: not run: needs root and {', '.join(missing or PROGRAMS)}")
        return
    folder = Path(tempfile.mkdtemp(dir="logs")).resolve()
    try:
        measure(folder, has_sipp=not missing_programs("sipp"))
    finally:
        shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    main()
