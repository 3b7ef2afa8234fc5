"""Which causes the octets of options 43 and 120 show, whoever gave them.

The decoders of `phonesim.wire.provisioning` say in words what is wrong with the octets; this
says which named causes that is, the most telling first. Octets that are as they should be
show none. Whether a phone puts up with what is wrong is the phone's affair.

Specifications: RFC 3361 (option 120), RFC 2132 section 8.4 (sub-options), device reference
sections 6.2 and 15.
"""

from __future__ import annotations

import re

from phonesim.field import causes
from phonesim.field.causes import Cause
from phonesim.wire.provisioning import UC_IDENTIFIER, decode_sip_servers, decode_uc_options

_UC_IDENTIFIER, _WEB_SERVER_FQDN, _PORT, _VLAN_ID = 1, 3, 4, 10
_OF_THE_URL = frozenset(range(1, 6))
_KNOWN = _OF_THE_URL | {_VLAN_ID}
_PAD, _END = 0x00, 0xFF
_IOS_HEX_LIMIT = 180
"""Digits at which Cisco IOS from 15.1(3)S cuts `option 43 hex` [source]."""
_is_text = re.compile(rb"[ -~]+").fullmatch


def faults_of_option_43(octets: bytes) -> tuple[Cause, ...]:
    """What is wrong with option 43, be it for the URL or for the VLAN."""
    if _is_text(octets.rstrip(b"\0")):
        return (causes.OPTION_43_NOT_BINARY,)
    found: list[Cause] = []
    values: dict[int, bytes] = {}
    at = 0
    while at < len(octets):
        code = octets[at]
        if code == _PAD:
            at += 1
            continue
        if code == _END:
            if octets[at:].strip(b"\x00\xff"):
                found.append(causes.OPTION_43_FF)
            break
        end = at + 2 + octets[at + 1] if at + 1 < len(octets) else len(octets) + 1
        if end > len(octets):
            found.append(causes.OPTION_43_CUT)
            break
        values.setdefault(code, octets[at + 2 : end])
        at = end
    if not found and not _KNOWN & values.keys():
        return (causes.OPTION_43_OTHER_CLASS if values else causes.OPTION_43_MALFORMED,)
    if _VLAN_ID in values and decode_uc_options(octets).vlan_id is None:
        found.append(causes.VLAN_OPTION_MALFORMED)
    if _OF_THE_URL & values.keys():
        found += _faults_of_url(octets, values, is_whole=not found)
    return tuple(dict.fromkeys(found))


def faults_of_option_120(octets: bytes) -> tuple[Cause, ...]:
    """What is wrong with option 120."""
    servers = decode_sip_servers(octets)
    if servers.addresses or any(_is_number(name) for name in servers.names):
        return (causes.OPTION_120_ADDRESS,)
    if _is_text(octets.rstrip(b"\0")):
        return (causes.OPTION_120_RAW_TEXT,)
    return () if servers.names else (causes.OPTION_120_MALFORMED,)


def _faults_of_url(octets: bytes, values: dict[int, bytes], *, is_whole: bool) -> list[Cause]:
    found = []
    if values.get(_UC_IDENTIFIER, b"").rstrip(b"\0") != UC_IDENTIFIER.encode() and (
        is_whole or _UC_IDENTIFIER in values
    ):
        found.append(causes.OPTION_43_IDENTIFIER)
    if _PORT in values and not values[_PORT].rstrip(b"\0").isdigit():
        found.append(causes.OPTION_43_PORT)
    if any(value != value.rstrip(b"\0") for value in values.values()) and not found:
        found.append(causes.OPTION_43_NOT_BINARY)
    options = decode_uc_options(octets)
    unread = [
        code
        for code, value in (
            (2, options.url_scheme),
            (3, options.web_server_fqdn),
            (4, options.web_server_port),
            (5, options.cert_prov_rel_path),
        )
        if value is None
    ]
    if unread and is_whole and not found:
        is_cut = 2 * len(octets) == _IOS_HEX_LIMIT and not set(unread) & values.keys()
        found.append(causes.OPTION_43_CUT if is_cut else causes.OPTION_43_MALFORMED)
    return found


def _is_number(name: str) -> bool:
    return name.rpartition(".")[2].isdigit()
