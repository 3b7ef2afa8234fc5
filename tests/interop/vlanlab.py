"""A lab with an access switch between the phones and the servers, which are in a voice VLAN.

    phones  --phones0====trunk0--  access  --access0====servers0--  servers
              VLAN 100 tagged                     VLAN 100 untagged

The untagged network ends at trunk0, where a DHCP server of its own can be.
"""

from __future__ import annotations

import json
import shutil
import sys
import tempfile
from pathlib import Path
from typing import Any

from dhcp_daemons import serve_dnsmasq
from netlab import Lab

VOICE_VLAN = 100
NATIVE_DHCP = "10.66.0.1"


class VlanLab(Lab):
    """The lab; `access` is the switch's namespace."""

    _reachable: str | None = None

    @property
    def access(self) -> str:
        """The switch's namespace."""
        return f"{self.phones}-a"

    @property
    def namespaces(self) -> tuple[str, ...]:
        """All that the lab makes."""
        return *super().namespaces, self.access

    @property
    def watched(self) -> tuple[str, str]:
        """The trunk, where frames have their tags."""
        return self.access, "trunk0"

    def __exit__(self, *about: object) -> None:
        super().__exit__(*about)
        if self._reachable is not None:
            shutil.rmtree(self._reachable, ignore_errors=True)

    def connect(self) -> None:
        """Lay the cables by way of the switch, and start it."""
        self.cable(self.phones, "phones0", self.access, "trunk0")
        self.cable(self.access, "access0", self.servers, "servers0")
        for name in ("trunk0", "access0"):
            self.inside(self.access, "ip", "link", "set", name, "up")
        self.inside(self.access, "ip", "addr", "add", f"{NATIVE_DHCP}/16", "dev", "trunk0")
        # A veth leaves checksums and segments to its peer, which a switch would have to finish.
        off = ("tx", "off", "tso", "off", "gso", "off")
        self.inside(self.servers, "ethtool", "-K", "servers0", *off)
        self.serve(
            "switch",
            [
                *(sys.executable, str(Path(__file__).with_name("vlan_switch.py"))),
                *("trunk0", "access0", str(VOICE_VLAN)),
            ],
            lambda: "forwarding" in self.output("switch"),
            self.access,
        )

    def on_trunk(self) -> set[tuple[int, str, str]]:
        """What phones sent to the switch: VLAN (0 is untagged), source MAC, kind of frame."""
        lines = self.output("switch").splitlines()[1:]
        return {(int(vlan_id), mac, kind) for vlan_id, mac, kind in map(str.split, lines)}

    def start_lldpd(self, policy: str) -> None:
        """Run lldpd on the switch; `policy` is what it says about voice, as lldpcli takes it."""
        self._reachable = tempfile.mkdtemp(prefix="lldpd")  # to lldpd's own user, too
        Path(self._reachable).chmod(0o755)
        self.serve(
            "lldpd",
            ["lldpd", "-d", "-I", "trunk0", "-M", "4", "-u", self._lldpd_socket],
            lambda: "resume operations" in self.output("lldpd"),
            self.access,
        )
        self.lldpcli("configure", "lldp", "tx-interval", "1")
        self.start_policy(policy)

    def start_policy(self, policy: str) -> None:
        """Let lldpd say something else about voice."""
        self.lldpcli("configure", "med", "policy", "application", "voice", *policy.split())

    def lldpcli(self, *command: str) -> dict[str, Any]:
        """Ask or tell lldpd something."""
        socket = self._lldpd_socket
        told = self.inside(self.access, "lldpcli", "-u", socket, "-f", "json0", *command).strip()
        found: dict[str, Any] = json.loads(told or "{}")
        return found

    @property
    def _lldpd_socket(self) -> str:
        return f"{self._reachable}/socket"

    def start_native_dnsmasq(self, *options: str) -> None:
        """Serve the untagged network by dnsmasq."""
        lines = [
            "interface=trunk0",
            "except-interface=lo",
            "bind-interfaces",
            "no-resolv",
            "no-hosts",
            "port=0",
            "dhcp-range=10.66.16.1,10.66.31.254,255.255.0.0,1h",
            "dhcp-authoritative",
            *options,
        ]
        serve_dnsmasq(self, lines, "native", self.access)
