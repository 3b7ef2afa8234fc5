"""What nobody asked about: servers that were named and never looked for are there, and well.

A phone that had a certificate went past the web services; at the learned site it has none, and
needs them. A capture may end before a phone looks for its Registrar.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from ipaddress import IPv4Address
from urllib.parse import urlsplit

from phonesim.field.boots import Boot
from phonesim.field.learning.draft import Draft, Entry
from phonesim.field.learning.names_part import place_name

_FIRST_ADDRESS = int(IPv4Address("127.99.0.1"))
"""Where assumed servers are: nobody's addresses on a real network."""
_TARGET = re.compile(r"SRV \d+ \d+ (\d+) (\S+)", re.ASCII)
_ASSUMED = "assumed: it was named, and nobody looked for it"


def assume_the_rest(boots: Sequence[Boot], draft: Draft) -> None:
    """Add the servers that were named and not looked for."""
    _assume_name_servers(draft)
    if not draft.dns_servers:
        return
    told = {str(each["qname"]).lower() for boot in boots for each in boot.all("dns_answer")}
    known = {str(each.values["fqdn"]) for each in (*draft.web_services, *draft.registrars)}
    domain = _domain(boots)
    addresses: dict[str, str] = {
        str(each.values["fqdn"]): str(each.values["address"])
        for each in (*draft.web_services, *draft.registrars)
    }
    for host, port in dict.fromkeys([*_named(boots), *_configured(draft)]):
        is_name = host and not host.replace(".", "").isdigit()
        if host in told or host in known or not is_name:
            continue
        known.add(host)
        address = addresses[host] = str(IPv4Address(_FIRST_ADDRESS + len(known)))
        if port:
            name = f"registrar{len(draft.registrars) + 1:02d}"
            values = {"name": name, "address": address, "fqdn": host, "port": port}
            draft.registrars.append(Entry(values, [_ASSUMED]))
        else:
            name = f"web{len(draft.web_services) + 1:02d}"
            values = {"name": name, "address": address, "fqdn": host}
            draft.web_services.append(Entry(values, [_ASSUMED]))
    for server in draft.dns_servers:
        for host, address in addresses.items():
            # Who was asked for a name is known for the answer, or for the lack of one.
            if host not in told or server.seen == [_ASSUMED]:
                place_name(server.values["zones"], host, address, domain)


def _assume_name_servers(draft: Draft) -> None:
    """DNS and NTP servers of scopes that no phone asked."""
    for kind, key, servers in (
        ("dns", "dns_servers", draft.dns_servers),
        ("ntp", "ntp_servers", draft.ntp_servers),
    ):
        known = {str(each.values["address"]) for each in servers}
        for entry in draft.dhcp_servers:
            scope = entry.values.get("scope", {})
            for address in scope.get(key, ()):
                if address in known or (kind == "ntp" and draft.is_time_asked):
                    continue
                known.add(address)
                values = {"name": f"{kind}{len(servers) + 1:02d}", "address": address}
                if kind == "dns":
                    values["zones"] = [{"origin": scope["domain"]}] if "domain" in scope else []
                servers.append(Entry(values, [_ASSUMED]))


def _named(boots: Sequence[Boot]) -> Iterator[tuple[str, int]]:
    """Yield each host that was named, and its port if it is a Registrar."""
    for boot in boots:
        for sighting in boot.all("web_services_located", "cache_used"):
            yield (urlsplit(str(sighting["url"])).hostname or "").lower(), 0
        for sighting in boot.all("cache_used"):
            for host in str(sighting["registrars"]).split("+"):
                yield host.partition(":")[0].lower(), 5061
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


def _configured(draft: Draft) -> Iterator[tuple[str, int]]:
    """Yield what options 43 and 120 would say if they were right."""
    for server in draft.dhcp_servers:
        sign_in = server.values.get("sign_in", {})
        yield sign_in.get("web_server_fqdn", ""), 0
        for host in sign_in.get("registrars", ()):
            yield host, 5061


def _domain(boots: Sequence[Boot]) -> str:
    leases = [lease for boot in boots if (lease := boot.last("dhcp_lease")) is not None]
    return str(leases[-1]["domain"]) if leases else ""
