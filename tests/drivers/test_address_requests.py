import errno
import socket
from typing import Any

import pytest
from namespaces import PHONES, Inside, Segment, ip

from phonesim.drivers.address_requests import AddressesRefused, AddressRequests

pytestmark = pytest.mark.interop("ip")

MANY = [f"10.77.{n >> 8}.{n & 255}" for n in range(300)]


def inside(segment: Segment, use: Any, index: int | None = None) -> Any:
    async def main() -> Any:
        requests = AddressRequests(socket.if_nametoindex(PHONES) if index is None else index, "x:1")
        try:
            return use(requests)
        finally:
            requests.close()

    return Inside(segment.phones, main).join_and_raise()


def listed(segment: Segment) -> list[str]:
    text = ip("-n", segment.phones, "-4", "-o", "addr", "show", "dev", PHONES)
    return [line.split()[3] for line in text.splitlines()]


def test_addresses_come_and_go_by_the_hundred(segment: Segment) -> None:
    before = segment.state()

    def use(requests: AddressRequests) -> None:
        assert requests.add(MANY) == MANY
        assert listed(segment) == [f"{address}/32" for address in MANY]
        assert requests.add([*MANY[:70], "10.78.0.1"]) == ["10.78.0.1"]
        assert requests.remove(["10.79.0.1", *MANY, "10.78.0.1"]) == [*MANY, "10.78.0.1"]
        assert requests.remove([]) == []

    inside(segment, use)
    assert segment.state() == before


def test_an_interface_that_is_not_there_refuses_and_has_nothing_to_remove(
    segment: Segment,
) -> None:
    def use(requests: AddressRequests) -> None:
        with pytest.raises(AddressesRefused) as raised:
            requests.add(["10.77.0.1"])
        assert (raised.value.errno, raised.value.changed) == (errno.ENODEV, [])
        assert str(raised.value).startswith("[Errno 19] addr add: ")
        assert requests.remove(["10.77.0.1"]) == []

    inside(segment, use, index=9999)
