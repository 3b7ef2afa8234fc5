"""AutoIP: a link-local address for as long as there is no lease.

An address is chosen at random and probed; after a conflict another one is, up to the profile's
number. The one that is free is kept until the phone has a lease, or another host insists on it.

Specifications: RFC 3927 section 2 (how it is chosen and claimed), device reference section 5.
"""

from __future__ import annotations

import random

from phonesim.config.device_profile import DhcpClientConfig
from phonesim.device import device_log as log
from phonesim.device.actions import ConfigureAddress, PhoneAction, ProbeAddress, RemoveAddress
from phonesim.device.device_log import LogRecord
from phonesim.device.events import AddressClaimed, AddressProbed, LeaseFailed

Output = PhoneAction | LogRecord | LeaseFailed


class AutoIp:
    """Begun with `take`; `address` is the one that is in use, or is being probed."""

    __slots__ = ("_candidates", "_config", "_rng", "_why", "address")

    def __init__(self, config: DhcpClientConfig, rng: random.Random) -> None:
        self._config = config
        self._rng = rng
        self._candidates = 0
        self._why = ""
        self.address: str | None = None

    def take(self, why: str) -> list[Output]:
        """Take an address, or keep the one that there is; `why` says why there is no lease."""
        self._why = why
        if not self._config.auto_ip or self.address is not None:
            return [LeaseFailed(auto_ip=self.address, detail=why)]
        return self._begin()

    def probed(self, event: AddressProbed, retry: float) -> list[Output]:
        """Use `address` if it is free; `retry` is in how many seconds a server is looked for."""
        if event.conflict is not None:
            out: list[Output] = [log.ADDRESS_CONFLICT(event.address, event.conflict)]
            if self._candidates < self._config.auto_ip_candidates:
                return out + self._probe()
            self.address = None
            return [*out, LeaseFailed(auto_ip=None, detail=self._why)]
        return [
            log.AUTO_IP(event.address, retry),
            ConfigureAddress(address=event.address, subnet_mask="255.255.0.0"),
            LeaseFailed(auto_ip=event.address, detail=self._why),
        ]

    def change(self, event: AddressClaimed) -> list[Output]:
        """Give `address` up to another host, and look for another one."""
        return [
            log.ADDRESS_CONFLICT(event.address, event.mac),
            RemoveAddress(address=event.address),
            *self._begin(),
        ]

    def leave(self) -> list[Output]:
        """Use no such address any more."""
        if self.address is None:
            return []
        address, self.address = self.address, None
        return [RemoveAddress(address=address)]

    def _begin(self) -> list[Output]:
        self._candidates = 0
        return self._probe()

    def _probe(self) -> list[Output]:
        # RFC 3927 section 2.1: 169.254.1.0 to 169.254.254.255.
        host = self._rng.randrange(256, 65024)
        self.address = f"169.254.{host >> 8}.{host & 255}"
        self._candidates += 1
        return [ProbeAddress(address=self.address)]
