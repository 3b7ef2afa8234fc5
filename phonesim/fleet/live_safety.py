"""What a run is about to send to a real network, said before it is sent."""

from __future__ import annotations

from collections.abc import Sequence

from phonesim.config.device_profile import DeviceProfile
from phonesim.fleet.plan import Plan

_TCP_PACKETS = 12
"""Packets of a short TCP exchange, both directions: handshake, request, answer, close."""
_TLS_PACKETS = 8
"""More of them where TLS is spoken."""


def needs_consent(plan: Plan) -> bool:
    """Say whether packets of this run reach a network that is not ours."""
    return plan.fleet.attach == "wire"


def describe_impact(plan: Plan) -> list[str]:
    """Return lines for the person who decides: phones, rate, interface, packets."""
    fleet, specs = plan.fleet, plan.specs
    per_phone = max(expected_packets(spec.profile, fleet.stages) for spec in specs[:1000])
    seconds = (len(specs) - 1) / fleet.rate
    ouis = ", ".join(sorted({f"{spec.phone_id[:8]}-..." for spec in specs}))
    leases = "kept until they expire" if fleet.keep_leases else "released at the end"
    lines = [
        f"This will send packets on interface {fleet.interface}:",
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
        users = "; phones sign in as real users" if fleet.stages is None else ""
        lines.append(f"  servers   those of this network{users}")
    else:
        lines.append(
            f"  servers   mock site {plan.site.name}: its DHCP servers answer ANY client on this"
            " network"
        )
    return lines


def expected_packets(profile: DeviceProfile, stages: Sequence[str] | None = None) -> int:
    """Return about how many packets one boot without a cache makes, both directions.

    `stages` are those it does, None for all.
    """
    address = 2 * 2
    arp = 4
    lldp = 0
    if (stages is None or "vlan" in stages) and profile.vlan.lldp_wait:
        lldp = profile.vlan.fast_start_count + 3  # and again with its address, and good-bye
    if stages is not None and stages[-1] == "ip":
        return lldp + address + arp
    inform = 2
    if stages is not None:
        return address + arp + inform + 2 * len(profile.discovery.srv_names)
    ntp = 2
    names = len(profile.discovery.srv_names) + 2
    https = 2 * (_TCP_PACKETS + _TLS_PACKETS)
    chain = _TCP_PACKETS
    register = _TCP_PACKETS + _TLS_PACKETS + 2
    return lldp + address + inform + arp + ntp + 2 * names + chain + https + register
