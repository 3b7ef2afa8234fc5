"""DHCP and DNS on the wire beside the tools written in C for it, against the same servers.

Two network namespaces joined by a veth pair: Kea and BIND on one side, the tools on the other,
one after the other. Needs root, and the programs kea-dhcp4, perfdhcp, named and dnsperf.

The best outcome is the most exchanges a second of which at least 99 % come through at once:
perfdhcp counts the others as drops, phones repeat themselves. A tool that was behind the offered
rate has met its own limit there, and not the server's. CPU time is that
of the tool's whole process, user and system. What a run of one phone takes is phonesim's start,
and is left out of its figures. Phones neither probe nor announce their addresses here, for
perfdhcp does not either.
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
from ipaddress import IPv4Address
from itertools import count
from pathlib import Path
from typing import Any, NamedTuple

sys.path.insert(0, str(Path(__file__).parents[1] / "interop"))

from netlab import DHCP, DNS, DOMAIN, Lab, missing_programs
from real_servers import start_bind, start_kea

PROGRAMS = ("ip", "kea-dhcp4", "perfdhcp", "named", "dnsperf")
RATES = (1000, 2000, 3000, 4000, 5000, 6000, 8000, 10000, 12000, 14000, 16000)
SECONDS = 4
ANSWERED = 0.99
KEPT_UP = 0.95
MISSES = 2
CLIENTS = 60_000
PEER_ADDRESS = "10.77.0.99"
NAMES = ("_sipinternaltls._tcp", "_sip._tls")
LOOKUPS = (2000, 4000, 8000, 10000, 12000, 14000, 16000)
EVERY = 3
FIRST_ADDRESS = "10.77.40.1"
MANY = 10_000


class Outcome(NamedTuple):
    """Exchanges a second that came through, their share at the first try, and CPU time each."""

    per_second: float
    answered: float
    cpu_us: float


def inside(lab: Lab, *command: str) -> tuple[str, float]:
    """What a command on the phones' side prints, and the CPU seconds that it took."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    finished = subprocess.run(
        ["ip", "netns", "exec", lab.phones, *command], capture_output=True, text=True, check=False
    )
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return finished.stdout or finished.stderr, cpu


def phonesim(lab: Lab, fleet: str, **settings: object) -> tuple[dict[str, Any], float]:
    """Run a fleet on the wire: its summary, and the CPU seconds of the process."""
    values = [f"--set={key.replace('__', '.')}={value}" for key, value in settings.items()]
    with tempfile.TemporaryDirectory(dir=lab.folder) as out:
        told, cpu = inside(
            lab,
            *(sys.executable, "-m", "phonesim", "run", fleet, "--attach", "wire", "--json"),
            *("--interface", "phones0", "--site", "none", "--yes", "--out", out),
            *("--set=fleet.limits={}", "--set=fleet.keep_leases=true", *values),
        )
    try:
        summary: dict[str, Any] = json.loads(told)
    except ValueError:
        raise SystemExit(f"phonesim: {told}") from None
    return summary, cpu


def phones_at(lab: Lab, rate: int, start: float, kind: str, **settings: object) -> Outcome:
    """DHCP phones at that rate; the last exchange of each is of that `kind`."""
    summary, cpu = phonesim(
        lab,
        "dhcp-load",
        fleet__phones=rate * SECONDS,
        fleet__rate=rate,
        device__arp="{probes: 0, announcements: 0}",
        **settings,
    )
    exchanges, done = summary["exchanges"], summary["completed"]
    again = sum(each["retransmitted"] for each in exchanges.values())
    return Outcome(
        exchanges[kind]["per_second"] or 0.0,
        done / (summary["phones"] + again),
        (cpu - start) / max(1, done) * 1e6,
    )


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


def saturate(name: str, run: Callable[[int], Outcome], rates: Sequence[int] = RATES) -> Outcome:
    """Offer more and more until too much is lost; return the best outcome that counts."""
    best: Outcome | None = None
    misses = 0
    for rate in rates:
        outcome = run(rate)
        counts = outcome.answered >= ANSWERED
        print(
            f"    {name:9} offered {rate:6}/s: {outcome.per_second:8.0f}/s,"
            f" {outcome.answered:7.2%} at once, {outcome.cpu_us:5.0f} us CPU each"
            f"{'' if counts else '  (too much lost)'}"
            f"{'  (behind the offered rate)' if outcome.per_second < KEPT_UP * rate else ''}",
            flush=True,
        )
        if counts and (best is None or outcome.per_second > best.per_second):
            best = outcome
        misses = 0 if counts else misses + 1
        if misses == MISSES:
            break
    if best is None:
        raise SystemExit(f"{name}: no rate was answered well enough")
    return best


def ratios(what: str, ours: Outcome, theirs: Outcome, peer: str) -> None:
    print(
        f"  {what}: {ours.per_second:.0f}/s against {theirs.per_second:.0f}/s"
        f" ({ours.per_second / theirs.per_second:.2f} x {peer}),"
        f" {ours.cpu_us:.0f} us CPU each against {theirs.cpu_us:.0f}"
        f" ({ours.cpu_us / theirs.cpu_us:.2f} x {peer})"
    )


def dhcp(folder: Path) -> None:
    print("DHCP against Kea (memfile): DISCOVER, OFFER, REQUEST, ACK")
    with Lab(folder) as lab:
        start_kea(lab, is_quiet=True)
        inside(lab, "ip", "addr", "add", f"{PEER_ADDRESS}/16", "dev", "phones0")
        theirs = saturate("perfdhcp", lambda rate: perfdhcp_at(lab, rate))
    with Lab(folder) as lab:
        start_kea(lab, is_quiet=True)
        _, start = phonesim(lab, "dhcp-load", fleet__phones=1)
        print(f"    phonesim's start takes {start:.2f} s of CPU")
        ours = saturate("phonesim", lambda rate: phones_at(lab, rate, start, "dhcp_request"))
    with Lab(folder) as lab:
        start_kea(lab, is_quiet=True)
        print("  and then INFORM, ACK")
        six = saturate(
            "phonesim",
            lambda rate: phones_at(
                lab,
                rate,
                start,
                "dhcp_inform",
                fleet__stages="[ip, discovery]",
                device__discovery__srv_names="[]",
            ),
        )
    ratios("4 packets", ours, theirs, "perfdhcp")
    print(
        f"  6 packets: {six.per_second:.0f}/s, {six.cpu_us:.0f} us CPU each; no peer sends INFORM"
    )


def many(folder: Path) -> None:
    print(f"{MANY} phones on one interface, each with its own MAC and address, probed, announced")
    with Lab(folder) as lab:
        start_kea(lab, is_quiet=True)
        summary, cpu = phonesim(lab, "dhcp-load", fleet__phones=MANY, fleet__rate=MANY / 10)
    bound = MANY / summary["exchanges"]["dhcp_request"]["per_second"]
    print(
        f"  {summary['completed']} bound, the last ACK after {bound:.1f} s, {cpu:.1f} s CPU,"
        f" peak {summary['peak_rss_mb']:.0f} MB, {'valid' if summary['valid'] else 'NOT valid'}"
    )


def lookups_at(lab: Lab, rate: int, start: float) -> Outcome:
    """`rate` lookups a second: every so many seconds each phone makes one for each name."""
    phones = rate * EVERY // len(NAMES)
    summary, cpu = phonesim(
        lab,
        "dns-load",
        fleet__phones=phones,
        fleet__rate=phones / EVERY,
        fleet__repeat_every=EVERY,
        fleet__until=f"{2 * EVERY}s",
        device__arp="{probes: 0, announcements: 0}",
        fleet__addresses=f"{{first: {FIRST_ADDRESS}, count: {phones}, prefix: 16,"
        f" dns_servers: [{DNS}], domain: {DOMAIN}}}",
    )
    totals = summary["exchanges"]["dns"]
    return Outcome(
        totals["per_second"] or 0.0,
        totals["answered"] / totals["sent"],
        (cpu - start) / max(1, totals["answered"]) * 1e6,
    )


def introduce(lab: Lab, phones: int) -> None:
    """Tell the servers' kernel where the phones are: it remembers few whom it has to ask for."""
    first = IPv4Address(FIRST_ADDRESS)
    macs = (f"00:04:f2:{n >> 16 & 255:02x}:{n >> 8 & 255:02x}:{n & 255:02x}" for n in count(1))
    lines = [
        f"neigh replace {first + n} lladdr {mac} dev servers0 nud permanent"
        for n, mac in zip(range(phones), macs, strict=False)
    ]
    command = ["ip", "-n", lab.servers, "-batch", "-"]
    subprocess.run(command, input="\n".join(lines), text=True, check=True)


def dns(folder: Path) -> None:
    print("DNS against BIND: SRV lookups")
    with Lab(folder) as lab:
        start_bind(lab)
        queries = lab.folder / "queries"
        queries.write_text("".join(f"{name}.{DOMAIN} SRV\n" for name in NAMES))
        inside(lab, "ip", "addr", "add", f"{PEER_ADDRESS}/16", "dev", "phones0")
        told, cpu = inside(lab, "dnsperf", "-s", DNS, "-d", str(queries), "-l", str(SECONDS))
        inside(lab, "ip", "addr", "flush", "dev", "phones0")
        found = re.search(r"Queries completed: +(\d+).*?per second: +([\d.]+)", told, re.DOTALL)
        if found is None:
            raise SystemExit(f"dnsperf: {told}")
        theirs = Outcome(float(found[2]), 1.0, cpu / int(found[1]) * 1e6)
        introduce(lab, max(LOOKUPS) * EVERY // len(NAMES))
        _, start = phonesim(lab, "dhcp-load", fleet__phones=1, fleet__timeout=1)
        ours = saturate("phonesim", lambda rate: lookups_at(lab, rate, start), LOOKUPS)
    ratios("lookups", ours, theirs, "dnsperf")


def main() -> None:
    missing = missing_programs(*PROGRAMS)
    if missing or os.geteuid() != 0:
        print(f"wire load: not run: needs root and {', '.join(missing or PROGRAMS)}")
        return
    folder = Path(tempfile.mkdtemp(dir="logs")).resolve()
    try:
        for part in (dhcp, many, dns):
            part(folder)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    main()
