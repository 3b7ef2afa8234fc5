"""What narrators of a capture share: where a packet stands, and the names of its hosts."""

from __future__ import annotations

import msgspec

from phonesim.device.device_log import LogRecord
from phonesim.wire.sip import SIP_PORT, SIPS_PORT


class Seen(msgspec.Struct, frozen=True, gc=False):
    """A packet: its number in the capture, its time (Unix seconds), its content in words."""

    number: int
    at: float
    text: str


class Told(msgspec.Struct, frozen=True, gc=False):
    """A record, and the packet that shows it."""

    record: LogRecord
    seen: Seen


def shown(name: str, *values: str | int | float) -> LogRecord:
    """A record of `sightings.ONLY_CAPTURED`, its values in the order of the fields there."""
    return LogRecord(name, values)


class KnownHosts:
    """What names the addresses have of which a phone was told, by DNS or by DHCP."""

    MOST = 512

    def __init__(self) -> None:
        self._names: dict[str, str] = {}
        self._registrars: set[tuple[str, int]] = set()

    def learn(self, address: str, name: str) -> None:
        """DNS gave that address for a name that the phone asked for."""
        if len(self._names) >= self.MOST:
            self._names.clear()
        self._names[address] = name.rstrip(".").lower()

    def name(self, address: str) -> str:
        """The name of an address, or the address."""
        return self._names.get(address, address)

    def learn_registrar(self, name: str, port: int) -> None:
        """An SRV record for SIP points to that name and port."""
        if len(self._registrars) >= self.MOST:
            self._registrars.clear()
        self._registrars.add((name.rstrip(".").lower(), port))

    def is_registrar(self, address: str, port: int) -> bool:
        """Whether a connection there is one to a Registrar."""
        return port in (SIP_PORT, SIPS_PORT) or (self.name(address), port) in self._registrars
