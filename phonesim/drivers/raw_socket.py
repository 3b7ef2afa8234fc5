"""Opening a raw Ethernet socket on an interface, with a filter in the kernel.

The kernel takes the 802.1Q tag off a frame before raw sockets see it, and keeps it beside
the frame, where a filter can look at it: what comes in tagged looks untagged to whoever does
not. What other sockets of this machine send tagged still has its tag inside.

Specifications: packet(7), linux/filter.h (SKF_AD_VLAN_TAG).
"""

from __future__ import annotations

import socket
import struct

from phonesim.drivers.packet_filter import Instruction, attach_filter
from phonesim.drivers.udp_socket import enlarge_receive_buffer

LARGEST_FRAME = 65535
SOL_PACKET = 263
PACKET_IGNORE_OUTGOING = 23

_ETH_P_ALL = 0x0003
_PACKET_ADD_MEMBERSHIP = 1
_PACKET_MR_PROMISC = 1
_VLAN_TAG = 0xFFFFF000 + 44
_LOAD_WORD, _AND, _JUMP_IF_EQUAL, _LOAD_HALF, _GIVE = 0x20, 0x54, 0x15, 0x28, 0x06


def open_raw_socket(name: str, index: int, program: list[Instruction]) -> socket.socket:
    """A socket that does not block, for frames to whatever MAC that `program` lets through.

    OSError if this process may not open it.
    """
    opened = socket.socket(socket.AF_PACKET, socket.SOCK_RAW | socket.SOCK_NONBLOCK, 0)
    try:
        attach_filter(opened, program)
        enlarge_receive_buffer(opened)
        opened.bind((name, _ETH_P_ALL))
        membership = struct.pack("iHH8s", index, _PACKET_MR_PROMISC, 0, b"")
        opened.setsockopt(SOL_PACKET, _PACKET_ADD_MEMBERSHIP, membership)
    except OSError:
        opened.close()
        raise
    return opened


def in_vlan(vlan_id: int, reject: int) -> list[Instruction]:
    """The beginning of a program: jump over `reject` more instructions unless the tag is that.

    A `vlan_id` of 0 is for frames without a tag, or with one of priority only.
    """
    return [
        (_LOAD_WORD, 0, 0, _VLAN_TAG),
        (_AND, 0, 0, 0xFFF),
        (_JUMP_IF_EQUAL, 0, reject, vlan_id),
    ]


def all_in_vlan(vlan_id: int) -> list[Instruction]:
    """A program for whatever comes in with that tag."""
    return [*in_vlan(vlan_id, 1), (_GIVE, 0, 0, LARGEST_FRAME), (_GIVE, 0, 0, 0)]


def of_type(ethertype: int) -> list[Instruction]:
    """A program for frames of one type without a tag."""
    return [
        *in_vlan(0, 3),
        (_LOAD_HALF, 0, 0, 12),
        (_JUMP_IF_EQUAL, 0, 1, ethertype),
        (_GIVE, 0, 0, LARGEST_FRAME),
        (_GIVE, 0, 0, 0),
    ]
