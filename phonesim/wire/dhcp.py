"""DHCP messages: the fixed BOOTP fields and the options that follow the cookie.

Options are kept as a mapping from code to value, in wire order. A long option
that RFC 3396 splits over several instances is one value here, and options that
`OPTION_OVERLOAD` moved into `file` and `sname` are merged back.

Specifications: RFC 2131 (messages), RFC 2132 (options), RFC 3396 (long
options), RFC 1542 section 2.1 (field widths).
"""

from __future__ import annotations

from enum import IntEnum

import msgspec

BOOTREQUEST = 1
BOOTREPLY = 2
BROADCAST_FLAG = 0x8000
SERVER_PORT = 67
CLIENT_PORT = 68
UNSPECIFIED = "0.0.0.0"
BROADCAST = "255.255.255.255"


class MessageType(IntEnum):
    """Values of option 53, RFC 2132 section 9.6."""

    DISCOVER = 1
    OFFER = 2
    REQUEST = 3
    DECLINE = 4
    ACK = 5
    NAK = 6
    RELEASE = 7
    INFORM = 8


class Option(IntEnum):
    """The IANA option codes that phones and the mock site use by name."""

    SUBNET_MASK = 1
    TIME_OFFSET = 2
    ROUTER = 3
    TIME_SERVER = 4
    DOMAIN_NAME_SERVER = 6
    HOST_NAME = 12
    DOMAIN_NAME = 15
    NTP_SERVERS = 42
    VENDOR_SPECIFIC_INFORMATION = 43
    REQUESTED_IP_ADDRESS = 50
    IP_ADDRESS_LEASE_TIME = 51
    OPTION_OVERLOAD = 52
    DHCP_MESSAGE_TYPE = 53
    SERVER_IDENTIFIER = 54
    PARAMETER_REQUEST_LIST = 55
    MESSAGE = 56
    MAXIMUM_DHCP_MESSAGE_SIZE = 57
    RENEWAL_TIME = 58
    REBINDING_TIME = 59
    VENDOR_CLASS_IDENTIFIER = 60
    CLIENT_IDENTIFIER = 61
    DOMAIN_SEARCH = 119
    SIP_SERVERS = 120


class DhcpMessage(msgspec.Struct, frozen=True, kw_only=True):
    """One DHCP message. Addresses are dotted quads, `chaddr` the 6 octets of a MAC.

    `options` maps a code to its whole value, in wire order; it includes option
    53 and leaves out PAD, END and OPTION_OVERLOAD.
    """

    message_type: MessageType
    xid: int
    chaddr: bytes
    op: int = BOOTREQUEST
    hops: int = 0
    secs: int = 0
    flags: int = 0
    ciaddr: str = UNSPECIFIED
    yiaddr: str = UNSPECIFIED
    siaddr: str = UNSPECIFIED
    giaddr: str = UNSPECIFIED
    sname: bytes = b""
    file: bytes = b""
    options: dict[int, bytes] = msgspec.field(default_factory=dict)

    @property
    def is_broadcast(self) -> bool:
        """Whether the client asked for a broadcast reply (RFC 2131 section 4.1)."""
        return bool(self.flags & BROADCAST_FLAG)
