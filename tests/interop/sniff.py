"""Prints each (kind of frame, MAC, address) that an interface receives, once: `sniff.py INTERFACE`.

Kinds are dhcp, tcp, udp and arp; an ARP line says what the message claims, and arp-by is the
Ethernet source of such a message. Runs until it is killed.
"""

from __future__ import annotations

import socket
import struct
import sys

_ALL = 3
_OUTGOING = 4
_RECEIVE_BUFFER = 33  # SO_RCVBUFFORCE


def claims(frame: bytes) -> list[tuple[str, str, str]]:
    """Return what one frame says about who is where."""
    source = frame[6:12].hex("-").upper()
    (kind,) = struct.unpack_from("!H", frame, 12)
    if kind == 0x0806:
        address = socket.inet_ntoa(frame[28:32])
        return [("arp-by", source, address), ("arp", frame[22:28].hex("-").upper(), address)]
    if kind != 0x0800:
        return []
    address = socket.inet_ntoa(frame[26:30])
    if frame[23] == socket.IPPROTO_TCP:
        return [("tcp", source, address)]
    if frame[23] == socket.IPPROTO_UDP:
        port = struct.unpack_from("!H", frame, 14 + 4 * (frame[14] & 15))[0]
        return [("dhcp" if port == 68 else "udp", source, address)]
    return []


def main(interface: str) -> None:
    """Listen for ever."""
    listener = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(_ALL))
    listener.setsockopt(socket.SOL_SOCKET, _RECEIVE_BUFFER, 64 << 20)
    listener.bind((interface, 0))
    seen = set()
    print("listening", flush=True)
    while True:
        frame, (_, _, direction, *_) = listener.recvfrom(128)
        if direction == _OUTGOING:
            continue
        for claim in claims(frame):
            if claim not in seen:
                seen.add(claim)
                print(*claim, flush=True)


if __name__ == "__main__":
    main(sys.argv[1])
