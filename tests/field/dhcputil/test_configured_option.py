from __future__ import annotations

from phonesim.field.dhcputil.configured_option import (
    ConfiguredSubOption,
    by_code,
    join_sub_options,
    line_of,
)


def sub_option(code: int, value: bytes, group: str = "uc", line: int = 1) -> ConfiguredSubOption:
    return ConfiguredSubOption(code=code, value=value, group=group, line=line)


def test_groups_are_options_of_their_own() -> None:
    parts = [
        sub_option(2, b"b", line=7),
        sub_option(10, b"100", "cpe"),
        sub_option(1, b"a", line=5),
        sub_option(2, b"c", line=9),
    ]
    one, two = join_sub_options(by_code(parts), {"uc": "MS-UC-Client"})
    assert (one.octets, one.vendor_class, one.line) == (
        b"\x01\x01a\x02\x01c",
        "MS-UC-Client",
        5,
    )
    assert (two.octets, two.vendor_class, two.line) == (b"\x0a\x03100", None, 1)


def test_the_order_is_kept_and_long_values_are_cut() -> None:
    (option,) = join_sub_options([sub_option(2, b"x" * 300), sub_option(1, b"")], {})
    assert option.octets == b"\x02\xff" + b"x" * 255 + b"\x01\0"


def test_lines_count_from_one() -> None:
    assert [line_of("a\nb\nc", position) for position in (0, 2, 4)] == [1, 2, 3]
