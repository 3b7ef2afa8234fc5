"""An option as somebody configured it: its octets, for whom, and where that stands."""

from __future__ import annotations

from collections.abc import Iterable

import msgspec

from phonesim.wire.dhcp import Option


class ConfiguredOption(msgspec.Struct, frozen=True, kw_only=True):
    """Option 43 or 120. `vendor_class` is None where nothing says for which class it is.

    `line` counts from 1, 0 for what has no lines; of a capture it is the number of the frame,
    and `origin` says whose answer it came in, and `times` how often. `notes` say what is wrong
    with the way it was entered, beside its octets.
    """

    code: int
    octets: bytes
    vendor_class: str | None = None
    line: int = 0
    notes: tuple[str, ...] = ()
    origin: str = ""
    times: int = 1


class ConfiguredSubOption(msgspec.Struct, frozen=True, kw_only=True):
    """A sub-option of option 43, where each is configured on its own."""

    code: int
    value: bytes
    group: str
    """Those of one group make one option: a class, or a space."""
    line: int
    notes: tuple[str, ...] = ()


def join_sub_options(
    sub_options: Iterable[ConfiguredSubOption], vendor_class_of: dict[str, str | None]
) -> list[ConfiguredOption]:
    """Option 43 of each group, sub-options in the order in which they come, at the first line.

    Of a code that comes twice the last value counts. `vendor_class_of` says which class a group
    is for. A value over 255 octets is cut.
    """
    groups: dict[str, list[ConfiguredSubOption]] = {}
    for each in sub_options:
        groups.setdefault(each.group, []).append(each)
    joined = []
    for group, members in groups.items():
        latest = {each.code: each for each in members}
        ordered = list(latest.values())
        octets = b"".join(
            bytes((each.code, min(len(each.value), 255))) + each.value[:255] for each in ordered
        )
        joined.append(
            ConfiguredOption(
                code=Option.VENDOR_SPECIFIC_INFORMATION,
                octets=octets,
                vendor_class=vendor_class_of.get(group),
                line=min(each.line for each in members),
                notes=tuple(note for each in ordered for note in each.notes),
            )
        )
    return joined


def by_code(sub_options: Iterable[ConfiguredSubOption]) -> list[ConfiguredSubOption]:
    """Sub-options in the order of their codes, as most servers send them."""
    return sorted(sub_options, key=lambda each: each.code)


def line_of(text: str, position: int) -> int:
    """The number of the line that holds a position of a text, from 1."""
    return text.count("\n", 0, position) + 1
