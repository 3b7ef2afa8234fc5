"""A capture in memory, and what is in it, as scapy's reader finds it."""

from __future__ import annotations

import io
import struct
from typing import Any, NamedTuple

from scapy.layers.l2 import Ether
from scapy.utils import RawPcapNgReader

from phonesim.capture import Capture
from phonesim.pcapng_writer import PcapngWriter
from phonesim.wire.pcapng import UPPER_PDU

PHONE_ID, MAC = "00-04-F2-00-00-01", bytes.fromhex("0004f2000001")


class Message(NamedTuple):
    """A message that a stream carried; `ends` are its source and its destination."""

    protocol: str
    direction: int
    ends: tuple[tuple[str, int], tuple[str, int]]
    octets: bytes


class Captured:
    """A capture of one phone, `tap` being its tap."""

    def __init__(self, *, makes_frames: bool = True) -> None:
        self.blocks: list[bytes] = []
        self.now = 5
        self.capture = Capture(
            [PcapngWriter(self.blocks.append)], lambda: self.now, makes_frames=makes_frames
        )
        self.tap = self.capture.tap(PHONE_ID, MAC)

    def packets(self) -> list[tuple[bytes, Any]]:
        return read_packets(b"".join(self.blocks))

    def packet(self) -> tuple[bytes, Any]:
        [packet] = self.packets()
        return packet

    def frames(self) -> list[Ether]:
        return [Ether(octets) for octets, seen in self.packets() if seen.linktype != UPPER_PDU]

    def messages(self) -> list[Message]:
        return read_messages(self.packets())


def read_packets(file: bytes) -> list[tuple[bytes, Any]]:
    """Octets and metadata of every packet."""
    return list(RawPcapNgReader(io.BytesIO(file)))


def read_messages(packets: list[tuple[bytes, Any]]) -> list[Message]:
    return [
        _message(octets, seen.direction) for octets, seen in packets if seen.linktype == UPPER_PDU
    ]


def _message(octets: bytes, direction: int) -> Message:
    tags: dict[int, bytes] = {}
    at = 0
    while True:
        tag, size = struct.unpack_from("!HH", octets, at)
        at += 4
        if not tag:
            break
        tags[tag] = octets[at : at + size]
        at += size
    addresses = [".".join(map(str, tags[tag])) for tag in (20, 21)]
    ports = [int.from_bytes(tags[tag], "big") for tag in (25, 26)]
    return Message(
        protocol=tags[12].rstrip(b"\0").decode(),
        direction=direction,
        ends=((addresses[0], ports[0]), (addresses[1], ports[1])),
        octets=octets[at:],
    )
