"""A raw Ethernet socket on the event loop.

It sees what comes in, whomever it is for, and what other sockets of this machine send
out, but not its own frames. A filter in the kernel lets through only what is wanted, such as
untagged DHCP of one side, ARP, pings and DNS answers: a fleet's TCP must not pass through Python.

Specifications: packet(7), IEEE 802.3.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from phonesim.drivers.packet_filter import Instruction
from phonesim.drivers.raw_socket import (
    LARGEST_FRAME,
    PACKET_IGNORE_OUTGOING,
    SOL_PACKET,
    in_vlan,
    open_raw_socket,
)
from phonesim.wire.dns import DNS_PORT

_BURST = 64
_ICMP = 1


class PacketSocket:
    """Frames of the interface with that name and index.

    `received` gets every frame that `program` lets through; what this machine sends is not
    among them if it `ignores_outgoing`. OSError if this process may not open it.
    """

    def __init__(
        self,
        name: str,
        index: int,
        program: list[Instruction],
        received: Callable[[bytes], None],
        *,
        ignores_outgoing: bool = False,
    ) -> None:
        self._received = received
        self._socket = open_raw_socket(name, index, program)
        if ignores_outgoing:
            self._socket.setsockopt(SOL_PACKET, PACKET_IGNORE_OUTGOING, 1)
        self._loop = asyncio.get_running_loop()
        self._loop.add_reader(self._socket, self._read)

    def send(self, frame: bytes) -> OSError | None:
        """Send a frame; an error is returned that another attempt would meet again."""
        try:
            self._socket.send(frame)
        except BlockingIOError:
            return None
        except OSError as error:
            return error
        return None

    def close(self) -> None:
        """Close it; closing twice is allowed."""
        if self._socket.fileno() >= 0:
            self._loop.remove_reader(self._socket)
            self._socket.close()

    def _read(self) -> None:
        for _ in range(_BURST):
            try:
                frame = self._socket.recv(LARGEST_FRAME)
            except OSError:  # nothing left, or the interface went down
                return
            self._received(frame)
            if self._socket.fileno() < 0:
                return


def dhcp_program(
    udp_port: int, *, takes_arp: bool = False, is_host: bool = False
) -> list[Instruction]:
    """A program for frames that carry UDP to `udp_port`, and ARP too if it `takes_arp`.

    If it `is_host`, also for ICMP and what comes from DNS servers. A classic BPF program: (code,
    jump if true, jump if false, operand) each.
    """
    load_half, load_byte, load_half_indexed, load_header_size, give = 0x28, 0x30, 0x48, 0xB1, 0x06
    reject, accept = 13, 14

    def jump(at: int, if_true: int, if_false: int, operand: int, code: int = 0x15) -> Instruction:
        return (code, if_true - at - 1, if_false - at - 1, operand)

    return [
        *in_vlan(0, reject),
        (load_half, 0, 0, 12),
        jump(1, accept if takes_arp else reject, 2, 0x0806),
        jump(2, 3, reject, 0x0800),
        (load_byte, 0, 0, 23),
        jump(4, 5, 12, 17),
        (load_half, 0, 0, 20),
        jump(6, reject, 7, 0x1FFF, code=0x45),  # a fragment behind the first
        (load_header_size, 0, 0, 14),
        (load_half_indexed, 0, 0, 16),
        jump(9, accept, 10, udp_port),
        (load_half_indexed, 0, 0, 14),
        jump(11, accept if is_host else reject, reject, DNS_PORT),
        jump(12, accept if is_host else reject, reject, _ICMP),
        (give, 0, 0, 0),
        (give, 0, 0, LARGEST_FRAME),
    ]
