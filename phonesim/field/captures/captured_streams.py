"""TCP connections of phones in a capture: opened, refused or unanswered, and their octets in order.

Only what follows in order is handed on; octets that come early wait, and where a capture lacks
some, that direction is given up and counted. Everything is bounded: connections that are open
at once, and what waits in each.

Specifications: RFC 9293.
"""

from __future__ import annotations

from collections import OrderedDict

import msgspec

from phonesim.wire.pcapng import TransportAddress

MOST_CONNECTIONS = 4096
MOST_WAITING = 64
SILENCE = 10.0
"""Seconds without an answer after which a connection is one that nobody takes."""

FIN, SYN, RST, ACK = 0x01, 0x02, 0x04, 0x10
_HALF = 1 << 31
_ALL = 1 << 32


class Segment(msgspec.Struct, frozen=True, gc=False):
    """One TCP segment, as far as it matters here."""

    source: TransportAddress
    destination: TransportAddress
    sequence: int
    flags: int
    octets: bytes


class _Direction:
    """One direction's octets: `next` is the sequence number that is due, None before SYN."""

    __slots__ = ("early", "is_lost", "next")

    def __init__(self) -> None:
        self.next: int | None = None
        self.early: dict[int, bytes] = {}
        self.is_lost = False

    def take(self, sequence: int, octets: bytes) -> bytes:
        """What can be handed on now."""
        if self.is_lost:
            return b""
        if self.next is None:
            self.next = sequence
        ahead = (sequence - self.next) % _ALL
        if ahead >= _HALF:  # repeated, perhaps with something new behind
            known = _ALL - ahead
            octets = octets[known:]
            ahead = 0
        if ahead:
            if len(self.early) >= MOST_WAITING:
                self.is_lost = True
                self.early.clear()
            else:
                self.early.setdefault(sequence, octets)
            return b""
        parts = [octets]
        self.next = (self.next + len(octets)) % _ALL
        while self.early:
            due = self.next
            at = next((each for each in self.early if (due - each) % _ALL < _HALF), None)
            if at is None:
                break
            rest = self.early.pop(at)[(due - at) % _ALL :]
            parts.append(rest)
            self.next = (due + len(rest)) % _ALL
        return b"".join(parts)


class Connection:
    """One connection of a phone; `user` is what its narrator keeps of it."""

    __slots__ = (
        "client",
        "from_client",
        "from_server",
        "is_answered",
        "is_over",
        "server",
        "user",
    )

    def __init__(self, client: TransportAddress, server: TransportAddress) -> None:
        self.client = client
        self.server = server
        self.from_client = _Direction()
        self.from_server = _Direction()
        self.is_answered = False
        self.is_over = False
        self.user: object = None


class StreamEvent(msgspec.Struct, frozen=True, gc=False):
    """What a segment brings: `kind` is opening, repeated, opened, refused, octets, ended or reset.

    `by_client` says whose octets or whose end it is.
    """

    kind: str
    connection: Connection
    by_client: bool = True
    octets: bytes = b""


class Streams:
    """All connections of the phones of one capture."""

    def __init__(self) -> None:
        self.given_up = 0
        """Directions of which octets are missing, and connections that were too many."""
        self._open: OrderedDict[tuple[TransportAddress, TransportAddress], Connection] = (
            OrderedDict()
        )

    def take(self, segment: Segment, *, phone_is_source: bool) -> list[StreamEvent]:
        """Take a segment, return what it brings in order."""
        source, destination = segment.source, segment.destination
        client, server = (source, destination) if phone_is_source else (destination, source)
        key = (client, server)
        connection = self._open.get(key)
        flags = segment.flags
        events: list[StreamEvent] = []
        opens = flags & (SYN | ACK | RST) == SYN and phone_is_source
        if opens and (connection is None or connection.is_answered or connection.is_over):
            connection = self._add(key)
            connection.from_client.next = (segment.sequence + 1) % _ALL
            return [StreamEvent("opening", connection)]
        if opens and connection is not None:
            return [StreamEvent("repeated", connection)]
        if connection is None:
            if flags & SYN or not (segment.octets or flags & (RST | FIN)):
                return []
            connection = self._add(key)  # the capture began in the middle of it
            connection.is_answered = True
        if connection.is_over:
            return []
        if flags & RST:
            connection.is_over = True
            kind = "reset" if connection.is_answered or phone_is_source else "refused"
            return [StreamEvent(kind, connection, phone_is_source)]
        if flags & SYN:
            if not phone_is_source and not connection.is_answered:
                connection.is_answered = True
                connection.from_server.next = (segment.sequence + 1) % _ALL
                return [StreamEvent("opened", connection, False)]
            return []
        if segment.octets:
            direction = connection.from_client if phone_is_source else connection.from_server
            was_lost = direction.is_lost
            octets = direction.take(segment.sequence, segment.octets)
            self.given_up += direction.is_lost and not was_lost
            if octets:
                events.append(StreamEvent("octets", connection, phone_is_source, octets))
        if flags & FIN:
            connection.is_over = not phone_is_source or connection.is_over
            events.append(StreamEvent("ended", connection, phone_is_source))
        return events

    def _add(self, key: tuple[TransportAddress, TransportAddress]) -> Connection:
        self._open.pop(key, None)
        if len(self._open) >= MOST_CONNECTIONS:
            _, oldest = self._open.popitem(last=False)
            self.given_up += not oldest.is_over
        connection = self._open[key] = Connection(*key)
        return connection
