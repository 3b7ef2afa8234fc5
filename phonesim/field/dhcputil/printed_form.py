"""The text that DHCPUtil.exe prints, of both its generations.

The form of Skype for Business Server 2015 is known to the last blank [source]: a line ends
in a blank, and what it calls the length counts hexadecimal digits. Of Lync Server 2010 there
is less [field shudnow, source]: its other spellings, and no line with the whole of option 43.
DHCPUtil has no sub-option 10; the block for the VLAN is made like the other one.

Specifications: device reference section 18.2.
"""

from __future__ import annotations

import re
from typing import Literal

from phonesim.errors import DecodeError
from phonesim.field.dhcputil.configured_option import (
    ConfiguredOption,
    ConfiguredSubOption,
    join_sub_options,
    line_of,
)
from phonesim.field.dhcputil.sign_in_values import VLAN_CLASS, SignInValues, SubOption
from phonesim.wire.provisioning import UC_IDENTIFIER

Dialect = Literal["2010", "2015"]
DIALECTS: tuple[Dialect, ...] = ("2010", "2015")

_INDENT = " " * 8
_SCRIPT = r'"C:\Program Files\Common Files\Skype for Business Server 2015\DHCPConfigScript.bat"'


def print_like_dhcputil(values: SignInValues, dialect: Dialect = "2015") -> str:
    """All lines, the last one ended too."""
    lines = _lines_of_2010(values) if dialect == "2010" else _lines_of_2015(values)
    return "\n".join(lines) + "\n"


def _lines_of_2015(values: SignInValues) -> list[str]:
    lines = [
        f"SIP Server FQDN : {', '.join(values.sip_servers)}",
        f"Certificate Provisioning Service URL : {values.url}",
        "",
        "Option 120:",
        _hex(values.option_120),
        "",
        *_option_43(UC_IDENTIFIER, values.option_43, values.sub_options),
        "",
    ]
    if values.vlan_option_43 is not None and values.vlan_sub_option is not None:
        lines += [*_option_43(VLAN_CLASS, values.vlan_option_43, [values.vlan_sub_option]), ""]
    arguments = [_hex(values.option_120), *(_hex(each.value) for each in values.sub_options)]
    return [
        *lines,
        "To configure DHCP Server with appropriate values, you can do one of the following things:",
        f"{_INDENT}1. Run DHCPUtil on the DHCP Server: use '-RunConfigScript' switch",
        f"{_INDENT}2. Run the following command on the DHCP Server"
        " (modify the path of DHCPConfigScript.bat appropriately):",
        f"{_SCRIPT} Configure {UC_IDENTIFIER} {' '.join(arguments)}",
    ]


def _option_43(vendor_class: str, octets: bytes, sub_options: list[SubOption]) -> list[str]:
    digits = _hex(octets)
    return [
        f"Vendor Class Identifier: {vendor_class}",
        f"Option 43 (for vendor={vendor_class}):",
        f"{_INDENT}Full Option 43 value (Length: {len(digits)}) : ",
        f"{_INDENT}{digits}",
        *(
            f"{_INDENT}sub-option {each.code} <{each.title}>: {_hex(each.value)}"
            for each in sub_options
        ),
    ]


def _lines_of_2010(values: SignInValues) -> list[str]:
    lines = [
        f"Sip Server FQDN: {', '.join(values.sip_servers)}",
        f"Certificate Provisioning Service URL: {values.url}",
        f"Option 120: {_hex(values.option_120)}",
    ]
    blocks = [(UC_IDENTIFIER, values.sub_options)]
    if values.vlan_sub_option is not None:
        blocks.append((VLAN_CLASS, [values.vlan_sub_option]))
    for vendor_class, sub_options in blocks:
        lines += [
            f"Vendor Class Identifier: {vendor_class}",
            f"Option 43 (for vendor={vendor_class}):",
            *(f"Sub-Option {each.code} <{each.title}>: {_hex(each.value)}" for each in sub_options),
        ]
    return lines


def _hex(octets: bytes) -> str:
    return octets.hex().upper()


# --- reading -----------------------------------------------------------------

_OPTION_120 = re.compile(r"^[ \t]*Option 120:\s*([0-9A-Fa-f]+)[ \t\r]*$", re.MULTILINE)
_CLASS = re.compile(r"^[ \t]*Option 43 \(for vendor=([^)\s]+)\):", re.MULTILINE)
_FULL = re.compile(r"^[ \t]*Full Option 43 value \(Length: \d+\) :\s*([0-9A-Fa-f]+)", re.MULTILINE)
_SUB_OPTION = re.compile(
    r"^[ \t]*sub-option (\d+) <[^>\n]*>: *([0-9A-Fa-f]+)", re.MULTILINE | re.IGNORECASE
)


def read_dhcputil(text: str) -> list[ConfiguredOption]:
    """Options of DHCPUtil's output, of either generation."""
    found = [
        ConfiguredOption(code=120, octets=_octets(text, match), line=line_of(text, match.start(1)))
        for match in _OPTION_120.finditer(text)
    ]
    blocks = list(_CLASS.finditer(text))
    ends = [*(block.start() for block in blocks[1:]), len(text)]
    for block, end in zip(blocks, ends, strict=False):
        full = _FULL.search(text, block.end(), end)
        if full is not None:
            found.append(
                ConfiguredOption(
                    code=43,
                    octets=_octets(text, full),
                    vendor_class=block[1],
                    line=line_of(text, full.start(1)),
                )
            )
            continue
        sub_options = [
            ConfiguredSubOption(
                code=min(int(match[1]), 254),
                value=bytes.fromhex(match[2]),
                group="",
                line=line_of(text, match.start()),
            )
            for match in _SUB_OPTION.finditer(text, block.end(), end)
            if len(match[2]) % 2 == 0
        ]
        found += join_sub_options(sub_options, {"": block[1]})
    return found


def _octets(text: str, match: re.Match[str]) -> bytes:
    if len(match[1]) % 2:
        line = line_of(text, match.start(1))
        raise DecodeError(f"line {line}: {len(match[1])} hexadecimal digits: one is missing")
    return bytes.fromhex(match[1])
