"""`phonesim run`: boot a fleet, watch it, sum it up."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from phonesim.cli.consent import ask_consent
from phonesim.cli.run_options import DEFAULT_OUT, FaultOption, SeedOption, SetOption, YesOption
from phonesim.cli.run_summary import summary_tables
from phonesim.cli.terminal import StatusLine, show, show_json
from phonesim.errors import UsageError
from phonesim.fleet.monkey import with_monkey
from phonesim.fleet.plan import Plan, read_plan
from phonesim.fleet.runner import Finished, Progress, run_fleet
from phonesim.fleet.worlds import world_for
from phonesim.profiles import Override, option_override, parse_override

if TYPE_CHECKING:
    from phonesim.cli.lost_report import LostReport

_NAMES = {"phones_from": "--resume"}
MOST_IN_TRANSCRIPT = 10
_PACE = ("rate", "shape")
"""What of a fleet says when its phones start."""


def command(
    fleet: Annotated[
        str, typer.Argument(metavar="FLEET", help="A fleet profile: its name, or a path.")
    ] = "demo",
    phones: Annotated[
        int | None, typer.Option("--phones", "-n", metavar="N", help="How many phones.")
    ] = None,
    seed: SeedOption = None,
    site: Annotated[
        str | None,
        typer.Option(
            "--site", metavar="NAME|PATH|none", help="Mock site, or none for servers already there."
        ),
    ] = None,
    attach: Annotated[
        str | None,
        typer.Option(
            "--attach", metavar="loopback|wire|virtual|relay", help="Which world to run in."
        ),
    ] = None,
    interface: Annotated[
        str | None,
        typer.Option("--interface", "-i", metavar="IF", help="Interface for wire and relay."),
    ] = None,
    own_mac: Annotated[
        str | None,
        typer.Option(
            "--own-mac",
            metavar="full|dhcp-only",
            help="Wire: own MACs in every frame, or in DHCP only.",
        ),
    ] = None,
    rate: Annotated[
        float | None, typer.Option("--rate", "-r", metavar="R", help="Phones started a second.")
    ] = None,
    fault: FaultOption = None,
    until: Annotated[
        str | None,
        typer.Option("--until", metavar="signed-in|DURATION", help="When to end, such as 10m."),
    ] = None,
    monkey: Annotated[
        int | None,
        typer.Option(
            "--monkey",
            metavar="SEED",
            min=0,
            help="Random faults at the mock site until --until; then every phone must come back."
            " Phones start over its first half, unless --rate or --set fleet.shape says when.",
        ),
    ] = None,
    grace: Annotated[
        float | None,
        typer.Option(
            "--grace",
            metavar="SECONDS",
            min=0,
            help="How long after --monkey phones may take; what they need at most.",
        ),
    ] = None,
    boots: Annotated[
        int | None, typer.Option("--boots", metavar="N", help="Times each phone boots.")
    ] = None,
    resume: Annotated[
        str | None,
        typer.Option("--resume", metavar="RUN", help="Boot the phones of an earlier run again."),
    ] = None,
    keep_leases: Annotated[
        bool, typer.Option("--keep-leases", help="Cut the power at the end: nothing is released.")
    ] = False,
    port_offset: Annotated[
        int | None,
        typer.Option("--port-offset", metavar="N", help="Loopback: added to standard ports."),
    ] = None,
    set_: SetOption = None,
    out: Annotated[
        Path, typer.Option("--out", metavar="DIR", help="Where the run's folder is made.")
    ] = DEFAULT_OUT,
    pcap: Annotated[
        Path | None,
        typer.Option("--pcap", metavar="FILE", help="Capture the run to a new pcapng file."),
    ] = None,
    transcript: Annotated[
        Path | None,
        typer.Option(
            "--transcript", metavar="FILE", help="Write a few phones' messages in words to a file."
        ),
    ] = None,
    yes: YesOption = False,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print the summary as one JSON document.")
    ] = False,
) -> int:
    """Boot a fleet of phones and say what became of them."""
    options = {
        "phones": phones,
        "seed": seed,
        "site": site,
        "attach": attach,
        "interface": interface,
        "own_mac": own_mac,
        "rate": rate,
        "until": until,
        "boots": boots,
        "phones_from": resume,
        "keep_leases": keep_leases or None,
        "port_offset": port_offset,
    }
    overrides: list[Override] = [
        *map(parse_override, set_ or ()),
        *(
            option_override(_NAMES.get(key, f"--{key.replace('_', '-')}"), "fleet", key, value)
            for key, value in options.items()
            if value is not None
        ),
        # Who names a rate wants that rate, and not the fleet's shape.
        *(() if rate is None else [option_override("--rate", "fleet", "shape", None)]),
    ]
    plan = read_plan(fleet, overrides, fault or ())
    if monkey is not None:
        says_when = any(each.root == "fleet" and each.path[0] in _PACE for each in overrides)
        plan = with_monkey(plan, monkey, grace, keeps_starts=says_when)
    elif grace is not None:
        raise UsageError("--grace: it is for --monkey")
    if transcript is not None and len(plan.specs) > MOST_IN_TRANSCRIPT:
        raise UsageError(
            f"--transcript: nobody reads what {len(plan.specs)} phones say: run "
            f"{MOST_IN_TRANSCRIPT} at most (--phones), or capture them all (--pcap)"
        )
    ask_consent(plan, "", is_agreed=yes)
    success = "signed-in" if plan.fleet.stages is None else "done"
    with StatusLine() as line:
        finished = run_fleet(
            plan,
            world_for(plan.fleet.attach, pcap, transcript),
            out,
            lambda progress: line.update(progress_text(progress, success)),
        )
    lost = None if plan.monkey is None else _lost(plan, finished, plan.monkey.grace)
    if as_json:
        show_json(finished.summary | ({} if lost is None else {"lost": lost.document}))
    else:
        show(*summary_tables(finished))
        if pcap is not None:
            show(f"Capture: {pcap}")
        if transcript is not None:
            show(f"Transcript: {transcript}")
        if lost is not None:
            show("", "What kept the phones that are not back:", *lost.lines)
    return finished.status


def _lost(plan: Plan, finished: Finished, grace: float) -> LostReport | None:
    from phonesim.cli.lost_report import report_lost  # most runs have no need of the field tools

    return report_lost(plan, finished, grace)


def progress_text(progress: Progress, success: str = "signed-in") -> str:
    """Return one line: when it is, and how many phones are where; `success` is a position."""
    where = dict(progress.positions)
    ended = f"{where.pop(success, 0)} of {progress.phones} {success.replace('-', ' ')}"
    ended += f", {where.pop('failed', 0)} failed"
    return "  ".join([f"{progress.now:7.1f} s", ended, *(f"{k} {v}" for k, v in where.items())])
