"""The phone's stub resolver: retries, server order, CNAMEs, TCP after truncation, a TTL cache.

Each lookup asks the servers of the lease in turn until one answers; NXDOMAIN and an
empty NOERROR are answers, SERVFAIL and REFUSED send the lookup on to the next attempt.
An answer that no open query expects, or that comes from another server than the one
asked, is logged and dropped. There is no EDNS: Windows CE 6.0 sends none [inferred], so an
answer of more than 512 octets takes TCP.

If the profile says so, a name is completed with the domains of the lease: the lookup goes
through the names that this makes until one exists. A server's failure or silence ends it.

Specifications: RFC 1034 section 5.3.1 (stub resolvers), RFC 1035 section 7, RFC 1123 section
6.1.4.3 and RFC 3397 (search lists), RFC 2181 section 5 (TTL), RFC 2308 (negative answers),
RFC 7766 section 5 (TCP after truncation).
"""

from __future__ import annotations

import random

import msgspec

from phonesim.config.device_profile import ResolverConfig
from phonesim.device import device_log as log
from phonesim.device.actions import PhoneAction, SendDns
from phonesim.device.device_log import LogRecord
from phonesim.device.events import (
    AttemptEnded,
    DnsResponseReceived,
    Event,
    ExchangeEnded,
    Lease,
    LeaseBound,
    LookupAnswered,
    LookupRequested,
    RepetitionDue,
    TimerExpired,
    WorkAbandoned,
)
from phonesim.wire.dns import DnsQuery, DnsRecord, DnsResponse, SrvData

Output = PhoneAction | Event | LogRecord

_MAXIMUM_CNAMES = 8
_LONGEST_NAME = 253
TIMEOUT = "TIMEOUT"
TRUNCATED = "TC"


class _Lookup(msgspec.Struct, kw_only=True):
    """A lookup in flight; `qname` is the name asked for now, after CNAMEs of at least `ttl`.

    `others` are the names to ask for if that one does not exist; `sent` counts its packets,
    the last of which left at `sent_at`.
    """

    request: LookupRequested
    qname: str
    others: tuple[str, ...]
    query_id: int
    started_at: float
    sent_at: float
    attempt: int = 1
    sent: int = 1
    over_tcp: bool = False
    cnames: int = 0
    ttl: float = float("inf")
    server: str
    retry_at: float
    rcode: str = TIMEOUT


class Resolver:
    """Takes `LookupRequested`, gives `LookupAnswered`; `LeaseBound` tells it the servers."""

    def __init__(self, config: ResolverConfig, rng: random.Random) -> None:
        self._config = config
        self._rng = rng
        self._servers: tuple[str, ...] = ()
        self._source = ""
        self._domains: tuple[str, ...] = ()
        self._open: dict[int, _Lookup] = {}
        self._cache: dict[tuple[str, str], tuple[float, tuple[DnsRecord, ...], str]] = {}

    def handle(self, event: Event, now: float) -> list[Output]:
        """Take one event; return actions, log records and answers."""
        match event:
            case DnsResponseReceived():
                return self._received(event, now)
            case LookupRequested():
                return self._look_up(event, now)
            case TimerExpired():
                return self._timer_expired(now)
            case LeaseBound():
                self._servers = event.lease.dns_servers
                self._source = event.lease.address
                self._domains = self._search_domains(event.lease)
                return []
            case WorkAbandoned():
                self._open.clear()
                return []
            case RepetitionDue():
                self._cache.clear()
                return []
            case _:
                return []

    def next_deadline(self) -> tuple[float, str] | None:
        """When the earliest open query is repeated."""
        if not self._open:
            return None
        return min([lookup.retry_at for lookup in self._open.values()]), "repeat a DNS query"

    def _look_up(self, request: LookupRequested, now: float) -> list[Output]:
        qname = request.qname.rstrip(".").lower()
        cached = self._cache.get((qname, request.qtype))
        if cached is not None and cached[0] > now:
            return [_answer(request, qname, "NOERROR", cached[1], cached[2])]
        if self._domains:
            qname, *others = self._completed(request, qname)
            return self._ask(request, qname, now, tuple(others))
        return self._ask(request, qname, now)

    def _search_domains(self, lease: Lease) -> tuple[str, ...]:
        suffix = () if lease.domain is None else (lease.domain,)
        match self._config.search:
            case "off":
                return ()
            case "suffix":
                return suffix
            case "list":
                return lease.search_list or suffix

    def _completed(self, request: LookupRequested, qname: str) -> list[str]:
        """The names to ask for in turn; one with a final dot is complete as it is."""
        config = self._config
        if request.qtype not in config.search_types or request.qname.endswith("."):
            return [qname]
        names = [f"{qname}.{domain}" for domain in self._domains]
        names = [name for name in names if len(name) <= _LONGEST_NAME]
        names.insert(len(names) if qname.count(".") < config.search_dots else 0, qname)
        return names

    def _ask(
        self,
        request: LookupRequested,
        qname: str,
        now: float,
        others: tuple[str, ...] = (),
        cnames: int = 0,
        ttl: float = float("inf"),
    ) -> list[Output]:
        if not self._servers:
            return [_answer(request, qname, TIMEOUT, (), None)]
        query_id = self._rng.getrandbits(16)
        while query_id in self._open:
            query_id = self._rng.getrandbits(16)
        lookup = _Lookup(
            request=request,
            qname=qname,
            others=others,
            query_id=query_id,
            started_at=now,
            sent_at=now,
            cnames=cnames,
            ttl=ttl,
            server=self._servers[0],
            retry_at=now + self._config.attempt_timeouts[0],
        )
        self._open[query_id] = lookup
        return self._send(lookup)

    def _send(self, lookup: _Lookup) -> list[Output]:
        qtype = lookup.request.qtype
        return [
            log.DNS_SENT(
                qtype,
                lookup.qname,
                lookup.server,
                "tcp" if lookup.over_tcp else "udp",
                lookup.attempt,
            ),
            SendDns(
                query=DnsQuery(id=lookup.query_id, qname=lookup.qname, qtype=qtype),
                source=self._source,
                server=lookup.server,
                over_tcp=lookup.over_tcp,
            ),
        ]

    def _received(self, event: DnsResponseReceived, now: float) -> list[Output]:
        response = event.response
        lookup = self._open.get(response.id)
        if (
            lookup is None
            or lookup.server != event.server
            or lookup.qname != response.qname
            or lookup.request.qtype != response.qtype
        ):
            detail = "no open query has this id, name, type and server"
            return [log.DNS_IGNORED(response.qname, event.server, detail)]
        if response.truncated and not event.over_tcp:
            if lookup.over_tcp:
                detail = "truncated, and asked over TCP already"
                return [log.DNS_IGNORED(response.qname, event.server, detail)]
            truncated = _attempt_ended(lookup, TRUNCATED, now)
            lookup.over_tcp = True
            lookup.sent += 1
            lookup.sent_at = now
            lookup.retry_at = now + self._config.attempt_timeouts[lookup.attempt - 1]
            return [truncated, *self._send(lookup)]
        answered = log.DNS_ANSWER(
            lookup.request.qtype, lookup.qname, response.rcode, event.server, records_text(response)
        )
        if response.rcode not in {"NOERROR", "NXDOMAIN"}:
            lookup.rcode = response.rcode
            failed = _attempt_ended(lookup, response.rcode, now)
            return [answered, failed, *self._next_attempt(lookup, now)]
        del self._open[response.id]
        finished = ExchangeEnded(
            kind="dns",
            sent=lookup.sent,
            seconds=now - lookup.started_at,
            server=event.server,
            answer=response.rcode,
            waited=now - lookup.sent_at,
        )
        return [answered, finished, *self._resolve(lookup, response, event.server, now)]

    def _resolve(
        self, lookup: _Lookup, response: DnsResponse, server: str, now: float
    ) -> list[Output]:
        name, cnames, ttl = lookup.qname, lookup.cnames, lookup.ttl
        aliases = {record.name: record for record in response.answers if record.rtype == "CNAME"}
        while name in aliases and cnames <= _MAXIMUM_CNAMES:
            alias = aliases[name]
            ttl = min(ttl, alias.ttl)
            name = str(alias.data)
            cnames += 1
        request = lookup.request
        records = tuple(
            record
            for record in response.answers
            if record.rtype == request.qtype and record.name == name
        )
        if not records and name != lookup.qname and response.rcode == "NOERROR":
            if cnames > _MAXIMUM_CNAMES:
                return [_answer(request, lookup.qname, "SERVFAIL", (), server)]
            return self._ask(request, name, now, lookup.others, cnames, ttl)
        if not records and lookup.others:
            return self._ask(request, lookup.others[0], now, lookup.others[1:])
        if records and self._config.caches_answers:
            ttl = min(ttl, *(record.ttl for record in records))
            key = (request.qname.rstrip(".").lower(), request.qtype)
            self._cache[key] = (now + ttl, records, server)
        return [_answer(request, lookup.qname, response.rcode, records, server)]

    def _timer_expired(self, now: float) -> list[Output]:
        out: list[Output] = []
        for lookup in [entry for entry in self._open.values() if entry.retry_at <= now]:
            out.append(AttemptEnded(kind="dns", server=lookup.server))
            out += self._next_attempt(lookup, now)
        return out

    def _next_attempt(self, lookup: _Lookup, now: float) -> list[Output]:
        if lookup.attempt >= len(self._config.attempt_timeouts) or not self._servers:
            del self._open[lookup.query_id]
            return [
                ExchangeEnded(kind="dns", sent=lookup.sent, seconds=None),
                _answer(lookup.request, lookup.qname, lookup.rcode, (), None),
            ]
        lookup.server = self._servers[lookup.attempt % len(self._servers)]
        lookup.attempt += 1
        lookup.sent += 1
        lookup.sent_at = now
        lookup.over_tcp = False
        lookup.retry_at = now + self._config.attempt_timeouts[lookup.attempt - 1]
        return self._send(lookup)


def _attempt_ended(lookup: _Lookup, answer: str, now: float) -> AttemptEnded:
    return AttemptEnded(
        kind="dns", server=lookup.server, answer=answer, waited=now - lookup.sent_at
    )


def _answer(
    request: LookupRequested,
    qname: str,
    rcode: str,
    records: tuple[DnsRecord, ...],
    server: str | None,
) -> LookupAnswered:
    return LookupAnswered(
        lookup_id=request.lookup_id,
        qname=qname,
        qtype=request.qtype,
        rcode=rcode,
        records=records,
        server=server,
    )


def records_text(response: DnsResponse) -> str:
    """The records of an answer, as the log has them."""
    parts = []
    for record in response.answers:
        data = record.data
        if isinstance(data, SrvData):
            target = data.target or "."
            text = f"SRV {data.priority} {data.weight} {data.port} {target} ttl {record.ttl}"
            parts.append(text)
        else:
            parts.append(f"{record.rtype} {data} ttl {record.ttl}")
    return ", ".join(parts) or "no records"
