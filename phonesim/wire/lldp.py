"""LLDP as desk phones and their switches speak it, with the LLDP-MED TLVs.

A unit (LLDPDU) is chassis, port and time to live, then whatever else is told, in TLVs of
7 bits of type and 9 bits of length. `decode_lldp` raises `DecodeError` for one whose frame of
TLVs is broken; a TLV that is not known, or known and malformed, does no harm to the rest
(IEEE 802.1AB section 9.2.7.7) and stays in `others` as it came. Of a TLV that may come once
the first counts.

LLDP frames go to the nearest bridge and no further, and never carry a VLAN tag.

Specifications: IEEE 802.1AB-2016 sections 8 and 9, IEEE 802.3 section 79.3.1 (MAC/PHY),
ANSI/TIA-1057 section 10 (LLDP-MED).
"""

from __future__ import annotations

import struct
from collections.abc import Iterator

import msgspec

from phonesim.errors import DecodeError

LLDP_MAC = bytes.fromhex("0180c200000e")
"""Destination of every frame: the nearest bridge."""
LLDP_TYPE = 0x88CC

CHASSIS_MAC, CHASSIS_NETWORK_ADDRESS = 4, 5
PORT_MAC, PORT_INTERFACE_NAME = 3, 5
BRIDGE, TELEPHONE = 0x0004, 0x0020
"""System capabilities."""
MED_CAPABILITIES, MED_POLICY, MED_POWER_PD, MED_INVENTORY = 0x01, 0x02, 0x10, 0x20
"""What an LLDP-MED device can tell."""
ENDPOINT_CLASS_III, NETWORK_CONNECTIVITY = 3, 4
VOICE = 1
"""Application type of a network policy."""


class NetworkPolicy(msgspec.Struct, frozen=True, kw_only=True):
    """Which VLAN an application uses, and with what priority (802.1Q PCP) and DSCP.

    With `is_unknown` the sender has no policy for it yet; without `is_tagged` the application's
    frames carry no tag, and `vlan_id` means nothing. A `vlan_id` of 0 is a tag of priority only.
    """

    application: int = VOICE
    is_unknown: bool = False
    is_tagged: bool = False
    vlan_id: int = 0
    priority: int = 0
    dscp: int = 0


class ExtendedPower(msgspec.Struct, frozen=True, kw_only=True):
    """Power over Ethernet: type 1 is a powered device; `value` is tenths of a watt."""

    power_type: int
    source: int
    priority: int
    value: int


class Inventory(msgspec.Struct, frozen=True, kw_only=True):
    """What the device is; texts of up to 32 octets, None for one that is not told."""

    hardware_revision: str | None = None
    firmware_revision: str | None = None
    software_revision: str | None = None
    serial_number: str | None = None
    manufacturer: str | None = None
    model: str | None = None
    asset_id: str | None = None


class MacPhyStatus(msgspec.Struct, frozen=True, kw_only=True):
    """The port's auto-negotiation (bit 0 supported, bit 1 enabled), modes and MAU type."""

    auto_negotiation: int
    advertised: int
    mau_type: int


class LldpUnit(msgspec.Struct, frozen=True, kw_only=True):
    """One LLDPDU. A `ttl` of 0 seconds says that the sender is going.

    `system_capabilities` are those supported and those enabled; `med_capabilities` and
    `device_class` come together. `others` are types (0 to 127) and values of further TLVs.
    """

    chassis_subtype: int
    chassis_id: bytes
    port_subtype: int
    port_id: bytes
    ttl: int
    port_description: str | None = None
    system_name: str | None = None
    system_description: str | None = None
    system_capabilities: tuple[int, int] | None = None
    mac_phy: MacPhyStatus | None = None
    med_capabilities: int | None = None
    device_class: int = 0
    policies: tuple[NetworkPolicy, ...] = ()
    power: ExtendedPower | None = None
    inventory: Inventory = Inventory()
    others: tuple[tuple[int, bytes], ...] = ()


def encode_lldp(unit: LldpUnit) -> bytes:
    """The octets of the unit, with its End TLV; ValueError for what it cannot carry."""
    tlvs = [
        _tlv(_CHASSIS, _id(unit.chassis_subtype, unit.chassis_id)),
        _tlv(_PORT, _id(unit.port_subtype, unit.port_id)),
        _tlv(_TTL, _packed("!H", unit.ttl)),
    ]
    for kind, name in _TEXTS.items():
        text = getattr(unit, name)
        if text is not None:
            tlvs.append(_tlv(kind, _octets(text, 255)))
    if unit.system_capabilities is not None:
        tlvs.append(_tlv(_CAPABILITIES, _packed("!HH", *unit.system_capabilities)))
    if unit.mac_phy is not None:
        phy = unit.mac_phy
        value = _packed("!BHH", phy.auto_negotiation, phy.advertised, phy.mau_type)
        tlvs.append(_tlv(_ORGANIZATION, _MAC_PHY + value))
    if unit.med_capabilities is not None:
        value = _packed("!HB", unit.med_capabilities, unit.device_class)
        tlvs.append(_med(_MED_CAPABILITIES, value))
    tlvs += [_med(_MED_POLICY, _encode_policy(policy)) for policy in unit.policies]
    if unit.power is not None:
        tlvs.append(_med(_MED_POWER, _encode_power(unit.power)))
    for subtype, name in _INVENTORY.items():
        text = getattr(unit.inventory, name)
        if text is not None:
            tlvs.append(_med(subtype, _octets(text, _LONGEST_INVENTORY)))
    tlvs += [_tlv(kind, value) for kind, value in unit.others]
    return b"".join(tlvs) + _END


def decode_lldp(data: bytes) -> LldpUnit:
    """Read a unit; octets behind its End TLV are padding."""
    tlvs = _split(data)
    fields: dict[str, object] = {}
    for kind, name in ((_CHASSIS, "chassis"), (_PORT, "port")):
        at, found, value = next(tlvs, (len(data), -1, b""))
        if found != kind or not 2 <= len(value) <= 256:
            raise DecodeError(f"TLV at offset {at}: no {name} id of 1 to 255 octets")
        fields[f"{name}_subtype"], fields[f"{name}_id"] = value[0], value[1:]
    at, found, value = next(tlvs, (len(data), -1, b""))
    if found != _TTL or len(value) < 2:
        raise DecodeError(f"TLV at offset {at}: no time to live of 2 octets")
    fields["ttl"] = int.from_bytes(value[:2], "big")
    policies: list[NetworkPolicy] = []
    others: list[tuple[int, bytes]] = []
    inventory: dict[str, str] = {}
    for at, kind, value in tlvs:
        if kind in (_CHASSIS, _PORT, _TTL):
            raise DecodeError(f"TLV at offset {at}: type {kind} comes a second time")
        if not _read(kind, value, fields, policies, inventory):
            others.append((kind, value))
    return LldpUnit(
        **fields,  # type: ignore[arg-type]
        policies=tuple(policies),
        inventory=Inventory(**inventory),
        others=tuple(others),
    )


def encode_lldp_frame(unit: LldpUnit, source_mac: bytes) -> bytes:
    """An Ethernet frame with the unit, without padding or frame check sequence."""
    if len(source_mac) != 6:
        raise ValueError(f"a MAC of {len(source_mac)} octets, not 6")
    return LLDP_MAC + source_mac + LLDP_TYPE.to_bytes(2, "big") + encode_lldp(unit)


def decode_lldp_frame(data: bytes) -> LldpUnit | None:
    """Read a frame; None unless it carries LLDP."""
    if len(data) < 14 or int.from_bytes(data[12:14], "big") != LLDP_TYPE:
        return None
    return decode_lldp(data[14:])


_CHASSIS, _PORT, _TTL, _CAPABILITIES, _ORGANIZATION = 1, 2, 3, 7, 127
_TEXTS = {4: "port_description", 5: "system_name", 6: "system_description"}
_END = b"\0\0"
_MAC_PHY = bytes.fromhex("00120f01")
_MED = bytes.fromhex("0012bb")
_MED_CAPABILITIES, _MED_POLICY, _MED_POWER = 1, 2, 4
_INVENTORY = {
    5: "hardware_revision",
    6: "firmware_revision",
    7: "software_revision",
    8: "serial_number",
    9: "manufacturer",
    10: "model",
    11: "asset_id",
}
_LONGEST_INVENTORY = 32
_LONGEST_VALUE = 511


def _split(data: bytes) -> Iterator[tuple[int, int, bytes]]:
    """Offset, type and value of every TLV up to the End TLV, or the end."""
    at = 0
    while at + 2 <= len(data):
        header = int.from_bytes(data[at : at + 2], "big")
        kind, size = header >> 9, header & _LONGEST_VALUE
        if kind == 0:
            return
        value = data[at + 2 : at + 2 + size]
        if len(value) < size:
            raise DecodeError(f"TLV at offset {at}: type {kind} has {len(value)} of {size} octets")
        yield at, kind, value
        at += 2 + size
    if at < len(data):
        raise DecodeError(f"TLV at offset {at}: a header of 1 octet")


def _read(
    kind: int,
    value: bytes,
    fields: dict[str, object],
    policies: list[NetworkPolicy],
    inventory: dict[str, str],
) -> bool:
    """Take an optional TLV; False for one that is not known, malformed or there already."""
    if kind in _TEXTS:
        return _set(fields, _TEXTS[kind], _text(value))
    if kind == _CAPABILITIES and len(value) == 4:
        return _set(fields, "system_capabilities", struct.unpack("!HH", value))
    if kind != _ORGANIZATION:
        return False
    if value[:4] == _MAC_PHY and len(value) == 9:
        negotiation, advertised, mau_type = struct.unpack("!BHH", value[4:])
        status = MacPhyStatus(
            auto_negotiation=negotiation, advertised=advertised, mau_type=mau_type
        )
        return _set(fields, "mac_phy", status)
    if value[:3] != _MED or len(value) < 4:
        return False
    subtype, content = value[3], value[4:]
    if subtype == _MED_CAPABILITIES and len(content) == 3 and "device_class" not in fields:
        fields["med_capabilities"], fields["device_class"] = struct.unpack("!HB", content)
        return True
    if subtype == _MED_POLICY and len(content) == 4:
        policies.append(_decode_policy(content))
        return True
    if subtype == _MED_POWER and len(content) == 3:
        return _set(fields, "power", _decode_power(content))
    if subtype in _INVENTORY and len(content) <= _LONGEST_INVENTORY:
        return _set(inventory, _INVENTORY[subtype], _text(content))
    return False


def _set(fields: dict[str, object] | dict[str, str], name: str, value: object) -> bool:
    is_new = name not in fields
    fields.setdefault(name, value)  # type: ignore[arg-type]
    return is_new


def _text(value: bytes) -> str:
    return value.decode("utf-8", "surrogateescape")


def _octets(text: str, most: int) -> bytes:
    value = text.encode("utf-8", "surrogateescape")
    if len(value) > most:
        raise ValueError(f"{text!r} has {len(value)} octets, at most {most} are allowed")
    return value


def _packed(form: str, *values: int) -> bytes:
    try:
        return struct.pack(form, *values)
    except struct.error as error:
        raise ValueError(f"{values} does not fit: {error}") from error


def _id(subtype: int, value: bytes) -> bytes:
    if not 1 <= len(value) <= 255:
        raise ValueError(f"an id of {len(value)} octets, not 1 to 255")
    return _packed("!B", subtype) + value


def _tlv(kind: int, value: bytes) -> bytes:
    if not 1 <= kind <= 127 or len(value) > _LONGEST_VALUE:
        raise ValueError(f"no TLV has type {kind} and {len(value)} octets")
    return (kind << 9 | len(value)).to_bytes(2, "big") + value


def _med(subtype: int, content: bytes) -> bytes:
    return _tlv(_ORGANIZATION, _MED + bytes((subtype,)) + content)


def _encode_policy(policy: NetworkPolicy) -> bytes:
    if not (0 <= policy.vlan_id < 4096 and 0 <= policy.priority < 8 and 0 <= policy.dscp < 64):
        raise ValueError(f"a field of {policy} is out of range")
    number = (
        policy.is_unknown << 23
        | policy.is_tagged << 22
        | policy.vlan_id << 9
        | policy.priority << 6
        | policy.dscp
    )
    return _packed("!B", policy.application) + number.to_bytes(3, "big")


def _decode_policy(content: bytes) -> NetworkPolicy:
    number = int.from_bytes(content[1:], "big")
    return NetworkPolicy(
        application=content[0],
        is_unknown=bool(number >> 23 & 1),
        is_tagged=bool(number >> 22 & 1),
        vlan_id=number >> 9 & 0xFFF,
        priority=number >> 6 & 7,
        dscp=number & 0x3F,
    )


def _encode_power(power: ExtendedPower) -> bytes:
    if not (0 <= power.power_type < 4 and 0 <= power.source < 4 and 0 <= power.priority < 16):
        raise ValueError(f"a field of {power} is out of range")
    kind = power.power_type << 6 | power.source << 4 | power.priority
    return _packed("!BH", kind, power.value)


def _decode_power(content: bytes) -> ExtendedPower:
    return ExtendedPower(
        power_type=content[0] >> 6,
        source=content[0] >> 4 & 3,
        priority=content[0] & 0xF,
        value=int.from_bytes(content[1:], "big"),
    )
