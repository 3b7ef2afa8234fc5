import asyncio
from collections.abc import Callable

import pytest

from phonesim.device.events import Event, MalformedReceived
from phonesim.drivers import client_ports
from phonesim.drivers.client_ports import ClientPorts
from phonesim.drivers.udp_socket import UdpSocket

PORT = 30_068


class StubPhone:
    def __init__(self) -> None:
        self.events: list[Event] = []
        self.tap = None

    def deliver(self, event: Event) -> None:
        self.events.append(event)


async def test_a_port_is_opened_once_and_closed_when_it_is_idle(
    new_address: Callable[[], str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(client_ports, "IDLE_SECONDS", 0.05)
    ports, phone, address = ClientPorts(PORT, lambda error: None), StubPhone(), new_address()
    first = ports.open(phone, address)  # type: ignore[arg-type]
    assert first is not None
    assert ports.open(phone, address) is first  # type: ignore[arg-type]
    assert first.address == (address, PORT)
    first.send(b"x", first.address)
    await asyncio.sleep(0.3)
    assert [type(event) for event in phone.events] == [MalformedReceived]
    again = ports.open(phone, address)  # type: ignore[arg-type]
    assert again is not first
    ports.close()


async def test_a_port_goes_with_its_address(new_address: Callable[[], str]) -> None:
    ports, address = ClientPorts(PORT, lambda error: None), new_address()
    ports.open(StubPhone(), address)  # type: ignore[arg-type]
    ports.forget(address)
    ports.forget(address)
    UdpSocket((address, PORT), lambda data, sender: None).close()
    ports.close()


async def test_why_a_port_cannot_be_opened_is_told() -> None:
    errors: list[OSError] = []
    ports = ClientPorts(PORT, errors.append)
    assert ports.open(StubPhone(), "198.51.100.7") is None  # type: ignore[arg-type]
    assert len(errors) == 1
    ports.close()
