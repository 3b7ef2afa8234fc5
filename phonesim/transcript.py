"""A run in words: every message of a few phones, in order, as one would read a trace to another.

    12  0.412 s  00-04-F2-00-00-01  127.20.16.1:50123 -> 127.20.0.21:5061
        SIP REGISTER (TLS-DSK ClientHello)
            REGISTER sip:contoso.com SIP/2.0
            ...

What has no message for people (ARP, TCP segments) is left out. No secret is in
it: see `wire.spoken`.
"""

from __future__ import annotations

import datetime
from collections.abc import Callable

from phonesim.errors import DecodeError
from phonesim.wire.dns import DNS_PORT
from phonesim.wire.frame import decode_udp_frame
from phonesim.wire.lldp import decode_lldp_frame
from phonesim.wire.ntp import NTP_PORT
from phonesim.wire.pcapng import OUTBOUND, TransportAddress
from phonesim.wire.spoken import Spoken, speak_dhcp, speak_dns, speak_http, speak_sip, speak_tls

_HEADING = "Messages of a run, in order, without secrets. Times count from the first message.\n"
_DHCP_PORTS = frozenset({67, 68})


class Transcript:
    """Implements `phonesim.capture.PacketWriter`; `write` takes UTF-8 text, whole entries."""

    def __init__(self, write: Callable[[bytes], None]) -> None:
        self._write = write
        self._count = 0
        self._began_at = 0
        write(_HEADING.encode())

    def interface(self, name: str, link_type: int) -> None:
        """Say nothing: messages are told apart by their phone."""

    def statistics(self, interface: int, time_ns: int, received: int, dropped: int) -> None:
        """Say how many frames are missing, if any are."""
        if dropped:
            self._write(f"\n{dropped} of {received} frames are missing here.\n".encode())

    def frame(
        self, interface: int, time_ns: int, octets: bytes, direction: int, phone_id: str
    ) -> None:
        """Write what a frame carries, if it is a message of a phone."""
        if not phone_id:
            return
        try:
            unit = decode_lldp_frame(octets)
            datagram = decode_udp_frame(octets, verify_udp_checksum=False)
        except DecodeError as error:
            self._entry(time_ns, phone_id, "", Spoken(f"a frame that cannot be read: {error}"))
            return
        if unit is not None:
            where = "to the switch" if direction == OUTBOUND else "from the switch"
            self._entry(time_ns, phone_id, where, Spoken("LLDP advertisement"))
        if datagram is None:
            return
        spoken = _datagram(datagram.source_port, datagram.destination_port, datagram.payload)
        if spoken is not None:
            source = datagram.source, datagram.source_port
            destination = datagram.destination, datagram.destination_port
            self._entry(time_ns, phone_id, _ends(source, destination), spoken)

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
        """Write a message."""
        match protocol:
            case "http":
                spoken = speak_http(octets)
            case "sip":
                spoken = speak_sip(octets)
            case "tls":
                spoken = speak_tls(octets)
            case _:
                spoken = speak_dns(octets[2:])  # over TCP its size goes first
        self._entry(time_ns, phone_id, _ends(source, destination), spoken)

    def _entry(self, time_ns: int, phone_id: str, where: str, spoken: Spoken) -> None:
        self._count += 1
        if self._count == 1:
            self._began_at = time_ns
            began = datetime.datetime.fromtimestamp(time_ns // 1_000_000_000, datetime.UTC)
            self._write(f"The first message was at {began:%Y-%m-%d %H:%M:%S} UTC.\n".encode())
        seconds = (time_ns - self._began_at) / 1e9
        lines = [f"{self._count:4}  {seconds:9.3f} s  {phone_id}  {where}", f"      {spoken.title}"]
        lines += [f"          {line}".rstrip() for line in spoken.lines]
        self._write(("\n" + "\n".join(lines) + "\n").encode("utf-8", "replace"))


def _datagram(source_port: int, destination_port: int, payload: bytes) -> Spoken | None:
    ports = {source_port, destination_port}
    if ports & _DHCP_PORTS:
        return speak_dhcp(payload)
    if DNS_PORT in ports:
        return speak_dns(payload)
    if NTP_PORT in ports:
        return Spoken("NTP query" if destination_port == NTP_PORT else "NTP answer")
    return None


def _ends(source: TransportAddress, destination: TransportAddress) -> str:
    return f"{source[0]}:{source[1]} -> {destination[0]}:{destination[1]}"
