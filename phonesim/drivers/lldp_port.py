"""LLDP on a real interface: what phones advertise there, and what the switch says to them.

To the switch, all phones of a run hang on one port. Each one's advertisement is repeated as
its phone asked, until it says something else, says good-bye, or loses power. What is heard is
for every phone that speaks LLDP; what this machine sends is not heard.

Specifications: IEEE 802.1AB section 9.1, packet(7) (PACKET_IGNORE_OUTGOING).
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from phonesim.device.actions import AdvertiseLldp
from phonesim.device.events import Event, LldpReceived, MalformedReceived
from phonesim.drivers.packet_socket import PacketSocket
from phonesim.drivers.phone_host import PhoneHost
from phonesim.drivers.raw_socket import of_type
from phonesim.errors import DecodeError
from phonesim.wire.dhcp import format_mac
from phonesim.wire.lldp import LLDP_TYPE, decode_lldp_frame, encode_lldp_frame

FAST_INTERVAL = 1.0
"""Seconds between the first advertisements (TIA-1057 section 11.2.1)."""


class LldpPort:
    """The interface of that name and index; `unsent` takes what sending was refused with.

    OSError if this process may not open it.
    """

    def __init__(self, name: str, index: int, unsent: Callable[[OSError], None]) -> None:
        self._unsent = unsent
        self._loop = asyncio.get_running_loop()
        self._said: dict[PhoneHost, _Advertisement] = {}
        self._socket = PacketSocket(
            name, index, of_type(LLDP_TYPE), self._arrived, ignores_outgoing=True
        )

    def close(self) -> None:
        """Say nothing more."""
        for phone in list(self._said):
            self.forget(phone)
        self._socket.close()

    def advertise(self, phone: PhoneHost, action: AdvertiseLldp) -> None:
        """Say it now, and again as the action wants it."""
        self.forget(phone)
        frame = encode_lldp_frame(action.unit, phone.spec.mac)
        said = _Advertisement(frame, action)
        if action.unit.ttl:
            self._said[phone] = said
        self._say(phone, said)

    def forget(self, phone: PhoneHost) -> None:
        """Repeat nothing of a phone any more."""
        said = self._said.pop(phone, None)
        if said is not None and said.timer is not None:
            said.timer.cancel()

    def _say(self, phone: PhoneHost, said: _Advertisement) -> None:
        error = self._socket.send(said.frame)
        if error is not None:
            self._unsent(error)
        said.count += 1
        if phone in self._said:
            delay = FAST_INTERVAL if said.count < said.fast_count else said.interval
            said.timer = self._loop.call_later(delay, self._say, phone, said)

    def _arrived(self, frame: bytes) -> None:
        event: Event
        try:
            unit = decode_lldp_frame(frame)
        except DecodeError as error:
            source = format_mac(frame[6:12])
            event = MalformedReceived(
                protocol="lldp", source=source, reason=str(error), size=len(frame)
            )
        else:
            if unit is None:
                return
            event = LldpReceived(unit=unit)
        for phone in list(self._said):
            phone.deliver(event)


class _Advertisement:
    __slots__ = ("count", "fast_count", "frame", "interval", "timer")

    def __init__(self, frame: bytes, action: AdvertiseLldp) -> None:
        self.frame = frame
        self.fast_count = action.fast_count
        self.interval = action.interval
        self.count = 0
        self.timer: asyncio.TimerHandle | None = None
