"""The phones on a link: whose a DHCP message is, and who uses which address.

A message is that of the phone whose MAC is in `chaddr`. An address is that of the phone that took
it last, until that phone gives it up or loses its power.
"""

from __future__ import annotations

from phonesim.drivers.phone_host import PhoneHost

_SQUATTER = "02-00-00-00-00-01"
_CHADDR = slice(28, 34)


class LinkPhones:
    """The powered phones of one link; `squatters` are addresses that other hosts use."""

    def __init__(self, squatters: frozenset[str]) -> None:
        self._squatters = squatters
        self._by_mac: dict[bytes, PhoneHost] = {}
        self._by_address: dict[str, PhoneHost] = {}
        self._addresses: dict[PhoneHost, set[str]] = {}

    def attach(self, phone: PhoneHost) -> None:
        """Take a phone that has power."""
        self._by_mac[phone.spec.mac] = phone

    def detach(self, phone: PhoneHost) -> list[str]:
        """Let a phone go that has lost power; the addresses that are nobody's from now on."""
        self._by_mac.pop(phone.spec.mac, None)
        addresses = self._addresses.pop(phone, ())
        return [address for address in addresses if self._free(phone, address)]

    def with_mac(self, mac: bytes) -> PhoneHost | None:
        """The phone that has this MAC."""
        return self._by_mac.get(mac)

    def addressed_by(self, message: bytes) -> PhoneHost | None:
        """The phone that an encoded DHCP message, perhaps a malformed one, is about."""
        return self._by_mac.get(message[_CHADDR])

    def user_of(self, address: str) -> PhoneHost | None:
        """The phone that uses an address."""
        return self._by_address.get(address)

    def conflict(self, phone: PhoneHost, address: str) -> str | None:
        """The MAC of whoever else is known to use an address."""
        if address in self._squatters:
            return _SQUATTER
        user = self._by_address.get(address)
        return None if user is None or user is phone else user.spec.phone_id

    def take_address(self, phone: PhoneHost, address: str) -> None:
        """Let a phone use an address."""
        self._by_address[address] = phone
        self._addresses.setdefault(phone, set()).add(address)

    def give_up_address(self, phone: PhoneHost, address: str) -> bool:
        """Let a phone use it no more; whether it is nobody's from now on."""
        self._addresses.get(phone, set()).discard(address)
        return self._free(phone, address)

    def _free(self, phone: PhoneHost, address: str) -> bool:
        if self._by_address.get(address) is not phone:
            return False
        del self._by_address[address]
        return True
