"""The relay world: phones behind emulated relay agents, and servers anywhere.

A phone's broadcasts go to the servers as its link's relay agents forward them: from a UDP
socket of each agent's giaddr, which this host must have, for there the servers answer.
What a phone sends to a server itself is no agent's business: it leaves from the phone's
leased address, if phones have theirs on this host, and otherwise from the giaddr, with the
same content. The agents' decisions are in `phonesim.relay_agent`.

Nobody else is on a phone's link, so an address is free unless another phone of the fleet
has it. Whatever goes beyond DHCP uses the kernel's sockets, bound to the leased address;
the machine's own routes lead to the servers.

On loopback every address is this host's already, and ports have an offset.

Specifications: RFC 1542 section 4.1, RFC 2131 section 4.1, RFC 3046 section 2.
"""

from __future__ import annotations

import asyncio
import errno
import socket
from collections import Counter
from collections.abc import Callable, Iterable
from functools import partial
from ipaddress import IPv4Address

import msgspec

from phonesim.device.actions import AdvertiseLldp, ConfigureAddress, SendDhcp, SendDns
from phonesim.device.events import AddressProbed, DhcpMessageReceived
from phonesim.drivers.client_ports import ClientPorts, read_dhcp
from phonesim.drivers.interface import Interface
from phonesim.drivers.leftovers import describe_leftovers, remove_leftovers
from phonesim.drivers.link_phones import LinkPhones
from phonesim.drivers.live_world import LiveWorld
from phonesim.drivers.open_files import allow_open_files
from phonesim.drivers.phone_host import PhoneHost
from phonesim.drivers.refusals import BY_THIS_MACHINE, Refusals
from phonesim.drivers.udp_socket import Address, UdpSocket
from phonesim.errors import UsageError
from phonesim.relay_agent import lacks_information, refuse_answer, relay_answer, relay_request
from phonesim.wire.dhcp import (
    BROADCAST,
    CLIENT_PORT,
    SERVER_PORT,
    UNSPECIFIED,
    encode_dhcp,
)
from phonesim.world import Observer

_LINGER_SECONDS = 0.5
"""For the last segments of connections, which need their address."""


class RelayNetwork(msgspec.Struct, frozen=True, kw_only=True):
    """What is between the phones' links and the servers.

    Agents send each request `copies` times to each of `servers`. `interface` takes the
    addresses that this host lacks; phones have theirs here if `has_addresses`.
    """

    servers: tuple[str, ...]
    copies: int = 1
    interface: str | None = None
    has_addresses: bool = False


async def open_relay(world: LiveWorld, network: RelayNetwork, port_offset: int | None) -> RelayLink:
    """Put the relay agents of the fleet's phones on this host.

    A site is served on loopback; with one, a `port_offset` of None takes the first that is free,
    otherwise it is 0. The world is told what the agents met. `UsageError` if this machine does
    not permit it.
    """
    fleet = world.fleet
    allow_open_files(len(fleet.specs), has_site=fleet.site is not None)
    interface = None
    if network.interface is not None:
        left_behind = remove_leftovers()
        if left_behind:
            fleet.note(f"removed what a killed run had left: {describe_leftovers(left_behind)}")
        interface = Interface(network.interface)
        world.closing.callback(interface.close)
    site_host = await world.serve_site(port_offset)
    if site_host is not None:
        port_offset = site_host.port_offset
    giaddrs = dict.fromkeys(each.giaddr for spec in fleet.specs for each in spec.circuits)
    link = RelayLink(
        giaddrs,
        network,
        interface,
        port_offset or 0,
        world.squatters,
        fleet.observer,
        world.clock,
    )
    world.closing.callback(link.close)

    def note_all() -> None:
        for text in link.notes():
            fleet.note(text)

    world.closing.callback(note_all)
    return link


def check_agents(giaddrs: Iterable[str], network: RelayNetwork) -> None:
    """`UsageError` if agents with these addresses could not be here now; nothing is changed.

    For servers beyond this host, which answer at the standard port.
    """
    if network.interface is not None:
        Interface(network.interface).close()
    for giaddr in giaddrs:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as trial:
            try:
                trial.bind((giaddr, SERVER_PORT))
            except OSError as error:
                if error.errno != errno.EADDRNOTAVAIL or network.interface is None:
                    raise UsageError(_explain(error, giaddr, SERVER_PORT)) from None


class RelayLink:
    """How phones reach servers through relay agents (`phone_host.PhoneLink`).

    `giaddrs` are the agents' addresses, and `squatters` addresses that other hosts use.
    `UsageError` if one of the agents cannot be on this host.
    """

    def __init__(
        self,
        giaddrs: Iterable[str],
        network: RelayNetwork,
        interface: Interface | None,
        port_offset: int,
        squatters: frozenset[str],
        observer: Observer,
        clock: Callable[[], float],
    ) -> None:
        self.port_offset = port_offset
        self._servers = [(server, SERVER_PORT + port_offset) for server in network.servers]
        self._copies = network.copies
        self._has_addresses = network.has_addresses
        self._interface = interface
        self._observer = observer
        self._clock = clock
        self._phones = LinkPhones(squatters)
        self._refusals = Refusals("relay", BY_THIS_MACHINE, observer, clock)
        self._ports = ClientPorts(CLIENT_PORT + port_offset, self.unsent)
        self._agents: dict[str, UdpSocket] = {}
        self._refused = Counter[str]()
        self._lacking = 0
        try:
            for giaddr in giaddrs:
                self._agents[giaddr] = self._open_agent(giaddr)
        except UsageError:
            self.close()
            raise

    def close(self) -> None:
        """Close every socket."""
        for agent in self._agents.values():
            agent.close()
        self._ports.close()

    def notes(self) -> list[str]:
        """Say what the agents met that a phone did not."""
        notes = [
            f"relay agents did not pass on {count} answer{'s' if count > 1 else ''}: {reason}"
            for reason, count in self._refused.most_common()
        ]
        if self._lacking:
            notes.append(
                f"{self._lacking} answers came back without option 82: the servers do not send it"
                " back as RFC 3046 wants"
            )
        return notes + [
            f"what phones sent was refused here: {each}" for each in self._refusals.kinds
        ]

    def attach(self, phone: PhoneHost) -> None:
        """Take a phone that has power."""
        self._phones.attach(phone)

    def detach(self, phone: PhoneHost) -> None:
        """Let a phone go that has lost power."""
        for address in self._phones.detach(phone):
            self._ports.forget(address)

    def advertise(self, phone: PhoneHost, action: AdvertiseLldp) -> None:
        """No switch is there to hear it."""

    def join_vlan(self, phone: PhoneHost, vlan_id: int | None) -> None:
        """A phone's VLAN is that of its agent."""

    def send_dhcp(self, phone: PhoneHost, action: SendDhcp) -> None:
        """Relay a broadcast; send what is for one server as it is."""
        circuits = phone.spec.circuits
        own = None
        if self._has_addresses and action.source != UNSPECIFIED:
            own = self._ports.open(phone, action.source)  # servers may answer there, too
        if action.destination != BROADCAST:
            sender = own or self._agents[circuits[0].giaddr]
            server = (action.destination, SERVER_PORT + self.port_offset)
            data = encode_dhcp(action.message)
            self._send(sender, data, server)
            if phone.tap is not None:
                local = (action.source, CLIENT_PORT)
                phone.tap.sent_datagram(local, (action.destination, SERVER_PORT), data)
            return
        for circuit in circuits:
            data = encode_dhcp(relay_request(action.message, circuit))
            agent = self._agents[circuit.giaddr]
            for _ in range(self._copies):
                for server in self._servers:
                    self._send(agent, data, server)
                    if phone.tap is not None:
                        phone.tap.sent_datagram(
                            (circuit.giaddr, SERVER_PORT), (server[0], SERVER_PORT), data
                        )

    def takes_dns(self, phone: PhoneHost, action: SendDns) -> bool:
        """Leave it to the phone's socket."""
        return False

    def probe_address(self, phone: PhoneHost, address: str) -> None:
        """Look who of this fleet uses the address; nobody else is there to be asked."""
        conflict = self._phones.conflict(phone, address)
        phone.deliver(AddressProbed(address=address, conflict=conflict))

    def configure_address(self, phone: PhoneHost, action: ConfigureAddress) -> None:
        """Note who uses it, and put it on the interface if phones need theirs.

        It stays there until the run ends: only servers beyond a router could notice.
        """
        self._phones.take_address(phone, action.address)
        is_usable = self._has_addresses and not IPv4Address(action.address).is_link_local
        if self._interface is not None and is_usable:
            try:
                self._interface.add_address(action.address)
            except OSError as error:
                self.unsent(error)

    def announce_address(self, phone: PhoneHost, address: str) -> None:
        """Nobody of its link is there to hear it."""

    def remove_address(self, phone: PhoneHost, address: str) -> None:
        """Let another phone have it."""
        if self._phones.give_up_address(phone, address):
            self._ports.forget(address)

    async def drained(self) -> None:
        """Wait for what was sent from the addresses that are here for phones."""
        if self._interface is not None and self._has_addresses:
            await asyncio.sleep(_LINGER_SECONDS)

    def unsent(self, error: OSError) -> None:
        """Report each kind of refusal once."""
        self._refusals.met(error)

    def _send(self, sender: UdpSocket, data: bytes, server: Address) -> None:
        error = sender.send(data, server)
        if error is not None:
            self.unsent(error)

    def _answered(self, giaddr: str, data: bytes, sender: Address) -> None:
        phone = self._phones.addressed_by(data)
        if phone is None:
            return
        if phone.tap is not None:
            phone.tap.received_datagram((giaddr, SERVER_PORT), (sender[0], SERVER_PORT), data)
        event = read_dhcp(data, sender)
        if isinstance(event, DhcpMessageReceived):
            message = event.message
            circuit = next((each for each in phone.spec.circuits if each.giaddr == giaddr), None)
            if circuit is None:
                self._refuse("its phone is not behind the agent that it came to", phone, sender)
                return
            refusal = refuse_answer(message, circuit)
            if refusal is not None:
                self._refuse(refusal, phone, sender)
                return
            self._lacking += lacks_information(message, circuit)
            event = DhcpMessageReceived(message=relay_answer(message), source=giaddr)
        phone.deliver(event)

    def _refuse(self, reason: str, phone: PhoneHost, sender: Address) -> None:
        self._refused[reason] += 1
        if self._refused[reason] == 1:
            self._report(
                f"an answer is not passed on: {reason}",
                ("phone", phone.spec.phone_id),
                ("from", sender[0]),
            )

    def _report(self, text: str, *fields: tuple[str, str]) -> None:
        self._observer.report("relay", text, fields, True, self._clock())

    def _open_agent(self, giaddr: str) -> UdpSocket:
        address = (giaddr, SERVER_PORT + self.port_offset)
        arrived = partial(self._answered, giaddr)
        try:
            return UdpSocket(address, arrived, is_busy=True)
        except OSError as error:
            if error.errno != errno.EADDRNOTAVAIL or self._interface is None:
                raise UsageError(_explain(error, *address)) from None
        try:
            self._interface.add_address(giaddr)
            return UdpSocket(address, arrived, is_busy=True)
        except OSError as error:
            raise UsageError(
                f"giaddr {giaddr} cannot be put on interface {self._interface.name}:"
                f" {error.strerror or error}"
            ) from None


def _explain(error: OSError, giaddr: str, port: int) -> str:
    if error.errno == errno.EADDRNOTAVAIL:
        return (
            f"giaddr {giaddr} is not an address of this host, and servers answer there: name the"
            " interface to put it on (--interface IF, as root), or add it yourself"
            f" (ip addr add {giaddr}/32 dev IF); the servers' way to it must lead here"
        )
    if error.errno == errno.EADDRINUSE:
        return (
            f"port {port} of giaddr {giaddr} is taken: end the DHCP server or relay agent that has"
            " it, or choose another giaddr"
        )
    if error.errno == errno.EACCES:
        return (
            f"port {port} of giaddr {giaddr} is for root (or CAP_NET_BIND_SERVICE): run it as root"
        )
    return f"port {port} of giaddr {giaddr} cannot be used: {error.strerror or error}"
