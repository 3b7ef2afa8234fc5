"""Leases of clients that are gone: a DHCP server whose scope is full before the first phone asks.

The clients got their addresses from the server itself, each with DISCOVER and REQUEST, and never
gave them back. The server knows of no difference: an address is free again when its lease ends.

Specifications: RFC 2131 section 3.1.
"""

from __future__ import annotations

from phonesim.config.site_profile import DhcpServerConfig, Scope
from phonesim.mocksite.exchange import (
    DhcpReceived,
    SendDhcpReply,
    Server,
    ServerAction,
    ServerEvent,
)
from phonesim.wire.dhcp import BROADCAST, UNSPECIFIED, DhcpMessage, MessageType, Option
from phonesim.wire.ipv4 import pack_address

_OUI = b"\x02\x00\x01"
"""Of the clients: locally administered, so that it is no phone's."""


class HeldLeases:
    """A DHCP server all but `leave` addresses of whose own scope are held."""

    def __init__(self, server: Server, config: DhcpServerConfig, leave: int) -> None:
        self._server = server
        self._scope = config.scope
        self._identifier = pack_address(str(config.address))
        self._leave = leave

    def handle(self, event: ServerEvent, now: float) -> list[ServerAction]:
        """Take one event; before the first one, the clients of earlier times were there."""
        scope, self._scope = self._scope, None
        if scope is not None:
            self._fill(scope, now)
        return self._server.handle(event, now)

    def next_deadline(self) -> tuple[float, str] | None:
        """Return the server's deadline."""
        return self._server.next_deadline()

    def _fill(self, scope: Scope, now: float) -> None:
        held = int(scope.last) - int(scope.first) + 1 - self._leave
        for number in range(held):
            mac = _OUI + number.to_bytes(3, "big")
            for action in self._server.handle(_request(MessageType.DISCOVER, mac, {}), now):
                if isinstance(action, SendDhcpReply):
                    taken: dict[int, bytes] = {
                        Option.REQUESTED_IP_ADDRESS: pack_address(action.message.yiaddr),
                        Option.SERVER_IDENTIFIER: self._identifier,
                    }
                    self._server.handle(_request(MessageType.REQUEST, mac, taken), now)


def _request(kind: MessageType, mac: bytes, options: dict[int, bytes]) -> DhcpReceived:
    message = DhcpMessage(
        message_type=kind,
        xid=int.from_bytes(mac[2:], "big"),
        chaddr=mac,
        options={Option.DHCP_MESSAGE_TYPE: bytes((kind,)), **options},
    )
    return DhcpReceived(message=message, source=UNSPECIFIED, destination=BROADCAST)
