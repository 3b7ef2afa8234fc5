"""Prints every DHCP and ARP frame on an interface, a JSON object a line: `watch_dhcp.py INTERFACE`.

The frames are read by scapy, which knows nothing of this project. Runs until it is killed.
"""

from __future__ import annotations

import json
import socket
import sys
from typing import Any

from scapy.layers.dhcp import BOOTP, DHCP, DHCPTypes
from scapy.layers.inet import IP, UDP
from scapy.layers.l2 import ARP, Ether

_ALL = 3
_OUTGOING = 4


def describe(data: bytes) -> dict[str, Any] | None:
    """Return what a frame says; None if it is neither."""
    frame = Ether(data)
    seen: dict[str, Any] = {"by": _mac(frame.src), "to_mac": _mac(frame.dst)}
    if ARP in frame:
        arp = frame[ARP]
        operation = {1: "ARP-REQUEST", 2: "ARP-REPLY"}.get(arp.op, "ARP")
        return seen | {
            "type": operation,
            "source": arp.psrc,
            "target": arp.pdst,
            "mac": _mac(arp.hwsrc),
        }
    if BOOTP not in frame or DHCP not in frame:
        return None
    bootp = frame[BOOTP]
    options = {each[0]: each[1] for each in frame[DHCP].options if isinstance(each, tuple)}
    client_id = options.get("client_id")
    return seen | {
        "type": DHCPTypes[options["message-type"]].upper(),
        "source": frame[IP].src,
        "to": frame[IP].dst,
        "ports": [frame[UDP].sport, frame[UDP].dport],
        "phone": _mac(bootp.chaddr[:6].hex(":")),
        "xid": bootp.xid,
        "secs": bootp.secs,
        "flags": int(bootp.flags),
        "ciaddr": bootp.ciaddr,
        "yiaddr": bootp.yiaddr,
        "server": options.get("server_id"),
        "requested": options.get("requested_addr"),
        "client_id": client_id.hex() if isinstance(client_id, bytes) else None,
    }


def _mac(text: str) -> str:
    return text.replace(":", "-").upper()


def main(interface: str) -> None:
    """Listen for ever."""
    listener = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(_ALL))
    listener.bind((interface, 0))
    print(json.dumps({"type": "listening"}), flush=True)
    while True:
        data, (_, _, direction, *_) = listener.recvfrom(2048)
        seen = describe(data)
        if seen is not None:
            print(json.dumps(seen | {"sent_here": direction == _OUTGOING}), flush=True)


if __name__ == "__main__":
    main(sys.argv[1])
