"""DHCP servers for the life of a lease: short times, small pools, and their end.

T1 and T2 are the server's to say: Kea grants leases of seconds, dnsmasq of two minutes
at least, but with any T1.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from dhcp_daemons import serve_dnsmasq, serve_kea
from netlab import DHCP, Lab

Frame = dict[str, Any]
FIRST_POOL = "10.77.16.1-10.77.16.9"


def start_leases(
    lab: Lab,
    name: str = "kea",
    *,
    address: str = DHCP,
    pool: str = FIRST_POOL,
    times: tuple[int, int, int] = (2, 5, 20),
    persists: bool = False,
) -> None:
    """Kea on one address of the servers' side. `times` are T1, T2 and the lease, in seconds."""
    t1, t2, lifetime = times
    file = lab.folder / "kea-leases.csv"
    members = {
        "interfaces-config": {"interfaces": [f"servers0/{address}"], "dhcp-socket-type": "raw"},
        "lease-database": {"type": "memfile", "persist": persists, "name": str(file)},
        "renew-timer": t1,
        "rebind-timer": t2,
        "valid-lifetime": lifetime,
        "server-tag": name,
        "option-data": [{"name": "dhcp-server-identifier", "data": address}],
        "subnet4": [
            {
                "id": 1,
                "subnet": "10.77.0.0/16",
                "interface": "servers0",
                "pools": [{"pool": pool.replace("-", " - ")}],
            }
        ],
    }
    serve_kea(lab, members, name)


def start_dnsmasq_leases(lab: Lab, name: str, *, pool: str, t1: int) -> None:
    """dnsmasq, authoritative, without any lease from before."""
    first, last = pool.split("-")
    lines = [
        "port=0",
        "interface=servers0",
        "except-interface=lo",
        "bind-interfaces",
        "dhcp-authoritative",
        f"dhcp-range={first},{last},255.255.0.0,2m",
        f"dhcp-option=option:T1,{t1}",
    ]
    serve_dnsmasq(lab, lines, name)


class Watch:
    """What goes over the servers' interface, as scapy reads it there."""

    def __init__(self, lab: Lab) -> None:
        self._lab = lab
        script = Path(__file__).with_name("watch_dhcp.py")
        command = [sys.executable, str(script), "servers0"]
        lab.serve("watch", command, lambda: "listening" in lab.output("watch"))

    def frames(self, *types: str, **fields: Any) -> list[Frame]:
        """The frames of those types so far, in order, with these values."""
        lines = self._lab.output("watch").splitlines(keepends=True)
        seen = [json.loads(line) for line in lines if line.endswith("\n")]
        return [
            frame
            for frame in seen
            if frame["type"] in types
            and all(frame[name] == value for name, value in fields.items())
        ]

    def wait_for(self, *types: str, count: int = 1, **fields: Any) -> list[Frame]:
        """Wait until there are so many of them."""
        self._lab.wait_until(
            lambda: len(self.frames(*types, **fields)) >= count,
            lambda: f"{count} {types} {fields}: {self._lab.output('watch')}",
        )
        return self.frames(*types, **fields)


def logged(lab: Lab, *texts: str) -> Callable[[], bool]:
    """Whether every phone's log holds every text."""

    def is_so() -> bool:
        logs = lab.device_logs().values()
        return bool(logs) and all(text in log for log in logs for text in texts)

    return is_so
