"""What a run is about to send to a real network, said before it is sent."""

from __future__ import annotations

from collections.abc import Sequence

from phonesim.config.device_profile import DeviceProfile
from phonesim.config.relay_profile import Relay
from phonesim.fleet.plan import Plan
from phonesim.fleet.relay_plan import is_on_loopback

_TCP_PACKETS = 12
"""Packets of a short TCP exchange, both directions: handshake, request, answer, close."""
_TLS_PACKETS = 8
"""More of them where TLS is spoken."""
_NAMED = 8
"""Addresses that are said one by one."""


def needs_consent(plan: Plan) -> bool:
    """Say whether packets of this run reach a network that is not ours."""
    if plan.fleet.relay is not None:
        return not is_on_loopback(plan.fleet.relay)
    return plan.fleet.attach == "wire"


def describe_impact(plan: Plan) -> list[str]:
    """Return lines for the person who decides: phones, rate, where to, packets."""
    fleet, specs, relay = plan.fleet, plan.specs, plan.fleet.relay
    per_phone = max(expected_packets(spec.profile, fleet.stages, relay) for spec in specs[:1000])
    seconds = (len(specs) - 1) / fleet.rate
    ouis = ", ".join(sorted({f"{spec.phone_id[:8]}-..." for spec in specs}))
    leases = "kept until they expire" if fleet.keep_leases else "released at the end"
    if relay is None:
        lines = [f"This will send packets on interface {fleet.interface}:"]
    else:
        lines = [
            "This will send packets to DHCP servers, as relay agents do:",
            f"  to        {_some([str(each) for each in relay.servers])}",
            f"  giaddrs   {_some([str(each) for each in relay.agents])}"
            + (f", put on interface {fleet.interface} if need be" if fleet.interface else ""),
            f"  each      request of a phone is sent {relay.fan_out} times",
        ]
    lines += [
        f"  phones    {len(specs)}, with MACs {ouis}",
        f"  starts    {fleet.rate:g} a second, the last after {seconds:.0f} s",
        f"  packets   about {per_phone} a boot when everything answers,"
        f" {per_phone * len(specs) * fleet.boots} in all,"
        f" up to {per_phone * min(fleet.rate, len(specs)):.0f} a second",
        f"  leases    {len(specs)} addresses, {leases}",
    ]
    if fleet.limits.packets_per_second is not None:
        most = fleet.limits.packets_per_second
        lines.append(f"  limit     {most:g} datagrams a second from all phones together")
    if plan.site is None:
        whose = "of this network" if relay is None else "above, and those that leases name"
        users = "; phones sign in as real users" if fleet.stages is None else ""
        lines.append(f"  servers   those {whose}{users}")
    else:
        lines.append(
            f"  servers   mock site {plan.site.name}: its DHCP servers answer ANY client on this"
            " network"
        )
    return lines


def expected_packets(
    profile: DeviceProfile, stages: Sequence[str] | None = None, relay: Relay | None = None
) -> int:
    """Return about how many packets one boot without a cache makes, both directions.

    `stages` are those it does, None for all. Behind a relay, what phones broadcast comes
    and is answered once for every copy.
    """
    copies = 1 if relay is None else relay.fan_out
    address = 2 * 2 * copies
    arp = 4 if relay is None else 0
    if stages == ("ip",):
        return address + arp
    inform = 2 * copies
    if stages is not None:
        return address + arp + inform + 2 * len(profile.discovery.srv_names)
    ntp = 2
    names = len(profile.discovery.srv_names) + 2
    https = 2 * (_TCP_PACKETS + _TLS_PACKETS)
    chain = _TCP_PACKETS
    register = _TCP_PACKETS + _TLS_PACKETS + 2
    return address + inform + arp + ntp + 2 * names + chain + https + register


def _some(names: Sequence[str]) -> str:
    """Return the names, or the first of many."""
    if len(names) <= _NAMED:
        return ", ".join(names)
    return f"{', '.join(names[:_NAMED])} and {len(names) - _NAMED} more"
