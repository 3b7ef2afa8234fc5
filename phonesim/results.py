"""What a run records and how it is summed up, pure.

A `Recorder` is the observer of a run. It folds every observation at once, so that a week of
retries takes no more memory than one boot: a `PhoneRecord` for each phone holds its last boot,
a `Tally` for each stage and each kind of exchange holds the whole run.

Durations go into a DDSketch with 1 % relative accuracy: it does not grow, and sketches of several
machines can be merged. A value costs it more than a microsecond, and less than half of that when
many come at a time, so they wait in a short list.

A phone's outcome is what its last boot came to: it is signed in, or done when it was to do only
the first stages. A boot that failed and was retried with success counts as signed in, one that
is being retried has failed for the reason it had, and a phone that never settled has failed as
`unsettled`. A phone that lost its registration is signed in when it has one again. A stage's
durations are those of the stages that ended well; stages that the cache made unnecessary are
not counted at all.

How late a phone started is what lies between the plan's time for it and its first power-on: a
limit kept it waiting, or the tester was slow. Where phones repeat their stages, every start
counts, and the outcome is that of the last boot that came to an end.

Specifications: DDSketch (Masson, Rim and Lee, PVLDB 12, 2019).
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from ipaddress import IPv4Address
from math import ceil, log
from typing import Any

import msgspec
from ddsketch import LogCollapsingLowestDenseDDSketch
from ddsketch.mapping import LogarithmicMapping

from phonesim.device.events import (
    AttemptEnded,
    BootFailed,
    DisplayShowed,
    ExchangeEnded,
    Observation,
    RegistrarChanged,
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
from phonesim.wire.ipv4 import pack_address
from phonesim.world import PhoneSpec

Fields = Mapping[str, object]
OperatorLog = Callable[[float, bool, str, Fields], None]
"""Takes a line of the operator log: seconds since the run began, is it a warning, what, fields."""

_ACCURACY = 0.01
_MAPPING = LogarithmicMapping(_ACCURACY)
_BINS_PER_E = 1 / log(_MAPPING.gamma)
_MOST_WAITING = 1024

QUANTILES = (("p50_ms", 0.5), ("p90_ms", 0.9), ("p99_ms", 0.99))


class Tally:
    """How often something ended, and how long it took.

    `count` includes the `failed`; `sent` counts the packets of exchanges. Times are seconds.
    """

    __slots__ = ("_maximum", "_minimum", "_sketch", "_waiting", "count", "failed", "sent")

    def __init__(self) -> None:
        self.count = 0
        self.failed = 0
        self.sent = 0
        self._minimum = float("inf")
        self._maximum = float("-inf")
        self._waiting: list[float] = []
        self._sketch = LogCollapsingLowestDenseDDSketch(_ACCURACY)

    def add(self, seconds: float) -> None:
        """Count one that ended well."""
        self.count += 1
        self._waiting.append(seconds)
        if len(self._waiting) >= _MOST_WAITING:
            self._fold()

    def fail(self) -> None:
        """Count one that did not."""
        self.count += 1
        self.failed += 1

    def durations(self) -> dict[str, float | None]:
        """Quantiles and maximum in milliseconds, None without a value."""
        self._fold()
        if self._sketch.count == 0:
            return {**dict.fromkeys(key for key, _ in QUANTILES), "max_ms": None}
        values = [
            (key, min(max(self._sketch.get_quantile_value(q), self._minimum), self._maximum))
            for key, q in QUANTILES
        ]
        return {key: round(seconds * 1000, 3) for key, seconds in (*values, self._last())}

    def _fold(self) -> None:
        """Put what waits into the sketch, equal values (as far as it can tell them) at once."""
        if not self._waiting:
            return
        self._minimum = min(self._minimum, *self._waiting)
        self._maximum = max(self._maximum, *self._waiting)
        values = [seconds for seconds in self._waiting if seconds > _MAPPING.min_possible]
        bins = Counter([ceil(log(seconds) * _BINS_PER_E) for seconds in values])
        for number, count in bins.items():
            self._sketch.add(_MAPPING.value(number), count)
        if len(values) < len(self._waiting):
            self._sketch.add(0.0, len(self._waiting) - len(values))
        self._waiting.clear()

    def _last(self) -> tuple[str, float]:
        return "max_ms", self._maximum


class ServerTally:
    """What one server did with the requests of one kind.

    `answers` counts what it said: rcodes, TC for a truncated answer, DHCP message types. The
    requests that it left unanswered are `timed_out`; DHCP's go to every server, and are nobody's.
    """

    __slots__ = ("answers", "timed_out", "waits")

    def __init__(self) -> None:
        self.answers: dict[str, int] = {}
        self.timed_out = 0
        self.waits = Tally()

    def add(self, answer: str, waited: float) -> None:
        """Count an answer and how long it took."""
        answers = self.answers
        answers[answer] = answers.get(answer, 0) + 1
        self.waits.add(waited)


class AnswerWatch:
    """Notices when more than `share` of the last `window` exchanges had no answer in time.

    A DHCP request that is repeated counts as one without: the exchange itself can take minutes.
    """

    __slots__ = ("_answered", "_most", "_unanswered", "is_exceeded", "share", "window")

    def __init__(self, share: float, window: int) -> None:
        self.share = share
        self.window = window
        self.is_exceeded = False
        self._most = share * window + 1e-6  # a hair more: 0.29 * 100 is less than 29
        self._answered: deque[bool] = deque(maxlen=window)
        self._unanswered = 0

    def add(self, *, is_answered: bool) -> None:
        """Count an exchange that has ended, or a request that is overdue."""
        answered = self._answered
        if len(answered) == self.window:
            self._unanswered -= not answered[0]
        answered.append(is_answered)
        self._unanswered += not is_answered
        if len(answered) == self.window and self._unanswered > self._most:
            self.is_exceeded = True


class PhoneRecord(msgspec.Struct):
    """What became of one phone. `durations` are the seconds of its last boot's stages.

    `reason` is None when it signed in or is done. `settled_after` is how long the last
    boot took; `late` how long after its time the first one began, None if it never did.
    `signs_in` says that the phone is there for whole boots. `vlan_id` is the voice VLAN that it
    is in, None for untagged. `link` and `giaddr` are those of its relay agent, empty without one.
    """

    phone_id: str
    number: str
    device: str
    boots: int = 0
    stage: Stage | None = None
    starts_at: float = 0
    late: float | None = None
    signs_in: bool = True
    is_signed_in: bool = False
    is_done: bool = False
    reason: FailureReason | None = None
    failed_stage: Stage | None = None
    detail: str = ""
    sip_uri: str = ""
    registrar: str = ""
    display: str = ""
    booted_at: float = 0
    settled_after: float | None = None
    entered_at: dict[Stage, float] = {}
    durations: dict[Stage, float] = {}
    vlan_id: int | None = None
    link: str = ""
    giaddr: str = ""

    @property
    def outcome(self) -> str:
        """`signed-in`, `done`, or `failed:` and the reason."""
        if self.is_signed_in:
            return "signed-in"
        if self.is_done:
            return "done"
        return f"failed:{self.reason or FailureReason.UNSETTLED}"

    @property
    def explanation(self) -> str:
        """The detail of a failure, in words for a person; empty if there was none."""
        if self.detail or self.is_signed_in or self.is_done:
            return self.detail
        return "had not ended when the run did" if self.boots else "never started"


class Recorder:
    """The observer of a run: folds what the phones let be known.

    `operator_log` takes what an operator wants to read while it happens. `answers`
    watches the exchanges. `repeat_every` is that of `RunLimits`.
    """

    def __init__(
        self,
        specs: Iterable[PhoneSpec],
        operator_log: OperatorLog,
        answers: AnswerWatch | None = None,
        repeat_every: float | None = None,
    ) -> None:
        self.phones = {
            spec.phone_id: PhoneRecord(
                phone_id=spec.phone_id,
                number=spec.number,
                device=spec.profile.name,
                starts_at=spec.starts_at,
                signs_in=spec.last_stage is Stage.COMMIT,
                link=spec.link,
                giaddr=spec.circuits[0].giaddr if spec.circuits else "",
            )
            for spec in specs
        }
        self.stages: dict[Stage, Tally] = {}
        self.exchanges: dict[str, Tally] = {}
        self.servers: dict[str, dict[str, ServerTally]] = {}
        self.boots = Tally()
        self.registrations_lost = 0
        self.registrations_regained = 0
        self.registrations_failed_over = 0
        self.registrations_returned = 0
        self.lateness = Tally()
        self.answers = answers
        self._repeat_every = repeat_every
        self._began_at: float | None = None
        self._last_answer_at: dict[str, float] = {}
        self._operator_log = operator_log

    # --- what a world tells ---

    def boot_started(self, phone_id: str, boot: int, now: float) -> None:
        """Begin a boot: what the phone's last one came to is no longer its outcome."""
        phone = self.phones[phone_id]
        if boot == 1:
            phone.late = max(0.0, now - phone.starts_at)
            self.lateness.add(phone.late)
            if self._began_at is None:
                self._began_at = now
        phone.boots, phone.vlan_id = boot, None
        if self._repeat_every is not None and boot > 1:
            due_at = phone.starts_at + (boot - 1) * self._repeat_every
            self.lateness.add(max(0.0, now - due_at))
            _start_over(phone, now)
            return
        phone.is_signed_in = phone.is_done = False
        phone.stage = phone.failed_stage = phone.reason = None
        phone.detail = ""
        _start_over(phone, now)

    def observe(self, phone_id: str, observation: Observation, now: float) -> None:
        """Fold one observation."""
        kind = type(observation)
        if kind is ExchangeEnded:
            assert isinstance(observation, ExchangeEnded)
            self._exchange_ended(observation, now)
            return
        if kind is AttemptEnded:
            assert isinstance(observation, AttemptEnded)
            self._attempt_ended(observation)
            return
        phone = self.phones[phone_id]
        if kind is StageEntered:
            assert isinstance(observation, StageEntered)
            if phone.settled_after is not None:
                # Again by itself: after a failure, or because it lost its lease.
                phone.is_signed_in = phone.is_done = False
                _start_over(phone, now)
            phone.stage = observation.stage
            phone.entered_at[observation.stage] = now
        elif kind is StageEnded:
            assert isinstance(observation, StageEnded)
            self._stage_ended(phone, observation, now)
        elif kind is DisplayShowed:
            assert isinstance(observation, DisplayShowed)
            phone.display = observation.text
        elif kind is SignedIn:
            assert isinstance(observation, SignedIn)
            phone.is_signed_in = True
            phone.sip_uri = observation.sip_uri
            phone.registrar = observation.registrar
            self._settle_well(phone, now)
        elif kind is StagesDone:
            phone.is_done = True
            self._settle_well(phone, now)
        elif kind is RegistrationLost:
            assert isinstance(observation, RegistrationLost)
            self._registration_lost(phone, observation, now)
        elif kind is RegistrarChanged:
            assert isinstance(observation, RegistrarChanged)
            phone.registrar = observation.registrar
            if observation.is_survivable:
                self.registrations_failed_over += 1
            else:
                self.registrations_returned += 1
        elif kind is RegistrationMissed:
            assert isinstance(observation, RegistrationMissed)
            if phone.reason is FailureReason.REGISTRATION_LOST:
                phone.detail = f"not regained: {observation.detail}"
        elif kind is RegistrationRegained:
            self.registrations_regained += 1
            if phone.reason is FailureReason.REGISTRATION_LOST:
                phone.is_signed_in, phone.is_done = phone.signs_in, not phone.signs_in
                phone.reason = phone.failed_stage = None
                phone.detail = ""
        elif kind is VlanJoined:
            assert isinstance(observation, VlanJoined)
            phone.vlan_id = observation.vlan_id
        elif kind is BootFailed:
            assert isinstance(observation, BootFailed)
            self._boot_failed(phone, observation, now)

    def crashed(self, phone_id: str, error: BaseException, now: float) -> None:
        """Record that a phone's machine raised: our fault, never a peer's."""
        phone = self.phones[phone_id]
        notes: list[str] = getattr(error, "__notes__", [])
        detail = "; ".join([f"{type(error).__name__}: {error}", *notes])
        self._settle_badly(phone, phone.stage, FailureReason.CRASHED, detail, now)
        told = "; ".join([repr(error), *notes])
        self._operator_log(now, True, "phone crashed", {"phone": phone_id, "error": told})

    def report(
        self,
        server: str,
        text: str,
        fields: tuple[tuple[str, str], ...],
        is_warning: bool,
        now: float,
    ) -> None:
        """Pass a mock server's line on to the operator log."""
        self._operator_log(now, is_warning, text, {"server": server, **dict(fields)})

    # --- how each is folded ---

    def per_second(self, kind: str) -> float | None:
        """Exchanges of a kind that were answered a second, from the first start to the last one."""
        ended_at = self._last_answer_at.get(kind)
        if ended_at is None or self._began_at is None or ended_at <= self._began_at:
            return None
        tally = self.exchanges[kind]
        return (tally.count - tally.failed) / (ended_at - self._began_at)

    def _exchange_ended(self, exchange: ExchangeEnded, now: float) -> None:
        tally = self.exchanges.get(exchange.kind)
        if tally is None:
            tally = self.exchanges[exchange.kind] = Tally()
        tally.sent += exchange.sent
        if exchange.seconds is None:
            tally.fail()
        else:
            tally.add(exchange.seconds)
            self._last_answer_at[exchange.kind] = now
            if exchange.server is not None:
                waited = exchange.seconds if exchange.waited is None else exchange.waited
                self._server(exchange.kind, exchange.server).add(exchange.answer, waited)
        if self.answers is not None:
            self.answers.add(is_answered=exchange.seconds is not None)

    def _attempt_ended(self, attempt: AttemptEnded) -> None:
        if attempt.server is None:
            if self.answers is not None:
                self.answers.add(is_answered=False)
            return
        server = self._server(attempt.kind, attempt.server)
        if attempt.waited is None:
            server.timed_out += 1
        else:
            server.add(attempt.answer, attempt.waited)

    def _server(self, kind: str, address: str) -> ServerTally:
        servers = self.servers.get(kind)
        if servers is None:
            servers = self.servers[kind] = {}
        tally = servers.get(address)
        if tally is None:
            tally = servers[address] = ServerTally()
        return tally

    def _stage_ended(self, phone: PhoneRecord, ended: StageEnded, now: float) -> None:
        if ended.skipped:
            return
        tally = self.stages.get(ended.stage)
        if tally is None:
            tally = self.stages[ended.stage] = Tally()
        if ended.reason is not None:
            tally.fail()
            return
        seconds = now - phone.entered_at.get(ended.stage, now)
        tally.add(seconds)
        phone.durations[ended.stage] = seconds

    def _settle_well(self, phone: PhoneRecord, now: float) -> None:
        phone.reason = phone.failed_stage = phone.stage = None
        phone.detail = ""
        phone.settled_after = now - phone.booted_at
        phone.entered_at.clear()
        self.boots.add(phone.settled_after)

    def _registration_lost(self, phone: PhoneRecord, lost: RegistrationLost, now: float) -> None:
        self.registrations_lost += 1
        phone.is_signed_in = phone.is_done = False
        phone.failed_stage, phone.reason = Stage.REGISTER, FailureReason.REGISTRATION_LOST
        phone.detail = f"{lost.registrar}: {lost.detail}"
        fields = {"phone": phone.phone_id, "registrar": lost.registrar, "detail": lost.detail}
        self._operator_log(now, True, "registration lost", fields)

    def _boot_failed(self, phone: PhoneRecord, failed: BootFailed, now: float) -> None:
        self._settle_badly(phone, failed.stage, failed.reason, failed.detail, now)
        self._operator_log(
            now,
            True,
            "boot failed",
            {
                "phone": phone.phone_id,
                "stage": failed.stage.value,
                "reason": failed.reason.value,
                "detail": failed.detail,
            },
        )

    def _settle_badly(
        self,
        phone: PhoneRecord,
        stage: Stage | None,
        reason: FailureReason,
        detail: str,
        now: float,
    ) -> None:
        phone.is_signed_in = phone.is_done = False
        phone.stage = None
        phone.failed_stage, phone.reason, phone.detail = stage, reason, detail
        phone.settled_after = now - phone.booted_at
        phone.entered_at.clear()
        self.boots.fail()


def _start_over(phone: PhoneRecord, now: float) -> None:
    phone.booted_at = now
    phone.settled_after = None
    phone.entered_at = {}
    phone.durations = {}


class RunFacts(msgspec.Struct, frozen=True, kw_only=True):
    """What a summary says of the run itself. `notes` are sentences for a person.

    Only `run`, `wall_s`, `cpu_s` and `peak_rss_mb` differ between two virtual runs with
    the same seed.
    """

    run: str
    fleet: str
    site: str
    faults: Sequence[str] = ()
    attach: str
    seed: int
    wall_s: float
    cpu_s: float
    peak_rss_mb: float
    valid: bool
    notes: Sequence[str] = ()


def summarize(recorder: Recorder, facts: RunFacts) -> dict[str, Any]:
    """Return the summary: what `run --json` prints and `summary.json` holds."""
    phones = recorder.phones.values()
    signed_in = sum(phone.is_signed_in for phone in phones)
    completed = sum(phone.is_done for phone in phones)
    return {
        "run": facts.run,
        "fleet": facts.fleet,
        "site": facts.site,
        "faults": list(facts.faults),
        "attach": facts.attach,
        "seed": facts.seed,
        "phones": len(phones),
        "signed_in": signed_in,
        "completed": completed,
        "failed": len(phones) - signed_in - completed,
        "failures": failures(recorder),
        "registrations_lost": recorder.registrations_lost,
        "registrations_regained": recorder.registrations_regained,
        "registrations_failed_over": recorder.registrations_failed_over,
        "registrations_returned": recorder.registrations_returned,
        "stages": {
            stage.value: {"count": tally.count, "failed": tally.failed, **tally.durations()}
            for stage in Stage
            if (tally := recorder.stages.get(stage)) is not None
        },
        "exchanges": {
            kind: {
                "sent": tally.sent,
                "retransmitted": tally.sent - tally.count,
                "answered": tally.count - tally.failed,
                **tally.durations(),
                "per_second": _rounded(recorder.per_second(kind)),
            }
            for kind, tally in sorted(recorder.exchanges.items())
        },
        "servers": {
            kind: {
                address: _server_totals(kind, servers[address])
                for address in sorted(servers, key=IPv4Address)
            }
            for kind, servers in sorted(recorder.servers.items())
        },
        "vlans": vlans(recorder),
        "relays": relays(recorder),
        "lateness_ms": {
            key.removesuffix("_ms"): value for key, value in recorder.lateness.durations().items()
        },
        "wall_s": round(facts.wall_s, 3),
        "cpu_s": round(facts.cpu_s, 3),
        "peak_rss_mb": round(facts.peak_rss_mb, 1),
        "valid": facts.valid,
        "notes": list(facts.notes),
    }


def _server_totals(kind: str, tally: ServerTally) -> dict[str, Any]:
    answered = sum(tally.answers.values())
    is_asked_alone = kind == "dns"
    return {
        "sent": answered + tally.timed_out if is_asked_alone else None,
        "answered": answered,
        "timed_out": tally.timed_out if is_asked_alone else None,
        "answers": dict(sorted(tally.answers.items(), key=lambda item: (-item[1], item[0]))),
        **tally.waits.durations(),
    }


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 3)


def failures(recorder: Recorder) -> dict[str, int]:
    """How many phones ended with each failure reason, the commonest first."""
    return _count_failures(recorder.phones.values())


def vlans(recorder: Recorder) -> dict[str, int]:
    """How many phones were in each voice VLAN at last, by its id; the untagged are in none."""
    counts = Counter(phone.vlan_id for phone in recorder.phones.values() if phone.vlan_id)
    return {str(vlan_id): counts[vlan_id] for vlan_id in sorted(counts)}


def relays(recorder: Recorder) -> dict[str, dict[str, Any]]:
    """What became of the phones behind each relay agent, by giaddr; empty without agents.

    `done` are those that are done or signed in; `failures` are as in the summary.
    """
    behind: dict[str, list[PhoneRecord]] = {}
    for phone in recorder.phones.values():
        if phone.giaddr:
            behind.setdefault(phone.giaddr, []).append(phone)
    return {
        giaddr: {
            "link": phones[0].link,
            "phones": len(phones),
            "done": sum(phone.is_signed_in or phone.is_done for phone in phones),
            "failed": sum(not phone.is_signed_in and not phone.is_done for phone in phones),
            "failures": _count_failures(phones),
        }
        for giaddr, phones in sorted(behind.items(), key=lambda item: pack_address(item[0]))
    }


def _count_failures(phones: Iterable[PhoneRecord]) -> dict[str, int]:
    counts = Counter(
        (phone.reason or FailureReason.UNSETTLED).value
        for phone in phones
        if not phone.is_signed_in and not phone.is_done
    )
    return dict(sorted(counts.items(), key=lambda item: (-item[1], item[0])))


def positions(recorder: Recorder) -> dict[str, int]:
    """Where the phones are: `waiting`, a stage, `lost`, `signed-in`, `done` or `failed`, in order.

    `lost` are phones that had a registration and try to get another.
    """
    counts: Counter[str] = Counter()
    for phone in recorder.phones.values():
        if phone.is_signed_in:
            counts["signed-in"] += 1
        elif phone.is_done:
            counts["done"] += 1
        elif phone.stage is not None:
            counts[phone.stage.value] += 1
        elif phone.reason is FailureReason.REGISTRATION_LOST:
            counts["lost"] += 1
        elif phone.reason is not None:
            counts["failed"] += 1
        else:
            counts["waiting"] += 1
    order = ("waiting", *Stage, "lost", "signed-in", "done", "failed")
    return {str(name): counts[name] for name in order if counts[name]}
