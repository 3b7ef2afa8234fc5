"""A program that the kernel runs on each frame before a raw socket sees it.

Specifications: socket(7) (SO_ATTACH_FILTER), the kernel's networking/filter.rst (classic BPF).
"""

from __future__ import annotations

import ctypes
import socket
import struct
from collections.abc import Sequence

_SO_ATTACH_FILTER = 26

Instruction = tuple[int, int, int, int]
"""Code, jump if true, jump if false, operand."""


def attach_filter(endpoint: socket.socket, program: Sequence[Instruction]) -> None:
    """Let `endpoint` receive only what the program accepts; OSError if the kernel refuses it."""
    instructions = b"".join(struct.pack("HBBI", *each) for each in program)
    buffer = ctypes.create_string_buffer(instructions)
    fprog = struct.pack("HL", len(program), ctypes.addressof(buffer))
    endpoint.setsockopt(socket.SOL_SOCKET, _SO_ATTACH_FILTER, fprog)
