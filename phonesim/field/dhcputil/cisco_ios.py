"""Cisco IOS and IOS XE: a DHCP pool's options, in hexadecimal digits.

From IOS 15.1(3)S on, `option 43 hex` keeps 180 digits and drops the rest without a word,
which is what a web server's name of more than 23 characters comes to [source]. IOS XE from
3.2.1S on has `option ext` for up to 255 octets. A line of the command line is no longer than
254 characters, so that a long value is entered in parts, as a field report does [source].

A pool gives its option 43 to whoever asks: no vendor class is known to choose among several.

Specifications: device reference sections 6.3 (a published configuration) and 15.
"""

from __future__ import annotations

import re

from phonesim.errors import DecodeError, UsageError
from phonesim.field.dhcputil.configured_option import ConfiguredOption, line_of
from phonesim.field.dhcputil.hex_text import read_hex
from phonesim.field.dhcputil.sign_in_values import SignInValues
from phonesim.wire.ipv4 import pack_address

HEX_LIMIT = 180
"""Digits that `option 43 hex` keeps."""

_LINE = re.compile(
    r"^[ \t]*option[ \t]+(ext[ \t]+)?(43|120)[ \t]+(?:instance[ \t]+\d+[ \t]+)?"
    r"(hex|ascii|ip)[ \t]+([^;\n]+?)[ \t\r]*$",
    re.IGNORECASE | re.MULTILINE,
)


def write_cisco(values: SignInValues) -> str:
    """The lines of a pool."""
    _refuse_vlan(values)
    digits = values.option_43.hex()
    lines = [f"! in: ip dhcp pool NAME ({values.url})"]
    if len(digits) <= HEX_LIMIT:
        lines.append(f" option 43 hex {_dotted(digits)}")
    else:
        lines += [
            f"! Option 43 has {len(digits)} digits. IOS from 15.1(3)S on cuts `option 43 hex` at"
            f" {HEX_LIMIT}; `option ext`",
            "! needs IOS XE 3.2.1S or later. It is entered in parts: see that the running"
            " configuration has both.",
            "! Without it: a web server's name of at most 23 characters, or another DHCP server.",
        ]
        lines += [
            f" option ext 43 hex {_dotted(digits[at : at + HEX_LIMIT])}"
            for at in range(0, len(digits), HEX_LIMIT)
        ]
    lines.append(f" option 120 hex {_dotted(values.option_120.hex())}")
    return "\n".join(lines) + "\n"


def remove_cisco(values: SignInValues) -> str:
    """The lines of a pool that take the options out."""
    _refuse_vlan(values)
    extended = "ext " if 2 * len(values.option_43) > HEX_LIMIT else ""
    return f"! in: ip dhcp pool NAME\n no option {extended}43\n no option 120\n"


def read_cisco(text: str) -> list[ConfiguredOption]:
    """The options of a configuration; parts of `option ext` that follow each other are joined."""
    found: list[ConfiguredOption] = []
    last_extended_end = -1
    for match in _LINE.finditer(text):
        is_extended, code, line = bool(match[1]), int(match[2]), line_of(text, match.start())
        try:
            octets, notes = _value(match[3].lower(), match[4])
        except (DecodeError, ValueError) as error:
            raise DecodeError(f"line {line}: option {code}: {error}") from None
        is_cut = code == 43 and match[3].lower() == "hex" and 2 * len(octets) > HEX_LIMIT
        follows = is_extended and not text[last_extended_end + 1 : match.start()].strip()
        if follows and last_extended_end >= 0 and found[-1].code == code:
            before = found.pop()
            octets, line = before.octets + octets, before.line
        elif is_cut and not is_extended:
            notes = (
                f"entered with {2 * len(octets)} digits, of which IOS from 15.1(3)S on keeps"
                f" {HEX_LIMIT}: only those are shown here",
            )
            octets = octets[: HEX_LIMIT // 2]
        last_extended_end = match.end() if is_extended else -1
        found.append(ConfiguredOption(code=code, octets=octets, line=line, notes=notes))
    return found


def _value(kind: str, value: str) -> tuple[bytes, tuple[str, ...]]:
    if kind == "hex":
        return read_hex(value), ()
    if kind == "ascii":
        return value.strip('"').encode(), ("entered as ascii: hex is due",)
    return b"".join(pack_address(each) for each in value.split()), ("entered as ip: hex is due",)


def _refuse_vlan(values: SignInValues) -> None:
    if values.vlan_id is not None:
        raise UsageError(
            "--vlan: a pool of Cisco IOS gives one option 43 to every vendor class, and phones"
            " need two: tell the VLAN by LLDP-MED, or use another DHCP server"
        )


def _dotted(digits: str) -> str:
    return ".".join(digits[at : at + 4] for at in range(0, len(digits), 4))
