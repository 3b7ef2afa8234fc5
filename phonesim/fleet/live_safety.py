"""What a run is about to send to a real network, said before it is sent."""

from __future__ import annotations

from collections.abc import Sequence
from math import ceil

from phonesim.config.device_profile import DeviceProfile
from phonesim.config.fleet_profile import FROM_FIXED_ADDRESSES, LoadLimits, PartialStage
from phonesim.config.relay_profile import Relay
from phonesim.fleet.load_shape import peak_starts
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
    boots, peak = _boots(plan), _peak(plan)
    rate = f"{fleet.rate:g}" if fleet.shape is None else f"up to {peak}"
    last = max(spec.starts_at for spec in specs)
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
        f"  phones    {len(specs)}, with MACs {_macs(plan)}",
        f"  duration  {_duration(plan)}",
        f"  starts    {rate} a second, the last after {last:.0f} s",
        f"  packets   about {per_phone} a boot when everything answers,"
        f" {per_phone * boots} in all, up to {per_phone * peak} a second",
    ]
    if fleet.repeat_every is not None:
        lines.append(f"  again     every {fleet.repeat_every:g} s, for {fleet.until}")
    if fleet.addresses is None:
        lines.append(f"  leases    {len(specs)} addresses, {leases}")
    else:
        first = fleet.addresses.first
        lines.append(f"  addresses {first} to {first + len(specs) - 1}, which no server leased")
    lines.append(f"  limits    {_limits(plan.fleet.limits)}")
    if plan.site is None:
        if fleet.registration is not None:
            named = [f"{each.host}:{each.port_number}" for each in fleet.registration.registrars]
            lines.append(f"  to        {_some(named)}")
        whose = "of this network" if relay is None else "above, and those that leases name"
        signs_in = fleet.stages is None or fleet.registration is not None
        users = "; phones sign in as real users" if signs_in else ""
        lines.append(f"  servers   those {whose}{users}")
    else:
        lines.append(
            f"  servers   mock site {plan.site.name}: its DHCP servers answer ANY client on this"
            " network"
        )
    return lines


def _macs(plan: Plan) -> str:
    """The first and the last MAC of every vendor."""
    by_vendor: dict[str, list[str]] = {}
    for spec in plan.specs:
        by_vendor.setdefault(spec.phone_id[:8], []).append(spec.phone_id)
    ranges = [(min(ids), max(ids)) for _, ids in sorted(by_vendor.items())]
    return ", ".join(first if first == last else f"{first} to {last}" for first, last in ranges)


def _duration(plan: Plan) -> str:
    duration = plan.limits.duration
    if duration is not None:
        return f"{duration:g} s (until {plan.fleet.until}), and the time to shut down"
    longest = plan.specs[-1].starts_at + plan.limits.timeout
    return f"until every phone is done, at most {longest:.0f} s if all start on time"


def _limits(limits: LoadLimits) -> str:
    parts = []
    if limits.outstanding is not None:
        parts.append(f"{limits.outstanding} phones booting at once")
    if limits.packets_per_second is not None:
        parts.append(f"{limits.packets_per_second:g} datagrams a second from all phones together")
    if limits.unanswered_share is not None:
        share = f"more than {limits.unanswered_share:.0%} of {limits.unanswered_window} exchanges"
        parts.append(f"the run stops when {share} have no answer in time")
    if not parts:
        return "none: the phones do not slow down when servers fall behind (see fleet.limits)"
    return "; ".join(parts)


def expected_packets(
    profile: DeviceProfile,
    stages: tuple[PartialStage, ...] | None = None,
    relay: Relay | None = None,
) -> int:
    """Return about how many packets one boot without a cache makes, both directions.

    `stages` are those it does, None for all. Behind a relay, what phones broadcast comes
    and is answered once for every copy.
    """
    copies = 1 if relay is None else relay.fan_out
    address = 0 if stages in FROM_FIXED_ADDRESSES else 2 * 2 * copies
    arp = profile.arp.probes + profile.arp.announcements if relay is None else 0
    lldp = 0
    if (stages is None or "vlan" in stages) and profile.vlan.lldp_wait:
        lldp = profile.vlan.fast_start_count + 3  # and again with its address, and good-bye
    if stages is not None and stages[-1] == "ip":
        return lldp + address + arp
    register = _TCP_PACKETS + _TLS_PACKETS + 2
    if stages == ("register",):
        return arp + register
    inform = 2 * copies if profile.discovery.asks_dhcp else 0
    if stages is not None:
        return address + arp + inform + 2 * len(profile.discovery.srv_names)
    ntp = 2
    names = len(profile.discovery.srv_names) + 2
    https = 2 * (_TCP_PACKETS + _TLS_PACKETS)
    chain = _TCP_PACKETS
    return lldp + address + inform + arp + ntp + 2 * names + chain + https + register


def _boots(plan: Plan) -> int:
    """How many boots all phones come to."""
    duration, every = plan.limits.duration, plan.limits.repeat_every
    if duration is None or every is None:
        return len(plan.specs) * len(plan.limits.boots)
    return sum(max(0, ceil((duration - spec.starts_at) / every)) for spec in plan.specs)


def _peak(plan: Plan) -> int:
    """The most boots that begin within a second."""
    starts = [spec.starts_at for spec in plan.specs]
    every = plan.limits.repeat_every
    if every is not None:
        # Once every phone has started, each second is like the one a period ago.
        starts = [start % every for start in starts]
        starts += [start + every for start in starts]
    return peak_starts(starts)


def _some(names: Sequence[str]) -> str:
    """Return the names, or the first of many."""
    if len(names) <= _NAMED:
        return ", ".join(names)
    return f"{', '.join(names[:_NAMED])} and {len(names) - _NAMED} more"
