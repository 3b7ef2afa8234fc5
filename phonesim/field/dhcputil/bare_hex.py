"""Octets alone: what goes into the form of Infoblox or of any other server that takes them.

Infoblox takes the value of an option as octets in hexadecimal, separated by colons.
"""

from __future__ import annotations

import re

from phonesim.errors import DecodeError
from phonesim.field.dhcputil.configured_option import ConfiguredOption
from phonesim.field.dhcputil.hex_text import read_hex
from phonesim.field.dhcputil.sign_in_values import VLAN_CLASS, SignInValues
from phonesim.wire.provisioning import UC_IDENTIFIER, decode_sip_servers

_LABEL = re.compile(r"#?\s*option\s+(43|120)\b(?:.*\bclass\s+(\S+?)[:,]?(?:\s|$))?", re.IGNORECASE)
_FEWEST_DIGITS = 6


def write_bare(values: SignInValues) -> str:
    """A comment that says which option it is for whom, and its octets, each time."""
    entries = [(f"option 43, vendor class {UC_IDENTIFIER}", values.option_43)]
    if values.vlan_option_43 is not None:
        entries.append((f"option 43, vendor class {VLAN_CLASS}", values.vlan_option_43))
    entries.append(("option 120", values.option_120))
    return "".join(f"# {label}\n{octets.hex(':').upper()}\n" for label, octets in entries)


def remove_bare(values: SignInValues) -> str:
    """What to take out."""
    return "".join(
        f"# remove {line.removeprefix('# ')}\n"
        for line in write_bare(values).splitlines()
        if line.startswith("#")
    )


def read_bare(text: str) -> list[ConfiguredOption]:
    """Octets of lines that hold nothing else, with what a label before them says."""
    found = []
    label: re.Match[str] | None = None
    for number, line in enumerate(text.splitlines(), 1):
        match = _LABEL.match(line.strip())
        if match is not None:
            label = match
            continue
        if sum(each in "0123456789abcdefABCDEF" for each in line) < _FEWEST_DIGITS:
            continue
        try:
            octets = read_hex(line)
        except DecodeError:
            continue
        found.append(
            ConfiguredOption(
                code=guess_code(octets) if label is None else int(label[1]),
                octets=octets,
                vendor_class=None if label is None else label[2],
                line=number,
            )
        )
        label = None
    return found


def guess_code(octets: bytes) -> int:
    """43 or 120, whichever octets without a label look like."""
    if octets[:1] == b"\0":
        return 120
    servers = decode_sip_servers(octets)
    return 120 if any("." in name for name in servers.names) else 43
