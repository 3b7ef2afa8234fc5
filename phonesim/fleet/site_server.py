"""A mock site served by itself, until it is told to stop."""

from __future__ import annotations

import asyncio
import os
import random
import signal
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import msgspec
import uvloop

from phonesim.config.fault import FaultProfile
from phonesim.config.site_profile import SiteProfile
from phonesim.drivers.authority import SiteAuthority
from phonesim.drivers.open_files import allow_most_open_files
from phonesim.drivers.site_host import SiteHost
from phonesim.errors import UsageError
from phonesim.fleet.tester_health import collecting_rarely
from phonesim.mocksite.site import Site, build_site
from phonesim.results import OperatorLog


class ServedPort(msgspec.Struct, frozen=True, kw_only=True):
    """Where a server listens; `port` is None if a fault keeps it closed."""

    server: str
    protocol: str
    address: str
    standard_port: int
    port: int | None


class ServedSite(msgspec.Struct, frozen=True, kw_only=True):
    """A site that is up."""

    name: str
    port_offset: int
    ports: tuple[ServedPort, ...]


def serve_site(
    profile: SiteProfile,
    faults: Sequence[FaultProfile],
    port_offset: int | None,
    on_ready: Callable[[ServedSite], None],
    operator_log: OperatorLog,
    authority_file: Path | None = None,
) -> None:
    """Serve until SIGINT or SIGTERM.

    `UsageError` if a port is taken or `authority_file` cannot be used, `ProfileError` if a fault
    finds nothing to act on.
    """
    authority = SiteAuthority() if authority_file is None else _authority_of(authority_file)
    site = build_site(profile, faults, authority, random.Random(profile.name), time.time())

    async def serve() -> None:
        loop = asyncio.get_running_loop()
        began = loop.time()
        observer = _OperatorOnly(operator_log)
        host = SiteHost(site, authority, observer, lambda: loop.time() - began)
        asked = asyncio.Event()
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(number, asked.set)
        await host.start(port_offset)
        try:
            on_ready(_served(site, host.port_offset))
            waiting = loop.create_task(asked.wait())
            ends: list[asyncio.Future[Any]] = [waiting, host.failure]
            await asyncio.wait(ends, return_when=asyncio.FIRST_COMPLETED)
            waiting.cancel()
            if host.failure.done():
                host.failure.result()
        finally:
            await host.stop()

    allow_most_open_files()
    with (
        collecting_rarely(),
        asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner,
    ):
        runner.run(serve())


def _authority_of(file: Path) -> SiteAuthority:
    """The authority that an earlier site left in `file`; if there is none, a new one goes there."""
    try:
        if file.is_file():
            return SiteAuthority.load(file.read_bytes())
        authority = SiteAuthority()
        with open(os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as new:
            try:
                new.write(authority.dump())
                new.flush()
            except OSError:
                file.unlink()  # half an authority would be refused the next time
                raise
    except OSError as error:
        raise UsageError(f"--authority {file}: cannot be used: {error.strerror}") from None
    return authority


def _served(site: Site, offset: int) -> ServedSite:
    return ServedSite(
        name=site.name,
        port_offset=offset,
        ports=tuple(
            ServedPort(
                server=listener.name,
                protocol=listener.protocol,
                address=listener.address,
                standard_port=listener.port,
                port=None if listener.refuses else listener.port + offset,
            )
            for listener in site.listeners
        ),
    )


class _OperatorOnly:
    """An observer of servers: there are no phones here."""

    def __init__(self, operator_log: OperatorLog) -> None:
        self._log = operator_log

    def report(
        self,
        server: str,
        text: str,
        fields: tuple[tuple[str, str], ...],
        is_warning: bool,
        now: float,
    ) -> None:
        self._log(now, is_warning, text, {"server": server, **dict(fields)})
