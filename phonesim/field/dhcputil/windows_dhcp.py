"""Windows DHCP: what DHCPConfigScript.bat does with netsh, and the same with PowerShell.

Windows makes option 43 itself, of values that are defined for a vendor class one by one.
Every definition has to be Binary: String adds a NUL octet, Word makes the port a number.
The script defines no sub-option 10; that class is this project's own addition, made alike.

Specifications: device reference section 18.3 (the script, and the PowerShell of its class
line) [documented gg412988]; the DhcpServer module's pages of Add-DhcpServerv4OptionDefinition,
Set-DhcpServerv4OptionValue (binary data is given as hexadecimal strings) and their Remove-
counterparts [documented].
"""

from __future__ import annotations

import re
from collections.abc import Callable

from phonesim.errors import DecodeError
from phonesim.field.dhcputil.configured_option import (
    ConfiguredOption,
    ConfiguredSubOption,
    by_code,
    join_sub_options,
    line_of,
)
from phonesim.field.dhcputil.hex_text import is_hex, read_hex
from phonesim.field.dhcputil.sign_in_values import VLAN_CLASS, SignInValues, SubOption
from phonesim.wire.ipv4 import pack_address
from phonesim.wire.provisioning import UC_IDENTIFIER

CLASS_NAME, VLAN_CLASS_NAME = "MSUCClient", "CPEOCPhone"

_KNOWN_CLASSES: dict[str, str | None] = {
    CLASS_NAME.lower(): UC_IDENTIFIER,
    UC_IDENTIFIER.lower(): UC_IDENTIFIER,
    VLAN_CLASS_NAME.lower(): VLAN_CLASS,
    VLAN_CLASS.lower(): VLAN_CLASS,
}
_COMMENTS = {
    1: "UC Identifier",
    2: "URL Scheme",
    3: "Web Server Fqdn",
    4: "Web Server Port",
    5: "Cert Prov Relative Path",
    10: "VLAN Id",
}
_SIZES = {"byte": 1, "word": 2, "dword": 4}


# --- writing -----------------------------------------------------------------


def write_netsh(values: SignInValues) -> str:
    """What DHCPConfigScript.bat runs, in its order, with the values filled in."""
    lines = [
        *_netsh_removal(values.vlan_id is not None),
        'add optiondef 120 UCSipServer Binary 0 comment="Sip Server Fqdn"',
        f"set optionvalue 120 Binary {_hex(values.option_120)}",
        f'add class {CLASS_NAME} "UC Vendor Class Id" "{UC_IDENTIFIER}" 1',
    ]
    for each in values.sub_options:
        lines += _netsh_sub_option(each, CLASS_NAME)
    if values.vlan_sub_option is not None:
        lines.append(f'add class {VLAN_CLASS_NAME} "VLAN Vendor Class Id" "{VLAN_CLASS}" 1')
        lines += _netsh_sub_option(values.vlan_sub_option, VLAN_CLASS_NAME)
    return _netsh(lines)


def remove_netsh(values: SignInValues) -> str:
    """What DHCPConfigScript.bat runs for `Cleanup`."""
    return _netsh(_netsh_removal(values.vlan_id is not None))


def write_powershell(values: SignInValues) -> str:
    """The same with the cmdlets of the DhcpServer module: what is there goes first."""
    lines = [
        *(f"{line} -ErrorAction SilentlyContinue" for line in _powershell_removal(values)),
        'Add-DhcpServerv4OptionDefinition -OptionId 120 -Name "UCSipServer" -Type BinaryData'
        ' -Description "Sip Server Fqdn"',
        f"Set-DhcpServerv4OptionValue -OptionId 120 -Value {_strings(values.option_120)}",
    ]
    groups = [(CLASS_NAME, UC_IDENTIFIER, values.sub_options)]
    if values.vlan_sub_option is not None:
        groups.append((VLAN_CLASS_NAME, VLAN_CLASS, [values.vlan_sub_option]))
    for name, vendor_class, sub_options in groups:
        lines.append(f"Add-DhcpServerv4Class -Name {name} -Type Vendor -Data {vendor_class}")
        for each in sub_options:
            lines += [
                f"Add-DhcpServerv4OptionDefinition -OptionId {each.code} -Name"
                f' "{each.name}" -Type BinaryData -VendorClass "{name}"'
                f' -Description "{_COMMENTS[each.code]}"',
                f"Set-DhcpServerv4OptionValue -OptionId {each.code}"
                f' -VendorClass "{name}" -Value {_strings(each.value)}',
            ]
    return "\n".join(lines) + "\n"


def remove_powershell(values: SignInValues) -> str:
    """The counterpart of `Cleanup`."""
    return "".join(f"{line}\n" for line in _powershell_removal(values))


def _powershell_removal(values: SignInValues) -> list[str]:
    names = [CLASS_NAME, *([VLAN_CLASS_NAME] if values.vlan_id is not None else [])]
    return [
        "Remove-DhcpServerv4OptionValue -OptionId 120",
        "Remove-DhcpServerv4OptionDefinition -OptionId 120",
        *(f"Remove-DhcpServerv4Class -Name {name} -Type Vendor" for name in names),
    ]


def _netsh_removal(has_vlan: bool) -> list[str]:
    lines = ["delete optionvalue 120", "delete optiondef 120", f"delete class {CLASS_NAME}"]
    return [*lines, *([f"delete class {VLAN_CLASS_NAME}"] if has_vlan else [])]


def _netsh_sub_option(each: SubOption, class_name: str) -> list[str]:
    return [
        f"add optiondef {each.code} {each.name} Binary 0 Vendor={class_name}"
        f' comment="{_COMMENTS[each.code]}"',
        f"set optionvalue {each.code} Binary vendor={class_name} {_hex(each.value)}",
    ]


def _netsh(lines: list[str]) -> str:
    return "".join(f"netsh dhcp server {line}\n" for line in lines)


def _hex(octets: bytes) -> str:
    return octets.hex().upper()


def _strings(octets: bytes) -> str:
    return ",".join(f'"0x{octet:02X}"' for octet in octets)


# --- reading -----------------------------------------------------------------

_NETSH = r"^(?![ \t]*(?:rem\b|::|#)).*"
_ADD_CLASS = re.compile(
    _NETSH + r'\badd\s+class\s+"?([\w-]+)"?\s+"[^"]*"\s+"?([^"\s]+)"?(?:\s+1\s+(b)\b)?',
    re.IGNORECASE | re.MULTILINE,
)
_OPTIONDEF = re.compile(
    _NETSH + r'\badd\s+optiondef\s+(\d+)\s+(?:"[^"]*"|\S+)\s+(\w+)(.*)$',
    re.IGNORECASE | re.MULTILINE,
)
_OPTIONVALUE = re.compile(
    _NETSH + r"\bset\s+optionvalue\s+(\d+)\s+(\w+)\s+(.+)$", re.IGNORECASE | re.MULTILINE
)
_SCRIPT = re.compile(
    r'DHCPConfigScript(?:\.bat)?"?\s+Configure\s+(\S+)((?:\s+(?:[0-9A-Fa-f]+|NULL))+)\s*$',
    re.IGNORECASE | re.MULTILINE,
)
_VENDOR = re.compile(r'\bvendor="?([\w-]+)"?', re.IGNORECASE)
_OTHER_ARGUMENT = re.compile(r'\b(?:user|vendor|comment)=(?:"[^"]*"|\S+)', re.IGNORECASE)

_CMDLET = re.compile(
    r"^[ \t]*(?:PS\s*\S*>\s*)?(Add-DhcpServerv4Class|Add-DhcpServerv4OptionDefinition"
    r"|Set-DhcpServerv4OptionValue)\b(.*)$",
    re.IGNORECASE | re.MULTILINE,
)
_PARAMETER = re.compile(r"-(\w+)\s+(.*?)(?=\s+-[A-Za-z]|\s*$)")
_ASCII_BYTES = re.compile(r"ASCII\.GetBytes\(\s*[\"']([^\"']*)[\"']", re.IGNORECASE)


def read_netsh(text: str) -> list[ConfiguredOption]:
    """Options that netsh commands, or a call of the script, set."""
    classes = dict(_KNOWN_CLASSES)
    for match in _ADD_CLASS.finditer(text):
        is_dumped = match[3] is not None and is_hex(match[2])
        data = read_hex(match[2]).decode("ascii", "replace") if is_dumped else match[2]
        classes[match[1].lower()] = data
    types: dict[tuple[str, int], str] = {}
    for match in _OPTIONDEF.finditer(text):
        vendor = _VENDOR.search(match[3])
        types[vendor[1].lower() if vendor else "", int(match[1])] = match[2]
    gathered = _Gathered(classes, types)
    for match in _OPTIONVALUE.finditer(text):
        vendor = _VENDOR.search(match[3])
        value = _OTHER_ARGUMENT.sub("", match[3]).strip().strip('"')
        if "%" in value:
            continue  # the script itself, whose arguments are not there
        code, name = int(match[1]), vendor[1] if vendor else ""
        if _matters(code, name):
            gathered.add(code, match[2], value, name, line_of(text, match.start()))
    return [*gathered.options(), *_read_script(text)]


def read_powershell(text: str) -> list[ConfiguredOption]:
    """Options that cmdlets set."""
    joined = re.sub(r"`[ \t]*\n", lambda match: " " * (len(match[0]) - 1) + "\r", text)
    classes = dict(_KNOWN_CLASSES)
    types: dict[tuple[str, int], str] = {}
    gathered = _Gathered(classes, types)
    for match in _CMDLET.finditer(joined.replace("\r", " ")):
        given = {name.lower(): value.strip() for name, value in _PARAMETER.findall(match[2] + " ")}
        name, vendor = match[1].lower(), given.get("vendorclass", "").strip("\"'")
        if name == "add-dhcpserverv4class":
            classes[given.get("name", "").strip("\"'").lower()] = given.get("data", "").strip("\"'")
            continue
        code = given.get("optionid", "").strip("\"'")
        if not code.isdigit() or not _matters(int(code), vendor):
            continue
        if name == "add-dhcpserverv4optiondefinition":
            types[vendor.lower(), int(code)] = given.get("type", "").strip("\"'")
            continue
        value = given.get("value", "")
        as_bytes = _ASCII_BYTES.search(value)
        kind = types.get((vendor.lower(), int(code)), "")
        if as_bytes is not None:
            value, kind = as_bytes[1].encode().hex(), "binary"
        elif not kind:
            kind = "binary" if is_hex(value) else "string"
        gathered.add(int(code), kind, value, vendor, line_of(text, match.start()))
    return gathered.options()


def _matters(code: int, vendor: str) -> bool:
    """Whether an option can be of the sign-in: a scope of a large server has many others."""
    return bool(vendor) or code in (43, 120)


class _Gathered:
    """Values that were set, for no class or for one."""

    def __init__(self, classes: dict[str, str | None], types: dict[tuple[str, int], str]) -> None:
        self._classes = classes
        self._types = types
        self._whole: list[ConfiguredOption] = []
        self._sub_options: list[ConfiguredSubOption] = []

    def add(self, code: int, kind: str, value: str, vendor: str, line: int) -> None:
        """Take one; `DecodeError` if its value is none of its type."""
        group = vendor.lower()
        where = f"option {code}" + (f" of class {vendor}" if vendor else "")
        kind = kind.lower().removesuffix("data")
        octets = _value(kind, value, f"line {line}: {where}")
        defined = self._types.get((group, code), "").lower().removesuffix("data") or kind
        notes: tuple[str, ...] = ()
        if defined not in ("binary", "encapsulated"):
            notes = (f"{where} is defined as {defined}, not as Binary",)
        if vendor:
            each = ConfiguredSubOption(code=code, value=octets, group=group, line=line, notes=notes)
            self._sub_options.append(each)
        else:
            self._whole.append(ConfiguredOption(code=code, octets=octets, line=line, notes=notes))

    def options(self) -> list[ConfiguredOption]:
        """All of them, those of a class joined."""
        groups = {each.group for each in self._sub_options}
        classes = {group: self._classes.get(group, group) for group in groups}
        return [*self._whole, *join_sub_options(by_code(self._sub_options), classes)]


def _value(kind: str, value: str, where: str) -> bytes:
    """The octets that the server sends."""
    readers: dict[str, Callable[[str], bytes]] = {
        "binary": read_hex,
        "encapsulated": read_hex,
        "string": lambda text: text.strip("\"'").encode() + b"\0",
        "ipaddress": lambda text: b"".join(map(pack_address, re.split(r"[\s,]+", text))),
        "ipv4address": lambda text: b"".join(map(pack_address, re.split(r"[\s,]+", text))),
    }
    try:
        if kind in _SIZES:
            numbers = re.split(r"[\s,]+", value.replace('"', ""))
            return b"".join(int(each, 0).to_bytes(_SIZES[kind], "big") for each in numbers)
        if kind in readers:
            return readers[kind](value)
    except (ValueError, OverflowError, DecodeError) as error:
        raise DecodeError(f"{where}: {error}") from None
    raise DecodeError(f"{where}: {kind!r} is no type of option that is known")


def _read_script(text: str) -> list[ConfiguredOption]:
    """`DHCPConfigScript.bat Configure CLASS OPTION-120 SUB-OPTION-1 ...`."""
    found = []
    for match in _SCRIPT.finditer(text):
        option_120, *values = match[2].split()
        line = line_of(text, match.start())
        try:
            sub_options = [
                ConfiguredSubOption(code=code, value=read_hex(value), group="", line=line)
                for code, value in enumerate(values, 1)
                if value.upper() != "NULL"
            ]
            found.append(ConfiguredOption(code=120, octets=read_hex(option_120), line=line))
        except DecodeError as error:
            raise DecodeError(f"line {line}: DHCPConfigScript: {error}") from None
        found += join_sub_options(sub_options, {"": match[1]})
    return found
