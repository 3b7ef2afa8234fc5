"""Options that several verbs have: the same words, letters and help in each."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

DEFAULT_OUT = Path("logs")
"""Where runs' folders are made."""

SeedOption = Annotated[
    int | None, typer.Option("--seed", "-s", metavar="S", help="Seed of the run's randomness.")
]
FaultOption = Annotated[
    list[str] | None,
    typer.Option("--fault", metavar="NAME", help="A fault at the mock site (repeatable)."),
]
SetOption = Annotated[
    list[str] | None,
    typer.Option(
        "--set",
        metavar="KEY=VALUE",
        help="Change a value of a profile: fleet.x, site.x or device.x (repeatable).",
    ),
]
YesOption = Annotated[
    bool, typer.Option("--yes", help="Do not ask before packets reach a real network.")
]
