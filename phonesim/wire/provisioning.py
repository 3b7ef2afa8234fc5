"""Options 43 and 120: the two that tell a phone where to sign in.

What administrators put there by hand is often wrong, and finding out how is
what these phones' owners need most. So the decoders never raise: they keep what
can be read and put the rest in `warnings`, with offsets that count from 0 at
the option's first octet. Host names come back in lower case without a final
dot. The encoders write the exact form only, and raise ValueError for what it
cannot carry. Values are remembered: a site gives every phone the same octets.

Which malformed forms the real phones put up with is unknown; the tolerant
readings here (raw text in option 120, binary VLAN ids) are marked by a warning
where another reading was possible.

Specifications: RFC 3361 (option 120), RFC 1035 sections 3.1 and 4.1.4 (names in
it), RFC 2132 section 8.4 (sub-options), RFC 1123 section 2.1 (host names),
device reference section 6.2 (option 43 sub-options 1-5 and 10, values ASCII)
and section 4 (sub-option 10: 1, 2 or 4 octets, or ASCII).
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import lru_cache
from typing import Literal

import msgspec

from phonesim.wire.ipv4 import unpack_address

UC_IDENTIFIER = "MS-UC-Client"
"""Value of sub-option 1, and the vendor class that is given option 43; case-sensitive."""


VlanForm = Literal["ascii", "binary-1", "binary-2", "binary-4"]
"""How sub-option 10 may hold a VLAN id: digits, or that many octets."""
VLAN_FORMS: tuple[VlanForm, ...] = ("ascii", "binary-1", "binary-2", "binary-4")


class UcOptions(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """Option 43, decoded. A sub-option that is absent or unusable is None.

    `warnings` says, in words for a field engineer, what was wrong with the
    bytes; what could be read is still there.
    """

    uc_identifier: str | None = None
    url_scheme: str | None = None
    web_server_fqdn: str | None = None
    web_server_port: int | None = None
    cert_prov_rel_path: str | None = None
    vlan_id: int | None = None
    warnings: tuple[str, ...] = ()


class SipServers(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """Option 120, decoded: `names` of encoding 0 in order, `addresses` of encoding 1.

    `warnings` says what was wrong. Of a bare name without encoding octet, which a phone may use
    or not, the first one says so.
    """

    names: tuple[str, ...] = ()
    addresses: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()


def encode_uc_options(options: UcOptions) -> bytes:
    """Option 43: the sub-options that are not None, in the order 1, 2, 3, 4, 5, 10.

    Numbers are ASCII digits, and no FF follows. `warnings` is ignored.
    """
    octets = bytearray()
    for code, name in _SUB_OPTIONS.items():
        value = getattr(options, name)
        if value is not None:
            text = str(value).encode("ascii")
            if len(text) > 255:
                raise ValueError(f"{name} has {len(text)} octets, a sub-option at most 255")
            octets += bytes((code, len(text)))
            octets += text
    return bytes(octets)


@lru_cache(maxsize=1024)
def decode_uc_options(data: bytes, vlan_forms: tuple[VlanForm, ...] = VLAN_FORMS) -> UcOptions:
    """Read option 43. Of a sub-option that comes twice the first one counts.

    A VLAN id in another of the forms than `vlan_forms` is left out.
    """
    warnings: list[str] = []
    fields: dict[str, str | int | None] = {}
    seen: set[int] = set()
    for code, at, value in _split_sub_options(data, warnings):
        where = _name_sub_option(code, at)
        if code not in _SUB_OPTIONS:
            warnings.append(f"{where} is not one that the phone knows: left out")
        elif code in seen:
            warnings.append(f"{where} comes a second time: left out, the first one counts")
        elif code == _VLAN_ID:
            fields[_SUB_OPTIONS[code]] = _read_vlan_id(where, value, vlan_forms, warnings)
        else:
            fields[_SUB_OPTIONS[code]] = _read_text(code, where, value, warnings)
        seen.add(code)
    return msgspec.convert({**fields, "warnings": warnings}, UcOptions)


def encode_sip_servers(names: Sequence[str]) -> bytes:
    """Option 120 in encoding 0: every name's labels and its root label, one after another.

    Nothing is compressed. `names` are host names, at least one.
    """
    if not names:
        raise ValueError("option 120 needs at least one name")
    octets = bytearray((_NAMES,))
    for name in names:
        host = name.removesuffix(".")
        fault = _find_host_name_fault(host)
        if fault:
            raise ValueError(f"{name!r} is not a host name: {fault}")
        for label in host.split("."):
            octets.append(len(label))
            octets += label.encode("ascii")
        octets.append(0)
    return bytes(octets)


@lru_cache(maxsize=1024)
def decode_sip_servers(data: bytes) -> SipServers:
    """Read option 120 in encoding 0 or 1, or as a bare name without encoding octet."""
    warnings: list[str] = []
    if not data:
        return SipServers(warnings=("option 120 is empty",))
    if data[0] == _NAMES:
        names = _read_names(data, warnings)
        return SipServers(names=names, warnings=tuple(warnings))
    if data[0] == _ADDRESSES:
        addresses = _read_addresses(data, warnings)
        return SipServers(addresses=addresses, warnings=tuple(warnings))
    raw = data.rstrip(b"\0")
    if not _is_text(raw):
        hint = "; the name's labels follow at once" if _starts_with_label(data) else ""
        warnings.append(
            f"the encoding octet at offset 0 is {data[0]:02X}, neither 00 (names) "
            f"nor 01 (addresses){hint}"
        )
        return SipServers(warnings=tuple(warnings))
    name = _normalise_host_name(raw.decode("ascii"))
    fault = _find_host_name_fault(name)
    if fault:
        warnings.append(
            f'the option is the text "{_quote(raw)}" without encoding octet and labels, '
            f"and not a host name: {fault}"
        )
        return SipServers(warnings=tuple(warnings))
    warnings.append(
        f'the option is the text "{_quote(raw)}", where 00 and length-prefixed labels '
        f"(RFC 3361) are expected"
    )
    _warn_of_host_name("the name", name, warnings)
    return SipServers(names=(name,), warnings=tuple(warnings))


_SUB_OPTIONS = {
    1: "uc_identifier",
    2: "url_scheme",
    3: "web_server_fqdn",
    4: "web_server_port",
    5: "cert_prov_rel_path",
    10: "vlan_id",
}
_URL_SCHEME = 2
_WEB_SERVER_FQDN = 3
_WEB_SERVER_PORT = 4
_CERT_PROV_REL_PATH = 5
_VLAN_ID = 10
_PAD = 0x00
_END = 0xFF
_HIGHEST_PORT = 65535
_HIGHEST_VLAN_ID = 4094
_HEX_LIMIT_OF_CISCO_IOS = 180
_NAMES = 0
_ADDRESSES = 1
_LONGEST_LABEL = 63
_LONGEST_NAME = 255
_POINTER = 0xC0
_HOST_LABEL = re.compile(r"[A-Za-z0-9]([A-Za-z0-9-]*[A-Za-z0-9])?")
_TEXT = re.compile(rb"[!-~]+")


def _split_sub_options(data: bytes, warnings: list[str]) -> list[tuple[int, int, bytes]]:
    """Code, offset and value of every sub-option that is there whole."""
    if not data:
        warnings.append("option 43 is empty")
    elif _is_text(data):
        warnings.append(
            f'option 43 is the text "{_quote(data)}", not a list of sub-options '
            f"(code, length, value)"
        )
        return []
    found = []
    at = 0
    while at < len(data):
        code = data[at]
        if code == _END:
            _warn_of_end(data, at, warnings)
            break
        if code == _PAD:
            behind = len(data) - len(data[at:].lstrip(b"\0"))
            warnings.append(
                f"octets 00 from offset {at} to {behind - 1} are no sub-option: left out"
            )
            at = behind
            continue
        where = _name_sub_option(code, at)
        if at + 1 == len(data):
            warnings.append(f"{where} is cut short: its length is missing{_hint_at_cut(data)}")
            break
        size = data[at + 1]
        value = data[at + 2 : at + 2 + size]
        if len(value) < size:
            warnings.append(
                f"{where} is cut short: its length is {size}, but only {_follow(len(value))} "
                f'("{_quote(value)}"){_hint_at_cut(data)}'
            )
            break
        found.append((code, at, value))
        at += 2 + size
    return found


def _warn_of_end(data: bytes, at: int, warnings: list[str]) -> None:
    rest = data[at + 1 :]
    if rest.strip(b"\x00\xff"):
        what = "octet behind it is" if len(rest) == 1 else f"{len(rest)} octets behind it are"
        warnings.append(f"the octet FF at offset {at} ends the option: the {what} not read")
    else:
        warnings.append(
            f"the option ends in FF at offset {at}, as dnsmasq appends it: left out, "
            f"none is expected"
        )


def _hint_at_cut(data: bytes) -> str:
    if 2 * len(data) != _HEX_LIMIT_OF_CISCO_IOS:
        return ""
    return (
        f"; the option has exactly {len(data)} octets, the {_HEX_LIMIT_OF_CISCO_IOS} hex "
        f"characters at which Cisco IOS cuts `option 43 hex`"
    )


def _name_sub_option(code: int, at: int) -> str:
    name = f" ({_SUB_OPTIONS[code]})" if code in _SUB_OPTIONS else ""
    return f"sub-option {code}{name} at offset {at}"


def _read_text(code: int, where: str, value: bytes, warnings: list[str]) -> str | int | None:
    if code == _WEB_SERVER_PORT:
        return _read_port(where, value, warnings)
    raw = _strip_nul(where, value, warnings)
    if not raw:
        warnings.append(f"{where} is empty")
        return None
    if not _is_text(raw):
        offset = next(i for i, octet in enumerate(raw) if not _is_text(bytes((octet,))))
        warnings.append(
            f'{where} is "{_quote(raw)}": octet {offset} of its value is {raw[offset]:02X}, '
            f"printable ASCII without blanks is expected"
        )
        return None
    text = raw.decode("ascii")
    if code == _URL_SCHEME:
        return _read_scheme(where, text, warnings)
    if code == _WEB_SERVER_FQDN:
        return _read_host_name(where, text, warnings)
    if code == _CERT_PROV_REL_PATH:
        if not text.startswith("/"):
            warnings.append(f'{where} is "{text}": a path that begins with "/" is expected')
            return None
        return text
    if text != UC_IDENTIFIER:
        warnings.append(f'{where} is "{text}", expected "{UC_IDENTIFIER}", case and all')
    return text


def _strip_nul(where: str, value: bytes, warnings: list[str]) -> bytes:
    raw = value.rstrip(b"\0")
    if raw and raw != value:
        warnings.append(
            f"{where} ends in a NUL octet, left out: a definition of type String adds it, "
            f"Binary is expected"
        )
    return raw


def _read_scheme(where: str, text: str, warnings: list[str]) -> str | None:
    scheme = text.lower()
    if scheme not in ("http", "https"):
        warnings.append(f'{where} is "{text}": "https" is expected')
        return None
    if scheme != text:
        warnings.append(f'{where} is "{text}": read as "{scheme}"')
    return scheme


def _read_host_name(where: str, text: str, warnings: list[str]) -> str | None:
    name = _normalise_host_name(text)
    fault = _find_host_name_fault(name)
    if fault:
        warnings.append(f'{where} is "{text}", not a host name: {fault}')
        return None
    _warn_of_host_name(where, name, warnings)
    return name


def _read_port(where: str, value: bytes, warnings: list[str]) -> int | None:
    digits = value.rstrip(b"\0")
    if digits.isdigit():
        _strip_nul(where, value, warnings)
        port = int(digits) if len(digits) <= 5 else 0
        if 0 < port <= _HIGHEST_PORT:
            return port
        warnings.append(f'{where} is "{_quote(digits)}", not a port from 1 to {_HIGHEST_PORT}')
        return None
    binary = int.from_bytes(value, "big") if len(value) in (2, 4) else 0
    hint = f" (as a binary number it is {binary})" if 0 < binary <= _HIGHEST_PORT else ""
    warnings.append(
        f"{where} is {_hex(value[:16]) or 'empty'}{hint}: ASCII digits are expected, "
        f"such as 34 34 33 for 443"
    )
    return None


def _read_vlan_id(
    where: str, value: bytes, forms: tuple[VlanForm, ...], warnings: list[str]
) -> int | None:
    digits = value.rstrip(b"\0")
    if digits.isdigit() and "ascii" in forms:
        _strip_nul(where, value, warnings)
        vlan_id = int(digits) if len(digits) <= 4 else 0
        if len(value) == 1 and "binary-1" in forms:
            warnings.append(
                f'{where} is {_hex(value)}, read as the digit "{vlan_id}"; as a binary number '
                f"it would be {value[0]}"
            )
    elif f"binary-{len(value)}" in forms:
        vlan_id = int.from_bytes(value, "big")
    else:
        accepted = "ASCII digits, or a binary number of 1, 2 or 4 octets,"
        if forms != VLAN_FORMS:
            accepted = f"of this phone, {' or '.join(forms) or 'nothing'}"
        warnings.append(f"{where} is {_hex(value[:16]) or 'empty'}: {accepted} is expected")
        return None
    if not 0 < vlan_id <= _HIGHEST_VLAN_ID:
        warnings.append(
            f"{where} is {_hex(value[:16])}, not a VLAN id from 1 to {_HIGHEST_VLAN_ID}"
        )
        return None
    return vlan_id


def _read_names(data: bytes, warnings: list[str]) -> tuple[str, ...]:
    """The names behind the encoding octet.

    `known` holds, by offset, the labels from there to the end of each complete
    name: what a compression pointer may refer to. A pointer forward, or into
    the name that it ends, finds nothing there, so none can loop.
    """
    names: list[str] = []
    known: dict[int, list[bytes]] = {}
    at = 1
    while at < len(data):
        start = at
        if not data[at:].strip(b"\0"):
            break
        labels, at = _read_labels(data, at, known, warnings)
        if labels is None:
            continue
        where = f"the name at offset {start}"
        if not labels:
            warnings.append(f"{where} is empty: left out")
            continue
        text = _escape(b".".join(labels)).lower()
        fault = _find_host_name_fault(text)
        if fault:
            warnings.append(f'{where} is "{text}", not a host name: {fault}')
            continue
        if any(b"." in label for label in labels):
            warnings.append(f'{where} is "{text}" in one label: each part is due its own')
        _warn_of_host_name(where, text, warnings)
        names.append(text)
    if len(data) == 1:
        warnings.append("no name follows the encoding octet")
    elif at < len(data):
        warnings.append(f"octets 00 from offset {at} to {len(data) - 1} hold no name")
    return tuple(names)


def _read_labels(
    data: bytes, at: int, known: dict[int, list[bytes]], warnings: list[str]
) -> tuple[list[bytes] | None, int]:
    """The labels of the name at `at`, None if unusable; and where the next name begins."""
    start = at
    labels: list[bytes] = []
    offsets: list[int] = []
    while True:
        if at == len(data):
            warnings.append(f"the name at offset {start} lacks its final octet 00: cut short?")
            break
        size = data[at]
        if size == 0:
            at += 1
            break
        if size >= _POINTER:
            tail = _follow_pointer(data, at, known, warnings)
            if tail is None:
                return None, min(at + 2, len(data))
            labels += tail
            at += 2
            break
        label = data[at + 1 : at + 1 + size]
        if size > _LONGEST_LABEL:
            warnings.append(
                f"the octet at offset {at} is {size:02X}, neither the length of a label "
                f"(00 to 3F) nor a pointer{_hint_at_text(data, at)}: the rest is not read"
            )
            return None, len(data)
        if len(label) < size:
            warnings.append(
                f"the label at offset {at} is cut short: its length is {size}, but only "
                f'{_follow(len(label))} ("{_quote(label)}")'
            )
            return None, len(data)
        offsets.append(at)
        labels.append(label)
        at += 1 + size
    if sum(len(label) + 1 for label in labels) + 1 > _LONGEST_NAME:
        warnings.append(f"the name at offset {start} is longer than {_LONGEST_NAME} octets")
        return None, at
    for index, offset in enumerate(offsets):
        known[offset] = labels[index:]
    return labels, at


def _follow_pointer(
    data: bytes, at: int, known: dict[int, list[bytes]], warnings: list[str]
) -> list[bytes] | None:
    if at + 2 > len(data):
        warnings.append(f"the compression pointer at offset {at} is cut short")
        return None
    target = int.from_bytes(data[at : at + 2], "big") & 0x3FFF
    # RFC 3361 does not say where offsets begin. dnsmasq counts from the first
    # name; the option's first octet is as plausible. No label begins at both.
    tail = known.get(target + 1) or known.get(target)
    if tail is None:
        warnings.append(
            f"the compression pointer at offset {at} ({_hex(data[at : at + 2])}) refers to "
            f"no label of an earlier name: refused"
        )
    return tail


def _read_addresses(data: bytes, warnings: list[str]) -> tuple[str, ...]:
    whole = (len(data) - 1) // 4
    warnings.append(
        "the option holds addresses (encoding octet 01): the phone needs names (00), "
        "to compare with the certificate"
    )
    if whole == 0 or len(data) != 1 + 4 * whole:
        warnings.append(f"{_follow(len(data) - 1)} the encoding octet: 4 an address are due")
    return tuple(unpack_address(data[at : at + 4]) for at in range(1, 1 + 4 * whole, 4))


def _normalise_host_name(text: str) -> str:
    return text.removesuffix(".").lower()


def _find_host_name_fault(name: str) -> str:
    """Why `name` (ASCII, no final dot) is not a host name; "" if it is one."""
    if len(name) > _LONGEST_NAME - 2:
        return f"{len(name)} characters, at most {_LONGEST_NAME - 2} are allowed"
    for label in name.split("."):
        if not label:
            return "it has an empty label"
        if len(label) > _LONGEST_LABEL:
            return f'"{label[:16]}..." has more than {_LONGEST_LABEL} characters'
        if not _HOST_LABEL.fullmatch(label):
            return f'"{label}" has other characters than letters, digits and inner hyphens'
    return ""


def _warn_of_host_name(where: str, name: str, warnings: list[str]) -> None:
    last = name.rpartition(".")[2]
    if last.isdigit():
        warnings.append(f'{where} is "{name}": a name is expected, as in the certificate')
    elif last == name:
        warnings.append(f'{where} is "{name}": a fully qualified name is expected')


def _starts_with_label(data: bytes) -> bool:
    label = data[1 : 1 + data[0]]
    return data[0] <= _LONGEST_LABEL and len(label) == data[0] and _is_text(label)


def _hint_at_text(data: bytes, at: int) -> str:
    rest = data[at:].rstrip(b"\0")
    return f' (the text "{_quote(rest)}" without labels)' if _is_text(rest) else ""


def _is_text(octets: bytes) -> bool:
    return _TEXT.fullmatch(octets) is not None


def _follow(count: int) -> str:
    return "1 octet follows" if count == 1 else f"{count} octets follow"


def _hex(octets: bytes) -> str:
    return octets.hex(" ").upper()


def _escape(octets: bytes) -> str:
    """The octets as one line of printable ASCII: peers' bytes go into logs."""
    return "".join(chr(o) if 0x20 <= o < 0x7F else f"\\x{o:02X}" for o in octets)


def _quote(octets: bytes) -> str:
    return _escape(octets) if len(octets) <= 64 else _escape(octets[:64]) + "..."
