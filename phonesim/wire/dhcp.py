"""DHCP messages: the fixed BOOTP fields and the options that follow the cookie.

Options are kept as a mapping from code to value, in wire order. A long option
that RFC 3396 splits over several instances is one value here, and options that
`OPTION_OVERLOAD` moved into `file` and `sname` are merged back.

`encode_dhcp` and the `encode_*` value functions raise ValueError for what no
message can carry (a MAC of 5 octets, an address that is none); that is the
caller's fault. The `decode_*` functions and `parse_mac` raise `DecodeError`.

Specifications: RFC 2131 (messages), RFC 2132 (options), RFC 3396 (long
options), RFC 1542 section 2.1 (field widths), RFC 3046 (option 82).
"""

from __future__ import annotations

import re
import struct
from collections.abc import Sequence
from enum import IntEnum
from functools import lru_cache

import msgspec

from phonesim.errors import DecodeError
from phonesim.wire.ipv4 import pack_address, unpack_address

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
    RELAY_AGENT_INFORMATION = 82
    DOMAIN_SEARCH = 119
    SIP_SERVERS = 120


class DhcpMessage(msgspec.Struct, frozen=True, kw_only=True, gc=False):
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


def encode_dhcp(message: DhcpMessage, maximum_size: int | None = None) -> bytes:
    """The octets of `message`, padded to the 300 that BOOTP relays may insist on.

    Option 53 is written first, from `message_type`, then the others in the
    mapping's order, values over 255 octets in pieces (RFC 3396). If that makes
    more than `maximum_size` octets (of UDP payload: option 57 counts the 28 of
    the IP and UDP headers too), options move into `file` and `sname` as far as
    these are empty. A message that does not fit even so is returned at its full
    size, with no option left out.
    """
    octets = bytearray(_encode_fixed(message, message.sname, message.file))
    octets += _MESSAGE_TYPE_OPTION[message.message_type]
    for code, value in message.options.items():
        size = len(value)
        if code == _DHCP_MESSAGE_TYPE:
            continue
        if not _PAD < code < _END or code == _OPTION_OVERLOAD:
            raise ValueError(f"{code} is not the code of an option that carries a value")
        if size <= _LONGEST_VALUE:
            octets.append(code)
            octets.append(size)
            octets += value
        else:
            for start in range(0, size, _LONGEST_VALUE):
                _append_option(octets, code, value[start : start + _LONGEST_VALUE])
    octets.append(_END)
    if maximum_size is not None and len(octets) > maximum_size:
        octets = _encode_overloaded(message, maximum_size) or octets
    return bytes(octets).ljust(_MINIMUM_SIZE, b"\0")


def decode_dhcp(data: bytes) -> DhcpMessage:
    """Read a message; `DecodeError` says at which octet it is not one.

    Offsets in the error's text count from 0 at `op`. PAD is skipped, nothing
    after END is read. A missing END is tolerated where the field ends exactly
    behind an option: nothing is lost by it, and the rest of the message is
    still plain. Trailing zeros of `sname` and `file` are left out; a field that
    carried options is empty.
    """
    if len(data) < _OPTIONS_AT:
        raise DecodeError(
            f"{len(data)} octets: a DHCP message has at least {_OPTIONS_AT} up to its options"
        )
    (
        op,
        htype,
        hlen,
        hops,
        xid,
        secs,
        flags,
        ciaddr,
        yiaddr,
        siaddr,
        giaddr,
        chaddr,
        sname,
        file,
        cookie,
    ) = _FIXED.unpack_from(data)
    if op not in (BOOTREQUEST, BOOTREPLY):
        raise DecodeError(f"op at offset 0 is {op}, neither BOOTREQUEST (1) nor BOOTREPLY (2)")
    if htype != _ETHERNET or hlen != _MAC_SIZE:
        raise DecodeError(
            f"htype {htype} and hlen {hlen} at offset 1 are not those of Ethernet (1 and 6)"
        )
    if cookie != _COOKIE:
        raise DecodeError(
            f"the magic cookie at offset 236 is {cookie.hex().upper()}, not {_COOKIE.hex()}"
        )
    options: dict[int, bytes] = {}
    _read_options(data, _OPTIONS_AT, len(data), options)
    if _OPTION_OVERLOAD in options:
        overload = options.pop(_OPTION_OVERLOAD)
        if overload not in (b"\1", b"\2", b"\3"):
            raise DecodeError(
                f"option 52 (overload) is {overload.hex().upper() or 'empty'}, not 01, 02 or 03"
            )
        if overload[0] & _FILE_OVERLOADED:
            _read_options(data, _FILE_AT, _COOKIE_AT, options)
            file = b""
        if overload[0] & _SNAME_OVERLOADED:
            _read_options(data, _SNAME_AT, _FILE_AT, options)
            sname = b""
        options.pop(_OPTION_OVERLOAD, None)
    message_type = _MESSAGE_TYPES.get(options.get(_DHCP_MESSAGE_TYPE, b""))
    if message_type is None:
        raise DecodeError(_explain_message_type(options))
    return DhcpMessage(
        message_type=message_type,
        xid=xid,
        chaddr=chaddr,
        op=op,
        hops=hops,
        secs=secs,
        flags=flags,
        ciaddr=unpack_address(ciaddr),
        yiaddr=unpack_address(yiaddr),
        siaddr=unpack_address(siaddr),
        giaddr=unpack_address(giaddr),
        sname=sname.rstrip(b"\0"),
        file=file.rstrip(b"\0"),
        options=options,
    )


def encode_addresses(addresses: Sequence[str]) -> bytes:
    """The value of an option that lists addresses, such as 3, 6 and 42."""
    return b"".join(map(pack_address, addresses))


@lru_cache(maxsize=4096)
def decode_addresses(value: bytes) -> tuple[str, ...]:
    """The addresses of an option that lists them: at least one, 4 octets each."""
    if not value or len(value) % 4:
        raise DecodeError(f"{len(value)} octets are no list of addresses of 4 octets each")
    return tuple(unpack_address(value[at : at + 4]) for at in range(0, len(value), 4))


def encode_relay_information(circuit_id: bytes | None, remote_id: bytes | None) -> bytes:
    """The value of option 82 (RFC 3046) with these sub-options, empty for none of them."""
    given = [(code, octets) for code, octets in ((1, circuit_id), (2, remote_id)) if octets]
    size = sum(2 + len(octets) for _, octets in given)
    if size > _LONGEST_VALUE:
        raise ValueError(f"option 82 has {size} octets, and {_LONGEST_VALUE} is the most")
    return b"".join(bytes((code, len(octets))) + octets for code, octets in given)


def encode_u32(value: int) -> bytes:
    """The value of an option that is a 32-bit number, such as 51, 58 and 59."""
    if not 0 <= value <= 0xFFFFFFFF:
        raise ValueError(f"{value} does not fit in 32 bits")
    return value.to_bytes(4, "big")


def decode_u32(value: bytes) -> int:
    """The 32-bit number of an option."""
    if len(value) != 4:
        raise DecodeError(f"{len(value)} octets are no 32-bit number of 4 octets")
    return int.from_bytes(value, "big")


def format_mac(chaddr: bytes) -> str:
    """A MAC as the phones' inventory writes it: 00-04-F2-00-00-01."""
    return chaddr.hex("-").upper()


def parse_mac(text: str) -> bytes:
    """The 6 octets of a MAC written with hyphens, with colons, or bare."""
    if not _MAC_TEXT.fullmatch(text):
        raise DecodeError(f"{text!r} is not a MAC such as 00-04-F2-00-00-01")
    return bytes.fromhex(text.replace(text[2], "") if len(text) == 17 else text)


_FIXED = struct.Struct("!BBBBIHH4s4s4s4s6s10x64s128s4s")
_SNAME_AT = 44
_FILE_AT = 108
_COOKIE_AT = 236
_OPTIONS_AT = 240
_SNAME_SIZE = _FILE_AT - _SNAME_AT
_FILE_SIZE = _COOKIE_AT - _FILE_AT
_MINIMUM_SIZE = 300
_COOKIE = bytes.fromhex("63825363")
_ETHERNET = 1
_MAC_SIZE = 6
_PAD = 0
_END = 255
_LONGEST_VALUE = 255
_FILE_OVERLOADED = 1
_SNAME_OVERLOADED = 2
_DHCP_MESSAGE_TYPE = int(Option.DHCP_MESSAGE_TYPE)
_OPTION_OVERLOAD = int(Option.OPTION_OVERLOAD)
_MESSAGE_TYPES = {bytes((kind,)): kind for kind in MessageType}
_MESSAGE_TYPE_OPTION = {kind: bytes((_DHCP_MESSAGE_TYPE, 1, kind)) for kind in MessageType}
_MAC_TEXT = re.compile(r"[0-9A-Fa-f]{2}(?P<mark>[-:]?)([0-9A-Fa-f]{2}(?P=mark)){4}[0-9A-Fa-f]{2}")


def _encode_fixed(message: DhcpMessage, sname: bytes, file: bytes) -> bytes:
    if len(message.chaddr) != _MAC_SIZE:
        raise ValueError(f"chaddr has {len(message.chaddr)} octets, not {_MAC_SIZE}")
    if len(sname) > _SNAME_SIZE or len(file) > _FILE_SIZE:
        raise ValueError(
            f"sname has {len(sname)} of at most {_SNAME_SIZE} octets, "
            f"file {len(file)} of at most {_FILE_SIZE}"
        )
    try:
        return _FIXED.pack(
            message.op,
            _ETHERNET,
            _MAC_SIZE,
            message.hops,
            message.xid,
            message.secs,
            message.flags,
            pack_address(message.ciaddr),
            pack_address(message.yiaddr),
            pack_address(message.siaddr),
            pack_address(message.giaddr),
            message.chaddr,
            sname,
            file,
            _COOKIE,
        )
    except struct.error as error:
        raise ValueError(f"a fixed field of the DHCP message is out of range: {error}") from error


def _append_option(octets: bytearray, code: int, value: bytes) -> None:
    octets.append(code)
    octets.append(len(value))
    octets += value


def _encode_overloaded(message: DhcpMessage, maximum_size: int) -> bytearray | None:
    """The message with options in `file` and `sname`; None if it does not fit."""
    marker_size = len(_MESSAGE_TYPE_OPTION[message.message_type]) + 3  # options 53 and 52
    options, file, sname = bytearray(), bytearray(), bytearray()
    areas = [(options, maximum_size - _OPTIONS_AT - marker_size - 1)]
    if not message.file:
        areas.append((file, _FILE_SIZE - 1))
    if not message.sname:
        areas.append((sname, _SNAME_SIZE - 1))
    if areas[0][1] < 0:
        return None
    for code, value in message.options.items():
        if code != _DHCP_MESSAGE_TYPE and not _place_option(areas, code, value):
            return None
    overload = (_FILE_OVERLOADED if file else 0) | (_SNAME_OVERLOADED if sname else 0)
    for area in (file, sname):
        if area:
            area.append(_END)
    fixed = _encode_fixed(message, bytes(sname) or message.sname, bytes(file) or message.file)
    octets = bytearray(fixed)
    octets += _MESSAGE_TYPE_OPTION[message.message_type]
    _append_option(octets, _OPTION_OVERLOAD, bytes((overload,)))
    octets += options
    octets.append(_END)
    return octets


def _place_option(areas: list[tuple[bytearray, int]], code: int, value: bytes) -> bool:
    """Put an option where it fits whole, else in pieces; whether there was room.

    Not every client joins pieces, so an option is cut only if no area takes it
    whole. Pieces go in the order in which a reader joins them.
    """
    if len(value) <= _LONGEST_VALUE:
        for area, room in areas:
            if len(area) + 2 + len(value) <= room:
                _append_option(area, code, value)
                return True
    if not value:
        return False
    for area, room in areas:
        while value and room - len(area) > 2:
            size = min(_LONGEST_VALUE, room - len(area) - 2)
            _append_option(area, code, value[:size])
            value = value[size:]
    return not value


def _read_options(data: bytes, at: int, end: int, options: dict[int, bytes]) -> None:
    """Merge the options of `data[at:end]` into `options`, pieces joined in order."""
    while at < end:
        code = data[at]
        if code == _PAD:
            at += 1
            continue
        if code == _END:
            return
        value_at = at + 2
        if value_at > end:
            raise DecodeError(f"option {code} at offset {at}: its length octet is missing")
        value_end = value_at + data[at + 1]
        if value_end > end:
            left = end - value_at
            raise DecodeError(
                f"option {code} at offset {at}: its length is {data[at + 1]}, "
                f"but only {'1 octet follows' if left == 1 else f'{left} octets follow'}"
            )
        value = data[value_at:value_end]
        options[code] = options[code] + value if code in options else value
        at = value_end


def _explain_message_type(options: dict[int, bytes]) -> str:
    value = options.get(_DHCP_MESSAGE_TYPE)
    if value is None:
        return "option 53 (DHCP message type) is missing: this is BOOTP"
    if len(value) != 1:
        return f"option 53 (DHCP message type) has {len(value)} octets, not 1"
    return f"option 53 (DHCP message type) is {value[0]}, not one of 1 to {len(MessageType)}"
