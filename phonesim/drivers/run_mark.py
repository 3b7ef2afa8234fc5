"""The mark of a run on this machine's network, by which what it left can be told from the rest.

All that a run puts into the network of this machine bears one small number: the label of
its addresses, its routing table, its packet filter table. As long as the run lives it
holds the number, by a Unix socket whose name has it. Such names belong to the network
namespace, as addresses do, and are gone with the process however that ends: whatever
bears a number that nobody holds was left behind.

Specifications: unix(7) (abstract sockets), rtnetlink(7) (IFA_LABEL, RTPROT).
"""

from __future__ import annotations

import errno
import re
import socket

from phonesim.errors import UsageError

NUMBERS = range(1, 100)
PROTOCOL = 168
"""Says in a route or a rule that phonesim made it: one of those that nobody has taken."""

_NAME = re.compile(r"phonesim[:_](\d{1,2})")
_FIRST_TABLE = 6800


class RunMark:
    """A number that this process holds until `release`."""

    def __init__(self, number: int) -> None:
        """OSError if somebody else holds it."""
        self.number = number
        self.label = f"phonesim:{number}"
        """What every address is labelled with."""
        self.filter_table = f"phonesim_{number}"
        self.routing_table = _FIRST_TABLE + number
        """Also the priority of the rules that lead there."""
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        try:
            self._socket.bind(f"\0{self.label}")
        except OSError:
            self._socket.close()
            raise

    def release(self) -> None:
        """Let another run have the number."""
        self._socket.close()


def take_mark() -> RunMark:
    """Take the lowest number that is free; `UsageError` if none is."""
    for number in NUMBERS:
        mark = take_number(number)
        if mark is not None:
            return mark
    raise UsageError(
        f"{len(NUMBERS)} runs are on this machine's interfaces already: end one of them"
    )


def take_number(number: int) -> RunMark | None:
    """Take this number; None if a run that lives holds it."""
    try:
        return RunMark(number)
    except OSError as error:
        if error.errno != errno.EADDRINUSE:
            raise
        return None


def number_of_name(name: str) -> int | None:
    """Return the number in an address's label or a filter table's name; None for others'."""
    found = _NAME.fullmatch(name)
    return int(found[1]) if found and int(found[1]) in NUMBERS else None


def number_of_table(routing_table: int) -> int | None:
    """Return the number of a routing table; None for others'."""
    number = routing_table - _FIRST_TABLE
    return number if number in NUMBERS else None
