"""Which hosts of a capture are phones, by what they say of themselves.

A host is a phone if its DHCP has a class of these phones, if it asks with INFORM for options 43
and 120, or if it has a MAC of their makers and asks by DHCP without any class, asks for a
Registrar by DNS, or connects to one. With other firmware the makers' phones say so by class: they
are none of these. Captures of phonesim's own name the phone of each
packet in its comment.
"""

from __future__ import annotations

import re
from functools import cache

from phonesim import profiles
from phonesim.field.captures.captured_phone import CapturedPhone
from phonesim.field.captures.captured_seen import Seen
from phonesim.field.captures.link_layer import Link
from phonesim.wire.dhcp import (
    BOOTREQUEST,
    UNSPECIFIED,
    DhcpMessage,
    MessageType,
    Option,
    format_mac,
    parse_mac,
)
from phonesim.wire.ipv4 import pack_address
from phonesim.wire.lldp import LldpUnit

MOST_PHONES = 10_000
_CLASSES = re.compile(rb"ms-uc-client|cpe-ocphone", re.IGNORECASE)
_IS_INFORM = b"\x35\x01\x08"
_OPTIONS_AT = 240
_CHADDR_AT = 28
_PHONE_ID = re.compile(r"(?:[0-9A-F]{2}-){5}[0-9A-F]{2}")


class PhonesInCapture:
    """The phones that were found, by MAC and by the address that each had last."""

    def __init__(self) -> None:
        self.phones: list[CapturedPhone] = []
        self.by_address: dict[bytes, CapturedPhone] = {}
        self.by_mac: dict[bytes, CapturedPhone] = {}
        self.refused = 0
        """Packets of phones beyond MOST_PHONES."""
        self.switch: tuple[LldpUnit, Seen] | None = None
        """What a switch said last without saying to whom."""
        self._makers = maker_prefixes()
        self._probed: dict[str, CapturedPhone] = {}

    def may_be_dhcp(self, octets: bytes, at: int) -> bool:
        """Whether the DHCP message that begins there may be one of a phone."""
        chaddr = octets[at + _CHADDR_AT : at + _CHADDR_AT + 6]
        return (
            chaddr in self.by_mac
            or chaddr[:3] in self._makers
            or octets.find(_IS_INFORM, at + _OPTIONS_AT) >= 0
            or _CLASSES.search(octets, at + _OPTIONS_AT) is not None
        )

    def of_dhcp(self, message: DhcpMessage, comment: str) -> CapturedPhone | None:
        """The phone of a DHCP message, if it is one's."""
        phone = self.by_mac.get(message.chaddr)
        if phone is None and (self._is_phone(message) or comment == format_mac(message.chaddr)):
            phone = self._add(message.chaddr)
        return phone

    def of_host(self, address: bytes, comment: str) -> CapturedPhone | None:
        """The phone that a comment names, or that has an address."""
        phone = self.named(comment)
        return phone or self.by_address.get(address)

    def named(self, comment: str) -> CapturedPhone | None:
        """The phone that a comment of phonesim's own captures names."""
        if not comment or not _PHONE_ID.fullmatch(comment):
            return None
        mac = parse_mac(comment)
        return self.by_mac.get(mac) or self._add(mac)

    def is_maker(self, link: Link) -> bool:
        """Whether a frame's sender has a MAC of a maker of phones."""
        return link.source_mac[:3] in self._makers

    def of_maker(self, link: Link, address: bytes) -> CapturedPhone | None:
        """The phone that has sent a frame as only phones of these makers do."""
        if not self.is_maker(link):
            return None
        phone = self.by_mac.get(link.source_mac) or self._add(link.source_mac)
        if phone is not None:
            self.by_address[address] = phone
        return phone

    def owns(self, phone: CapturedPhone, address: str) -> None:
        """A phone has an address, and no other one has it any more."""
        if address != UNSPECIFIED:
            self.by_address[pack_address(address)] = phone

    def probes(self, phone: CapturedPhone, address: str) -> None:
        """A phone asks by ARP whether anybody has an address."""
        if len(self._probed) >= MOST_PHONES:
            self._probed.clear()
        self._probed[address] = phone

    def claimant(self, address: str) -> CapturedPhone | None:
        """The phone that has an address, or asks for it."""
        return self._probed.get(address) or self.by_address.get(pack_address(address))

    def _is_phone(self, message: DhcpMessage) -> bool:
        if message.op != BOOTREQUEST:
            return False
        options = message.options
        vendor_class = options.get(Option.VENDOR_CLASS_IDENTIFIER, b"")
        if _CLASSES.match(vendor_class):
            return True
        asked = options.get(Option.PARAMETER_REQUEST_LIST, b"")
        if message.message_type is MessageType.INFORM and {43, 120} <= set(asked):
            return True
        return message.chaddr[:3] in self._makers and not vendor_class

    def _add(self, mac: bytes) -> CapturedPhone | None:
        if len(self.phones) >= MOST_PHONES:
            self.refused += 1
            return None
        phone_id = format_mac(mac)
        phone = self.by_mac[mac] = CapturedPhone(phone_id)
        self.phones.append(phone)
        return phone


@cache
def maker_prefixes() -> frozenset[bytes]:
    """The first three octets of the MACs of the device profiles' makers."""
    devices = [profiles.load(profiles.DEVICE, name) for name in profiles.names(profiles.DEVICE)]
    return frozenset(bytes.fromhex(device.oui.replace(":", "")) for device in devices)
