"""What runs that were killed left on this machine's network, found and removed.

Whatever bears a run's mark (`phonesim.drivers.run_mark`) that nobody holds any more is
such a leftover: addresses, rules and routes, and the packet filter's table. Nothing else
is touched, and no run that lives can take the number while its leftovers are removed.
"""

from __future__ import annotations

import errno
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from functools import partial
from socket import AF_INET, if_indextoname
from typing import Any, TypeVar

import msgspec
from pyroute2 import IPRoute
from pyroute2.netlink.exceptions import NetlinkError

from phonesim.drivers.address_requests import AddressesRefused, AddressRequests
from phonesim.drivers.nft import run_nft
from phonesim.drivers.run_mark import PROTOCOL, number_of_name, number_of_table, take_number
from phonesim.errors import UsageError

_GONE = (errno.ENOENT, errno.ESRCH, errno.EADDRNOTAVAIL, errno.ENODEV)
_T = TypeVar("_T")


class LeftAddress(msgspec.Struct, frozen=True, kw_only=True):
    """An address of a run that is gone, and the interface it is on."""

    interface: str
    index: int
    address: str
    label: str


class Leftovers(msgspec.Struct, kw_only=True):
    """What one run left; `rules` and `routes` are how many."""

    addresses: list[LeftAddress] = []
    rules: int = 0
    routes: int = 0
    filter_table: str | None = None


def find_leftovers() -> list[Leftovers]:
    """Find what runs left that are gone.

    Without privileges, the packet filter's tables cannot be seen.
    """
    found = []
    for number, left in _marked().items():
        mark = take_number(number)
        if mark is not None:
            mark.release()
            found.append(left)
    return found


def remove_leftovers() -> list[Leftovers]:
    """Remove what `find_leftovers` finds, and return it; `UsageError` if that fails."""
    removed = []
    for number, left in _marked().items():
        mark = take_number(number)
        if mark is None:
            continue
        try:
            _in_thread(partial(_remove, left, mark.routing_table))
            if left.filter_table is not None:
                run_nft(f"delete table netdev {left.filter_table}\n")
        finally:
            mark.release()
        removed.append(left)
    return removed


def describe_leftovers(leftovers: Iterable[Leftovers]) -> str:
    """Say in a line what was left."""
    parts = []
    for left in leftovers:
        interfaces = [address.interface for address in left.addresses]
        parts += [
            f"{_count(interfaces.count(name), 'address', 'es')} on {name}"
            for name in dict.fromkeys(interfaces)
        ]
        parts += [
            _count(n, what) for n, what in ((left.rules, "rule"), (left.routes, "route")) if n
        ]
        if left.filter_table is not None:
            parts.append(f"nft table {left.filter_table}")
    return ", ".join(parts)


def _count(number: int, what: str, plural: str = "s") -> str:
    return f"{number} {what}{'' if number == 1 else plural}"


def _marked() -> dict[int, Leftovers]:
    """What bears a mark, whether or not its run lives, by number."""
    marked: dict[int, Leftovers] = {}

    def of(number: int) -> Leftovers:
        return marked.setdefault(number, Leftovers())

    def look() -> None:
        with IPRoute() as netlink:
            for entry in netlink.get_addr(family=AF_INET):
                label = entry.get("label") or ""
                number = number_of_name(label)
                if number is not None:
                    of(number).addresses.append(
                        LeftAddress(
                            interface=_name(entry["index"]),
                            index=entry["index"],
                            address=entry.get("local") or entry.get("address"),
                            label=label,
                        )
                    )
            for number in _tables(netlink.get_rules(family=AF_INET), "protocol"):
                of(number).rules += 1
            for number in _tables(netlink.get_routes(family=AF_INET), "proto"):
                of(number).routes += 1

    _in_thread(look)
    try:
        listing = run_nft("list tables netdev\n")
    except UsageError:  # not permitted, or there is none
        listing = ""
    for line in listing.splitlines():
        name = line.rpartition(" ")[2]
        number = number_of_name(name)
        if number is not None:
            of(number).filter_table = name
    return marked


def _tables(entries: Iterable[Any], protocol: str) -> Iterator[int]:
    for entry in entries:
        number = number_of_table(entry.get("table") or 0)
        if number is not None and entry.get(protocol) == PROTOCOL:
            yield number


def _name(index: int) -> str:
    try:
        return if_indextoname(index)
    except OSError:
        return f"interface {index}"


def _remove(left: Leftovers, table: int) -> None:
    with IPRoute() as netlink:
        for index, label in {(each.index, each.label) for each in left.addresses}:
            ours = [each.address for each in left.addresses if each.index == index]
            with closing(AddressRequests(index, label)) as requests, _tolerant():
                requests.remove(ours)
        for _ in range(left.rules):
            with _tolerant():
                netlink.rule("del", table=table, priority=table, protocol=PROTOCOL)
        if left.routes:
            with _tolerant():
                netlink.flush_routes(table=table, proto=PROTOCOL)


@contextmanager
def _tolerant() -> Iterator[None]:
    """What is gone already is no error."""
    try:
        yield
    except (NetlinkError, AddressesRefused) as error:
        if not isinstance(error, NetlinkError) or error.code not in _GONE:
            raise UsageError(
                "what a killed run left on this machine's network cannot be removed: "
                f"{error.args[-1]}; do it as root"
            ) from None


def _in_thread(work: Callable[[], _T]) -> _T:
    """Use pyroute2 away from our event loop, for it runs one of its own."""
    with ThreadPoolExecutor(1) as thread:
        return thread.submit(work).result()
