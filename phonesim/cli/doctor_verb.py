"""`phonesim doctor`: what this machine permits and what is missing for each world."""

from __future__ import annotations

from typing import Annotated

import typer
from rich.table import Table

from phonesim.cli.terminal import show, show_json, tell
from phonesim.fleet.doctor import clean, examine, is_healthy, works

SOMETHING_MISSING = 3


def command(
    clean_up: Annotated[
        bool,
        typer.Option("--clean", help="First remove what killed runs left on the network."),
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON document.")] = False,
) -> int:
    """Say which worlds this machine permits, and what is missing.

    The exit status is 0 if the virtual and the loopback world work.
    """
    if clean_up:
        tell(f"Removed: {clean() or 'nothing, for nothing was left'}")
    checks = examine()
    status = 0 if is_healthy(checks) else SOMETHING_MISSING
    worlds = list(dict.fromkeys(check.world for check in checks))
    if as_json:
        show_json(
            {
                "worlds": {world: works(checks, world) for world in worlds},
                "checks": [
                    {
                        "world": check.world,
                        "name": check.name,
                        "ok": check.is_ok,
                        "finding": check.finding,
                        "remedy": None if check.is_ok else check.remedy,
                    }
                    for check in checks
                ],
            }
        )
        return status
    table = Table(box=None, pad_edge=False, padding=(0, 3, 0, 0), header_style="bold")
    for heading in ("world", "check", "", "finding"):
        table.add_column(heading, overflow="fold")
    for check in checks:
        verdict = "ok" if check.is_ok else "missing" if check.is_needed else "note"
        table.add_row(check.world, check.name, verdict, check.finding)
    remedies = dict.fromkeys(
        f"{check.world}: {check.remedy}" for check in checks if not check.is_ok
    )
    verdicts = ", ".join(
        f"{world} {'works' if works(checks, world) else 'does not work'}" for world in worlds
    )
    show(table, "", *remedies, f"Here {verdicts}.")
    return status
