import asyncio
import time
from collections.abc import AsyncIterator, Callable, Mapping
from typing import get_args

import pytest
from hand_loop import HandLoop

from phonesim.config.device_profile import DeviceProfile
from phonesim.device import actions as do
from phonesim.device import events as on
from phonesim.device.device_log import DISPLAY
from phonesim.device.identity import KEY_FILE
from phonesim.device.outcome import ConnectFailure
from phonesim.device.phone import Output
from phonesim.drivers.key_pool import KeyPool, PhoneKey
from phonesim.drivers.packet_pace import PacketPace
from phonesim.drivers.phone_host import _PERFORMERS, PhoneHost
from phonesim.drivers.timer_queue import TimerQueue
from phonesim.wire.dhcp import DhcpMessage, MessageType
from phonesim.world import CRASH_FILE, PhoneSpec

Reaction = Callable[[on.Event], list[Output]]
SENT = do.SendDhcp(
    message=DhcpMessage(message_type=MessageType.DISCOVER, xid=1, chaddr=bytes(6)),
    source="0.0.0.0",
    destination="255.255.255.255",
)


class Machine:
    """A phone that does what the test says."""

    def __init__(self, react: Reaction) -> None:
        self.react = react
        self.deadline: float | None = None
        self.handled: list[on.Event] = []
        self.times: list[float] = []
        self.is_handling = False
        self.was_asked = asyncio.Event()

    def handle(self, event: on.Event, now: float) -> list[Output]:
        assert not self.is_handling
        self.is_handling = True
        self.handled.append(event)
        self.times.append(now)
        self.was_asked.set()
        if self.deadline is not None and now >= self.deadline:
            self.deadline = None
        try:
            return self.react(event)
        finally:
            self.is_handling = False

    def next_deadline(self) -> tuple[float, str] | None:
        return None if self.deadline is None else (self.deadline, "the test says so")


class Link:
    """A link on which every answer comes at once, before the action is over."""

    port_offset = 24000

    def __init__(self) -> None:
        self.did: list[object] = []

    def attach(self, phone: PhoneHost) -> None:
        self.did.append("attach")

    def detach(self, phone: PhoneHost) -> None:
        self.did.append("detach")

    def send_dhcp(self, phone: PhoneHost, action: do.SendDhcp) -> None:
        self.did.append(action)

    def takes_dns(self, phone: PhoneHost, action: do.SendDns) -> bool:
        return False

    def probe_address(self, phone: PhoneHost, address: str) -> None:
        phone.deliver(on.AddressProbed(address=address))

    def configure_address(self, phone: PhoneHost, action: do.ConfigureAddress) -> None:
        self.did.append(action)

    def announce_address(self, phone: PhoneHost, address: str) -> None:
        self.did.append(("announce", address))

    def remove_address(self, phone: PhoneHost, address: str) -> None:
        self.did.append(("remove", address))

    def unsent(self, error: OSError) -> None:
        self.did.append(error)


class Disk:
    """A disk in memory."""

    def __init__(self) -> None:
        self.contents: dict[str, bytes] = {}
        self.lines: list[do.WriteLog] = []

    def files(self) -> Mapping[str, bytes]:
        return self.contents

    def write_file(self, name: str, data: bytes) -> None:
        self.contents[name] = data

    def delete_file(self, name: str) -> None:
        self.contents.pop(name, None)

    def append_log(self, line: do.WriteLog) -> None:
        self.lines.append(line)

    def settled(self, *, is_well: bool) -> None:
        pass

    def flush(self) -> None: ...


class Owner:
    """Notes what a phone lets be known."""

    def __init__(self) -> None:
        self.observations: list[on.Observation] = []
        self.errors: list[Exception] = []

    def observed(self, phone: PhoneHost, observation: on.Observation, now: float) -> None:
        self.observations.append(observation)
        if isinstance(observation, on.PoweredOff):
            phone.power_off()

    def crashed(self, phone: PhoneHost, error: Exception) -> None:
        self.errors.append(error)


class Place:
    """A phone, and everything around it."""

    def __init__(
        self,
        device: DeviceProfile,
        key: PhoneKey,
        react: Reaction,
        pace: PacketPace | None,
        *,
        keeps_lease: bool,
    ) -> None:
        self.machine = Machine(react)
        self.link = Link()
        self.disk = Disk()
        self.owner = Owner()
        spec = PhoneSpec(
            phone_id="00-04-F2-00-00-01",
            mac=bytes.fromhex("0004f2000001"),
            profile=device,
            number="1",
            pin="2",
            starts_at=0,
            seed="s",
        )
        began = time.monotonic()

        def clock() -> float:
            return time.monotonic() - began

        self.host = PhoneHost(
            spec,
            self.machine,
            self.link,
            self.disk,
            KeyPool(1, given=[key]),
            self.owner,
            clock,
            TimerQueue(clock),
            pace,
            keeps_lease=keeps_lease,
        )

    async def handled(self, count: int) -> list[on.Event]:
        while len(self.machine.handled) < count:
            self.machine.was_asked.clear()
            await self.machine.was_asked.wait()
        return self.machine.handled


MakePlace = Callable[..., Place]


@pytest.fixture
async def make_place(device: DeviceProfile, phone_key: PhoneKey) -> AsyncIterator[MakePlace]:
    places: list[Place] = []

    def make(
        react: Reaction, pace: PacketPace | None = None, *, keeps_lease: bool = False
    ) -> Place:
        places.append(Place(device, phone_key, react, pace, keeps_lease=keeps_lease))
        return places[-1]

    yield make
    for place in places:
        place.host.power_off()
        await place.host.powered_off()


async def test_events_are_handled_one_at_a_time_after_all_actions(make_place: MakePlace) -> None:
    def react(event: on.Event) -> list[Output]:
        if isinstance(event, on.PowerApplied):
            # The probe's answer comes while these are performed, and must wait.
            return [do.ProbeAddress(address="127.1.1.1"), SENT]
        assert place.link.did == ["attach", SENT]
        return []

    place = make_place(react)
    place.host.power_on()
    assert place.machine.handled == [
        on.PowerApplied(),
        on.AddressProbed(address="127.1.1.1"),
    ]
    assert place.owner.errors == []


async def test_every_local_action_is_performed(make_place: MakePlace) -> None:
    line = do.WriteLog(records=(DISPLAY("hello"),), clock=0, tick=0)
    configure = do.ConfigureAddress(address="127.1.1.1", subnet_mask="255.0.0.0")
    outputs: list[Output] = [
        line,
        do.WriteFile(name="a", data=b"1"),
        do.WriteFile(name="b", data=b"2"),
        do.DeleteFile(name="a"),
        configure,
        do.RemoveAddress(address="127.1.1.1"),
        do.SendKeepAlive(connection_id=9),
        do.CloseConnection(connection_id=9),
        on.DisplayShowed(text="hello"),
    ]
    place = make_place(lambda _: outputs)
    place.host.power_on()
    assert place.disk.lines == [line]
    assert place.disk.contents == {"b": b"2"}
    assert place.link.did == ["attach", configure, ("remove", "127.1.1.1")]
    assert place.owner.observations == [on.DisplayShowed(text="hello")]


async def test_a_deadline_becomes_a_timer(make_place: MakePlace) -> None:
    def react(event: on.Event) -> list[Output]:
        if isinstance(event, on.PowerApplied):
            place.machine.deadline = 0.02
        return []

    place = make_place(react)
    place.host.power_on()
    assert await place.handled(2) == [on.PowerApplied(), on.TimerExpired()]


async def test_a_deadline_that_moves_takes_its_timer_along(make_place: MakePlace) -> None:
    def react(event: on.Event) -> list[Output]:
        match event:
            case on.PowerApplied():
                place.machine.deadline = 30
            case on.AddressProbed():
                place.machine.deadline = 0.02
            case _:
                pass
        return []

    place = make_place(react)
    place.host.power_on()
    place.host.deliver(on.AddressProbed(address="127.1.1.1"))
    assert await place.handled(3) == [
        on.PowerApplied(),
        on.AddressProbed(address="127.1.1.1"),
        on.TimerExpired(),
    ]


async def test_a_deadline_that_is_put_off_wakes_nobody_early(make_place: MakePlace) -> None:
    def react(event: on.Event) -> list[Output]:
        match event:
            case on.PowerApplied():
                place.machine.deadline = 0.01
            case on.AddressProbed():
                place.machine.deadline = 0.05
            case _:
                pass
        return []

    place = make_place(react)
    place.host.power_on()
    place.host.deliver(on.AddressProbed(address="127.1.1.1"))
    await place.handled(3)
    assert place.machine.handled[2] == on.TimerExpired()
    assert place.machine.times[2] >= 0.05


async def test_a_machine_that_raises_loses_one_phone_and_leaves_its_events(
    make_place: MakePlace,
) -> None:
    def react(event: on.Event) -> list[Output]:
        if isinstance(event, on.AddressProbed):
            raise RuntimeError("a defect")
        return []

    place = make_place(react)
    place.host.power_on()
    place.host.deliver(on.AddressProbed(address="127.1.1.1"))
    place.host.deliver(on.TimerExpired())
    assert [str(error) for error in place.owner.errors] == ["a defect"]
    assert len(place.machine.handled) == 3
    assert place.link.did == ["attach", "detach"]
    crash = place.disk.contents[CRASH_FILE].decode()
    assert "RuntimeError: a defect" in crash
    assert "PowerApplied(files={}, has_key=False" in crash
    assert "AddressProbed(address='127.1.1.1', conflict=None)" in crash


@pytest.mark.parametrize(
    ("keeps_lease", "is_broken", "did", "notes"),
    [
        (False, False, ["attach", SENT, "detach"], ["its lease was released"]),
        (
            False,
            True,
            ["attach", "detach"],
            ["a lease it had stays at the server until it ends: RuntimeError('another')"],
        ),
        (True, False, ["attach", "detach"], []),
    ],
)
async def test_a_lost_phone_gives_its_lease_back_or_it_is_said(
    make_place: MakePlace, keeps_lease: bool, is_broken: bool, did: list[object], notes: list[str]
) -> None:
    def react(event: on.Event) -> list[Output]:
        match event:
            case on.AddressProbed():
                raise RuntimeError("a defect")
            case on.PhoneAbandoned() if is_broken:
                raise RuntimeError("another")
            case on.PhoneAbandoned():
                return [SENT, do.DeleteFile(name="not done any more"), on.PoweredOff()]
            case _:
                return []

    place = make_place(react, keeps_lease=keeps_lease)
    place.host.power_on()
    place.host.deliver(on.AddressProbed(address="127.1.1.1"))
    assert place.link.did == did
    (error,) = place.owner.errors
    assert getattr(error, "__notes__", []) == notes


async def test_a_phone_without_power_handles_nothing(make_place: MakePlace) -> None:
    def react(event: on.Event) -> list[Output]:
        place.machine.deadline = 0.01
        return [on.PoweredOff(), SENT] if isinstance(event, on.ShutdownRequested) else []

    place = make_place(react)
    place.host.deliver(on.TimerExpired())
    place.host.power_on()
    place.host.deliver(on.ShutdownRequested())
    place.host.deliver(on.TimerExpired())
    await asyncio.sleep(0.03)
    assert place.machine.handled == [on.PowerApplied(), on.ShutdownRequested()]
    assert place.link.did == ["attach", SENT, "detach"]  # the last actions are performed


async def test_the_key_is_made_once_and_kept_from_the_machine(
    make_place: MakePlace, phone_key: PhoneKey
) -> None:
    def react(event: on.Event) -> list[Output]:
        if isinstance(event, on.PowerApplied):
            return [do.MakeCertificateRequest(subject="user1@contoso.com")]
        return []

    place = make_place(react)
    place.host.power_on()
    made = place.machine.handled[1]
    assert isinstance(made, on.CertificateRequestMade)
    assert made.subject == "user1@contoso.com"
    assert phone_key.certificate_request("user1@contoso.com") == made.csr
    assert place.disk.contents == {KEY_FILE: phone_key.der}

    place.disk.contents["cache"] = b"kept"
    again = make_place(lambda _: [])
    again.disk.contents = place.disk.contents
    again.host.power_on()
    assert again.machine.handled == [
        on.PowerApplied(files={KEY_FILE: b"", "cache": b"kept"}, has_key=True)
    ]


@pytest.mark.parametrize("has_key", [True, False])
async def test_a_phone_signs_with_its_key_if_it_has_one(
    make_place: MakePlace, phone_key: PhoneKey, has_key: bool
) -> None:
    def react(event: on.Event) -> list[Output]:
        if isinstance(event, on.PowerApplied):
            return [do.SignWithKey(subject="user1@contoso.com", data=b"data")]
        return []

    place = make_place(react)
    if has_key:
        place.disk.contents = {KEY_FILE: phone_key.der}
    place.host.power_on()
    signature = phone_key.sign(b"data") if has_key else b""
    assert place.machine.handled[1] == on.DataSigned(data=b"data", signature=signature)


@pytest.mark.parametrize(
    ("has_key", "problem"), [(True, "it cannot be read"), (False, "its key is gone")]
)
async def test_a_phone_says_what_is_wrong_with_its_certificate(
    make_place: MakePlace, phone_key: PhoneKey, has_key: bool, problem: str
) -> None:
    def react(event: on.Event) -> list[Output]:
        if isinstance(event, on.PowerApplied):
            return [do.CheckCertificate(subject="user1@contoso.com", certificate=b"none")]
        return []

    place = make_place(react)
    if has_key:
        place.disk.contents = {KEY_FILE: phone_key.der}
    place.host.power_on()
    assert place.machine.handled[1] == on.CertificateChecked(certificate=b"none", problem=problem)


async def test_a_spoilt_key_file_is_replaced(make_place: MakePlace, phone_key: PhoneKey) -> None:
    def react(event: on.Event) -> list[Output]:
        if isinstance(event, on.PowerApplied):
            return [do.MakeCertificateRequest(subject="user1@contoso.com")]
        return []

    place = make_place(react)
    place.disk.contents = {KEY_FILE: b"spoilt"}
    place.host.power_on()
    assert place.disk.contents == {KEY_FILE: phone_key.der}
    assert place.owner.errors == []


async def test_a_key_that_was_erased_is_not_used_again(
    make_place: MakePlace, phone_key: PhoneKey
) -> None:
    def react(event: on.Event) -> list[Output]:
        match event:
            case on.PowerApplied():
                return [do.DeleteFile(name=KEY_FILE)]
            case on.TimerExpired():
                return [do.MakeCertificateRequest(subject="user1@contoso.com")]
            case _:
                return []

    place = make_place(react)
    place.disk.contents = {KEY_FILE: phone_key.der}
    place.host.power_on(factory_reset=True)
    erased = on.PowerApplied(files={KEY_FILE: b""}, has_key=True, factory_reset=True)
    assert place.machine.handled == [erased]
    assert place.disk.contents == {}
    place.host.deliver(on.TimerExpired())
    assert place.disk.contents == {KEY_FILE: phone_key.der}


async def test_connections_and_exchanges_reach_the_network(
    make_place: MakePlace, new_address: Callable[[], str]
) -> None:
    source, address = new_address(), new_address()
    connect = do.OpenConnection(
        connection_id=1,
        source=source,
        address=address,
        port=5061,
        transport="tcp",
        server_name="fe01.contoso.com",
        trust=None,
        clock=0,
        timeout=5,
    )
    place = make_place(lambda event: [connect] if isinstance(event, on.PowerApplied) else [])
    place.host.power_on()
    failed = (await place.handled(2))[1]
    assert isinstance(failed, on.ConnectionFailed)
    assert failed.failure == ConnectFailure.REFUSED


async def test_a_datagram_over_the_limit_goes_in_its_turn(make_place: MakePlace) -> None:
    loop = HandLoop()
    place = make_place(lambda _: [SENT] * 5, PacketPace(1, loop))
    place.host.power_on()
    assert place.link.did == ["attach", SENT]
    loop.run()
    assert place.link.did == ["attach", *[SENT] * 5]
    assert loop.now == pytest.approx(104)


async def test_what_waits_goes_before_the_address_does(make_place: MakePlace) -> None:
    remove = do.RemoveAddress(address="127.1.1.1")
    reaction = [SENT, SENT, remove, on.PoweredOff()]
    place = make_place(lambda _: reaction, PacketPace(1, HandLoop()))
    place.host.power_on()
    assert place.link.did == ["attach", SENT, SENT, ("remove", "127.1.1.1"), "detach"]


async def test_a_phone_without_power_sends_nothing_that_waits(make_place: MakePlace) -> None:
    loop = HandLoop()
    place = make_place(lambda _: [SENT, SENT], PacketPace(1, loop))
    place.host.power_on()
    place.host.power_off()
    loop.run()
    assert place.link.did == ["attach", SENT, "detach"]


async def test_a_defect_in_sending_later_costs_that_phone(make_place: MakePlace) -> None:
    def broken(phone: PhoneHost, action: do.SendDhcp) -> None:
        raise RuntimeError("a defect")

    loop = HandLoop()
    place = make_place(lambda _: [SENT, SENT], PacketPace(1, loop))
    place.host.power_on()
    place.link.send_dhcp = broken
    loop.run()
    assert [str(error) for error in place.owner.errors] == ["a defect"]
    assert place.link.did[-1] == "detach"


def test_every_action_is_performed() -> None:
    assert set(_PERFORMERS) == set(get_args(do.PhoneAction))
