"""The access switch: tells the phones that are plugged into it which VLAN is for voice.

It hears LLDP-MED endpoints, and answers each one that does not know its voice policy yet,
on the port where it is. To others it has nothing to say (ANSI/TIA-1057 section 11.1). Its
regular advertisements are left out: they would say the same.

Specifications: ANSI/TIA-1057 sections 10.2 and 11; IEEE 802.1AB.
"""

from __future__ import annotations

from phonesim.config.site_profile import SwitchConfig
from phonesim.mocksite.exchange import (
    LldpAdvertised,
    MalformedArrived,
    Report,
    SendLldp,
    ServerAction,
    ServerEvent,
)
from phonesim.wire.lldp import (
    BRIDGE,
    CHASSIS_MAC,
    MED_CAPABILITIES,
    MED_POLICY,
    NETWORK_CONNECTIVITY,
    PORT_INTERFACE_NAME,
    VOICE,
    LldpUnit,
    NetworkPolicy,
)

TIME_TO_LIVE = 120
"""Seconds for which what the switch says may be believed."""

_CHASSIS = bytes.fromhex("020000000001")


class Switch:
    """The switch. `config` says what its network policy is."""

    def __init__(self, config: SwitchConfig) -> None:
        self._name = config.name
        self._policy = NetworkPolicy(
            is_tagged=config.voice_vlan is not None,
            vlan_id=config.voice_vlan or 0,
            priority=config.priority,
            dscp=config.dscp,
        )
        self._ports: dict[str, bytes] = {}

    def handle(self, event: ServerEvent, now: float) -> list[ServerAction]:
        """Take one event; return what to do about it."""
        if isinstance(event, LldpAdvertised):
            return self._advertised(event.unit, event.port)
        if isinstance(event, MalformedArrived):
            return [
                Report(
                    text="malformed LLDP unit",
                    fields=(("source", event.source), ("reason", event.reason)),
                )
            ]
        return []

    def next_deadline(self) -> tuple[float, str] | None:
        """Return None: the switch speaks when it is spoken to."""
        return None

    def _advertised(self, unit: LldpUnit, port: str) -> list[ServerAction]:
        knows = any(each.application == VOICE and not each.is_unknown for each in unit.policies)
        if unit.ttl == 0 or unit.med_capabilities is None or knows:
            return []
        port_id = self._ports.setdefault(port, f"ge-{len(self._ports) + 1}".encode())
        return [
            SendLldp(
                unit=LldpUnit(
                    chassis_subtype=CHASSIS_MAC,
                    chassis_id=_CHASSIS,
                    port_subtype=PORT_INTERFACE_NAME,
                    port_id=port_id,
                    ttl=TIME_TO_LIVE,
                    system_name=self._name,
                    system_capabilities=(BRIDGE, BRIDGE),
                    med_capabilities=MED_CAPABILITIES | MED_POLICY,
                    device_class=NETWORK_CONNECTIVITY,
                    policies=(self._policy,),
                ),
                port=port,
            )
        ]
