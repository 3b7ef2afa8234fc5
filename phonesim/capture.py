"""What a capture shows: every frame and message of a run, each with the phone it belongs to.

    tap of a phone, or an interface -> `Capture` -> each `PacketWriter`: pcapng, a transcript

Two kinds of packets. Frames are Ethernet: where an interface was listened to they are its
own (`add_interface`, `frame`), elsewhere they are made of the datagrams that phones sent and
received, with the phone's MAC, standard ports, and checksums that are right. What went
through TLS or another stream is shown as messages, without the stream: HTTP, SIP, DNS over
TCP. Of connections that failed the frames that say so are made, too: SYN, RST and FIN, and the
TLS handshake in which a side refused the other is shown as messages.

A made frame must name the MACs of hosts that have none here: their addresses behind 02-00.

Every packet is its phone's. A frame of an interface is a phone's that has its MAC, carries
DHCP for it, or an address that it had last; ARP and LLDP are shown even if they are nobody's,
other frames are left out.

No secret is in a message: PINs and the octets from which a ticket's key follows are
written over with asterisks, as many as they had octets. Frames are as they were.
"""

from __future__ import annotations

import hashlib
import re
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Protocol

import msgspec

from phonesim.device.outcome import ConnectFailure
from phonesim.wire.dhcp import BROADCAST, UNSPECIFIED
from phonesim.wire.frame import (
    ARP_REPLY,
    ARP_REQUEST,
    BROADCAST_MAC,
    UNKNOWN_MAC,
    ArpFrame,
    UdpFrame,
    encode_arp_frame,
    encode_udp_frame,
)
from phonesim.wire.ipv4 import pack_address
from phonesim.wire.lldp import CHASSIS_MAC, LldpUnit, encode_lldp_frame
from phonesim.wire.pcapng import (
    ETHERNET,
    INBOUND,
    OUTBOUND,
    UPPER_PDU,
    TransportAddress,
)
from phonesim.wire.tcp_frame import ACK, FIN, RST, SYN, TcpFrame, encode_tcp_frame
from phonesim.wire.tls_hello import (
    ClientHello,
    encode_alert,
    encode_client_hello,
    encode_server_flight,
)
from phonesim.wire.tls_records import (
    BAD_CERTIFICATE,
    CERTIFICATE_EXPIRED,
    HANDSHAKE_FAILURE,
    PROTOCOL_VERSION,
    UNKNOWN_CA,
)

_MADE_FRAMES = "frames"
_MESSAGES = "messages"

_SECRET = re.compile(
    rb"(<(?:[\w.-]+:)?(?:Password|BinarySecret)(?:\s[^>]*)?>)(.*?)(?=</|\Z)", re.DOTALL
)


class PacketWriter(Protocol):
    """Who writes a capture down.

    An interface is called by its place among those described, from 0; times are ns since 1970,
    directions the phone's. `phone_id` is "" for what is no phone's.
    """

    def interface(self, name: str, link_type: int) -> None:
        """There is another interface."""
        ...

    def frame(
        self, interface: int, time_ns: int, octets: bytes, direction: int, phone_id: str
    ) -> None:
        """An Ethernet frame was sent or received."""
        ...

    def message(
        self,
        interface: int,
        time_ns: int,
        protocol: str,
        source: TransportAddress,
        destination: TransportAddress,
        octets: bytes,
        direction: int,
        phone_id: str,
    ) -> None:
        """A message of a stream was sent or received; `protocol` is http, sip, dns or tls."""
        ...

    def statistics(self, interface: int, time_ns: int, received: int, dropped: int) -> None:
        """So many frames an interface had, and so many of them are missing."""
        ...


class Capture:
    """The packets of one run; `writers` are told each, `clock` gives ns since 1970.

    Frames are made of datagrams, if `makes_frames`, or else come from interfaces that are
    added.
    """

    def __init__(
        self,
        writers: Sequence[PacketWriter],
        clock: Callable[[], int],
        *,
        makes_frames: bool,
    ) -> None:
        self.writers = tuple(writers)
        self.clock = clock
        self.makes_frames = makes_frames
        self._interfaces = 0
        self._made: Counter[int] = Counter()
        self._by_mac: dict[bytes, PhoneTap] = {}
        self._by_address: dict[bytes, PhoneTap] = {}
        self._reads: list[Callable[[], object]] = []
        self.messages = self._describe(_MESSAGES, UPPER_PDU)
        self.frames = self._describe(_MADE_FRAMES, ETHERNET) if makes_frames else None

    def add_interface(self, name: str, read: Callable[[], object]) -> int:
        """Describe an Ethernet interface; returns what `frame` calls it by.

        `read` takes the frames that wait there, so that they stand before a later message.
        """
        self._reads.append(read)
        return self._describe(name, ETHERNET)

    def tap(self, phone_id: str, mac: bytes) -> PhoneTap:
        """The tap of a phone, the same one for every boot."""
        tap = self._by_mac.get(mac)
        if tap is None:
            tap = self._by_mac[mac] = PhoneTap(self, phone_id, mac)
        return tap

    def owns(self, address: str, tap: PhoneTap) -> None:
        """That phone has an address, and no other one has it any more."""
        self._by_address[pack_address(address)] = tap

    def frame(self, interface: int, time_ns: int, octets: bytes, direction: int) -> None:
        """Take a frame of an interface, if it is one of this run."""
        tap = self._owner(octets)
        if tap is not None or _ethertype(octets)[0] in _SHOWN_TO_ALL:
            phone_id = "" if tap is None else tap.phone_id
            for writer in self.writers:
                writer.frame(interface, time_ns, octets, direction, phone_id)

    def statistics(self, interface: int, time_ns: int, received: int, dropped: int) -> None:
        """So many frames an interface had, and so many of them are missing."""
        for writer in self.writers:
            writer.statistics(interface, time_ns, received, dropped)

    def end(self) -> None:
        """The run is over: say so, for made frames and messages that have no end of their own."""
        now = self.clock()
        for interface in (self.messages, self.frames):
            if interface is not None:
                self.statistics(interface, now, self._made[interface], 0)

    def made(self, interface: int) -> None:
        """A frame or a message is about to be told."""
        self._made[interface] += 1

    def read_interfaces(self) -> None:
        """Take the frames that wait at the interfaces."""
        for read in self._reads:
            read()

    def _describe(self, name: str, link_type: int) -> int:
        for writer in self.writers:
            writer.interface(name, link_type)
        self._interfaces += 1
        return self._interfaces - 1

    def _owner(self, frame: bytes) -> PhoneTap | None:
        phones = self._by_mac
        tap = phones.get(frame[6:12]) or phones.get(frame[:6])
        if tap is not None:
            return tap
        ethertype, at = _ethertype(frame)
        if ethertype == _IPV4:
            udp = at + 4 * (frame[at] & 0x0F) if len(frame) > at else 0
            if frame[at + 9 : at + 10] == _UDP and frame[udp : udp + 2] in _DHCP_PORTS:
                tap = phones.get(frame[udp + _CHADDR_IN_UDP : udp + _CHADDR_IN_UDP + 6])
            addresses = frame[at + 12 : at + 16], frame[at + 16 : at + 20]
        elif ethertype == _ARP:
            tap = phones.get(frame[at + 8 : at + 14])
            addresses = frame[at + 14 : at + 18], frame[at + 24 : at + 28]
        else:
            return None
        owners = self._by_address
        return tap or owners.get(addresses[0]) or owners.get(addresses[1])


class RefusedHandshake(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """A TLS handshake that failed: the newest `version` that the phone offered and the name it
    asked for, what the server had shown (DER), who said which alert (RFC 5246 section 7.2).
    """

    version: str
    server_name: str
    shown: tuple[bytes, ...]
    alert: int
    by_phone: bool


class PhoneTap:
    """Where a phone's packets are told; `local` is its own address and port, `peer` the other's.

    Ports are the standard ones, whatever a world maps them to.
    """

    __slots__ = ("_capture", "_mac", "_vlan_id", "phone_id")

    def __init__(self, capture: Capture, phone_id: str, mac: bytes) -> None:
        self.phone_id = phone_id
        self._capture = capture
        self._mac = mac
        self._vlan_id: int | None = None

    def joined_vlan(self, vlan_id: int | None) -> None:
        """The phone's frames have this tag from now on, LLDP's apart."""
        self._vlan_id = vlan_id

    def advertised(self, unit: LldpUnit) -> None:
        """The phone said that by LLDP."""
        self._write(encode_lldp_frame(unit, self._mac), OUTBOUND)

    def heard_lldp(self, unit: LldpUnit) -> None:
        """The switch said that by LLDP, and its MAC is its name."""
        mac = unit.chassis_id if unit.chassis_subtype == CHASSIS_MAC else _mac_of(UNSPECIFIED)
        self._write(encode_lldp_frame(unit, mac), INBOUND)

    def owns(self, address: str) -> None:
        """The phone uses an address from now on."""
        self._capture.owns(address, self)

    def sent_datagram(
        self, local: TransportAddress, peer: TransportAddress, payload: bytes
    ) -> None:
        """A UDP datagram left the phone."""
        self._datagram(self._mac, _mac_of(peer[0]), local, peer, payload, OUTBOUND)

    def received_datagram(
        self, local: TransportAddress, peer: TransportAddress, payload: bytes
    ) -> None:
        """A UDP datagram reached it; `local` may be the broadcast address."""
        mac = BROADCAST_MAC if local[0] == BROADCAST else self._mac
        self._datagram(_mac_of(peer[0]), mac, peer, local, payload, INBOUND)

    def sent_message(
        self, protocol: str, local: TransportAddress, peer: TransportAddress, octets: bytes
    ) -> None:
        """A message left by a stream; `protocol` is http, sip or dns, as Wireshark says."""
        self._message(protocol, local, peer, octets, OUTBOUND)

    def received_message(
        self, protocol: str, local: TransportAddress, peer: TransportAddress, octets: bytes
    ) -> None:
        """A message came by a stream."""
        self._message(protocol, peer, local, octets, INBOUND)

    def attempted(self, local: TransportAddress, peer: TransportAddress) -> None:
        """The phone wanted a connection that did not come about or did not last."""
        self._segment(local, peer, SYN, OUTBOUND)

    def refused(self, local: TransportAddress, peer: TransportAddress) -> None:
        """Nobody listens there."""
        self._segment(peer, local, RST | ACK, INBOUND)

    def ended(self, local: TransportAddress, peer: TransportAddress) -> None:
        """The peer has closed a connection."""
        self._segment(peer, local, FIN | ACK, INBOUND)

    def refused_tls(
        self, local: TransportAddress, peer: TransportAddress, handshake: RefusedHandshake
    ) -> None:
        """A connection that came about failed in its TLS handshake."""
        if not self._capture.makes_frames:
            return  # the interface has shown it
        self._segment(peer, local, SYN | ACK, INBOUND)
        asked = f"{local} {peer} {handshake.server_name}".encode()
        random = hashlib.sha256(asked).digest()
        hello = ClientHello(handshake.version, handshake.server_name)
        self.sent_message("tls", local, peer, encode_client_hello(hello, random))
        if handshake.shown:
            flight = encode_server_flight(
                handshake.version, hashlib.sha256(random).digest(), handshake.shown
            )
            self.received_message("tls", local, peer, flight)
        alert = encode_alert(handshake.alert)
        if handshake.by_phone:
            self.sent_message("tls", local, peer, alert)
        else:
            self.received_message("tls", local, peer, alert)

    def announced(self, address: str) -> None:
        """The phone told everybody that it has an address."""
        self._arp(ARP_REQUEST, self._mac, address, UNKNOWN_MAC, address, BROADCAST_MAC, OUTBOUND)

    def probed(self, address: str, conflict: str | None) -> None:
        """The phone asked whether anybody has an address: the host `conflict`, or nobody."""
        self._arp(ARP_REQUEST, self._mac, "0.0.0.0", UNKNOWN_MAC, address, BROADCAST_MAC, OUTBOUND)
        if conflict is not None:
            mac = bytes.fromhex(conflict.replace("-", ""))
            self._arp(ARP_REPLY, mac, address, self._mac, "0.0.0.0", self._mac, INBOUND)

    def _datagram(
        self,
        source_mac: bytes,
        destination_mac: bytes,
        source: TransportAddress,
        destination: TransportAddress,
        payload: bytes,
        direction: int,
    ) -> None:
        if self._capture.makes_frames:
            frame = UdpFrame(
                source_mac=source_mac,
                destination_mac=destination_mac,
                source=source[0],
                destination=destination[0],
                source_port=source[1],
                destination_port=destination[1],
                payload=payload,
                vlan_id=self._vlan_id,
            )
            self._write(encode_udp_frame(frame), direction)

    def _segment(
        self, source: TransportAddress, destination: TransportAddress, flags: int, direction: int
    ) -> None:
        """A segment without octets, sequence numbers counting from 0."""
        if not self._capture.makes_frames:
            return
        is_sent = direction == OUTBOUND
        frame = TcpFrame(
            source_mac=self._mac if is_sent else _mac_of(source[0]),
            destination_mac=_mac_of(destination[0]) if is_sent else self._mac,
            source=source[0],
            destination=destination[0],
            source_port=source[1],
            destination_port=destination[1],
            flags=flags,
            sequence=1 if flags & FIN else 0,
            acknowledgement=1 if flags & ACK else 0,
            vlan_id=self._vlan_id,
        )
        self._write(encode_tcp_frame(frame), direction)

    def _arp(
        self,
        operation: int,
        sender_mac: bytes,
        sender_ip: str,
        target_mac: bytes,
        target_ip: str,
        destination_mac: bytes,
        direction: int,
    ) -> None:
        frame = ArpFrame(
            operation=operation,
            source_mac=sender_mac,
            sender_mac=sender_mac,
            sender_ip=sender_ip,
            target_mac=target_mac,
            target_ip=target_ip,
            destination_mac=destination_mac,
            vlan_id=self._vlan_id,
        )
        self._write(encode_arp_frame(frame), direction)

    def _message(
        self,
        protocol: str,
        source: TransportAddress,
        destination: TransportAddress,
        octets: bytes,
        direction: int,
    ) -> None:
        if protocol == "http":
            octets = without_secrets(octets)
        capture = self._capture
        capture.read_interfaces()
        now = capture.clock()
        capture.made(capture.messages)
        for writer in capture.writers:
            writer.message(
                capture.messages,
                now,
                protocol,
                source,
                destination,
                octets,
                direction,
                self.phone_id,
            )

    def _write(self, octets: bytes, direction: int) -> None:
        capture = self._capture
        assert capture.frames is not None
        now = capture.clock()
        capture.made(capture.frames)
        for writer in capture.writers:
            writer.frame(capture.frames, now, octets, direction, self.phone_id)


def made_port(number: int) -> int:
    """A phone's port for its connection of that number, where no real one is known."""
    return _FIRST_PORT + 1 + number % (_PORTS - 1)


def alert_of(failure: ConnectFailure) -> int:
    """The alert (RFC 5246 section 7.2) with which a phone or a server says so."""
    return _ALERTS.get(failure, BAD_CERTIFICATE)


def without_secrets(soap: bytes) -> bytes:
    """The same octets, with asterisks for every PIN and for what a ticket's key is made of."""
    return _SECRET.sub(lambda found: found[1] + b"*" * len(found[2]), soap)


_IPV4, _ARP, _LLDP, _VLAN = b"\x08\x00", b"\x08\x06", b"\x88\xcc", b"\x81\x00"
_SHOWN_TO_ALL = frozenset({_ARP, _LLDP})
_UDP = b"\x11"
_DHCP_PORTS = frozenset({b"\0\x43", b"\0\x44"})
_CHADDR_IN_UDP = 8 + 28
_ALERTS = {
    ConnectFailure.CERTIFICATE_EXPIRED: CERTIFICATE_EXPIRED,
    ConnectFailure.CERTIFICATE_NOT_YET_VALID: CERTIFICATE_EXPIRED,
    ConnectFailure.CERTIFICATE_UNTRUSTED: UNKNOWN_CA,
    ConnectFailure.CERTIFICATE_ISSUER_MISSING: UNKNOWN_CA,
    ConnectFailure.TLS_VERSION_REFUSED: PROTOCOL_VERSION,
    ConnectFailure.TLS_FAILED: HANDSHAKE_FAILURE,
}
_FIRST_PORT, _PORTS = 49152, 16384
_MADE_MAC = b"\x02\x00"


def _ethertype(frame: bytes) -> tuple[bytes, int]:
    """What a frame carries, and where that begins, behind any VLAN tags."""
    at = 12
    while frame[at : at + 2] == _VLAN:
        at += 4
    return frame[at : at + 2], at + 2


def _mac_of(address: str) -> bytes:
    return BROADCAST_MAC if address == BROADCAST else _MADE_MAC + pack_address(address)
