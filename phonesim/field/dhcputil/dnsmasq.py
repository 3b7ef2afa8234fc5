"""dnsmasq: options of vendor classes, in dnsmasq.conf or in OpenWrt's dhcp file.

Whole options are given as octets. The other way, `vendor:CLASS,CODE,...`, makes a binary
number of whatever looks like one, the port too, and dnsmasq sends the last one first and ends
such an option in FF [source openwrt #13116]. dnsmasq takes a class for any that contains it.

Specifications: dnsmasq(8), --dhcp-option and --dhcp-vendorclass; checked against dnsmasq.
"""

from __future__ import annotations

import re

import msgspec

from phonesim.errors import DecodeError
from phonesim.field.dhcputil.configured_option import (
    ConfiguredOption,
    ConfiguredSubOption,
    join_sub_options,
)
from phonesim.field.dhcputil.hex_text import read_hex
from phonesim.field.dhcputil.sign_in_values import VLAN_CLASS, SignInValues
from phonesim.wire.ipv4 import is_address, pack_address
from phonesim.wire.provisioning import UC_IDENTIFIER, encode_sip_servers

_NAMES = {"sip-server": 120}
_OPTION = re.compile(
    r"""^\s*(?:--)?(?:list\s+)?dhcp[-_]option(?:[-_]force)?\s*[=\s]\s*['"]?(.*?)['"]?\s*$"""
)
_CLASS = re.compile(
    r"""^\s*(?:--)?(?:list\s+)?dhcp[-_]vendorclass\s*[=\s]\s*['"]?set:([^,]+),(?:enterprise:\d+,)?"""
    r"""(.*?)['"]?\s*$"""
)
_OCTETS = re.compile(r"[0-9A-Fa-f]{1,2}(?::[0-9A-Fa-f]{1,2})+")
_DECIMAL = re.compile(r"(\d+)([bsi]?)")
_COMMENT = re.compile(r"(^|\s)#.*$")
_SIZES = {"b": 1, "s": 2, "i": 4}
_END = b"\xff"


# --- writing -----------------------------------------------------------------


def write_dnsmasq(values: SignInValues) -> str:
    """Lines of dnsmasq.conf."""
    lines = [
        f"dhcp-vendorclass=set:ms-uc-client,{UC_IDENTIFIER}",
        f"dhcp-option=tag:ms-uc-client,43,{values.option_43.hex(':')}",
        f"dhcp-option=tag:ms-uc-client,120,{values.option_120.hex(':')}",
    ]
    if values.vlan_option_43 is not None:
        lines += [
            f"dhcp-vendorclass=set:cpe-ocphone,{VLAN_CLASS}",
            f"dhcp-option=tag:cpe-ocphone,43,{values.vlan_option_43.hex(':')}",
        ]
    return "\n".join(lines) + "\n"


def remove_dnsmasq(values: SignInValues) -> str:
    """The same as comments: a file is cleaned up by hand."""
    head = "# Take these lines out of dnsmasq.conf, and restart dnsmasq:\n"
    return head + "".join(f"# {line}\n" for line in write_dnsmasq(values).splitlines())


# --- reading -----------------------------------------------------------------


class _Given(msgspec.Struct):
    """One dhcp-option: its tags, its vendor class if it is a sub-option, code and values."""

    tags: list[str]
    vendor: str | None
    code: int
    values: list[str]


def read_dnsmasq(text: str) -> list[ConfiguredOption]:
    """Options of a configuration, or of lines of one."""
    lines = [_COMMENT.sub("", line) for line in text.splitlines()]
    class_of_tag = {
        match[1].strip(): match[2].strip() for line in lines if (match := _CLASS.match(line))
    }
    whole: list[ConfiguredOption] = []
    parts: list[ConfiguredSubOption] = []
    classes: dict[str, str | None] = {}
    for number, line in enumerate(lines, 1):
        match = _OPTION.match(line)
        given = _split(match[1]) if match else None
        if given is None or (given.vendor is None and given.code not in (43, 120)):
            continue
        try:
            octets, notes = _value(given)
        except (ValueError, OverflowError, DecodeError) as error:
            raise DecodeError(f"line {number}: option {given.code}: {error}") from None
        vendor_class = next((class_of_tag[tag] for tag in given.tags if tag in class_of_tag), None)
        if given.vendor is None:
            whole.append(
                ConfiguredOption(
                    code=given.code,
                    octets=octets,
                    vendor_class=vendor_class if given.code == 43 else None,
                    line=number,
                    notes=notes,
                )
            )
        else:
            classes[given.vendor] = given.vendor or vendor_class
            parts.append(
                ConfiguredSubOption(
                    code=given.code, value=octets, group=given.vendor, line=number, notes=notes
                )
            )
    joined = [
        msgspec.structs.replace(each, octets=each.octets + _END)
        for each in join_sub_options(reversed(parts), classes)
    ]
    return [*whole, *joined]


def _split(text: str) -> _Given | None:
    """The parts of a dhcp-option; None for one of DHCPv6, or without a code."""
    given = _Given([], None, -1, [])
    fields = [each.strip() for each in text.replace('"', "").split(",")]
    for at, field in enumerate(fields):
        kind, mark, rest = field.partition(":")
        if field.isdigit():
            given.code = int(field)
        elif kind == "option" and mark:
            given.code = _NAMES.get(rest, -1)
        elif kind == "vendor" and mark:
            given.vendor = rest
            continue
        elif kind == "tag" or not mark:
            given.tags.append(rest if mark else field)
            continue
        else:
            return None
        given.values = fields[at + 1 :]
        return given if given.code >= 0 else None
    return None


def _value(given: _Given) -> tuple[bytes, tuple[str, ...]]:
    """The octets that dnsmasq makes of the values."""
    values = given.values
    if len(values) == 1 and _OCTETS.fullmatch(values[0]):
        return read_hex(":".join(each.zfill(2) for each in values[0].split(":"))), ()
    is_sip = given.vendor is None and given.code == 120
    if values and all(map(is_address, values)):
        return b"\x01" * is_sip + b"".join(map(pack_address, values)), ()
    if is_sip:
        return encode_sip_servers(values), ()
    number = _DECIMAL.fullmatch(values[0]) if len(values) == 1 else None
    if number is None:
        return ",".join(values).encode(), ()
    value = int(number[1])
    size = _SIZES.get(number[2]) or (4 if value > 0xFFFF else 2 if value > 0xFF else 1)
    shown = ":".join(f"{octet:02x}" for octet in number[1].encode())
    note = f"dnsmasq sends {values[0]} as a binary number; as text it is {shown}"
    return value.to_bytes(size, "big"), (note,)
