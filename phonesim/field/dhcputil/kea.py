"""ISC Kea: options of client classes, in JSON.

Kea knows no option 120, so that it has to be defined, and option 43 is a container of
sub-options unless a class defines it as binary. INFORM is answered like any other request.

Specifications: Kea Administrator Reference Manual, "Standard DHCPv4 options" and "DHCPv4
private options"; checked against Kea itself.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

from phonesim.errors import DecodeError
from phonesim.field.dhcputil.configured_option import (
    ConfiguredOption,
    ConfiguredSubOption,
    by_code,
    join_sub_options,
    line_of,
)
from phonesim.field.dhcputil.hex_text import is_hex, read_hex
from phonesim.field.dhcputil.sign_in_values import VLAN_CLASS, SignInValues
from phonesim.wire.provisioning import UC_IDENTIFIER

SIP_SERVERS = "uc-sip-servers"
VENDOR_OPTIONS = "vendor-encapsulated-options"
_VENDOR_SPACE = "vendor-encapsulated-options-space"
_NUMBERS = {"uint8": 1, "int8": 1, "uint16": 2, "int16": 2, "uint32": 4, "int32": 4}
_CLASS_TEST = re.compile(
    r"option\[(?:60|vendor-class-identifier)\]\.(?:text|hex)\s*(?:,[^)]*\))?\s*==\s*'([^']*)'"
)
_COMMENT = re.compile(r'("(?:[^"\\\n]|\\.)*")|//[^\n]*|#[^\n]*|/\*.*?\*/', re.DOTALL)
_INNERMOST = re.compile(r"\{[^{}]*\}")


# --- writing -----------------------------------------------------------------


def write_kea(values: SignInValues) -> str:
    """The members of `Dhcp4` that phones need, to be merged with those that are there."""
    classes = [
        _client_class("ms-uc-client", UC_IDENTIFIER, values.option_43, values.option_120),
    ]
    if values.vlan_option_43 is not None:
        classes.append(_client_class("cpe-ocphone", VLAN_CLASS, values.vlan_option_43, None))
    members = {
        "option-def": [{"name": SIP_SERVERS, "code": 120, "type": "binary", "space": "dhcp4"}],
        "client-classes": classes,
    }
    return json.dumps({"Dhcp4": members}, indent=2) + "\n"


def remove_kea(values: SignInValues) -> str:
    """The same as comments: a file is cleaned up by hand."""
    head = "# Take these members out of Dhcp4, and reload the configuration:\n"
    return head + "".join(f"# {line}\n" for line in write_kea(values).splitlines())


def _client_class(
    name: str, vendor_class: str, option_43: bytes, option_120: bytes | None
) -> dict[str, Any]:
    data = [{"name": VENDOR_OPTIONS, "csv-format": False, "data": option_43.hex().upper()}]
    if option_120 is not None:
        data.append({"name": SIP_SERVERS, "csv-format": False, "data": option_120.hex().upper()})
    return {
        "name": name,
        "test": f"option[60].text == '{vendor_class}'",
        "option-def": [{"name": VENDOR_OPTIONS, "code": 43, "type": "binary"}],
        "option-data": data,
    }


# --- reading -----------------------------------------------------------------


def read_kea(text: str) -> list[ConfiguredOption]:
    """Options of a configuration, or of a piece of one that has an `option-data` entry."""
    bare = _COMMENT.sub(lambda match: match[1] or re.sub(r"[^\n]", " ", match[0]), text)
    if '"data"' not in bare:
        return []
    return _Reader(text, _documents(bare)).options()


def _documents(text: str) -> list[Any]:
    """The text as JSON, or as many objects as can be made out in a piece of it."""
    for attempt in (text, "{" + text.strip().strip(",") + "}"):
        try:
            return [json.loads(attempt)]
        except (ValueError, RecursionError):
            continue
    found = []
    for match in _INNERMOST.finditer(text):
        try:
            found.append(json.loads(match[0]))
        except ValueError:
            continue
    return found


class _Reader:
    """Walks through what was read: definitions first, then values with their classes."""

    def __init__(self, text: str, documents: list[Any]) -> None:
        self._text = text
        self._documents = documents
        self._searched_to = 0
        self._types: dict[tuple[str, int], str] = {}
        self._codes: dict[str, tuple[str, int]] = {VENDOR_OPTIONS: ("dhcp4", 43)}
        for entry, _ in self._entries():
            code = entry.get("code")
            if "type" in entry and isinstance(code, int):
                space = str(entry.get("space", "dhcp4"))
                self._types[space, code] = str(entry["type"])
                self._codes[str(entry.get("name"))] = (space, code)

    def options(self) -> list[ConfiguredOption]:
        """All that are 43 or 120."""
        whole: list[ConfiguredOption] = []
        parts: list[ConfiguredSubOption] = []
        classes: dict[str, str | None] = {}
        for entry, vendor_class in self._entries():
            data = entry.get("data")
            if not isinstance(data, str):
                continue
            space, code = self._codes.get(
                str(entry.get("name")), (str(entry.get("space", "dhcp4")), -1)
            )
            if isinstance(entry.get("code"), int):
                space, code = str(entry.get("space", space)), entry["code"]
            line = self._line(data)
            is_part = space == _VENDOR_SPACE
            if not is_part and code not in (43, 120):
                continue
            octets, notes = self._value(entry, data, space, code, line)
            if is_part:
                group = vendor_class or ""
                classes[group] = vendor_class
                parts.append(
                    ConfiguredSubOption(
                        code=code, value=octets, group=group, line=line, notes=notes
                    )
                )
            elif data or code == 120:
                whole.append(
                    ConfiguredOption(
                        code=code,
                        octets=octets,
                        vendor_class=vendor_class if code == 43 else None,
                        line=line,
                        notes=notes,
                    )
                )
        return [*whole, *join_sub_options(by_code(parts), classes)]

    def _entries(self) -> Iterator[tuple[dict[str, Any], str | None]]:
        """Every object, and the vendor class of the client class that it is in."""
        waiting: list[tuple[Any, str | None]] = [(each, None) for each in reversed(self._documents)]
        while waiting:
            node, vendor_class = waiting.pop()
            if isinstance(node, dict):
                match = _CLASS_TEST.search(str(node.get("test", "")))
                vendor_class = match[1] if match else vendor_class
                yield node, vendor_class
                waiting += [(each, vendor_class) for each in reversed(list(node.values()))]
            elif isinstance(node, list):
                waiting += [(each, vendor_class) for each in reversed(node)]

    def _value(
        self, entry: dict[str, Any], data: str, space: str, code: int, line: int
    ) -> tuple[bytes, tuple[str, ...]]:
        kind = self._types.get((space, code), "")
        if entry.get("csv-format", True) is False or kind == "binary":
            try:
                return (data.strip("'").encode() if data[:1] == "'" else read_hex(data)), ()
            except DecodeError as error:
                raise DecodeError(f"line {line}: data of option {code}: {error}") from None
        if kind in _NUMBERS:
            note = f"option {code} is defined as {kind}, not as string or binary"
            try:
                return int(data, 0).to_bytes(_NUMBERS[kind], "big"), (note,)
            except (ValueError, OverflowError):
                raise DecodeError(f"line {line}: {data!r} is no {kind}") from None
        if kind == "" and is_hex(data):
            return read_hex(data), ()
        return data.encode(), ()

    def _line(self, data: str) -> int:
        """Where a value stands: values come in the order of the text, as far as JSON keeps it."""
        quoted = json.dumps(data)
        position = self._text.find(quoted, self._searched_to)
        if position < 0:
            position = self._text.find(quoted)
        else:
            self._searched_to = position + 1
        return 0 if position < 0 else line_of(self._text, position)
