"""A TCP port of a mock server that can be closed and opened again while the site is served."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Callable

Connect = Callable[[], asyncio.BaseProtocol]
"""Makes the protocol of a new connection."""

_BACKLOG = 1024


class StreamPort:
    """The port `address`; `context` is that of TLS, if it is spoken.

    `failed` is called with the error for which the port could not be opened again.
    """

    def __init__(
        self,
        connect: Connect,
        address: tuple[str, int],
        context: ssl.SSLContext | None,
        failed: Callable[[Exception], None],
    ) -> None:
        self._connect = connect
        self._address = address
        self._context = context
        self._failed = failed
        self._listening: asyncio.Server | None = None
        self._opening: asyncio.Task[None] | None = None

    async def open(self) -> None:
        """Listen; OSError if the port is taken."""
        host, port = self._address
        self._listening = await asyncio.get_running_loop().create_server(
            self._connect, host, port, ssl=self._context, backlog=_BACKLOG
        )

    def open_again(self) -> None:
        """Listen as soon as may be."""
        self._opening = asyncio.ensure_future(self.open())
        self._opening.add_done_callback(self._opened)

    def close(self) -> None:
        """Listen no more; connections are left alone."""
        if self._opening is not None:
            self._opening.cancel()
            self._opening = None
        if self._listening is not None:
            self._listening.close()
            self._listening = None

    def _opened(self, task: asyncio.Task[None]) -> None:
        error = None if task.cancelled() else task.exception()
        if isinstance(error, Exception):
            self._failed(error)
