"""DHCP and DNS on the wire beside the tools written in C for it, against the same servers.

Two network namespaces joined by a veth pair; Kea and BIND on one side, the tools on the other,
one after the other. Needs root, and the programs kea-dhcp4, perfdhcp, named and dnsperf.

Saturation is the fastest of the offered rates at which at least 99 % of the exchanges come
through at once: perfdhcp counts the others as drops, phones repeat themselves. CPU time is that
of the tool's whole process, user and system; what a run of one phone takes is phonesim's start,
and is left out of its figures.
"""

from __future__ import annotations

import json
import os
import re
import resource
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

sys.path.insert(0, str(Path(__file__).parents[1] / "interop"))

from netlab import DHCP, Lab, missing_programs
from real_servers import start_kea

PROGRAMS = ("ip", "kea-dhcp4", "perfdhcp", "named", "dnsperf")
RATES = (4000, 6000, 8000, 9000, 10000, 11000, 12000, 13000, 14000, 16000)
SECONDS = 4
ANSWERED = 0.99
CLIENTS = 60_000
PEER_ADDRESS = "10.77.0.99"


class Outcome(NamedTuple):
    """Exchanges a second that came through, their share at the first try, and CPU time each."""

    per_second: float
    answered: float
    cpu_us: float


def costs(command: Sequence[str], **options: Any) -> tuple[str, float]:
    """What a command prints, and the CPU seconds that it took."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    finished = subprocess.run(command, capture_output=True, text=True, check=False, **options)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return finished.stdout + ("" if finished.stdout else finished.stderr), cpu


def inside(lab: Lab, *command: str) -> tuple[str, float]:
    return costs(["ip", "netns", "exec", lab.phones, *command])


def phonesim(lab: Lab, fleet: str, **values: object) -> tuple[dict[str, Any], float]:
    """Run a fleet on the wire: its summary, and the CPU seconds of the process."""
    settings = [f"--set=fleet.{key}={value}" for key, value in values.items()]
    with tempfile.TemporaryDirectory(dir=lab.folder) as out:
        told, cpu = inside(
            lab,
            *(sys.executable, "-m", "phonesim", "run", fleet, "--attach", "wire", "--json"),
            *("--interface", "phones0", "--site", "none", "--yes", "--out", out, *settings),
            *("--set=fleet.limits={}", "--set=device.arp={probes: 0, announcements: 0}"),
        )
    try:
        summary: dict[str, Any] = json.loads(told)
    except ValueError:
        raise SystemExit(f"phonesim: {told}") from None
    return summary, cpu


def perfdhcp_at(lab: Lab, rate: int) -> Outcome:
    told, cpu = inside(
        lab,
        *("perfdhcp", "-4", "-l", "phones0", "-r", str(rate), "-R", str(CLIENTS)),
        *("-p", str(SECONDS), DHCP),
    )
    rates = re.search(r"Rate: ([\d.]+)", told)
    sent = [int(each) for each in re.findall(r"sent packets: (\d+)", told)]
    received = [int(each) for each in re.findall(r"received packets: (\d+)", told)]
    if rates is None or len(received) != 2:
        raise SystemExit(f"perfdhcp: {told}")
    return Outcome(float(rates[1]), received[1] / sent[0], cpu / received[1] * 1e6)


def phones_at(lab: Lab, rate: int, start: float) -> Outcome:
    summary, cpu = phonesim(lab, "dhcp-load", phones=rate * SECONDS, rate=rate, keep_leases="true")
    exchanges = summary["exchanges"]
    again = sum(exchanges[kind]["retransmitted"] for kind in exchanges)
    done = summary["completed"]
    in_time = done / max(summary["phones"], done + again)
    return Outcome(
        exchanges["dhcp_request"]["per_second"] or 0.0, in_time, (cpu - start) / max(1, done) * 1e6
    )


def saturate(name: str, run: Callable[[int], Outcome]) -> Outcome | None:
    """Offer more and more until too much is lost; return the best outcome that counts."""
    best: Outcome | None = None
    misses = 0
    for rate in RATES:
        outcome = run(rate)
        counts = outcome.answered >= ANSWERED
        print(
            f"    {name:9} offered {rate:6}/s: {outcome.per_second:8.0f}/s,"
            f" {outcome.answered:7.2%} at once, {outcome.cpu_us:5.0f} us CPU each"
            f"{'' if counts else '  (too much lost)'}",
            flush=True,
        )
        if counts and (best is None or outcome.per_second > best.per_second):
            best = outcome
        misses = 0 if counts else misses + 1
        if misses == 2:
            break
    return best


def dhcp(folder: Path) -> None:
    print("DHCP: DISCOVER, OFFER, REQUEST, ACK against Kea (memfile)")
    with Lab(folder) as lab:
        start_kea(lab, is_quiet=True)
        address = ("ip", "addr", "add", f"{PEER_ADDRESS}/16", "dev", "phones0")
        inside(lab, *address)
        theirs = saturate("perfdhcp", lambda rate: perfdhcp_at(lab, rate))
        inside(lab, "ip", "addr", "flush", "dev", "phones0")
    with Lab(folder) as lab:
        start_kea(lab, is_quiet=True)
        _, start = phonesim(lab, "dhcp-load", phones=1, rate=1)
        print(f"    phonesim's start takes {start:.2f} s of CPU")
        ours = saturate("phonesim", lambda rate: phones_at(lab, rate, start))
    if theirs is None or ours is None:
        print("  neither saturates the server: no ratio")
        return
    print(
        f"  exchanges a second at saturation: {ours.per_second / theirs.per_second:.2f} x perfdhcp"
    )
    print(f"  CPU an exchange at saturation:    {ours.cpu_us / theirs.cpu_us:.2f} x perfdhcp")


def main() -> None:
    missing = missing_programs(*PROGRAMS)
    if missing or os.geteuid() != 0:
        print(f"wire load: not run: needs root and {', '.join(missing or PROGRAMS)}")
        return
    folder = Path(tempfile.mkdtemp(dir="logs")).resolve()
    try:
        dhcp(folder)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    main()
