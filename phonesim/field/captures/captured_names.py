"""The DNS and NTP of one phone in a capture, as its log would tell it.

Specifications: RFC 1035, RFC 4330 section 5 (the offset of a clock).
"""

from __future__ import annotations

from phonesim.device import device_log as log
from phonesim.device.resolver import records_text
from phonesim.errors import DecodeError
from phonesim.field.captures.captured_seen import Seen, Told
from phonesim.field.captures.known_hosts import KnownHosts
from phonesim.wire import ntp
from phonesim.wire.dns import SrvData, decode_query, decode_response

_MOST_OPEN = 64
_CLOCK_WAIT = 30.0


class DnsNarrator:
    """Tells the queries of one phone; `hosts` learns what they were answered."""

    def __init__(self, hosts: KnownHosts) -> None:
        self._hosts = hosts
        self._open: dict[tuple[str, str], tuple[int, set[int]]] = {}

    def sent(self, octets: bytes, server: str, transport: str, seen: Seen) -> list[Told]:
        """Tell a query."""
        try:
            query = decode_query(octets)
        except DecodeError as error:
            return [Told(log.MALFORMED("dns", "phone", len(octets), str(error)), seen)]
        key = (query.qtype, query.qname)
        attempt, ids = self._open.get(key, (0, set()))
        if transport == "udp":  # over TCP it is the same attempt again
            attempt += 1
        if len(self._open) >= _MOST_OPEN:
            self._open.clear()
        self._open[key] = (attempt, {*list(ids)[-_MOST_OPEN:], query.id})
        sent = log.DNS_SENT(query.qtype, query.qname, server, transport, max(attempt, 1))
        return [Told(sent, seen)]

    def received(self, octets: bytes, server: str, transport: str, seen: Seen) -> list[Told]:
        """Tell an answer."""
        try:
            answer = decode_response(octets)
        except DecodeError as error:
            return [Told(log.MALFORMED("dns", server, len(octets), str(error)), seen)]
        key = (answer.qtype, answer.qname)
        _, ids = self._open.get(key, (0, None))
        if ids is not None and answer.id not in ids:
            detail = "no open query has this id, name, type and server"
            return [Told(log.DNS_IGNORED(answer.qname, server, detail), seen)]
        if answer.truncated and transport == "udp":
            return []  # asked again over TCP
        if answer.rcode in ("NOERROR", "NXDOMAIN"):
            self._open.pop(key, None)
        for record in answer.answers:
            if record.rtype == "A":
                self._hosts.learn(str(record.data), answer.qname)
            elif isinstance(record.data, SrvData):
                self._hosts.learn_registrar(record.data.target, record.data.port)
        told = log.DNS_ANSWER(
            answer.qtype, answer.qname, answer.rcode, server, records_text(answer)
        )
        return [Told(told, seen)]


class ClockNarrator:
    """Tells how one phone asks for the time."""

    def __init__(self) -> None:
        self._sent: list[tuple[int, str, Seen]] = []

    def sent(self, octets: bytes, server: str, seen: Seen) -> list[Told]:
        """Tell a query."""
        try:
            packet = ntp.decode_ntp(octets)
        except DecodeError as error:
            return [Told(log.MALFORMED("ntp", "phone", len(octets), str(error)), seen)]
        if self._sent and self._sent[-1][1] != server:
            self._sent = self._sent[-_MOST_OPEN:]
        self._sent.append((packet.transmit, server, seen))
        attempt = sum(each[1] == server for each in self._sent)
        return [Told(log.NTP_SENT(server, attempt), seen)]

    def received(self, octets: bytes, server: str, seen: Seen) -> list[Told]:
        """Tell an answer: what the phone made of it follows from its query's time."""
        try:
            packet = ntp.decode_ntp(octets)
        except DecodeError as error:
            return [Told(log.MALFORMED("ntp", server, len(octets), str(error)), seen)]
        asked = next((each for each in self._sent if each[0] == packet.originate), None)
        if packet.mode != ntp.SERVER or asked is None:
            detail = "it does not answer an open packet"
            return [Told(log.NTP_IGNORED(server, detail), seen)]
        if not 0 < packet.stratum < 16 or packet.transmit == 0 or packet.leap == 3:
            return [Told(log.NTP_IGNORED(server, "the server is not synchronised"), seen)]
        self._sent.clear()
        t1 = ntp.to_unix(packet.originate)
        t4 = t1 + seen.at - asked[2].at
        t2, t3 = ntp.to_unix(packet.receive), ntp.to_unix(packet.transmit)
        return [Told(log.CLOCK_SET(server, ((t2 - t1) + (t3 - t4)) / 2), seen)]

    def silence(self, now: float) -> list[Told]:
        """Tell that nobody gave the time, once the phone has waited for it."""
        is_over = self._sent and now - self._sent[-1][2].at >= _CLOCK_WAIT
        return self.give_up() if is_over else []

    def give_up(self) -> list[Told]:
        """Tell that nobody gave the time, because the phone goes on without."""
        if not self._sent:
            return []
        servers = list(dict.fromkeys(each[1] for each in self._sent))
        last = self._sent[-1][2]
        self._sent.clear()
        detail = "; ".join(f"{server}: no answer" for server in servers)
        seen = Seen(last.number, last.at, f"nobody answers {last.text}")
        return [Told(log.CLOCK_NOT_SET(detail), seen)]
