from __future__ import annotations

import pytest

from phonesim.errors import DecodeError, UsageError
from phonesim.field.dhcputil.cisco_ios import read_cisco, remove_cisco, write_cisco
from phonesim.field.dhcputil.sign_in_values import SignInValues, read_sign_in_values

LONG = read_sign_in_values(["sipserver.fqdn.company.com"])  # 186 digits
SHORT = read_sign_in_values(["server.fqdn.company.com"])  # 180 digits


def test_180_digits_are_one_line() -> None:
    lines = write_cisco(SHORT).splitlines()
    (option_43,) = [line for line in lines if " option 43 hex " in line]
    assert option_43.split()[-1].replace(".", "") == SHORT.option_43.hex()
    assert (
        " option 120 hex 0006.7365.7276.6572.0466.7164.6e07.636f.6d70.616e.7903.636f.6d00" in lines
    )
    assert not any("option ext" in line for line in lines)


def test_more_digits_are_extended_and_in_parts() -> None:
    printed = write_cisco(LONG)
    parts = [line.split()[-1] for line in printed.splitlines() if line.startswith(" option ext")]
    assert "".join(parts).replace(".", "") == LONG.option_43.hex()
    assert all(len(part.replace(".", "")) <= 180 for part in parts)
    assert all(len(line) <= 254 for line in printed.splitlines())
    assert " option 43 hex" not in printed
    assert "IOS XE 3.2.1S" in printed
    assert " no option ext 43\n" in remove_cisco(LONG)
    assert " no option 43\n" in remove_cisco(SHORT)


def test_what_ios_cuts_is_cut_here_too() -> None:
    (option,) = read_cisco(f"ip dhcp pool x\n option 43 hex {LONG.option_43.hex()}\n lease 1\n")
    assert option.octets == LONG.option_43[:90]
    assert option.line == 2
    assert "entered with 186 digits, of which IOS from 15.1(3)S on keeps 180" in option.notes[0]


def test_an_option_120_of_more_digits_is_whole() -> None:
    long = "p" * 60
    values = read_sign_in_values([f"{long}1.contoso.com", f"{long}2.contoso.com"])
    (_, option) = read_cisco(write_cisco(values))
    assert (option.code, option.octets, option.notes) == (120, values.option_120, ())


def test_parts_of_an_extended_option_are_joined() -> None:
    digits = LONG.option_43.hex()
    (option, other) = read_cisco(
        f"option ext 43 hex {digits[:100]}\noption ext 43 hex {digits[100:]}\n"
        "ip dhcp pool other\noption ext 43 hex 0a03313030\n"
    )
    assert option.octets == LONG.option_43
    assert (option.line, other.line) == (1, 4)
    assert other.octets == b"\x0a\x03100"


@pytest.mark.parametrize(
    ("line", "octets", "note"),
    [
        ("option 43 hex 0a:03:31 30 30", b"\x0a\x03100", ()),
        ("  OPTION 120 HEX 0003.7369.7000", b"\0\x03sip\0", ()),
        ("option 43 instance 1 hex 0a03313030", b"\x0a\x03100", ()),
        ('option 43 ascii "MS-UC"', b"MS-UC", ("entered as ascii: hex is due",)),
        ("option 120 ip 10.0.0.1", b"\x0a\0\0\x01", ("entered as ip: hex is due",)),
    ],
)
def test_forms_of_a_line(line: str, octets: bytes, note: tuple[str, ...]) -> None:
    (option,) = read_cisco(line)
    assert (option.octets, option.notes) == (octets, note)


def test_other_lines_are_left_alone() -> None:
    assert read_cisco(" option 150 ip 10.0.0.1\n no option 43\n option 43 0a;\n") == []


@pytest.mark.parametrize("value", ["hex 0a0", "ip 10.0.0", "hex none"])
def test_values_that_are_none_are_refused(value: str) -> None:
    with pytest.raises(DecodeError, match="line 1: option 43: "):
        read_cisco(f"option 43 {value}")


def test_a_vlan_is_refused_for_want_of_classes(values: SignInValues) -> None:
    for make in (write_cisco, remove_cisco):
        with pytest.raises(UsageError, match="--vlan: a pool of Cisco IOS gives one option 43"):
            make(values)
