import json
import os
import signal
import sqlite3
from pathlib import Path
from typing import Any

import pytest

from phonesim.device.events import BootFailed, ExchangeEnded, SignedIn, StageEnded, StageEntered
from phonesim.device.outcome import FailureReason, Stage
from phonesim.drivers.run_folder import RunFolder
from phonesim.errors import UsageError
from phonesim.fleet.plan import Plan, read_plan
from phonesim.fleet.runner import (
    Finished,
    Progress,
    StopRequest,
    Tick,
    World,
    WorldReport,
    exit_status,
    run_fleet,
)
from phonesim.profiles import parse_override
from phonesim.results import Recorder


def plan_of(*assignments: str) -> Plan:
    settings = ["fleet.phones=4", "fleet.attach=virtual", *assignments]
    return read_plan("demo", [parse_override(text) for text in settings])


def half_succeeds(
    plan: Plan, folder: RunFolder, observer: Recorder, stop: StopRequest, tick: Tick
) -> WorldReport:
    """A world in which every other phone is refused an address."""
    for index, spec in enumerate(plan.specs):
        observer.boot_started(spec.phone_id, 1, 0)
        observer.observe(spec.phone_id, StageEntered(stage=Stage.IP), 0)
        exchange = ExchangeEnded(
            kind="dhcp_discover", sent=1, seconds=0.002, server="127.20.0.10", answer="OFFER"
        )
        observer.observe(spec.phone_id, exchange, 0.5)
        if index % 2:
            observer.observe(
                spec.phone_id,
                BootFailed(stage=Stage.IP, reason=FailureReason.NO_LEASE, detail="none"),
                1,
            )
        else:
            observer.observe(spec.phone_id, StageEnded(stage=Stage.IP), 0.5)
            signed_in = SignedIn(sip_uri="sip:a@x", registrar="fe01:5061")
            observer.observe(spec.phone_id, signed_in, 2)
        tick(float(index))
    observer.report("dhcp01", "no address left", (("scope", "127.20.0.0/16"),), True, 2.5)
    return WorldReport(seconds=12.5)


def run(world: World, base: Path, plan: Plan) -> tuple[Finished, list[Progress]]:
    seen: list[Progress] = []
    return run_fleet(plan, world, base, seen.append), seen


def test_a_run_leaves_its_results_in_a_folder_of_its_own(tmp_path: Path) -> None:
    finished, seen = run(half_succeeds, tmp_path, plan_of())
    assert finished.folder.parent == tmp_path
    assert finished.folder.name.endswith("-demo")
    assert sorted(os.listdir(finished.folder)) == ["operator.log", "run.db", "summary.json"]
    assert json.loads((finished.folder / "summary.json").read_text()) == finished.summary
    assert finished.summary["run"] == finished.folder.name
    assert finished.summary["failures"] == {"no-lease": 2}
    assert finished.status == 3
    assert seen[0].positions == {"waiting": 3, "signed-in": 1}


def test_the_database_answers_what_the_summary_does_not(tmp_path: Path) -> None:
    finished, _ = run(half_succeeds, tmp_path, plan_of())
    database = sqlite3.connect(finished.folder / "run.db")
    try:
        rows = database.execute(
            "SELECT phone_id, number, device, outcome, failed_stage, boots, settled_ms FROM phones"
            " ORDER BY rowid LIMIT 2"
        ).fetchall()
        assert [row[3:] for row in rows] == [
            ("signed-in", None, 1, 2000.0),
            ("failed:no-lease", "ip", 1, 1000.0),
        ]
        assert rows[0][:3] == ("00-04-F2-00-00-01", "+142555500001", "polycom-cx600")
        stages = database.execute("SELECT stage, duration_ms FROM stages").fetchall()
        assert stages == [("ip", 500.0)] * 2
        [exchange] = database.execute("SELECT * FROM exchanges").fetchall()
        assert exchange == ("dhcp_discover", 4, 0, 4, 2.0, 2.0, 2.0, 2.0, 8.0)
        [server] = database.execute("SELECT * FROM servers").fetchall()
        assert server == ("dhcp_discover", "127.20.0.10", None, 4, None, 2.0, 2.0, 2.0, 2.0)
        answers = database.execute("SELECT * FROM server_answers").fetchall()
        assert answers == [("dhcp_discover", "127.20.0.10", "OFFER", 4)]
        late = database.execute("SELECT late_ms FROM phones").fetchall()
        assert late == [(0.0,)] * 4
        [[world_s, valid, text]] = database.execute("SELECT world_s, valid, summary FROM run")
        assert (world_s, valid) == (12.5, 1)
        assert json.loads(text) == finished.summary
    finally:
        database.close()


def test_no_pin_reaches_a_file_of_the_run(tmp_path: Path) -> None:
    plan = plan_of()
    finished, _ = run(half_succeeds, tmp_path, plan)
    for file in finished.folder.iterdir():
        for spec in plan.specs:
            assert spec.pin.encode() not in file.read_bytes()


def operator_lines(finished: Finished) -> list[dict[str, Any]]:
    text = (finished.folder / "operator.log").read_text()
    return [json.loads(line) for line in text.splitlines()]


def test_the_operator_log_is_json_lines_in_the_runs_own_time(tmp_path: Path) -> None:
    finished, _ = run(half_succeeds, tmp_path, plan_of())
    lines = operator_lines(finished)
    assert [line["event"] for line in lines] == [
        "run started",
        "boot failed",
        "boot failed",
        "no address left",
        "run ended",
    ]
    assert lines[3] == {
        "t": 2.5,
        "level": "warning",
        "event": "no address left",
        "server": "dhcp01",
        "scope": "127.20.0.0/16",
    }


def test_a_run_by_the_real_clock_has_timestamps(tmp_path: Path) -> None:
    finished, _ = run(half_succeeds, tmp_path, plan_of("fleet.attach=loopback"))
    assert all(line["timestamp"].endswith("Z") for line in operator_lines(finished))


@pytest.mark.parametrize(
    ("expected", "valid", "status"), [(0.5, True, 0), (0.51, True, 3), (0, True, 0), (0, False, 4)]
)
def test_the_exit_status_follows_expectations_and_validity(
    expected: float, valid: bool, status: int
) -> None:
    plan = plan_of(f"fleet.expect.signed_in={expected}")
    assert (
        exit_status(plan, {"valid": valid, "phones": 4, "signed_in": 2, "completed": 0}) == status
    )
    assert (
        exit_status(plan, {"valid": valid, "phones": 4, "signed_in": 0, "completed": 2}) == status
    )


def test_a_share_of_phones_is_not_missed_by_rounding() -> None:
    plan = plan_of("fleet.expect.signed_in=0.07")
    assert exit_status(plan, {"valid": True, "phones": 100, "signed_in": 7, "completed": 0}) == 0
    assert exit_status(plan, {"valid": True, "phones": 100, "signed_in": 6, "completed": 0}) == 3


def test_what_a_world_says_against_its_result_makes_it_not_valid(tmp_path: Path) -> None:
    def slow(
        plan: Plan, folder: RunFolder, observer: Recorder, stop: StopRequest, tick: Tick
    ) -> WorldReport:
        return WorldReport(seconds=1, notes=("the tester was the bottleneck",), is_valid=False)

    finished, _ = run(slow, tmp_path, plan_of())
    assert finished.status == 4
    assert finished.summary["notes"] == ["the tester was the bottleneck"]
    assert finished.summary["failures"] == {"unsettled": 4}


def unanswered(count: int) -> World:
    """A world in which so many of ten exchanges have no answer."""

    def world(
        plan: Plan, folder: RunFolder, observer: Recorder, stop: StopRequest, tick: Tick
    ) -> WorldReport:
        for number in range(10):
            seconds = None if number < count else 0.1
            observer.observe(
                plan.specs[0].phone_id, ExchangeEnded(kind="dns", sent=1, seconds=seconds), 1
            )
        tick(1)
        return WorldReport(seconds=1, notes=(f"asked {stop.asked}",))

    return world


LIMITED = ("fleet.limits.unanswered_share=0.3", "fleet.limits.unanswered_window=10")


def test_a_run_whose_servers_do_not_answer_is_stopped_and_not_valid(tmp_path: Path) -> None:
    finished, _ = run(unanswered(4), tmp_path, plan_of(*LIMITED))
    assert finished.status == 4
    assert finished.summary["notes"] == [
        "asked 1",
        "more than 30% of the last 10 exchanges had no answer in time (limits.unanswered_share):"
        " phones that had not settled count as failed",
    ]


def test_a_run_that_ends_before_it_could_be_stopped_is_not_valid_either(tmp_path: Path) -> None:
    def world(
        plan: Plan, folder: RunFolder, observer: Recorder, stop: StopRequest, tick: Tick
    ) -> WorldReport:
        return unanswered(4)(plan, folder, observer, stop, lambda now: None)

    finished, _ = run(world, tmp_path, plan_of(*LIMITED))
    assert finished.status == 4
    assert finished.summary["notes"][1].startswith("more than 30% of the last 10 exchanges")


@pytest.mark.parametrize(("count", "settings"), [(3, LIMITED), (10, ())])
def test_a_run_with_few_unanswered_exchanges_or_without_a_limit_goes_on(
    tmp_path: Path, count: int, settings: tuple[str, ...]
) -> None:
    finished, _ = run(unanswered(count), tmp_path, plan_of(*settings))
    assert finished.summary["notes"] == ["asked 0"]
    assert finished.summary["valid"]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_run_ends_by_itself_and_is_not_valid(
    tmp_path: Path, number: signal.Signals
) -> None:
    woken: list[int] = []

    def interrupted(
        plan: Plan, folder: RunFolder, observer: Recorder, stop: StopRequest, tick: Tick
    ) -> WorldReport:
        stop.on_ask(lambda: woken.append(stop.asked))
        os.kill(os.getpid(), number)
        return WorldReport(seconds=1)

    before = signal.getsignal(number)
    finished, _ = run(interrupted, tmp_path, plan_of())
    assert woken == [1]
    assert finished.status == 4
    assert "interrupted" in finished.summary["notes"][0]
    assert signal.getsignal(number) is before


def test_a_third_interrupt_kills_the_process(tmp_path: Path) -> None:
    handlers: list[object] = []

    def stuck(
        plan: Plan, folder: RunFolder, observer: Recorder, stop: StopRequest, tick: Tick
    ) -> WorldReport:
        for _ in range(2):
            os.kill(os.getpid(), signal.SIGINT)
        handlers.append(signal.getsignal(signal.SIGINT))
        return WorldReport(seconds=1)

    run(stuck, tmp_path, plan_of())
    assert handlers == [signal.SIG_DFL]


def test_a_world_that_cannot_begin_leaves_no_folder(tmp_path: Path) -> None:
    def impossible(
        plan: Plan, folder: RunFolder, observer: Recorder, stop: StopRequest, tick: Tick
    ) -> WorldReport:
        raise UsageError("no such interface")

    with pytest.raises(UsageError, match="no such interface"):
        run(impossible, tmp_path, plan_of())
    assert os.listdir(tmp_path) == []


def test_a_world_that_breaks_leaves_its_log(tmp_path: Path) -> None:
    def broken(
        plan: Plan, folder: RunFolder, observer: Recorder, stop: StopRequest, tick: Tick
    ) -> WorldReport:
        raise KeyError("x")

    with pytest.raises(KeyError):
        run(broken, tmp_path, plan_of())
    [folder] = tmp_path.iterdir()
    last = json.loads((folder / "operator.log").read_text().splitlines()[-1])
    assert (last["event"], last["error"]) == ("run broken", "KeyError('x')")


def test_results_that_cannot_be_written_are_told_and_not_valid(tmp_path: Path) -> None:
    def sabotaged(
        plan: Plan, folder: RunFolder, observer: Recorder, stop: StopRequest, tick: Tick
    ) -> WorldReport:
        (folder.path / "run.db").mkdir()
        return WorldReport(seconds=1)

    finished, _ = run(sabotaged, tmp_path, plan_of())

    assert finished.status == 4
    assert finished.summary["valid"] is False
    assert "results cannot be written" in finished.summary["notes"][-1]
