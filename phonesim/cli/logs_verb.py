"""`phonesim logs`: the device logs that runs left behind."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Annotated

import typer
from rich.table import Table

from phonesim.cli.run_options import DEFAULT_OUT
from phonesim.cli.terminal import show, show_bytes, show_json
from phonesim.fleet.run_logs import (
    Run,
    find_phone,
    find_run,
    follow_log,
    last_lines,
    list_phones,
    list_runs,
    read_log,
)
from phonesim.fleet.store import read_outcomes

app = typer.Typer(
    help="Read the device logs of earlier runs.", no_args_is_help=True, rich_markup_mode=None
)

RunOption = Annotated[
    str | None, typer.Option("--run", metavar="RUN", help="The run's name or path; the latest.")
]
PhoneArgument = Annotated[
    str | None, typer.Argument(metavar="PHONE", help="The phone's MAC, or the end of it.")
]
OutOption = Annotated[Path, typer.Option("--out", metavar="DIR", help="Where the runs are.")]
JsonOption = Annotated[bool, typer.Option("--json", help="Print one JSON document.")]


@app.command("ls")
def ls(
    run: Annotated[
        str | None, typer.Argument(metavar="RUN", help="List this run's phones instead.")
    ] = None,
    out: OutOption = DEFAULT_OUT,
    as_json: JsonOption = False,
) -> int:
    """List runs, or the phones of one run."""
    if run is None:
        runs = list_runs(out)
        if as_json:
            show_json([_run_row(run) for run in runs])
        else:
            show(_table([_run_row(run) for run in runs]) if runs else f"{out}: no runs yet")
        return 0
    found = find_run(out, run)
    outcomes = read_outcomes(found.path)
    rows: list[dict[str, object]] = [
        {
            "phone": log.phone_id,
            "outcome": outcomes.get(log.phone_id),
            "size": log.size,
            "log": str(log.path),
        }
        for log in list_phones(found)
    ]
    if as_json:
        show_json(rows)
    else:
        show(_table(rows) if rows else f"{run}: no phone has written a log")
    return 0


@app.command("cat")
def cat(phone: PhoneArgument = None, run: RunOption = None, out: OutOption = DEFAULT_OUT) -> int:
    """Print a phone's whole log, as it is on its disk."""
    _copy(read_log(find_phone(find_run(out, run), phone)))
    return 0


@app.command("tail")
def tail(
    phone: PhoneArgument = None,
    run: RunOption = None,
    out: OutOption = DEFAULT_OUT,
    lines: Annotated[int, typer.Option("--lines", "-n", min=0, help="How many lines.")] = 10,
    follow: Annotated[
        bool, typer.Option("--follow", "-f", help="Go on as the log grows, until Ctrl-C.")
    ] = False,
) -> int:
    """Print the end of a phone's log."""
    log = find_phone(find_run(out, run), phone)
    shown, position = last_lines(log, lines)
    show_bytes(shown)
    if follow:
        _until_interrupted(lambda: _copy(follow_log(log, position)))
    return 0


def _copy(blocks: Iterable[bytes]) -> None:
    for block in blocks:
        show_bytes(block)


def _until_interrupted(work: Callable[[], None]) -> None:
    try:
        work()
    except KeyboardInterrupt:
        return


def _run_row(run: Run) -> dict[str, object]:
    summary = run.summary or {}
    keys = ("fleet", "site", "attach", "phones", "signed_in", "completed", "failed", "valid")
    return {"run": run.name, **{key: summary.get(key) for key in keys}}


def _table(rows: list[dict[str, object]]) -> Table:
    table = Table(box=None, pad_edge=False, padding=(0, 3, 0, 0), header_style="bold")
    for key, value in rows[0].items():
        is_number = isinstance(value, int) and not isinstance(value, bool)
        table.add_column(key.replace("_", " "), justify="right" if is_number else "left")
    for row in rows:
        table.add_row(*(_cell(value) for value in row.values()))
    return table


def _cell(value: object) -> str:
    if value is None:
        return "-"
    if isinstance(value, bool):
        return "yes" if value else "no"
    return str(value)
