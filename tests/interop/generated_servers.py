"""Servers of other projects that run a configuration which `phonesim dhcputil config` printed.

Each function puts the printed text where its manual says, beside a scope and nothing else, and
starts the server in the servers' namespace.
"""

from __future__ import annotations

import json
from collections.abc import Callable

from dhcp_daemons import serve_dnsmasq, serve_kea
from netlab import DHCP, Lab

FIRST, LAST = "10.77.16.1", "10.77.31.254"


def start_kea(lab: Lab, printed: str, address: str = DHCP) -> None:
    """Kea on one address of the servers' side, with the printed members beside its own."""
    members = {
        "interfaces-config": {"interfaces": [f"servers0/{address}"], "dhcp-socket-type": "raw"},
        "lease-database": {"type": "memfile", "persist": False},
        "valid-lifetime": 3600,
        "subnet4": [
            {"id": 1, "subnet": "10.77.0.0/16", "pools": [{"pool": f"{FIRST} - {LAST}"}]},
        ],
        **json.loads(printed)["Dhcp4"],
    }
    serve_kea(lab, members, "kea" if address == DHCP else f"kea-{address}")


def start_isc_dhcpd(lab: Lab, printed: str) -> None:
    """ISC dhcpd, which includes the printed file."""
    (lab.folder / "phones.conf").write_text(printed)
    (lab.folder / "dhcpd.leases").touch()
    path = lab.folder / "dhcpd.conf"
    path.write_text(
        f"""include "{lab.folder}/phones.conf";
subnet 10.77.0.0 netmask 255.255.0.0 {{ range {FIRST} {LAST}; }}
"""
    )
    lab.serve(
        "isc-dhcpd",
        [
            *("dhcpd", "-4", "-f", "-d", "-cf", str(path)),
            *("-lf", str(lab.folder / "dhcpd.leases"), "-pf", str(lab.folder / "dhcpd.pid")),
            "servers0",
        ],
        lambda: "Server starting service" in lab.output("isc-dhcpd"),
    )


def start_dnsmasq(lab: Lab, printed: str) -> None:
    """dnsmasq, whose configuration ends with the printed lines."""
    lines = [
        "port=0",
        f"listen-address={DHCP}",
        "bind-interfaces",
        f"dhcp-range={FIRST},{LAST},255.255.0.0,1h",
    ]
    serve_dnsmasq(lab, (*lines, printed))


START: dict[str, Callable[[Lab, str], None]] = {
    "kea": start_kea,
    "isc-dhcpd": start_isc_dhcpd,
    "dnsmasq": start_dnsmasq,
}
"""By the server's name in `phonesim dhcputil config`."""
