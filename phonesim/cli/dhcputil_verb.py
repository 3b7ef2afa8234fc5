"""`phonesim dhcputil`: options 43 and 120 written, read, asked for and configured."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Annotated

import typer

from phonesim.cli.consent import ask_before_sending
from phonesim.cli.dhcputil_output import (
    client_document,
    inspection_document,
    show_client,
    show_inspection,
    values_document,
)
from phonesim.cli.run_options import YesOption
from phonesim.cli.terminal import show, show_json, show_text, tell
from phonesim.errors import DecodeError, UsageError
from phonesim.field.dhcputil.client_findings import findings_of
from phonesim.field.dhcputil.emulated_client import EmulatedClient
from phonesim.field.dhcputil.inspection import OPTION_43, OPTION_120, inspect
from phonesim.field.dhcputil.named_input import read_input
from phonesim.field.dhcputil.printed_form import DIALECTS, print_like_dhcputil
from phonesim.field.dhcputil.servers import SERVERS, server_named
from phonesim.field.dhcputil.sign_in_values import (
    read_sign_in_values,
)
from phonesim.profiles import DEVICE, load, parse_override
from phonesim.wire.dhcp import BROADCAST, parse_mac
from phonesim.wire.ipv4 import is_address
from phonesim.wire.provisioning import UC_IDENTIFIER, VLAN_FORMS

app = typer.Typer(
    help="Encode, decode, ask for and configure options 43 and 120.",
    no_args_is_help=True,
    rich_markup_mode=None,
)

NOT_USABLE = 3
DEFAULT_DEVICE = "polycom-cx600"
_MAC = bytes.fromhex("020000000001")

SipServers = Annotated[
    list[str] | None,
    typer.Option(
        "--sip-server", metavar="FQDN", help="The Registrar or pool; twice for a second one."
    ),
]
WebServer = Annotated[
    str | None,
    typer.Option(
        "--web-server", metavar="FQDN", help="The web services, if not the first --sip-server."
    ),
]
CertProvUrl = Annotated[
    str | None,
    typer.Option("--cert-prov-url", metavar="URL", help="Instead of --web-server and --port."),
]
Port = Annotated[
    int | None,
    typer.Option("--port", metavar="N", min=1, max=65535, help="Of the web services; 443."),
]
Vlan = Annotated[
    int | None, typer.Option("--vlan", metavar="ID", help="The voice VLAN, for CPE-OCPHONE.")
]
VlanFormOption = Annotated[
    str, typer.Option("--vlan-form", metavar="|".join(VLAN_FORMS), help="How it is encoded.")
]
AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON document.")]
Device = Annotated[
    str, typer.Option("--device", metavar="NAME|PATH", help="The device profile that judges.")
]


@app.command("encode")
def encode(
    sip_server: SipServers = None,
    web_server: WebServer = None,
    cert_prov_url: CertProvUrl = None,
    port: Port = None,
    vlan: Vlan = None,
    vlan_form: VlanFormOption = "ascii",
    dialect: Annotated[
        str, typer.Option("--dialect", metavar="|".join(DIALECTS), help="Whose DHCPUtil.")
    ] = "2015",
    as_json: AsJson = False,
) -> int:
    """Print options 120 and 43 as DHCPUtil.exe prints them."""
    values = read_sign_in_values(
        sip_server or (),
        web_server=web_server,
        cert_prov_url=cert_prov_url,
        port=port,
        vlan_id=vlan,
        vlan_form=vlan_form,
    )
    if dialect not in DIALECTS:
        raise UsageError(f"--dialect: {dialect!r} is none of {', '.join(DIALECTS)}")
    if as_json:
        show_json(values_document(values))
    else:
        show_text(print_like_dhcputil(values, dialect))
    return 0


@app.command("decode")
def decode(
    what: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="HEX|LINE|FILE|CAPTURE|-",
            help="Octets, a server's configuration (a line, a file, - for stdin), DHCPUtil's"
            " output, or a capture.",
        ),
    ] = None,
    option: Annotated[
        int | None, typer.Option("--option", metavar="43|120", help="What bare octets are.")
    ] = None,
    device: Device = DEFAULT_DEVICE,
    as_json: AsJson = False,
) -> int:
    """Say what options 43 and 120 hold, what is wrong with them, and what a phone takes.

    The exit status is 0 if a phone would accept all of it, 3 if not or if that is not known, 2 if
    it cannot be read.
    """
    if option not in (None, OPTION_43, OPTION_120):
        raise UsageError(f"--option: {option} is neither {OPTION_43} nor {OPTION_120}")
    profile = load(DEVICE, device)
    given = read_input(what or [], option)
    inspections = [inspect(each, profile) for each in given.options]
    is_usable = all(each.is_usable for each in inspections)
    if as_json:
        show_json(
            {
                "source": given.where,
                "usable": is_usable,
                "options": [inspection_document(each) for each in inspections],
                "notes": given.notes,
            }
        )
    else:
        for each in inspections:
            show_inspection(each, given.where)
        if given.notes:
            tell(*(f"{given.where}: {note}" for note in given.notes))
        if is_usable:
            show("A phone accepts this.")
        elif all(each.is_usable or each.is_doubtful for each in inspections):
            show("The emulated phone accepts this; whether a real one does is not known.")
        else:
            show("A phone does not accept this.")
    return 0 if is_usable else NOT_USABLE


@app.command("emulate-client")
def emulate_client(
    interface: Annotated[
        str | None,
        typer.Option("--interface", "-i", metavar="IF", help="Ask everybody on this network."),
    ] = None,
    server: Annotated[
        str | None, typer.Option("--server", metavar="ADDR", help="Ask this server alone.")
    ] = None,
    source: Annotated[
        str | None,
        typer.Option("--from", metavar="ADDR", help="The client's address, of the server's scope."),
    ] = None,
    mac: Annotated[
        str | None, typer.Option("--mac", metavar="MAC", help="The client's; the interface's own.")
    ] = None,
    vendor_class: Annotated[
        str, typer.Option("--class", metavar="CLASS", help="MS-UC-Client, CPE-OCPHONE or another.")
    ] = UC_IDENTIFIER,
    wait: Annotated[
        float,
        typer.Option("--wait", metavar="S", min=0, max=60, help="Listen on after each INFORM."),
    ] = 4.0,
    port_offset: Annotated[
        int,
        typer.Option(
            "--port-offset", metavar="N", min=0, max=60000, help="Loopback: added to both ports."
        ),
    ] = 0,
    device: Device = DEFAULT_DEVICE,
    set_: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="KEY=VALUE", help="Change a value, device.x (repeatable)."),
    ] = None,
    yes: YesOption = False,
    as_json: AsJson = False,
) -> int:
    """Send a DHCPINFORM as a phone does, and say what a phone makes of every answer.

    The exit status is 0 if a phone gets all that it asked for, 3 if not.
    """
    from phonesim.drivers.inform_link import (
        ask_on_interface,
        ask_server,
        look_up_link,
        source_towards,
    )

    if (interface is None) == (server is None):
        raise UsageError("name where to ask: either --interface or --server")
    for option, value in (("--server", server), ("--from", source)):
        if value is not None and not is_address(value):
            raise UsageError(f"{option}: {value!r} is no IPv4 address")
    if interface is not None and port_offset:
        raise UsageError("--port-offset: frames go to the standard ports")
    if not (vendor_class and vendor_class.isascii() and vendor_class.isprintable()):
        raise UsageError(f"--class: {vendor_class!r} is not printable ASCII")
    try:
        own_mac = None if mac is None else parse_mac(mac)
    except DecodeError as error:
        raise UsageError(f"--mac: {error}") from None
    profile = load(DEVICE, device, [parse_override(each) for each in set_ or ()])
    if interface is not None:
        end = look_up_link(interface)
        address = source or next(iter(end.addresses), None)
        if address is None or address not in end.addresses:
            has = ", ".join(end.addresses) or "none"
            raise UsageError(
                f"interface {interface}: answers come to an address of it, and it has {has};"
                " add one, or name one with --from"
            )
        client = EmulatedClient(profile, own_mac or end.mac, address, vendor_class, wait)
        ask_before_sending(
            _impact(client, address, BROADCAST, f"interface {interface}"), is_agreed=yes
        )
        is_cut = _is_interrupted(partial(ask_on_interface, client, end, address))
    else:
        assert server is not None
        is_loopback = server.startswith("127.")
        address = source or (_neighbour_of(server) if is_loopback else source_towards(server))
        if is_loopback and source is None:
            tell(
                f"Asking from {address}; --from names another address, which the server must know."
            )
        client = EmulatedClient(profile, own_mac or _MAC, address, vendor_class, wait)
        if not is_loopback:
            ask_before_sending(
                _impact(client, address, server, "the way to that server"), is_agreed=yes
            )
        is_cut = _is_interrupted(partial(ask_server, client, address, server, port_offset))
    findings = [] if is_cut and not client.answers else findings_of(client)
    if as_json:
        show_json(client_document(client, findings))
    else:
        show_client(client, findings)
    if is_cut:
        raise KeyboardInterrupt
    return 0 if client.is_usable else NOT_USABLE


@app.command("config")
def config(
    server: Annotated[
        str, typer.Argument(metavar="SERVER", help=", ".join(each.name for each in SERVERS))
    ],
    sip_server: SipServers = None,
    web_server: WebServer = None,
    cert_prov_url: CertProvUrl = None,
    port: Port = None,
    vlan: Vlan = None,
    vlan_form: VlanFormOption = "ascii",
    cleanup: Annotated[
        bool, typer.Option("--cleanup", help="Print what takes the options out again.")
    ] = False,
) -> int:
    """Print the configuration of a DHCP server that tells phones where to sign in."""
    chosen = server_named(server)
    values = read_sign_in_values(
        sip_server or (),
        web_server=web_server,
        cert_prov_url=cert_prov_url,
        port=port,
        vlan_id=vlan,
        vlan_form=vlan_form,
    )
    show_text(chosen.remove(values) if cleanup else chosen.write(values))
    return 0


def _neighbour_of(server: str) -> str:
    """An address of the same /16, which is a scope at mock sites; phones get those before it."""
    first, second, _, _ = server.split(".")
    return f"{first}.{second}.255.254"


def _is_interrupted(work: Callable[[], None]) -> bool:
    """Whether Ctrl-C ended it: what came until then is shown all the same."""
    try:
        work()
    except KeyboardInterrupt:
        return True
    return False


def _impact(client: EmulatedClient, address: str, destination: str, way: str) -> list[str]:
    return [
        f"This will send DHCPINFORM on {way}:",
        f"  from      {address}, {client.phone_id}, class {client.vendor_class}",
        f"  to        {destination}, port 67",
        f"  packets   1, and up to {client.most_sent - 1} more while nobody answers",
        "  leases    none: INFORM takes no address",
    ]
