"""Messages of phonesim's own captures, as tests of what is told of them need them."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from captures import BEGAN, PHONE, PHONE_ID, SERVER, names

from phonesim.field.captures.capture_reader import CaptureReader
from phonesim.field.sightings import Sighting
from phonesim.wire.pcapng import (
    INBOUND,
    OUTBOUND,
    UPPER_PDU,
    TransportAddress,
    encode_interface,
    encode_packet,
    encode_packet_options,
    encode_section_header,
    encode_statistics,
    encode_upper_pdu,
)

Message = tuple[float, bool, bytes]
"""Seconds, whether the phone sent it, and its octets."""


def exchanged(
    folder: Path,
    protocol: str,
    port: int,
    messages: Iterable[Message],
    ends_after: float = 0.0,
) -> list[Sighting]:
    """What is told of messages over one connection, and of the capture's end after the last."""
    client: TransportAddress = (PHONE, 50000)
    server: TransportAddress = (SERVER, port)
    blocks = [encode_section_header("test"), encode_interface("messages", UPPER_PDU)]
    now = BEGAN
    for seconds, is_sent, octets in messages:
        now = BEGAN + seconds
        ends = (client, server) if is_sent else (server, client)
        pdu = encode_upper_pdu(protocol, *ends, octets)
        options = encode_packet_options(PHONE_ID, OUTBOUND if is_sent else INBOUND)
        blocks.append(encode_packet(0, round(now * 1e9), pdu, options))
    blocks.append(encode_statistics(0, round((now + ends_after) * 1e9), 1, 0))
    path = folder / "messages.pcapng"
    path.write_bytes(b"".join(blocks))
    reader = CaptureReader(path)
    found = [each for each in reader if each.name not in ("boot_begun", "capture_ended")]
    assert reader.notes == [], names(found)
    return found
