"""What the octets of option 43 or 120 say, part by part, what is wrong, and what a phone takes.

Specifications: device reference section 6.2; RFC 3361.
"""

from __future__ import annotations

import msgspec

from phonesim.config.device_profile import DeviceProfile
from phonesim.field.causes import (
    OPTION_43_OTHER_CLASS,
    OPTION_120_RAW_TEXT,
    VLAN_OPTION_MALFORMED,
    Cause,
)
from phonesim.field.dhcputil.configured_option import ConfiguredOption
from phonesim.field.dhcputil.informed_phone import Taken, taken_from, vlan_in
from phonesim.field.dhcputil.sign_in_values import (
    LONGEST_OPTION,
    SUB_OPTION_TITLES,
    VLAN_CLASS,
)
from phonesim.field.rules.option_verdict import judge_option_43, judge_option_120
from phonesim.wire.dhcp import Option
from phonesim.wire.provisioning import UC_IDENTIFIER

OPTION_43, OPTION_120 = int(Option.VENDOR_SPECIFIC_INFORMATION), int(Option.SIP_SERVERS)
VLAN_CLASSES = (VLAN_CLASS, "CPE-OCPhone")
"""Vendor classes that ask for the VLAN; sources differ in the case [documented]."""

_PAD, _END = 0x00, 0xFF
_NAMES, _ADDRESSES = 0, 1
_LONGEST_LABEL = 63
_VLAN_PART = f"10 {SUB_OPTION_TITLES[10]}"


class Part(msgspec.Struct, frozen=True):
    """A piece of an option: where it begins, what it is, its value as octets and as text.

    Offsets count from 0 at the option's first octet; those of a sub-option are its code's.
    """

    offset: int
    name: str
    octets: bytes
    text: str


class Inspection(msgspec.Struct, frozen=True, kw_only=True):
    """One option, taken apart. `is_usable` says whether a phone would accept it."""

    option: ConfiguredOption
    parts: tuple[Part, ...]
    causes: tuple[Cause, ...]
    warnings: tuple[str, ...]
    taken_by_phone: Taken
    is_usable: bool

    @property
    def is_doubtful(self) -> bool:
        """Whether the emulated phone takes it, and of real ones that is unknown: plain text."""
        return bool(self.taken_by_phone.registrars) and self.causes == (OPTION_120_RAW_TEXT,)

    @property
    def taken(self) -> str:
        """What a phone takes from it, in words; "nothing"."""
        taken = self.taken_by_phone
        if not self.is_usable and not self.is_doubtful:
            return "nothing"
        if taken.web_services is not None:
            return taken.web_services.url
        if taken.vlan_id is not None:
            return f"VLAN {taken.vlan_id}"
        return ", then ".join(each.name for each in taken.registrars) or "nothing"


def inspect(option: ConfiguredOption, profile: DeviceProfile) -> Inspection:
    """Take an option apart, and ask the phone of that profile what it makes of it."""
    if option.code == OPTION_120:
        return _inspect_120(option, profile)
    return _inspect_43(option, profile)


def _inspect_120(option: ConfiguredOption, profile: DeviceProfile) -> Inspection:
    taken = taken_from(OPTION_120, option.octets, profile.discovery)
    verdict = judge_option_120(option.octets)
    return Inspection(
        option=option,
        parts=_parts_of_120(option.octets),
        causes=() if verdict.cause is None else (verdict.cause,),
        warnings=_warnings(option, verdict.warnings, taken),
        taken_by_phone=taken,
        # The emulated phone may take what has a fault: a number, which no certificate is made for.
        is_usable=bool(taken.registrars) and verdict.cause is None,
    )


def _inspect_43(option: ConfiguredOption, profile: DeviceProfile) -> Inspection:
    taken = _taken_of_43(option, profile)
    parts = _parts_of_43(option.octets)
    causes: tuple[Cause, ...] = ()
    warnings = _warnings(option, (), taken)
    is_usable = True
    if taken.vlan_id is None and _is_of_the_other_class(option, profile):
        warnings = ("no VLAN is in it: the server gives this class what is for the other one",)
    elif taken.is_nothing and _is_for_vlan(option, parts):
        causes, is_usable = (VLAN_OPTION_MALFORMED,), False
    elif taken.vlan_id is None:
        verdict = judge_option_43(option.octets)
        causes = () if verdict.cause is None else (verdict.cause,)
        warnings = _warnings(option, verdict.warnings, taken)
        is_usable = taken.web_services is not None and not causes
    complaint = _complain_of_class(option.vendor_class, profile)
    if complaint:
        is_usable = False
        causes = (OPTION_43_OTHER_CLASS, *causes)
        warnings = (complaint, *warnings)
    return Inspection(
        option=option,
        parts=parts,
        causes=tuple(dict.fromkeys(causes)),
        warnings=warnings,
        taken_by_phone=taken,
        is_usable=is_usable,
    )


def _warnings(option: ConfiguredOption, found: tuple[str, ...], taken: Taken) -> tuple[str, ...]:
    told = [text for _, text in taken.warnings]
    # A phone that says what a fault leads to has said the fault.
    found = tuple(each for each in found if not any(text.startswith(each) for text in told))
    if len(option.octets) > LONGEST_OPTION:
        told.append(
            f"{len(option.octets)} octets go into one option in pieces of {LONGEST_OPTION}"
            " (RFC 3396), and whether phones join them is unknown"
        )
    return tuple(dict.fromkeys((*option.notes, *found, *told)))


def _is_of_the_other_class(option: ConfiguredOption, profile: DeviceProfile) -> bool:
    """Whether who asks for the VLAN is given the URL: a phone then stays untagged."""
    if option.vendor_class not in VLAN_CLASSES:
        return False
    return taken_from(OPTION_43, option.octets, profile.discovery).web_services is not None


def _is_for_vlan(option: ConfiguredOption, parts: tuple[Part, ...]) -> bool:
    """Whether it is to name a VLAN, by its class or by what it holds."""
    may_be = option.vendor_class is None or option.vendor_class in VLAN_CLASSES
    return may_be and any(part.name == _VLAN_PART for part in parts)


def _taken_of_43(option: ConfiguredOption, profile: DeviceProfile) -> Taken:
    """Read it as its class does; of an unknown class, as what it seems to be."""
    forms = profile.vlan.option_forms
    if option.vendor_class in VLAN_CLASSES:
        return vlan_in(option.octets, forms)
    taken = taken_from(OPTION_43, option.octets, profile.discovery)
    if taken.web_services is None and option.vendor_class is None:
        as_vlan = vlan_in(option.octets, forms)
        if as_vlan.vlan_id is not None:
            return as_vlan
    return taken


def _complain_of_class(vendor_class: str | None, profile: DeviceProfile) -> str:
    asks = (profile.discovery.inform_class, *VLAN_CLASSES)
    if vendor_class is None or vendor_class in asks:
        return ""
    meant = next((each for each in asks if each.lower() == vendor_class.lower()), None)
    if meant is not None:
        return (
            f'it is for vendor class "{vendor_class}", and phones send "{meant}": case counts, '
            f"so no phone gets it"
        )
    return (
        f'it is for vendor class "{vendor_class}", which no phone sends: phones ask as '
        f'"{UC_IDENTIFIER}"'
    )


def _parts_of_43(octets: bytes) -> tuple[Part, ...]:
    if octets and octets.isascii() and octets.rstrip(b"\0").decode().isprintable():
        return (Part(0, "text", octets, _describe(octets)),)
    parts: list[Part] = []
    at = 0
    while at < len(octets):
        code = octets[at]
        if code == _PAD:
            end = len(octets) - len(octets[at:].lstrip(b"\0"))
            parts.append(Part(at, "padding", octets[at:end], ""))
            at = end
            continue
        if code == _END:
            parts.append(Part(at, "end", octets[at:], _describe(octets[at + 1 :])))
            break
        title = SUB_OPTION_TITLES.get(code, "unknown")
        size = octets[at + 1] if at + 1 < len(octets) else 0
        value = octets[at + 2 : at + 2 + size]
        is_whole = at + 1 < len(octets) and len(value) == size
        name = f"{code} {title}" + ("" if is_whole else ", cut short")
        parts.append(Part(at, name, value, _describe(value)))
        at += 2 + size
    return tuple(parts)


def _parts_of_120(octets: bytes) -> tuple[Part, ...]:
    if not octets or octets[0] not in (_NAMES, _ADDRESSES):
        return (Part(0, "no encoding", octets, _describe(octets)),) if octets else ()
    if octets[0] == _ADDRESSES:
        return (
            Part(0, "encoding: addresses", octets[:1], ""),
            *(
                Part(at, "address", octets[at : at + 4], ".".join(map(str, octets[at : at + 4])))
                for at in range(1, len(octets), 4)
            ),
        )
    parts = [Part(0, "encoding: names", octets[:1], "")]
    at = 1
    while at < len(octets):
        start = at
        labels = []
        while at < len(octets) and 0 < octets[at] <= _LONGEST_LABEL:
            labels.append(octets[at + 1 : at + 1 + octets[at]])
            at += 1 + octets[at]
        if at < len(octets) and octets[at] > _LONGEST_LABEL:
            # A compression pointer, or nothing that belongs here.
            at = min(at + 2, len(octets)) if octets[at] >= 0xC0 else len(octets)
            name = "name with a pointer" if octets[start] <= _LONGEST_LABEL else "not a label"
            parts.append(Part(start, name, octets[start:at], _describe(b".".join(labels))))
            continue
        at = min(at + 1, len(octets))
        parts.append(Part(start, "name", octets[start:at], _describe(b".".join(labels))))
    return tuple(parts)


def _describe(octets: bytes) -> str:
    """Printable octets as they are, others as \\xNN."""
    return "".join(chr(each) if 0x20 <= each < 0x7F else f"\\x{each:02X}" for each in octets)
