"""The wire codecs hold for any input: what was written is read back, and any
octets are read or refused with `DecodeError`.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from phonesim.errors import DecodeError
from phonesim.wire.dhcp import (
    DhcpMessage,
    MessageType,
    decode_addresses,
    decode_dhcp,
    decode_u32,
    encode_addresses,
    encode_dhcp,
    encode_u32,
    format_mac,
    parse_mac,
)
from phonesim.wire.dns import (
    DnsQuery,
    DnsRecord,
    DnsResponse,
    SrvData,
    decode_query,
    decode_response,
    encode_query,
    encode_response,
)
from phonesim.wire.domain_search import decode_domain_search, encode_domain_search
from phonesim.wire.frame import (
    ArpFrame,
    UdpFrame,
    decode_arp_frame,
    decode_udp_frame,
    encode_arp_frame,
    encode_udp_frame,
)
from phonesim.wire.lldp import (
    ExtendedPower,
    Inventory,
    LldpUnit,
    MacPhyStatus,
    NetworkPolicy,
    decode_lldp,
    encode_lldp,
)
from phonesim.wire.ntp import NtpPacket, decode_ntp, encode_ntp, from_unix, to_unix
from phonesim.wire.provisioning import (
    SipServers,
    UcOptions,
    decode_sip_servers,
    decode_uc_options,
    encode_sip_servers,
    encode_uc_options,
)

u8, u16, u32, u64 = (st.integers(0, (1 << bits) - 1) for bits in (8, 16, 32, 64))
i8 = st.integers(-128, 127)
macs = st.binary(min_size=6, max_size=6)
addresses = st.ip_addresses(v=4).map(str)
vlan_ids = st.none() | st.integers(0, 4095)
host_labels = st.from_regex(r"[a-z0-9]([a-z0-9-]{0,10}[a-z0-9])?", fullmatch=True)
host_names = st.builds(
    lambda labels, top: ".".join([*labels, top]),
    st.lists(host_labels, min_size=1, max_size=5),
    st.sampled_from(["com", "example", "x"]),
)


def text_field(size: int) -> st.SearchStrategy[bytes]:
    return st.binary(max_size=size).map(lambda octets: octets.rstrip(b"\0"))


option_codes = st.integers(1, 254).filter(lambda code: code not in (52, 53))
option_values = st.binary(max_size=40) | st.binary(min_size=250, max_size=600)


@st.composite
def dhcp_messages(draw: st.DrawFn) -> DhcpMessage:
    message_type = draw(st.sampled_from(MessageType))
    options = draw(st.dictionaries(option_codes, option_values, max_size=8))
    return DhcpMessage(
        message_type=message_type,
        xid=draw(u32),
        chaddr=draw(macs),
        op=draw(st.sampled_from([1, 2])),
        hops=draw(u8),
        secs=draw(u16),
        flags=draw(u16),
        ciaddr=draw(addresses),
        yiaddr=draw(addresses),
        siaddr=draw(addresses),
        giaddr=draw(addresses),
        sname=draw(text_field(64)),
        file=draw(text_field(128)),
        options={53: bytes((message_type,)), **options},
    )


uc_options = st.builds(
    UcOptions,
    uc_identifier=st.none() | st.just("MS-UC-Client"),
    url_scheme=st.none() | st.sampled_from(["http", "https"]),
    web_server_fqdn=st.none() | host_names,
    web_server_port=st.none() | st.integers(1, 65535),
    cert_prov_rel_path=st.none() | st.from_regex(r"/[!-~]{0,100}", fullmatch=True),
    vlan_id=st.none() | st.integers(10, 4094),
).filter(lambda options: options != UcOptions())

sip_servers = st.builds(SipServers, names=st.lists(host_names, min_size=1, max_size=9).map(tuple))

srv_data = st.builds(SrvData, u16, u16, u16, host_names | st.just(""))
ttls = st.integers(0, (1 << 31) - 1)
dns_records = st.one_of(
    st.builds(DnsRecord, host_names, st.just("A"), ttls, addresses),
    st.builds(DnsRecord, host_names, st.just("CNAME"), ttls, host_names | st.just("")),
    st.builds(DnsRecord, host_names, st.just("SRV"), ttls, srv_data),
)
dns_queries = st.builds(
    DnsQuery,
    id=u16,
    qname=host_names | st.just(""),
    qtype=st.sampled_from(["A", "SRV", "CNAME", "AAAA", "TYPE65280"]),
    recursion_desired=st.booleans(),
)
dns_responses = st.builds(
    DnsResponse,
    id=u16,
    qname=host_names | st.just(""),
    qtype=st.sampled_from(["A", "SRV", "CNAME", "TXT"]),
    rcode=st.sampled_from(["NOERROR", "FORMERR", "SERVFAIL", "NXDOMAIN", "NOTIMP", "REFUSED"]),
    answers=st.lists(dns_records, max_size=8).map(tuple),
    truncated=st.booleans(),
    authoritative=st.booleans(),
)

ntp_packets = st.builds(
    NtpPacket,
    mode=st.integers(0, 7),
    version=st.integers(0, 7),
    leap=st.integers(0, 3),
    stratum=u8,
    poll=i8,
    precision=i8,
    root_delay=u32,
    root_dispersion=u32,
    reference_id=st.binary(min_size=4, max_size=4),
    reference=u64,
    originate=u64,
    receive=u64,
    transmit=u64,
)

udp_frames = st.builds(
    UdpFrame,
    source_mac=macs,
    destination_mac=macs,
    source=addresses,
    destination=addresses,
    source_port=u16,
    destination_port=u16,
    payload=st.binary(max_size=600),
    vlan_id=vlan_ids,
)
arp_frames = st.builds(
    ArpFrame,
    operation=u16,
    source_mac=macs,
    sender_mac=macs,
    sender_ip=addresses,
    target_mac=macs,
    target_ip=addresses,
    destination_mac=macs,
    vlan_id=vlan_ids,
)

lldp_texts = st.text(st.characters(codec="ascii"), max_size=32)
lldp_units = st.builds(
    LldpUnit,
    chassis_subtype=u8,
    chassis_id=st.binary(min_size=1, max_size=255),
    port_subtype=u8,
    port_id=st.binary(min_size=1, max_size=255),
    ttl=u16,
    port_description=st.none() | lldp_texts,
    system_name=st.none() | lldp_texts,
    system_description=st.none() | lldp_texts,
    system_capabilities=st.none() | st.tuples(u16, u16),
    mac_phy=st.none() | st.builds(MacPhyStatus, auto_negotiation=u8, advertised=u16, mau_type=u16),
    med_capabilities=st.just(3),
    device_class=u8,
    policies=st.lists(
        st.builds(
            NetworkPolicy,
            application=u8,
            is_unknown=st.booleans(),
            is_tagged=st.booleans(),
            vlan_id=st.integers(0, 4095),
            priority=st.integers(0, 7),
            dscp=st.integers(0, 63),
        ),
        max_size=3,
    ).map(tuple),
    power=st.none()
    | st.builds(
        ExtendedPower,
        power_type=st.integers(0, 3),
        source=st.integers(0, 3),
        priority=st.integers(0, 15),
        value=u16,
    ),
    inventory=st.builds(
        Inventory, **dict.fromkeys(Inventory.__struct_fields__, st.none() | lldp_texts)
    ),
    others=st.lists(st.tuples(st.integers(9, 126), st.binary(max_size=511)), max_size=3).map(tuple),
)

CODECS: dict[str, tuple[st.SearchStrategy[Any], Callable[[Any], bytes], Callable[[bytes], Any]]] = {
    "dhcp": (dhcp_messages(), encode_dhcp, decode_dhcp),
    "addresses": (
        st.lists(addresses, min_size=1).map(tuple),
        encode_addresses,
        decode_addresses,
    ),
    "u32": (u32, encode_u32, decode_u32),
    "uc options": (uc_options, encode_uc_options, decode_uc_options),
    "sip servers": (
        sip_servers,
        lambda servers: encode_sip_servers(servers.names),
        decode_sip_servers,
    ),
    "domain search": (
        st.lists(host_names, min_size=1, max_size=9).map(tuple),
        encode_domain_search,
        decode_domain_search,
    ),
    "dns query": (dns_queries, encode_query, decode_query),
    "dns response": (dns_responses, encode_response, decode_response),
    "ntp": (ntp_packets, encode_ntp, decode_ntp),
    "udp frame": (udp_frames, encode_udp_frame, decode_udp_frame),
    "lldp": (lldp_units, encode_lldp, decode_lldp),
    "arp frame": (arp_frames, encode_arp_frame, decode_arp_frame),
}


@pytest.mark.parametrize("codec", CODECS)
@given(data=st.data())
def test_what_is_written_is_read_back(codec: str, data: st.DataObject) -> None:
    messages, encode, decode = CODECS[codec]
    message = data.draw(messages)
    assert decode(encode(message)) == message


def outcome(decode: Callable[[bytes], Any], octets: bytes) -> str:
    """The text of the refusal; any other exception ends the test."""
    try:
        decode(octets)
    except DecodeError as error:
        return str(error)
    return "read"


def is_one_line(text: str) -> bool:
    return re.fullmatch("[ -~]+", text) is not None


@pytest.mark.parametrize("codec", CODECS)
@given(octets=st.binary(max_size=400))
def test_any_octets_are_read_or_refused(codec: str, octets: bytes) -> None:
    assert is_one_line(outcome(CODECS[codec][2], octets))


@pytest.mark.parametrize("codec", CODECS)
@given(data=st.data())
def test_damaged_messages_are_read_or_refused(codec: str, data: st.DataObject) -> None:
    messages, encode, decode = CODECS[codec]
    octets = bytearray(encode(data.draw(messages)))
    for _ in range(data.draw(st.integers(1, 4))):
        octets[data.draw(st.integers(0, len(octets) - 1))] = data.draw(u8)
    cut = data.draw(st.integers(0, len(octets)))
    assert is_one_line(outcome(decode, bytes(octets)))
    assert is_one_line(outcome(decode, bytes(octets[:cut])))


@given(dhcp_messages(), st.integers(240, 1500))
def test_overloaded_messages_lose_nothing(message: DhcpMessage, maximum_size: int) -> None:
    data = encode_dhcp(message, maximum_size)
    assert decode_dhcp(data) == message
    assert len(data) <= max(maximum_size, 300) or data == encode_dhcp(message)


@given(st.binary(max_size=300))
def test_decoders_of_provisioning_never_raise_and_warn_in_one_line(octets: bytes) -> None:
    for tail in (octets, b"\0" + octets, b"\x01" + octets):
        warnings = decode_uc_options(tail).warnings + decode_sip_servers(tail).warnings
        assert all(is_one_line(warning) for warning in warnings)


@given(st.binary(max_size=80))
def test_without_a_warning_nothing_was_lost(octets: bytes) -> None:
    servers = decode_sip_servers(b"\0" + octets)
    if not servers.warnings and b"\xc0" not in octets:
        assert encode_sip_servers(servers.names).lower() == b"\0" + octets.lower()


@given(dns_responses, st.integers(0, 600))
def test_limited_responses_keep_a_prefix(response: DnsResponse, limit: int) -> None:
    data = encode_response(response, limit)
    seen = decode_response(data)
    kept = len(seen.answers)
    assert seen.answers == response.answers[:kept]
    assert seen.truncated == (response.truncated or kept < len(response.answers))
    assert len(data) <= limit or kept == 0


@given(macs)
def test_macs_go_both_ways(mac: bytes) -> None:
    assert parse_mac(format_mac(mac)) == mac


@given(st.floats(-61_505_151, 4_233_462_143))
def test_times_go_both_ways(unix: float) -> None:
    assert abs(to_unix(from_unix(unix)) - unix) <= 2**-31
