"""A site of one listener, served on real sockets, with a machine that does what a test says."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable

from phonesim.drivers.site_datagrams import LOOPBACK_BROADCAST
from phonesim.drivers.site_host import SiteHost
from phonesim.drivers.udp_socket import UdpSocket
from phonesim.mocksite import exchange as on
from phonesim.mocksite.site import Site
from phonesim.mocksite.users import UserDirectory
from phonesim.wire.sip import NameAddress, SipRequest

NAME = "web.contoso.com"
REGISTER = SipRequest(
    method="REGISTER",
    uri="sip:contoso.com",
    vias=("SIP/2.0/TLS 127.20.16.1:5061;branch=z9hG4bK1",),
    sender=NameAddress(uri="sip:user1@contoso.com", tag="1"),
    recipient=NameAddress(uri="sip:user1@contoso.com"),
    call_id="c1",
    cseq=1,
)


class Machine:
    """A server that notes its events and answers as the test says."""

    def __init__(self) -> None:
        self.events: asyncio.Queue[on.ServerEvent] = asyncio.Queue()
        self.answer: Callable[[on.ServerEvent], list[on.ServerAction]] = lambda event: []
        self.deadline: float | None = None

    def handle(self, event: on.ServerEvent, now: float) -> list[on.ServerAction]:
        self.events.put_nowait(event)
        if isinstance(event, on.ServerTimerExpired):
            self.deadline = None
        return self.answer(event)

    def next_deadline(self) -> tuple[float, str] | None:
        return None if self.deadline is None else (self.deadline, "the test says so")


class Observer:
    """Notes what servers report."""

    def __init__(self) -> None:
        self.reports: list[tuple[str, str]] = []

    def boot_started(self, phone_id: str, boot: int, now: float) -> None: ...

    def observe(self, phone_id: str, observation: object, now: float) -> None: ...

    def crashed(self, phone_id: str, error: BaseException, now: float) -> None: ...

    def report(
        self,
        server: str,
        text: str,
        fields: tuple[tuple[str, str], ...],
        is_warning: bool,
        now: float,
    ) -> None:
        self.reports.append((server, text))


class Served:
    """One listener, served; and the machine behind it."""

    def __init__(self, machine: Machine, host: SiteHost, observer: Observer, address: str) -> None:
        self.machine = machine
        self.host = host
        self.observer = observer
        self.address = address

    def place(self, port: int) -> tuple[str, int]:
        return self.address, port + self.host.port_offset


def site_of(*listeners: on.Listener) -> Site:
    return Site(
        name="test",
        listeners=listeners,
        squatters=frozenset(),
        epoch=time.time(),
        users=UserDirectory((), ()),
    )


Serve = Callable[..., Awaitable[Served]]


class Client:
    """A UDP client on an address of its own."""

    def __init__(self, address: str, port: int = 0) -> None:
        self.replies: asyncio.Queue[bytes] = asyncio.Queue()
        shares = address == LOOPBACK_BROADCAST
        self.socket = UdpSocket(
            (address, port), lambda data, _: self.replies.put_nowait(data), shares_port=shares
        )
