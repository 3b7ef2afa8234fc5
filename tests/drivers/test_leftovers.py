"""What a killed run left is found and removed; what others have is not touched."""

import ipaddress
from collections.abc import Callable
from contextlib import closing
from typing import TypeVar

import pytest
from namespaces import PHONES, Inside, Segment, ip

from phonesim.drivers.interface import Interface
from phonesim.drivers.leftovers import describe_leftovers, find_leftovers, remove_leftovers

pytestmark = pytest.mark.interop("nft")

T = TypeVar("T")


def inside(segment: Segment, do: Callable[[], T]) -> T:
    async def main() -> T:
        return do()

    result: T = Inside(segment.phones, main).join_and_raise()
    return result


def leave_behind(segment: Segment, number: int) -> None:
    """Leave what a run leaves that is killed."""
    side, table = ("-n", segment.phones), str(6800 + number)
    for last in (1, 2):
        address = f"10.77.{number}.{last}/32"
        ip(*side, "addr", "add", address, "dev", PHONES, "label", f"phonesim:{number}")
    way = ("dev", PHONES, "table", table, "proto", "168")
    ip(*side, "route", "add", "10.77.0.0/16", *way, "scope", "link")
    ip(*side, "route", "add", "default", "via", "10.77.0.1", *way, "onlink")
    for subnet in ("10.77.0.0/16", "10.78.0.0/16"):
        rule = ("from", subnet, "table", table, "priority", table, "protocol", "168")
        ip(*side, "rule", "add", *rule)
    nft = ("netns", "exec", segment.phones, "nft", "add", "table", "netdev")
    ip(*nft, f"phonesim_{number}")


def test_nothing_is_left_where_nobody_was(segment: Segment) -> None:
    assert inside(segment, find_leftovers) == []
    assert inside(segment, remove_leftovers) == []


def test_what_a_killed_run_left_is_found_and_removed(segment: Segment) -> None:
    before = segment.state()
    leave_behind(segment, 1)
    leave_behind(segment, 7)
    left = inside(segment, find_leftovers)
    assert describe_leftovers(left) == (
        f"2 addresses on {PHONES}, 2 rules, 2 routes, nft table phonesim_1, "
        f"2 addresses on {PHONES}, 2 rules, 2 routes, nft table phonesim_7"
    )
    assert inside(segment, remove_leftovers) == left
    assert segment.state() == before
    assert inside(segment, find_leftovers) == []


def test_what_a_run_has_that_lives_is_kept(segment: Segment) -> None:
    def clean_beside_a_run() -> str:
        with closing(Interface(PHONES)) as interface:
            interface.add_address("10.77.9.1")
            interface.route(ipaddress.IPv4Network("10.77.9.0/24"), None)
            during = segment.state()
            leave_behind(segment, interface.mark.number + 1)
            found = describe_leftovers(remove_leftovers())
            assert segment.state() == during
            return found

    assert "nft table phonesim_2" in inside(segment, clean_beside_a_run)


def test_what_others_have_is_not_touched(segment: Segment) -> None:
    side = ("-n", segment.phones)
    ip(*side, "addr", "add", "10.77.0.5/16", "dev", PHONES)
    ip(*side, "addr", "add", "10.77.0.6/32", "dev", PHONES, "label", f"{PHONES}:1")
    ip(*side, "route", "add", "10.99.0.0/16", "dev", PHONES, "table", "6801")
    ip(*side, "rule", "add", "from", "10.99.0.0/16", "table", "6801", "priority", "6801")
    ip("netns", "exec", segment.phones, "nft", "add", "table", "netdev", "filter")
    before = segment.state()
    leave_behind(segment, 1)
    inside(segment, remove_leftovers)
    assert segment.state() == before
