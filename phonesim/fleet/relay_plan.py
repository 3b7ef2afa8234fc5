"""Behind which relay agents each phone of a fleet is, and what these say of it in option 82.

Phone i of a fleet over g links is on link i, counted round and round, and every round begins one
link later: a fleet whose models alternate as often as its links do has all models on each link.
"""

from __future__ import annotations

from collections.abc import Iterator
from ipaddress import IPv4Address

import msgspec

from phonesim.config.fleet_profile import FROM_FIXED_ADDRESSES, FleetProfile
from phonesim.config.relay_profile import Relay, RelayedLink
from phonesim.config.site_profile import SiteProfile
from phonesim.device.outcome import Stage
from phonesim.errors import ProfileError
from phonesim.relay_agent import Circuit
from phonesim.wire.dhcp import encode_relay_information
from phonesim.world import PhoneSpec

_LONGEST_ID = 255
_HEX = "0x"


def behind_relays(fleet: FleetProfile, relay: Relay, specs: list[PhoneSpec]) -> Iterator[PhoneSpec]:
    """Yield the phones, each with its link and circuits; `ProfileError` if an id cannot be made."""
    links = relay.giaddrs
    for index, spec in enumerate(specs):
        link = links[(index + index // len(links)) % len(links)]
        try:
            circuits = tuple(_circuit(relay, link, agent, spec, index) for agent in link.agents)
        except ValueError as error:
            raise ProfileError(
                f"fleet {fleet.name!r}: relay, link {link.name}, phone {spec.phone_id}: {error}"
            ) from None
        yield msgspec.structs.replace(spec, link=link.name, circuits=circuits)


def check_relay(fleet: FleetProfile, site: SiteProfile | None) -> Relay:
    """Return the agents of a fleet that is attached through some; `ProfileError` for nonsense."""
    where = f"fleet {fleet.name!r}"
    relay = fleet.relay
    if relay is None:
        raise ProfileError(
            f"{where}: attach relay needs a section relay with servers and giaddrs"
            " (see phonesim profiles show relay-load)"
        )
    if fleet.stages in FROM_FIXED_ADDRESSES:
        raise ProfileError(
            f"{where}: phones behind relay agents need leased addresses: use stages [ip, discovery]"
        )
    if is_on_loopback(relay):
        if fleet.interface is not None:
            raise ProfileError(f"{where}: giaddrs on loopback need no interface: leave it out")
        if site is None and fleet.port_offset is None:
            raise ProfileError(
                f"{where}: relay agents on loopback without a site need --port-offset: that of the"
                " site to use"
            )
        _check_mock_servers(where, relay, site)
        return relay
    if site is not None:
        raise ProfileError(
            f"{where}: relay agents reach a mock site on loopback only: use site none, or loopback"
            " addresses as relay.servers and relay.giaddrs"
        )
    if fleet.port_offset is not None:
        raise ProfileError(
            f"{where}: servers that are not on loopback have standard ports: leave port_offset out"
        )
    if has_addresses(fleet) and fleet.interface is None:
        raise ProfileError(
            f"{where}: phones that go beyond the stage ip need their leased addresses on this host:"
            " give the interface to put them on (--interface), or use stages [ip]"
        )
    return relay


def check_renewals(fleet: FleetProfile, specs: list[PhoneSpec]) -> None:
    """`ProfileError` if phones would renew from addresses that they do not have here."""
    direct = next((spec for spec in specs if spec.profile.dhcp.direct_renewal), None)
    if direct is not None and not has_addresses(fleet):
        raise ProfileError(
            f"fleet {fleet.name!r}: device {direct.profile.name} renews from its leased address"
            " (dhcp.direct_renewal), and with attach relay and stages [ip] phones have none here:"
            " use stages [ip, discovery], or direct_renewal false"
        )


def has_addresses(fleet: FleetProfile) -> bool:
    """Whether phones behind relay agents get their leased addresses on this host."""
    return fleet.stages != (Stage.IP.value,)


def is_on_loopback(relay: Relay) -> bool:
    """Whether all of it stays on this machine."""
    return relay.servers[0].is_loopback


def _check_mock_servers(where: str, relay: Relay, site: SiteProfile | None) -> None:
    if site is None:
        return
    known = {server.address for server in site.dhcp_servers}
    for address in relay.servers:
        if address not in known:
            there = ", ".join(map(str, sorted(known))) or "none"
            raise ProfileError(
                f"{where}: relay.servers: site {site.name} has no DHCP server {address};"
                f" there are: {there}"
            )


def _circuit(
    relay: Relay, link: RelayedLink, agent: IPv4Address, spec: PhoneSpec, index: int
) -> Circuit:
    ids = []
    for name in ("circuit_id", "remote_id"):
        template: str | None = getattr(link, name)
        if template is None:
            template = getattr(relay, name)
        value = None if template is None else _filled(name, template, link, agent, spec, index)
        ids.append(value)
    return Circuit(str(agent), encode_relay_information(*ids))


def _filled(
    name: str, template: str, link: RelayedLink, agent: IPv4Address, spec: PhoneSpec, index: int
) -> bytes:
    is_hex = template.startswith(_HEX)
    values: dict[str, str | int] = {
        "n": index + 1,
        "mac": spec.mac.hex() if is_hex else spec.phone_id,
        "giaddr": agent.packed.hex() if is_hex else str(agent),
        "link": link.name.encode().hex() if is_hex else link.name,
    }
    try:
        text = template.format(**values)
    except (LookupError, ValueError, AttributeError, TypeError) as error:
        raise ValueError(
            f"{name} {template!r} cannot be filled in: only {{n}}, {{mac}}, {{giaddr}} and"
            f" {{link}} are known ({error})"
        ) from None
    if is_hex:
        try:
            value = bytes.fromhex(text.removeprefix(_HEX))
        except ValueError:
            raise ValueError(f"{name} {text!r} is not two hexadecimal digits an octet") from None
    else:
        value = text.encode()
    if not 1 <= len(value) <= _LONGEST_ID:
        raise ValueError(f"{name} has {len(value)} octets: it has 1 to {_LONGEST_ID}")
    return value
