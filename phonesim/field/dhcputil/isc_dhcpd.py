"""ISC dhcpd: options of classes, in dhcpd.conf.

dhcpd knows no option 120, so that it has to be defined. It answers INFORM only of a subnet
that it is authoritative for; without that word, phones get their lease and no more.

Specifications: dhcpd.conf(5), dhcp-options(5), dhcp-eval(5); checked against dhcpd itself.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import NamedTuple

from phonesim.errors import DecodeError
from phonesim.field.dhcputil.configured_option import (
    ConfiguredOption,
    ConfiguredSubOption,
    by_code,
    join_sub_options,
    line_of,
)
from phonesim.field.dhcputil.hex_text import read_hex
from phonesim.field.dhcputil.sign_in_values import VLAN_CLASS, SignInValues
from phonesim.wire.provisioning import UC_IDENTIFIER

SIP_SERVERS = "uc-sip-servers"

_WHOLE_OPTIONS = {"vendor-encapsulated-options": 43, SIP_SERVERS: 120}
_NUMBERS = {"8": 1, "16": 2, "32": 4}
_OPTION = re.compile(r"(?:supersede\s+|default\s+)?option\s+([\w.-]+)\s+=?\s*(.+)", re.DOTALL)
_DEFINITION = re.compile(r"option\s+([\w.-]+)\s+code\s+(\d+)\s*=\s*(.+)", re.DOTALL)
_SPACE_OF_CLASS = re.compile(r"vendor-option-space\s+([\w-]+)")
_CLASS = re.compile(r'(?:sub)?class\s+"([^"]*)"')
_MATCH = re.compile(r'vendor-class-identifier.*?=\s*"([^"]*)"', re.DOTALL)
_TOKEN = re.compile(r'"[^"]*"?|#[^\n]*|[;{}]|[^"#;{}]+')
_ENDS = (";", "{", "}")
_INTEGER = re.compile(r"(?:un)?signed\s+integer\s+(8|16|32)|integer\s+(8|16|32)")


# --- writing -----------------------------------------------------------------


def write_isc_dhcpd(values: SignInValues) -> str:
    """A file for `include`, or for the top level of dhcpd.conf."""
    lines = [
        f"option {SIP_SERVERS} code 120 = string;",
        "",
        "# Without it dhcpd does not answer DHCPINFORM.",
        "authoritative;",
        "",
        *_class(UC_IDENTIFIER, values.option_43, values.option_120),
    ]
    if values.vlan_option_43 is not None:
        lines += ["", *_class(VLAN_CLASS, values.vlan_option_43, None)]
    return "\n".join(lines) + "\n"


def remove_isc_dhcpd(values: SignInValues) -> str:
    """The same as comments: a file is cleaned up by hand."""
    head = "# Take these statements out of dhcpd.conf, and restart dhcpd:\n"
    lines = [line for line in write_isc_dhcpd(values).splitlines() if not line.startswith("#")]
    lines.remove("authoritative;")
    return head + "".join(f"# {line}\n" for line in lines if line)


def _class(vendor_class: str, option_43: bytes, option_120: bytes | None) -> list[str]:
    lines = [
        f'class "{vendor_class}" {{',
        f'    match if option vendor-class-identifier = "{vendor_class}";',
        f"    option vendor-encapsulated-options {option_43.hex(':')};",
    ]
    if option_120 is not None:
        lines.append(f"    option {SIP_SERVERS} {option_120.hex(':')};")
    return [*lines, "}"]


# --- reading -----------------------------------------------------------------


class _Statement(NamedTuple):
    """A statement without its end, what ended it (one of ";{}"), and its line."""

    text: str
    end: str
    line: int


def read_isc_dhcpd(text: str) -> list[ConfiguredOption]:
    """Options of a configuration, or of lines of one."""
    statements = list(_statements(text))
    codes, types = _definitions(statements)
    whole: list[ConfiguredOption] = []
    parts: list[ConfiguredSubOption] = []
    class_of_space: dict[str, str | None] = {}
    classes: list[str | None] = [None]
    for statement, end, line in statements:
        space = _SPACE_OF_CLASS.search(statement)
        match = _MATCH.search(statement)
        if space is not None:
            class_of_space[space[1]] = classes[-1]
        elif match is not None and "option " in statement.partition("=")[0]:
            classes[-1] = match[1]
        elif not _DEFINITION.match(statement):
            option = _OPTION.match(statement) if end in (";", "") else None
            if option is not None and option[1] in codes:
                space_name, code = codes[option[1]]
                octets, notes = _value(option[2].strip(), types.get(option[1], ""), option[1], line)
                if space_name:
                    class_of_space.setdefault(space_name, classes[-1])
                    parts.append(
                        ConfiguredSubOption(
                            code=code, value=octets, group=space_name, line=line, notes=notes
                        )
                    )
                else:
                    whole.append(
                        ConfiguredOption(
                            code=code,
                            octets=octets,
                            vendor_class=classes[-1] if code == 43 else None,
                            line=line,
                            notes=notes,
                        )
                    )
        if end == "{":
            named = _CLASS.search(statement)
            classes.append(named[1] if named else classes[-1])
        elif end == "}" and len(classes) > 1:
            classes.pop()
    return [*whole, *join_sub_options(by_code(parts), class_of_space)]


def _definitions(
    statements: list[_Statement],
) -> tuple[dict[str, tuple[str, int]], dict[str, str]]:
    """Names of option 43, of option 120 and of sub-options: space and code; and their types."""
    codes = {name: ("", code) for name, code in _WHOLE_OPTIONS.items()}
    types = {}
    for statement, _, _ in statements:
        match = _DEFINITION.match(statement)
        if match is None:
            continue
        space, _, _ = match[1].rpartition(".")
        code = int(match[2])
        if space or code in (43, 120):
            codes[match[1]] = (space, code)
            types[match[1]] = " ".join(match[3].split())
    return codes, types


def _statements(text: str) -> Iterator[_Statement]:
    """Split at ; { and } outside of quotes; comments are left out."""
    start, line, counted_to = 0, 1, 0
    pieces: list[str] = []
    for match in _TOKEN.finditer(text):
        token = match[0]
        if token[0] == "#":
            continue
        if not pieces:
            start = match.start() + len(token) - len(token.lstrip())
        if token in _ENDS:
            line += text.count("\n", counted_to, start)
            counted_to = start
            yield _Statement("".join(pieces).strip(), token, line)
            pieces = []
        elif pieces or not token.isspace():
            pieces.append(token)
    if pieces:
        yield _Statement("".join(pieces).strip(), "", line_of(text, start))


def _value(value: str, kind: str, name: str, line: int) -> tuple[bytes, tuple[str, ...]]:
    integer = _INTEGER.search(kind)
    try:
        if value[:1] == '"':
            return value.strip('"').encode(), ()
        if integer is not None:
            size = _NUMBERS[integer[1] or integer[2]]
            note = f"option {name} is defined as {kind}, not as string or text"
            return int(value, 0).to_bytes(size, "big"), (note,)
        return read_hex(value), ()
    except (ValueError, OverflowError, DecodeError) as error:
        raise DecodeError(f"line {line}: option {name}: {error}") from None
