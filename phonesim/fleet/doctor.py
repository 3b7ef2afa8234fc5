"""What this machine permits, world by world, and what to do about what it does not.

Every check tries the thing itself where that harms nobody: the virtual world boots a phone,
loopback sockets are bound and written to. The wire world is only looked at, and what a run
that was killed left there is shown; `clean` removes it.
"""

from __future__ import annotations

import contextlib
import random
import resource
import socket
import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import msgspec

from phonesim.device.actions import WriteLog
from phonesim.errors import PhonesimError, UsageError
from phonesim.fleet.plan import read_plan
from phonesim.mocksite.site import build_site
from phonesim.profiles import option_override
from phonesim.results import Recorder
from phonesim.simulation import simulate
from phonesim.virtual_authority import VirtualAuthority
from phonesim.wire.dhcp import SERVER_PORT

BROADCAST = "127.255.255.255"
FEWEST_OPEN_FILES = 4096
"""What a fleet of a few hundred phones needs; see `phonesim.drivers.open_files`."""

FEWEST_NEIGHBOURS = 4096
"""Hosts that the kernel should remember at once; a fleet of more phones loses packets beyond."""

_NEIGHBOURS = Path("/proc/sys/net/ipv4/neigh/default/gc_thresh3")
_CAPABILITIES = {"CAP_NET_ADMIN": 12, "CAP_NET_RAW": 13}
_NEEDED_TO_RUN = ("virtual", "loopback")


class Check(msgspec.Struct, frozen=True, kw_only=True):
    """One thing that a world needs. `remedy` says what to do if it is missing."""

    world: str
    name: str
    is_ok: bool
    finding: str
    remedy: str = ""
    is_needed: bool = True
    """False for what a world works without, though not as well."""


def examine() -> list[Check]:
    """Examine this machine."""
    return [
        _virtual_boot(),
        _tried("loopback", "addresses", _bind_many, "every address of 127.0.0.0/8 can be bound"),
        _tried("loopback", "broadcast", _broadcast, f"datagrams to {BROADCAST} arrive"),
        _open_files(),
        _neighbours(),
        *_capabilities(),
        _interfaces(),
        _own_macs(),
        _taps(),
        _left_behind(),
        _relay_port(),
    ]


def clean() -> str:
    """Remove what runs that were killed left on this machine's network, and say what it was.

    `UsageError` if that is not permitted.
    """
    from phonesim.drivers.leftovers import describe_leftovers, remove_leftovers

    return describe_leftovers(remove_leftovers())


def works(checks: list[Check], world: str) -> bool:
    """Say whether a world has all that it needs."""
    return all(check.is_ok for check in checks if check.world == world and check.is_needed)


def is_healthy(checks: list[Check]) -> bool:
    """Say whether the worlds that need no privilege work."""
    return all(works(checks, world) for world in _NEEDED_TO_RUN)


class _NoDisk:
    """A disk that keeps nothing."""

    def files(self) -> Mapping[str, bytes]:
        return {}

    def write_file(self, name: str, data: bytes) -> None:
        pass

    def delete_file(self, name: str) -> None:
        pass

    def append_log(self, line: WriteLog) -> None:
        pass

    def settled(self, *, is_well: bool) -> None:
        pass

    def flush(self) -> None:
        pass


def _virtual_boot() -> Check:
    try:
        overrides = [
            option_override("--phones", "fleet", "phones", 1),
            option_override("--attach", "fleet", "attach", "virtual"),
        ]
        plan = read_plan("demo", overrides)
        assert plan.site is not None
        recorder = Recorder(plan.specs, lambda *_: None)
        epoch = plan.site.epoch.timestamp()
        site = build_site(plan.site, (), VirtualAuthority(), random.Random(1), epoch)
        simulate(plan.specs, site, lambda _: _NoDisk(), recorder, plan.limits, plan.fleet.links, 1)
        outcome = next(iter(recorder.phones.values())).outcome
    except PhonesimError as error:
        outcome = str(error)
    return Check(
        world="virtual",
        name="boot",
        is_ok=outcome == "signed-in",
        finding=f"a phone of the demo fleet: {outcome}",
        remedy="install phonesim again: its profiles are damaged",
    )


def _tried(world: str, name: str, attempt: Callable[[], None], finding: str) -> Check:
    try:
        attempt()
    except OSError as error:
        return Check(
            world=world,
            name=name,
            is_ok=False,
            finding=f"not so: {error.strerror or error}",
            remedy="use Linux, where 127.0.0.0/8 is all local; a firewall may stand in the way",
        )
    return Check(world=world, name=name, is_ok=True, finding=finding)


def _bind_many() -> None:
    for address in ("127.0.0.1", "127.20.0.10", "127.99.255.254"):
        for kind in (socket.SOCK_DGRAM, socket.SOCK_STREAM):
            with socket.socket(socket.AF_INET, kind) as bound:
                bound.bind((address, 0))


def _broadcast() -> None:
    with _udp(BROADCAST) as receiver, _udp("127.20.0.10") as sender:
        sender.setsockopt(socket.SOL_SOCKET, socket.SO_BROADCAST, 1)
        sender.sendto(b"phonesim", receiver.getsockname())
        receiver.recv(16)


@contextlib.contextmanager
def _udp(address: str) -> Iterator[socket.socket]:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as bound:
        bound.settimeout(1)
        bound.bind((address, 0))
        yield bound


def _open_files() -> Check:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    is_unlimited = hard == resource.RLIM_INFINITY
    return Check(
        world="loopback",
        name="open files",
        is_ok=is_unlimited or hard >= FEWEST_OPEN_FILES,
        finding=f"{soft} now, up to {'any number' if is_unlimited else hard};"
        " a phone at the mock site takes two, and a few while it boots",
        remedy=f"raise the limit: ulimit -Hn {FEWEST_OPEN_FILES * 4}",
    )


def _neighbours() -> Check:
    """The kernel's table of neighbours is one for all interfaces, loopback among them."""
    try:
        most = int(_NEIGHBOURS.read_text())
    except (OSError, ValueError):
        finding, is_ok = "the size of the kernel's table cannot be read", True
    else:
        finding = f"{most} addresses at once, of phones and servers"
        is_ok = most >= FEWEST_NEIGHBOURS
    return Check(
        world="loopback",
        name="neighbours",
        is_ok=is_ok,
        finding=finding,
        remedy="for fleets of more: sysctl -w net.ipv4.neigh.default.gc_thresh3=65536, as root",
        is_needed=False,
    )


def _capabilities() -> list[Check]:
    effective = _effective_capabilities()
    python = Path(sys.executable).resolve()
    return [
        Check(
            world="wire",
            name=name,
            is_ok=bool(effective >> bit & 1),
            finding="held" if effective >> bit & 1 else "not held",
            remedy=f"run as root, or once: sudo setcap cap_net_raw,cap_net_admin+eip {python}",
        )
        for name, bit in _CAPABILITIES.items()
    ]


def _effective_capabilities() -> int:
    try:
        status = Path("/proc/self/status").read_text()
    except OSError:
        return 0
    found = [line.split()[1] for line in status.splitlines() if line.startswith("CapEff:")]
    return int(found[0], 16) if found else 0


def _interfaces() -> Check:
    described = []
    is_up = False
    for _, name in socket.if_nameindex():
        state = _attribute(name, "operstate")
        mac = _attribute(name, "address")
        if mac in ("", "00:00:00:00:00:00"):
            continue
        is_up = is_up or state == "up"
        described.append(f"{name} ({state}, {mac})")
    return Check(
        world="wire",
        name="interfaces",
        is_ok=is_up,
        finding=", ".join(described) or "none with a MAC",
        remedy="bring one up: ip link set dev IF up",
    )


def _own_macs() -> Check:
    from phonesim.drivers.nft import nft_path
    from phonesim.drivers.own_macs import try_own_macs

    problem = "" if nft_path() else "the nft program is not installed (package nftables)"
    if not problem and _effective_capabilities() >> _CAPABILITIES["CAP_NET_ADMIN"] & 1:
        try:
            try_own_macs()
        except UsageError as error:
            problem = str(error)
    return Check(
        world="wire",
        name="own MACs",
        is_ok=not problem,
        finding=f"in DHCP only: {problem}" if problem else "in every frame of a phone",
        remedy="for MACs of their own in every frame: root, nftables 1.0.1, Linux 5.16, or newer",
        is_needed=False,
    )


def _taps() -> Check:
    from phonesim.drivers.voice_vlan import TUN

    try:
        with TUN.open("rb"):
            problem = ""
    except OSError as error:
        problem = f"{TUN}: {error.strerror}"
    return Check(
        world="wire",
        name="voice VLANs",
        is_ok=not problem,
        finding=f"none: {problem}" if problem else f"by tap interfaces of {TUN}",
        remedy="for phones in a voice VLAN: modprobe tun, as root",
        is_needed=False,
    )


def _left_behind() -> Check:
    from phonesim.drivers.leftovers import describe_leftovers, find_leftovers

    left = describe_leftovers(find_leftovers())
    return Check(
        world="wire",
        name="leftovers",
        is_ok=not left,
        finding=left or "nothing",
        remedy="remove what a killed run left: sudo phonesim doctor --clean",
        is_needed=False,
    )


def _relay_port() -> Check:
    problem = ""
    try:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as bound:
            bound.bind(("127.20.0.1", SERVER_PORT))
    except OSError as error:
        problem = error.strerror or str(error)
    return Check(
        world="relay",
        name=f"port {SERVER_PORT}",
        is_ok=not problem,
        finding=f"on loopback only, with other ports: {problem}" if problem else "can be bound",
        remedy="run as root, and end the DHCP server or relay agent that has the port",
        is_needed=False,
    )


def _attribute(interface: str, name: str) -> str:
    try:
        return Path("/sys/class/net", interface, name).read_text().strip()
    except OSError:
        return ""
