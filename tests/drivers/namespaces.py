"""Two network namespaces that are joined by a pair of interfaces."""

import asyncio
import ctypes
import os
import random
import subprocess
import threading
import time
from collections.abc import Callable, Coroutine
from contextlib import AsyncExitStack
from functools import partial
from typing import Any

from fleet_runs import Observer

from phonesim.drivers.authority import SiteAuthority
from phonesim.drivers.interface import Interface
from phonesim.drivers.packet_socket import PacketSocket, dhcp_program
from phonesim.drivers.site_host import SiteHost
from phonesim.drivers.site_wire import WireDhcpPorts
from phonesim.mocksite.site import Site
from phonesim.wire.dhcp import MessageType, decode_dhcp
from phonesim.wire.frame import decode_udp_frame

CLONE_NEWNET = 0x40000000
PHONES, SERVERS = "phones0", "servers0"


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
            + ip("netns", "exec", self.phones, "nft", "list", "tables")
        )


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
        self.released: set[str] = set()
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
            watch = PacketSocket(SERVERS, interface.index, dhcp_program(67), self._seen)
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
            mac = frame.source_mac.hex("-").upper()
            self.macs.add(mac)
            if decode_dhcp(frame.payload).message_type is MessageType.RELEASE:
                self.released.add(mac)


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
