"""`phonesim site`: serve a mock site until Ctrl-C."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import msgspec
import typer
from rich.table import Table

from phonesim.cli.terminal import show, show_json, tell
from phonesim.cli.wrapping import printable
from phonesim.config.site_profile import SiteProfile
from phonesim.profiles import FAULT, SITE, is_path, load, parse_override
from phonesim.results import Fields


def command(
    site: Annotated[
        str, typer.Argument(metavar="SITE", help="A site profile: its name, or a path.")
    ] = "contoso",
    fault: Annotated[
        list[str] | None,
        typer.Option("--fault", metavar="NAME", help="What goes wrong (repeatable)."),
    ] = None,
    set_: Annotated[
        list[str] | None,
        typer.Option(
            "--set", metavar="KEY=VALUE", help="Change a value of the site, site.x (repeatable)."
        ),
    ] = None,
    port_offset: Annotated[
        int | None,
        typer.Option(
            "--port-offset",
            metavar="N",
            min=0,
            max=60000,
            help="Added to every standard port; the first that is free.",
        ),
    ] = None,
    authority: Annotated[
        Path | None,
        typer.Option(
            "--authority",
            metavar="FILE",
            help="Keep the site's certificate authority in FILE, and take it from there the next"
            " time.",
        ),
    ] = None,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print where it listens as one JSON document.")
    ] = False,
) -> int:
    """Serve a mock site until Ctrl-C.

    Its addresses are those of its profile; this host must have them.
    """
    from phonesim.fleet.site_server import ServedSite, serve_site

    profile = load(SITE, site, map(parse_override, set_ or ()))
    faults = [load(FAULT, name) for name in fault or ()]

    def ready(served: ServedSite) -> None:
        is_loopback = all(port.address.startswith("127.") for port in served.ports)
        where = (
            f"--port-offset {served.port_offset}"
            if is_loopback
            else "--attach wire --interface INTERFACE"
        )
        command = (
            f"phonesim run --site none {where}"
            f" --set fleet.users_from={site if is_path(site) else profile.name}"
        )
        ask = _ask_command(profile, served.port_offset if is_loopback else None)
        if as_json:
            document: dict[str, Any] = msgspec.to_builtins(served)
            show_json({**document, "run": command, "ask": ask})
            return
        table = Table(box=None, pad_edge=False, padding=(0, 3, 0, 0), header_style="bold")
        for heading in ("server", "protocol", "address", "port", "for"):
            table.add_column(heading)
        for port in served.ports:
            where = "closed" if port.port is None else str(port.port)
            table.add_row(port.server, port.protocol, port.address, where, str(port.standard_port))
        show(table, "", f"Boot phones at it: {command}")
        if ask is not None:
            show(f"Ask its DHCP server: {ask}")
        show("Ctrl-C ends it.")

    serve_site(profile, faults, port_offset, ready, _tell_operator, authority)
    return 0


def _ask_command(profile: SiteProfile, port_offset: int | None) -> str | None:
    """What asks a DHCP server that tells where to sign in, from an address that it knows: the last,
    as phones get the first ones. `port_offset` is None for a site that is not on loopback.
    """
    if not profile.dhcp_servers:
        return None
    if port_offset is None:
        return "phonesim dhcputil emulate-client --interface INTERFACE"
    servers = profile.dhcp_servers
    server = next((each for each in servers if each.sign_in.registrars), servers[0])
    scope = server.scope or next(iter(server.relayed_scopes), None)
    source = "" if scope is None else f" --from {scope.last}"
    return (
        f"phonesim dhcputil emulate-client --server {server.address}"
        f" --port-offset {port_offset}{source}"
    )


def _tell_operator(now: float, is_warning: bool, text: str, fields: Fields) -> None:
    values = " ".join(f"{key}={printable(str(value))}" for key, value in fields.items())
    tell(f"{now:9.3f} {'warning' if is_warning else 'info':7} {text} {values}")
