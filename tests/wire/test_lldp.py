import pytest
from scapy.contrib.lldp import (
    LLDPDU,
    LLDPDUChassisID,
    LLDPDUEndOfLLDPDU,
    LLDPDUGenericOrganisationSpecific,
    LLDPDUPortDescription,
    LLDPDUPortID,
    LLDPDUSystemCapabilities,
    LLDPDUSystemDescription,
    LLDPDUSystemName,
    LLDPDUTimeToLive,
)
from scapy.layers.l2 import Ether

from phonesim.errors import DecodeError
from phonesim.wire.lldp import (
    BRIDGE,
    CHASSIS_MAC,
    CHASSIS_NETWORK_ADDRESS,
    PORT_INTERFACE_NAME,
    PORT_MAC,
    TELEPHONE,
    ExtendedPower,
    Inventory,
    LldpUnit,
    MacPhyStatus,
    NetworkPolicy,
    decode_lldp,
    decode_lldp_frame,
    encode_lldp,
    encode_lldp_frame,
)

MAC = bytes.fromhex("0004F2000001")
TIA = 0x0012BB

PHONE = LldpUnit(
    chassis_subtype=CHASSIS_NETWORK_ADDRESS,
    chassis_id=bytes((1, 10, 0, 0, 50)),
    port_subtype=PORT_MAC,
    port_id=MAC,
    ttl=120,
    port_description="SW PORT",
    system_name="phone",
    system_description="POLYCOM CX600",
    system_capabilities=(BRIDGE | TELEPHONE, TELEPHONE),
    mac_phy=MacPhyStatus(auto_negotiation=3, advertised=0x6C00, mau_type=16),
    med_capabilities=0x33,
    device_class=3,
    policies=(NetworkPolicy(is_tagged=True, vlan_id=100, priority=5, dscp=46),),
    power=ExtendedPower(power_type=1, source=1, priority=2, value=65),
    inventory=Inventory(
        hardware_revision="A", serial_number="0004F2000001", manufacturer="POLYCOM", model="CX600"
    ),
)
SWITCH = LldpUnit(
    chassis_subtype=CHASSIS_MAC,
    chassis_id=bytes.fromhex("020000000001"),
    port_subtype=PORT_INTERFACE_NAME,
    port_id=b"ge-1",
    ttl=120,
)
MINIMUM = encode_lldp(SWITCH)[:-2]


def med(subtype: int, content: bytes) -> LLDPDUGenericOrganisationSpecific:
    return LLDPDUGenericOrganisationSpecific(org_code=TIA, subtype=subtype, data=content)


def test_scapy_reads_what_a_phone_says() -> None:
    frame = Ether(encode_lldp_frame(PHONE, MAC))
    assert (frame.dst, frame.src, frame.type) == ("01:80:c2:00:00:0e", "00:04:f2:00:00:01", 0x88CC)
    chassis = frame[LLDPDUChassisID]
    assert (chassis.subtype, chassis.family, str(chassis.id)) == (5, 1, "10.0.0.50")
    port = frame[LLDPDUPortID]
    assert (port.subtype, port.id) == (3, "00:04:f2:00:00:01")
    assert frame[LLDPDUTimeToLive].ttl == 120
    assert frame[LLDPDUPortDescription].description == b"SW PORT"
    assert frame[LLDPDUSystemName].system_name == b"phone"
    assert frame[LLDPDUSystemDescription].description == b"POLYCOM CX600"
    able = frame[LLDPDUSystemCapabilities]
    assert (able.telephone_available, able.telephone_enabled) == (1, 1)
    assert (able.mac_bridge_available, able.mac_bridge_enabled) == (1, 0)
    assert able.router_available == 0
    found = []
    layer = frame.getlayer(LLDPDUGenericOrganisationSpecific)
    while layer is not None:
        found.append((int(layer.org_code), int(layer.subtype), bytes(layer.data)))
        layer = layer.payload.getlayer(LLDPDUGenericOrganisationSpecific)
    assert found == [
        (0x00120F, 1, bytes.fromhex("036c000010")),
        (TIA, 1, bytes.fromhex("003303")),
        (TIA, 2, bytes.fromhex("0140c96e")),
        (TIA, 4, bytes.fromhex("520041")),
        (TIA, 5, b"A"),
        (TIA, 8, b"0004F2000001"),
        (TIA, 9, b"POLYCOM"),
        (TIA, 10, b"CX600"),
    ]
    assert frame.haslayer(LLDPDUEndOfLLDPDU)


def test_what_scapy_builds_for_a_switch_is_read() -> None:
    frame = (
        Ether(src="02:00:00:00:00:01", dst="01:80:c2:00:00:0e")
        / LLDPDU()
        / LLDPDUChassisID(subtype=4, id="02:00:00:00:00:01")
        / LLDPDUPortID(subtype=5, id=b"ge-1")
        / LLDPDUTimeToLive(ttl=120)
        / LLDPDUSystemName(system_name=b"access01")
        / med(1, bytes.fromhex("000304"))
        / med(2, bytes.fromhex("0200012e"))
        / med(2, bytes.fromhex("01400d6e"))
        / LLDPDUEndOfLLDPDU()
    )
    unit = decode_lldp_frame(bytes(frame) + bytes(8))
    assert unit is not None
    assert (unit.chassis_subtype, unit.chassis_id) == (4, bytes.fromhex("020000000001"))
    assert (unit.port_id, unit.ttl, unit.system_name) == (b"ge-1", 120, "access01")
    assert (unit.med_capabilities, unit.device_class) == (3, 4)
    assert unit.policies == (
        NetworkPolicy(application=2, priority=4, dscp=46),
        NetworkPolicy(is_tagged=True, vlan_id=6, priority=5, dscp=46),
    )


def test_the_bits_of_a_policy() -> None:
    # ANSI/TIA-1057 figure 12: application, U, T, X, 12 bits of VLAN, 3 of priority, 6 of DSCP.
    content = bytes((1,)) + int("1" + "1" + "0" + f"{4094:012b}" + "111" + "111111", 2).to_bytes(
        3, "big"
    )
    unit = decode_lldp(MINIMUM + bytes.fromhex("fe080012bb02") + content + b"\0\0")
    (policy,) = unit.policies
    assert policy == NetworkPolicy(
        is_unknown=True, is_tagged=True, vlan_id=4094, priority=7, dscp=63
    )


@pytest.mark.parametrize("unit", [PHONE, SWITCH])
def test_what_is_written_is_read_back(unit: LldpUnit) -> None:
    assert decode_lldp(encode_lldp(unit)) == unit


@pytest.mark.parametrize(
    ("data", "problem"),
    [
        (b"", "no chassis id"),
        (b"\0\0", "no chassis id"),
        (b"\x04\x07", "TLV at offset 0: type 2 has 0 of 7 octets"),
        (MINIMUM[9:], "no chassis id"),
        (b"\x02\x01\x04" + MINIMUM[9:], "no chassis id of 1 to 255 octets"),
        (MINIMUM[:9], "TLV at offset 9: no port id"),
        (MINIMUM[:-4], "no time to live"),
        (MINIMUM[:-3], "a header of 1 octet"),
        (MINIMUM[:-2], "type 3 has 0 of 2 octets"),
        (MINIMUM[:-4] + b"\x06\x01\x78", "no time to live of 2 octets"),
        (MINIMUM + MINIMUM, "type 1 comes a second time"),
        (MINIMUM + b"\x0a\x05abc", "type 5 has 3 of 5 octets"),
        (MINIMUM + b"\x0a", "a header of 1 octet"),
    ],
)
def test_a_broken_unit_is_refused(data: bytes, problem: str) -> None:
    with pytest.raises(DecodeError, match=problem):
        decode_lldp(data)


@pytest.mark.parametrize(
    ("kind", "value"),
    [
        (8, b"management address"),
        (7, b"\0\4"),
        (127, b"\0\x12\xbb"),
        (127, b"\0\x12\xbb\1\0\3"),
        (127, b"\0\x12\xbb\2\1\0\0"),
        (127, b"\0\x12\xbb\4\0"),
        (127, b"\0\x12\xbb\x0a" + bytes(33)),
        (127, b"\0\x12\x0f\1\3"),
        (127, b"\0\x80\xc2\1\0\1"),
    ],
)
def test_a_tlv_that_means_nothing_does_no_harm(kind: int, value: bytes) -> None:
    tlv = (kind << 9 | len(value)).to_bytes(2, "big") + value
    unit = decode_lldp(MINIMUM + tlv + b"\0\0")
    assert unit.others == ((kind, value),)
    assert decode_lldp(encode_lldp(unit)) == unit


def test_of_a_tlv_that_comes_twice_the_first_counts() -> None:
    unit = decode_lldp(MINIMUM + b"\x0a\x01a\x0a\x01b")
    assert (unit.system_name, unit.others) == ("a", ((5, b"b"),))


@pytest.mark.parametrize("data", [b"", bytes(13), MAC * 2 + b"\x08\0" + bytes(50)])
def test_other_frames_are_none(data: bytes) -> None:
    assert decode_lldp_frame(data) is None


@pytest.mark.parametrize(
    "changes",
    [
        {"chassis_id": b""},
        {"port_id": bytes(256)},
        {"ttl": 65536},
        {"chassis_subtype": 256},
        {"system_name": "x" * 256},
        {"inventory": Inventory(model="x" * 33)},
        {"policies": (NetworkPolicy(vlan_id=4096),)},
        {"policies": (NetworkPolicy(priority=8),)},
        {"policies": (NetworkPolicy(application=256),)},
        {"power": ExtendedPower(power_type=4, source=0, priority=0, value=0)},
        {"power": ExtendedPower(power_type=1, source=0, priority=0, value=65536)},
        {"others": ((0, b""),)},
        {"others": ((9, bytes(512)),)},
    ],
)
def test_what_does_not_fit_is_not_written(changes: dict[str, object]) -> None:
    fields = {name: getattr(SWITCH, name) for name in SWITCH.__struct_fields__}
    with pytest.raises(ValueError, match=r"octets|range|fit|no TLV"):
        encode_lldp(LldpUnit(**{**fields, **changes}))


def test_a_frame_needs_a_mac() -> None:
    with pytest.raises(ValueError, match="5 octets"):
        encode_lldp_frame(SWITCH, MAC[1:])
