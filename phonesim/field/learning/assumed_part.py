"""What nobody asked about: servers that were named and never looked for are there, and healthy.

A phone that had a certificate went past the web services; at the learned site it has none, and
needs them. A capture may end before a phone looks for its Registrar.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from ipaddress import IPv4Address
from typing import Any
from urllib.parse import urlsplit

from phonesim.field.boots import Boot
from phonesim.field.learning.draft import Draft, Entry
from phonesim.field.learning.names_part import place_name

_FIRST_ADDRESS = int(IPv4Address("127.99.0.1"))
"""Where assumed servers are: nobody's addresses on a real network."""
_TARGET = re.compile(r"SRV \d+ \d+ (\d+) (\S+)", re.ASCII)
_ASSUMED = "assumed: it was named, and nobody looked for it"


def assume_the_rest(boots: Sequence[Boot], draft: Draft) -> None:
    """Add web services and Registrars that were named and not looked for."""
    if not draft.dns_servers:
        return
    asked = {str(each["qname"]).lower() for boot in boots for each in boot.all("dns_sent")}
    known = {str(each.values["fqdn"]) for each in (*draft.web_services, *draft.registrars)}
    domain = _domain(boots)
    zones: list[dict[str, Any]] = draft.dns_servers[0].values["zones"]
    for host, port in dict.fromkeys(_named(boots)):
        if host in asked or host in known or not host:
            continue
        known.add(host)
        address = str(IPv4Address(_FIRST_ADDRESS + len(known)))
        place_name(zones, host, address, domain)
        if port:
            name = f"registrar{len(draft.registrars) + 1:02d}"
            values = {"name": name, "address": address, "fqdn": host, "port": port}
            draft.registrars.append(Entry(values, [_ASSUMED]))
        else:
            name = f"web{len(draft.web_services) + 1:02d}"
            values = {"name": name, "address": address, "fqdn": host}
            draft.web_services.append(Entry(values, [_ASSUMED]))


def _named(boots: Sequence[Boot]) -> Iterator[tuple[str, int]]:
    """Yield each host that was named, and its port if it is a Registrar."""
    for boot in boots:
        for sighting in boot.all("web_services_located", "cache_used"):
            yield (urlsplit(str(sighting["url"])).hostname or "").lower(), 0
        for sighting in boot.all("cache_used"):
            for host in str(sighting["registrars"]).split("+"):
                yield host.lower(), 5061
        for sighting in boot.all("registrar_located"):
            host, _, port = str(sighting["registrar"]).rpartition(":")
            yield host.lower(), int(port) if port.isdigit() else 5061
        for sighting in boot.all("option_120"):
            for host in str(sighting["registrars"]).split("+"):
                yield host.lower().rstrip("."), 5061
        for sighting in boot.all("dns_answer"):
            for port, host in _TARGET.findall(str(sighting["records"])):
                if "_sip" in str(sighting["qname"]):
                    yield host.lower().rstrip("."), int(port)


def _domain(boots: Sequence[Boot]) -> str:
    leases = [lease for boot in boots if (lease := boot.last("dhcp_lease")) is not None]
    return str(leases[-1]["domain"]) if leases else ""
