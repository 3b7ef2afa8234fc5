"""What DHCP servers said: leases, options 43 and 120 byte for byte, delays, silence.

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

_ROOM = 64
"""Free addresses that a scope has beyond those that were seen."""
_PLACEHOLDER = "replaced.invalid"
_CONFIGURED = ("uc_identifier", "url_scheme", "web_server_port", "cert_prov_rel_path")


class _Server:
    def __init__(self, address: str, name: str) -> None:
        self.address = address
        self.name = name
        self.seen: list[str] = []
        self.lease: Sighting | None = None
        self.addresses: list[int] = []
        self.options: dict[int, tuple[bytes, Sighting]] = {}
        self.lacks: dict[int, Sighting] = {}
        self.vlan: Sighting | None = None
        self.waits: dict[str, list[tuple[float, Sighting]]] = {}
        self.refused_inform: Sighting | None = None

    def answered(self, asked: str, wait: float, sighting: Sighting) -> None:
        if not self.waits:
            self.seen.append(quote(sighting))
        self.waits.setdefault(asked, []).append((wait, sighting))


class _Informs:
    """INFORMs, and the vendor class and the first sighting of one that had no answer."""

    def __init__(self) -> None:
        self.vendor_class = ""
        self.sent: Sighting | None = None


def learn_dhcp(boots: Sequence[Boot], draft: Draft) -> None:
    """Add DHCP servers and what was wrong with them."""
    servers: dict[str, _Server] = {}
    informs = _Informs()
    without_lease = 0
    repeated = answered = 0
    for boot in boots:
        had_lease = len(boot.all("dhcp_lease"))
        without_lease += not had_lease and bool(boot.all("dhcp_sent"))
        again, total = _read_boot(boot, servers, informs)
        repeated += again
        answered += total
    if repeated and answered:
        draft.loss = round(min(0.5, repeated / (repeated + answered)), 3)
    for server in servers.values():
        draft.dhcp_servers.append(
            Entry(_profile(server, informs, without_lease, draft), server.seen)
        )


def _read_boot(boot: Boot, servers: dict[str, _Server], informs: _Informs) -> tuple[int, int]:
    """Take a boot's DHCP; return the repeats of requests that were answered, and the answers."""
    asked: dict[int, tuple[str, float, int]] = {}
    repeated = answered = 0

    def server_of(sighting: Sighting, field: str = "server") -> _Server:
        address = str(sighting[field]) or str(sighting.values.get("source", ""))
        if address not in servers:
            servers[address] = _Server(address, f"dhcp{len(servers) + 1:02d}")
        return servers[address]

    for sighting in boot.sightings:
        match sighting.name:
            case "dhcp_sent":
                xid, kind = int(sighting["xid"]), str(sighting["type"])
                count = asked[xid][2] + 1 if xid in asked and asked[xid][0] == kind else 1
                asked[xid] = (kind, sighting.at, count)
                if kind == "INFORM":
                    informs.vendor_class = str(sighting["vendor_class"])
                    informs.sent = informs.sent or sighting
            case "dhcp_received":
                server = server_of(sighting)
                kind, at, count = asked.get(int(sighting["xid"]), ("", sighting.at, 1))
                server.answered(kind, sighting.at - at, sighting)
                if count > 1:
                    repeated += count - 1
                    asked[int(sighting["xid"])] = (kind, at, 1)
                answered += 1
                if sighting["type"] == "NAK" and kind == "INFORM":
                    server.refused_inform = server.refused_inform or sighting
                address = str(sighting["yiaddr"])
                if address not in ("", "0.0.0.0"):
                    server.addresses.append(int(IPv4Address(address)))
            case "dhcp_lease":
                server = server_of(sighting)
                server.lease = server.lease or sighting
                server.addresses.append(int(IPv4Address(str(sighting["address"]))))
            case "option_43" | "option_120":
                code = int(sighting.name.removeprefix("option_"))
                octets = bytes.fromhex(str(sighting["hex"]))
                server_of(sighting).options.setdefault(code, (octets, sighting))
            case "option_missing":
                server_of(sighting).lacks.setdefault(int(sighting["option"]), sighting)
            case "vlan_option":
                server = server_of(sighting)
                server.vlan = server.vlan or sighting
            case _:
                pass
    return repeated, answered


def _profile(
    server: _Server, informs: _Informs, without_lease: int, draft: Draft
) -> dict[str, Any]:
    values: dict[str, Any] = {"name": server.name, "address": server.address}
    scope = _scope(server, without_lease)
    if scope is not None:
        values["scope"] = scope
    if informs.vendor_class and "INFORM" in server.waits:
        values["sign_in_class"] = informs.vendor_class
    sign_in = _sign_in(server, draft)
    if sign_in:
        values["sign_in"] = sign_in
    if server.vlan is not None:
        values["vlan_id"] = int(server.vlan["vlan"]) or 1
        values["vlan_option"] = str(server.vlan["hex"])
    if informs.sent is not None and "INFORM" not in server.waits:
        draft.fault(informs.sent, "silence", target=server.name, protocol="dhcp", match="INFORM")
    if server.refused_inform is not None:
        draft.note(f"{quote(server.refused_inform)}: a NAK to INFORM was not learned")
    for kind, waits in server.waits.items():
        typical = median(wait for wait, _ in waits)
        if kind and typical >= SHORTEST_DELAY:
            seconds = round(typical, 3)
            draft.fault(
                waits[0][1],
                "delay",
                target=server.name,
                protocol="dhcp",
                seconds=seconds,
                match=kind,
            )
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


def _sign_in(server: _Server, draft: Draft) -> dict[str, Any]:
    """Options 43 and 120 by name; what names cannot say becomes a fault with the octets."""
    values: dict[str, Any] = {}
    if 43 in server.options:
        octets, seen = server.options[43]
        decoded = decode_uc_options(octets)
        values["web_server_fqdn"] = decoded.web_server_fqdn or _PLACEHOLDER
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
        values["registrars"] = names or [_PLACEHOLDER]
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
