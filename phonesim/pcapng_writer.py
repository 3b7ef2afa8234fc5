"""A capture as pcapng: each packet of a run as a block, for Wireshark and its kin.

A comment on every packet is its phone's id.
"""

from __future__ import annotations

from collections.abc import Callable

from phonesim.wire.pcapng import (
    TransportAddress,
    encode_interface,
    encode_packet,
    encode_packet_options,
    encode_section_header,
    encode_statistics,
    encode_upper_pdu,
)

_APPLICATION = "phonesim"


class PcapngWriter:
    """Implements `phonesim.capture.PacketWriter`; `write` takes whole blocks."""

    def __init__(self, write: Callable[[bytes], None]) -> None:
        self._write = write
        self._options: dict[tuple[str, int], bytes] = {}
        write(encode_section_header(_APPLICATION))

    def interface(self, name: str, link_type: int) -> None:
        """Write its description."""
        self._write(encode_interface(name, link_type))

    def frame(
        self, interface: int, time_ns: int, octets: bytes, direction: int, phone_id: str
    ) -> None:
        """Write a frame."""
        options = self._options_of(phone_id, direction)
        self._write(encode_packet(interface, time_ns, octets, options))

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
        """Write a message as Wireshark's upper PDU."""
        pdu = encode_upper_pdu(protocol, source, destination, octets)
        options = self._options_of(phone_id, direction)
        self._write(encode_packet(interface, time_ns, pdu, options))

    def statistics(self, interface: int, time_ns: int, received: int, dropped: int) -> None:
        """Write how many frames there were, and how many of them are missing."""
        self._write(encode_statistics(interface, time_ns, received, dropped))

    def _options_of(self, phone_id: str, direction: int) -> bytes:
        key = phone_id, direction
        options = self._options.get(key)
        if options is None:
            options = self._options[key] = encode_packet_options(phone_id, direction)
        return options
