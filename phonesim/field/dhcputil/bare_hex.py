"""Octets alone, with no server's words around them.

What goes into the form of Infoblox, which takes an option as octets in hexadecimal with
colons, or of any other server that takes them; and what comes out of tools that show packets:
Wireshark (`Value: 010c...` below the option), tcpdump (`Vendor-Option (43), length 90: 1.12...`)
and phones' logs (`Option 43 from ... hex 010c...`).
"""

from __future__ import annotations

import re
from string import hexdigits

from phonesim.errors import DecodeError
from phonesim.field.dhcputil.configured_option import ConfiguredOption
from phonesim.field.dhcputil.hex_text import read_hex
from phonesim.field.dhcputil.sign_in_values import VLAN_CLASS, SignInValues
from phonesim.wire.provisioning import UC_IDENTIFIER, decode_sip_servers

_LABEL = re.compile(
    r"#?\s*option:?\s*\(?(43|120)\b(?:.*\bclass\s+(\S+?)[:,]?(?:\s|$))?", re.IGNORECASE
)
_VALUE = re.compile(
    r"\b(?:value|data|hex|octets)\b[\s:=\"']*((?:0x)?(?:[0-9a-f]{2}[ :.-]?){2,}[0-9a-f]{2})\b",
    re.IGNORECASE,
)
_TCPDUMP = re.compile(r"\((43|120)\), length (\d+): (\d{1,3}(?:\.\d{1,3})*)$")
_FEWEST_DIGITS = 6
_COMMENTS = ("#", "!", "//", ";")


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
        dumped = _TCPDUMP.search(line.rstrip())
        if dumped is not None and len(octets := _decimal(dumped[3])) == int(dumped[2]):
            found.append(ConfiguredOption(code=int(dumped[1]), octets=octets, line=number))
            continue
        match = _LABEL.search(line)
        label = match or label
        try:
            octets = _octets(line, is_labelled=match is not None)
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


def _octets(line: str, *, is_labelled: bool) -> bytes:
    is_comment = line.lstrip().startswith(_COMMENTS)
    value = None if is_comment else _VALUE.search(line)
    if value is not None:
        return read_hex(value[1])
    if is_labelled or is_comment or sum(each in hexdigits for each in line) < _FEWEST_DIGITS:
        raise DecodeError("no octets")
    return read_hex(line)


def _decimal(text: str) -> bytes:
    numbers = [int(each) for each in text.split(".")]
    return bytes(numbers) if max(numbers) <= 0xFF else b""


def guess_code(octets: bytes) -> int:
    """43 or 120, whichever octets without a label look like."""
    if octets[:1] == b"\0":
        return 120
    servers = decode_sip_servers(octets)
    return 120 if any("." in name for name in servers.names) else 43
