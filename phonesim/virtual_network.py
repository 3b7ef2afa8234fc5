"""The virtual network: where phones and servers are plugged in, and what travels between them.

A datagram arrives after the link's latency and jitter, or is lost. All randomness comes
from the seed. The network knows neither phones nor servers, but a `PhonePort` for each boot
of a phone and a `ServerPort` for each server; connections are in `virtual_connections`.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Collection

import msgspec

from phonesim.config.fleet_profile import Links
from phonesim.device import actions as do
from phonesim.device import events as on
from phonesim.mocksite import exchange as site_side
from phonesim.virtual_capture import VirtualCapture
from phonesim.virtual_time import VirtualTime
from phonesim.wire.dhcp import BROADCAST, CLIENT_PORT
from phonesim.wire.dns import DNS_PORT
from phonesim.wire.ntp import NTP_PORT
from phonesim.world import PhoneSpec

_SQUATTER = "02-00-00-00-00-01"


class ServerPort:
    """A server's place in the network: `receive` takes what reaches it."""

    __slots__ = ("is_down", "receive")

    def __init__(self, receive: Callable[[site_side.ServerEvent], None]) -> None:
        self.receive = receive
        self.is_down = False  # what opens a connection is refused


class PhonePort:
    """A phone's place in the network in one boot: `receive` takes what reaches it."""

    __slots__ = ("address", "closed_exchange", "exchanges", "receive", "spec", "streams", "vlan_id")

    def __init__(self, spec: PhoneSpec, receive: Callable[[on.Event], None]) -> None:
        self.spec = spec
        self.receive = receive
        self.address: str | None = None
        self.vlan_id: int | None = None
        self.streams: dict[int, Session] = {}  # by the phone's numbers
        self.exchanges: set[int] = set()  # by the servers' numbers
        self.closed_exchange: int | None = None  # the last one, if the server closed after it


class Session:
    """What a phone has under way with a server: an HTTP exchange, or an open SIP connection.

    `phone_number` is what the phone calls it, `server_number` what the server does.
    """

    __slots__ = ("phone", "phone_number", "server", "server_number")

    def __init__(
        self, phone: PhonePort, phone_number: int, server: ServerPort, server_number: int
    ) -> None:
        self.phone = phone
        self.phone_number = phone_number
        self.server = server
        self.server_number = server_number


class VirtualNetwork:
    """Links, the servers that are reached over them, and the phones by their addresses.

    `squatters` are addresses that somebody has without a lease; `capture` is told what phones
    send and meet.
    """

    def __init__(
        self,
        time: VirtualTime,
        links: Links,
        seed: int,
        squatters: Collection[str],
        capture: VirtualCapture | None,
    ) -> None:
        self.time = time
        self.capture = capture
        self.latency = links.latency
        self.slowest = links.latency + links.jitter
        self._jitter = links.jitter
        self._loss = links.loss
        self._rng = random.Random(f"{seed}/links")
        self._squatters = squatters
        self._listeners: dict[tuple[str, str, int], tuple[site_side.Listener, ServerPort]] = {}
        self._dhcp: list[tuple[site_side.Listener, ServerPort]] = []
        self._switch: ServerPort | None = None
        self._by_mac: dict[bytes, PhonePort] = {}
        self._by_id: dict[str, PhonePort] = {}
        self._by_address: dict[str, PhonePort] = {}

    def delay(self) -> float:
        """One way over a link, in seconds."""
        return self.latency + self._jitter * self._rng.random()

    def _is_lost(self) -> bool:
        return self._loss > 0 and self._rng.random() < self._loss

    # --- who is there ---

    def listen(self, listener: site_side.Listener, server: ServerPort) -> None:
        """A server takes what comes to `listener`, until another one takes its place."""
        if listener.protocol == "dhcp":
            self._dhcp.append((listener, server))
        if not listener.refuses:
            self._listeners[listener.protocol, listener.address, listener.port] = listener, server

    def connect_switch(self, server: ServerPort) -> None:
        """Every phone is plugged into this switch, which hears its LLDP."""
        self._switch = server

    def listener(
        self, protocol: str, address: str, port: int
    ) -> tuple[site_side.Listener, ServerPort] | None:
        """Who takes what comes there."""
        return self._listeners.get((protocol, address, port))

    def show_certificate(self, server: ServerPort, certificate: str) -> None:
        """From now on a server shows this kind of certificate, wherever it listens."""
        for key, (listener, its) in self._listeners.items():
            if its is server:
                shown = msgspec.structs.replace(listener, certificate=certificate)
                self._listeners[key] = (shown, server)

    def plug_in(self, phone: PhonePort) -> None:
        """A phone boots: what is sent to it comes to this port."""
        self._by_mac[phone.spec.mac] = phone
        self._by_id[phone.spec.phone_id] = phone

    def add_address(self, phone: PhonePort, address: str) -> None:
        """A phone has an address."""
        phone.address = address
        self._by_address[address] = phone

    def remove_address(self, phone: PhonePort, address: str) -> None:
        """A phone has it no more."""
        if self._by_address.get(address) is phone:
            del self._by_address[address]
        if phone.address == address:
            phone.address = None

    def unplug(self, phone: PhonePort) -> None:
        """A phone is without power: its address is free."""
        if phone.address is not None:
            self._by_address.pop(phone.address, None)
            phone.address = None

    # --- from a phone ---

    def sent(self, phone: PhonePort, action: do.Action) -> None:
        """A phone did this where something was there to take it."""
        if self.capture is not None:
            self.capture.sent(phone.spec, action, self.time.now)

    def probe(self, phone: PhonePort, address: str) -> None:
        """Ask by ARP who has an address."""
        conflict = None
        other = self._by_address.get(address)
        if address in self._squatters:
            conflict = _SQUATTER
        elif other is not None and other is not phone:
            conflict = other.spec.phone_id
        probed = on.AddressProbed(address=address, conflict=conflict)
        seconds = phone.spec.profile.arp.probe_seconds
        self.time.after(seconds, phone.receive, probed)

    def advertise(self, phone: PhonePort, action: do.AdvertiseLldp) -> None:
        """Take LLDP to the switch. Cables lose nothing: repeating it would say nothing new."""
        self.sent(phone, action)
        if self._switch is not None:
            event = site_side.LldpAdvertised(unit=action.unit, port=phone.spec.phone_id)
            self.time.after(self.latency, self._switch.receive, event)

    def send_dhcp(self, phone: PhonePort, action: do.SendDhcp) -> None:
        """Take a message to the DHCP servers that hear it."""
        self.sent(phone, action)
        event = site_side.DhcpReceived(
            message=action.message, source=action.source, destination=action.destination
        )
        for listener, server in self._dhcp:
            # A broadcast goes no further than its VLAN; what has an address is routed.
            is_heard = (
                listener.on_vlan == phone.vlan_id
                if action.destination == BROADCAST
                else listener.address == action.destination
            )
            if is_heard and not self._is_lost():
                self.time.after(self.delay(), server.receive, event)

    def send_dns(self, phone: PhonePort, action: do.SendDns) -> None:
        """Take a query to its server, if there is one; TCP loses nothing but shakes hands."""
        self.sent(phone, action)
        found = self.listener("dns", action.server, DNS_PORT)
        if found is None or (self._is_lost() and not action.over_tcp):
            return
        event = site_side.DnsReceived(
            query=action.query,
            client=f"{phone.spec.phone_id} {action.server}",
            over_tcp=action.over_tcp,
        )
        handshake = 2 * self.delay() if action.over_tcp else 0.0
        self.time.at(self.time.now + handshake + self.delay(), found[1].receive, event)

    def send_ntp(self, phone: PhonePort, action: do.SendNtp) -> None:
        """Take a packet to its server, if there is one."""
        self.sent(phone, action)
        found = self.listener("ntp", action.server, NTP_PORT)
        if found is None or self._is_lost():
            return
        client = f"{phone.spec.phone_id} {action.server}"
        event = site_side.NtpReceived(packet=action.packet, client=client)
        self.time.after(self.delay(), found[1].receive, event)

    # --- from a server ---

    def answer_dhcp(self, action: site_side.SendDhcpReply) -> None:
        """Take a reply to its phone, if it is sent where that one listens."""
        message = action.message
        phone = self._by_mac.get(message.chaddr)
        if phone is None:
            return
        reaches = action.port == CLIENT_PORT and action.destination in (
            BROADCAST,
            phone.address,
            message.yiaddr,
        )
        if not reaches:
            if self.capture is not None:
                self.capture.astray(phone.spec, action, self.time.now)
        elif not self._is_lost():
            event = on.DhcpMessageReceived(message=message, source=action.source)
            self.time.after(self.delay(), phone.receive, event)

    def answer_lldp(self, action: site_side.SendLldp) -> None:
        """Take the switch's LLDP to the phone at its port."""
        heard = on.LldpReceived(unit=action.unit)
        phone = self._by_id[action.port]
        self.time.after(self.latency, phone.receive, heard)

    def answer_dns(self, action: site_side.SendDnsResponse) -> None:
        """Take a response to the phone that asked."""
        phone_id, _, address = action.client.partition(" ")
        received = on.DnsResponseReceived(
            response=action.response, server=address, over_tcp=action.over_tcp
        )
        if action.over_tcp or not self._is_lost():
            self.time.after(self.delay(), self._by_id[phone_id].receive, received)

    def answer_ntp(self, action: site_side.SendNtpReply) -> None:
        """Take a reply to the phone that asked."""
        phone_id, _, address = action.client.partition(" ")
        received = on.NtpPacketReceived(packet=action.packet, server=address)
        if not self._is_lost():
            self.time.after(self.delay(), self._by_id[phone_id].receive, received)
