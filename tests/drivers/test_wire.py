"""The wire world between two network namespaces that are joined by a pair of interfaces."""

import asyncio
import ctypes
import os
import random
import subprocess
import sys
import textwrap
import threading
import time
from collections.abc import Callable, Coroutine, Iterator
from contextlib import AsyncExitStack
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from test_loopback import Observer, Run

from phonesim.config.site_profile import SiteProfile
from phonesim.device.events import PoweredOff, SignedIn
from phonesim.drivers.authority import SiteAuthority
from phonesim.drivers.interface import Interface
from phonesim.drivers.key_pool import SHARED_KEYS, KeyPool, PhoneKey
from phonesim.drivers.packet_socket import PacketSocket
from phonesim.drivers.site_host import SiteHost
from phonesim.drivers.site_wire import WireDhcpPorts
from phonesim.drivers.wire import run_wire
from phonesim.errors import UsageError
from phonesim.mocksite.site import Site, build_site
from phonesim.profiles import SITE, load
from phonesim.wire.frame import UdpFrame, decode_udp_frame, encode_udp_frame
from phonesim.world import RunLimits

CLONE_NEWNET = 0x40000000
PHONES, SERVERS = "phones0", "servers0"

pytestmark = pytest.mark.interop("nsenter")


def ip(*arguments: str) -> str:
    return subprocess.run(["ip", *arguments], check=True, capture_output=True, text=True).stdout


class Segment:
    """Two namespaces, `phones` and `servers`, and the cable between them."""

    def __init__(self) -> None:
        name = f"wire-{os.getpid()}-{random.getrandbits(32):08x}"
        self.phones, self.servers = f"{name}-p", f"{name}-s"
        for namespace in (self.phones, self.servers):
            ip("netns", "add", namespace)
            ip("-n", namespace, "link", "set", "lo", "up")
        ip(
            *("link", "add", PHONES, "netns", self.phones, "type", "veth"),
            *("peer", "name", SERVERS, "netns", self.servers),
        )
        ip("-n", self.phones, "link", "set", PHONES, "up")
        ip("-n", self.servers, "link", "set", SERVERS, "up")

    def remove(self) -> None:
        for namespace in (self.phones, self.servers):
            ip("netns", "del", namespace)

    def state(self) -> str:
        """All that phones could have left on their side."""
        side = ("-n", self.phones)
        return (
            ip(*side, "-4", "addr", "show", "dev", PHONES)
            + ip(*side, "rule", "show")
            + ip(*side, "route", "show", "table", "all", "dev", PHONES, "scope", "link")
        )


@pytest.fixture
def segment() -> Iterator[Segment]:
    segment = Segment()
    yield segment
    segment.remove()


class Inside(threading.Thread):
    """Runs a coroutine in a namespace; `join_and_raise` waits for it."""

    def __init__(self, namespace: str, main: Callable[[], Coroutine[Any, Any, Any]]) -> None:
        super().__init__(daemon=True)
        self._namespace = namespace
        self._main = main
        self._error: BaseException | None = None
        self.result: Any = None
        self.start()

    def run(self) -> None:
        libc = ctypes.CDLL(None, use_errno=True)
        with open(f"/run/netns/{self._namespace}", "rb") as namespace:
            assert libc.setns(namespace.fileno(), CLONE_NEWNET) == 0, os.strerror(
                ctypes.get_errno()
            )
        try:
            self.result = asyncio.run(self._main())
        except BaseException as error:
            self._error = error

    def join_and_raise(self) -> Any:
        self.join()
        if self._error is not None:
            raise self._error
        return self.result


class Servers:
    """A site on the servers' side, until it is told to stop."""

    def __init__(self, segment: Segment, site: Site, authority: SiteAuthority) -> None:
        self._site = site
        self._authority = authority
        self._is_up = threading.Event()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._asked: asyncio.Event | None = None
        self.macs: set[str] = set()
        self._thread = Inside(segment.servers, self._serve)
        if not self._is_up.wait(10):
            self._thread.join_and_raise()

    def stop(self) -> None:
        assert self._loop is not None
        assert self._asked is not None
        self._loop.call_soon_threadsafe(self._asked.set)
        self._thread.join_and_raise()

    async def _serve(self) -> None:
        self._loop, self._asked = asyncio.get_running_loop(), asyncio.Event()
        began = time.monotonic()
        async with AsyncExitStack() as stack:
            interface = Interface(SERVERS)
            stack.callback(interface.close)
            for listener in self._site.listeners:
                interface.add_address(listener.address)
            ip_here("route", "add", "10.77.0.0/16", "dev", SERVERS)
            watch = PacketSocket(SERVERS, interface.index, 67, self._seen, takes_arp=False)
            stack.callback(watch.close)
            host = SiteHost(
                self._site,
                self._authority,
                Observer(),
                lambda: time.monotonic() - began,
                partial(WireDhcpPorts, interface),
            )
            stack.push_async_callback(host.stop)
            await host.start(0)
            self._is_up.set()
            await self._asked.wait()

    def _seen(self, data: bytes) -> None:
        frame = decode_udp_frame(data, verify_udp_checksum=False)
        if frame is not None:
            self.macs.add(frame.source_mac.hex("-").upper())


def ip_here(*arguments: str) -> None:
    """`ip` in the namespace of this thread, which children do not inherit from a thread."""
    namespace = os.open(f"/proc/self/task/{threading.get_native_id()}/ns/net", os.O_RDONLY)
    try:
        subprocess.run(
            ["nsenter", f"--net=/proc/self/fd/{namespace}", "ip", *arguments],
            check=True,
            pass_fds=[namespace],
        )
    finally:
        os.close(namespace)


def site_of(run: Run, **changes: object) -> Site:
    """The contoso site, moved to addresses of the segment."""
    text = load(SITE, "contoso").model_dump_json().replace("127.20.", "10.77.")
    profile = SiteProfile.model_validate_json(text).model_copy(update=changes)
    return build_site(profile, [], run.authority, random.Random(1), time.time())


async def boot(run: Run, count: int, site: Site | None = None, **limits: Any) -> Observer:
    specs = run.specs(count)
    run.observer = Observer()
    run.observer.awaited = count
    await run_wire(
        specs,
        site,
        run.authority,
        run.disk(specs[0].profile),
        run.observer,
        RunLimits(**{"timeout": 20, **limits}),
        PHONES,
        KeyPool(count, given=[run.key] * SHARED_KEYS),
        run.stop,
    )
    return run.observer


@pytest.fixture
def run(tmp_path: Path, site_authority: SiteAuthority, phone_key: PhoneKey) -> Run:
    return Run(tmp_path, site_authority, phone_key)


def test_phones_boot_under_their_own_macs_and_leave_nothing(segment: Segment, run: Run) -> None:
    before = segment.state()
    servers = Servers(segment, site_of(run), run.authority)
    observer = Inside(segment.phones, lambda: boot(run, 3)).join_and_raise()
    servers.stop()
    specs = run.specs(3)
    phones = [spec.phone_id for spec in specs]
    assert sorted(observer.of(SignedIn)) == phones
    assert sorted(observer.of(PoweredOff)) == phones
    assert servers.macs == set(phones)
    assert observer.reports == []
    for spec in specs:
        assert "DHCP RELEASE" in run.log(spec)
    assert segment.state() == before


def test_a_site_can_share_the_phones_interface(segment: Segment, run: Run) -> None:
    before = segment.state()
    observer = Inside(segment.phones, lambda: boot(run, 2, site_of(run))).join_and_raise()
    assert len(observer.of(SignedIn)) == 2
    assert segment.state() == before


def test_an_address_that_answers_arp_is_declined(segment: Segment, run: Run) -> None:
    servers = Servers(segment, site_of(run), run.authority)
    ip("-n", segment.servers, "addr", "add", "10.77.16.1/32", "dev", SERVERS)
    limits = {"timeout": 1.5}
    Inside(segment.phones, lambda: boot(run, 1, **limits)).join_and_raise()
    servers.stop()
    (spec,) = run.specs(1)
    log = run.log(spec)
    mac = ip("-n", segment.servers, "-br", "link", "show", SERVERS).split()[2]
    assert "DHCP DECLINE" in log
    assert mac.replace(":", "-").upper() in log


def test_a_cancelled_run_leaves_nothing_on_the_interface(segment: Segment, run: Run) -> None:
    before = segment.state()
    servers = Servers(segment, site_of(run), run.authority)
    during: list[str] = []

    async def cancelled() -> None:
        running = asyncio.ensure_future(boot(run, 2, duration=60))
        await asyncio.sleep(0)
        await run.observer.all_signed_in.wait()
        during.append(segment.state())
        running.cancel()
        with pytest.raises(asyncio.CancelledError):
            await running

    Inside(segment.phones, cancelled).join_and_raise()
    servers.stop()
    assert during[0].count("inet 10.77.") == 2
    assert segment.state() == before


def test_phones_behind_a_router_find_it(segment: Segment, run: Run) -> None:
    # The web services and registrars are in another subnet, on the far side of 10.77.0.1.
    text = load(SITE, "contoso").model_dump_json().replace("127.20.", "10.77.")
    for server in ("20", "21", "22"):
        text = text.replace(f'"10.77.0.{server}"', f'"10.88.0.{server}"')
    profile = SiteProfile.model_validate_json(text)
    site = build_site(profile, [], run.authority, random.Random(1), time.time())
    servers = Servers(segment, site, run.authority)
    ip("-n", segment.servers, "addr", "add", "10.77.0.1/32", "dev", SERVERS)
    observer = Inside(segment.phones, lambda: boot(run, 1)).join_and_raise()
    servers.stop()
    assert len(observer.of(SignedIn)) == 1


def test_a_loopback_site_is_not_for_the_wire(segment: Segment, run: Run) -> None:
    main = partial(boot, run, 1, run.site())
    with pytest.raises(UsageError, match="loopback address"):
        Inside(segment.phones, main).join_and_raise()


def test_what_is_no_usable_interface_is_the_users_error(segment: Segment) -> None:
    async def open_each() -> list[str]:
        ip("-n", segment.phones, "link", "set", PHONES, "down")
        errors = []
        for name in ("none0", "lo", PHONES):
            try:
                Interface(name).close()
            except UsageError as error:
                errors.append(str(error))
        return errors

    missing, no_ethernet, down = Inside(segment.phones, open_each).join_and_raise()
    assert missing == "interface none0: there is none of that name"
    assert no_ethernet == "interface lo: it is no Ethernet interface"
    assert "it is down" in down


def test_without_capabilities_the_user_is_told(tmp_path: Path) -> None:
    script = textwrap.dedent(
        """
        import ctypes
        header = (ctypes.c_uint32 * 2)(0x20080522, 0)
        assert ctypes.CDLL(None).capset(header, (ctypes.c_uint32 * 6)()) == 0
        from phonesim.drivers.wire import check_privileges
        from phonesim.errors import UsageError
        try:
            check_privileges()
        except UsageError as error:
            print(error)
        """
    )
    root = Path(__file__).parents[2]
    ended = subprocess.run(
        [sys.executable, "-c", script], cwd=root, capture_output=True, text=True, check=True
    )
    assert "CAP_NET_ADMIN and CAP_NET_RAW" in ended.stdout
    assert "--attach loopback" in ended.stdout


def test_the_filter_lets_through_what_is_wanted_and_nothing_else(segment: Segment) -> None:
    def frame(port: int, payload: bytes) -> bytes:
        return encode_udp_frame(
            UdpFrame(
                source_mac=bytes.fromhex("0004f2000001"),
                destination_mac=b"\xff" * 6,
                source="0.0.0.0",
                destination="255.255.255.255",
                source_port=68,
                destination_port=port,
                payload=payload,
            )
        )

    arp = b"\xff" * 6 + bytes.fromhex("0004f2000001") + b"\x08\x06" + bytes(28)
    tcp = bytearray(frame(67, b"tcp"))
    tcp[23] = 6
    fragment = bytearray(frame(67, b"fragment"))
    fragment[20:22] = b"\x00\x05"
    marker = frame(67, b"the end")

    async def listen() -> list[bytes]:
        interface = Interface(SERVERS)
        frames: list[bytes] = []
        ended = asyncio.Event()

        def received(data: bytes) -> None:
            frames.append(data)
            if data == marker:
                ended.set()

        socket = PacketSocket(SERVERS, interface.index, 67, received, takes_arp=True)
        is_open.set()
        async with asyncio.timeout(10):
            await ended.wait()
        socket.close()
        interface.close()
        return frames

    async def send() -> None:
        interface = Interface(PHONES)
        socket = PacketSocket(PHONES, interface.index, 68, lambda data: None, takes_arp=False)
        for data in (frame(53, b"dns"), bytes(tcp), bytes(fragment), arp, frame(67, b"1"), marker):
            socket.send(data)
        socket.close()
        interface.close()

    is_open = threading.Event()
    listening = Inside(segment.servers, listen)
    assert is_open.wait(10)
    Inside(segment.phones, send).join_and_raise()
    frames = [each for each in listening.join_and_raise() if b"\x00\x04\xf2" in each[:12]]
    assert frames == [arp, frame(67, b"1"), marker]
