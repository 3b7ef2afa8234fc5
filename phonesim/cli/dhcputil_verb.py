"""`phonesim dhcputil`: options 43 and 120 written, read, asked for and configured."""

from __future__ import annotations

import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.table import Table

from phonesim.cli.consent import ask_before_sending
from phonesim.cli.terminal import show, show_json, show_text, tell
from phonesim.errors import DecodeError, UsageError
from phonesim.field.capture_reader import is_capture
from phonesim.field.dhcputil.captured_options import CapturedOptions
from phonesim.field.dhcputil.client_findings import findings_of, missed
from phonesim.field.dhcputil.configured_option import ConfiguredOption
from phonesim.field.dhcputil.emulated_client import Answer, EmulatedClient
from phonesim.field.dhcputil.inspection import OPTION_43, OPTION_120, Inspection, inspect
from phonesim.field.dhcputil.printed_form import DIALECTS, print_like_dhcputil
from phonesim.field.dhcputil.servers import SERVERS, read_options, server_named
from phonesim.field.dhcputil.sign_in_values import (
    VLAN_CLASS,
    SignInValues,
    read_sign_in_values,
)
from phonesim.field.finding import Finding
from phonesim.field.sightings import Place
from phonesim.profiles import DEVICE, load, parse_override
from phonesim.wire.dhcp import BROADCAST, parse_mac
from phonesim.wire.ipv4 import is_address
from phonesim.wire.provisioning import UC_IDENTIFIER, VLAN_FORMS

app = typer.Typer(
    help="Options 43 and 120: encode, decode, ask for them, configure them (DHCPUtil's part).",
    no_args_is_help=True,
    rich_markup_mode=None,
)

NOT_USABLE = 3
DEFAULT_DEVICE = "polycom-cx600"
_LARGEST_FILE = 16 << 20
_LONGEST_PATH = 1024
_SHOWN = 60
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
        show_json(_values_document(values))
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

    The exit status is 0 if a phone would accept all of it, 3 if not, 2 if it cannot be read.
    """
    if option not in (None, OPTION_43, OPTION_120):
        raise UsageError(f"--option: {option} is neither {OPTION_43} nor {OPTION_120}")
    profile = load(DEVICE, device)
    where, found, notes = _options_of(what or [], option)
    inspections = [inspect(each, profile) for each in found]
    is_usable = all(each.is_usable for each in inspections)
    if as_json:
        show_json(
            {
                "source": where,
                "usable": is_usable,
                "options": [_inspection_document(each) for each in inspections],
                "notes": notes,
            }
        )
    else:
        for each in inspections:
            _show_inspection(each, where)
        if notes:
            tell(*(f"{where}: {note}" for note in notes))
        verdict = "A phone accepts this." if is_usable else "A phone does not accept this."
        show(verdict)
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
        typer.Option("--from", metavar="ADDR", help="The client's address; the host's own."),
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
    yes: Annotated[
        bool, typer.Option("--yes", help="Do not ask before packets reach a real network.")
    ] = False,
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
        address = source or source_towards(server)
        client = EmulatedClient(profile, own_mac or _MAC, address, vendor_class, wait)
        if not server.startswith("127."):
            ask_before_sending(
                _impact(client, address, server, "the way to that server"), is_agreed=yes
            )
        is_cut = _is_interrupted(partial(ask_server, client, address, server, port_offset))
    findings = [] if is_cut and not client.answers else findings_of(client)
    if as_json:
        show_json(_client_document(client, findings))
    else:
        _show_client(client, findings)
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


def _options_of(what: list[str], code: int | None) -> tuple[str, list[ConfiguredOption], list[str]]:
    """Where options are from, the options, and notes on what was not read."""
    path = _file_of(what)
    if path is not None and is_capture(path):
        captured = CapturedOptions(path)
        if not captured.options:
            raise UsageError(f"{path}: {'; '.join(captured.notes)}")
        return str(path), captured.options, captured.notes
    text, where = _text_of(what, path)
    try:
        return where, read_options(text, code), []
    except DecodeError as error:
        if path is None and len(what) == 1 and what != ["-"]:
            where = f"{what[0][:_SHOWN]!r}: no file, and"
            raise UsageError(f"{where} {error}") from None
        raise UsageError(f"{where}: {error}") from None


def _file_of(what: list[str]) -> Path | None:
    """The file that the only argument names, if there is one."""
    if len(what) != 1 or len(what[0]) > _LONGEST_PATH:
        return None
    try:
        return Path(what[0]) if Path(what[0]).is_file() else None
    except (OSError, ValueError):  # too long for a name, or a NUL in it
        return None


def _text_of(what: list[str], path: Path | None) -> tuple[str, str]:
    """What is to be decoded, and where it is from."""
    if not what:
        raise UsageError("name octets, a configuration line, a file, or - for stdin")
    if what == ["-"]:
        return _decoded(sys.stdin.buffer.read(_LARGEST_FILE + 1), "stdin"), "stdin"
    if path is None:
        return " ".join(what), "command line"
    try:
        with path.open("rb") as file:
            return _decoded(file.read(_LARGEST_FILE + 1), str(path)), str(path)
    except OSError as error:
        raise UsageError(f"{path}: cannot be read: {error.strerror}") from None


def _decoded(octets: bytes, where: str) -> str:
    if len(octets) > _LARGEST_FILE:
        raise UsageError(f"{where}: more than {_LARGEST_FILE >> 20} MiB is no DHCP configuration")
    encoding = "utf-16" if octets[:2] in (b"\xff\xfe", b"\xfe\xff") else "utf-8-sig"
    return octets.decode(encoding, "replace")


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


# --- for people --------------------------------------------------------------


def _show_inspection(inspection: Inspection, where: str) -> None:
    option = inspection.option
    size = len(option.octets)
    octets = "1 octet" if size == 1 else f"{size} octets"
    head = f"Option {option.code}, {octets} ({2 * size} hexadecimal digits)"
    if option.vendor_class is not None:
        head += f', class "{option.vendor_class}"'
    if option.line and where:
        head += f", {Place(where, option.line, is_frame=bool(option.origin))}"
    if option.origin:
        head += f", {option.origin}"
    if option.times > 1:
        head += f", {option.times} times"
    show(head, *_parts(inspection), *_complaints(inspection), "")


def _parts(inspection: Inspection) -> list[Table]:
    if not inspection.parts:
        return []
    table = Table(box=None, pad_edge=False, padding=(0, 3, 0, 0), header_style="bold")
    table.add_column("offset", justify="right")
    table.add_column("what")
    table.add_column("octets", justify="right")
    table.add_column("value", overflow="fold")
    for part in inspection.parts:
        table.add_row(str(part.offset), part.name, str(len(part.octets)), part.text)
    return [table]


def _complaints(inspection: Inspection) -> list[str]:
    return [
        *(f"! {warning}" for warning in inspection.warnings),
        *(f"Cause: {cause.name}: {cause.title}" for cause in inspection.causes),
        f"A phone takes from it: {inspection.taken}",
    ]


def _show_client(client: EmulatedClient, findings: list[Finding]) -> None:
    for answer in client.answers:
        kind = answer.message.message_type.name
        show(
            f"Answer {answer.number}: {kind} of {answer.server} after"
            f" {answer.latency * 1000:.1f} ms: {'used' if answer.is_used else 'not used'}"
            f" ({answer.why})"
        )
        for code in (OPTION_43, OPTION_120):
            option = answer.option(code)
            if option is not None:
                _show_inspection(option, "")
            elif kind == "ACK" and not (client.asks_for_vlan and code == OPTION_120):
                show(f"Option {code} is missing", "")
    for malformed in client.malformed:
        show(f"Not a DHCP message, from {malformed.server}: {malformed.reason}")
    if not client.answers:
        times = "once" if len(client.sent) == 1 else f"{len(client.sent)} times"
        show(f"No answer to INFORM, which was sent {times}.")
    used = client.used
    if used is not None:
        taken = ", ".join(each.taken for each in used.options if each.is_usable)
        show(f"A phone uses answer {used.number}, of {used.server}: {taken}.")
    for lacking in missed(client):
        show(f"A phone misses {lacking}.")
    for finding in findings:
        detail = f" ({finding.detail})" if finding.detail else ""
        show(f"Finding: {finding.cause.name}: {finding.cause.title}{detail}")
        for evidence in finding.evidence:
            note = f" [{evidence.note}]" if evidence.note else ""
            show(f"  {evidence.place.file} {evidence.place.number}: {evidence.text}{note}")
        if finding.cause.why:
            show(f"  Why: {finding.cause.why}")
        for remedy in finding.cause.remedies:
            show(f"  {remedy.where}:", *(f"    {line}" for line in remedy.how.splitlines()))
    if not findings and client.is_usable:
        tell("No fault found.")


# --- for programs ------------------------------------------------------------


def _values_document(values: SignInValues) -> dict[str, Any]:
    vlan = values.vlan_option_43
    sub_option = values.vlan_sub_option
    return {
        "sip_servers": list(values.sip_servers),
        "cert_prov_url": values.url,
        "vendor_class": UC_IDENTIFIER,
        "option_120": values.option_120.hex().upper(),
        "option_43": values.option_43.hex().upper(),
        "sub_options": {str(each.code): each.value.hex().upper() for each in values.sub_options},
        "vlan": None
        if vlan is None or sub_option is None
        else {
            "id": values.vlan_id,
            "vendor_class": VLAN_CLASS,
            "option_43": vlan.hex().upper(),
            "sub_options": {"10": sub_option.value.hex().upper()},
        },
    }


def _inspection_document(inspection: Inspection) -> dict[str, Any]:
    option, taken = inspection.option, inspection.taken_by_phone
    services = taken.web_services
    return {
        "option": option.code,
        "frame" if option.origin else "line": option.line or None,
        "origin": option.origin or None,
        "times": option.times,
        "vendor_class": option.vendor_class,
        "hex": option.octets.hex().upper(),
        "parts": [
            {
                "offset": part.offset,
                "name": part.name,
                "hex": part.octets.hex().upper(),
                "text": part.text,
            }
            for part in inspection.parts
        ],
        "warnings": list(inspection.warnings),
        "causes": [cause.name for cause in inspection.causes],
        "web_services": None if services is None else services.url,
        "registrars": [each.name for each in taken.registrars],
        "vlan": taken.vlan_id,
        "usable": inspection.is_usable,
    }


def _client_document(client: EmulatedClient, findings: list[Finding]) -> dict[str, Any]:
    used = client.used
    return {
        "class": client.vendor_class,
        "mac": client.phone_id,
        "sent": len(client.sent),
        "answers": [_answer_document(answer) for answer in client.answers],
        "malformed": [{"server": each.server, "reason": each.reason} for each in client.malformed],
        "used": None if used is None else used.number,
        "misses": missed(client),
        "findings": [
            {
                "cause": finding.cause.name,
                "title": finding.cause.title,
                "certainty": finding.certainty.name.lower(),
                "detail": finding.detail,
                "evidence": [
                    {
                        "where": f"{each.place.file} {each.place.number}",
                        "text": each.text,
                        "note": each.note,
                    }
                    for each in finding.evidence
                ],
                "why": finding.cause.why,
                "remedies": [
                    {"where": each.where, "how": each.how} for each in finding.cause.remedies
                ],
            }
            for finding in findings
        ],
        "usable": client.is_usable,
    }


def _answer_document(answer: Answer) -> dict[str, Any]:
    return {
        "number": answer.number,
        "type": answer.message.message_type.name,
        "server": answer.server,
        "latency_ms": round(answer.latency * 1000, 3),
        "destination": answer.destination or None,
        "options": {
            str(code): value.hex().upper() for code, value in answer.message.options.items()
        },
        "inspected": [_inspection_document(each) for each in answer.options],
        "used": answer.is_used,
        "why": answer.why,
    }
