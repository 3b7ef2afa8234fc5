"""The wire world: phones on a real interface, each with its own MAC and its own address.

DHCP and ARP probes are whole Ethernet frames with the phone's MAC, read and written on
a raw socket; a DHCP message belongs to the phone whose MAC is in `chaddr`. A leased
address is put on the interface and announced there, and from then on the kernel's
sockets carry DNS, NTP, HTTP and SIP from it: with the phone's MAC too, where the packet
filter can see to that (`phonesim.drivers.own_macs`), and otherwise with the interface's.
Phones that end before they sign in need no sockets: the kernel does not learn of their
addresses, and what a host must do is done in frames (`phonesim.drivers.frame_hosts`).
Everything that was put on the interface is removed when the run ends, and what a run
that was killed left there when the next one begins.

A voice VLAN is another such interface (`phonesim.drivers.voice_vlan`), with a link of its
own. LLDP is spoken with whatever switch is at the other end; a mock site's is not there.

Specifications: RFC 2131 section 4.1, RFC 5227, capabilities(7).
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable, Iterable
from contextlib import ExitStack
from functools import partial
from ipaddress import IPv4Address, IPv4Network
from pathlib import Path

from phonesim.config.fleet_profile import OwnMac
from phonesim.device.actions import ConfigureAddress, SendDhcp, SendDns
from phonesim.device.events import AddressClaimed, AddressProbed, DhcpMessageReceived
from phonesim.device.outcome import Stage
from phonesim.drivers.arp import Arp
from phonesim.drivers.client_ports import read_dhcp
from phonesim.drivers.frame_hosts import FrameHosts
from phonesim.drivers.interface import Interface
from phonesim.drivers.interface_capture import capture_interfaces
from phonesim.drivers.leftovers import describe_leftovers, remove_leftovers
from phonesim.drivers.link_phones import LinkPhones
from phonesim.drivers.live_world import LiveWorld
from phonesim.drivers.lldp_port import LldpPort
from phonesim.drivers.mac_claim import MacClaim
from phonesim.drivers.open_files import allow_open_files
from phonesim.drivers.own_macs import OwnMacs
from phonesim.drivers.packet_socket import PacketSocket, dhcp_program
from phonesim.drivers.phone_host import PhoneHost
from phonesim.drivers.refusals import BY_THIS_MACHINE, Refusals
from phonesim.drivers.site_wire import WireDhcpPorts
from phonesim.drivers.voice_vlan import VoiceVlans
from phonesim.errors import DecodeError, UsageError
from phonesim.mocksite.site import Site
from phonesim.wire.dhcp import (
    BROADCAST,
    CLIENT_PORT,
    SERVER_PORT,
    encode_dhcp,
    format_mac,
)
from phonesim.wire.dns import DNS_PORT
from phonesim.wire.frame import (
    BROADCAST_MAC,
    UdpFrame,
    decode_udp_frame,
    encode_udp_frame,
    is_arp_frame,
)
from phonesim.wire.ipv4 import pack_address
from phonesim.world import Observer

_SHORTEST_PREFIX = 8
_LINGER_SECONDS = 0.5
_CAPABILITIES = {"CAP_NET_ADMIN": 12, "CAP_NET_RAW": 13}


async def open_wire(world: LiveWorld, interface: str, own_mac: OwnMac | None) -> VoiceVlans:
    """Open the interface of that name to phones, and serve the site there.

    The site's servers get their addresses on the same interface and answer anybody on that
    network. Without an `own_mac` phones have theirs in everything if this machine can do it;
    the world is told which it was. `UsageError` if this machine does not permit it.
    """
    fleet, closing, failures = world.fleet, world.closing, world.failures
    left_behind = remove_leftovers()
    if left_behind:
        fleet.note(f"removed what a killed run had left: {describe_leftovers(left_behind)}")
    has_sockets = any(spec.may_register for spec in fleet.specs)
    asks_dns = {spec.last_stage for spec in fleet.specs} != {Stage.IP}
    allow_open_files(len(fleet.specs) if has_sockets else 0, has_site=fleet.site is not None)
    claim = MacClaim(interface, (spec.mac for spec in fleet.specs))
    closing.callback(claim.release)
    network = Interface(interface)
    closing.callback(network.close)
    # DNS that a truncated answer sends on to TCP needs the kernel after all.
    own_macs = _open_own_macs(network, own_mac, fleet.note) if asks_dns else None
    if not asks_dns:
        fleet.note("phones had MACs of their own in full: all their frames were made here")
    if own_macs is not None:
        closing.callback(own_macs.close)
        failures.append(own_macs.failure)
    closing.callback(network.clear)
    if fleet.site is not None:
        for listener in fleet.site.listeners:
            _check_address(listener.address)
            network.add_address(listener.address)
        await world.serve_site(0, partial(WireDhcpPorts, network))
    if fleet.capture is not None:
        sees_interface = own_macs is None and has_sockets
        ouis = None if sees_interface else {spec.mac[:3] for spec in fleet.specs}
        names = (interface,) if fleet.site is None else (interface, "lo")
        await closing.enter_async_context(
            capture_interfaces(names, fleet.capture, ouis, fleet.note)
        )
    open_link = partial(_open_link, has_sockets=has_sockets, world=world)
    link = open_link(network, own_macs, world.squatters)
    closing.callback(link.close)
    failures.append(link.failure)
    lldp = LldpPort(network.name, network.index, link.unsent)
    closing.callback(lldp.close)

    def open_vlan(tap: Interface, opening: ExitStack) -> WireLink:
        own_macs = None
        if asks_dns:
            own_macs = _open_own_macs(tap, own_mac, lambda _: None)
        if own_macs is not None:
            opening.callback(own_macs.close)
            own_macs.failure.add_done_callback(vlans.watch)
        opening.callback(tap.clear)
        tagged = open_link(tap, own_macs, frozenset())
        opening.callback(tagged.close)
        tagged.failure.add_done_callback(vlans.watch)
        return tagged

    vlans = VoiceVlans(network, link, lldp, open_vlan)
    closing.callback(vlans.close)
    failures.append(vlans.failure)
    return vlans


def check_wire(interface: str, macs: Iterable[bytes], site: Site | None) -> None:
    """`UsageError` if a run with these MACs could not begin now; nothing is changed."""
    check_privileges()
    Interface(interface).close()
    MacClaim(interface, macs).release()
    if site is not None:
        for listener in site.listeners:
            _check_address(listener.address)


def check_privileges() -> None:
    """`UsageError` if this process may not open raw sockets or change interfaces."""
    status = Path("/proc/self/status").read_text()
    effective = int(status.partition("CapEff:")[2].split()[0], 16)
    missing = [name for name, bit in _CAPABILITIES.items() if not effective >> bit & 1]
    if missing:
        raise UsageError(
            f"the wire world needs {' and '.join(missing)}: run it as root, or use "
            "--attach loopback, which needs no privileges"
        )


class WireLink:
    """How phones reach the network on a real interface (`phone_host.AddressLink`).

    With `has_sockets` every phone's address is in the kernel, which sends with the
    interface's MAC without `own_macs`; otherwise an address goes there when DNS over TCP
    is wanted. `squatters` are addresses to be taken for used, whatever ARP says. `failure` is
    done, with a `UsageError`, if phones cannot be there. OSError if the interface cannot be
    opened.
    """

    port_offset = 0

    def __init__(
        self,
        interface: Interface,
        has_sockets: bool,
        own_macs: OwnMacs | None,
        squatters: frozenset[str],
        observer: Observer,
        clock: Callable[[], float],
    ) -> None:
        self._interface = interface
        self._has_sockets = has_sockets
        self._own_macs = own_macs
        self._phones = LinkPhones(squatters)
        self._configured: dict[str, ConfigureAddress] = {}
        self._handed: set[str] = set()
        self._leaving: dict[str, asyncio.TimerHandle] = {}
        self._refusals = Refusals(interface.name, BY_THIS_MACHINE, observer, clock)
        program = dhcp_program(CLIENT_PORT, takes_arp=True, is_host=not has_sockets)
        self._socket = PacketSocket(interface.name, interface.index, program, self._arrived)
        self._arp = Arp(self._send, self._claimed)
        self._framed = FrameHosts(self._arp, self._send, self._next_hop)
        self._on_interface = interface.phone_addresses(self.unsent)
        self._sink = _open_sink(interface.name)
        self.failure: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def close(self) -> None:
        """Close every socket. What is still on the interface goes with it."""
        if not self.failure.cancel() and not self.failure.cancelled():
            self.failure.exception()  # the run has ended for another reason
        for timer in self._leaving.values():
            timer.cancel()
        self._on_interface.close()
        self._arp.close()
        self._socket.close()
        if self._sink is not None:
            self._sink.close()

    async def drained(self) -> None:
        """Wait until the addresses that phones gave up are off the interface."""
        if self._leaving:
            await asyncio.sleep(_LINGER_SECONDS)

    def attach(self, phone: PhoneHost) -> None:
        """Take a phone that has power."""
        self._phones.attach(phone)

    def detach(self, phone: PhoneHost) -> None:
        """Let a phone go that has lost power."""
        for address in self._phones.detach(phone):
            self._forget(address)

    def send_dhcp(self, phone: PhoneHost, action: SendDhcp) -> None:
        """Send a frame with the phone's MAC, to everybody or to the next hop."""
        if action.destination == BROADCAST:
            self._send_dhcp_to(phone.spec.mac, action, BROADCAST_MAC)
        else:
            next_hop = self._next_hop(action.source, action.destination)
            send_to = partial(self._send_dhcp_to, phone.spec.mac, action)
            self._arp.resolve(next_hop, self._mac(phone), action.source, send_to)

    def takes_dns(self, phone: PhoneHost, action: SendDns) -> bool:
        """Send a query in a frame, or see to it that the phone's sockets can."""
        if action.source not in self._framed:
            return False
        if action.over_tcp:
            self._hand_to_kernel(phone, action)
        else:
            self._framed.send_dns(phone, action)
        return True

    def probe_address(self, phone: PhoneHost, address: str) -> None:
        """Ask the network, after those who are known here.

        The address is the phone's from now on, unless somebody has it: its MAC must be
        in place before the address is, and the address before the phone sends from it.
        """
        conflict = self._phones.conflict(phone, address)
        if conflict is not None:
            _tell_probed(phone, address, conflict)
            return
        if address in self._leaving:
            self._leave(address)
        self._phones.take_address(phone, address)
        if self._has_sockets and self._own_macs is not None:
            self._own_macs.add(address, phone.spec.mac)
        asked = partial(self._probed, phone, address)
        self._arp.probe(address, phone.spec.mac, phone.spec.profile.arp, asked)

    def _probed(self, phone: PhoneHost, address: str, conflict: str | None) -> None:
        if self._phones.user_of(address) is not phone:
            return
        if conflict is not None:
            self.remove_address(phone, address)
            _tell_probed(phone, address, conflict)
        elif self._has_sockets:
            self._place(address, partial(self._probed_free, phone, address))
        else:
            self._probed_free(phone, address)

    def _probed_free(self, phone: PhoneHost, address: str) -> None:
        _tell_probed(phone, address, None)
        if self._phones.user_of(address) is phone and address not in self._configured:
            self.remove_address(phone, address)

    def configure_address(self, phone: PhoneHost, action: ConfigureAddress) -> None:
        """Give the address, which is on the interface since it was probed, a way out.

        Without sockets it is not there, and the frames that it needs are made here.
        """
        address = action.address
        self._configured[address] = action
        if self._has_sockets:
            self._give_way_out(action)
        else:
            self._framed.take(address, phone)
        timing = phone.spec.profile.arp
        self._announce(phone, address, timing.announcements, timing.announce_interval)

    def announce_address(self, phone: PhoneHost, address: str) -> None:
        """Announce the address once more."""
        self._announce(phone, address, 1, 0)

    def remove_address(self, phone: PhoneHost, address: str) -> None:
        """Take the address off the interface."""
        if self._phones.give_up_address(phone, address):
            self._forget(address)

    def unsent(self, error: OSError) -> None:
        """Report each kind of refusal once."""
        self._refusals.met(error)

    def _send_dhcp_to(self, source_mac: bytes, action: SendDhcp, destination_mac: bytes) -> None:
        self._send(
            encode_udp_frame(
                UdpFrame(
                    source_mac=source_mac,
                    destination_mac=destination_mac,
                    source=action.source,
                    destination=action.destination,
                    source_port=CLIENT_PORT,
                    destination_port=SERVER_PORT,
                    payload=encode_dhcp(action.message),
                )
            )
        )

    def _send(self, frame: bytes) -> None:
        error = self._socket.send(frame)
        if error is not None:
            self.unsent(error)

    def _announce(self, phone: PhoneHost, address: str, times: int, interval: float) -> None:
        action = self._configured.get(address)
        self._arp.announce(
            address,
            self._mac(phone),
            times,
            interval,
            lambda: action is not None and self._configured.get(address) is action,
        )

    def _claimed(self, address: str, mac: bytes) -> None:
        """Tell the phone whose address somebody else claims."""
        phone = self._phones.user_of(address)
        if phone is None or address not in self._configured:
            return
        if mac not in (phone.spec.mac, self._interface.mac):
            phone.deliver(AddressClaimed(address=address, mac=format_mac(mac)))

    def _mac(self, phone: PhoneHost) -> bytes:
        """The MAC at which what is for the phone is taken."""
        is_kernels = self._has_sockets and self._own_macs is None
        return self._interface.mac if is_kernels else phone.spec.mac

    def _place(self, address: str, ready: Callable[[], None]) -> None:
        """Put an address on the interface as soon as its MAC is in place there."""

        def place() -> None:
            self._on_interface.want(address, True)
            self._on_interface.when_done(address, ready)

        if self._own_macs is None:
            place()
        else:
            self._own_macs.when_added(address, place)

    def _hand_to_kernel(self, phone: PhoneHost, action: SendDns) -> None:
        """Let the phone's sockets have its address from now on, and send what it wants."""
        address = action.source

        def ready() -> None:
            configured = self._configured.get(address)
            if self._phones.user_of(address) is not phone or configured is None:
                return
            self._give_way_out(configured)
            self._framed.give_up(address)
            phone.send_dns(action)

        self._handed.add(address)
        if self._own_macs is not None:
            self._own_macs.add(address, phone.spec.mac)
        self._place(address, ready)

    def _give_way_out(self, action: ConfigureAddress) -> None:
        try:
            self._interface.route(_subnet(action), action.routers[0] if action.routers else None)
        except OSError as error:
            self.unsent(error)
        except UsageError as error:
            if not self.failure.done():
                self.failure.set_exception(error)

    def _forget(self, address: str) -> None:
        was_configured = self._configured.pop(address, None) is not None
        if address in self._framed:
            self._framed.give_up(address)
        elif not self._has_sockets and address not in self._handed:
            pass  # it was being probed, and is nowhere yet
        elif was_configured:
            # The phone's connections were closed just now: their last segments need the
            # address, or the servers keep them for ever.
            loop = asyncio.get_running_loop()
            self._leaving[address] = loop.call_later(_LINGER_SECONDS, self._leave, address)
        else:
            self._withdraw(address)

    def _leave(self, address: str) -> None:
        self._leaving.pop(address).cancel()
        self._withdraw(address)

    def _withdraw(self, address: str) -> None:
        self._handed.discard(address)

        def withdrawn() -> None:
            if self._own_macs is not None and self._phones.user_of(address) is None:
                self._own_macs.remove(address)

        self._on_interface.want(address, None)
        self._on_interface.when_done(address, withdrawn)

    def _next_hop(self, source: str, destination: str) -> str:
        action = self._configured.get(source)
        if action is None or not action.routers:
            return destination
        mask = int.from_bytes(pack_address(action.subnet_mask), "big")
        apart = int.from_bytes(pack_address(source), "big") ^ int.from_bytes(
            pack_address(destination), "big"
        )
        return action.routers[0] if apart & mask else destination

    def _arrived(self, data: bytes) -> None:
        if is_arp_frame(data):
            self._arp.heard(data)
            return
        try:
            frame = decode_udp_frame(data, verify_udp_checksum=False)
        except DecodeError:
            return
        if frame is None:
            self._framed.received_ping(data)
            return
        if frame.source_port == DNS_PORT:
            self._framed.received_dns(frame)
            return
        phone = self._phones.addressed_by(frame.payload)
        if phone is None:
            return
        event = read_dhcp(frame.payload, (frame.source, frame.source_port))
        if isinstance(event, DhcpMessageReceived):
            self._arp.learn(frame.source, frame.source_mac)
        phone.deliver(event)


def _tell_probed(phone: PhoneHost, address: str, conflict: str | None) -> None:
    phone.deliver(AddressProbed(address=address, conflict=conflict))


def _open_own_macs(
    network: Interface, wanted: OwnMac | None, note: Callable[[str], None]
) -> OwnMacs | None:
    if wanted == "dhcp-only":
        note("phones had MACs of their own in DHCP only, as asked")
        return None
    try:
        own_macs = OwnMacs(network.name, network.mac, network.mark)
    except UsageError as error:
        if wanted == "full":
            raise UsageError(f"phones cannot have MACs of their own in full: {error}") from None
        note(f"phones had MACs of their own in DHCP only: {error}")
        return None
    note("phones had MACs of their own in full")
    return own_macs


def _open_link(
    network: Interface,
    own_macs: OwnMacs | None,
    squatters: frozenset[str],
    *,
    has_sockets: bool,
    world: LiveWorld,
) -> WireLink:
    observer, clock = world.fleet.observer, world.clock
    try:
        return WireLink(network, has_sockets, own_macs, squatters, observer, clock)
    except OSError as error:
        raise UsageError(
            f"interface {network.name}: it gives no raw frames: {error.strerror or error}"
        ) from None


def _subnet(action: ConfigureAddress) -> IPv4Network:
    """The network that a lease is in: the address alone, if the server's mask makes no sense."""
    try:
        subnet = IPv4Network(f"{action.address}/{action.subnet_mask}", strict=False)
    except ValueError:
        return IPv4Network(action.address)
    return subnet if subnet.prefixlen >= _SHORTEST_PREFIX else IPv4Network(action.address)


def _open_sink(interface: str) -> socket.socket | None:
    """A socket that keeps the kernel from answering DHCP with "port unreachable".

    None if another program has the port, which serves as well.
    """
    sink = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    try:
        sink.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, interface.encode())
        sink.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1)
        sink.bind(("", CLIENT_PORT))
    except OSError:
        sink.close()
        return None
    return sink


def _check_address(address: str) -> None:
    if IPv4Address(address).is_loopback:
        raise UsageError(
            f"the site's address {address} is a loopback address, which no other machine can "
            "reach: use --attach loopback, or a site with addresses of this network"
        )
