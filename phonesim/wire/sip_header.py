"""What SIP header values are made of: tokens, quoted strings, parameters, addresses.

A reader takes a position in the value and returns the one behind what it read.
None of them takes more than linear time, whatever the value. Octets that are
neither ASCII nor quoted are let through in display names only.

Specifications: RFC 3261 section 25.1.
"""

from __future__ import annotations

import re
from functools import lru_cache

from phonesim.errors import DecodeError

TOKEN = r"[A-Za-z0-9\-.!%*_+`'~]+"  # noqa: S105
URI = r"[A-Za-z][A-Za-z0-9+.\-]*:[!#-;=?-~]+"
_QUOTED = r'"[^"\\]*(?:\\.[^"\\]*)*"'

is_token = re.compile(TOKEN).fullmatch

_PARAMETER = re.compile(rf"[ \t]*({TOKEN})(?:[ \t]*=[ \t]*({_QUOTED}|[^ \t;,\"<>]+))?[ \t]*")
_NAME_ADDRESS = re.compile(rf"(?:[ \t]*({_QUOTED})[ \t]*|([^\"<>;,:@\\]*))<({URI})>[ \t]*")
_BARE_ADDRESS = re.compile(r"[ \t]*([A-Za-z][A-Za-z0-9+.\-]*:[!#-+\--:=@-~]+)[ \t]*")
_LIST_ITEM = re.compile(rf"(?:[^\",]|{_QUOTED})*")
_SCHEME = re.compile(rf"({TOKEN})(?:[ \t]+(.+))?")


def read_number(text: str, name: str, limit: int = 2**32 - 1) -> int:
    """A decimal number; DecodeError, with the header's `name`, unless it is 0 to `limit`."""
    if text.isascii() and text.isdigit() and len(text) <= 10:
        number = int(text)
        if number <= limit:
            return number
    raise DecodeError(f"{name} {shown(text)} is no number from 0 to {limit}")


def read_list(value: str, name: str) -> list[str]:
    """The items between commas, leaving alone the commas in quoted strings."""
    if "," not in value:
        return [value]
    items = []
    position = -1
    while position < len(value):
        match = _LIST_ITEM.match(value, position + 1)
        assert match is not None
        items.append(match.group().strip(" \t"))
        position = match.end()
        if value[position : position + 1] not in ("", ","):
            raise DecodeError(f"{name} has a quote that does not end")
    return items


def read_address(value: str, position: int, name: str) -> tuple[str, str, int]:
    """URI and display name of a name-addr or an addr-spec; its parameters are not read."""
    match = _NAME_ADDRESS.match(value, position)
    if match is not None:
        display_name, bare_name, uri = match.groups()
        return uri, unquoted(display_name or bare_name.strip(" \t")), match.end()
    match = _BARE_ADDRESS.match(value, position)
    if match is None:
        raise DecodeError(f"{name} {shown(value[position:])} holds no address")
    return match.group(1), "", match.end()


def read_parameters(
    value: str, position: int, name: str, separator: str = ";"
) -> tuple[list[tuple[str, str]], int]:
    """Parameters that each follow a `separator`, values without quotes, a flag's value "".

    Behind a comma there are no flags. DecodeError if a parameter occurs twice:
    peers would disagree which one counts.
    """
    parameters = []
    seen = set()
    while value.startswith(separator, position):
        match = _PARAMETER.match(value, position + 1)
        if match is None:
            raise DecodeError(f"{name} has {shown(value[position:])} for a parameter")
        key, text = match.groups()
        if text is None and separator == ",":
            raise DecodeError(f"{name} has the parameter {shown(key)} without a value")
        lower = key.lower()
        if lower in seen:
            raise DecodeError(f"{name} has the parameter {shown(key)} twice")
        seen.add(lower)
        parameters.append((key, unquoted(text or "")))
        position = match.end()
    return parameters, position


@lru_cache(maxsize=64)  # what a Registrar offers is the same to every phone
def read_authentication(value: str, name: str) -> tuple[str, tuple[tuple[str, str], ...]]:
    """Scheme and parameters of a challenge or of credentials."""
    match = _SCHEME.fullmatch(value)
    if match is None:
        raise DecodeError(f"{name} does not begin with a scheme")
    scheme, rest = match.groups()
    if rest is None:
        return scheme, ()
    parameters, position = read_parameters(f",{rest}", 0, name, ",")
    if position <= len(rest):
        raise DecodeError(f"{name} {shown(scheme)} is no list of name=value")
    return scheme, tuple(parameters)


def unquoted(text: str) -> str:
    """What a token or quoted string stands for."""
    if text[:1] != '"':
        return text
    text = text[1:-1]
    return re.sub(r"\\(.)", r"\1", text) if "\\" in text else text


def quoted(text: str) -> str:
    """`text` as a quoted string."""
    if '"' in text or "\\" in text:
        text = text.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{text}"'


def parameters_text(parameters: tuple[tuple[str, str], ...]) -> str:
    """Parameters as they follow an address, quoted where a token does not do."""
    return "".join(
        f";{key}={value if is_token(value) else quoted(value)}" if value else f";{key}"
        for key, value in parameters
    )


def shown(text: str) -> str:
    """`text` for an error, shortened."""
    return repr(text if len(text) <= 40 else f"{text[:37]}...")
