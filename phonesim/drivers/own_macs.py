"""Each phone's own MAC in everything that the kernel sends and receives for it.

The kernel's sockets use one MAC, the interface's. A table of the packet filter, at the
interface's very edge, changes it on the way:

    out   IP from a phone's address leaves with the phone's MAC as Ethernet source; so does
          ARP about such an address, and the MAC in the ARP message too
    in    IP and ARP to a phone's MAC and address goes on to the kernel as if it were for
          the interface's own MAC; anything else to a phone's MAC is left alone

Raw sockets see frames before the table on the way in, and behind it on the way out.

Changes are gathered for a moment and go to the `nft` program together, in a thread.

Specifications: nft(8) (family netdev, ingress and egress hooks), packet(7) (PACKET_HOST).
"""

from __future__ import annotations

import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

from phonesim.drivers.gathered_changes import GatheredChanges
from phonesim.drivers.nft import run_nft
from phonesim.drivers.run_mark import RunMark
from phonesim.errors import UsageError

GATHER_SECONDS = 0.05
"""How long changes are gathered: less than an ARP probe takes, which goes on meanwhile."""


def try_own_macs() -> None:
    """Find out whether this machine can do it; `UsageError` says why not."""
    run_nft(_new_table("netdev phonesim_trial", "lo", bytes(6).hex(":")), is_trial=True)


class OwnMacs:
    """The table of one run on the interface of that name and MAC.

    `failure` is done, with a `UsageError`, if the table cannot be changed any more.
    """

    def __init__(self, interface: str, interface_mac: bytes, mark: RunMark) -> None:
        """`UsageError` if this machine cannot do it."""
        self._table = f"netdev {mark.filter_table}"
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="nft")
        try:
            self._run(_new_table(self._table, interface, interface_mac.hex(":")))
        except UsageError:
            self._thread.shutdown()
            raise
        self._macs = GatheredChanges[bytes](self._change, self._thread, GATHER_SECONDS)
        self.failure = self._macs.failure

    def add(self, address: str, mac: bytes) -> None:
        """Let the phone with this MAC have the address."""
        self._macs.want(address, mac)

    def remove(self, address: str) -> None:
        """Forget an address; whoever waits for it waits in vain."""
        self._macs.want(address, None)

    def when_added(self, address: str, ready: Callable[[], None]) -> None:
        """Call `ready` as soon as the kernel knows the MAC of an address that was added."""
        self._macs.when_done(address, ready)

    def close(self) -> None:
        """Remove the table; `UsageError` if that fails."""
        self._macs.close()
        try:
            # Adding it first makes removing it succeed if somebody else has removed it.
            self._run(f"add table {self._table}\ndelete table {self._table}\n")
        finally:
            self._thread.shutdown()

    def _run(self, script: str) -> None:
        self._thread.submit(run_nft, script).result()

    def _change(self, gone: dict[str, bytes], come: dict[str, bytes]) -> None:
        run_nft(self._elements("delete", gone) + self._elements("add", come))

    def _elements(self, command: str, macs: dict[str, bytes]) -> str:
        if not macs:
            return ""
        by_address = ", ".join(f"{address} : {mac.hex(':')}" for address, mac in macs.items())
        pairs = ", ".join(f"{mac.hex(':')} . {address}" for address, mac in macs.items())
        return (
            f"{command} element {self._table} macs {{ {by_address} }}\n"
            f"{command} element {self._table} phones {{ {pairs} }}\n"
        )


def _new_table(table: str, interface: str, interface_mac: str) -> str:
    """Return a script that makes the table, with nothing in it from before."""
    to_kernel = f"ether daddr set {interface_mac} meta pkttype set host"
    return f"""
add table {table}
delete table {table}
table {table} {{
    comment "phonesim run, process {os.getpid()}"
    map macs {{ type ipv4_addr : ether_addr; }}
    set phones {{ type ether_addr . ipv4_addr; }}
    chain egress {{
        type filter hook egress device "{interface}" priority 0; policy accept;
        ether saddr set ip saddr map @macs accept
        arp saddr ether set arp saddr ip map @macs ether saddr set arp saddr ip map @macs
    }}
    chain ingress {{
        type filter hook ingress device "{interface}" priority 0; policy accept;
        ether daddr . ip daddr @phones {to_kernel} accept
        ether daddr . arp daddr ip @phones {to_kernel}
    }}
}}
"""
