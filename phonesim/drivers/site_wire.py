"""The mock site's DHCP servers on a real interface.

Frames are read and written whole: a client without an address is reached by its MAC,
which no UDP socket can do.

Specifications: RFC 2131 section 4.1.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

from phonesim.drivers.interface import Interface
from phonesim.drivers.packet_socket import PacketSocket, dhcp_program
from phonesim.drivers.server_host import ServerHost
from phonesim.errors import DecodeError
from phonesim.mocksite.exchange import (
    DhcpReceived,
    Listener,
    MalformedArrived,
    SendDhcpReply,
)
from phonesim.wire.dhcp import BROADCAST, SERVER_PORT, decode_dhcp, encode_dhcp
from phonesim.wire.frame import BROADCAST_MAC, UdpFrame, decode_udp_frame, encode_udp_frame


class WireDhcpPorts:
    """The site's DHCP servers on `interface`.

    A relay is answered through the MAC that its message came from.
    """

    def __init__(
        self,
        interface: Interface,
        servers: Sequence[tuple[Listener, ServerHost]],
        port_offset: int,
    ) -> None:
        """OSError if the interface cannot be opened."""
        self._mac = interface.mac
        self._port_offset = port_offset
        self._servers = {listener.address: host for listener, host in servers}
        self._relays: dict[str, bytes] = {}
        program = dhcp_program(SERVER_PORT + port_offset)
        self._socket = PacketSocket(interface.name, interface.index, program, self._arrived)
        for host in self._servers.values():
            host.ports.dhcp = partial(self._reply, host)

    def close(self) -> None:
        """Close the socket."""
        self._socket.close()

    def _arrived(self, data: bytes) -> None:
        try:
            frame = decode_udp_frame(data, verify_udp_checksum=False)
        except DecodeError:
            return
        if frame is None:
            return
        if frame.destination == BROADCAST:
            hosts = list(self._servers.values())
        elif frame.destination in self._servers:
            hosts = [self._servers[frame.destination]]
        else:
            return
        try:
            message = decode_dhcp(frame.payload)
        except DecodeError as error:
            for host in hosts:
                host.deliver(
                    MalformedArrived(protocol="dhcp", source=frame.source, reason=str(error))
                )
            return
        self._relays[message.giaddr] = frame.source_mac
        event = DhcpReceived(message=message, source=frame.source, destination=frame.destination)
        for host in hosts:
            host.deliver(event)

    def _reply(self, host: ServerHost, action: SendDhcpReply) -> None:
        message = action.message
        if action.destination == BROADCAST:
            mac = BROADCAST_MAC
        elif action.destination == message.giaddr:
            mac = self._relays.get(message.giaddr, BROADCAST_MAC)
        else:
            mac = message.chaddr
        frame = UdpFrame(
            source_mac=self._mac,
            destination_mac=mac,
            source=action.source,
            destination=action.destination,
            source_port=SERVER_PORT + self._port_offset,
            destination_port=action.port + self._port_offset,
            payload=encode_dhcp(message),
        )
        host.unsent(self._socket.send(encode_udp_frame(frame)))
