"""Kea and dnsmasq as a lab starts them: what is said in every configuration, and the process."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any

from netlab import DHCP, Lab


def serve_kea(
    lab: Lab, members: dict[str, Any], name: str = "kea", *, is_quiet: bool = False
) -> None:
    """Start Kea with these members of its `Dhcp4`; it prints its log, if quiet only warnings."""
    logger = {
        "name": "kea-dhcp4",
        "severity": "WARN" if is_quiet else "INFO",
        "output_options": [{"output": "stdout", "flush": True}],
    }
    path = lab.folder / f"{name}.json"
    path.write_text(json.dumps({"Dhcp4": {**members, "loggers": [logger]}}, indent=1))
    own = lab.folder / name
    own.mkdir(exist_ok=True)

    def has_started() -> bool:
        if is_quiet:
            return lab.is_listening("udp", DHCP, 67)
        return "DHCP4_STARTED" in lab.output(name)

    lab.serve(
        name,
        [
            *("env", f"KEA_PIDFILE_DIR={own}", f"KEA_LOCKFILE_DIR={own}"),
            *("kea-dhcp4", "-c", str(path)),
        ],
        has_started,
    )


def serve_dnsmasq(
    lab: Lab, lines: Iterable[str], name: str = "dnsmasq", namespace: str | None = None
) -> None:
    """Start dnsmasq with these lines, in the servers' namespace by default.

    Its leases are in a file `NAME.leases`. Its DHCP socket is bound to no address.
    """
    own = lab.folder / name
    path = own.with_suffix(".conf")
    always = ("no-ping", "log-dhcp", f"dhcp-leasefile={own}.leases")
    path.write_text("\n".join((*always, *lines)) + "\n")
    lab.serve(
        name,
        [
            *("dnsmasq", "--keep-in-foreground", "--log-facility=-", "--user=root"),
            *(f"--conf-file={path}", f"--pid-file={own}.pid"),
        ],
        lambda: lab.is_listening("udp", "0.0.0.0", 67, namespace),
        namespace,
    )
