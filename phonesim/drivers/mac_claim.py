"""The MACs that a run has on an interface, known to the other runs of this machine.

Two hosts with one MAC take each other's leases and frames, and the results of both runs are
worth nothing. A run therefore says which MACs it has, by Unix sockets with a name for each
range: such names belong to the network namespace, and are gone with the process however
that ends.

Specifications: unix(7) (abstract sockets), proc(5) (/proc/net/unix).
"""

from __future__ import annotations

import errno
import re
import socket
from collections.abc import Iterable
from pathlib import Path

from phonesim.errors import UsageError
from phonesim.wire.dhcp import format_mac

_NAME = re.compile(r"@phonesim-macs:([^ /:]+):([0-9a-f]{12})-([0-9a-f]{12})$", re.MULTILINE)

Range = tuple[bytes, bytes]


class MacClaim:
    """The claim of one run, until `release`; `UsageError` if another run has one of the MACs."""

    def __init__(self, interface: str, macs: Iterable[bytes]) -> None:
        self._sockets: list[socket.socket] = []
        ranges = _ranges(macs)
        try:
            for claimed in ranges:
                self._claim(interface, claimed)
            for other in _claims(interface):
                if other not in ranges and any(_overlap(other, mine) for mine in ranges):
                    raise _refusal(interface, other)
        except UsageError:
            self.release()
            raise

    def release(self) -> None:
        """Let another run have them."""
        for each in self._sockets:
            each.close()
        self._sockets.clear()

    def _claim(self, interface: str, claimed: Range) -> None:
        claim = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._sockets.append(claim)
        first, last = claimed
        try:
            claim.bind(f"\0phonesim-macs:{interface}:{first.hex()}-{last.hex()}")
        except OSError as error:
            if error.errno != errno.EADDRINUSE:
                raise
            raise _refusal(interface, claimed) from None


def _ranges(macs: Iterable[bytes]) -> list[Range]:
    """The first and the last MAC of every vendor."""
    ranges: dict[bytes, Range] = {}
    for mac in macs:
        first, last = ranges.get(mac[:3], (mac, mac))
        ranges[mac[:3]] = min(first, mac), max(last, mac)
    return list(ranges.values())


def _claims(interface: str) -> list[Range]:
    listing = Path("/proc/thread-self/net/unix").read_text(errors="replace")
    return [
        (bytes.fromhex(first), bytes.fromhex(last))
        for name, first, last in _NAME.findall(listing)
        if name == interface
    ]


def _overlap(one: Range, other: Range) -> bool:
    return one[0] <= other[1] and other[0] <= one[1]


def _refusal(interface: str, claimed: Range) -> UsageError:
    first, last = map(format_mac, claimed)
    return UsageError(
        f"interface {interface}: another run on this machine has the MACs {first} to {last}: "
        "end it, or give this fleet others (first_phone)"
    )
