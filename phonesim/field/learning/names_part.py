"""What DNS and NTP servers said: zones made of the answers, errors, and whom nobody answered."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from phonesim.field.boots import Boot
from phonesim.field.learning.draft import Draft, Entry, quote
from phonesim.field.sightings import Sighting

LONGEST_SILENCE = 2.0
"""Seconds after a query from which on it counts as one that got no answer."""

_ERRORS = frozenset({"SERVFAIL", "REFUSED"})
_TTL = " ttl "


class _Server:
    def __init__(self, address: str, name: str) -> None:
        self.address = address
        self.name = name
        self.seen: list[str] = []
        self.zones: dict[str, dict[str, Any]] = {}

    def zone(self, qname: str, domain: str) -> dict[str, Any]:
        origin = _origin(qname, domain)
        return self.zones.setdefault(origin, {"origin": origin})


def learn_names(boots: Sequence[Boot], draft: Draft) -> None:
    """Add DNS servers with zones, and NTP servers."""
    servers: dict[str, _Server] = {}
    unanswered: dict[tuple[str, str], Sighting] = {}
    answered: set[tuple[str, str]] = set()

    def server_of(sighting: Sighting) -> _Server:
        address = str(sighting["server"])
        if address not in servers:
            servers[address] = _Server(address, f"dns{len(servers) + 1:02d}")
        return servers[address]

    for boot in boots:
        lease = boot.last("dhcp_lease")
        domain = "" if lease is None else str(lease["domain"])
        ends_at = boot.sightings[-1].at
        for sighting in boot.all("dns_sent", "dns_answer"):
            server = server_of(sighting)
            key = (server.address, str(sighting["qname"]))
            if sighting.name == "dns_sent":
                if ends_at - sighting.at >= LONGEST_SILENCE:
                    unanswered.setdefault(key, sighting)
                server.zone(key[1], domain)
                continue
            answered.add(key)
            _take_answer(server, sighting, domain, draft)
    for key, sighting in unanswered.items():
        if key not in answered:
            server = servers[key[0]]
            is_dead = not any(address == server.address for address, _ in answered)
            match = "*" if is_dead else key[1]
            draft.fault(sighting, "silence", target=server.name, protocol="dns", match=match)
    for server in servers.values():
        values = {
            "name": server.name,
            "address": server.address,
            "zones": list(server.zones.values()),
        }
        draft.dns_servers.append(Entry(values, server.seen))
    _learn_time(boots, draft)


def _take_answer(server: _Server, sighting: Sighting, domain: str, draft: Draft) -> None:
    if not server.seen:
        server.seen.append(quote(sighting))
    qname, rcode = str(sighting["qname"]), str(sighting["rcode"])
    if rcode in _ERRORS:
        draft.fault(sighting, "dns-rcode", target=server.name, rcode=rcode, match=qname)
        return
    for name, kind, data in _records(qname, str(sighting["records"])):
        zone = server.zone(name, domain)
        relative = _relative(name, zone["origin"])
        match kind, data:
            case "A", [address]:
                addresses = zone.setdefault("a", {}).setdefault(relative, [])
                if address not in addresses:
                    addresses.append(address)
            case "CNAME", [target]:
                zone.setdefault("cname", {})[relative] = _relative(target, zone["origin"])
            case "SRV", [priority, weight, port, target]:
                record = {
                    "name": relative,
                    "priority": int(priority),
                    "weight": int(weight),
                    "port": int(port),
                    "target": _relative(target, zone["origin"]),
                }
                records = zone.setdefault("srv", [])
                if record not in records:
                    records.append(record)
            case _:
                draft.note(f"{quote(sighting)}: a record of type {kind} was not learned")


def place_name(zones: list[dict[str, Any]], name: str, address: str, domain: str) -> None:
    """Give a name an address, in the zone where it belongs."""
    origin = _origin(name, domain)
    zone = next((each for each in zones if each["origin"] == origin), None)
    if zone is None:
        zone = {"origin": origin}
        zones.append(zone)
    zone.setdefault("a", {})[_relative(name, origin)] = [address]


def _records(qname: str, text: str) -> Iterator[tuple[str, str, list[str]]]:
    """Yield name, type and data of each record of an answer, aliases followed."""
    name = qname
    for part in text.split(", "):
        words = part.partition(_TTL)[0].split()
        if len(words) < 2 or not words[0].isupper():
            continue
        yield name, words[0], words[1:]
        if words[0] == "CNAME":
            name = words[1]


def _origin(qname: str, domain: str) -> str:
    name, domain = qname.rstrip(".").lower(), domain.rstrip(".").lower()
    if domain and (name == domain or name.endswith(f".{domain}")):
        return domain
    labels = name.split(".")
    if labels[0].startswith("_") and len(labels) > 3:
        return ".".join(labels[2:])
    return ".".join(labels[1:]) if len(labels) > 2 else name


def _relative(name: str, origin: str) -> str:
    lower = name.rstrip(".").lower()
    if lower == origin:
        return "@"
    return lower.removesuffix(f".{origin}") if lower.endswith(f".{origin}") else f"{lower}."


def _learn_time(boots: Sequence[Boot], draft: Draft) -> None:
    """NTP servers that set a clock; those that were asked in vain are not there."""
    seen: dict[str, Sighting] = {}
    for boot in boots:
        draft.is_time_asked = draft.is_time_asked or boot.last("ntp_sent") is not None
        for sighting in boot.all("clock_set"):
            seen.setdefault(str(sighting["server"]), sighting)
    for number, (address, sighting) in enumerate(seen.items(), 1):
        if address.replace(".", "").isdigit():
            values = {"name": f"ntp{number:02d}", "address": address}
            draft.ntp_servers.append(Entry(values, [quote(sighting)]))
