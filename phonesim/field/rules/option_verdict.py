"""What is wrong with the octets of option 43 or 120: one cause, and every warning in words.

The octets decide, not what a phone made of them, so a verdict is the same for a log, a capture
and a server's configuration. Of several faults the one that explains the others counts: what
follows an FF or a cut is never read.

Specifications: as `phonesim.wire.provisioning`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

import msgspec

from phonesim.field import causes
from phonesim.field.causes import Cause
from phonesim.wire.ipv4 import is_address, unpack_address
from phonesim.wire.provisioning import UC_IDENTIFIER, decode_sip_servers, decode_uc_options

CUT_AT = 90
"""Octets that Cisco IOS keeps of `option 43 hex`: 180 digits."""

_PAD, _END = 0x00, 0xFF
_URL_PARTS = frozenset({2, 3, 4, 5})
_PARTS = _URL_PARTS | {1}
_TRACES = (UC_IDENTIFIER.lower().encode(), b"https")
_PORT, _PATH = 4, 5
_ENCODINGS = 1
"""The highest encoding of option 120."""
_ADDRESS_SIZE = 4
_is_text = re.compile(rb"[ -~]+").fullmatch
_between_digits = re.compile(rb"0x|[ :-]")
_is_hex_text = re.compile(rb"(?:0x)?(?:[0-9A-Fa-f]{2}[ :-]?){4,}").fullmatch


class Verdict(msgspec.Struct, frozen=True, gc=False):
    """`cause` is None for an option that a phone can use, whatever the warnings."""

    cause: Cause | None
    warnings: tuple[str, ...] = ()

    @property
    def note(self) -> str:
        """The warnings as one text."""
        return "; ".join(self.warnings)


def judge_option_43(data: bytes) -> Verdict:
    """Say what is wrong with an option 43 that shall lead to the web services."""
    options = decode_uc_options(data)
    is_whole = None not in (
        options.url_scheme,
        options.web_server_fqdn,
        options.web_server_port,
        options.cert_prov_rel_path,
    )
    found, cut, behind_end = _split(data)
    typed = {code: value for code, value in found.items() if _is_typed_as_text(code, value)}
    if is_whole and options.uc_identifier == UC_IDENTIFIER and not typed:
        return Verdict(None, options.warnings)
    notes = list(options.warnings)
    has_url_parts = bool(found.keys() & _URL_PARTS)
    is_meant = has_url_parts or _has_trace(data) or (cut is not None and data[0] in _PARTS)
    if is_meant and (behind_end or any(_END in found.get(code, b"") for code in _PARTS)):
        return Verdict(causes.OPTION_43_FF, tuple(notes))
    if is_meant and (_is_text(data) or typed):
        notes += [
            f'sub-option {code} holds "{value.decode("ascii", "replace")}": hex digits that were'
            f" entered as text"
            for code, value in typed.items()
        ]
        return Verdict(causes.OPTION_43_NOT_BINARY, tuple(notes))
    if is_meant and cut is not None:
        is_cut = not cut or _is_text(cut) is not None
        cause = causes.OPTION_43_CUT if is_cut else causes.OPTION_43_MALFORMED
        return Verdict(cause, tuple(notes))
    if len(data) == CUT_AT and _PATH not in found and has_url_parts:
        notes.append("it ends after exactly 180 hex digits, where Cisco IOS cuts")
        return Verdict(causes.OPTION_43_CUT, tuple(notes))
    if not has_url_parts:
        known = ", ".join(str(code) for code in found) or "none"
        notes.append(
            f"of the sub-options 2 to 5, which make the URL, none is there: it has {known}"
        )
        return Verdict(causes.OPTION_43_OTHER_CLASS, tuple(notes))
    if is_whole:
        if options.uc_identifier is None:
            notes.append(f'sub-option 1 is missing: it shall hold "{UC_IDENTIFIER}"')
        return Verdict(causes.OPTION_43_IDENTIFIER, tuple(notes))
    if _PORT in found and options.web_server_port is None:
        return Verdict(causes.OPTION_43_PORT, tuple(notes))
    missing = sorted(_URL_PARTS - found.keys())
    notes += [f"sub-option {code} is missing" for code in missing]
    return Verdict(causes.OPTION_43_MALFORMED, tuple(notes))


def judge_option_120(data: bytes) -> Verdict:
    """Say what is wrong with an option 120."""
    servers = decode_sip_servers(data)
    is_named = data[:1] == b"\0" and not any(map(is_address, servers.names))
    if servers.names and is_named:
        return Verdict(None, servers.warnings)
    if servers.addresses or any(is_address(text) for text in _texts(data)):
        notes = [*servers.warnings]
        notes += [f"it holds the address {address}" for address in servers.addresses]
        return Verdict(causes.OPTION_120_ADDRESS, (*notes, "TLS needs a name"))
    if len(data) == _ADDRESS_SIZE and data[0] > _ENCODINGS and not _is_text(data):
        address = unpack_address(data)
        notes = [*servers.warnings, f"as an address these octets are {address}: TLS needs a name"]
        return Verdict(causes.OPTION_120_ADDRESS, tuple(notes))
    if _is_text(data.strip(b"\0")):
        return Verdict(causes.OPTION_120_RAW_TEXT, servers.warnings)
    return Verdict(causes.OPTION_120_MALFORMED, servers.warnings)


def _split(data: bytes) -> tuple[Mapping[int, bytes], bytes | None, bool]:
    """Sub-options, what is there of one that is cut short, and whether FF has octets behind it."""
    found: dict[int, bytes] = {}
    at = 0
    while at < len(data):
        code = data[at]
        if code == _END:
            return found, None, bool(data[at + 1 :].strip(b"\x00\xff"))
        if code == _PAD:
            at += 1
            continue
        size = data[at + 1] if at + 1 < len(data) else 1
        value = data[at + 2 : at + 2 + size]
        if len(value) < size:
            return found, value, False
        found.setdefault(code, value)
        at += 2 + size
    return found, None, False


def _is_typed_as_text(code: int, value: bytes) -> bool:
    return code in _PARTS and _is_hex_text(value.rstrip(b"\0")) is not None


def _has_trace(data: bytes) -> bool:
    """Whether it has a word that is for these phones, plain or in hex digits."""
    digits = _between_digits.sub(b"", data)
    octets = b""
    if re.fullmatch(rb"[0-9A-Fa-f]+", digits):
        octets = bytes.fromhex(digits[: len(digits) // 2 * 2].decode())
    return any(trace in each.lower() for each in (data, octets) for trace in _TRACES)


def _texts(data: bytes) -> list[str]:
    """The option read as text in every way that leads to one."""
    text = data.strip(b"\0").decode("ascii", "replace")
    labels = []
    at = 1
    while data[:1] == b"\0" and at < len(data) and data[at]:
        labels.append(data[at + 1 : at + 1 + data[at]].decode("ascii", "replace"))
        at += 1 + data[at]
    return [text, ".".join(labels)]
