"""An authoritative DNS server: every answer is worked out when the zones are read.

A name inside a zone is answered with its records, with nothing (NODATA), or with
NXDOMAIN; a CNAME is followed as long as its target is in a zone of this server.
Names outside all zones are REFUSED. A UDP answer that would be larger than the
limit is cut after a whole record and carries TC; over TCP it is complete.

Specifications: RFC 1034 sections 3.6.2 and 4.3.2, RFC 1035 section 4.2.1,
RFC 2308 (NODATA), RFC 2782 (SRV), RFC 8020 (names above a record exist).
"""

from __future__ import annotations

from collections.abc import Iterator

import msgspec

from phonesim.config.site_profile import DnsServerConfig, Zone
from phonesim.errors import ProfileError
from phonesim.mocksite.exchange import (
    DnsReceived,
    MalformedArrived,
    Report,
    SendDnsResponse,
    ServerAction,
    ServerEvent,
)
from phonesim.wire.dns import DnsQuery, DnsRecord, DnsResponse, SrvData

_HEADER_SIZE = 12
_QUESTION_TAIL_SIZE = 4
_RECORD_HEADER_SIZE = 10
_POINTER_SIZE = 2

_Records = dict[str, tuple[DnsRecord, ...]]


class _Answer(msgspec.Struct, frozen=True):
    rcode: str
    records: tuple[DnsRecord, ...]
    fitting: tuple[DnsRecord, ...]


class DnsServer:
    """The server. Raises `ProfileError` when a name has a CNAME and other records."""

    def __init__(self, config: DnsServerConfig) -> None:
        self._udp_limit = config.udp_limit
        self._origins = tuple(_normal(zone.origin) for zone in config.zones)
        self._names: dict[str, _Records] = {}
        for zone in config.zones:
            self._load(zone)
        for name, records in self._names.items():
            if "CNAME" in records and (len(records) > 1 or len(records["CNAME"]) > 1):
                raise ProfileError(
                    f"{config.name}: {name} has a CNAME and other records; a CNAME stands alone"
                )
        self._answers: dict[tuple[str, str], _Answer] = {}
        for name in self._names:
            for qtype in ("A", "CNAME", "SRV"):
                self._answers[name, qtype] = self._work_out(name, qtype)

    def handle(self, event: ServerEvent, now: float) -> list[ServerAction]:
        """Take one event; return what to do about it."""
        if isinstance(event, DnsReceived):
            query = event.query
            answer = self._answers.get((query.qname, query.qtype))
            if answer is None:
                if not self._is_ours(query.qname):
                    return self._refuse(event, query)
                answer = self._work_out(query.qname, query.qtype)
            records = answer.records if event.over_tcp else answer.fitting
            return [
                SendDnsResponse(
                    response=DnsResponse(
                        id=query.id,
                        qname=query.qname,
                        qtype=query.qtype,
                        rcode=answer.rcode,
                        answers=records,
                        truncated=records is not answer.records,
                        authoritative=True,
                    ),
                    client=event.client,
                    over_tcp=event.over_tcp,
                )
            ]
        if isinstance(event, MalformedArrived):
            return [
                Report(
                    text="malformed DNS query",
                    fields=(("source", event.source), ("reason", event.reason)),
                )
            ]
        return []

    def next_deadline(self) -> tuple[float, str] | None:
        """Return None: the server waits for nothing."""
        return None

    def _refuse(self, event: DnsReceived, query: DnsQuery) -> list[ServerAction]:
        response = DnsResponse(id=query.id, qname=query.qname, qtype=query.qtype, rcode="REFUSED")
        return [
            SendDnsResponse(response=response, client=event.client, over_tcp=event.over_tcp),
            Report(
                text="REFUSED: the name is in no zone of this server",
                fields=(("qname", query.qname), ("qtype", query.qtype)),
            ),
        ]

    def _is_ours(self, name: str) -> bool:
        return any(
            name == origin or name.endswith("." + origin) or not origin for origin in self._origins
        )

    def _work_out(self, qname: str, qtype: str) -> _Answer:
        name = qname
        answers: tuple[DnsRecord, ...] = ()
        rcode = "NOERROR"
        followed = set()
        while True:
            records = self._names.get(name)
            if records is None:
                if self._is_ours(name):
                    rcode = "NXDOMAIN"
                break
            if qtype in records:
                answers += records[qtype]
                break
            alias = records.get("CNAME")
            if alias is None or name in followed:
                break
            followed.add(name)
            answers += alias
            name = str(alias[0].data)
        return _Answer(rcode, answers, self._cut(qname, answers))

    def _cut(self, qname: str, records: tuple[DnsRecord, ...]) -> tuple[DnsRecord, ...]:
        """The first records that fit a UDP answer; the very same tuple when all do."""
        size = _HEADER_SIZE + _name_size(qname) + _QUESTION_TAIL_SIZE
        for count, record in enumerate(records):
            size += _POINTER_SIZE + _RECORD_HEADER_SIZE + _data_size(record)
            if size > self._udp_limit:
                return records[:count]
        return records

    def _load(self, zone: Zone) -> None:
        origin = _normal(zone.origin)
        self._names.setdefault(origin, {})
        for record in _records(zone, origin):
            if record.name != origin and origin and not record.name.endswith("." + origin):
                raise ProfileError(f"{record.name} is not a name of zone {zone.origin}")
            records = self._names.setdefault(record.name, {})
            records[record.rtype] = (*records.get(record.rtype, ()), record)
            above = record.name
            while above != origin:
                above = above.partition(".")[2]
                self._names.setdefault(above, {})


def _records(zone: Zone, origin: str) -> Iterator[DnsRecord]:
    for name, addresses in zone.a.items():
        for address in addresses:
            yield DnsRecord(_absolute(name, origin), "A", zone.ttl, str(address))
    for name, target in zone.cname.items():
        yield DnsRecord(_absolute(name, origin), "CNAME", zone.ttl, _absolute(target, origin))
    for srv in zone.srv:
        target = "" if srv.target == "." else _absolute(srv.target, origin)
        yield DnsRecord(
            _absolute(srv.name, origin),
            "SRV",
            zone.ttl,
            SrvData(srv.priority, srv.weight, srv.port, target),
        )


def _normal(name: str) -> str:
    return name.rstrip(".").lower()


def _absolute(name: str, origin: str) -> str:
    if name == "@":
        return origin
    if name.endswith(".") or not origin:
        return _normal(name)
    return f"{name.lower()}.{origin}"


def _name_size(name: str) -> int:
    return len(name) + 2 if name else 1


def _data_size(record: DnsRecord) -> int:
    if isinstance(record.data, SrvData):
        return 6 + _name_size(record.data.target)
    return 4 if record.rtype == "A" else _name_size(record.data)
