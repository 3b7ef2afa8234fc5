"""`phonesim profiles`: what can be configured, and what is wrong with it."""

from __future__ import annotations

from collections.abc import Sized
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.table import Table

from phonesim.cli.terminal import show, show_json, show_text
from phonesim.errors import ProfileError
from phonesim.field.failures import ALL_KINDS as KINDS
from phonesim.profiles import (
    Kind,
    is_path,
    likely_kinds,
    load,
    names,
    problems,
    schema,
    to_yaml,
)

app = typer.Typer(
    help="Look at device, site, fault, fleet and failure profiles.",
    no_args_is_help=True,
    rich_markup_mode=None,
)

KindOption = Annotated[
    str | None,
    typer.Option("--kind", metavar="device|site|fault|fleet|failure", help="Which kind it is."),
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print one JSON document.")]


@app.command("ls")
def ls(
    kind: Annotated[
        str | None,
        typer.Argument(metavar="KIND", help="Only device, site, fault, fleet or failure."),
    ] = None,
    as_json: JsonOption = False,
) -> int:
    """List the profiles that come with the program."""
    kinds = KINDS if kind is None else (_kind(kind),)
    rows = [
        {"kind": each.name, "name": name, "description": load(each, name).description}
        for each in kinds
        for name in names(each)
    ]
    if as_json:
        show_json(rows)
        return 0
    table = Table(box=None, pad_edge=False, padding=(0, 3, 0, 0), header_style="bold")
    table.add_column("kind")
    table.add_column("name", no_wrap=True)
    table.add_column("description")
    for row in rows:
        table.add_row(row["kind"], row["name"], row["description"])
    show(table)
    return 0


@app.command("show")
def show_profile(
    profile: Annotated[str, typer.Argument(metavar="PROFILE", help="Its name, or a path.")],
    kind: KindOption = None,
    as_json: JsonOption = False,
) -> int:
    """Print a profile with what it extends and every default filled in."""
    found, name = _find(profile, kind)
    model = load(found, name)
    if as_json:
        show_json(model.model_dump(mode="json"))
    else:
        show_text(to_yaml(model))
    return 0


@app.command("validate")
def validate(
    profiles: Annotated[
        list[str] | None, typer.Argument(metavar="[PROFILE]...", help="Names or paths; all.")
    ] = None,
    kind: KindOption = None,
) -> int:
    """Say everything that is wrong with profiles, one line each."""
    chosen = (
        [_find(profile, kind) for profile in profiles]
        if profiles
        else [(each, name) for each in KINDS for name in names(each)]
    )
    found = [line for each, name in chosen for line in problems(each, name)]
    for line in found:
        show_text(line)
    if found:
        raise ProfileError(f"{_count(found, 'problem')} in {_count(chosen, 'profile')}")
    show_text(f"{_count(chosen, 'profile')}, no problems")
    return 0


@app.command("schema")
def print_schema(
    kind: Annotated[
        str, typer.Argument(metavar="KIND", help="device, site, fault, fleet or failure.")
    ],
) -> int:
    """Print the JSON Schema of a kind of profile, with every default's source."""
    show_json(schema(_kind(kind)))
    return 0


def _count(things: Sized, noun: str) -> str:
    return f"{len(things)} {noun}{'' if len(things) == 1 else 's'}"


def _kind(name: str) -> Kind[Any]:
    for kind in KINDS:
        if name in (kind.name, kind.folder):
            return kind
    raise ProfileError(f"no kind of profile is called {name!r}: {', '.join(k.name for k in KINDS)}")


def _find(profile: str, kind: str | None) -> tuple[Kind[Any], str]:
    """Return a profile's kind and name: the kind asked for, or the only one that fits.

    A file's kind is told by its folder's name, or else by its keys.
    """
    if kind is not None:
        return _kind(kind), profile
    if is_path(profile):
        parent = Path(profile).resolve().parent.name
        for each in KINDS:
            if parent == each.folder:
                return each, profile
        fitting = likely_kinds(profile, KINDS)
        if len(fitting) == 1:
            return fitting[0], profile
        raise ProfileError(f"{profile}: say which kind of profile it is, with --kind")
    fitting = [each for each in KINDS if profile in names(each)]
    if len(fitting) == 1:
        return fitting[0], profile
    if fitting:
        kinds = ", ".join(each.name for each in fitting)
        raise ProfileError(f"{profile!r} is the name of several profiles: give --kind ({kinds})")
    raise ProfileError(f"no profile is named {profile!r}; see: phonesim profiles ls")
