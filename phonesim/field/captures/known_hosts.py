"""The names of servers that a phone in a capture was told of."""

from __future__ import annotations

from phonesim.config.device_profile import DiscoveryConfig
from phonesim.wire.sip import SIP_PORT, SIPS_PORT


class KnownHosts:
    """What names the addresses have of which DNS told a phone."""

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
        name = self.name(address)
        return (
            port in (SIP_PORT, SIPS_PORT)
            or (name, port) in self._registrars
            or (name.partition(".")[0], port) in _FALLBACKS
        )


_FALLBACKS = {
    (name.qname.partition(".")[0], name.port) for name in DiscoveryConfig().fallback_names
}
