"""The DHCP servers whose configuration can be written, and is understood when it is read."""

from __future__ import annotations

import re
from collections.abc import Callable

import msgspec

from phonesim.errors import DecodeError, UsageError
from phonesim.field.dhcputil.bare_hex import guess_code, read_bare, remove_bare, write_bare
from phonesim.field.dhcputil.cisco_ios import read_cisco, remove_cisco, write_cisco
from phonesim.field.dhcputil.configured_option import ConfiguredOption
from phonesim.field.dhcputil.dnsmasq import read_dnsmasq, remove_dnsmasq, write_dnsmasq
from phonesim.field.dhcputil.hex_text import read_hex
from phonesim.field.dhcputil.isc_dhcpd import read_isc_dhcpd, remove_isc_dhcpd, write_isc_dhcpd
from phonesim.field.dhcputil.kea import read_kea, remove_kea, write_kea
from phonesim.field.dhcputil.printed_form import read_dhcputil
from phonesim.field.dhcputil.sign_in_values import SignInValues
from phonesim.field.dhcputil.windows_dhcp import (
    read_netsh,
    read_powershell,
    remove_netsh,
    remove_powershell,
    write_netsh,
    write_powershell,
)

Read = Callable[[str], list[ConfiguredOption]]


class Server(msgspec.Struct, frozen=True):
    """A kind of DHCP server: `write` makes its configuration, `remove` what takes it out again."""

    name: str
    title: str
    write: Callable[[SignInValues], str]
    remove: Callable[[SignInValues], str]
    read: Read


SERVERS = (
    Server("windows-netsh", "Windows DHCP, netsh", write_netsh, remove_netsh, read_netsh),
    Server(
        "windows-powershell",
        "Windows DHCP, PowerShell",
        write_powershell,
        remove_powershell,
        read_powershell,
    ),
    Server("kea", "ISC Kea", write_kea, remove_kea, read_kea),
    Server("isc-dhcpd", "ISC dhcpd", write_isc_dhcpd, remove_isc_dhcpd, read_isc_dhcpd),
    Server("dnsmasq", "dnsmasq", write_dnsmasq, remove_dnsmasq, read_dnsmasq),
    Server("cisco-ios", "Cisco IOS and IOS XE", write_cisco, remove_cisco, read_cisco),
    Server("infoblox", "Infoblox and others that take octets", write_bare, remove_bare, read_bare),
)

_READERS: tuple[Read, ...] = (
    read_dhcputil,
    *(server.read for server in SERVERS if server.read is not read_bare),
)
_NAME = re.compile(r"([A-Za-z0-9-]+\.)+[A-Za-z][A-Za-z0-9-]*\.?")
_BINARY = ("\0", "\ufffd")


def server_named(name: str) -> Server:
    """The server of that name; `UsageError` if there is none."""
    for server in SERVERS:
        if server.name == name:
            return server
    names = ", ".join(server.name for server in SERVERS)
    raise UsageError(f"no DHCP server is called {name!r}: {names}")


def read_options(text: str, code: int | None = None) -> list[ConfiguredOption]:
    """Options 43 and 120 of a configuration, of DHCPUtil's output, or of bare octets.

    `code` is that of octets that nothing labels. In the order of their lines; one that is
    there twice is given once. `DecodeError` if there is none, or if one cannot be read.
    """
    if any(each in text for each in _BINARY):
        raise DecodeError("this is not text: neither a configuration nor hexadecimal digits")
    found = [option for read in _READERS for option in read(text)]
    if not found:
        found = read_bare(text)
        if code is not None and len(found) == 1 and found[0].vendor_class is None:
            found = [msgspec.structs.replace(found[0], code=code)]
    if not found:
        try:
            octets = read_hex(text)
        except DecodeError as error:
            name = text.strip()
            if _NAME.fullmatch(name):
                raise DecodeError(
                    f"no option 43 or 120: it reads like a name. `phonesim dhcputil encode"
                    f" --sip-server {name}` makes options of one, and `phonesim dhcputil decode"
                    f" option 120 ascii {name}` says what comes of one that was entered as text"
                ) from None
            raise DecodeError(
                f"no option 43 or 120 of a DHCP server that is known, and no octets: {error}"
            ) from None
        found = [ConfiguredOption(code=guess_code(octets) if code is None else code, octets=octets)]
    unique: dict[tuple[int, bytes, str | None], ConfiguredOption] = {}
    for option in sorted(found, key=lambda each: each.line):
        unique.setdefault((option.code, option.octets, option.vendor_class), option)
    return list(unique.values())
