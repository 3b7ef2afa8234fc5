"""The kernel's sockets of one phone: DNS, NTP, HTTP and SIP, and the tasks behind them.

Made when the phone first wants one: a phone that only leases an address never does.
"""

from __future__ import annotations

from collections.abc import Callable

from phonesim.capture import PhoneTap
from phonesim.config.device_profile import TlsConfig
from phonesim.device.events import Event
from phonesim.drivers.datagrams import Datagrams
from phonesim.drivers.http_client import HttpClient
from phonesim.drivers.inner_tls import PhoneHandshake
from phonesim.drivers.phone_tasks import PhoneTasks
from phonesim.drivers.sip_connection import PhoneConnections
from phonesim.drivers.trust import PhoneTls


class PhoneSockets:
    """What a phone has open; `port_offset` is added to every standard port.

    `key` gives the phone's private key (DER), if it has one; `deliver` takes events,
    `unsent` the refusals of the local network stack, `failed` what a task raised; `tap` is
    told what is sent and received.
    """

    def __init__(
        self,
        port_offset: int,
        key: Callable[[], bytes | None],
        deliver: Callable[[Event], None],
        unsent: Callable[[OSError], None],
        failed: Callable[[Exception], None],
        tap: PhoneTap | None,
        tls_config: TlsConfig | None = None,
    ) -> None:
        self._tasks = PhoneTasks(failed)
        tls, spawn = PhoneTls(tls_config), self._tasks.spawn
        self.datagrams = Datagrams(port_offset, deliver, unsent, spawn, tap)
        self.http = HttpClient(port_offset, tls, deliver, spawn, tap)
        self.connections = PhoneConnections(port_offset, tls, deliver, spawn, tap)
        self.handshake = PhoneHandshake(key, deliver)

    def abort(self) -> None:
        """Let everything go at once, as a phone without power does."""
        self._tasks.cancel()
        self.connections.abort()
        self.http.close()
        self.datagrams.close()

    async def closed(self) -> None:
        """Wait until what `abort` began is done."""
        await self.http.closed()
