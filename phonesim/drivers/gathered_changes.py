"""What the kernel should know of each address, kept true by batches of changes in a thread.

Somebody says what is wanted, and goes on; a moment later all that has changed meanwhile is
applied in one call, while the event loop serves the phones. One call at a time runs, and what
is wanted and what is applied are compared for each, so that an address which changes hands
within one needs no special care.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import Executor
from typing import Generic, TypeVar

V = TypeVar("V")


class GatheredChanges(Generic[V]):
    """What is wanted of each address: a value, or nothing.

    `apply` is called in `thread` with what is to go and what is to come, by address; a
    value that is replaced is in both. Changes are gathered for `seconds`. `failure` is
    done, with what `apply` raised, if it cannot go on.
    """

    def __init__(
        self,
        apply: Callable[[dict[str, V], dict[str, V]], object],
        thread: Executor,
        seconds: float,
    ) -> None:
        self._apply = apply
        self._thread = thread
        self._seconds = seconds
        self._loop = asyncio.get_running_loop()
        self._wanted: dict[str, V] = {}
        self._applied: dict[str, V] = {}
        self._changed: set[str] = set()
        self._waiting: dict[str, list[Callable[[], None]]] = {}
        self._gathering: asyncio.TimerHandle | None = None
        self._applying: dict[str, V | None] = {}
        self._is_closed = False
        self.failure: asyncio.Future[None] = self._loop.create_future()

    def want(self, address: str, value: V | None) -> None:
        """Say what is wanted; who waits for what was wanted before waits in vain."""
        self._waiting.pop(address, None)
        if self._wanted.get(address) == value:
            return
        if value is None:
            del self._wanted[address]
        else:
            self._wanted[address] = value
        self._changed.add(address)
        self._gather()

    def when_done(self, address: str, ready: Callable[[], None]) -> None:
        """Call `ready` as soon as what is wanted of the address is so."""
        is_so = self._applied.get(address) == self._wanted.get(address)
        if is_so and address not in self._applying:
            ready()
        else:
            self._waiting.setdefault(address, []).append(ready)

    def close(self) -> None:
        """Begin nothing more; a call that runs goes on to its end."""
        self._is_closed = True
        if self._gathering is not None:
            self._gathering.cancel()
        if not self.failure.cancel() and not self.failure.cancelled():
            self.failure.exception()  # is not lost: taking everything back will fail as well

    def _gather(self) -> None:
        if self._gathering is None and not self._applying and not self._is_closed:
            self._gathering = self._loop.call_later(self._seconds, self._begin)

    def _begin(self) -> None:
        self._gathering = None
        now = {address: self._wanted.get(address) for address in self._changed}
        self._changed.clear()
        gone: dict[str, V] = {}
        come: dict[str, V] = {}
        for address, value in now.items():
            old = self._applied.get(address)
            if old != value:
                if old is not None:
                    gone[address] = old
                if value is not None:
                    come[address] = value
        if not gone and not come:
            self._are_applied(now)
            return
        self._applying = now
        running = self._loop.run_in_executor(self._thread, self._apply, gone, come)
        running.add_done_callback(self._ended)

    def _ended(self, ended: asyncio.Future[object]) -> None:
        now, self._applying = self._applying, {}
        error = ended.exception()
        if self._is_closed:
            return
        if error is None:
            self._are_applied(now)
            if self._changed:
                self._gather()
        elif not self.failure.done():
            self.failure.set_exception(error)

    def _are_applied(self, now: dict[str, V | None]) -> None:
        for address, value in now.items():
            if value is None:
                self._applied.pop(address, None)
            else:
                self._applied[address] = value
        for address, value in now.items():
            if value == self._wanted.get(address):
                for ready in self._waiting.pop(address, ()):
                    ready()
