"""Packets of a capture, given to the phones they belong to.

A few octets of a frame say whether it can be one of a phone; only then is anything decoded. That
keeps a capture of other traffic cheap.

Specifications: RFC 791, RFC 768, RFC 9293, RFC 826.
"""

from __future__ import annotations

from collections import Counter

from phonesim.errors import DecodeError
from phonesim.field.captures.captured_phone import CapturedPhone
from phonesim.field.captures.captured_seen import Seen, Told
from phonesim.field.captures.captured_streams import ACK, FIN, RST, SYN, Segment, Streams
from phonesim.field.captures.captured_web import scheme_of
from phonesim.field.captures.captured_words import (
    Ends,
    dhcp_words,
    dns_words,
    http_words,
    plain_words,
    sip_words,
    tls_words,
)
from phonesim.field.captures.fragments import Fragments
from phonesim.field.captures.link_layer import ARP, IPV4, LLDP, READABLE, Link, link_name, read_link
from phonesim.field.captures.phones_in_captures import MOST_PHONES, PhonesInCapture
from phonesim.wire.dhcp import (
    BOOTREQUEST,
    CLIENT_PORT,
    SERVER_PORT,
    UNSPECIFIED,
    decode_dhcp,
    format_mac,
)
from phonesim.wire.dns import DNS_PORT
from phonesim.wire.frame import ArpFrame, decode_arp_frame
from phonesim.wire.http_stream import decode_http
from phonesim.wire.ipv4 import unpack_address
from phonesim.wire.lldp import decode_lldp
from phonesim.wire.ntp import NTP_PORT
from phonesim.wire.pcap import CapturedPacket
from phonesim.wire.pcapng import (
    OUTBOUND,
    UPPER_PDU,
    TransportAddress,
    decode_upper_pdu,
)
from phonesim.wire.sip import SIP_PORT, SIPS_PORT

Tellings = list[tuple[CapturedPhone, Told]]

_UDP, _TCP = 17, 6
_DHCP_PORTS = frozenset({CLIENT_PORT, SERVER_PORT})
_ASKED_PORTS = frozenset({DNS_PORT, NTP_PORT})
_FRAGMENT = 0x3FFF
_SIP_QUERY = b"_sip"
_MOST_AT_A_PORT = 4
_MOST_DOUBLES = 32
_DOUBLE_NS = 2_000_000
_ETHERNET_ADDRESSES = bytes(12)


class PacketNarrator:
    """Takes packets in order, and tells what each shows of phones."""

    def __init__(self) -> None:
        self.known = PhonesInCapture()
        self._streams = Streams()
        self._fragments = Fragments()
        self._other_links: Counter[int] = Counter()
        self._last_datagrams: dict[frozenset[TransportAddress], tuple[bytes, int]] = {}
        self._cut = 0
        self._unreadable = 0

    def take(self, packet: CapturedPacket) -> Tellings:
        """Take a packet."""
        if packet.link_type == UPPER_PDU:
            return self._message(packet)
        link = read_link(packet.link_type, packet.octets)
        if link is None:
            if packet.link_type not in READABLE:
                self._other_links[packet.link_type] += 1
            return []
        if link.ethertype == IPV4:
            return self._ipv4(packet, link)
        if link.ethertype == ARP:
            return self._arp(packet, link)
        if link.ethertype == LLDP:
            return self._lldp(packet, link)
        return []

    def finish(self, packets: int, ended_at: float) -> Tellings:
        """The capture has ended."""
        seen = Seen(packets, ended_at, "the capture ends")
        return [(phone, told) for phone in self.known.phones for told in phone.finish(seen)]

    def notes(self) -> list[str]:
        """What was not read, and why."""
        notes = [
            f"{_count(count, 'packet')} of {link_name(link_type)} not read: capture on Ethernet"
            for link_type, count in sorted(self._other_links.items())
        ]
        if self._cut:
            notes.append(
                f"{_count(self._cut, 'packet')} of phones captured in part: capture without a "
                "limit of size"
            )
        if self._unreadable:
            notes.append(f"{_count(self._unreadable, 'malformed packet')} of phones")
        unfinished = self._fragments.unfinished()
        if unfinished:
            notes.append(f"{_count(unfinished, 'incomplete fragmented datagram')}")
        if self._streams.given_up:
            notes.append(
                f"{_count(self._streams.given_up, 'TCP connection')} not read to the end: octets "
                "are missing, or there were too many at once"
            )
        if self.known.refused:
            notes.append(f"there are more than {MOST_PHONES} phones: the others were not read")
        return notes

    # --- IPv4 ---

    def _ipv4(self, packet: CapturedPacket, link: Link) -> Tellings:
        octets, at = packet.octets, link.at
        if len(octets) < at + 20:
            return []
        protocol = octets[at + 9]
        if protocol not in (_UDP, _TCP):
            return []
        known = self.known
        source, destination = octets[at + 12 : at + 16], octets[at + 16 : at + 20]
        payload_at = at + 4 * (octets[at] & 0x0F)
        end = at + (octets[at + 2] << 8 | octets[at + 3])
        fragment = octets[at + 6] << 8 | octets[at + 7]
        owner = known.by_mac.get(link.source_mac)
        if owner is not None and source not in known.by_address and source != b"\0\0\0\0":
            known.by_address[source] = owner
        is_known = source in known.by_address or destination in known.by_address
        if end == at:
            end = len(octets)  # a large segment that the network card was left to cut
        is_cut = end > len(octets)
        if fragment & _FRAGMENT:
            if protocol != _UDP or not (
                is_known or known.is_maker(link) or destination == b"\xff\xff\xff\xff"
            ):
                return []
            key = (source, destination, octets[at + 4] << 8 | octets[at + 5])
            whole = self._fragments.take(key, fragment, octets[payload_at:end])
            if whole is None:
                return []
            octets, payload_at, end, is_cut = whole, 0, len(whole), False
        if protocol == _TCP:
            if not is_known and not known.is_maker(link):
                return []
            self._cut += is_cut
            return self._tcp(packet, link, source, destination, octets[payload_at:end])
        if len(octets) < payload_at + 8:
            return []
        source_port = octets[payload_at] << 8 | octets[payload_at + 1]
        destination_port = octets[payload_at + 2] << 8 | octets[payload_at + 3]
        data_at = payload_at + 8
        if source_port in _DHCP_PORTS or destination_port in _DHCP_PORTS:
            if not known.may_be_dhcp(octets, data_at):
                return []
            tell = self._dhcp
        elif source_port in _ASKED_PORTS or destination_port in _ASKED_PORTS:
            if not is_known and not (known.is_maker(link) and _SIP_QUERY in octets):
                return []
            tell = self._datagram
        else:
            return []
        self._cut += is_cut
        ends = (
            (unpack_address(source), source_port),
            (unpack_address(destination), destination_port),
        )
        if self._is_double(frozenset(ends), octets[payload_at:end], packet.time_ns):
            return []
        return tell(packet, octets[data_at:end], ends, link)

    def _is_double(self, ends: frozenset[TransportAddress], datagram: bytes, time_ns: int) -> bool:
        """Whether the last datagram between these ends was the same one, and seen just before.

        So it is where two ports are mirrored, or all interfaces of a host captured.
        """
        last, seen_ns = self._last_datagrams.pop(ends, (b"", 0))
        self._last_datagrams[ends] = (datagram, time_ns)
        if len(self._last_datagrams) > _MOST_DOUBLES:
            del self._last_datagrams[next(iter(self._last_datagrams))]
        return last == datagram and 0 <= time_ns - seen_ns < _DOUBLE_NS

    def _dhcp(self, packet: CapturedPacket, payload: bytes, ends: Ends, link: Link) -> Tellings:
        try:
            message = decode_dhcp(payload)
        except DecodeError:
            self._unreadable += 1
            return []
        phone = self.known.of_dhcp(message, packet.comment)
        if phone is None:
            return []
        words = dhcp_words(payload, ends)
        if message.op != BOOTREQUEST and link.source_mac and message.giaddr == UNSPECIFIED:
            words += f"; frame from {format_mac(link.source_mac)}"
        seen = _seen(packet, words)
        is_new = not phone.has_begun
        told = phone.begin(seen)
        if is_new and self.known.switch is not None:
            told += phone.link.heard(*self.known.switch)
        if message.op == BOOTREQUEST:
            told += phone.sent_dhcp(message, ends[1][0], link.vlan_id, seen)
            self.known.owns(phone, message.ciaddr)
        else:
            told += phone.dhcp.received(message, ends[0][0], ends[1], link.vlan_id, seen)
            if phone.dhcp.is_bound:
                self.known.owns(phone, phone.dhcp.address)
        return [(phone, each) for each in told]

    def _datagram(self, packet: CapturedPacket, payload: bytes, ends: Ends, link: Link) -> Tellings:
        """DNS or NTP."""
        (source, source_port), (destination, destination_port) = ends
        host = packet.octets[link.at + 12 : link.at + 20]
        is_sent = destination_port in _ASKED_PORTS and (
            source_port not in _ASKED_PORTS or host[:4] in self.known.by_address
        )
        phone = self.known.of_host(host[:4] if is_sent else host[4:], packet.comment)
        if phone is None and is_sent:
            phone = self.known.of_maker(link, host[:4])
        if phone is None:
            return []
        if DNS_PORT in (source_port, destination_port):
            seen = _seen(packet, dns_words(payload, ends))
            told = phone.begin(seen)
            if is_sent:
                if _SIP_QUERY in payload:
                    phone.went_on()
                told += phone.dns.sent(payload, destination, "udp", seen)
            else:
                told += phone.dns.received(payload, source, "udp", seen)
        else:
            seen = _seen(packet, plain_words("NTP query" if is_sent else "NTP answer", ends))
            told = phone.begin(seen)
            if is_sent:
                told += phone.clock.sent(payload, destination, seen)
            else:
                told += phone.clock.received(payload, source, seen)
        return [(phone, each) for each in told]

    # --- TCP ---

    def _tcp(
        self, packet: CapturedPacket, link: Link, source: bytes, destination: bytes, octets: bytes
    ) -> Tellings:
        size = 4 * (octets[12] >> 4) if len(octets) >= 20 else 0
        if size < 20 or len(octets) < size:
            return []
        ends = (
            (unpack_address(source), octets[0] << 8 | octets[1]),
            (unpack_address(destination), octets[2] << 8 | octets[3]),
        )
        known = self.known
        phone = known.by_address.get(source)
        is_sent = phone is not None
        if phone is None:
            phone = known.by_address.get(destination)
        elif octets[13] & (SYN | ACK) == SYN | ACK and destination in known.by_address:
            phone, is_sent = known.by_address[destination], False  # from phone to phone
        if phone is None:
            if ends[1][1] not in (SIP_PORT, SIPS_PORT) or not octets[13] & SYN:
                return []
            phone, is_sent = known.of_maker(link, source), True
            if phone is None:
                return []
        segment = Segment(
            ends[0], ends[1], int.from_bytes(octets[4:8], "big"), octets[13], octets[size:]
        )
        events = self._streams.take(segment, phone_is_source=is_sent)
        if not events:
            return []
        seen = _seen(packet, _segment_words(segment, ends))
        told = phone.begin(seen)
        for event in events:
            told += phone.streamed(event, seen)
        return [(phone, each) for each in told]

    # --- messages without their stream ---

    def _message(self, packet: CapturedPacket) -> Tellings:
        try:
            pdu = decode_upper_pdu(packet.octets)
        except DecodeError:
            self._unreadable += 1
            return []
        known = self.known
        owner = known.named(packet.comment)
        is_sent = packet.direction == OUTBOUND
        if owner is None:
            return []  # a message that anybody may have exported
        client, server = (pdu.source, pdu.destination) if is_sent else (pdu.destination, pdu.source)
        known.owns(owner, client[0])
        ends = (pdu.source, pdu.destination)
        return [
            (owner, told)
            for told in _tell_message(
                owner, packet, pdu.dissector, client, server, ends, pdu.octets
            )
        ]

    # --- the link ---

    def _arp(self, packet: CapturedPacket, link: Link) -> Tellings:
        frame = _read_arp(packet.octets, link)
        if frame is None:
            return []
        known = self.known
        phone = known.by_mac.get(frame.sender_mac)
        is_probe = frame.sender_ip == UNSPECIFIED
        owner = None if is_probe else known.claimant(frame.sender_ip)
        if phone is None and owner is None:
            return []
        mac = format_mac(frame.sender_mac)
        says = f"{mac} probes {frame.target_ip}" if is_probe else f"{frame.sender_ip} is at {mac}"
        seen = _seen(packet, f"ARP {'request' if frame.operation == 1 else 'reply'}: {says}")
        tellings: Tellings = []
        if phone is not None:
            tellings += [
                (phone, told) for told in phone.begin(seen) + phone.link.asked(frame, seen)
            ]
            if is_probe:
                known.probes(phone, frame.target_ip)
        if owner is not None and owner is not phone:
            is_own = owner.dhcp.holds(frame.sender_ip, seen.at)
            conflict = owner.link.contradicted(frame, seen, is_own=is_own)
            if conflict:
                tellings += [(owner, told) for told in owner.begin(seen) + conflict]
        return tellings

    def _lldp(self, packet: CapturedPacket, link: Link) -> Tellings:
        try:
            unit = decode_lldp(packet.octets[link.at :])
        except DecodeError:
            self._unreadable += 1
            return []
        sender = self.known.by_mac.get(link.source_mac)
        owner = self.known.named(packet.comment)
        if sender is None and owner is not None and packet.direction == OUTBOUND:
            sender = owner
        if sender is not None:
            seen = _seen(packet, f"LLDP of the phone {sender.phone_id}")
            return [(sender, told) for told in sender.begin(seen) + sender.link.said(unit, seen)]
        seen = _seen(packet, "LLDP of the switch")
        if owner is not None:
            return [(owner, told) for told in owner.begin(seen) + owner.link.heard(unit, seen)]
        # A port with more phones than that is none of a phone: its switch speaks to others.
        self.known.switch = (unit, seen)
        if len(self.known.phones) > _MOST_AT_A_PORT:
            return []
        return [
            (phone, told) for phone in self.known.phones for told in phone.link.heard(unit, seen)
        ]


def _tell_message(
    phone: CapturedPhone,
    packet: CapturedPacket,
    protocol: str,
    client: TransportAddress,
    server: TransportAddress,
    ends: Ends,
    octets: bytes,
) -> list[Told]:
    is_sent = ends[0] == client
    match protocol:
        case "dns":
            seen = _seen(packet, dns_words(octets[2:], ends))
            told = phone.begin(seen)
            if is_sent:
                return told + phone.dns.sent(octets[2:], server[0], "tcp", seen)
            return told + phone.dns.received(octets[2:], server[0], "tcp", seen)
        case "http":
            seen = _seen(packet, http_words(octets, ends))
            told = phone.begin(seen)
            try:
                message = decode_http(octets)
            except DecodeError:
                return told
            connection, more = phone.connection_of(client, server, seen)
            scheme = scheme_of(server[1])
            return told + more + connection.http(message, scheme, seen, by_client=is_sent)
        case "sip":
            seen = _seen(packet, sip_words(octets, ends))
            told = phone.begin(seen)
            connection, more = phone.connection_of(client, server, seen)
            return told + more + connection.sip(octets, seen, by_client=is_sent)
        case "tls":
            seen = _seen(packet, tls_words(octets, ends))
            told = phone.begin(seen)
            connection, more = phone.connection_of(client, server, seen)
            return told + more + connection.tls(octets, seen, by_client=is_sent)
        case _:
            return []


def _read_arp(octets: bytes, link: Link) -> ArpFrame | None:
    """ARP behind whatever header."""
    header = _ETHERNET_ADDRESSES + b"\x08\x06"
    try:
        return decode_arp_frame(header + octets[link.at :])
    except DecodeError:
        return None


def _segment_words(segment: Segment, ends: Ends) -> str:
    octets = segment.octets
    if octets[:2] in (b"\x16\x03", b"\x15\x03", b"\x14\x03"):
        return tls_words(octets, ends)
    if octets[:5] == b"HTTP/" or b" HTTP/1." in octets[:2000]:
        return http_words(octets, ends)
    if octets[:7] == b"SIP/2.0" or b" SIP/2.0" in octets[:500]:
        return sip_words(octets, ends)
    flags = [
        name
        for flag, name in ((SYN, "SYN"), (FIN, "FIN"), (RST, "RST"), (ACK, "ACK"))
        if segment.flags & flag
    ]
    return plain_words(
        f"TCP {' '.join(flags)}" + (f" {len(octets)} octets" if octets else ""), ends
    )


def _count(number: int, what: str) -> str:
    return f"{number} {what}{'' if number == 1 else 's'}"


def _seen(packet: CapturedPacket, text: str) -> Seen:
    return Seen(packet.number, packet.time_ns / 1e9, text)
