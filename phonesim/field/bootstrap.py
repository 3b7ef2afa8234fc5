"""One user's sign-in, tried with phones that differ in what they have kept.

    named     a cache that names the target, and no certificate: discovery is left out, as
              Test-CsPhoneBootstrap does it with TargetFqdn or TargetUri
    cold      nothing: a new phone, or one after a reset; it asks DHCP and DNS
    cached    what a phone has kept that signed in here: its certificate, and a good cache
    stale     the same, with a cache that names servers that are not there any more

The first trial is the one asked for: named if there is a target, else cold. The others show what
the vendor's tools do not: they have no cache, so that they pass where cold phones fail, and say
nothing of the phones that still work. Each trial is a run of its own, made of a fleet's plan in
one of the worlds, with its run folder. A cached phone is one of an earlier run: of the trial that
signed in, or of a run that the user names.

Each refused PIN counts towards locking the user. So when it is refused no further trial is made,
and of several phones one goes first: the others try when it has its ticket, and else not at all.

Specifications: device reference sections 11, 13 and 18.1; RFC 2606 section 2 (`.invalid`).
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Literal
from urllib.parse import urlsplit

import msgspec

from phonesim.config.device_profile import DiscoveryConfig
from phonesim.config.site_profile import UserRange
from phonesim.device.actions import WriteLog
from phonesim.device.cache import Contents, KeptAnswer
from phonesim.device.events import RegistrarAddress, WebServicesAddress
from phonesim.device.outcome import FailureReason, Stage
from phonesim.drivers.run_folder import RunFolder
from phonesim.errors import UsageError
from phonesim.field.boot_story import BootFailure, BootStep, BootStory
from phonesim.field.bootstrap_result import BootstrapResult, result_of
from phonesim.field.diagnosis import Diagnosis, diagnose
from phonesim.field.followed_folder import FollowedFolder
from phonesim.field.log_reader import dialects_of
from phonesim.fleet.plan import Plan, read_plan
from phonesim.fleet.runner import StopRequest, Tick, WorldReport, run_fleet
from phonesim.fleet.worlds import world_for
from phonesim.profiles import Override, option_override
from phonesim.results import Recorder
from phonesim.wire.ipv4 import is_address
from phonesim.wire.provisioning import encode_sip_servers

TrialKind = Literal["named", "cold", "cached", "stale"]
Follow = Callable[[TrialKind, BootStep], None]
"""Told of every stage of a trial's first phone when it ends."""

MOST_PHONES = 8
"""Endpoints that one user may have by default [documented MaxEndpointsPerUser]."""

_SERVICE_PATH = DiscoveryConfig().cert_prov_rel_path
_DEFAULT_PORTS = {"https": 443, "http": 80}
_TYPED = "typed"
_GONE = "gone.invalid"
_PIN_REFUSED = frozenset({FailureReason.PIN_INCORRECT, FailureReason.PIN_LOCKED})


class Target(msgspec.Struct, frozen=True, kw_only=True):
    """The servers that the user named."""

    web_services: WebServicesAddress
    registrar: RegistrarAddress


class BootstrapRequest(msgspec.Struct, frozen=True, kw_only=True):
    """What is to be tried. `also` asks for all kinds of phones, not only the first.

    `overrides` and `faults` are those of a fleet; `cached_from` names an earlier run.
    """

    number: str
    pin: str
    sip_uri: str | None = None
    target: Target | None = None
    also: bool = False
    cached_from: str | None = None
    overrides: tuple[Override, ...] = ()
    faults: tuple[str, ...] = ()


class Trial(msgspec.Struct, kw_only=True):
    """What came of the phones of one kind.

    `stories` are theirs, by phone; `left_out` says why there are none. `folder` is the run's.
    `diagnosis` is there if one of them did not end well. `held_back` counts those that did not
    try, because the first one got no ticket.
    """

    kind: TrialKind
    stories: dict[str, BootStory] = {}
    results: dict[str, BootstrapResult] = {}
    folder: Path | None = None
    notes: list[str] = []
    is_interrupted: bool = False
    left_out: str = ""
    diagnosis: Diagnosis | None = None
    held_back: int = 0

    @property
    def signed_in(self) -> int:
        """How many phones ended well."""
        return sum(result.is_success for result in self.results.values())

    @property
    def phones(self) -> int:
        """How many there were."""
        return len(self.results)

    @property
    def works(self) -> bool:
        """Whether all did."""
        return self.phones > 0 and self.signed_in == self.phones

    @property
    def is_pin_refused(self) -> bool:
        """Whether a phone was told that its PIN will not do."""
        failures = (story.failure for story in self.stories.values())
        return any(each is not None and each.reason in _PIN_REFUSED for each in failures)

    @property
    def is_pin_accepted(self) -> bool:
        """Whether a phone got its ticket by PIN."""
        return any(story.has_ticket for story in self.stories.values())

    @property
    def is_past_ticket(self) -> bool:
        """Whether a phone got its ticket, or needed none."""
        steps = (step for story in self.stories.values() for step in story.steps)
        return any(
            step.stage == Stage.TICKET and step.result in ("ok", "skipped") for step in steps
        )

    @property
    def shown(self) -> str:
        """The phone to tell of: the first that did not end well, or else the first."""
        return min(self.results, key=lambda phone_id: self.results[phone_id].is_success)


def typed_target(fqdn: str | None, uri: str | None, registrar_port: int) -> Target | None:
    """Return what TargetFqdn and TargetUri mean, None without either.

    The pool's name alone gives the URL with the documented path; the URL alone gives the
    Registrar its own host. `UsageError` if the URL or the name is none.
    """
    if fqdn is None and uri is None:
        return None
    if fqdn is not None and not _is_fqdn(fqdn):
        raise UsageError(
            f"--target-fqdn {fqdn!r}: write the pool's full name alone, as pool.example.com"
        )
    address = WebServicesAddress(
        scheme="https", host=fqdn or "", port=443, path=_SERVICE_PATH, source=_TYPED
    )
    if uri is not None:
        try:
            parts = urlsplit(uri)
            scheme, port = parts.scheme.lower(), parts.port
        except ValueError:
            scheme, port = "", None
        if scheme not in _DEFAULT_PORTS or not parts.hostname or not parts.path.strip("/"):
            raise UsageError(
                f"--target-uri {uri}: write it as https://webpool.example.com:443{_SERVICE_PATH}"
            )
        address = WebServicesAddress(
            scheme=scheme,
            host=parts.hostname,
            port=port or _DEFAULT_PORTS[scheme],
            path=parts.path,
            source=_TYPED,
        )
    registrar = RegistrarAddress(
        host=fqdn or address.host, port=registrar_port, transport="tls", source=_TYPED
    )
    return Target(web_services=address, registrar=registrar)


def _is_fqdn(name: str) -> bool:
    try:
        encode_sip_servers([name])
    except ValueError:
        return False
    return "." in name and not is_address(name)


def plan_trial(request: BootstrapRequest, kind: TrialKind, earlier: Path | None) -> Plan:
    """Return the plan of a trial, whose phones are those of the run `earlier`, if any."""
    overrides = list(request.overrides)
    if earlier is not None:
        overrides.append(option_override("--cached-from", "fleet", "phones_from", str(earlier)))
    number = request.number.replace("{", "{{").replace("}", "}}")
    owner = request.sip_uri or "sip:user@example.invalid"
    users = [UserRange(count=MOST_PHONES, sip_uri=owner, number=number, pin=request.pin)]
    plan = read_plan("bootstrap", overrides, request.faults, users)
    if kind in ("named", "stale"):
        # What is on their disks is theirs: nothing is wiped.
        limits = msgspec.structs.replace(plan.limits, boots=("warm",))
        plan = msgspec.structs.replace(plan, limits=limits)
    return plan


def run_bootstrap(request: BootstrapRequest, base: Path, follow: Follow) -> list[Trial]:
    """Try; return the trials in order, the one that was asked for first.

    `UsageError` or `ProfileError` if it cannot be tried as asked.
    """
    first: TrialKind = "named" if request.target is not None else "cold"
    trials = [_safely(request, first, base, follow, [])]
    if not request.also:
        return trials
    if first == "named":
        trials.append(_next(request, "cold", base, follow, trials))
    trials.append(_next(request, "cached", base, follow, trials))
    trials.append(_next(request, "stale", base, follow, trials))
    return trials


def discard(trials: Sequence[Trial]) -> None:
    """Remove the run folders of trials that nobody needs."""
    for trial in trials:
        if trial.folder is not None:
            shutil.rmtree(trial.folder, ignore_errors=True)


def conclusion(trials: Sequence[Trial]) -> list[str]:
    """Say what the trials mean together; nothing if only one was made."""
    by_kind = {trial.kind: trial for trial in trials if trial.results}
    if len(by_kind) < 2:
        return []
    if all(trial.works for trial in by_kind.values()):
        return ["Phones sign in whatever they have kept."]
    said = []
    works = {kind for kind, trial in by_kind.items() if trial.works}
    if "cold" not in works and "cached" in works:
        which = "that still have their certificate" if "stale" in works else "with a good cache"
        said.append(
            f"Only phones {which} sign in. They hide the fault until they are reset, signed out or"
            " moved; a new phone does not sign in."
        )
    if "cold" not in works and "named" in works:
        said.append(
            "The servers that were named are well, and cold phones do not find them: a tool that"
            " is told where they are passes."
        )
    if "cold" in works and "stale" not in works and "stale" in by_kind:
        said.append(
            "Phones that remember servers that are gone do not come back by themselves: reset"
            " them when servers are replaced."
        )
    return said


def _next(
    request: BootstrapRequest, kind: TrialKind, base: Path, follow: Follow, so_far: list[Trial]
) -> Trial:
    if any(trial.is_interrupted for trial in so_far):
        return Trial(kind=kind, left_out="interrupted")
    if any(trial.is_pin_refused for trial in so_far):
        return Trial(
            kind=kind, left_out="the PIN was refused, and each further try may lock the user"
        )
    signed_in = next((trial.folder for trial in reversed(so_far) if trial.works), None)
    kept = Path(request.cached_from) if request.cached_from is not None else signed_in
    if kind == "cached" and kept is None:
        return Trial(
            kind=kind,
            left_out="no phone has signed in whose cache could be taken: name the servers with"
            " --target-fqdn, or an earlier run with --cached-from",
        )
    return _safely(request, kind, base, follow, so_far, None if kind == "cold" else kept)


def _safely(
    request: BootstrapRequest,
    kind: TrialKind,
    base: Path,
    follow: Follow,
    so_far: Sequence[Trial],
    earlier: Path | None = None,
) -> Trial:
    """Try with one phone first, unless it is known that the PIN is right."""
    plan = plan_trial(request, kind, earlier)
    others = len(plan.specs) - 1
    if others and not any(trial.is_pin_accepted for trial in so_far):
        one = msgspec.structs.replace(plan, specs=plan.specs[:1])
        trial = _trial(request, one, kind, base, follow)
        if trial.is_interrupted or not trial.is_past_ticket:
            trial.held_back = others
            return trial
        discard([trial])
        follow = _told_already
    return _trial(request, plan, kind, base, follow)


def _told_already(kind: TrialKind, step: BootStep) -> None:
    """Say nothing of the same steps again."""


def _trial(
    request: BootstrapRequest, plan: Plan, kind: TrialKind, base: Path, follow: Follow
) -> Trial:
    stories = {spec.phone_id: BootStory() for spec in plan.specs}
    leading = plan.specs[0].phone_id

    def listen(phone_id: str, line: WriteLog) -> None:
        for step in stories[phone_id].take(line):
            if phone_id == leading:
                follow(kind, step)

    inner = world_for(plan.fleet.attach)
    stops: list[StopRequest] = []

    def world(
        plan: Plan, folder: RunFolder, observer: Recorder, stop: StopRequest, tick: Tick
    ) -> WorldReport:
        stops.append(stop)
        followed = FollowedFolder(folder, listen, _cache(request, kind))
        return inner(plan, followed, observer, stop, tick)

    finished = run_fleet(plan, world, base, lambda progress: None)
    for phone_id, record in finished.recorder.phones.items():
        if record.reason is FailureReason.CRASHED:  # which no log can tell
            stage = "" if record.stage is None else record.stage
            stories[phone_id].failure = BootFailure(
                stage=stage, reason=record.reason, detail=record.detail
            )
        elif record.stage is not None and not stories[phone_id].is_over and not stops[0].asked:
            stories[phone_id].failure = BootFailure(
                stage=record.stage,
                reason=FailureReason.UNSETTLED,
                detail=f"no end after {plan.limits.timeout:g} s",
            )
    results = {
        phone_id: result_of(story, request.sip_uri, is_named=kind == "named")
        for phone_id, story in stories.items()
    }
    trial = Trial(
        kind=kind,
        stories=stories,
        results=results,
        folder=finished.folder,
        notes=finished.summary["notes"],
        is_interrupted=bool(stops[0].asked),
    )
    if not trial.works and not trial.is_interrupted:
        dialects = dialects_of(spec.profile for spec in plan.specs)
        trial.diagnosis = diagnose([finished.folder], dialects)
    return trial


def _cache(request: BootstrapRequest, kind: TrialKind) -> bytes | None:
    """The cache that phones of that kind begin with; None for what is on their disks."""
    match kind:
        case "named":
            assert request.target is not None
            web_services, registrar = request.target.web_services, request.target.registrar
        case "stale":
            web_services = WebServicesAddress(
                scheme="https",
                host=f"webpool.{_GONE}",
                port=443,
                path=_SERVICE_PATH,
                source=_TYPED,
            )
            registrar = RegistrarAddress(
                host=f"registrar.{_GONE}", port=5061, transport="tls", source=_TYPED
            )
        case _:
            return None
    kept = KeptAnswer(server=_TYPED, web_services=web_services, registrars=(registrar,))
    return msgspec.json.encode(Contents(dhcp=(kept,)))
