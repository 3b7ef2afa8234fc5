"""What a DHCP client that is no whole phone is told by the link that it speaks over."""

from __future__ import annotations

from phonesim.device.events import Event
from phonesim.wire.dhcp import DhcpMessage


class ClientStarted(Event, frozen=True, kw_only=True):
    """The link is open."""


class DhcpMessageSeen(Event, frozen=True, kw_only=True):
    """A DHCP message came by, from `source`; it was sent to `destination`, "" if nobody knows.

    It may be for another client.
    """

    message: DhcpMessage
    source: str
    destination: str
