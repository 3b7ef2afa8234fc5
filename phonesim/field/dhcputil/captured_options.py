"""Options 43 and 120 of every OFFER and ACK in a capture, with the class that was asked for.

What answers other devices' vendor classes is left out. The same octets from the same server
to the same class are given once, and counted.

Specifications: RFC 2131 section 2; device reference section 6.
"""

from __future__ import annotations

from pathlib import Path

import msgspec

from phonesim.errors import DecodeError
from phonesim.field.captures.capture_reader import pieces_of
from phonesim.field.captures.link_layer import IPV4, read_link
from phonesim.field.dhcputil.configured_option import ConfiguredOption
from phonesim.field.dhcputil.inspection import OPTION_43, OPTION_120, VLAN_CLASSES
from phonesim.wire.dhcp import (
    BOOTREPLY,
    CLIENT_PORT,
    SERVER_PORT,
    DhcpMessage,
    MessageType,
    Option,
    decode_addresses,
    decode_dhcp,
)
from phonesim.wire.frame import UdpFrame, decode_udp_frame
from phonesim.wire.pcap import CapturedPacket, PacketReader
from phonesim.wire.provisioning import UC_IDENTIFIER

MOST_REQUESTS = 65536
MOST_OPTIONS = 1000
"""Different options of a capture that are told apart."""

_DHCP_PORTS = frozenset({CLIENT_PORT, SERVER_PORT})
_CLASSES = frozenset(each.lower() for each in (UC_IDENTIFIER, *VLAN_CLASSES))
_ETHERNET_HEADER = bytes(12) + IPV4.to_bytes(2, "big")
_UDP = 17

Key = tuple[int, bytes, str | None, str]


class CapturedOptions:
    """What a capture holds: `options` in the order of their frames, `notes` on what it does not.

    DecodeError if the file is no capture, UsageError if it cannot be read.
    """

    def __init__(self, path: Path) -> None:
        self.options: list[ConfiguredOption] = []
        self.notes: list[str] = []
        self._places: dict[Key, int] = {}
        self._classes: dict[tuple[int, bytes], str] = {}
        self._others = 0
        self._left_out = 0
        reader = PacketReader(pieces_of(path))
        packets = 0
        for packet in reader:
            packets = packet.number
            frame = _read_frame(packet)
            if frame is not None:
                self._take(frame, packet.number)
        if reader.problem:
            self.notes.append(f"{reader.problem}: what is before was read")
        if self._others:
            self.notes.append(f"{self._others} answers to other vendor classes are left out")
        if self._left_out:
            self.notes.append(f"{self._left_out} more answers differ and are left out")
        if not self.options:
            self.notes.append(f"no DHCP answer with option 43 or 120 in {packets} packets")

    def _take(self, frame: UdpFrame, number: int) -> None:
        try:
            message = decode_dhcp(frame.payload)
        except DecodeError:
            return
        key = message.xid, message.chaddr
        if message.op != BOOTREPLY:
            asked_by = message.options.get(Option.VENDOR_CLASS_IDENTIFIER)
            self._classes.pop(key, None)
            if len(self._classes) >= MOST_REQUESTS:
                self._classes.pop(next(iter(self._classes)))
            self._classes[key] = "" if asked_by is None else asked_by.decode("ascii", "replace")
            return
        if message.message_type not in (MessageType.OFFER, MessageType.ACK):
            return
        codes = [code for code in (OPTION_43, OPTION_120) if code in message.options]
        if not codes:
            return
        vendor_class = self._classes.get(key)
        if vendor_class is not None and vendor_class.lower() not in _CLASSES:
            self._others += 1
            return
        origin = f"{message.message_type.name} of {_server(message, frame.source)}"
        for code in codes:
            self._add(code, message.options[code], vendor_class, origin, number)

    def _add(
        self, code: int, octets: bytes, vendor_class: str | None, origin: str, number: int
    ) -> None:
        key = code, octets, vendor_class, origin
        place = self._places.get(key)
        if place is not None:
            option = self.options[place]
            self.options[place] = msgspec.structs.replace(option, times=option.times + 1)
        elif len(self.options) >= MOST_OPTIONS:
            self._left_out += 1
        else:
            self._places[key] = len(self.options)
            self.options.append(
                ConfiguredOption(
                    code=code,
                    octets=octets,
                    vendor_class=vendor_class if code == OPTION_43 else None,
                    line=number,
                    origin=origin,
                )
            )


def _read_frame(packet: CapturedPacket) -> UdpFrame | None:
    """The DHCP datagram of a packet; None if it is something else, or not there whole."""
    link = read_link(packet.link_type, packet.octets)
    if link is None or link.ethertype != IPV4:
        return None
    octets, at = packet.octets, link.at
    if len(octets) < at + 24 or octets[at + 9] != _UDP:
        return None
    ports_at = at + 4 * (octets[at] & 0x0F)
    ports = octets[ports_at : ports_at + 2], octets[ports_at + 2 : ports_at + 4]
    if not _DHCP_PORTS & {int.from_bytes(port, "big") for port in ports}:
        return None
    try:
        return decode_udp_frame(_ETHERNET_HEADER + octets[at:], verify_udp_checksum=False)
    except DecodeError:
        return None


def _server(message: DhcpMessage, source: str) -> str:
    try:
        return decode_addresses(message.options.get(Option.SERVER_IDENTIFIER, b""))[0]
    except DecodeError:
        return source
