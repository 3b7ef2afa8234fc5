"""Captures as input: the packets of a file, read as the logs that the phones in it would write.

    file -> wire.pcap -> captured_packets -> narrators of each phone -> Sightings

What phones say through TLS cannot be read, but for what phonesim's own captures hold in the
clear. A file is read piece by piece, and everything that is kept of it is bounded.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from phonesim.device.device_log import KINDS
from phonesim.errors import DecodeError, UsageError
from phonesim.field.captures.captured_packets import PacketNarrator
from phonesim.field.captures.captured_phone import CapturedPhone
from phonesim.field.captures.captured_seen import Told
from phonesim.field.sightings import ONLY_CAPTURED, FieldValues, Place, Sighting
from phonesim.wire.pcap import CapturedPacket, PacketReader

PIECE = 1 << 20
"""Octets that are read at once."""
_MOST_SAME = 16384
_FIELDS = {name: tuple(kind.fields) for name, kind in KINDS.items()} | dict(ONLY_CAPTURED)


class CaptureReader:
    """The sightings of a capture, in order of its packets; iterate over it once.

    `file` is what places call it, its name without. After that, `notes` says in sentences what
    was not read and why, `packets` how many packets there were, `phones` how many phones.
    Iterating raises UsageError if the file cannot be read, DecodeError if it is no capture.
    """

    def __init__(self, path: Path, file: str | None = None) -> None:
        self.notes: list[str] = []
        self.packets = 0
        self.phones = 0
        self._path = path
        self._file = file or path.name
        self._same: dict[str, str] = {}  # phones of a site say and hear much the same

    def __iter__(self) -> Iterator[Sighting]:
        """Yield every sighting."""
        reader = PacketReader(pieces_of(self._path))
        narrator = PacketNarrator()
        packet: CapturedPacket | None = None
        try:
            for packet in reader:
                for phone, told in narrator.take(packet):
                    yield self._sighting(phone, told)
        except DecodeError as error:
            raise DecodeError(f"{self._path}: {error}") from None
        if packet is not None:
            self.packets = packet.number
            for phone, told in narrator.finish(packet.number, reader.ended_ns / 1e9):
                yield self._sighting(phone, told)
        self.phones = len(narrator.known.phones)
        notes = narrator.notes()
        if reader.problem:
            notes.insert(0, f"{reader.problem}: what is before was read")
        if not self.phones:
            notes.append(
                f"no packet of {self.packets} is a phone's: no DHCP of class MS-UC-Client or "
                "CPE-OCPHONE, no INFORM for options 43 and 120"
            )
        self.notes = [f"{self._file}: {note}" for note in notes]

    def _sighting(self, phone: CapturedPhone, told: Told) -> Sighting:
        record, seen = told.record, told.seen
        same = self._same
        if len(same) > _MOST_SAME:
            same.clear()
        values = tuple(
            [same.setdefault(each, each) if type(each) is str else each for each in record.values]
        )
        return Sighting(
            place=Place(self._file, seen.number, True),
            at=seen.at,
            phone_id=phone.phone_id,
            name=record.name,
            values=FieldValues(_FIELDS[record.name], values),
            text=seen.text,
        )


def is_capture(path: Path) -> bool:
    """Whether a file begins as a capture does."""
    try:
        with path.open("rb") as file:
            return PacketReader.is_begin(file.read(4))
    except OSError:
        return False


def pieces_of(path: Path) -> Iterator[bytes]:
    """Yield a file's octets; `UsageError` if it cannot be read."""
    try:
        with path.open("rb") as file:
            while piece := file.read(PIECE):
                yield piece
    except OSError as error:
        raise UsageError(f"{path}: {error.strerror or error}") from None
