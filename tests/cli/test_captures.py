"""Captures of whole runs, as tshark reads them."""

from __future__ import annotations

import os
import shutil
import signal
import stat
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest
from captured import read_messages, read_packets
from tshark import fields, tshark

PHONES = 6
PINS = [f"8{n:05d}4".encode() for n in range(1, PHONES + 1)]
WORLDS = {"virtual": "power-cut", "loopback": "demo"}


def exchanges(capture: Path) -> Counter[tuple[str, str]]:
    """How many packets of each protocol each phone has."""
    seen: Counter[tuple[str, str]] = Counter()
    for comment, protocols in fields(capture, "frame.comment", "frame.protocols"):
        stack = protocols.split(":")
        for protocol in ("dhcp", "dns", "ntp", "arp", "http", "sip"):
            seen[comment, protocol] += protocol in stack
    return seen


@pytest.mark.interop("tshark")
@pytest.mark.parametrize("attach", WORLDS)
def test_tshark_reads_a_boot_of_every_phone(
    phonesim: Callable, tmp_path: Path, attach: str
) -> None:
    pcap = tmp_path / "run.pcapng"
    arguments = ("run", WORLDS[attach], "-n", PHONES, "--out", tmp_path, "--pcap", pcap)
    assert phonesim(*arguments).status == 0
    assert tshark(pcap, "-Y", "_ws.malformed") == []
    wrong = "ip.checksum.status == Bad or udp.checksum.status == Bad"
    checks = ("-o", "ip.check_checksum:TRUE", "-o", "udp.check_checksum:TRUE")
    assert tshark(pcap, *checks, "-Y", wrong) == []
    assert len(tshark(pcap, *checks, "-Y", "udp.checksum.status == Good")) > 20

    seen = exchanges(pcap)
    phones = {phone for phone, _ in seen}
    assert len(phones) == PHONES
    assert all(phone.startswith(("00-", "02-")) for phone in phones)
    at_least = {"dhcp": 7, "dns": 8, "ntp": 2, "http": 10, "sip": 4}
    for phone in phones:
        assert {
            kind: seen[phone, kind] >= least for kind, least in at_least.items()
        } == dict.fromkeys(at_least, True)
    kinds = Counter(kind for (kind,) in fields(pcap, "dhcp.option.dhcp", where="dhcp"))
    assert {kinds[kind] for kind in "1237"} == {PHONES}  # DISCOVER, OFFER, REQUEST, RELEASE
    assert kinds["8"] >= PHONES  # INFORM
    statuses = [status for (status,) in fields(pcap, "http.response.code", where="http.response")]
    assert statuses == ["200"] * 5 * PHONES
    methods = {method for (method,) in fields(pcap, "sip.Method", where="sip.Method")}
    assert methods == {"REGISTER", "SUBSCRIBE"}
    assert len(fields(pcap, "sip", where="sip.Status-Code == 200")) == 4 * PHONES


@pytest.mark.interop("tshark")
def test_times_are_of_the_site_or_of_this_machine(phonesim: Callable, tmp_path: Path) -> None:
    began = time.time()
    for attach, fleet in WORLDS.items():
        pcap = tmp_path / f"{attach}.pcapng"
        phonesim("run", fleet, "-n", 2, "--out", tmp_path, "--pcap", pcap)
    virtual, loopback = (
        [float(at) for (at,) in fields(tmp_path / f"{attach}.pcapng", "frame.time_epoch")]
        for attach in WORLDS
    )
    assert virtual == sorted(virtual)
    assert virtual[0] == 1767596400.0  # the epoch of contoso, 2026-01-05 07:00:00 UTC
    assert began <= loopback[0] <= loopback[-1] <= time.time()


def test_a_capture_does_not_change_a_virtual_run_and_repeats_itself(
    phonesim: Callable, tmp_path: Path
) -> None:
    arguments = ("run", "power-cut", "-n", 50, "--boots", 2, "--set", "fleet.links.loss=0.05")
    logs = {}
    for name, more in {"a": (), "b": (), "plain": (), "other": ("-s", 2)}.items():
        pcap = () if name == "plain" else ("--pcap", tmp_path / f"{name}.pcapng")
        out = tmp_path / name
        assert phonesim(*arguments, *more, *pcap, "--out", out).status == 0
        logs[name] = [path.read_bytes() for path in sorted(out.glob("*/*-*/DSK1/logs/*"))]
    assert logs["a"] == logs["b"] == logs["plain"] != logs["other"]
    assert len(logs["a"]) == 50
    a, b, other = ((tmp_path / f"{name}.pcapng").read_bytes() for name in ("a", "b", "other"))
    assert a == b != other


@pytest.mark.parametrize("attach", WORLDS)
def test_no_pin_and_no_key_is_in_a_capture(phonesim: Callable, tmp_path: Path, attach: str) -> None:
    pcap = tmp_path / "run.pcapng"
    phonesim("run", WORLDS[attach], "-n", PHONES, "--out", tmp_path, "--pcap", pcap)
    octets = pcap.read_bytes()
    assert not [pin for pin in PINS if pin in octets]
    http = [each.octets for each in read_messages(read_packets(octets)) if each.protocol == "http"]
    tickets = [message for message in http if b"BinarySecret>" in message]
    assert len(tickets) == 2 * PHONES
    assert all(b"BinarySecret>" + b"*" * 44 + b"<" in message for message in tickets)
    for message in http:
        head, _, body = message.partition(b"\r\n\r\n")
        assert f"Content-Length: {len(body)}".encode() in head
    assert stat.S_IMODE(pcap.stat().st_mode) == 0o600


@pytest.mark.interop("tshark")
@pytest.mark.parametrize(
    ("attach", "fault", "where"),
    [
        ("virtual", "pin-locked", "http.response.code == 500"),
        ("loopback", "pin-locked", "http.response.code == 500"),
        ("virtual", "dns-nxdomain", "dns.flags.rcode == 3"),
        ("virtual", "address-conflict", "arp.opcode == 2 and arp.src.hw_mac == 02:00:00:00:00:01"),
        ("virtual", "address-conflict", "dhcp.option.dhcp == 4"),
        ("loopback", "address-conflict", "dhcp.option.dhcp == 4"),
        ("loopback", "address-conflict", "arp.opcode == 2"),
    ],
)
def test_a_fault_is_seen(
    phonesim: Callable, tmp_path: Path, attach: str, fault: str, where: str
) -> None:
    pcap = tmp_path / "run.pcapng"
    arguments = ("run", WORLDS[attach], "-n", 2, "--fault", fault, "--out", tmp_path)
    phonesim(*arguments, "--set", "fleet.timeout=3", "--pcap", pcap)
    assert tshark(pcap, "-Y", "_ws.malformed") == []
    assert fields(pcap, "frame.comment", where=where)


@pytest.mark.interop("tshark")
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGKILL], ids=["Ctrl-C", "kill -9"])
@pytest.mark.parametrize("attach", WORLDS)
def test_a_run_that_is_ended_leaves_a_whole_capture(
    program: Callable, tmp_path: Path, attach: str, number: signal.Signals
) -> None:
    pcap = tmp_path / "run.pcapng"
    run = program(
        *("run", WORLDS[attach], "-n", 60, "--until", "1000d"),
        *("--out", tmp_path, "--pcap", pcap),
    )
    while not pcap.exists() or pcap.stat().st_size < 50_000:
        assert run.poll() is None
        time.sleep(0.05)
    run.send_signal(number)
    run.communicate()
    assert run.returncode == (4 if number is signal.SIGINT else -signal.SIGKILL)
    assert tshark(pcap, "-Y", "_ws.malformed") == []
    kinds = Counter(kind for (kind,) in fields(pcap, "dhcp.option.dhcp", where="dhcp"))
    assert kinds["1"] > 0
    assert (kinds["7"] > 0) == (number is signal.SIGINT)


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("there", "it exists already; name another file, or remove it"),
        (".", "it is a folder; name a file in it"),
        ("none/x", "there is no folder"),
    ],
)
@pytest.mark.parametrize("attach", WORLDS)
def test_a_capture_that_cannot_be_written_is_said_before_the_run(
    phonesim: Callable, tmp_path: Path, attach: str, name: str, told: str
) -> None:
    (tmp_path / "there").write_text("precious")
    pcap, out = tmp_path / name, tmp_path / "out"
    came = phonesim("run", WORLDS[attach], "-n", 2, "--out", out, "--pcap", pcap)
    assert came.status == 2
    assert came.out == ""
    [error] = [line for line in came.err.splitlines() if "--pcap" in line]
    assert f"phonesim: --pcap {pcap}: " in error
    assert told in error
    assert (tmp_path / "there").read_text() == "precious"
    assert list(out.iterdir()) == []


def test_a_run_that_does_not_begin_leaves_no_capture(phonesim: Callable, tmp_path: Path) -> None:
    pcap = tmp_path / "run.pcapng"
    arguments = ("run", "demo", "--site", "none", "--out", tmp_path / "out", "--pcap", pcap)
    came = phonesim(*arguments, "--set", "fleet.stages=[ip]")
    assert came.status == 2
    assert "--port-offset" in came.err
    assert not pcap.exists()


def test_a_disk_that_becomes_full_is_noted_and_the_run_goes_on(
    program: Callable, tmp_path: Path
) -> None:
    pcap = tmp_path / "run.pcapng"
    prlimit = shutil.which("prlimit")
    assert prlimit is not None
    run = program(
        *("run", "power-cut", "-n", 100, "--out", tmp_path, "--pcap", pcap),
        preexec_fn=lambda: os.system(f"{prlimit} --pid {os.getpid()} --fsize=900000"),
    )
    out, _ = run.communicate()
    assert run.returncode == 0
    assert f"Note: --pcap {pcap}: cannot be written: File too large" in " ".join(out.split())
    assert 0 < pcap.stat().st_size < 900_000
    assert len(read_packets(pcap.read_bytes())) > 100
