"""Prints who answers for addresses, `ADDRESS MAC` a line: `ask_arp.py INTERFACE SOURCE ADDRESS...`.

One ARP request is sent for each address, from SOURCE, which is the interface's own.
"""

from __future__ import annotations

import socket
import sys
import time

_ARP = 0x0806
_REQUEST, _REPLY = 1, 2
_WAIT_SECONDS = 0.3


def main(interface: str, source: str, *addresses: str) -> None:
    """Ask, and listen for a while."""
    port = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(_ARP))
    port.bind((interface, _ARP))
    mac: bytes = port.getsockname()[4]
    for address in addresses:
        body = bytes.fromhex("000108000604") + _REQUEST.to_bytes(2, "big")
        body += mac + socket.inet_aton(source) + bytes(6) + socket.inet_aton(address)
        port.send(b"\xff" * 6 + mac + _ARP.to_bytes(2, "big") + body)
    give_up_at = time.monotonic() + _WAIT_SECONDS
    while (left := give_up_at - time.monotonic()) > 0:
        port.settimeout(left)
        try:
            frame = port.recv(128)
        except TimeoutError:
            return
        if int.from_bytes(frame[20:22], "big") == _REPLY and frame[:6] == mac:
            print(socket.inet_ntoa(frame[28:32]), frame[22:28].hex("-").upper())


if __name__ == "__main__":
    main(*sys.argv[1:])
