"""IPv4 addresses put on an interface and taken off it, many in one go.

The kernel takes some microseconds for an address. A library that builds each request from
tables takes a quarter of a millisecond for it, which is too long for ten thousand phones:
here a request is one `struct.pack`. Requests leave some at a time, and each is acknowledged.

Specifications: RFC 3549 section 3; netlink(7), rtnetlink(7) (RTM_NEWADDR, RTM_DELADDR).
"""

from __future__ import annotations

import errno
import os
import socket
import struct
from collections.abc import Sequence

_NETLINK_ROUTE = 0
_SOL_NETLINK = 270
_NETLINK_CAP_ACK = 10  # an acknowledgement does not repeat the request
_RTM_NEWADDR, _RTM_DELADDR = 20, 21
_NLM_F_REQUEST, _NLM_F_ACK, _NLM_F_EXCL, _NLM_F_CREATE = 0x1, 0x4, 0x200, 0x400
_NLMSG_ERROR = 2
_IFA_ADDRESS, _IFA_LOCAL, _IFA_LABEL = 1, 2, 3

_AT_ONCE = 64
"""So many acknowledgements find room in any socket's buffer."""
_ANSWER_SECONDS = 10.0
_NO_SUCH = (errno.ENOENT, errno.EADDRNOTAVAIL, errno.ENODEV)

_HEADER = struct.Struct("=IHHII")
_ADDRESS = struct.Struct("=BBBBI")
_ATTRIBUTE = struct.Struct("=HH")
_ERROR = struct.Struct("=i")


class AddressRequests:
    """Changes of the interface with that index; every address is a /32 with the label.

    Used by one thread at a time. OSError if it cannot be opened.
    """

    def __init__(self, index: int, label: str) -> None:
        self._index = index
        self._label = label.encode("ascii") + b"\0"
        self._socket = socket.socket(
            socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, _NETLINK_ROUTE
        )
        self._socket.setsockopt(_SOL_NETLINK, _NETLINK_CAP_ACK, 1)
        self._socket.settimeout(_ANSWER_SECONDS)
        self._sequence = 0

    def close(self) -> None:
        """Close the socket."""
        self._socket.close()

    def add(self, addresses: Sequence[str]) -> list[str]:
        """Add addresses, and return those that were not there before.

        OSError if the kernel refuses one of them; the others are added all the same, and
        are the error's `changed`.
        """
        flags = _NLM_F_CREATE | _NLM_F_EXCL
        return self._change(_RTM_NEWADDR, flags, addresses, (errno.EEXIST,))

    def remove(self, addresses: Sequence[str]) -> list[str]:
        """Take addresses away, and return those that were there; OSError as for `add`."""
        return self._change(_RTM_DELADDR, 0, addresses, _NO_SUCH)

    def _change(
        self, kind: int, flags: int, addresses: Sequence[str], harmless: Sequence[int]
    ) -> list[str]:
        changed: list[str] = []
        refused = 0
        for first in range(0, len(addresses), _AT_ONCE):
            some = addresses[first : first + _AT_ONCE]
            for address, number in zip(some, self._ask(kind, flags, some), strict=True):
                if not number:
                    changed.append(address)
                elif number not in harmless:
                    refused = number
        if refused:
            verb = "add" if kind == _RTM_NEWADDR else "del"
            raise AddressesRefused(refused, f"addr {verb}: {os.strerror(refused)}", changed)
        return changed

    def _ask(self, kind: int, flags: int, addresses: Sequence[str]) -> list[int]:
        """Send one request for each address; return what became of each, 0 or an errno."""
        first = self._sequence
        self._sequence += len(addresses)
        self._socket.send(
            b"".join(
                self._request(kind, flags, first + offset, address)
                for offset, address in enumerate(addresses)
            )
        )
        results = [0] * len(addresses)
        missing = len(addresses)
        while missing:
            data = self._socket.recv(65536)
            at = 0
            while at < len(data):
                length, answer, _, sequence, _ = _HEADER.unpack_from(data, at)
                if answer == _NLMSG_ERROR and 0 <= sequence - first < len(results):
                    (negative,) = _ERROR.unpack_from(data, at + _HEADER.size)
                    results[sequence - first] = -negative
                    missing -= 1
                at += -(-length // 4) * 4
        return results

    def _request(self, kind: int, flags: int, sequence: int, address: str) -> bytes:
        packed = socket.inet_aton(address)
        body = (
            _ADDRESS.pack(socket.AF_INET, 32, 0, 0, self._index)
            + _attribute(_IFA_LOCAL, packed)
            + _attribute(_IFA_ADDRESS, packed)
            + _attribute(_IFA_LABEL, self._label)
        )
        flags |= _NLM_F_REQUEST | _NLM_F_ACK
        return _HEADER.pack(_HEADER.size + len(body), kind, flags, sequence, 0) + body


class AddressesRefused(OSError):
    """The kernel refused one of several addresses; `changed` are those it did not refuse."""

    def __init__(self, number: int, text: str, changed: list[str]) -> None:
        super().__init__(number, text)
        self.changed = changed


def _attribute(kind: int, value: bytes) -> bytes:
    return _ATTRIBUTE.pack(_ATTRIBUTE.size + len(value), kind) + value + bytes(-len(value) % 4)
