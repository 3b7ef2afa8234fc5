"""The states of the DHCP client: those of RFC 2131 figure 5, each with the data that it needs.

A state knows its next deadline. What follows from one, and from messages, is `dhcp_client`.

Specifications: RFC 2131 section 4.4, figure 5.
"""

from __future__ import annotations

from typing import ClassVar

import msgspec

from phonesim.device.events import Lease


class Transmission(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """A request in flight: since when, how often sent and with what secs, when to repeat it."""

    xid: int
    started_at: float
    attempt: int
    retransmit_at: float
    secs: int = 0


class _State(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """`name` is that of RFC 2131 figure 5; `sent` is what waits for an answer."""

    name: ClassVar[str]
    sent: Transmission | None = None

    def deadline(self) -> tuple[float, str] | None:
        """When a timer is due, and which."""
        return None


class Stopped(_State, frozen=True):
    """Before power, after shutdown, and between two VLANs."""

    name = "STOPPED"


class Init(_State, frozen=True, kw_only=True):
    """A DISCOVER is due: at once, after a DECLINE, or in the background on AutoIP."""

    name = "INIT"
    discover_at: float

    def deadline(self) -> tuple[float, str]:
        """When to send it."""
        return self.discover_at, "discover"


class Selecting(_State, frozen=True, kw_only=True):
    """DISCOVER sent."""

    name = "SELECTING"
    sent: Transmission

    def deadline(self) -> tuple[float, str]:
        """When to repeat it."""
        return self.sent.retransmit_at, "retransmit DISCOVER"


class Requesting(_State, frozen=True, kw_only=True):
    """REQUEST for an offered address sent; with a `lease`, its address is being probed."""

    name = "REQUESTING"
    sent: Transmission
    address: str
    server: str
    lease: Lease | None = None

    def deadline(self) -> tuple[float, str] | None:
        """When to repeat it."""
        return None if self.lease else (self.sent.retransmit_at, "retransmit REQUEST")


class InitReboot(_State, frozen=True, kw_only=True):
    """An address is cached from before the reboot."""

    name = "INIT-REBOOT"
    address: str


class Rebooting(_State, frozen=True, kw_only=True):
    """REQUEST for the cached address sent; with a `lease`, its address is being probed.

    `cached` is what is left of the old lease, if that may be used.
    """

    name = "REBOOTING"
    sent: Transmission
    address: str
    cached: Lease | None = None
    lease: Lease | None = None

    def deadline(self) -> tuple[float, str] | None:
        """When to repeat it."""
        return None if self.lease else (self.sent.retransmit_at, "retransmit REQUEST")


class Bound(_State, frozen=True, kw_only=True):
    """The address may be used until T1."""

    name = "BOUND"
    lease: Lease

    def deadline(self) -> tuple[float, str]:
        """T1."""
        return self.lease.t1_at, "T1"


class Renewing(_State, frozen=True, kw_only=True):
    """T1 has passed: the lease's own server is asked."""

    name = "RENEWING"
    lease: Lease
    sent: Transmission

    def deadline(self) -> tuple[float, str]:
        """When to repeat the REQUEST, or T2."""
        return min((self.sent.retransmit_at, "retransmit REQUEST"), (self.lease.t2_at, "T2"))


class Rebinding(_State, frozen=True, kw_only=True):
    """T2 has passed: any server is asked."""

    name = "REBINDING"
    lease: Lease
    sent: Transmission

    def deadline(self) -> tuple[float, str]:
        """When to repeat the REQUEST, or the end of the lease."""
        return min(
            (self.sent.retransmit_at, "retransmit REQUEST"), (self.lease.expires_at, "expiry")
        )


State = (
    Stopped | Init | Selecting | Requesting | InitReboot | Rebooting | Bound | Renewing | Rebinding
)
