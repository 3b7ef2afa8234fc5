"""The phone's end of LLDP-MED: what it says of itself, and the voice VLAN it is told.

    Stopped --VlanWanted--> Waiting --network policy, or the wait is over--> Settled

The phone advertises as an endpoint of class III from its first moment, quickly at first,
and again whenever something of it changes: its VLAN, or its address, by which it goes on the
network. What has changed its identity says good-bye first under the old one. Repeating an
advertisement is left to the world, as ARP probes are.

A network policy for voice that is tagged with a VLAN id of 1 to 4094 puts the phone there; one
that is untagged, or tagged for priority only, says that there is no voice VLAN. A policy that
the switch does not know itself, or of VLAN 4095, is none, and other endpoints' policies are
their own affair. When no policy comes in time the
phone asks DHCP. One that comes later, or says something else later, moves the phone if the
profile says so: a switch's word counts more than a DHCP server's.

Specifications: ANSI/TIA-1057 sections 8, 10.2.3 (network policy) and 11.2 (fast start); IEEE
802.1AB sections 8.5 and 9; device reference section 4.
"""

from __future__ import annotations

from typing import assert_never

import msgspec

from phonesim.config.device_profile import DeviceProfile
from phonesim.device import device_log as log
from phonesim.device.actions import AdvertiseLldp, PhoneAction
from phonesim.device.device_log import LogRecord
from phonesim.device.events import (
    Event,
    LeaseBound,
    LeaseLost,
    LldpReceived,
    ShutdownRequested,
    TimerExpired,
    VlanChanged,
    VlanOffered,
    VlanSettled,
    VlanWanted,
)
from phonesim.wire.dhcp import UNSPECIFIED
from phonesim.wire.ipv4 import pack_address, unpack_address
from phonesim.wire.lldp import (
    BRIDGE,
    CHASSIS_MAC,
    CHASSIS_NETWORK_ADDRESS,
    ENDPOINT_CLASS_III,
    MED_CAPABILITIES,
    MED_INVENTORY,
    MED_POLICY,
    MED_POWER_PD,
    PORT_MAC,
    TELEPHONE,
    VOICE,
    ExtendedPower,
    Inventory,
    LldpUnit,
    MacPhyStatus,
    NetworkPolicy,
)

Output = PhoneAction | Event | LogRecord

_HIGHEST_VLAN_ID = 4094
_ENDPOINT_CLASSES = (1, 2, 3)
_IPV4 = b"\x01"  # address family of a network address
_POWERED_DEVICE, _FROM_PSE, _HIGH_PRIORITY = 1, 1, 2
_NEGOTIATES = 0x03
_MODES_TO_100_MBIT = 0x6C00


class Stopped(msgspec.Struct, frozen=True):
    """Before power, after shutdown, and for a phone that does not speak LLDP."""


class Waiting(msgspec.Struct, frozen=True, kw_only=True):
    """No network policy yet."""

    give_up_at: float


class Settled(msgspec.Struct, frozen=True, kw_only=True):
    """The phone is in this VLAN, None for untagged, whoever said so."""

    vlan_id: int | None


State = Stopped | Waiting | Settled


class LldpEndpoint:
    """Internal events out: VlanSettled, once, and VlanChanged."""

    def __init__(self, profile: DeviceProfile, mac: bytes) -> None:
        self._config = profile.vlan
        self._mac = mac
        self._address = UNSPECIFIED
        self._policy = NetworkPolicy(is_unknown=True)
        self._advertised: LldpUnit | None = None
        self._told: LogRecord | None = None
        self._heard: tuple[bytes, bytes, NetworkPolicy | None] | None = None
        self._about = _describe_phone(profile, mac)
        self.state: State = Stopped()

    # --- the contract ---

    def handle(self, event: Event, now: float) -> list[Output]:
        """Take one event; return actions, log records and events for the phone."""
        match event:
            case LldpReceived():
                return self._received(event.unit)
            case TimerExpired():
                return self._timer_expired(now)
            case VlanWanted():
                self.state = Waiting(give_up_at=now + self._config.lldp_wait)
                return self._advertise(self._config.fast_start_count)
            case VlanOffered() if not isinstance(self.state, Stopped):
                return self._settle(NetworkPolicy(is_tagged=True, vlan_id=event.vlan_id))
            case LeaseBound():
                return self._move(event.lease.address)
            case LeaseLost():
                return self._move(UNSPECIFIED)
            case ShutdownRequested():
                self.state = Stopped()
                return self._say_good_bye()
            case _:
                return []

    def next_deadline(self) -> tuple[float, str] | None:
        """When a timer is due, and which."""
        match self.state:
            case Waiting(give_up_at=at):
                return at, "no network policy"
            case Stopped() | Settled():
                return None
            case _:
                assert_never(self.state)

    # --- hearing ---

    def _received(self, unit: LldpUnit) -> list[Output]:
        if isinstance(self.state, Stopped):
            return []
        policy = next((each for each in unit.policies if each.application == VOICE), None)
        objection = _objection(unit, policy)
        chassis = id_text(unit.chassis_subtype, unit.chassis_id)
        out: list[Output] = []
        heard = (unit.chassis_id, unit.port_id, policy)
        if heard != self._heard:
            self._heard = heard
            port = id_text(-1, unit.port_id)
            out.append(log.LLDP_RECEIVED(chassis, port, unit.ttl, policy_text(policy)))
            if objection:
                out.append(log.LLDP_IGNORED(chassis, objection))
        if policy is None or policy.is_unknown or objection:
            return out
        vlan_id = policy.vlan_id if policy.is_tagged and policy.vlan_id else None
        source = f"lldp:{chassis}"
        if isinstance(self.state, Waiting):
            if vlan_id is None:
                out.append(log.VLAN_NOT_FOUND(f"untagged, says {source}"))
            else:
                out.append(log.VLAN_FOUND(vlan_id, source))
            out += self._settle(policy)
            return [*out, VlanSettled(vlan_id=vlan_id, is_told=True)]
        old = self.state.vlan_id
        if vlan_id == old or not self._config.follows_policy_changes:
            return out
        out.append(log.VLAN_CHANGED(old or 0, vlan_id or 0, f"says {source}"))
        out += self._move(UNSPECIFIED)
        out += self._settle(policy)
        return [*out, VlanChanged(vlan_id=vlan_id)]

    def _timer_expired(self, now: float) -> list[Output]:
        match self.state:
            case Waiting(give_up_at=at) if now >= at:
                self.state = Settled(vlan_id=None)
                wait = self._config.lldp_wait
                return [
                    log.VLAN_NOT_FOUND(f"no network policy for voice within {wait:g} s"),
                    VlanSettled(vlan_id=None, is_told=False),
                ]
            case _:
                return []

    def _settle(self, policy: NetworkPolicy) -> list[Output]:
        is_tagged = policy.is_tagged and policy.vlan_id > 0
        self.state = Settled(vlan_id=policy.vlan_id if is_tagged else None)
        self._policy = policy
        return self._advertise(1)

    def _move(self, address: str) -> list[Output]:
        if isinstance(self.state, Stopped) or address == self._address:
            return []
        out: list[Output] = []
        if self._config.chassis_id == "network-address":
            out += self._say_good_bye()
        self._address = address
        return out + self._advertise(1)

    # --- telling ---

    def _advertise(self, fast_count: int) -> list[Output]:
        if self._config.chassis_id == "network-address":
            subtype, chassis_id = CHASSIS_NETWORK_ADDRESS, _IPV4 + pack_address(self._address)
        else:
            subtype, chassis_id = CHASSIS_MAC, self._mac
        unit = msgspec.structs.replace(
            self._about,
            chassis_subtype=subtype,
            chassis_id=chassis_id,
            policies=(self._policy,),
        )
        if unit == self._advertised:
            return []
        self._advertised = unit
        vlan_id = self.state.vlan_id if isinstance(self.state, Settled) else None
        chassis = id_text(subtype, chassis_id)
        record = log.LLDP_SENT(chassis, id_text(PORT_MAC, self._mac), unit.ttl, vlan_id or 0)
        told = [] if record == self._told else [record]
        self._told = record
        return [
            *told,
            AdvertiseLldp(unit=unit, fast_count=fast_count, interval=self._config.lldp_interval),
        ]

    def _say_good_bye(self) -> list[Output]:
        said, self._advertised = self._advertised, None
        if said is None:
            return []
        unit = LldpUnit(
            chassis_subtype=said.chassis_subtype,
            chassis_id=said.chassis_id,
            port_subtype=said.port_subtype,
            port_id=said.port_id,
            ttl=0,
        )
        return [AdvertiseLldp(unit=unit)]


def _describe_phone(profile: DeviceProfile, mac: bytes) -> LldpUnit:
    """What the phone says whatever its address and VLAN."""
    config = profile.vlan
    values = {
        "{vendor}": profile.vendor,
        "{model}": profile.model,
        "{firmware}": profile.firmware,
        "{mac}": mac.hex().upper(),
    }

    def filled(template: str | None, most: int = 32) -> str | None:
        if template is None:
            return None
        for name, value in values.items():
            template = template.replace(name, value)
        return template[:most]

    return LldpUnit(
        chassis_subtype=CHASSIS_MAC,
        chassis_id=mac,
        port_subtype=PORT_MAC,
        port_id=mac,
        ttl=config.lldp_ttl,
        port_description=filled(config.port_description, 255),
        system_name=filled(config.system_name, 255),
        system_description=filled(config.system_description, 255),
        system_capabilities=(BRIDGE | TELEPHONE, TELEPHONE),
        mac_phy=MacPhyStatus(
            auto_negotiation=_NEGOTIATES, advertised=_MODES_TO_100_MBIT, mau_type=config.mau_type
        ),
        med_capabilities=MED_CAPABILITIES | MED_POLICY | MED_POWER_PD | MED_INVENTORY,
        device_class=ENDPOINT_CLASS_III,
        power=ExtendedPower(
            power_type=_POWERED_DEVICE,
            source=_FROM_PSE,
            priority=_HIGH_PRIORITY,
            value=round(config.power * 10),
        ),
        inventory=Inventory(
            hardware_revision=filled(config.hardware_revision),
            firmware_revision=filled(config.firmware_revision),
            software_revision=filled(config.software_revision),
            serial_number=filled(config.serial_number),
            manufacturer=filled(config.manufacturer),
            model=filled(profile.model),
            asset_id=filled(config.asset_id),
        ),
    )


def _objection(unit: LldpUnit, policy: NetworkPolicy | None) -> str:
    """Say why a policy is not followed; nothing if it is, or if there is none."""
    if policy is None:
        return ""
    if unit.device_class in _ENDPOINT_CLASSES:
        return f"it is an endpoint of class {unit.device_class} itself"
    if policy.is_tagged and policy.vlan_id > _HIGHEST_VLAN_ID:
        return f"VLAN {policy.vlan_id} is none: 1 to {_HIGHEST_VLAN_ID} are"
    return ""


def policy_text(policy: NetworkPolicy | None) -> str:
    """A network policy, as the log has it."""
    if policy is None:
        return "none"
    if policy.is_unknown:
        return "unknown"
    where = f"tagged VLAN {policy.vlan_id}" if policy.is_tagged else "untagged"
    return f"{where} priority {policy.priority} dscp {policy.dscp}"


def id_text(chassis_subtype: int, octets: bytes) -> str:
    """An id as people read it: an IPv4 address, a name, or octets."""
    if chassis_subtype == CHASSIS_NETWORK_ADDRESS and octets[:1] == _IPV4 and len(octets) == 5:
        return unpack_address(octets[1:])
    if len(octets) != 6 and octets.isascii() and octets.decode("ascii").isprintable():
        return octets.decode("ascii")
    return octets.hex("-").upper()
