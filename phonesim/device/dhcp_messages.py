"""DHCP messages as the phone writes them: its own DHCP client's, and discovery's INFORM.

Who asks names itself and its class, and lists the options that it wants. Who needs no answer,
with RELEASE and DECLINE, only names itself.

Specifications: RFC 2131 sections 3.4, 4.3.2 and 4.4, tables 1 and 5; RFC 2132 section 9.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from phonesim.device import device_log as log
from phonesim.device.actions import SendDhcp
from phonesim.device.device_log import LogRecord
from phonesim.device.dhcp_states import Transmission
from phonesim.device.events import Lease
from phonesim.wire.dhcp import (
    BROADCAST,
    BROADCAST_FLAG,
    UNSPECIFIED,
    DhcpMessage,
    MessageType,
    Option,
    encode_addresses,
)

Output = LogRecord | SendDhcp

_TYPE_VALUES = {kind: bytes((kind,)) for kind in MessageType}


class DhcpWriter:
    """Writes the messages of one client, each with the record that it is sent.

    `vendor_class`, `parameter_request_list` and `host_name` are options 60, 55 and 12 of what
    asks; `secs` says what that field holds, `broadcast_flag` whether an answer to a phone without
    an address is to be broadcast.
    """

    __slots__ = (
        "_flags",
        "_host_name",
        "_mac",
        "_parameter_text",
        "_parameters",
        "_secs",
        "_sends_client_identifier",
        "_vendor_class",
        "_vendor_class_text",
    )

    def __init__(
        self,
        mac: bytes,
        vendor_class: str,
        parameter_request_list: Sequence[int],
        *,
        host_name: str | None = None,
        sends_client_identifier: bool = True,
        broadcast_flag: bool = False,
        secs: Literal["elapsed", "byte-swapped", "zero"] = "elapsed",
    ) -> None:
        self._mac = mac
        self._vendor_class = vendor_class.encode("ascii", "replace")
        self._vendor_class_text = vendor_class
        self._parameters = bytes(parameter_request_list)
        self._parameter_text = ",".join(map(str, parameter_request_list))
        self._host_name = host_name
        self._sends_client_identifier = sends_client_identifier
        self._flags = BROADCAST_FLAG if broadcast_flag else 0
        self._secs = secs

    def discover(self, sent: Transmission) -> list[Output]:
        """Look for servers."""
        message = DhcpMessage(
            message_type=MessageType.DISCOVER,
            xid=sent.xid,
            secs=self._secs_field(sent),
            flags=self._flags,
            chaddr=self._mac,
            options=self._asking(MessageType.DISCOVER),
        )
        return self._sends(message, BROADCAST, sent.attempt)

    def request(
        self,
        sent: Transmission,
        *,
        requested: str | None = None,
        server: str | None = None,
        lease: Lease | None = None,
        destination: str = BROADCAST,
    ) -> list[Output]:
        """Ask for an address that was offered or remembered, or for more time for a `lease`."""
        # RFC 2131 table 5: which of ciaddr, requested address and server identifier go with
        # a REQUEST tells the server in which state the client is.
        options = self._asking(MessageType.REQUEST)
        if requested is not None:
            options[Option.REQUESTED_IP_ADDRESS] = encode_addresses((requested,))
        if server is not None:
            options[Option.SERVER_IDENTIFIER] = encode_addresses((server,))
        message = DhcpMessage(
            message_type=MessageType.REQUEST,
            xid=sent.xid,
            secs=self._secs_field(sent),
            flags=self._flags if lease is None else 0,
            ciaddr=UNSPECIFIED if lease is None else lease.address,
            chaddr=self._mac,
            options=options,
        )
        return self._sends(message, destination, sent.attempt)

    def inform(self, xid: int, address: str, attempt: int) -> list[Output]:
        """Ask for options alone, from an address that the phone has."""
        message = DhcpMessage(
            message_type=MessageType.INFORM,
            xid=xid,
            ciaddr=address,
            chaddr=self._mac,
            options=self._asking(MessageType.INFORM),
        )
        return self._sends(message, BROADCAST, attempt)

    def release(self, xid: int, lease: Lease) -> list[Output]:
        """Give a lease back."""
        options = self._identity(MessageType.RELEASE)
        options[Option.SERVER_IDENTIFIER] = encode_addresses((lease.server,))
        message = DhcpMessage(
            message_type=MessageType.RELEASE,
            xid=xid,
            ciaddr=lease.address,
            chaddr=self._mac,
            options=options,
        )
        return self._sends(message, lease.server)

    def decline(self, xid: int, lease: Lease) -> list[Output]:
        """Tell the server that another host has the address of a lease."""
        options = self._identity(MessageType.DECLINE)
        options[Option.REQUESTED_IP_ADDRESS] = encode_addresses((lease.address,))
        options[Option.SERVER_IDENTIFIER] = encode_addresses((lease.server,))
        message = DhcpMessage(
            message_type=MessageType.DECLINE, xid=xid, chaddr=self._mac, options=options
        )
        return self._sends(message, BROADCAST)

    def _identity(self, message_type: MessageType) -> dict[int, bytes]:
        options: dict[int, bytes] = {Option.DHCP_MESSAGE_TYPE: _TYPE_VALUES[message_type]}
        if self._sends_client_identifier:
            options[Option.CLIENT_IDENTIFIER] = b"\x01" + self._mac
        return options

    def _asking(self, message_type: MessageType) -> dict[int, bytes]:
        options = self._identity(message_type)
        if self._host_name is not None:
            options[Option.HOST_NAME] = self._host_name.encode("ascii", "replace")
        options[Option.VENDOR_CLASS_IDENTIFIER] = self._vendor_class
        options[Option.PARAMETER_REQUEST_LIST] = self._parameters
        return options

    def _secs_field(self, sent: Transmission) -> int:
        match self._secs:
            case "elapsed":
                return sent.secs
            case "byte-swapped":
                return sent.secs >> 8 | (sent.secs & 0xFF) << 8
            case "zero":
                return 0

    def _sends(self, message: DhcpMessage, destination: str, attempt: int = 1) -> list[Output]:
        asks = Option.PARAMETER_REQUEST_LIST in message.options
        return [
            log.DHCP_SENT(
                message.message_type.name,
                message.xid,
                message.secs,
                message.ciaddr,
                destination,
                self._vendor_class_text if asks else "",
                self._parameter_text if asks else "",
                attempt,
            ),
            SendDhcp(message=message, source=message.ciaddr, destination=destination),
        ]
