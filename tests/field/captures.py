"""Small captures for tests: frames of a phone and its servers, and what is read from them."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Sequence
from pathlib import Path

from phonesim.field.captures.capture_reader import CaptureReader
from phonesim.field.sightings import Sighting
from phonesim.wire.dhcp import BOOTREPLY, DhcpMessage, MessageType, encode_addresses, encode_dhcp
from phonesim.wire.frame import UdpFrame, encode_udp_frame
from phonesim.wire.pcapng import (
    ETHERNET,
    encode_interface,
    encode_packet,
    encode_section_header,
)
from phonesim.wire.tcp_frame import TcpFrame, encode_tcp_frame

MAC, SERVER_MAC = bytes.fromhex("0004f2000001"), bytes.fromhex("020000000001")
PHONE_ID = "00-04-F2-00-00-01"
PHONE, SERVER, EVERYBODY = "10.0.0.7", "10.0.0.1", "255.255.255.255"
BEGAN = 1_764_072_000.0

Timed = tuple[float, bytes]
"""Seconds since `BEGAN`, and a frame."""


def capture_of(frames: Iterable[Timed | bytes], link_type: int = ETHERNET) -> bytes:
    """A pcapng; a frame without a time comes a hundredth of a second after the one before."""
    blocks = [encode_section_header("test"), encode_interface("eth0", link_type)]
    now = 0.0
    for frame in frames:
        now, octets = frame if isinstance(frame, tuple) else (now + 0.01, frame)
        blocks.append(encode_packet(0, round((BEGAN + now) * 1e9), octets, b""))
    return b"".join(blocks)


def read(folder: Path, file: bytes) -> tuple[list[Sighting], CaptureReader]:
    """The sightings of a capture's octets."""
    path = folder / "site.pcapng"
    path.write_bytes(file)
    reader = CaptureReader(path)
    return list(reader), reader


def sightings(folder: Path, *frames: Timed | bytes, link_type: int = ETHERNET) -> list[Sighting]:
    """The sightings of frames, without those that a boot begins and a capture ends with, and
    without what is told of an OFFER beside what a log has.
    """
    found, _ = read(folder, capture_of(frames, link_type))
    others = ("boot_begun", "capture_ended", "offer_shown")
    return [each for each in found if each.name not in others]


def names(found: Sequence[Sighting]) -> list[str]:
    return [sighting.name for sighting in found]


def values(found: Sequence[Sighting], name: str) -> list[tuple[str | int | float, ...]]:
    """The values of all sightings of that name."""
    return [tuple(sighting.values.values()) for sighting in found if sighting.name == name]


def udp(
    source: tuple[str, int],
    destination: tuple[str, int],
    payload: bytes,
    macs: tuple[bytes, bytes] | None = None,
    vlan_id: int | None = None,
) -> bytes:
    if macs is None:
        macs = (SERVER_MAC, MAC) if source[0] == SERVER else (MAC, SERVER_MAC)
    return encode_udp_frame(
        UdpFrame(
            source_mac=macs[0],
            destination_mac=macs[1],
            source=source[0],
            destination=destination[0],
            source_port=source[1],
            destination_port=destination[1],
            payload=payload,
            vlan_id=vlan_id,
        )
    )


def request(
    kind: MessageType,
    *,
    xid: int = 7,
    vendor_class: bytes = b"CPE-OCPHONE",
    asked: Iterable[int] = (1, 3, 6, 43),
    ciaddr: str = "0.0.0.0",
    giaddr: str = "0.0.0.0",
    mac: bytes = MAC,
    options: dict[int, bytes] | None = None,
    source: str | None = None,
    destination: str = EVERYBODY,
    vlan_id: int | None = None,
) -> bytes:
    """A frame with a message of a DHCP client."""
    message = DhcpMessage(
        message_type=kind,
        xid=xid,
        chaddr=mac,
        ciaddr=ciaddr,
        giaddr=giaddr,
        options={60: vendor_class, 55: bytes(asked), **(options or {})},
    )
    port = 68 if giaddr == "0.0.0.0" else 67
    ends = ((source or ciaddr, port), (destination, 67))
    return udp(*ends, encode_dhcp(message), (mac, SERVER_MAC), vlan_id)


def reply(
    kind: MessageType,
    *,
    xid: int = 7,
    yiaddr: str = "0.0.0.0",
    ciaddr: str = "0.0.0.0",
    giaddr: str = "0.0.0.0",
    mac: bytes = MAC,
    options: dict[int, bytes] | None = None,
    server: str = SERVER,
    destination: str = EVERYBODY,
    port: int = 68,
) -> bytes:
    """A frame with a message of a DHCP server."""
    message = DhcpMessage(
        message_type=kind,
        op=BOOTREPLY,
        xid=xid,
        chaddr=mac,
        yiaddr=yiaddr,
        ciaddr=ciaddr,
        giaddr=giaddr,
        options={54: encode_addresses((server,)), **(options or {})},
    )
    return udp((server, 67), (destination, port), encode_dhcp(message), (SERVER_MAC, mac))


LEASE = {51: (86400).to_bytes(4, "big"), 1: b"\xff\xff\xff\0", 6: encode_addresses((SERVER,))}


def lease(xid: int = 7, mac: bytes = MAC, address: str = PHONE) -> list[bytes]:
    """The four messages with which a phone gets its address."""
    chosen = {50: encode_addresses((address,)), 54: encode_addresses((SERVER,))}
    return [
        request(MessageType.DISCOVER, xid=xid, mac=mac),
        reply(MessageType.OFFER, xid=xid, mac=mac, yiaddr=address, options=LEASE),
        request(MessageType.REQUEST, xid=xid, mac=mac, options=chosen),
        reply(MessageType.ACK, xid=xid, mac=mac, yiaddr=address, options=LEASE),
    ]


class TcpTalk:
    """The segments of one connection of the phone, sequence numbers kept."""

    _ports = itertools.count(50000)

    def __init__(self, port: int, server: str = SERVER, client: str = PHONE) -> None:
        self.client = (client, next(self._ports))
        self.server = (server, port)
        self._next = {True: 100, False: 2_000_000_000}

    def segment(self, flags: int, octets: bytes = b"", *, sent: bool = True) -> bytes:
        source, destination = (self.client, self.server) if sent else (self.server, self.client)
        macs = (MAC, SERVER_MAC) if sent else (SERVER_MAC, MAC)
        frame = bytearray(
            encode_tcp_frame(
                TcpFrame(
                    source_mac=macs[0],
                    destination_mac=macs[1],
                    source=source[0],
                    destination=destination[0],
                    source_port=source[1],
                    destination_port=destination[1],
                    flags=flags,
                    sequence=self._next[sent],
                    acknowledgement=self._next[not sent] if flags & 0x10 else 0,
                )
            )
        )
        self._next[sent] += len(octets) + bool(flags & 0x03)
        frame[16:18] = (40 + len(octets)).to_bytes(2, "big")
        return bytes(frame) + octets

    def open(self) -> list[bytes]:
        return [
            self.segment(0x02),
            self.segment(0x12, sent=False),
            self.segment(0x10),
        ]

    def say(self, octets: bytes, *, sent: bool = True, size: int = 1000) -> list[bytes]:
        """A message in as many segments as it takes."""
        parts = [octets[at : at + size] for at in range(0, len(octets), size)]
        return [self.segment(0x18, part, sent=sent) for part in parts]
