"""Which Registrar is tried next, and when.

Attempts come in rounds. The first round goes through the Registrars that discovery or the cache
named, until one accepts. What in-band provisioning or a redirect names takes their place: the
primary Registrar and its backup.

When a registration is lost a pause comes before every round. It grows, and part of it is random:
thousands of phones that lost the same Registrar must not come back as one. The rounds try the
first Registrar alone until it has been missed for the profile's fail-over delay (also with a
random part), and the others behind it from then on. A phone that came to the backup in that way
goes back by `return_to`.

Specifications: device reference sections 1 (rule 5) and 13, sign-in reference sections 18 and 19.
The delays, the random part and the limit of redirects are in no document.
"""

from __future__ import annotations

import random
from collections.abc import Sequence

from phonesim.config.device_profile import RegistrationConfig
from phonesim.device.events import RegistrarAddress


class RegistrarOrder:
    """Begun with `begin`; `current` is the Registrar to try, or the one that accepted."""

    __slots__ = (
        "_config",
        "_failover_at",
        "_fails_over",
        "_queue",
        "_redirected",
        "_redirects",
        "_rng",
        "_rounds",
        "_targets",
        "current",
        "primary",
    )

    def __init__(self, config: RegistrationConfig, rng: random.Random) -> None:
        self._config = config
        self._rng = rng
        self._targets: tuple[RegistrarAddress, ...] = ()
        self._queue: list[RegistrarAddress] = []
        self._redirected: tuple[RegistrarAddress, ...] = ()
        self._redirects = 0
        self._rounds = 0
        self._failover_at: float | None = None
        self._fails_over = True
        self.current: RegistrarAddress
        self.primary: RegistrarAddress | None = None

    def begin(self, registrars: Sequence[RegistrarAddress]) -> None:
        """Start anew with the first of `registrars`; all of them may be tried at once."""
        self._targets = tuple(registrars)
        self._failover_at = float("-inf")
        self.primary = None
        self._rounds = 0
        self.begin_round(0.0)

    def begin_round(self, now: float) -> None:
        """Go back to the first Registrar."""
        self._fails_over = self._failover_at is None or now >= self._failover_at
        self.current, *self._queue = self._targets if self._fails_over else self._targets[:1]
        self._redirected = ()
        self._redirects = 0

    def next(self) -> bool:
        """Go to the next Registrar of this round; False if it was the last."""
        if not self._queue:
            return False
        self.current = self._queue.pop(0)
        return True

    def redirect(self, targets: Sequence[RegistrarAddress]) -> bool:
        """Go to the first of `targets` next; False if this has happened too often."""
        self._redirects += 1
        if self._redirects > self._config.maximum_redirects:
            return False
        self._redirected = tuple(targets)
        self.current, *others = targets
        self._queue = [*others, *self._queue]
        return True

    def accepted(self) -> None:
        """Keep `current`: it accepted the registration."""
        if self._redirected:
            self.provide(self._redirected)
        self._redirected = ()
        self._redirects = self._rounds = 0
        self._queue = []
        if same_place(self.current, self._targets[0]):
            self._failover_at = None

    def provide(self, registrars: Sequence[RegistrarAddress]) -> None:
        """Take the primary Registrar and its backup in place of what was known."""
        self._targets = tuple(registrars)
        self.primary = self._targets[0]
        if same_place(self.current, self.primary):
            self._failover_at = None
        elif self._failover_at is None:
            self._failover_at = float("-inf")

    @property
    def is_elsewhere(self) -> bool:
        """Whether `current` is known not to be the primary Registrar."""
        return self.primary is not None and not same_place(self.current, self.primary)

    def return_to(self, registrar: RegistrarAddress) -> None:
        """Go to that Registrar, and back to the present one if it refuses."""
        self._queue = [self.current]
        self._redirected = ()
        self._redirects = 0
        self.current = registrar

    def soon(self, now: float) -> float:
        """When to begin a round that the site asked for: spread over the shortest pause."""
        return now + self._config.reconnect_delays[0] * self._rng.uniform(0, 1)

    def pause_until(self, now: float, retry_after: float = 0.0) -> float:
        """When the next round begins after this one came to nothing, or a binding was lost."""
        config = self._config
        if self._failover_at is None:
            self._failover_at = now + self._spread(config.failover_delay)
        delays = config.reconnect_delays
        delay = delays[min(self._rounds, len(delays) - 1)]
        self._rounds += 1
        if retry_after > delay:
            return now + self._spread(retry_after)
        at = now + self._spread(delay)
        if len(self._targets) > 1 and (now < self._failover_at or not self._fails_over):
            return min(at, max(now, self._failover_at))
        return at

    def _spread(self, delay: float) -> float:
        return delay * self._rng.uniform(1, 1 + self._config.reconnect_jitter)


def same_place(one: RegistrarAddress, other: RegistrarAddress) -> bool:
    """Whether two addresses are of the same Registrar, whoever named them."""
    return (one.host, one.port, one.transport) == (other.host, other.port, other.transport)
