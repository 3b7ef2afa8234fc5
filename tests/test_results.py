import random
import statistics

import pytest

from phonesim.device.events import (
    AttemptEnded,
    BootFailed,
    DisplayShowed,
    ExchangeEnded,
    Observation,
    PoweredOff,
    RegistrationLost,
    RegistrationMissed,
    RegistrationRegained,
    SignedIn,
    StageEnded,
    StageEntered,
    StagesDone,
    VlanJoined,
)
from phonesim.device.outcome import FailureReason, Stage
from phonesim.profiles import DEVICE, load
from phonesim.relay_agent import Circuit
from phonesim.results import (
    AnswerWatch,
    Recorder,
    RunFacts,
    Tally,
    failures,
    positions,
    summarize,
)
from phonesim.world import PhoneSpec

FACTS = RunFacts(
    run="r1",
    fleet="demo",
    site="contoso",
    faults=("dns-silent",),
    attach="virtual",
    seed=7,
    wall_s=1.23456,
    cpu_s=1.0,
    peak_rss_mb=55.55,
    valid=True,
    notes=("a note",),
)
SIGNED_IN = SignedIn(sip_uri="sip:a@contoso.com", registrar="fe01.contoso.com:5061")


def failed(reason: FailureReason, stage: Stage = Stage.IP, detail: str = "why") -> BootFailed:
    return BootFailed(stage=stage, reason=reason, detail=detail, retry_in=60)


class Watched:
    """A recorder with phones "1", "2", ... and what it told the operator."""

    def __init__(
        self,
        phones: int,
        repeat_every: float | None = None,
        last_stage: Stage = Stage.COMMIT,
    ) -> None:
        profile = load(DEVICE, "polycom-cx600")
        self.lines: list[tuple[float, bool, str, dict[str, object]]] = []
        self.recorder = Recorder(
            [
                PhoneSpec(
                    phone_id=str(n),
                    mac=bytes(6),
                    profile=profile,
                    number=f"555{n}",
                    pin="123456",
                    starts_at=0,
                    seed="",
                    last_stage=last_stage,
                )
                for n in range(1, phones + 1)
            ],
            lambda now, is_warning, text, fields: self.lines.append(
                (now, is_warning, text, dict(fields))
            ),
            repeat_every=repeat_every,
        )

    def tell(self, phone_id: str, *told: tuple[float, Observation]) -> None:
        for now, observation in told:
            self.recorder.observe(phone_id, observation, now)

    def stage(self, phone_id: str, stage: Stage, begin: float, end: float) -> None:
        entered, ended = StageEntered(stage=stage), StageEnded(stage=stage)
        self.tell(phone_id, (begin, entered), (end, ended))


def test_a_boot_becomes_a_record_and_totals() -> None:
    run = Watched(1)
    run.recorder.boot_started("1", 1, 10.0)
    run.stage("1", Stage.IP, 10.0, 10.25)
    run.stage("1", Stage.REGISTER, 10.25, 10.75)
    run.tell(
        "1",
        (10.1, ExchangeEnded(kind="dhcp_discover", sent=3, seconds=0.125)),
        (10.2, ExchangeEnded(kind="dns", sent=2, seconds=None)),
        (10.7, DisplayShowed(text="Signed in")),
        (10.75, SIGNED_IN),
    )
    phone = run.recorder.phones["1"]
    assert phone.outcome == "signed-in"
    assert phone.durations == {Stage.IP: 0.25, Stage.REGISTER: 0.5}
    assert (phone.boots, phone.display, phone.settled_after) == (1, "Signed in", 0.75)
    assert summarize(run.recorder, FACTS) == {
        "run": "r1",
        "fleet": "demo",
        "site": "contoso",
        "faults": ["dns-silent"],
        "attach": "virtual",
        "seed": 7,
        "phones": 1,
        "signed_in": 1,
        "completed": 0,
        "failed": 0,
        "failures": {},
        "registrations_lost": 0,
        "registrations_regained": 0,
        "registrations_failed_over": 0,
        "registrations_returned": 0,
        "stages": {
            stage: {
                "count": 1,
                "failed": 0,
                "p50_ms": value,
                "p90_ms": value,
                "p99_ms": value,
                "max_ms": value,
            }
            for stage, value in (("ip", 250.0), ("register", 500.0))
        },
        "exchanges": {
            "dhcp_discover": {
                "sent": 3,
                "retransmitted": 2,
                "answered": 1,
                "p50_ms": 125.0,
                "p90_ms": 125.0,
                "p99_ms": 125.0,
                "max_ms": 125.0,
                "per_second": 10.0,
            },
            "dns": {
                "sent": 2,
                "retransmitted": 1,
                "answered": 0,
                "p50_ms": None,
                "p90_ms": None,
                "p99_ms": None,
                "max_ms": None,
                "per_second": None,
            },
        },
        "servers": {},
        "vlans": {},
        "relays": {},
        "lateness_ms": {"p50": 10000.0, "p90": 10000.0, "p99": 10000.0, "max": 10000.0},
        "wall_s": 1.235,
        "cpu_s": 1.0,
        "peak_rss_mb": 55.5,
        "valid": True,
        "notes": ["a note"],
    }


def test_a_failed_stage_counts_but_has_no_duration() -> None:
    run = Watched(1)
    run.recorder.boot_started("1", 1, 0)
    ended = StageEnded(stage=Stage.IP, reason=FailureReason.NO_LEASE)
    run.tell("1", (0, StageEntered(stage=Stage.IP)), (60, ended))
    totals = summarize(run.recorder, FACTS)["stages"]["ip"]
    assert (totals["count"], totals["failed"], totals["p50_ms"]) == (1, 1, None)
    assert run.recorder.phones["1"].durations == {}


def test_a_skipped_stage_is_not_counted() -> None:
    run = Watched(1)
    run.recorder.boot_started("1", 1, 0)
    run.tell(
        "1",
        (0, StageEntered(stage=Stage.DISCOVERY)),
        (0, StageEnded(stage=Stage.DISCOVERY, skipped=True)),
    )
    assert summarize(run.recorder, FACTS)["stages"] == {}


def test_a_retry_with_success_is_signed_in_and_its_time_counts_from_the_retry() -> None:
    run = Watched(1)
    run.recorder.boot_started("1", 1, 0)
    run.stage("1", Stage.IP, 0, 5)
    run.tell("1", (7, failed(FailureReason.WEB_SERVICES_TIMEOUT, Stage.CHAIN)))
    assert run.recorder.phones["1"].outcome == "failed:web-services-timeout"
    assert positions(run.recorder) == {"failed": 1}
    run.tell("1", (67, StageEntered(stage=Stage.CHAIN)))
    assert positions(run.recorder) == {"chain": 1}
    assert failures(run.recorder) == {"web-services-timeout": 1}
    run.tell("1", (68, StageEnded(stage=Stage.CHAIN)), (70, SIGNED_IN))
    phone = run.recorder.phones["1"]
    assert (phone.outcome, phone.failed_stage, phone.detail) == ("signed-in", None, "")
    assert phone.durations == {Stage.CHAIN: 1}
    assert phone.settled_after == 3
    assert positions(run.recorder) == {"signed-in": 1}


def test_a_phone_that_loses_its_lease_is_not_signed_in_until_it_is_again() -> None:
    run = Watched(1)
    run.recorder.boot_started("1", 1, 0)
    run.tell("1", (1, SIGNED_IN), (100, StageEntered(stage=Stage.IP)))
    assert run.recorder.phones["1"].outcome == "failed:unsettled"
    assert positions(run.recorder) == {"ip": 1}
    run.tell("1", (101, SIGNED_IN))
    assert run.recorder.phones["1"].outcome == "signed-in"


def test_a_phone_that_did_its_stages_is_done_neither_signed_in_nor_failed() -> None:
    run = Watched(3)
    for phone_id in "12":
        run.recorder.boot_started(phone_id, 1, 0)
        run.stage(phone_id, Stage.IP, 0, 2)
    run.tell("1", (2, StagesDone()))
    phone = run.recorder.phones["1"]
    assert (phone.outcome, phone.settled_after, phone.stage) == ("done", 2, None)
    summary = summarize(run.recorder, FACTS)
    counts = [summary[key] for key in ("phones", "signed_in", "completed", "failed")]
    assert counts == [3, 0, 1, 2]
    assert summary["failures"] == {"unsettled": 2}
    assert run.recorder.boots.count == 1
    assert positions(run.recorder) == {"waiting": 1, "ip": 1, "done": 1}


def test_a_phone_that_was_done_is_not_while_it_begins_again_or_after_it_failed() -> None:
    run = Watched(1)
    phone = run.recorder.phones["1"]
    run.recorder.boot_started("1", 1, 0)
    run.tell("1", (1, StagesDone()), (100, StageEntered(stage=Stage.IP)))
    assert phone.outcome == "failed:unsettled"
    run.tell("1", (101, StagesDone()))
    assert (phone.outcome, phone.settled_after) == ("done", 1)
    run.tell("1", (200, failed(FailureReason.NO_LEASE)))
    assert phone.outcome == "failed:no-lease"
    run.tell("1", (300, StagesDone()))
    run.recorder.boot_started("1", 2, 400)
    assert phone.outcome == "failed:unsettled"


def test_how_late_phones_started_is_counted_once_a_phone() -> None:
    run = Watched(3)
    run.recorder.boot_started("1", 1, 0)
    run.recorder.boot_started("2", 1, 4)
    run.recorder.boot_started("1", 2, 90)
    assert run.recorder.lateness.count == 2
    assert summarize(run.recorder, FACTS)["lateness_ms"]["max"] == 4000
    assert [phone.late for phone in run.recorder.phones.values()] == [0, 4, None]


def test_answered_exchanges_a_second_count_from_the_first_start_to_the_last_answer() -> None:
    run = Watched(2)
    run.recorder.boot_started("1", 1, 10)
    run.recorder.boot_started("2", 1, 12)
    answered = ExchangeEnded(kind="dns", sent=2, seconds=0.1)
    lost = ExchangeEnded(kind="dns", sent=4, seconds=None)
    run.tell("1", (11, answered), (12, answered), (14, answered), (30, lost))
    assert run.recorder.per_second("dns") == 0.75
    assert run.recorder.per_second("ntp") is None


@pytest.mark.parametrize(
    ("ended", "is_exceeded"),
    [
        ("", False),
        ("...", False),  # fewer than the window
        ("!!!!!!...", False),
        ("!!!!!!!...", False),  # as many as allowed
        ("!!!!!!....", True),
        ("...!!!!!!!!....!!!!!!!!!", True),
        (".!!!!!!!!!" * 5, False),
    ],
)
def test_too_few_answers_among_the_last_are_noticed(ended: str, is_exceeded: bool) -> None:
    answers = AnswerWatch(0.3, 10)
    for each in ended:
        answers.add(is_answered=each == "!")
    assert answers.is_exceeded is is_exceeded


def test_a_dhcp_request_that_is_repeated_counts_at_once() -> None:
    recorder = Recorder([], lambda *_: None, AnswerWatch(0.5, 4))
    assert recorder.answers is not None
    for seconds in (0.1, 0.1):
        recorder.observe("1", ExchangeEnded(kind="dhcp_request", sent=1, seconds=seconds), 1)
    of_dns = AttemptEnded(kind="dns", server="10.0.0.1")  # the next server may have the answer
    for overdue in (of_dns, of_dns, of_dns, *[AttemptEnded(kind="dhcp_discover")] * 2):
        recorder.observe("1", overdue, 5)
    assert not recorder.answers.is_exceeded
    recorder.observe("1", AttemptEnded(kind="dhcp_discover"), 13)
    assert recorder.answers.is_exceeded
    assert list(recorder.servers) == ["dns"]


def test_a_share_is_not_exceeded_by_rounding() -> None:
    answers = AnswerWatch(0.29, 100)
    for number in range(100):
        answers.add(is_answered=number >= 29)
    assert not answers.is_exceeded
    answers.add(is_answered=False)  # the first of the 29 leaves
    assert not answers.is_exceeded


def test_what_each_server_did_is_told_from_what_became_of_the_exchange() -> None:
    run = Watched(1)
    run.recorder.boot_started("1", 1, 0)
    one, two = "10.0.0.9", "10.0.0.10"
    ended = {"kind": "dns", "server": two, "answer": "NOERROR"}
    run.tell(
        "1",
        (1, AttemptEnded(kind="dns", server=one)),
        (1, AttemptEnded(kind="dns", server=one)),
        (1, AttemptEnded(kind="dns", server=one, answer="REFUSED", waited=0.004)),
        (1, AttemptEnded(kind="dns", server=two, answer="TC", waited=0.01)),
        (1, ExchangeEnded(sent=5, seconds=5.0, waited=0.02, **ended)),  # type: ignore[arg-type]
        (1, ExchangeEnded(sent=1, seconds=0.02, waited=0.02, **ended)),  # type: ignore[arg-type]
        (1, ExchangeEnded(kind="dns", sent=4, seconds=None)),
        (2, ExchangeEnded(kind="dhcp_request", sent=2, seconds=4.5, server=one, answer="NAK")),
    )
    found = summarize(run.recorder, FACTS)["servers"]
    assert list(found) == ["dhcp_request", "dns"]
    assert list(found["dns"]) == [one, two]  # by number, not by text
    assert found["dns"][one] == {
        "sent": 3,
        "answered": 1,
        "timed_out": 2,
        "answers": {"REFUSED": 1},
        **dict.fromkeys(("p50_ms", "p90_ms", "p99_ms", "max_ms"), 4.0),
    }
    assert found["dns"][two]["answers"] == {"NOERROR": 2, "TC": 1}
    assert (found["dns"][two]["sent"], found["dns"][two]["timed_out"]) == (3, 0)
    assert found["dns"][two]["max_ms"] == 20
    assert found["dhcp_request"][one] == {
        "sent": None,
        "answered": 1,
        "timed_out": None,
        "answers": {"NAK": 1},
        **dict.fromkeys(("p50_ms", "p90_ms", "p99_ms", "max_ms"), 4500.0),
    }


def test_a_new_boot_forgets_what_the_last_one_came_to() -> None:
    run = Watched(1)
    run.recorder.boot_started("1", 1, 0)
    run.stage("1", Stage.IP, 0, 1)
    run.tell("1", (1, SIGNED_IN))
    run.recorder.boot_started("1", 2, 5)
    phone = run.recorder.phones["1"]
    assert (phone.boots, phone.outcome, phone.durations) == (2, "failed:unsettled", {})
    assert summarize(run.recorder, FACTS)["stages"]["ip"]["count"] == 1


def test_where_stages_are_repeated_the_last_end_counts_and_every_start() -> None:
    run = Watched(3, repeat_every=10)
    for phone_id in "123":
        run.recorder.boot_started(phone_id, 1, 0)
        run.tell(phone_id, (0, StageEntered(stage=Stage.IP)), (1, StagesDone()))
        run.recorder.boot_started(phone_id, 2, 12)
        run.tell(phone_id, (12, StageEntered(stage=Stage.IP)))
    run.tell("2", (13, failed(FailureReason.NO_LEASE)))
    run.recorder.boot_started("2", 3, 20)
    run.tell("3", (13, StagesDone()))
    phones = run.recorder.phones
    assert [phones[phone_id].outcome for phone_id in "123"] == ["done", "failed:no-lease", "done"]
    assert [phones[phone_id].boots for phone_id in "123"] == [2, 3, 2]
    assert positions(run.recorder) == {"done": 2, "failed": 1}
    summary = summarize(run.recorder, FACTS)
    assert (summary["completed"], summary["failed"]) == (2, 1)
    assert run.recorder.lateness.count == 7
    assert summary["lateness_ms"]["max"] == 2000
    assert run.recorder.boots.count == 5


def test_a_lost_registration_counts_and_the_phone_is_signed_in_when_it_has_one_again() -> None:
    run = Watched(2)
    lost = RegistrationLost(registrar="fe01:5061", detail="closed by the server")
    regained = RegistrationRegained(registrar="fe02:5061")
    for phone_id in "12":
        run.recorder.boot_started(phone_id, 1, 0)
        run.tell(phone_id, (1, SIGNED_IN), (5, lost))
    run.tell("1", (6, regained), (7, lost), (8, regained))
    summary = summarize(run.recorder, FACTS)
    assert summary["registrations_lost"] == 3
    assert (summary["signed_in"], summary["failures"]) == (1, {"registration-lost": 1})
    phone = run.recorder.phones["2"]
    assert (phone.outcome, phone.failed_stage) == ("failed:registration-lost", Stage.REGISTER)
    assert phone.detail == "fe01:5061: closed by the server"
    assert phone.settled_after == 1
    assert positions(run.recorder) == {"lost": 1, "signed-in": 1}
    assert [line[2] for line in run.lines] == ["registration lost"] * 3
    for phone_id in "12":
        run.tell(phone_id, (9, RegistrationMissed(detail="fe01:5061: not trusted")))
    assert phone.detail == "not regained: fe01:5061: not trusted"
    assert run.recorder.phones["1"].outcome == "signed-in"


def test_powering_off_changes_nothing() -> None:
    run = Watched(1)
    run.recorder.boot_started("1", 1, 0)
    run.tell("1", (1, SIGNED_IN), (2, PoweredOff()))
    assert run.recorder.phones["1"].outcome == "signed-in"


def test_failures_are_counted_the_commonest_first_and_by_name_where_equal() -> None:
    run = Watched(6)
    for phone_id in "12345":
        run.recorder.boot_started(phone_id, 1, 0)
    run.tell("1", (1, SIGNED_IN))
    run.tell("2", (1, failed(FailureReason.PIN_LOCKED)))
    run.tell("3", (1, failed(FailureReason.NO_LEASE)))
    run.tell("4", (1, failed(FailureReason.NO_LEASE)))
    found = failures(run.recorder)
    assert list(found.items()) == [("no-lease", 2), ("unsettled", 2), ("pin-locked", 1)]
    assert positions(run.recorder) == {"waiting": 2, "signed-in": 1, "failed": 3}
    summary = summarize(run.recorder, FACTS)
    assert (summary["phones"], summary["signed_in"], summary["failed"]) == (6, 1, 5)


def test_failures_and_crashes_reach_the_operator_log() -> None:
    run = Watched(2)
    run.recorder.boot_started("1", 1, 0)
    run.tell("1", (2, failed(FailureReason.NO_LEASE, detail="no DHCP server answered")))
    run.recorder.boot_started("2", 1, 0)
    run.tell("2", (0.5, StageEntered(stage=Stage.TICKET)))
    error = KeyError("x")
    error.add_note("its lease was released")
    run.recorder.crashed("2", error, 3)
    phone = run.recorder.phones["2"]
    assert (phone.outcome, phone.failed_stage) == ("failed:crashed", Stage.TICKET)
    assert phone.detail == "KeyError: 'x'; its lease was released"
    run.recorder.report("pool01", "PIN refused", (("user", "sip:a@b"),), True, 4)
    assert run.lines == [
        (
            2,
            True,
            "boot failed",
            {
                "phone": "1",
                "stage": "ip",
                "reason": "no-lease",
                "detail": "no DHCP server answered",
            },
        ),
        (
            3,
            True,
            "phone crashed",
            {"phone": "2", "error": "KeyError('x'); its lease was released"},
        ),
        (4, True, "PIN refused", {"server": "pool01", "user": "sip:a@b"}),
    ]


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_quantiles_are_within_a_hundredth_and_never_beyond_the_extremes(seed: int) -> None:
    rng = random.Random(seed)
    values = [rng.lognormvariate(-3, 1.5) for _ in range(5000)]
    tally = Tally()
    for value in values:
        tally.add(value)
    found = tally.durations()
    exact = statistics.quantiles(values, n=100, method="inclusive")
    for key, percent in (("p50_ms", 50), ("p90_ms", 90), ("p99_ms", 99)):
        assert found[key] == pytest.approx(exact[percent - 1] * 1000, rel=0.02)
    assert found["max_ms"] == round(max(values) * 1000, 3)


def test_equal_values_have_exactly_that_quantile() -> None:
    tally = Tally()
    for _ in range(10):
        tally.add(0.2)
    assert set(tally.durations().values()) == {200.0}


def test_no_time_at_all_is_a_duration_too() -> None:
    tally = Tally()
    tally.add(0.0)
    assert tally.durations() == {"p50_ms": 0, "p90_ms": 0, "p99_ms": 0, "max_ms": 0}


def test_a_phone_that_only_registers_is_done_as_long_as_it_is_registered() -> None:
    run = Watched(2, last_stage=Stage.REGISTER)
    lost = RegistrationLost(registrar="sip:5061", detail="gone")
    for phone_id in ("1", "2"):
        run.recorder.boot_started(phone_id, 1, 0)
        run.stage(phone_id, Stage.REGISTER, 0, 1)
        run.tell(phone_id, (1, StagesDone()), (5, lost))
    assert summarize(run.recorder, FACTS)["completed"] == 0
    run.tell("1", (6, RegistrationRegained(registrar="sip:5061")))
    summary = summarize(run.recorder, FACTS)
    assert (summary["completed"], summary["signed_in"]) == (1, 0)
    assert summary["failures"] == {"registration-lost": 1}


def test_phones_are_counted_by_the_voice_vlan_that_they_are_in() -> None:
    run = Watched(5)
    for phone_id, *ids in (("1", 100), ("2", 9, 100), ("3", 100, None), ("4", 9)):
        run.recorder.boot_started(phone_id, 1, 0)
        run.tell(phone_id, *((1, VlanJoined(vlan_id=vlan_id)) for vlan_id in ids))
    assert summarize(run.recorder, FACTS)["vlans"] == {"9": 1, "100": 2}
    run.recorder.boot_started("4", 2, 2)
    assert summarize(run.recorder, FACTS)["vlans"] == {"100": 2}


def test_what_became_of_phones_is_told_by_relay_agent() -> None:
    behind = [("10.10.0.1", "b"), ("10.9.0.1", "a"), ("10.10.0.1", "b")]
    profile = load(DEVICE, "polycom-cx600")
    specs = [
        PhoneSpec(
            phone_id=str(n),
            mac=bytes((n,)) * 6,
            profile=profile,
            number="",
            pin="",
            starts_at=0,
            seed="",
            link=link,
            circuits=(Circuit(giaddr), Circuit("10.99.0.1")),
        )
        for n, (giaddr, link) in enumerate(behind)
    ]
    recorder = Recorder(specs, lambda *_: None)
    recorder.observe("0", StagesDone(), 1)
    recorder.observe("1", SIGNED_IN, 1)
    recorder.observe("2", failed(FailureReason.NO_LEASE), 1)
    table = summarize(recorder, FACTS)["relays"]
    assert list(table) == ["10.9.0.1", "10.10.0.1"]
    assert table["10.9.0.1"] == {
        "link": "a",
        "phones": 1,
        "done": 1,
        "failed": 0,
        "failures": {},
    }
    assert table["10.10.0.1"] == {
        "link": "b",
        "phones": 2,
        "done": 1,
        "failed": 1,
        "failures": {"no-lease": 1},
    }
