"""Phones whose addresses the kernel does not have: what makes hosts of them, in whole frames.

A phone that only leases an address, or only asks DNS, needs no socket of the kernel's. ARP
questions for its address and pings are answered here, and its DNS queries leave from it with
its MAC, all through the one raw socket of the link: thousands of phones cost no file
descriptor, no address on the interface and no system call beyond their packets.

Specifications: RFC 826, RFC 792 (echo), RFC 1035 section 4.2.1.
"""

from __future__ import annotations

from collections.abc import Callable

from phonesim.device.actions import SendDns
from phonesim.drivers.arp import Arp
from phonesim.drivers.datagrams import read_dns
from phonesim.drivers.phone_host import PhoneHost
from phonesim.wire.dns import DNS_PORT, encode_query
from phonesim.wire.frame import UdpFrame, answer_echo, encode_udp_frame

_FIRST_PORT, _PORTS = 49152, 16384  # the dynamic ports of RFC 6335


class FrameHosts:
    """The phones of one link, by address.

    `send` sends a frame; `next_hop` gives the address to which what a phone sends to another
    goes first.
    """

    def __init__(
        self, arp: Arp, send: Callable[[bytes], None], next_hop: Callable[[str, str], str]
    ) -> None:
        self._arp = arp
        self._send = send
        self._next_hop = next_hop
        self._phones: dict[str, PhoneHost] = {}

    def __contains__(self, address: str) -> bool:
        """Whether that is the address of a phone here."""
        return address in self._phones

    def take(self, address: str, phone: PhoneHost) -> None:
        """Let a phone have an address."""
        self._phones[address] = phone
        self._arp.answer(address, phone.spec.mac)

    def give_up(self, address: str) -> None:
        """Forget an address."""
        self._phones.pop(address, None)
        self._arp.answer_no_more(address)

    def send_dns(self, phone: PhoneHost, action: SendDns) -> None:
        """Send a query by UDP."""
        try:
            query = encode_query(action.query)
        except ValueError:
            return  # no DNS message can hold such a name, so no server knows it
        mac, source, server = phone.spec.mac, action.source, action.server

        def send_to(destination_mac: bytes) -> None:
            self._send(
                encode_udp_frame(
                    UdpFrame(
                        source_mac=mac,
                        destination_mac=destination_mac,
                        source=source,
                        destination=server,
                        source_port=_port(mac),
                        destination_port=DNS_PORT,
                        payload=query,
                    )
                )
            )

        self._arp.resolve(self._next_hop(source, server), mac, source, send_to)

    def received_dns(self, frame: UdpFrame) -> None:
        """Take a datagram from a DNS server, if it is for a phone here."""
        phone = self._phones.get(frame.destination)
        if phone is not None and frame.destination_port == _port(phone.spec.mac):
            phone.deliver(read_dns(frame.payload, frame.source, over_tcp=False))

    def received_ping(self, data: bytes) -> None:
        """Answer a frame that asks for an echo from a phone here."""
        answer = answer_echo(data)
        if answer is None:
            return
        phone = self._phones.get(answer.address)
        if phone is not None and answer.mac == phone.spec.mac:
            self._send(answer.octets)


def _port(mac: bytes) -> int:
    """The one port that a phone asks from, as if it had a socket."""
    return _FIRST_PORT + int.from_bytes(mac[-3:], "big") % _PORTS
