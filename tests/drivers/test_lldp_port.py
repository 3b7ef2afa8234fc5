"""LLDP between two namespaces: one end speaks for phones, the other one is played."""

import asyncio
import threading
from collections.abc import Callable
from typing import Any, cast

import pytest
from namespaces import PHONES, SERVERS, Inside, Segment

from phonesim.device.actions import AdvertiseLldp
from phonesim.device.events import Event, LldpReceived, MalformedReceived
from phonesim.drivers import lldp_port
from phonesim.drivers.interface import Interface
from phonesim.drivers.lldp_port import LldpPort
from phonesim.drivers.phone_host import PhoneHost
from phonesim.drivers.raw_socket import LARGEST_FRAME, of_type, open_raw_socket
from phonesim.wire.frame import add_tag
from phonesim.wire.lldp import LLDP_TYPE, LldpUnit, decode_lldp_frame, encode_lldp_frame

pytestmark = pytest.mark.interop()

FIRST, SECOND = (bytes.fromhex(f"0004f200000{number}") for number in (1, 2))
SWITCH = bytes.fromhex("020000000001")


class Spec:
    def __init__(self, mac: bytes) -> None:
        self.mac = mac


class Phone:
    """As much of a `PhoneHost` as a port sees."""

    def __init__(self, mac: bytes) -> None:
        self.spec = Spec(mac)
        self.heard: list[Event] = []
        self.has_heard_two = asyncio.Event()

    def deliver(self, event: Event) -> None:
        self.heard.append(event)
        if len(self.heard) == 2:
            self.has_heard_two.set()


def unit(chassis_id: bytes, ttl: int = 120) -> LldpUnit:
    return LldpUnit(
        chassis_subtype=4, chassis_id=chassis_id, port_subtype=3, port_id=chassis_id, ttl=ttl
    )


def advertisement(mac: bytes, ttl: int = 120, fast_count: int = 1) -> AdvertiseLldp:
    return AdvertiseLldp(unit=unit(mac, ttl), fast_count=fast_count, interval=60)


class OtherEnd:
    """Sends frames once it is open, and takes what comes until it was enough."""

    def __init__(self, segment: Segment, *frames: bytes, wanted: int) -> None:
        self._frames = frames
        self._wanted = wanted
        self._is_open = threading.Event()
        self._thread = Inside(segment.servers, self._run)
        assert self._is_open.wait(10)

    def heard(self) -> list[tuple[bytes, int]]:
        return cast(list[tuple[bytes, int]], self._thread.join_and_raise())

    async def _run(self) -> list[tuple[bytes, int]]:
        interface = Interface(SERVERS)
        opened = open_raw_socket(SERVERS, interface.index, of_type(LLDP_TYPE))
        self._is_open.set()
        found: list[tuple[bytes, int]] = []
        loop = asyncio.get_running_loop()
        async with asyncio.timeout(10):
            while len(found) < self._wanted:
                frame = await loop.sock_recv(opened, LARGEST_FRAME)
                said = decode_lldp_frame(frame)
                assert said is not None
                found.append((frame[6:12], said.ttl))
                if len(found) == 1:
                    for each in self._frames:
                        opened.send(each)
        opened.close()
        interface.close()
        return found


def on_port(segment: Segment, main: Callable[[LldpPort], Any]) -> Any:
    async def opened() -> Any:
        interface = Interface(PHONES)
        port = LldpPort(PHONES, interface.index, lambda error: pytest.fail(str(error)))
        try:
            async with asyncio.timeout(10):
                return await main(port)
        finally:
            port.close()
            interface.close()

    return Inside(segment.phones, opened).join_and_raise()


def test_each_phone_says_its_own_and_repeats_it_quickly_at_first(
    segment: Segment, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lldp_port, "FAST_INTERVAL", 0.05)
    other = OtherEnd(segment, wanted=6)

    async def main(port: LldpPort) -> None:
        first, second = (cast(PhoneHost, Phone(mac)) for mac in (FIRST, SECOND))
        port.advertise(first, advertisement(FIRST, fast_count=3))
        port.advertise(second, advertisement(SECOND, fast_count=9))
        port.advertise(second, advertisement(SECOND, ttl=0))  # and nothing after it
        await asyncio.sleep(0.2)
        port.advertise(second, advertisement(SECOND, fast_count=9))
        port.forget(second)

    on_port(segment, main)
    heard = other.heard()
    assert heard.count((FIRST, 120)) == 3
    assert [ttl for mac, ttl in heard if mac == SECOND] == [120, 0, 120]


def test_what_the_switch_says_is_for_every_phone_that_speaks(segment: Segment) -> None:
    switch = encode_lldp_frame(unit(SWITCH), SWITCH)
    other = OtherEnd(segment, add_tag(switch, 100), switch[:20], switch, wanted=2)

    async def main(port: LldpPort) -> list[list[Event]]:
        phones = [Phone(FIRST), Phone(SECOND)]
        silent = Phone(SWITCH)
        for phone in phones:
            port.advertise(cast(PhoneHost, phone), advertisement(phone.spec.mac))
        for phone in phones:
            await phone.has_heard_two.wait()
        return [phone.heard for phone in (*phones, silent)]

    first, second, silent = on_port(segment, main)
    other.heard()
    malformed, heard = first
    assert isinstance(malformed, MalformedReceived)
    assert (malformed.protocol, malformed.source) == ("lldp", "02-00-00-00-00-01")
    assert heard == LldpReceived(unit=unit(SWITCH))
    assert second == first
    assert silent == []


def test_what_another_run_on_the_interface_says_is_not_heard(segment: Segment) -> None:
    async def main(port: LldpPort) -> list[Event]:
        interface = Interface(PHONES)
        neighbor = LldpPort(PHONES, interface.index, lambda error: None)
        here, there = Phone(FIRST), Phone(SECOND)
        port.advertise(cast(PhoneHost, here), advertisement(FIRST))
        neighbor.advertise(cast(PhoneHost, there), advertisement(SECOND))
        await asyncio.sleep(0.1)
        neighbor.close()
        interface.close()
        return here.heard + there.heard

    assert on_port(segment, main) == []
