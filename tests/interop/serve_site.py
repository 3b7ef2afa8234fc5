"""Serves lab-site.yaml on its standard ports until SIGTERM: `serve_site.py FOLDER registrars|none`.

Writes into FOLDER a certificate and key of fe01.contoso.com, signed by the authority that
phones will trust, and then an empty file `site.ready`.
"""

from __future__ import annotations

import asyncio
import random
import signal
import sys
import time
from pathlib import Path

from phonesim.drivers.authority import SiteAuthority
from phonesim.drivers.site_host import SiteHost
from phonesim.mocksite.site import build_site
from phonesim.profiles import SITE, load


class PrintedReports:
    """Prints what the servers report."""

    def report(
        self,
        server: str,
        text: str,
        fields: tuple[tuple[str, str], ...],
        is_warning: bool,
        now: float,
    ) -> None:
        """Print one line."""
        print(f"{now:.3f} {server}: {text} {dict(fields)}", flush=True)


async def main(folder: Path, has_registrars: bool) -> None:
    """Serve until SIGTERM."""
    profile = load(SITE, str(Path(__file__).with_name("lab-site.yaml")))
    if not has_registrars:
        profile = profile.model_copy(update={"registrars": ()})
    authority = SiteAuthority()
    credentials = authority.server_credentials(["fe01.contoso.com"], "valid")
    (folder / "fe01.pem").write_bytes(credentials.certificate)
    (folder / "fe01.key").write_bytes(credentials.key)
    began = time.monotonic()
    site = build_site(profile, [], authority, random.Random(1), time.time())
    host = SiteHost(site, authority, PrintedReports(), lambda: time.monotonic() - began)
    asked = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, asked.set)
    await host.start(0)
    (folder / "site.ready").touch()
    await asked.wait()
    await host.stop()


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1]), sys.argv[2] == "registrars"))
