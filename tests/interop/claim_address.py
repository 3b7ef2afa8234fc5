"""Announces that an address is a host's that is not there: `claim_address.py INTERFACE ADDRESS`."""

from __future__ import annotations

import socket
import sys

MAC = bytes.fromhex("0200000000aa")


def main(interface: str, address: str) -> None:
    """Send one gratuitous ARP request (RFC 5227 section 2.3)."""
    claimed = socket.inet_aton(address)
    sender = socket.socket(socket.AF_PACKET, socket.SOCK_RAW)
    sender.bind((interface, 0))
    body = bytes.fromhex("0001080006040001") + MAC + claimed + bytes(6) + claimed
    sender.send(b"\xff" * 6 + MAC + b"\x08\x06" + body)


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2])
