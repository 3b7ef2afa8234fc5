"""What DHCP servers said: leases, options 43 and 120 byte for byte, delays, silence.

What was asked again and answered as often was answered late; what was answered less often was lost.
A server's options that decode cleanly, and encode to the same octets, are configured by name.
Any others are kept as octets, by a fault. A server that never answered the INFORM of phones whose
lease it gave is silent to INFORM.
"""

from __future__ import annotations

from collections.abc import Sequence
from ipaddress import IPv4Address, IPv4Network
from statistics import median
from typing import Any

from phonesim.field.boots import Boot
from phonesim.field.learning.draft import Draft, Entry, quote
from phonesim.field.sightings import Sighting
from phonesim.wire.provisioning import (
    UcOptions,
    decode_sip_servers,
    decode_uc_options,
    encode_sip_servers,
    encode_uc_options,
)

SHORTEST_DELAY = 0.1
"""Seconds; what is answered faster is taken for the network's own time."""
SHORTEST_LEAD = 0.002
"""Seconds; of two servers the first one is ahead of the other by at least so much."""
LONGEST_SILENCE = 3.0
"""Seconds after a request without an answer from which on it counts as one that got none."""

MOST_LOSS = 0.2
"""Share of lost datagrams beyond which a phone's boot would be a matter of luck."""

_ROOM = 64
"""Free addresses that a scope has beyond those that were seen."""
_CONFIGURED = ("uc_identifier", "url_scheme", "web_server_port", "cert_prov_rel_path")


class _Server:
    def __init__(self, address: str, name: str, vlan_id: int) -> None:
        self.address = address
        self.name = name
        self.vlan_id = vlan_id
        self.seen: list[str] = []
        self.lease: Sighting | None = None
        self.addresses: list[int] = []
        self.options: dict[int, tuple[bytes, Sighting]] = {}
        self.vlan: Sighting | None = None
        self.waits: dict[str, list[tuple[float, Sighting]]] = {}
        self.naks: dict[str, Sighting] = {}
        self.astray: Sighting | None = None

    def answered(self, asked: str, wait: float, sighting: Sighting) -> None:
        if not self.waits:
            self.seen.append(quote(sighting))
        self.waits.setdefault(asked, []).append((wait, sighting))


class _Asked:
    """A request and its repeats, and what was answered to them."""

    def __init__(self, sighting: Sighting) -> None:
        self.kind = str(sighting["type"])
        self.first_at = self.last_at = sighting.at
        self.sent = 1
        self.replies: list[tuple[_Server, Sighting]] = []

    def repeated(self, sighting: Sighting) -> None:
        if not self.replies:
            self.sent += 1
            self.last_at = sighting.at


class _Reading:
    """What all boots say of DHCP."""

    def __init__(self) -> None:
        self.servers: dict[tuple[str, int], _Server] = {}
        self.vendor_class = ""
        self.inform: Sighting | None = None
        self.without_lease = 0
        self.sent = 0
        self.lost = 0

    def quickest(self, kind: str) -> float:
        """How long the server takes that answers such requests first."""
        return min(
            median(wait for wait, _ in server.waits[kind])
            for server in self.servers.values()
            if kind in server.waits
        )

    def server(self, address: str, vlan_id: int) -> _Server:
        key = address, vlan_id
        if key not in self.servers:
            self.servers[key] = _Server(address, f"dhcp{len(self.servers) + 1:02d}", vlan_id)
        return self.servers[key]


_ANSWERS = {"OFFER": ("DISCOVER",), "ACK": ("REQUEST", "INFORM"), "NAK": ("REQUEST", "INFORM")}


def learn_dhcp(boots: Sequence[Boot], draft: Draft) -> None:
    """Add DHCP servers and what was wrong with them, and the voice VLAN that a switch named."""
    reading = _Reading()
    for boot in boots:
        reading.without_lease += not boot.all("dhcp_lease") and bool(boot.all("dhcp_sent"))
        _read_boot(boot, reading)
        _learn_switch(boot, draft)
    if reading.lost:
        draft.loss = round(min(MOST_LOSS, reading.lost / reading.sent), 3)
    for server in reading.servers.values():
        draft.dhcp_servers.append(Entry(_profile(server, reading, draft), server.seen))


def _learn_switch(boot: Boot, draft: Draft) -> None:
    for sighting in boot.all("vlan_found"):
        if str(sighting["source"]).startswith("lldp") and draft.switch is None:
            values = {"name": "switch01", "voice_vlan": int(sighting["vlan"])}
            draft.switch = Entry(values, [quote(sighting)])
    heard = boot.first("lldp_received")
    if draft.switch is None and heard is not None and str(heard["policy"]).startswith("untagged"):
        draft.switch = Entry({"name": "switch01"}, [quote(heard)])


def _read_boot(boot: Boot, reading: _Reading) -> None:
    asked: dict[tuple[int, str], _Asked] = {}
    vlan_id = 0
    ends_at = boot.sightings[-1].at
    for sighting in boot.sightings:
        match sighting.name:
            case "vlan_found":
                vlan_id = int(sighting["vlan"])
            case "dhcp_sent":
                key = int(sighting["xid"]), str(sighting["type"])
                if key in asked:
                    asked[key].repeated(sighting)
                else:
                    asked[key] = _Asked(sighting)
                if key[1] == "INFORM":
                    reading.vendor_class = str(sighting["vendor_class"])
                    if ends_at - sighting.at >= LONGEST_SILENCE:
                        reading.inform = reading.inform or sighting
            case "dhcp_received":
                server = reading.server(_server_in(sighting), vlan_id)
                _take_reply(server, sighting, asked)
            case "dhcp_ignored":
                server = reading.server(str(sighting["source"]), vlan_id)
                _take_reply(server, sighting, asked)
            case "dhcp_lease" | "offer_shown":
                server = reading.server(_server_in(sighting), vlan_id)
                if server.lease is None or server.lease.name == "offer_shown":
                    server.lease = sighting
                server.addresses.append(int(IPv4Address(str(sighting["address"]))))
            case "option_43" | "option_120":
                code = int(sighting.name.removeprefix("option_"))
                octets = bytes.fromhex(str(sighting["hex"]))
                server = reading.server(_server_in(sighting), vlan_id)
                server.options.setdefault(code, (octets, sighting))
            case "reply_astray":
                server = reading.server(_server_in(sighting), vlan_id)
                server.astray = server.astray or sighting
            case "vlan_option":
                server = reading.server(_server_in(sighting), vlan_id)
                server.vlan = server.vlan or sighting
            case _:
                pass
    for exchange in asked.values():
        _conclude(exchange, reading)


def _server_in(sighting: Sighting) -> str:
    return str(sighting["server"]) or str(sighting.values.get("source", ""))


def _take_reply(server: _Server, sighting: Sighting, asked: dict[tuple[int, str], _Asked]) -> None:
    for kind in _ANSWERS.get(str(sighting["type"]), ()):
        exchange = asked.get((int(sighting["xid"]), kind))
        if exchange is not None:
            exchange.replies.append((server, sighting))
            # A NAK to who was not offered anything is the right answer to INIT-REBOOT.
            was_offered = (int(sighting["xid"]), "DISCOVER") in asked
            if sighting["type"] == "NAK" and (kind == "INFORM" or was_offered):
                server.naks.setdefault(kind, sighting)
            break
    address = str(sighting.values.get("yiaddr", ""))
    if address not in ("", "0.0.0.0"):
        server.addresses.append(int(IPv4Address(address)))


def _conclude(exchange: _Asked, reading: _Reading) -> None:
    """Tell late answers from lost ones."""
    counts: dict[str, int] = {}
    for server, _ in exchange.replies:
        counts[server.name] = counts.get(server.name, 0) + 1
    reading.sent += exchange.sent
    if counts:
        reading.lost += max(0, exchange.sent - max(counts.values()))
    done: set[str] = set()
    for server, sighting in exchange.replies:
        if server.name not in done:
            done.add(server.name)
            is_late = counts[server.name] >= exchange.sent
            since = exchange.first_at if is_late else exchange.last_at
            server.answered(exchange.kind, sighting.at - since, sighting)


def _profile(server: _Server, reading: _Reading, draft: Draft) -> dict[str, Any]:
    values: dict[str, Any] = {"name": server.name, "address": server.address}
    if server.vlan_id:
        values["on_vlan"] = server.vlan_id
    scope = _scope(server, reading.without_lease)
    if scope is not None:
        values["scope"] = scope
    if reading.vendor_class and "INFORM" in server.waits:
        values["sign_in_class"] = reading.vendor_class
    domain = str(values.get("scope", {}).get("domain") or "example.com")
    sign_in = _sign_in(server, domain, draft)
    if sign_in:
        values["sign_in"] = sign_in
    if server.vlan is not None:
        values["vlan_id"] = int(server.vlan["vlan"]) or 1
        values["vlan_option"] = str(server.vlan["hex"])
    if server.astray is not None:
        draft.fault(server.astray, "inform-astray", target=server.name, **_where(server.astray))
    elif reading.inform is not None and "INFORM" not in server.waits:
        draft.fault(reading.inform, "silence", target=server.name, protocol="dhcp", match="INFORM")
    for kind, nak in server.naks.items():
        draft.fault(nak, "dhcp-nak", target=server.name, request=kind.lower())
    for kind, waits in server.waits.items():
        typical = median(wait for wait, _ in waits)
        first = reading.quickest(kind)
        if typical < SHORTEST_DELAY:
            typical -= first
        if kind and (typical >= SHORTEST_DELAY or (typical >= SHORTEST_LEAD and first < typical)):
            draft.fault(
                waits[0][1],
                "delay",
                target=server.name,
                protocol="dhcp",
                seconds=round(typical, 3),
                match=kind,
            )
    return values


def _where(astray: Sighting) -> dict[str, Any]:
    """What of a reply's destination is wrong."""
    address, _, port = str(astray["destination"]).rpartition(":")
    expected = str(astray["expected"]).rpartition(":")
    values: dict[str, Any] = {}
    if address != expected[0]:
        values["address"] = address
    if port != expected[2]:
        values["port"] = int(port)
    return values


def _scope(server: _Server, without_lease: int) -> dict[str, Any] | None:
    lease = server.lease
    if not server.addresses:
        return None
    first, last = min(server.addresses), max(server.addresses)
    mask = "255.255.255.0" if lease is None else str(lease["mask"])
    subnet = IPv4Network((first, mask), strict=False)
    if not without_lease:
        last = min(last + _ROOM, int(subnet.broadcast_address) - 1)
    scope: dict[str, Any] = {
        "subnet": str(subnet),
        "first": str(IPv4Address(first)),
        "last": str(IPv4Address(max(first, last))),
    }
    if lease is None:
        return scope
    if int(lease["lease"]) > 0:
        scope["lease_time"] = int(lease["lease"])
    for key, field in (("routers", "router"), ("dns_servers", "dns"), ("ntp_servers", "ntp")):
        values = _listed(lease[field])
        if values:
            scope[key] = values
    if lease["domain"]:
        scope["domain"] = str(lease["domain"])
    return scope


def _sign_in(server: _Server, domain: str, draft: Draft) -> dict[str, Any]:
    """Options 43 and 120 by name; what names cannot say becomes a fault with the octets.

    A name that cannot be read is made up, for whoever takes the fault away.
    """
    values: dict[str, Any] = {}
    if 43 in server.options:
        octets, seen = server.options[43]
        decoded = decode_uc_options(octets)
        values["web_server_fqdn"] = decoded.web_server_fqdn or f"webpool.{domain}"
        if _is_exact_43(decoded, octets):
            for name in _CONFIGURED:
                if getattr(decoded, name) != _DEFAULTS[name]:
                    values[name] = getattr(decoded, name)
        else:
            draft.fault(
                seen,
                "set-dhcp-option",
                target=server.name,
                option=43,
                value=octets.hex().upper(),
            )
    if 120 in server.options:
        octets, seen = server.options[120]
        names = list(decode_sip_servers(octets).names)
        values["registrars"] = names or [f"fe01.{domain}"]
        if not names or encode_sip_servers(names) != octets:
            draft.fault(
                seen,
                "set-dhcp-option",
                target=server.name,
                option=120,
                value=octets.hex().upper(),
            )
    return values


_DEFAULTS: dict[str, object] = {
    "uc_identifier": "MS-UC-Client",
    "url_scheme": "https",
    "web_server_port": 443,
    "cert_prov_rel_path": "/CertProv/CertProvisioningService.svc",
}


def _is_exact_43(decoded: UcOptions, octets: bytes) -> bool:
    if None in (decoded.web_server_fqdn, *(getattr(decoded, name) for name in _CONFIGURED)):
        return False
    try:
        return encode_uc_options(decoded) == octets
    except ValueError:
        return False


def _listed(value: object) -> list[str]:
    return [part for part in str(value).replace("+", ",").split(",") if part]
