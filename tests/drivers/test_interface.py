import ipaddress
from collections.abc import Callable
from typing import Any

import pytest
from namespaces import PHONES, Inside, Segment, ip

from phonesim.drivers.interface import Interface
from phonesim.errors import UsageError

pytestmark = pytest.mark.interop("nft")

SUBNET = ipaddress.IPv4Network("10.77.0.0/16")
ELSEWHERE = ipaddress.IPv4Network("10.78.0.0/16")


def inside(segment: Segment, use: Callable[[Interface], Any]) -> Any:
    """Use the phones' interface in its namespace; it is closed afterwards."""

    async def main() -> Any:
        interface = Interface(PHONES)
        try:
            return use(interface)
        finally:
            interface.close()

    return Inside(segment.phones, main).join_and_raise()


def test_what_was_added_is_gone_when_it_is_closed(segment: Segment) -> None:
    before = segment.state()

    def use(interface: Interface) -> str:
        for number in range(1, 6):
            interface.add_address(f"10.77.0.{number}")
        interface.add_address("10.77.0.1")
        interface.route(SUBNET, "10.77.0.254")
        interface.route(SUBNET, "10.77.0.254")
        interface.route(ELSEWHERE, None)
        interface.remove_address("10.77.0.1")
        interface.remove_address("10.77.0.1")
        return segment.state()

    during = inside(segment, use)
    assert during.count("inet 10.77.0.") == 4
    assert during.count("from 10.77.0.0/16 lookup") == 1
    assert during.count("from 10.78.0.0/16 lookup") == 1
    assert segment.state() == before


def test_what_comes_from_a_leased_address_leaves_through_its_router(segment: Segment) -> None:
    def use(interface: Interface) -> tuple[str, str]:
        interface.add_address("10.77.0.1")
        interface.route(SUBNET, "10.77.0.254")
        side = ("-n", segment.phones, "route", "get")
        return (
            ip(*side, "198.51.100.7", "from", "10.77.0.1"),
            ip(*side, "10.77.3.3", "from", "10.77.0.1"),
        )

    far, near = inside(segment, use)
    assert f"via 10.77.0.254 dev {PHONES}" in far
    assert f"dev {PHONES}" in near
    assert "via" not in near


@pytest.mark.parametrize("others", [0, 1])
def test_the_way_out_is_there_again_after_the_last_address_was_gone(
    segment: Segment, others: int
) -> None:
    for number in range(others):
        ip("-n", segment.phones, "addr", "add", f"10.79.0.{number + 1}/24", "dev", PHONES)
    before = segment.state()

    def use(interface: Interface) -> str:
        for _ in range(2):
            interface.add_address("10.77.0.1")
            interface.route(SUBNET, "10.77.0.254")
            found = ip("-n", segment.phones, "route", "get", "198.51.100.7", "from", "10.77.0.1")
            interface.remove_address("10.77.0.1")
        assert segment.state().count("from 10.77.0.0/16 lookup") == 1
        return found

    assert f"via 10.77.0.254 dev {PHONES}" in inside(segment, use)
    assert segment.state() == before


def test_an_address_that_was_there_before_stays(segment: Segment) -> None:
    ip("-n", segment.phones, "addr", "add", "10.77.0.1/32", "dev", PHONES)
    before = segment.state()

    def use(interface: Interface) -> None:
        interface.add_address("10.77.0.1")
        interface.remove_address("10.77.0.1")

    inside(segment, use)
    assert segment.state() == before


def test_two_runs_on_one_interface_do_not_remove_each_others(segment: Segment) -> None:
    def use(interface: Interface) -> str:
        interface.add_address("10.77.0.1")
        interface.route(SUBNET, None)
        kept = segment.state()
        other = Interface(PHONES)
        other.add_address("10.77.0.2")
        other.route(SUBNET, None)
        other.close()
        assert segment.state() == kept
        return kept

    assert "10.77.0.1/32 scope global phonesim:1" in inside(segment, use)


def test_an_address_that_somebody_removed_is_no_error(segment: Segment) -> None:
    def use(interface: Interface) -> None:
        interface.add_address("10.77.0.1")
        ip("-n", segment.phones, "addr", "del", "10.77.0.1/32", "dev", PHONES)
        interface.remove_address("10.77.0.1")

    inside(segment, use)


def test_what_is_refused_is_an_os_error(segment: Segment) -> None:
    with pytest.raises(OSError, match=r"route add: Network is unreachable|route add: Invalid"):
        inside(segment, lambda interface: interface.route(SUBNET, "0.0.0.0"))


def test_what_is_no_usable_interface_is_the_users_error(segment: Segment) -> None:
    async def open_each() -> list[str]:
        ip("-n", segment.phones, "link", "set", PHONES, "down")
        errors = []
        for name in ("none0", "lo", PHONES):
            try:
                Interface(name).close()
            except UsageError as error:
                errors.append(str(error))
        return errors

    missing, no_ethernet, down = Inside(segment.phones, open_each).join_and_raise()
    assert missing == "interface none0: there is none of that name"
    assert no_ethernet == "interface lo: it is no Ethernet interface"
    assert "it is down" in down
