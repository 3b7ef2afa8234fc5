"""DNS as a load: fleets that ask real DNS servers and nothing else, and what each server did."""

from __future__ import annotations

import re
import socket
import subprocess
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from netlab import DHCP, DNS, DOMAIN, FE01_NAME, NTP, Lab
from real_servers import start_bind, start_dnsmasq
from tshark import fields

from phonesim.cli.main import main

INTERNAL, EXTERNAL = f"_sipinternaltls._tcp.{DOMAIN}", f"_sip._tls.{DOMAIN}"
SILENT = NTP  # nothing listens at port 53 there
FIRST_PHONE = "10.77.40.1"
QUERY = re.compile(r"client @\S+ ([0-9.]+)#\d+ .*: query: (\S+) IN (\S+) (\S+) ")

Queries = list[tuple[str, str, str, str]]


def typed_in(*dns_servers: str) -> tuple[str, ...]:
    """The arguments of a fleet with addresses of its own, which asks these servers."""
    addresses = (
        f"{{first: {FIRST_PHONE}, count: 99, prefix: 16, router: {DHCP},"
        f" dns_servers: [{', '.join(dns_servers)}], domain: {DOMAIN}}}"
    )
    return ("--set", "fleet.stages=[discovery]", "--set", f"fleet.addresses={addresses}")


def asked(lab: Lab) -> Queries:
    """BIND's query log: who asked, name, type and flags (T is TCP, E would be EDNS)."""
    return QUERY.findall(lab.output("named"))


def answers(summary: dict[str, Any]) -> dict[str, Any]:
    """What each DNS server said."""
    return {server: totals["answers"] for server, totals in summary["servers"]["dns"].items()}


@pytest.mark.usefixtures("well_formed")
@pytest.mark.interop("named", "nft", "tcpdump", "tshark")
def test_phones_with_typed_in_addresses_load_dns_alone(lab: Lab, seen: Path) -> None:
    start_bind(lab)
    before = lab.phones_side()

    fleet = ("--phones", "20", "--rate", "20", "--until", "9s", "--set", "fleet.repeat_every=3")
    status, summary, told = lab.run_fleet(*fleet, *typed_in(SILENT, DNS))

    assert summary["failures"] == {}, told
    assert (status, summary["completed"]) == (0, 20)
    # Three rounds of two lookups, each of which the first server leaves unanswered.
    silent, answering = summary["servers"]["dns"][SILENT], summary["servers"]["dns"][DNS]
    assert (silent["sent"], silent["answered"], silent["timed_out"]) == (120, 0, 120)
    assert (answering["sent"], answering["timed_out"]) == (120, 0)
    assert answers(summary) == {SILENT: {}, DNS: {"NOERROR": 60, "NXDOMAIN": 60}}
    assert answering["max_ms"] < summary["exchanges"]["dns"]["p50_ms"]  # without the wait for both
    # The server saw what the summary says, each phone under its own address, and no EDNS.
    queries = asked(lab)
    assert Counter((name, qtype) for _, name, qtype, _ in queries) == {
        (INTERNAL, "SRV"): 60,
        (EXTERNAL, "SRV"): 60,
    }
    phones = {f"10.77.40.{number}" for number in range(1, 21)}
    assert Counter(client for client, *_ in queries) == dict.fromkeys(phones, 6)
    assert {flags for *_, flags in queries} == {"+"}
    # On the wire each phone is a host of its own, and DHCP is not spoken.
    lab.stop("seen")
    sources = fields(seen, "ip.src", "eth.src", where=f"dns.flags.response == 0 && ip.dst == {DNS}")
    assert len({source for source, _ in sources}) == len({mac for _, mac in sources}) == 20
    assert fields(seen, "frame.number", where="dhcp") == []
    assert lab.phones_side() == before


@pytest.mark.interop("named", "nft")
def test_an_address_that_a_host_has_is_left_to_it(lab: Lab) -> None:
    start_bind(lab)
    subprocess.run(
        ["ip", "-n", lab.servers, "addr", "add", f"{FIRST_PHONE}/16", "dev", "servers0"], check=True
    )

    status, summary, told = lab.run_fleet("--phones", "3", *typed_in(DNS))

    assert summary["failures"] == {"address-in-use": 1}, told
    assert (status, summary["completed"]) == (3, 2)
    assert {client for client, *_ in asked(lab)} == {"10.77.40.2", "10.77.40.3"}


@pytest.mark.interop("named", "dnsmasq", "nft")
def test_a_server_that_refuses_is_told_from_one_that_answers(lab: Lab) -> None:
    start_bind(lab, refuses=True)
    start_dnsmasq(lab, serves_dns=True)

    status, summary, told = lab.run_fleet("--phones", "10", *typed_in(DNS, DHCP))

    assert summary["failures"] == {}, told
    assert (status, summary["completed"]) == (0, 10)
    # A name that it does not know, and may ask nobody for, dnsmasq refuses too: then each server
    # is asked once more.
    assert answers(summary) == {DNS: {"REFUSED": 30}, DHCP: {"REFUSED": 20, "NOERROR": 10}}
    assert lab.output("dnsmasq").count(f"query[SRV] {INTERNAL}") == 10
    assert all(not totals["timed_out"] for totals in summary["servers"]["dns"].values())


@pytest.mark.usefixtures("well_formed")
@pytest.mark.interop("named", "nft", "tcpdump", "tshark")
def test_an_answer_that_udp_cannot_hold_is_fetched_over_tcp(lab: Lab, seen: Path) -> None:
    start_bind(lab, more_registrars=20)

    status, summary, told = lab.run_fleet("--phones", "10", *typed_in(DNS))

    assert (status, summary["completed"]) == (0, 10), told
    assert answers(summary) == {DNS: {"NOERROR": 10, "NXDOMAIN": 10, "TC": 10}}
    by_flags = Counter(flags for _, name, _, flags in asked(lab) if name == INTERNAL)
    assert by_flags == {"+": 10, "+T": 10}
    lab.stop("seen")
    truncated = fields(seen, "udp.length", where="dns.flags.truncated == 1")
    assert len(truncated) == 10
    assert all(int(length) <= 8 + 512 for [length] in truncated)
    for log in lab.device_logs().values():
        assert log.count("Registrar candidate") == 22
        assert f"DNS query SRV {INTERNAL} to {DNS} by tcp attempt 1" in log
        assert f"Registrar candidate 1 {FE01_NAME}:5061 by tls source dns:{INTERNAL}" in log


@pytest.mark.usefixtures("well_formed")
@pytest.mark.interop("named", "dnsmasq", "nft", "tcpdump", "tshark")
@pytest.mark.parametrize("search", ["list", "off"])
def test_names_are_completed_with_the_search_list_of_option_119(
    lab: Lab, seen: Path, search: str
) -> None:
    domains = (f"eu.{DOMAIN}", DOMAIN)
    start_dnsmasq(lab, serves_dns=False, search_list=domains)
    start_bind(lab, has_srv=False)

    fleet = ("--phones", "2", "--set", "fleet.stages=[ip, discovery]", "--set", "fleet.timeout=9")
    status, summary, told = lab.run_fleet(
        *fleet,
        *("--set", "device.discovery.asks_dhcp=false", "--set", f"device.resolver.search={search}"),
    )

    # No record stands for a Registrar: the phones look for every name that they can make.
    assert summary["failures"] == {"web-services-not-located": 2}, told
    assert status == 3
    lab.stop("seen")
    [[value], *_] = fields(seen, "dhcp.option.value", where="dhcp.option.dhcp == 5")
    assert value
    completed = ["", *(f".{domain}" for domain in domains)] if search == "list" else [""]
    in_turn = [f"sipinternal.{DOMAIN}{end}" for end in completed]
    for phone in {client for client, *_ in asked(lab)}:
        names = [name for client, name, _, _ in asked(lab) if client == phone]
        assert [name for name in names if name.startswith("sipinternal.")] == in_turn
        assert names.count(INTERNAL) == names.count(EXTERNAL) == 1


@pytest.fixture
def local_dnsmasq(tmp_path: Path) -> Iterator[int]:
    """A dnsmasq on 127.0.0.1 and a port above 1024: that port."""
    port = next(port for port in range(20053, 30000, 100) if not answers_at(port))
    lines = [
        "listen-address=127.0.0.1",
        "bind-interfaces",
        "no-resolv",
        "no-hosts",
        f"port={port}",
        f"srv-host={INTERNAL},{FE01_NAME},5061",
        f"local=/{DOMAIN}/",
    ]
    path = tmp_path / "dnsmasq.conf"
    path.write_text("\n".join(lines) + "\n")
    process = subprocess.Popen(
        ["dnsmasq", "--keep-in-foreground", "--user=root", f"--conf-file={path}", "--pid-file="]
    )
    try:
        wait_until(lambda: answers_at(port))
        yield port
    finally:
        process.terminate()
        process.wait()


def wait_until(holds: Callable[[], bool]) -> None:
    give_up_at = time.monotonic() + 20
    while not holds():
        assert time.monotonic() < give_up_at
        time.sleep(0.05)


def answers_at(port: int) -> bool:
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


@pytest.mark.interop("dnsmasq")
def test_a_server_on_this_machine_is_loaded_over_loopback(
    local_dnsmasq: int, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    status = main(
        [
            *("run", "dns-load", "-n", "50", "--site", "none", "--until", "3.5s", "--json"),
            *("--port-offset", str(local_dnsmasq - 53), "--out", str(tmp_path / "logs")),
            *("--set", "fleet.addresses.dns_servers=[127.0.0.1]", "--set", "fleet.repeat_every=2"),
        ]
    )
    captured = capsys.readouterr()
    assert status == 0, captured.err
    assert '"NOERROR": 100' in captured.out
    assert '"NXDOMAIN": 100' in captured.out
