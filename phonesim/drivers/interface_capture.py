"""Listens to an interface for a capture, apart from the sockets that phones use.

The kernel says when each frame passed and which way, and gives back the VLAN tag that it
takes off frames that come in. Frames wait in a large buffer of the kernel; what does not
fit is counted. A filter in the kernel lets through what may be a phone's: ARP, LLDP,
frames with a VLAN tag, and of IPv4 what is broadcast or has a MAC of the fleet's makers,
or all of it where phones have no MACs of their own.

Specifications: packet(7) (PACKET_AUXDATA, PACKET_STATISTICS), socket(7), IEEE 802.1Q.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import struct
import time
from collections.abc import AsyncIterator, Callable, Collection, Sequence

from phonesim.capture import Capture
from phonesim.drivers.packet_filter import Instruction, attach_filter
from phonesim.errors import UsageError
from phonesim.wire.pcapng import INBOUND, OUTBOUND

LOOPBACK = "lo"

_LARGEST_FRAME = 262144
_BUFFER = 32 * 1024 * 1024
_BURST = 256
_ANCILLARY = 256
# The kernel begins to note when frames pass a moment after it is asked to.
_STAMPING_SECONDS = 0.02
_ETH_P_ALL = 0x0003
_SOL_PACKET = 263
_SO_RCVBUFFORCE = 33
_SO_TIMESTAMPNS = 35
_PACKET_STATISTICS = 6
_PACKET_AUXDATA = 8
_PACKET_OUTGOING = 4
_VLAN_VALID = 1 << 4
_VLAN_TPID_VALID = 1 << 6
_TIMESPEC = struct.Struct("@ll")
_AUXDATA = struct.Struct("=IIIHHHH")
_TAG = struct.Struct("!HH")


@contextlib.asynccontextmanager
async def capture_interfaces(
    names: Sequence[str],
    capture: Capture,
    ouis: Collection[bytes] | None,
    note: Callable[[str], None],
) -> AsyncIterator[None]:
    """Listen to the interfaces of those names while entered; `note` takes what is missing.

    `ouis` are as in `InterfaceCapture`, but for the loopback interface, which has no MACs.
    `UsageError` if one of them cannot be listened to.
    """
    listening: list[InterfaceCapture] = []
    try:
        for name in names:
            try:
                each = InterfaceCapture(name, capture, None if name == LOOPBACK else ouis)
            except OSError as error:
                raise UsageError(
                    f"capture: interface {name} cannot be listened to: {error.strerror or error}"
                ) from None
            listening.append(each)
        await asyncio.sleep(_STAMPING_SECONDS)
        yield
    finally:
        for each in listening:
            for text in each.close():
                note(text)


class InterfaceCapture:
    """Tells `capture` the frames of the interface `name`; OSError if it cannot be opened.

    `ouis` are those of the phones' MACs, three octets each; None lets all IPv4 through.
    On the loopback interface every frame comes back in, and is told once.
    """

    def __init__(self, name: str, capture: Capture, ouis: Collection[bytes] | None) -> None:
        self._name = name
        self._capture = capture
        self._outgoing_only = name == LOOPBACK
        self._room = bytearray(_LARGEST_FRAME)
        self._interface = capture.add_interface(name, self._read)
        self._socket = socket.socket(socket.AF_PACKET, socket.SOCK_RAW | socket.SOCK_NONBLOCK, 0)
        try:
            attach_filter(self._socket, _filter(ouis))
            self._socket.setsockopt(socket.SOL_SOCKET, _SO_RCVBUFFORCE, _BUFFER)
            self._socket.setsockopt(socket.SOL_SOCKET, _SO_TIMESTAMPNS, 1)
            self._socket.setsockopt(_SOL_PACKET, _PACKET_AUXDATA, 1)
            self._socket.bind((name, _ETH_P_ALL))
        except OSError:
            self._socket.close()
            raise
        self._loop = asyncio.get_running_loop()
        self._loop.add_reader(self._socket, self._read)

    def close(self) -> tuple[str, ...]:
        """Take what is still in the buffer, and close; returns what to say of it."""
        self._loop.remove_reader(self._socket)
        while self._read():
            pass
        statistics = self._socket.getsockopt(_SOL_PACKET, _PACKET_STATISTICS, 8)
        self._socket.close()
        received, dropped = struct.unpack("@II", statistics)
        self._capture.statistics(self._interface, time.time_ns(), received, dropped)
        if not dropped:
            return ()
        return (f"the capture lacks {dropped} of {received} frames on {self._name}",)

    def _read(self) -> bool:
        """Take what waits, a burst at most; whether there may be more."""
        room = self._room
        for _ in range(_BURST):
            try:
                size, ancillary, _flags, source = self._socket.recvmsg_into([room], _ANCILLARY)
            except OSError:  # nothing left, or the interface went down
                return False
            is_outgoing = source[2] == _PACKET_OUTGOING
            if is_outgoing or not self._outgoing_only:
                self._tell(bytes(room[:size]), ancillary, is_outgoing=is_outgoing)
        return True

    def _tell(
        self, frame: bytes, ancillary: list[tuple[int, int, bytes]], *, is_outgoing: bool
    ) -> None:
        time_ns = 0
        for level, kind, value in ancillary:
            if level == socket.SOL_SOCKET and kind == _SO_TIMESTAMPNS:
                seconds, nanoseconds = _TIMESPEC.unpack(value)
                time_ns = seconds * 1_000_000_000 + nanoseconds
            elif level == _SOL_PACKET and kind == _PACKET_AUXDATA:
                frame = _with_tag(frame, value)
        direction = OUTBOUND if is_outgoing else INBOUND
        self._capture.frame(self._interface, time_ns or time.time_ns(), frame, direction)


def _with_tag(frame: bytes, auxdata: bytes) -> bytes:
    status, _, _, _, _, tag, tpid = _AUXDATA.unpack(auxdata)
    if not status & _VLAN_VALID:
        return frame
    return frame[:12] + _TAG.pack(tpid if status & _VLAN_TPID_VALID else 0x8100, tag) + frame[12:]


def _filter(ouis: Collection[bytes] | None) -> list[Instruction]:
    """A classic BPF program, see `attach_filter`."""
    load_word, load_half, shift_right, equals, give = 0x20, 0x28, 0x74, 0x15, 0x06
    ethertypes = [0x0806, 0x88CC, 0x8100]
    if ouis is None:
        ethertypes.append(0x0800)
    program: list[Instruction] = [(load_half, 0, 0, 12)]
    tests: list[tuple[int, int]] = []  # places of comparisons after which a frame is accepted
    for ethertype in ethertypes:
        tests.append((len(program), ethertype))
        program.append((equals, 0, 0, ethertype))
    if ouis is not None:
        program.append((equals, 1, 0, 0x0800))
        program.append((give, 0, 0, 0))
        for at in (0, 6):
            program += [(load_word, 0, 0, at), (shift_right, 0, 0, 8)]
            for oui in (*sorted(ouis), *((b"\xff\xff\xff",) if at == 0 else ())):
                tests.append((len(program), int.from_bytes(oui, "big")))
                program.append((equals, 0, 0, int.from_bytes(oui, "big")))
    program.append((give, 0, 0, 0))
    accept = len(program)
    program.append((give, 0, 0, _LARGEST_FRAME))
    for place, value in tests:
        program[place] = (equals, accept - place - 1, 0, value)
    return program
