"""`phonesim bootstrap`: one user's sign-in, step by step, and with phones that have a cache."""

from __future__ import annotations

import sys
import time
from datetime import datetime
from pathlib import Path
from threading import Event
from typing import Annotated

import typer

from phonesim.cli.bootstrap_report import (
    MEANING,
    bootstrap_document,
    changed_lines,
    diagnosis,
    held_back,
    outcome,
    step_lines,
    trials_table,
    where_next,
)
from phonesim.cli.consent import ask_consent
from phonesim.cli.diagnose_verb import to_lines
from phonesim.cli.run_options import DEFAULT_OUT, FaultOption, SetOption, YesOption
from phonesim.cli.terminal import show, show_json, show_text
from phonesim.config.duration import parse_duration
from phonesim.errors import PhonesimError, UsageError
from phonesim.field.boot_story import BootStep
from phonesim.field.bootstrap import (
    MOST_PHONES,
    BootstrapRequest,
    Trial,
    TrialKind,
    conclusion,
    discard,
    plan_trial,
    run_bootstrap,
    typed_target,
)
from phonesim.field.bootstrap_result import (
    PluginStatus,
    plugin_line,
    plugin_text,
    result_block,
)
from phonesim.fleet.runner import (
    EXPECTATIONS_MET,
    EXPECTATIONS_UNMET,
    NOT_VALID,
    StopRequest,
)
from phonesim.profiles import Override, option_override, parse_override

PIN_VARIABLE = "PHONESIM_PIN"
_UNKNOWN: PluginStatus = 3
_CHECK_TIMEOUT = 30.0
"""Seconds after which a monitor gets its answer: it does not wait much longer for a plugin."""


def command(
    phone: Annotated[
        str | None,
        typer.Option(
            "--phone", "--ext", "--phone-or-ext", metavar="NUMBER", help="Number or extension."
        ),
    ] = None,
    pin: Annotated[
        str | None,
        typer.Option(
            "--pin",
            metavar="PIN",
            envvar=PIN_VARIABLE,
            help="The PIN; - reads it from stdin, and without it a terminal is asked. On a command"
            " line every user of this host can see it.",
        ),
    ] = None,
    target_fqdn: Annotated[
        str | None,
        typer.Option(
            "--target-fqdn", metavar="NAME", help="Pool to sign in at, instead of discovery."
        ),
    ] = None,
    target_uri: Annotated[
        str | None,
        typer.Option("--target-uri", metavar="URL", help="Web Services URL, instead of discovery."),
    ] = None,
    user_sip_address: Annotated[
        str | None,
        typer.Option("--user-sip-address", metavar="sip:USER", help="Whose number it has to be."),
    ] = None,
    registrar_port: Annotated[
        int,
        typer.Option(
            "--registrar-port", metavar="N", min=1, max=65535, help="Port of the Registrar."
        ),
    ] = 5061,
    device: Annotated[
        str, typer.Option("--device", metavar="NAME", help="Model of the phone.")
    ] = "polycom-cx600",
    phones: Annotated[
        int,
        typer.Option(
            "--phones",
            "-n",
            metavar="N",
            min=1,
            max=MOST_PHONES,
            help="How many phones try; one goes first.",
        ),
    ] = 1,
    also: Annotated[
        str | None,
        typer.Option(
            "--also",
            metavar="cached",
            help="Try phones of every kind: cold, with a good cache, and with a stale one.",
        ),
    ] = None,
    cached_from: Annotated[
        str | None,
        typer.Option(
            "--cached-from",
            metavar="RUN",
            help="Earlier run whose phones are the cached ones; a trial that signed in.",
        ),
    ] = None,
    attach: Annotated[
        str,
        typer.Option("--attach", metavar="loopback|wire|virtual", help="Which world to try in."),
    ] = "loopback",
    interface: Annotated[
        str | None,
        typer.Option("--interface", "-i", metavar="IF", help="Interface for wire."),
    ] = None,
    own_mac: Annotated[
        str | None,
        typer.Option("--own-mac", metavar="full|dhcp-only", help="Wire: own MAC in every frame?"),
    ] = None,
    site: Annotated[
        str | None,
        typer.Option(
            "--site",
            metavar="NAME|PATH|none",
            help="Mock site, or none for servers already there, as on the wire.",
        ),
    ] = None,
    port_offset: Annotated[
        int | None,
        typer.Option("--port-offset", metavar="N", help="Loopback: that of the site to use."),
    ] = None,
    fault: FaultOption = None,
    set_: SetOption = None,
    timeout: Annotated[
        float | None,
        typer.Option(
            "--timeout",
            metavar="SECONDS",
            min=1,
            help=f"When to give a phone up: 180, or {_CHECK_TIMEOUT:.0f} with --check.",
        ),
    ] = None,
    watch: Annotated[
        bool, typer.Option("--watch", help="Try again and again, until Ctrl-C; report changes.")
    ] = False,
    every: Annotated[
        str, typer.Option("--every", metavar="DURATION", help="How often, with --watch.")
    ] = "1m",
    check: Annotated[
        bool,
        typer.Option(
            "--check",
            help="One line, and the exit status, of a monitoring plugin: 0 OK, 1 WARNING,"
            " 2 CRITICAL, 3 UNKNOWN.",
        ),
    ] = False,
    warning: Annotated[
        float | None,
        typer.Option("--warning", "-w", metavar="SECONDS", help="With --check: slow."),
    ] = None,
    critical: Annotated[
        float | None,
        typer.Option("--critical", "-c", metavar="SECONDS", help="With --check: too slow."),
    ] = None,
    out: Annotated[
        Path, typer.Option("--out", metavar="DIR", help="Where the run folders are made.")
    ] = DEFAULT_OUT,
    yes: YesOption = False,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print the result as one JSON document.")
    ] = False,
) -> int:
    """Sign one user in as a phone does, and say how each step went.

    Test-CsPhoneBootstrap's counterpart: without a target the phone discovers its servers, with
    one it is told them. Unlike that cmdlet it can be a phone with a cache, too (--also cached).
    """
    try:
        if sum((watch, check, as_json)) > 1:
            raise UsageError("--watch, --check and --json: one of them")
        _check_limits(warning, critical, is_check=check)
        is_set = any(each.startswith("fleet.timeout=") for each in set_ or ())
        if check and timeout is None and not is_set:
            timeout = _CHECK_TIMEOUT
        interval = _interval(every)
        overrides = {
            "phones": phones,
            "site": site or ("none" if attach == "wire" else "contoso"),
            "attach": attach,
            "interface": interface,
            "own_mac": own_mac,
            "port_offset": port_offset,
            "timeout": timeout,
        }
        request = BootstrapRequest(
            number=_number(phone),
            pin=_pin(pin),
            sip_uri=_sip_uri(user_sip_address),
            target=typed_target(target_fqdn, target_uri, registrar_port),
            also=_is_also(also),
            cached_from=cached_from,
            overrides=(
                *map(parse_override, set_ or ()),
                *(
                    option_override(f"--{key.replace('_', '-')}", "fleet", key, value)
                    for key, value in overrides.items()
                    if value is not None
                ),
                option_override("--device", "fleet", "devices", [{"device": device}]),
                Override(
                    "device",
                    ("discovery", "registrar_port"),
                    registrar_port,
                    str(registrar_port),
                    "--registrar-port",
                ),
            ),
            faults=tuple(fault or ()),
        )
        first: TrialKind = "cold" if request.target is None else "named"
        again = f"every {every}, until Ctrl-C" if watch else ""
        if request.also:
            again = f"{again}, with phones of each kind".removeprefix(", ")
        ask_consent(plan_trial(request, first, None), again, is_agreed=yes)
        if watch:
            return _watch(request, out, interval)
        if check:
            return _check(request, out, warning, critical)
        return _try(request, out, as_json=as_json)
    except PhonesimError as error:
        if not check:
            raise
        show_text(plugin_text(_UNKNOWN, str(error), []))
        return _UNKNOWN


def _try(request: BootstrapRequest, out: Path, *, as_json: bool) -> int:
    shown: list[TrialKind] = []

    def follow(kind: TrialKind, step: BootStep) -> None:
        if kind not in shown:
            shown.append(kind)
            show(*([""] if len(shown) > 1 else []), f"{kind}: {MEANING[kind]}")
        show(*step_lines(step))

    trials = run_bootstrap(request, out, _ignore if as_json else follow)
    status = _status(trials)
    if as_json:
        show_json(bootstrap_document(trials))
        return status
    first = trials[0]
    show("", *result_block(first.results[first.shown], diagnosis(first)))
    if len(trials) > 1 or first.phones > 1:
        show("", trials_table(trials), *conclusion(trials))
    waiting = [line for trial in trials for line in held_back(trial)]
    if waiting:
        show("", *waiting)
    for trial in trials:
        if trial.diagnosis is not None and not trial.diagnosis.is_well:
            show("", f"The {trial.kind} phones:", *to_lines(trial.diagnosis))
            break
    show("", *where_next(trials))
    return status


def _check(
    request: BootstrapRequest, out: Path, warning: float | None, critical: float | None
) -> int:
    trials = run_bootstrap(request, out, _ignore)
    if any(trial.is_interrupted for trial in trials):
        show_text(plugin_text(_UNKNOWN, "interrupted", []))
        return _UNKNOWN
    worst = next((trial for trial in trials if trial.results and not trial.works), trials[0])
    shown = worst.shown
    status, line = plugin_line(
        request.number,
        worst.results[shown],
        worst.stories[shown],
        diagnosis(worst),
        warning,
        critical,
    )
    if status == 0:
        discard(trials)
    show_text(line)
    return status


def _watch(request: BootstrapRequest, out: Path, interval: float) -> int:
    """Try until Ctrl-C; return what the last try came to."""
    status, last = EXPECTATIONS_MET, None
    stop, is_over = StopRequest(), Event()
    stop.on_ask(is_over.set)
    with stop.signals():
        while not is_over.is_set():
            began = time.monotonic()
            trials = run_bootstrap(request, out, _ignore)
            if any(trial.is_interrupted for trial in trials):
                discard(trials)
                break
            status = _status(trials)
            state = [outcome(trial) for trial in trials]
            if state == last:
                discard(trials)
            else:
                last = state
                stamp = datetime.now().astimezone().strftime("%Y-%m-%d %H:%M:%S")
                show(*(f"{stamp}  {line}" for trial in trials for line in changed_lines(trial)))
            if any(trial.is_pin_refused for trial in trials):
                raise UsageError(
                    "the PIN was refused: it is not tried again, for each try may lock the user"
                )
            is_over.wait(max(0.0, interval - (time.monotonic() - began)))
    return status


def _status(trials: list[Trial]) -> int:
    if any(trial.is_interrupted for trial in trials):
        return NOT_VALID
    tried = [trial for trial in trials if trial.results]
    return EXPECTATIONS_MET if all(trial.works for trial in tried) else EXPECTATIONS_UNMET


def _ignore(kind: TrialKind, step: BootStep) -> None:
    """Say nothing while it goes on."""


def _number(phone: str | None) -> str:
    if phone is None or not phone.strip() or not phone.isprintable():
        raise UsageError("--phone: give the number or extension that is typed on the phone")
    return phone.strip()


def _pin(pin: str | None) -> str:
    if pin == "-" and not sys.stdin.isatty():
        pin = sys.stdin.readline(64).strip()
        if not pin:
            raise UsageError("--pin -: there was no PIN on stdin: nothing was sent")
    elif pin == "-" or (pin is None and sys.stdin.isatty()):
        pin = typer.prompt("PIN", hide_input=True, err=True)
    if pin is None:
        raise UsageError(f"no PIN: put it into {PIN_VARIABLE}, or on stdin with --pin -")
    if not (pin.isascii() and pin.isdecimal()):
        raise UsageError("the PIN is not made of digits: nothing was sent")
    return pin


def _sip_uri(address: str | None) -> str | None:
    if address is not None and not (address.lower().startswith("sip:") and "@" in address):
        raise UsageError(f"--user-sip-address {address}: write it as sip:user@example.com")
    return address


def _is_also(also: str | None) -> bool:
    if also not in (None, "cached"):
        raise UsageError(f"--also {also}: it is cached, which tries phones of every kind")
    return also is not None


def _check_limits(warning: float | None, critical: float | None, *, is_check: bool) -> None:
    limits = {"--warning": warning, "--critical": critical}
    for option, limit in limits.items():
        if limit is not None and not is_check:
            raise UsageError(f"{option}: it is for --check")
        if limit is not None and limit < 0:
            raise UsageError(f"{option} {limit:g}: it is a number of seconds, 0 or more")
    if warning is not None and critical is not None and warning > critical:
        raise UsageError(
            f"--warning {warning:g} is more than --critical {critical:g}: it could never come up"
        )


def _interval(every: str) -> float:
    try:
        return parse_duration(every)
    except ValueError as error:
        raise UsageError(f"--every {every}: {error}") from None
