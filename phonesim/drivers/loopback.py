"""The loopback world: phones and a mock site on 127.0.0.0/8, without privileges.

Every port is the standard port plus an offset. Linux delivers a datagram to
127.255.255.255 to every socket bound to that address and port, which makes it the
broadcast domain of DHCP: phones without an address share one such socket, and a
message belongs to the phone whose MAC is in `chaddr`. A phone with a lease binds its
own 127.x address for everything it sends; its DHCP socket closes when it is idle.

Specifications: RFC 2131 section 4.1; RFC 5227 is played (who else has the address is
known here), and so are LLDP, with the site's switch, and VLANs: which one a phone is in is
told to the DHCP servers. A site that another process serves knows nothing of either.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from functools import partial

from phonesim.device.actions import AdvertiseLldp, ConfigureAddress, SendDhcp, SendDns
from phonesim.device.events import AddressProbed, LldpReceived
from phonesim.drivers.client_ports import ClientPorts, deliver_dhcp
from phonesim.drivers.link_phones import LinkPhones
from phonesim.drivers.live_world import LiveWorld
from phonesim.drivers.open_files import allow_open_files
from phonesim.drivers.phone_host import PhoneHost
from phonesim.drivers.refusals import Refusals
from phonesim.drivers.server_host import ServerHost
from phonesim.drivers.site_datagrams import LOOPBACK_BROADCAST, DhcpPorts
from phonesim.drivers.udp_socket import Address, UdpSocket
from phonesim.errors import UsageError
from phonesim.mocksite.exchange import LldpAdvertised, SendDhcpReply, SendLldp
from phonesim.wire.dhcp import (
    BROADCAST,
    CLIENT_PORT,
    SERVER_PORT,
    UNSPECIFIED,
    encode_dhcp,
)
from phonesim.world import Observer


async def open_loopback(world: LiveWorld, port_offset: int | None) -> LoopbackLink:
    """Open the loopback interface to phones, and serve the site there.

    Without a site one is expected at `port_offset`; with one, None takes the first
    offset that is free. `UsageError` if this machine does not permit it.
    """
    fleet = world.fleet
    if fleet.site is None and port_offset is None:
        raise UsageError(
            "a loopback run without a site needs --port-offset: that of the site to use"
        )
    allow_open_files(len(fleet.specs), has_site=fleet.site is not None)
    vlans: dict[bytes, int] = {}
    listening: list[Callable[[SendDhcpReply], None]] = []
    open_dhcp = partial(DhcpPorts, vlans=vlans, listening=listening)
    site_host = await world.serve_site(port_offset, open_dhcp)
    switch = None
    if site_host is not None:
        port_offset, switch = site_host.port_offset, site_host.switch
    assert port_offset is not None
    link = LoopbackLink(port_offset, world.squatters, fleet.observer, world.clock, switch, vlans)
    world.closing.callback(link.close)
    if fleet.capture is not None:
        listening.append(link.replied)
    return link


class LoopbackLink:
    """How phones reach the network on the loopback interface (`phone_host.PhoneLink`).

    `squatters` are addresses that other hosts use. Phones are plugged into `switch`, and
    `vlans` gets the VLAN of each one, by MAC, that has one. `UsageError` if the port for
    broadcasts cannot be bound.
    """

    def __init__(
        self,
        port_offset: int,
        squatters: frozenset[str],
        observer: Observer,
        clock: Callable[[], float],
        switch: ServerHost | None = None,
        vlans: dict[bytes, int] | None = None,
    ) -> None:
        self.port_offset = port_offset
        self._switch = switch
        self._vlans = {} if vlans is None else vlans
        if switch is not None:
            switch.ports.lldp = self._switch_said
        self._loop = asyncio.get_running_loop()
        self._phones = LinkPhones(squatters)
        self._refusals = Refusals(
            "loopback", "a phone's datagram could not be sent", observer, clock
        )
        self._ports = ClientPorts(CLIENT_PORT + port_offset, self.unsent)
        port = CLIENT_PORT + port_offset
        try:
            self._shared = UdpSocket(
                (LOOPBACK_BROADCAST, port), self._broadcast_arrived, is_busy=True, shares_port=True
            )
        except OSError as error:
            self._ports.close()
            raise UsageError(
                f"port {port} of {LOOPBACK_BROADCAST} cannot be used: {error.strerror}; "
                "choose another --port-offset"
            ) from None

    def close(self) -> None:
        """Close every socket."""
        self._shared.close()
        self._ports.close()

    def attach(self, phone: PhoneHost) -> None:
        """Take a phone that has power."""
        self._phones.attach(phone)

    def detach(self, phone: PhoneHost) -> None:
        """Let a phone go that has lost power."""
        self._vlans.pop(phone.spec.mac, None)
        for address in self._phones.detach(phone):
            self._ports.forget(address)

    def advertise(self, phone: PhoneHost, action: AdvertiseLldp) -> None:
        """Tell the switch, once: no cable loses it, and repeating says nothing new."""
        if phone.tap is not None:
            phone.tap.advertised(action.unit)
        if self._switch is not None:
            self._switch.deliver(LldpAdvertised(unit=action.unit, port=phone.spec.phone_id))

    def join_vlan(self, phone: PhoneHost, vlan_id: int | None) -> None:
        """Note which VLAN the phone is in."""
        if phone.tap is not None:
            phone.tap.joined_vlan(vlan_id)
        self._vlans.pop(phone.spec.mac, None)
        if vlan_id is not None:
            self._vlans[phone.spec.mac] = vlan_id

    def send_dhcp(self, phone: PhoneHost, action: SendDhcp) -> None:
        """Send from the phone's address, or from the shared socket if it has none."""
        socket = self._shared
        if action.source != UNSPECIFIED:
            own = self._ports.open(phone, action.source)
            if own is None:
                return
            socket = own
        destination = LOOPBACK_BROADCAST if action.destination == BROADCAST else action.destination
        payload = encode_dhcp(action.message)
        error = socket.send(payload, (destination, SERVER_PORT + self.port_offset))
        if error is not None:
            self.unsent(error)
        elif phone.tap is not None:
            local, peer = (action.source, CLIENT_PORT), (action.destination, SERVER_PORT)
            phone.tap.sent_datagram(local, peer, payload)

    def replied(self, action: SendDhcpReply) -> None:
        """Let the phone's capture show a reply to it that goes where it does not listen."""
        message = action.message
        phone = self._phones.with_mac(message.chaddr)
        if phone is None or phone.tap is None:
            return
        reaches = message.ciaddr in (UNSPECIFIED, action.destination)
        if not reaches or action.port != CLIENT_PORT:
            local, peer = (action.destination, action.port), (action.source, SERVER_PORT)
            phone.tap.received_datagram(local, peer, encode_dhcp(message))

    def takes_dns(self, phone: PhoneHost, action: SendDns) -> bool:
        """Leave it to the phone's socket."""
        return False

    def probe_address(self, phone: PhoneHost, address: str) -> None:
        """Look who uses the address."""
        conflict = self._phones.conflict(phone, address)
        if phone.tap is not None:
            phone.tap.probed(address, conflict)
        seconds = phone.spec.profile.arp.probe_seconds
        self._loop.call_later(
            seconds, phone.deliver, AddressProbed(address=address, conflict=conflict)
        )

    def configure_address(self, phone: PhoneHost, action: ConfigureAddress) -> None:
        """Note who uses it: the kernel has all of 127.0.0.0/8 already."""
        self._phones.take_address(phone, action.address)

    def announce_address(self, phone: PhoneHost, address: str) -> None:
        """Nobody listens to ARP here."""

    def remove_address(self, phone: PhoneHost, address: str) -> None:
        """Close what was bound to it."""
        if self._phones.give_up_address(phone, address):
            self._ports.forget(address)

    async def drained(self) -> None:
        """No address goes: all of them stay the kernel's."""

    def unsent(self, error: OSError) -> None:
        """Report each kind of refusal once."""
        self._refusals.met(error)

    def _switch_said(self, action: SendLldp) -> None:
        phone = self._phones.with_mac(bytes.fromhex(action.port.replace("-", "")))
        if phone is not None:
            if phone.tap is not None:
                phone.tap.heard_lldp(action.unit)
            phone.deliver(LldpReceived(unit=action.unit))

    def _broadcast_arrived(self, data: bytes, sender: Address) -> None:
        phone = self._phones.addressed_by(data)
        if phone is not None:
            deliver_dhcp(phone, BROADCAST, data, sender)
