"""Phones in voice VLANs of a real interface.

    phones' sockets -- kernel -- tap of the VLAN -- bridge (adds and removes tags) -- interface

A voice VLAN has a tap interface of its own, and phones in it use that as they would use an
untagged interface: their addresses, routes and MACs are there. A bridge in this process puts
the tag on what leaves the tap and takes it off what comes back, so that no VLAN device is
needed, which not every kernel has. IP and ARP pass, and inward only what is for a phone or
for many: neither the VLAN's other traffic nor what this machine says on every interface of
its own accord. Checksums and segments that a network card would finish stay as they are
described, by the header that both ends put before each frame.

A tap is gone with its process, however that ends.

Specifications: IEEE 802.1Q, packet(7) (PACKET_VNET_HDR), linux/if_tun.h, virtio (5.1.6.2).
"""

from __future__ import annotations

import asyncio
import errno
import fcntl
import os
import socket
import struct
from collections.abc import Callable
from contextlib import ExitStack, suppress
from pathlib import Path

from phonesim.device.actions import AdvertiseLldp, ConfigureAddress, SendDhcp, SendDns
from phonesim.drivers.interface import Interface
from phonesim.drivers.lldp_port import LldpPort
from phonesim.drivers.phone_host import AddressLink, PhoneHost
from phonesim.drivers.raw_socket import (
    LARGEST_FRAME,
    PACKET_IGNORE_OUTGOING,
    SOL_PACKET,
    all_in_vlan,
    open_raw_socket,
)
from phonesim.errors import UsageError
from phonesim.wire.frame import add_tag

TUN = Path("/dev/net/tun")

_TUNSETIFF = 0x400454CA
_IFF_TAP, _IFF_NO_PI, _IFF_VNET_HDR = 0x0002, 0x1000, 0x4000
_SIOCGIFFLAGS, _SIOCSIFFLAGS, _IFF_UP = 0x8913, 0x8914, 0x0001
_PACKET_VNET_HDR = 15
_HEADER = 10
_PASSING = (b"\x08\x00", b"\x08\x06")
_BURST = 64
_LAST_BURSTS = 100  # more than the queue of a tap holds
_FULL = (errno.EAGAIN, errno.ENOBUFS)


OpenLink = Callable[[Interface, ExitStack], AddressLink]
"""Opens a link on a tap; what has to be closed goes on the stack. `UsageError` if it cannot."""


class VoiceVlans:
    """All VLANs of an interface, the untagged one among them (`phone_host.PhoneLink`).

    `failure` is done, with a `UsageError`, if a voice VLAN cannot be had.
    """

    port_offset = 0

    def __init__(
        self, interface: Interface, untagged: AddressLink, lldp: LldpPort, open_link: OpenLink
    ) -> None:
        self.failure: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._interface = interface
        self._untagged = untagged
        self._lldp = lldp
        self._open_link = open_link
        self._vlans: dict[int, tuple[VlanBridge, AddressLink]] = {}
        self._links: dict[PhoneHost, AddressLink] = {}
        self._closing = ExitStack()

    def close(self) -> None:
        """Remove every tap with all that is on it."""
        if not self.failure.cancel() and not self.failure.cancelled():
            self.failure.exception()  # the run has ended for another reason
        self._closing.close()

    async def drained(self) -> None:
        """Wait until the addresses that phones gave up are off their interfaces."""
        links = (self._untagged, *(link for _, link in self._vlans.values()))
        await asyncio.gather(*(link.drained() for link in links))

    def watch(self, failure: asyncio.Future[None]) -> None:
        """Take note of a VLAN's failure, which is done."""
        error = None if failure.cancelled() else failure.exception()
        if error is not None:
            self._failed(error)

    def attach(self, phone: PhoneHost) -> None:
        """Take a phone that has power: untagged."""
        self._links[phone] = self._untagged
        self._untagged.attach(phone)

    def detach(self, phone: PhoneHost) -> None:
        """Let a phone go that has lost power."""
        self._lldp.forget(phone)
        self._links.pop(phone, self._untagged).detach(phone)

    def advertise(self, phone: PhoneHost, action: AdvertiseLldp) -> None:
        """Advertise, which is never tagged."""
        self._lldp.advertise(phone, action)

    def join_vlan(self, phone: PhoneHost, vlan_id: int | None) -> None:
        """Move a phone to the link of a VLAN, which is opened for its first phone."""
        link = self._untagged
        if vlan_id is not None:
            try:
                bridge, link = self._vlan(vlan_id)
            except UsageError as error:
                self._failed(error)
                return
            bridge.admit(phone.spec.mac)
        self._links[phone].detach(phone)
        self._links[phone] = link
        link.attach(phone)

    def send_dhcp(self, phone: PhoneHost, action: SendDhcp) -> None:
        """Send in the phone's VLAN."""
        self._links[phone].send_dhcp(phone, action)

    def takes_dns(self, phone: PhoneHost, action: SendDns) -> bool:
        """Do as the link of the phone's VLAN does."""
        return self._links[phone].takes_dns(phone, action)

    def probe_address(self, phone: PhoneHost, address: str) -> None:
        """Ask in the phone's VLAN."""
        self._links[phone].probe_address(phone, address)

    def configure_address(self, phone: PhoneHost, action: ConfigureAddress) -> None:
        """Put the address on the interface of the phone's VLAN."""
        self._links[phone].configure_address(phone, action)

    def announce_address(self, phone: PhoneHost, address: str) -> None:
        """Announce it in the phone's VLAN."""
        self._links[phone].announce_address(phone, address)

    def remove_address(self, phone: PhoneHost, address: str) -> None:
        """Take it away."""
        self._links[phone].remove_address(phone, address)

    def unsent(self, error: OSError) -> None:
        """Report what this machine refused to send."""
        self._untagged.unsent(error)

    def _failed(self, error: BaseException) -> None:
        if not self.failure.done():
            self.failure.set_exception(error)

    def _vlan(self, vlan_id: int) -> tuple[VlanBridge, AddressLink]:
        found = self._vlans.get(vlan_id)
        if found is not None:
            return found
        with ExitStack() as opening:
            bridge = _open_bridge(self._interface, vlan_id, self._untagged.unsent)
            opening.callback(bridge.close)
            tap = Interface(bridge.name)
            opening.callback(tap.close)
            bridge.admit(tap.mac)
            link = self._open_link(tap, opening)
            self._closing.push(opening.pop_all())
        self._vlans[vlan_id] = bridge, link
        return bridge, link


class VlanBridge:
    """A tap named `name`, and its frames with the tag of a VLAN on the interface.

    `unsent` takes what sending was refused with. OSError if there can be no tap.
    """

    def __init__(
        self, interface: str, index: int, vlan_id: int, unsent: Callable[[OSError], None]
    ) -> None:
        self._vlan_id = vlan_id
        self._unsent = unsent
        self._macs: set[bytes] = set()
        self._loop = asyncio.get_running_loop()
        with ExitStack() as opening:
            self._tap = os.open(TUN, os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC)
            opening.callback(os.close, self._tap)
            self.name = _make_tap(self._tap, f"voice{vlan_id}.%d")
            self._socket = open_raw_socket(interface, index, all_in_vlan(vlan_id))
            opening.callback(self._socket.close)
            self._socket.setsockopt(SOL_PACKET, _PACKET_VNET_HDR, 1)
            self._socket.setsockopt(SOL_PACKET, PACKET_IGNORE_OUTGOING, 1)
            self._closing = opening.pop_all()
        self._loop.add_reader(self._tap, self._read_tap)
        self._loop.add_reader(self._socket, self._read_interface)

    def close(self) -> None:
        """Remove the tap, when what phones sent last has left it."""
        self._loop.remove_reader(self._tap)
        self._loop.remove_reader(self._socket)
        for _ in range(_LAST_BURSTS):
            if not self._read_tap():
                break
        self._closing.close()

    def admit(self, mac: bytes) -> None:
        """Let in what is for this MAC."""
        self._macs.add(mac)

    def _read_tap(self) -> bool:
        """Bridge what waits, a burst at most; whether there may be more."""
        for _ in range(_BURST):
            try:
                data = os.read(self._tap, LARGEST_FRAME)
            except OSError:  # nothing left, or the tap went down
                return False
            if data[_HEADER + 12 : _HEADER + 14] not in _PASSING:
                continue
            try:
                self._socket.send(data[:_HEADER] + add_tag(data[_HEADER:], self._vlan_id))
            except OSError as error:
                if error.errno not in _FULL:
                    self._unsent(error)
        return True

    def _read_interface(self) -> None:
        for _ in range(_BURST):
            try:
                data = self._socket.recv(LARGEST_FRAME)
            except OSError:
                return
            if not data[_HEADER] & 1 and data[_HEADER : _HEADER + 6] not in self._macs:
                continue
            with suppress(OSError):  # full, as any queue can be
                os.write(self._tap, data)


def _open_bridge(
    interface: Interface, vlan_id: int, unsent: Callable[[OSError], None]
) -> VlanBridge:
    try:
        return VlanBridge(interface.name, interface.index, vlan_id, unsent)
    except OSError as error:
        raise UsageError(
            f"voice VLAN {vlan_id}: no tap interface can be made with {TUN}: "
            f"{error.strerror or error}; load the module tun, or run phones without a voice VLAN "
            "(--set device.vlan.lldp_wait=0 --set device.vlan.dhcp_option=false)"
        ) from None


def _make_tap(descriptor: int, pattern: str) -> str:
    """Make a tap of a name that is free, and bring it up; its name."""
    flags = _IFF_TAP | _IFF_NO_PI | _IFF_VNET_HDR
    request = struct.pack("16sH22x", pattern.encode(), flags)
    made = fcntl.ioctl(descriptor, _TUNSETIFF, request)
    name = made[:16].rstrip(b"\0").decode()
    with suppress(OSError):  # a phone's address is answered for where the phone is
        Path(f"/proc/sys/net/ipv4/conf/{name}/arp_ignore").write_text("1")
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as control:
        request = struct.pack("16sH22x", name.encode(), 0)
        (up,) = struct.unpack_from("H", fcntl.ioctl(control, _SIOCGIFFLAGS, request), 16)
        request = struct.pack("16sH22x", name.encode(), up | _IFF_UP)
        fcntl.ioctl(control, _SIOCSIFFLAGS, request)
    return name
