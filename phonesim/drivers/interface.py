"""A network interface that phones borrow: their addresses, and routes of their own.

Each address is put on the interface as a /32, so that none of them is another's
secondary and goes with it. What phones send follows routes in a table that is theirs
alone, one rule for each of their subnets: the machine's own routes stay as they are.
Everything that was added bears the run's mark (`phonesim.drivers.run_mark`), and is
removed again at the end. What was there before is left alone.

pyroute2 runs an event loop of its own, which must not be ours: it lives in a thread, and so
do the addresses of phones, which come and go by the thousand (`Interface.phone_addresses`).
"""

from __future__ import annotations

import asyncio
import errno
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from ipaddress import IPv4Network
from socket import AF_INET, if_indextoname
from typing import Any

from pyroute2 import IPRoute
from pyroute2.netlink.exceptions import NetlinkError

from phonesim.drivers.address_requests import AddressesRefused, AddressRequests
from phonesim.drivers.gathered_changes import GatheredChanges
from phonesim.drivers.run_mark import PROTOCOL, number_of_table, take_mark
from phonesim.errors import UsageError

_NO_SUCH = (errno.ENOENT, errno.ESRCH, errno.EADDRNOTAVAIL, errno.ENODEV)


class Interface:
    """The interface `name`, opened; `UsageError` if phones cannot use it."""

    def __init__(self, name: str) -> None:
        self.name = name
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="netlink")
        self._netlink: IPRoute = self._call(IPRoute)
        try:
            self.index, self.mac = self._look_up()
            self.mark = take_mark()
        except UsageError:
            self._end()
            raise
        self._table = self.mark.routing_table
        self._requests = AddressRequests(self.index, self.mark.label)
        self._addresses: set[str] = set()
        self._ruled: set[IPv4Network] = set()
        self._routed: set[IPv4Network] = set()

    def add_address(self, address: str) -> None:
        """Put an address on the interface; OSError if that is not permitted.

        One that is there already stays when it is removed here.
        """
        self._call(lambda: self._add((address,)))

    def remove_address(self, address: str) -> None:
        """Take an address away again."""
        self._call(lambda: self._remove((address,)))

    def phone_addresses(self, refused: Callable[[OSError], None]) -> GatheredChanges[bool]:
        """Return what puts many addresses on the interface, and takes them away, at a time.

        `refused` is told why one could not be.
        """
        loop = asyncio.get_running_loop()

        def change(gone: dict[str, bool], come: dict[str, bool]) -> None:
            for work, addresses in ((self._remove, gone), (self._add, come)):
                try:
                    work(addresses)
                except OSError as error:
                    loop.call_soon_threadsafe(refused, error)

        return GatheredChanges(change, self._thread, 0)

    def route(self, subnet: IPv4Network, router: str | None) -> None:
        """Let what comes from the addresses of `subnet` leave here, through `router`.

        The first router of the first subnet that has one is the way to everywhere else.
        `UsageError` if phones on another interface are in that subnet: a packet's source says by
        which interface it leaves, and it would be the same for both.
        """
        if subnet in self._routed:
            return
        self._routed.add(subnet)
        way = {"oif": self.index, "table": self._table, "proto": PROTOCOL}
        self._do("route", "add", dst=str(subnet), scope="link", **way)
        if router is not None:
            self._do("route", "add", dst="default", gateway=router, flags=["onlink"], **way)
        if subnet not in self._ruled:
            self._ruled.add(subnet)
            self._do("rule", "add", **self._rule(subnet))
            self._call(lambda: self._check_alone(subnet))

    def clear(self) -> None:
        """Remove all that was added."""
        self._call(lambda: self._remove(self._addresses))
        if self._ruled:
            for subnet in self._ruled:
                self._do("rule", "del", **self._rule(subnet))
            self._call(lambda: self._netlink.flush_routes(table=self._table))
            self._ruled.clear()
            self._routed.clear()

    def close(self) -> None:
        """Remove all that was added, and let the mark go."""
        try:
            self.clear()
        finally:
            self._requests.close()
            self._end()
            self.mark.release()

    # In the thread, as is whatever touches `_addresses`.

    def _check_alone(self, subnet: IPv4Network) -> None:
        for rule in self._netlink.get_rules(family=AF_INET):
            table, source = rule.get("table") or 0, rule.get("src")
            is_ours = rule.get("protocol") == PROTOCOL and number_of_table(table) is not None
            if not is_ours or table == self._table or source is None:
                continue
            if not subnet.overlaps(IPv4Network((source, rule["src_len"]))):
                continue
            for way in self._netlink.get_routes(family=AF_INET, table=table):
                if way.get("oif") != self.index:
                    raise UsageError(
                        f"interface {self.name}: phones of {subnet} are on"
                        f" {if_indextoname(way.get('oif'))} already, by which packets of these"
                        " would leave, too: end that run, or run each in a network namespace of"
                        " its own"
                    )

    def _add(self, addresses: Iterable[str]) -> None:
        new = [address for address in addresses if address not in self._addresses]
        try:
            self._addresses.update(self._requests.add(new))
        except AddressesRefused as error:
            self._addresses.update(error.changed)
            raise
        except OSError:  # no answer: what became of them is not known
            self._addresses.update(new)
            raise

    def _remove(self, addresses: Iterable[str]) -> None:
        ours = [address for address in addresses if address in self._addresses]
        self._addresses.difference_update(ours)
        self._requests.remove(ours)
        if ours and not self._addresses:
            self._routed.clear()  # an interface loses its routes with its last address

    def _rule(self, subnet: IPv4Network) -> dict[str, Any]:
        table = self._table
        return {"src": str(subnet), "table": table, "priority": table, "protocol": PROTOCOL}

    def _look_up(self) -> tuple[int, bytes]:
        found = self._call(lambda: list(self._netlink.link_lookup(ifname=self.name)))
        if not found:
            raise UsageError(f"interface {self.name}: there is none of that name")
        (link,) = self._call(lambda: list(self._netlink.get_links(found[0])))
        mac = bytes.fromhex((link.get("address") or "").replace(":", ""))
        if len(mac) != 6 or not any(mac):
            raise UsageError(f"interface {self.name}: it is no Ethernet interface")
        if link["state"] != "up":
            raise UsageError(
                f"interface {self.name}: it is down; bring it up (ip link set {self.name} up)"
            )
        return found[0], mac

    def _do(self, kind: str, command: str, **values: Any) -> bool:
        """One request; whether it changed anything, for it may be there or gone already."""
        try:
            self._call(lambda: getattr(self._netlink, kind)(command, **values))
        except NetlinkError as error:
            is_done = (command == "add" and error.code == errno.EEXIST) or (
                command == "del" and error.code in _NO_SUCH
            )
            if not is_done:
                raise OSError(error.code, f"{kind} {command}: {error.args[-1]}") from None
            return False
        return True

    def _call(self, work: Callable[[], Any]) -> Any:
        return self._thread.submit(work).result()

    def _end(self) -> None:
        self._call(self._netlink.close)
        self._thread.shutdown()
