import asyncio
from collections.abc import Sequence
from pathlib import Path

import pytest

from phonesim.capture import PacketWriter
from phonesim.drivers.key_pool import KeyPool
from phonesim.drivers.packet_pace import PacketPace
from phonesim.drivers.run_folder import RunFolder
from phonesim.errors import UsageError
from phonesim.fleet import worlds
from phonesim.fleet.plan import Plan, read_plan
from phonesim.fleet.runner import StopRequest, Tick, WorldReport, run_fleet
from phonesim.fleet.worlds import captured
from phonesim.pcapng_writer import PcapngWriter
from phonesim.profiles import parse_override
from phonesim.results import Recorder
from phonesim.wire.pcapng import ETHERNET, encode_interface, encode_section_header

NAME = "eth1"


def wanted(path: Path) -> list[tuple[str, Path, type[PcapngWriter]]]:
    return [("--pcap", path, PcapngWriter)]


BLOCKS = encode_section_header("phonesim") + encode_interface(NAME, ETHERNET)


@pytest.fixture
def plan() -> Plan:
    settings = ["fleet.phones=1", "fleet.attach=virtual"]
    return read_plan("demo", [parse_override(text) for text in settings])


class World:
    """Describes an interface, lets phones boot if it `begins`, and fails if it `fails`."""

    def __init__(self, *, begins: bool = True, fails: bool = False) -> None:
        self.begins = begins
        self.fails = fails

    def __call__(
        self,
        plan: Plan,
        folder: RunFolder,
        observer: Recorder,
        stop: StopRequest,
        tick: Tick,
        writers: Sequence[PacketWriter] = (),
    ) -> WorldReport:
        for writer in writers:
            writer.interface(NAME, ETHERNET)
        if self.begins:
            observer.boot_started(plan.specs[0].phone_id, 1, 0)
        tick(0.0)
        if self.fails:
            raise UsageError("the table cannot be changed")
        return WorldReport(seconds=1, notes=("of the world",))


def test_a_run_is_captured_to_its_file(plan: Plan, tmp_path: Path) -> None:
    pcap = tmp_path / "run.pcapng"
    finished = run_fleet(plan, captured(World(), wanted(pcap)), tmp_path, lambda _: None)
    assert pcap.read_bytes() == BLOCKS
    assert finished.summary["notes"] == ["of the world"]


@pytest.mark.parametrize("begins", [True, False], ids=["begun", "not begun"])
def test_the_capture_of_a_run_that_breaks_stays_if_it_had_begun(
    plan: Plan, tmp_path: Path, begins: bool
) -> None:
    pcap = tmp_path / "run.pcapng"
    world = captured(World(begins=begins, fails=True), wanted(pcap))
    with pytest.raises(UsageError, match="table"):
        run_fleet(plan, world, tmp_path, lambda _: None)
    assert pcap.exists() == begins


def test_what_waits_is_written_at_every_tick(plan: Plan, tmp_path: Path) -> None:
    pcap = tmp_path / "run.pcapng"
    seen: list[bytes] = []
    run_fleet(
        plan, captured(World(), wanted(pcap)), tmp_path, lambda _: seen.append(pcap.read_bytes())
    )
    assert seen == [BLOCKS]


def test_who_asks_before_anybody_listens_is_heard() -> None:
    stop = StopRequest()
    heard: list[int] = []
    stop.on_ask(lambda: heard.append(stop.asked))
    assert heard == []
    stop.on_ask(None)
    stop.ask()
    stop.on_ask(lambda: heard.append(stop.asked))
    assert heard == [1]


def test_a_run_that_is_asked_to_end_before_its_loop_begins_ends_at_once(tmp_path: Path) -> None:
    stop = StopRequest()
    stop.ask()
    begun = []

    async def run(keys: KeyPool, stopped: asyncio.Event, pace: PacketPace | None) -> None:
        begun.append(keys)
        await stopped.wait()

    plan, folder = read_plan("dhcp-load"), RunFolder(tmp_path)
    assert worlds._in_real_time(plan, folder, run, stop, lambda now: None).seconds < 10
    assert begun == []


def test_a_run_that_is_asked_twice_to_end_when_it_ends_already_still_reports(
    tmp_path: Path,
) -> None:
    stop = StopRequest()

    async def run(keys: KeyPool, stopped: asyncio.Event, pace: PacketPace | None) -> None:
        stop.ask()
        await stopped.wait()
        stop.ask()  # it takes effect in the next turn of the loop

    report = worlds._in_real_time(
        read_plan("dhcp-load"), RunFolder(tmp_path), run, stop, lambda now: None
    )
    assert report.seconds < 10


def test_a_run_that_is_asked_to_end_before_it_listens_ends(tmp_path: Path) -> None:
    plan = read_plan("demo", [parse_override("fleet.until=1h")])
    stop = StopRequest()
    stop.ask()
    recorder = Recorder(plan.specs, lambda *_: None)
    folder = RunFolder.create(tmp_path, "run", failures_only=False)
    report = worlds.run_live(plan, folder, recorder, stop, lambda _: None)
    assert report.is_valid
    assert not recorder.phones[plan.specs[0].phone_id].boots


def test_a_run_that_is_asked_twice_to_end_while_keys_are_made_reports(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    stop = StopRequest()

    async def make_keys(plan: Plan, folder: RunFolder, stopped: asyncio.Event) -> None:
        stop.ask()
        stop.ask()
        await asyncio.sleep(60)

    async def run(keys: KeyPool, stopped: asyncio.Event, pace: PacketPace | None) -> None:
        raise AssertionError("there are no keys")

    monkeypatch.setattr(worlds, "_make_keys", make_keys)
    plan, folder = read_plan("dhcp-load"), RunFolder(tmp_path)
    assert worlds._in_real_time(plan, folder, run, stop, lambda now: None).is_valid
