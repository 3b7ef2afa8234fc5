"""Serves a mock site on real sockets: every listener of a `Site`, each at its own address.

    DHCP UDP, DNS UDP and TCP, NTP UDP, HTTP and HTTPS, SIP over TLS or TCP

A real port is the standard port plus an offset, because ports below 1024 are for
root. A listener that refuses is not bound, so that its clients are refused by the
kernel as they would be by a host without that service.
"""

from __future__ import annotations

import asyncio
import errno
import ssl
from collections.abc import Callable, Iterable, Sequence
from typing import Protocol, cast

from phonesim.drivers.authority import CertificateKind, SiteAuthority
from phonesim.drivers.live_run import let_transports_close
from phonesim.drivers.server_host import ServerHost
from phonesim.drivers.site_datagrams import DhcpPorts, DnsPort, NtpPort
from phonesim.drivers.site_http import WebPort
from phonesim.drivers.site_sip import SipPort
from phonesim.drivers.trust import load_credentials, server_context
from phonesim.errors import UsageError
from phonesim.mocksite.exchange import Listener
from phonesim.mocksite.site import Site
from phonesim.world import SiteObserver

OFFSETS = range(20000, 60001, 1000)
"""The port offsets that are tried in turn when none is given."""


class Closable(Protocol):
    """Ports that can be closed."""

    def close(self) -> None:
        """Close them."""
        ...


OpenDhcp = Callable[[Sequence[tuple[Listener, ServerHost]], int], Closable]
"""Opens the ports of the DHCP servers at a port offset; OSError if they are taken."""


class SiteHost:
    """A site being served; `clock` gives seconds since the run began.

    `open_dhcp` says how DHCP reaches it: by default over the loopback interface. `switch` has
    no port: whoever plugs phones into it hands it what they advertise.
    `failure` is done, with an exception, when a server's machine raised.
    """

    def __init__(
        self,
        site: Site,
        authority: SiteAuthority,
        observer: SiteObserver,
        clock: Callable[[], float],
        open_dhcp: OpenDhcp = DhcpPorts,
    ) -> None:
        self.port_offset = 0
        self.failure: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._open_dhcp = open_dhcp
        self._authority = authority
        hosts: dict[int, ServerHost] = {}
        for listener in site.listeners:
            if id(listener.server) not in hosts:
                hosts[id(listener.server)] = ServerHost(
                    listener.name, listener.server, observer, clock, self._failed
                )
        self.switch = None
        if site.switch is not None:
            self.switch = ServerHost("switch", site.switch, observer, clock, self._failed)
            hosts[id(site.switch)] = self.switch
        self._hosts = tuple(hosts.values())
        self._listeners = [
            (listener, hosts[id(listener.server)])
            for listener in site.listeners
            if not listener.refuses
        ]
        self._ports: list[Closable | WebPort] = []

    async def start(self, port_offset: int | None) -> None:
        """Bind every port at `port_offset`, or at the first of `OFFSETS` where all are free.

        `UsageError` if a port cannot be bound.
        """
        offsets: Iterable[int] = OFFSETS if port_offset is None else (port_offset,)
        problem = ""
        for offset in offsets:
            listener = None
            try:
                await self._bind_datagrams(offset)
                for listener, host in self._listeners:
                    await self._bind(listener, host, offset)
            except OSError as error:
                await self._close_ports()
                problem = _explain(error, listener, offset)
                if error.errno != errno.EADDRINUSE:
                    break
            else:
                self.port_offset = offset
                for host in self._hosts:
                    host.start()
                return
        raise UsageError(problem)

    def server(self, name: str) -> ServerHost:
        """The server of that name."""
        return next(host for host in self._hosts if host.name == name)

    async def stop(self) -> None:
        """Close every port and connection."""
        await self._close_ports()
        for host in self._hosts:
            host.close()
        self.failure.cancel()

    async def _bind_datagrams(self, offset: int) -> None:
        dhcp = [each for each in self._listeners if each[0].protocol == "dhcp"]
        if dhcp:
            self._ports.append(self._open_dhcp(dhcp, offset))

    async def _bind(self, listener: Listener, host: ServerHost, offset: int) -> None:
        match listener.protocol:
            case "dns":
                dns = DnsPort(listener, host, offset)
                self._ports.append(dns)
                await dns.start()
            case "ntp":
                self._ports.append(NtpPort(listener, host, offset))
            case "http" | "https":
                web = WebPort(listener, host, self._failed)
                self._ports.append(web)
                await web.start(offset, self._context(listener, host))
            case "sip" | "sips":
                sip = SipPort(listener, host)
                self._ports.append(sip)
                await sip.start(offset, self._context(listener, host))
            case _:
                pass  # DHCP: all servers together

    async def _close_ports(self) -> None:
        ports, self._ports = self._ports, []
        for host in self._hosts:
            host.ports.streams.clear()
            host.ports.show.clear()
        for port in ports:
            if isinstance(port, WebPort):
                await port.close()
            else:
                port.close()
        await let_transports_close()

    def _context(self, listener: Listener, host: ServerHost) -> ssl.SSLContext | None:
        if listener.protocol not in ("https", "sips"):
            return None
        kind = cast(CertificateKind, listener.certificate)
        credentials = self._authority.server_credentials(listener.names, kind)
        context = server_context(credentials.certificate, credentials.key, listener.minimum_tls)

        def show(certificate: str) -> None:
            other = self._authority.server_credentials(
                listener.names, cast(CertificateKind, certificate)
            )
            load_credentials(context, other.certificate, other.key)

        host.ports.show.append(show)
        return context

    def _failed(self, error: Exception) -> None:
        if not self.failure.done():
            self.failure.set_exception(error)


def _explain(error: OSError, listener: Listener | None, offset: int) -> str:
    where = (
        f"{listener.name} ({listener.address} port {listener.port + offset})"
        if listener
        else f"the site's DHCP servers (port {67 + offset})"
    )
    why = error.strerror or str(error)
    match error.errno:
        case errno.EADDRINUSE:
            advice = "end the other program, or choose another --port-offset"
        case errno.EADDRNOTAVAIL:
            advice = "this machine has no such address; a loopback site uses 127.0.0.0/8"
        case errno.EACCES:
            advice = "ports below 1024 are for root: choose a larger --port-offset"
        case _:
            advice = "see whether another program or a firewall is in the way"
    return f"{where}: cannot be served: {why}; {advice}"
