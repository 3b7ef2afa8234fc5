"""A small site of real servers: two network namespaces joined by a veth pair.

    phones  --phones0====servers0--  servers

The servers' side has one address a server. Everything that a lab starts ends with it,
by process id; the namespaces take the interfaces with them.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import IO, Any, Self

DHCP, DNS, NTP, WEB, FE01, FE02 = (f"10.77.0.{n}" for n in (1, 2, 3, 10, 11, 12))
PREFIX = 16
DOMAIN = "contoso.com"
WEB_NAME = f"webpool.{DOMAIN}"
FE01_NAME, FE02_NAME = f"fe01.{DOMAIN}", f"fe02.{DOMAIN}"
OPTION_43 = bytes.fromhex(
    "010C4D532D55432D436C69656E74"
    "02056874747073"
    f"03{len(WEB_NAME):02X}" + WEB_NAME.encode().hex() + "0403343433"
    "05252F4365727450726F762F4365727450726F766973696F6E696E67536572766963652E737663"
)
OPTION_120 = b"\0" + b"".join(
    bytes((len(label),)) + label.encode()
    for name in (FE01_NAME, FE02_NAME)
    for label in (*name.split("."), "")
)
NO_SWITCH = ("--set", "device.vlan.lldp_wait=0")
"""The arguments of `phonesim run` for a site whose switch says nothing, known from the start."""
Fleet = subprocess.Popen[str]
_READY_SECONDS = 20.0
_OUTPUT_LIMIT = 32 << 20


class Lab:
    """The two namespaces and what runs in them. `folder` takes configurations and outputs."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.phones = f"phonesim-{os.getpid()}-p"
        self.servers = f"phonesim-{os.getpid()}-s"
        self._processes: list[tuple[str, subprocess.Popen[bytes]]] = []
        self._fleets: list[Fleet] = []
        self._files: list[IO[bytes]] = []

    @property
    def namespaces(self) -> tuple[str, ...]:
        """All that the lab makes."""
        return self.phones, self.servers

    @property
    def watched(self) -> tuple[str, str]:
        """The namespace and the interface that all frames of phones pass."""
        return self.servers, "servers0"

    def connect(self) -> None:
        """Lay the cables, down as they are."""
        self.cable(self.phones, "phones0", self.servers, "servers0")

    def cable(self, namespace: str, name: str, other_namespace: str, other_name: str) -> None:
        """Join two namespaces by a pair of interfaces."""
        _ip(
            *("link", "add", name, "netns", namespace, "type", "veth"),
            *("peer", "name", other_name, "netns", other_namespace),
        )

    def __enter__(self) -> Self:
        for name in self.namespaces:
            _ip("netns", "add", name)
            _ip("-n", name, "link", "set", "lo", "up")
        self.connect()
        for address in (DHCP, DNS, NTP, WEB, FE01, FE02):
            _ip("-n", self.servers, "addr", "add", f"{address}/{PREFIX}", "dev", "servers0")
        _ip("-n", self.servers, "link", "set", "servers0", "up")
        _ip("-n", self.phones, "link", "set", "phones0", "up")
        return self

    def __exit__(self, *_: object) -> None:
        for fleet in self._fleets:
            if fleet.poll() is None:
                os.killpg(fleet.pid, signal.SIGKILL)
            fleet.communicate()
        for _name, process in reversed(self._processes):
            _end(process)
        for file in self._files:
            file.close()
        for name in self.namespaces:
            _ip("netns", "del", name)

    def route_to_phones(self, network: str, gateway: str) -> None:
        """Put a router on the phones' side: `gateway` is the way from the servers to `network`."""
        _ip("-n", self.phones, "addr", "add", f"{gateway}/{PREFIX}", "dev", "phones0")
        _ip("-n", self.servers, "route", "add", network, "via", gateway, "dev", "servers0")

    def serve(
        self,
        name: str,
        command: Sequence[str],
        is_ready: Callable[[], bool] | None = None,
        namespace: str | None = None,
    ) -> None:
        """Start a server, in the servers' namespace by default, and wait until it is ready."""
        output = (self.folder / f"{name}.out").open("wb")
        self._files.append(output)
        process = subprocess.Popen(
            [
                *("prlimit", f"--fsize={_OUTPUT_LIMIT}"),
                *("ip", "netns", "exec", namespace or self.servers, *command),
            ],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            cwd=self.folder,
            start_new_session=True,
        )
        self._processes.append((name, process))
        give_up_at = time.monotonic() + _READY_SECONDS
        while is_ready is not None and not is_ready():
            if process.poll() is not None or time.monotonic() > give_up_at:
                raise AssertionError(f"{name} did not start:\n{self.output(name)}")
            time.sleep(0.05)

    def stop(self, name: str) -> None:
        """End a server that was started here, and wait until it is gone."""
        for entry in [each for each in self._processes if each[0] == name]:
            self._processes.remove(entry)
            _end(entry[1])

    def output(self, name: str) -> str:
        """What a server has printed."""
        return (self.folder / f"{name}.out").read_text(errors="replace")

    def cpu_seconds(self, name: str) -> float:
        """The processor time that a server and its children have taken, user and system."""
        groups = {process.pid for each, process in self._processes if each == name}
        ticks = 0
        for entry in Path("/proc").glob("[0-9]*/stat"):
            with contextlib.suppress(OSError):  # it has just ended
                fields = entry.read_text().rpartition(")")[2].split()
                if int(fields[2]) in groups:
                    ticks += int(fields[11]) + int(fields[12])
        return ticks / os.sysconf("SC_CLK_TCK")

    def inside(self, namespace: str, *command: str) -> str:
        """Run a command in a namespace; what it printed."""
        return subprocess.run(
            ["ip", "netns", "exec", namespace, *command],
            check=True,
            capture_output=True,
            text=True,
        ).stdout

    def is_listening(
        self, protocol: str, address: str, port: int, namespace: str | None = None
    ) -> bool:
        """Whether a socket is bound there, in the servers' namespace by default."""
        flags = "-Hlun" if protocol == "udp" else "-Hltn"
        listing = self.inside(namespace or self.servers, "ss", flags)
        bound = "|".join(map(re.escape, (address, "0.0.0.0", "*")))
        return re.search(rf" ({bound})(%\w+)?:{port}\s", listing) is not None

    def run_fleet(self, *arguments: str, timeout: float = 50) -> tuple[int, dict[str, Any], str]:
        """Run `phonesim run` in the phones' namespace: status, summary, what it told people."""
        return self.end_of(self.start_fleet(*arguments), timeout)

    def end_of(self, fleet: Fleet, timeout: float = 50) -> tuple[int, dict[str, Any], str]:
        """Wait for the end of what `start_fleet` started: what `run_fleet` returns."""
        return _ended(fleet, timeout)

    def start_fleet(self, *arguments: str) -> Fleet:
        """Start what `run_fleet` runs, with a log of every phone; it leads a session of its own."""
        fleet = subprocess.Popen(
            [
                *self.phonesim,
                *("run", "--attach", "wire", "--interface", "phones0", "--site", "none"),
                *("--yes", "--json", "--out", str(self.folder / "logs")),
                *("--set", "fleet.device_logs=all", *arguments),
            ],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
        self._fleets.append(fleet)
        return fleet

    def interrupt_fleet(self, fleet: Fleet) -> tuple[int, dict[str, Any], str]:
        """Press Ctrl-C, and wait for what `run_fleet` returns."""
        os.killpg(fleet.pid, signal.SIGINT)
        return _ended(fleet, 30)

    def end_of_fleet(self, fleet: Fleet) -> tuple[int, dict[str, Any], str]:
        """Wait for what `run_fleet` returns."""
        return _ended(fleet, 50)

    def doctor(self, *arguments: str) -> str:
        """Run `phonesim doctor` in the phones' namespace: all that it told."""
        command = [*self.phonesim, "doctor", *arguments]
        finished = subprocess.run(command, capture_output=True, text=True, timeout=30)
        return finished.stdout + finished.stderr

    def wait_for_addresses(self, count: int) -> None:
        """Wait until that many addresses are on the phones' interface."""
        self.wait_until(
            lambda: len(self.addresses()) >= count,
            lambda: f"{len(self.addresses())} of {count} addresses",
        )

    def wait_until(self, is_so: Callable[[], bool], instead: Callable[[], str]) -> None:
        """Wait until something is so; say what is so instead if it does not come."""
        give_up_at = time.monotonic() + _READY_SECONDS
        while not is_so():
            assert time.monotonic() < give_up_at, instead()
            time.sleep(0.1)

    def capture(self, name: str) -> Path:
        """Capture what passes the watched interface, until `stop`."""
        path = self.folder / f"{name}.pcap"
        namespace, interface = self.watched
        # With a buffer of 16 MiB it misses nothing while the machine is busy.
        options = ("--immediate-mode", "-U", "-B", 16384, "-Z", "root")
        command = ["tcpdump", "-i", interface, *options, "-w", path]
        self.serve(
            name, list(map(str, command)), lambda: "listening on" in self.output(name), namespace
        )
        return path

    @property
    def phonesim(self) -> list[str]:
        """The command that is phonesim in the phones' namespace."""
        return ["ip", "netns", "exec", self.phones, sys.executable, "-m", "phonesim"]

    def device_logs(self) -> dict[str, str]:
        """The device log of every phone of every run in this lab, by phone."""
        paths = (self.folder / "logs").glob("*/*/DSK1/logs/cpsw3g.log")
        return {path.parts[-4]: path.read_text() for path in paths}

    def addresses(self) -> list[str]:
        """The IPv4 addresses on the phones' interface."""
        listing = _ip("-n", self.phones, "-j", "-4", "addr", "show", "dev", "phones0")
        return [info["local"] for entry in json.loads(listing) for info in entry["addr_info"]]

    def answered_for(self, *addresses: str) -> set[tuple[str, str]]:
        """Which of these addresses somebody on the phones' side answers ARP for.

        Pairs of address and MAC, as phones write it.
        """
        script = Path(__file__).with_name("ask_arp.py")
        command = [sys.executable, str(script), "servers0", DHCP, *addresses]
        answers = self.inside(self.servers, *command).splitlines()
        return {(address, mac) for address, mac in map(str.split, answers)}

    def add_address(self, address: str) -> None:
        """Give the servers' side another address."""
        _ip("-n", self.servers, "addr", "add", f"{address}/32", "dev", "servers0")

    def mac_of_servers(self) -> str:
        """The MAC of the servers' interface, as phones write it."""
        (link,) = json.loads(_ip("-n", self.servers, "-j", "link", "show", "dev", "servers0"))
        return str(link["address"]).replace(":", "-").upper()

    def phones_side(self) -> str:
        """All that a run could leave in the phones' namespace."""
        return (
            _ip("-n", self.phones, "-4", "addr")
            + _ip("-n", self.phones, "rule")
            + _ip("-n", self.phones, "-4", "route", "show", "table", "all")
            + self.inside(self.phones, "nft", "list", "ruleset")
        )

    def neighbors(self) -> dict[str, str]:
        """Where the servers' kernel has found which address: MACs as phones write them."""
        entries = json.loads(_ip("-n", self.servers, "-j", "neigh", "show", "dev", "servers0"))
        return {
            entry["dst"]: entry["lladdr"].replace(":", "-").upper()
            for entry in entries
            if "lladdr" in entry and "." in entry["dst"]
        }


def missing_programs(*names: str) -> list[str]:
    """Those of the named programs that are not installed."""
    path = f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin"
    return [name for name in names if shutil.which(name, path=path) is None]


def _end(process: subprocess.Popen[bytes]) -> None:
    """End a server and all its children: some leave theirs behind, and those never stop."""
    group = process.pid  # it leads a session of its own
    with contextlib.suppress(ProcessLookupError):
        os.killpg(group, signal.SIGTERM)
    with contextlib.suppress(subprocess.TimeoutExpired):
        process.wait(5)
    with contextlib.suppress(ProcessLookupError):
        os.killpg(group, signal.SIGKILL)
    process.wait()


def _ended(fleet: Fleet, timeout: float) -> tuple[int, dict[str, Any], str]:
    try:
        out, err = fleet.communicate(timeout=timeout)
    except subprocess.TimeoutExpired:
        os.killpg(fleet.pid, signal.SIGKILL)
        fleet.communicate()
        raise
    try:
        summary = json.loads(out)
    except ValueError:
        raise AssertionError(f"no summary:\n{out}\n{err}") from None
    return fleet.returncode, summary, err


def _ip(*arguments: str) -> str:
    return subprocess.run(["ip", *arguments], check=True, capture_output=True, text=True).stdout
