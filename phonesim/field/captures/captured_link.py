"""What one phone in a capture does on its link, as its log would tell it: LLDP, VLAN, ARP.

Specifications: IEEE 802.1AB, ANSI/TIA-1057 (network policy), RFC 5227 (conflicts), RFC 3927.
"""

from __future__ import annotations

from phonesim.device import device_log as log
from phonesim.device.vlan import id_text, policy_text
from phonesim.field.captures.captured_seen import Seen, Told, shown
from phonesim.wire.dhcp import UNSPECIFIED, format_mac
from phonesim.wire.frame import ArpFrame
from phonesim.wire.lldp import VOICE, LldpUnit

_PROBE_SECONDS = 10.0
_LINK_LOCAL = "169.254."


class LinkNarrator:
    """Tells the link of one phone."""

    def __init__(self) -> None:
        self._said: object = None
        self._heard: object = None
        self._source = ""
        self._vlan_id: int | None = None
        self._probed: dict[str, float] = {}
        self._conflicts: set[tuple[str, bytes]] = set()

    def forget(self) -> None:
        """Begin another boot."""
        self._said = self._heard = None
        self._source = ""
        self._vlan_id = None
        self._conflicts.clear()

    # --- LLDP, VLAN ---

    def said(self, unit: LldpUnit, seen: Seen) -> list[Told]:
        """Tell what the phone advertises, when it is new."""
        policy = next((each for each in unit.policies if each.application == VOICE), None)
        vlan_id = policy.vlan_id if policy is not None and policy.is_tagged else 0
        record = log.LLDP_SENT(
            id_text(unit.chassis_subtype, unit.chassis_id),
            id_text(-1, unit.port_id),
            unit.ttl,
            vlan_id,
        )
        if record == self._said or not unit.ttl:
            return []
        self._said = record
        inventory = unit.inventory
        if not inventory.model:
            return [Told(record, seen)]
        device = shown("inventory_shown", inventory.manufacturer or "", inventory.model)
        return [Told(record, seen), Told(device, seen)]

    def heard(self, unit: LldpUnit, seen: Seen) -> list[Told]:
        """Tell what the switch advertises, when it is new."""
        policy = next((each for each in unit.policies if each.application == VOICE), None)
        chassis = id_text(unit.chassis_subtype, unit.chassis_id)
        heard = (unit.chassis_id, unit.port_id, policy)
        if heard == self._heard:
            return []
        self._heard = heard
        port = id_text(-1, unit.port_id)
        told = [Told(log.LLDP_RECEIVED(chassis, port, unit.ttl, policy_text(policy)), seen)]
        if policy is not None and not policy.is_unknown:
            self._source = f"lldp:{chassis}"
        return told

    def sent_in(self, vlan_id: int | None, seen: Seen) -> list[Told]:
        """Tell when the phone's frames get another tag."""
        if not vlan_id or vlan_id == self._vlan_id:
            return []
        self._vlan_id = vlan_id
        return [Told(log.VLAN_FOUND(vlan_id, self._source or "tag"), seen)]

    # --- ARP ---

    def asked(self, frame: ArpFrame, seen: Seen) -> list[Told]:
        """Tell what the phone says by ARP."""
        if frame.sender_ip == UNSPECIFIED:
            if len(self._probed) > 16:
                self._probed.clear()
            self._probed[frame.target_ip] = seen.at
            return []
        is_new = frame.sender_ip == frame.target_ip and frame.sender_ip.startswith(_LINK_LOCAL)
        return [Told(log.AUTO_IP(frame.sender_ip, 0.0), seen)] if is_new else []

    def contradicted(self, frame: ArpFrame, seen: Seen, *, is_own: bool) -> list[Told]:
        """Another host says by ARP that it has an address: tell a conflict, if it is one.

        `is_own` says that the phone has a lease for that address.
        """
        claimed = frame.sender_ip
        asked_at = self._probed.get(claimed)
        is_probed = asked_at is not None and seen.at - asked_at < _PROBE_SECONDS
        if not is_probed and not is_own:
            return []
        conflict = (claimed, frame.sender_mac)
        if conflict in self._conflicts:
            return []
        self._conflicts.add(conflict)
        return [Told(log.ADDRESS_CONFLICT(claimed, format_mac(frame.sender_mac)), seen)]
