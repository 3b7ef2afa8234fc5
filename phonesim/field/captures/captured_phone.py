"""One phone in a capture: its narrators, and where one boot of it ends and another begins.

A boot begins with the phone's first packet, and whenever it begins with DHCP again after it had
asked for more than an address.
"""

from __future__ import annotations

from phonesim.config.device_profile import DiscoveryConfig
from phonesim.device import device_log as log
from phonesim.field.captures.captured_connection import ConnectionNarrator
from phonesim.field.captures.captured_dhcp import DhcpNarrator
from phonesim.field.captures.captured_link import LinkNarrator
from phonesim.field.captures.captured_names import ClockNarrator, DnsNarrator
from phonesim.field.captures.captured_seen import Seen, Told, shown
from phonesim.field.captures.captured_sip import SipNarrator
from phonesim.field.captures.captured_streams import StreamEvent
from phonesim.field.captures.captured_web import WebNarrator
from phonesim.field.captures.known_hosts import KnownHosts
from phonesim.wire.dhcp import DhcpMessage, MessageType
from phonesim.wire.pcapng import TransportAddress

_MOST_CONNECTIONS = 64
_SECOND = 1.0


class CapturedPhone:
    """Tells one phone, packet by packet, in order."""

    def __init__(self, phone_id: str) -> None:
        self.phone_id = phone_id
        self._last_at = 0.0
        self._looked_at = 0.0
        self.has_begun = False
        """Whether a packet of it was seen."""
        self._went_on = False
        hosts = self._hosts = KnownHosts()
        self.dhcp = DhcpNarrator(DiscoveryConfig())
        self.link = LinkNarrator()
        self.dns = DnsNarrator(hosts)
        self.clock = ClockNarrator()
        self._web = WebNarrator(hosts)
        self._sip = SipNarrator(hosts)
        self._connections: dict[tuple[TransportAddress, TransportAddress], ConnectionNarrator] = {}

    def begin(self, seen: Seen) -> list[Told]:
        """A packet of this phone was seen: tell what time has decided since the last one."""
        self._last_at = seen.at
        told: list[Told] = []
        if not self.has_begun:
            self.has_begun = True
            told.append(Told(shown("boot_begun", self.phone_id), seen))
        if seen.at - self._looked_at >= _SECOND:
            self._looked_at = seen.at
            told += self._silence(seen.at)
        return told

    def sent_dhcp(
        self, message: DhcpMessage, destination: str, vlan_id: int | None, seen: Seen
    ) -> list[Told]:
        """It sent a message of DHCP, in that VLAN."""
        told: list[Told] = []
        if self._went_on and self.dhcp.begins_anew(message):
            self._went_on = False
            told += self.dhcp.forget()
            self.link.forget()
            self._connections.clear()
            told.append(Told(shown("boot_begun", self.phone_id), seen))
        if message.message_type is MessageType.INFORM:
            self._went_on = True
            told += self.clock.give_up()
        told += self.link.sent_in(vlan_id, seen)
        return told + self.dhcp.sent(message, destination, seen)

    def went_on(self) -> None:
        """It has an address, and does more than to ask for one."""
        self._went_on = True

    def streamed(self, event: StreamEvent, seen: Seen) -> list[Told]:
        """Something happened to a TCP connection of it."""
        connection = event.connection
        narrator = connection.user
        if not isinstance(narrator, ConnectionNarrator):
            ends = (connection.client, connection.server)
            known = None if event.kind == "opening" else self._connections.get(ends)
            narrator = connection.user = known or self._connection(*ends)
        match event.kind:
            case "opening":
                return self._from_cache(narrator, seen) + narrator.opening(seen)
            case "repeated":
                narrator.repeated(seen)
                return []
            case "opened":
                return narrator.opened(seen)
            case "octets":
                return narrator.octets(event.octets, seen, by_client=event.by_client)
            case kind:
                if connection.is_over:
                    self._connections.pop((connection.client, connection.server), None)
                if kind == "refused":
                    return narrator.refused(seen)
                return narrator.ended(seen, by_client=event.by_client)

    def connection_of(
        self, client: TransportAddress, server: TransportAddress, seen: Seen
    ) -> tuple[ConnectionNarrator, list[Told]]:
        """The connection of a message that stands alone, and what its first one tells."""
        narrator = self._connections.get((client, server))
        if narrator is not None:
            return narrator, []
        narrator = self._connection(client, server)
        return narrator, self._from_cache(narrator, seen) + narrator.connecting(seen)

    def finish(self, seen: Seen) -> list[Told]:
        """The capture has ended."""
        silent_for = max(0.0, seen.at - self._last_at)
        now = max(seen.at, self._last_at)
        told = self._silence(now) + self.dhcp.finish(now)
        return [*told, Told(shown("capture_ended", silent_for), seen)]

    def _connection(self, client: TransportAddress, server: TransportAddress) -> ConnectionNarrator:
        if len(self._connections) >= _MOST_CONNECTIONS:
            del self._connections[next(iter(self._connections))]
        narrator = ConnectionNarrator(client, server, self._hosts, self.dns, self._web, self._sip)
        self._connections[client, server] = narrator
        return narrator

    def _from_cache(self, connection: ConnectionNarrator, seen: Seen) -> list[Told]:
        """Tell that the phone did without discovery, when it first connects."""
        if connection.is_resolver:
            return []
        told: list[Told] = []
        is_first = not self._went_on
        self._went_on = True
        told += self.clock.give_up()
        if is_first and self.dhcp.is_bound and not self.dhcp.has_informed:
            told.append(Told(log.CACHE_USED("", connection.server_text, ""), seen))
        return told

    def _silence(self, now: float) -> list[Told]:
        told = self.dhcp.silence(now) + self.clock.silence(now)
        told += self._web.silence(now) + self._sip.silence(now)
        for connection in list(self._connections.values()):
            told += connection.silence(now)
        return told
