"""A switch of two ports: `vlan_switch.py TRUNK ACCESS VLAN`.

What comes in on TRUNK with the tag of VLAN goes out on ACCESS without it, and what comes in on
ACCESS goes out on TRUNK with it. Anything else on TRUNK stays there. Each frame that has come in
on TRUNK is printed: VLAN (0 is untagged), source MAC, kind. Runs until it is killed.
"""

from __future__ import annotations

import select
import socket
import struct
import sys

_ALL = 3
_OUTGOING = 4
_SOL_PACKET, _ADD_MEMBERSHIP, _AUXDATA, _PROMISCUOUS = 263, 1, 8, 1
_VLAN_IS_VALID = 1 << 4
_KINDS = {0x0800: "ip", 0x0806: "arp", 0x88CC: "lldp"}
_LARGEST = 65535


def open_port(name: str) -> socket.socket:
    """Open an interface for all frames, with their tags beside them."""
    port = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(_ALL))
    port.bind((name, 0))
    port.setsockopt(_SOL_PACKET, _AUXDATA, 1)
    membership = struct.pack("iHH8s", socket.if_nametoindex(name), _PROMISCUOUS, 0, b"")
    port.setsockopt(_SOL_PACKET, _ADD_MEMBERSHIP, membership)
    return port


def receive(port: socket.socket) -> tuple[bytes, int] | None:
    """Take a frame that came in, and its VLAN; None for one that went out."""
    frame, ancillary, _, sender = port.recvmsg(_LARGEST, 256)
    if sender[2] == _OUTGOING:
        return None
    vlan_id = 0
    for level, kind, data in ancillary:
        if (level, kind) == (_SOL_PACKET, _AUXDATA):
            status, _, _, _, _, tag, _ = struct.unpack("IIIHHHH", data[:20])
            if status & _VLAN_IS_VALID:
                vlan_id = tag & 0xFFF
    return frame, vlan_id


def main(trunk_name: str, access_name: str, vlan_id: int) -> None:
    """Forward for ever."""
    trunk, access = open_port(trunk_name), open_port(access_name)
    print("forwarding", flush=True)
    while True:
        for port in select.select([trunk, access], [], [])[0]:
            received = receive(port)
            if received is None:
                continue
            frame, tag = received
            if port is access:
                if not tag:
                    trunk.send(frame[:12] + struct.pack("!HH", 0x8100, vlan_id) + frame[12:])
                continue
            kind = _KINDS.get(int.from_bytes(frame[12:14], "big"), "other")
            print(tag, frame[6:12].hex("-").upper(), kind, flush=True)
            if tag == vlan_id:
                access.send(frame)


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], int(sys.argv[3]))
