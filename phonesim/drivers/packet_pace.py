"""At most so many datagrams a second from a whole fleet: they wait, none is dropped.

A token bucket holds what a twentieth of a second may send, and never less than one
datagram. Who finds it empty waits in turn. A phone that is about to lose its address
cannot wait: what it still has to send goes at once, and those after it wait the longer.
A phone without power sends nothing any more.

The phones know nothing of it. Their timers run while their datagrams wait, so a limit far
below what the phones want to send makes them repeat themselves.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Hashable

_DEPTH_SECONDS = 0.05
_ALMOST_ONE = 1 - 1e-9

Send = Callable[[], None]


class PacketPace:
    """Says when a datagram may go; a `sender` is whoever has the address it goes from.

    `limit` is in datagrams a second, of which `copies` leave this host for each that a phone
    sends; `per_second` is what phones may send. `longest_wait` is in seconds.
    """

    def __init__(
        self, limit: float, loop: asyncio.AbstractEventLoop | None = None, copies: int = 1
    ) -> None:
        self.per_second = per_second = limit / copies
        self.longest_wait = 0.0
        self._limit = limit
        self._loop = loop or asyncio.get_running_loop()
        self._depth = max(1.0, per_second * _DEPTH_SECONDS)
        self._tokens = self._depth
        self._filled_at = self._loop.time()
        self._turns: deque[Hashable] = deque()
        self._waiting: dict[Hashable, deque[tuple[float, Send]]] = {}
        self._timer: asyncio.TimerHandle | None = None

    def send(self, sender: Hashable, send: Send) -> None:
        """Call `send`, now or when its turn comes."""
        self._fill()
        if not self._turns and self._tokens >= _ALMOST_ONE:
            self._tokens -= 1
            send()
            return
        self._waiting.setdefault(sender, deque()).append((self._loop.time(), send))
        self._turns.append(sender)
        self._arm()

    def send_waiting(self, sender: Hashable) -> None:
        """Send at once what waits for its turn: the sender's address is about to go."""
        for since, send in self._waiting.pop(sender, ()):
            self._perform(since, send)

    def forget(self, sender: Hashable) -> None:
        """Send nothing that waits: the sender has lost its power."""
        self._waiting.pop(sender, None)

    def notes(self) -> tuple[str, ...]:
        """What to say of the limit beside the results."""
        if not self.longest_wait:
            return ()
        return (
            f"datagrams waited up to {self.longest_wait:.1f} s for limits.packets_per_second"
            f" ({self._limit:g}): durations include that",
        )

    def _fill(self) -> None:
        now = self._loop.time()
        earned = (now - self._filled_at) * self.per_second
        self._tokens = min(self._depth, self._tokens + earned)
        self._filled_at = now

    def _arm(self) -> None:
        if self._timer is None:
            delay = (1 - self._tokens) / self.per_second
            self._timer = self._loop.call_later(max(0.0, delay), self._take_turns)

    def _take_turns(self) -> None:
        self._timer = None
        self._fill()
        while self._turns and self._tokens >= _ALMOST_ONE:
            sender = self._turns.popleft()
            queue = self._waiting.get(sender)
            if queue is None:  # it could not wait, or has no power any more
                continue
            since, send = queue.popleft()
            if not queue:
                del self._waiting[sender]
            self._perform(since, send)
        if self._turns:
            self._arm()

    def _perform(self, since: float, send: Send) -> None:
        self._tokens -= 1
        self.longest_wait = max(self.longest_wait, self._loop.time() - since)
        send()
