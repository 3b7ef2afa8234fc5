"""What `phonesim dhcputil` prints: for people, and as documents for programs."""

from __future__ import annotations

from typing import Any

from rich.table import Table

from phonesim.cli.terminal import show, tell
from phonesim.cli.wrapping import printable, wrapped
from phonesim.field.dhcputil.client_findings import missed
from phonesim.field.dhcputil.emulated_client import Answer, EmulatedClient
from phonesim.field.dhcputil.inspection import OPTION_43, OPTION_120, Inspection
from phonesim.field.dhcputil.sign_in_values import VLAN_CLASS, SignInValues
from phonesim.field.finding import Finding
from phonesim.field.sightings import Place
from phonesim.wire.provisioning import UC_IDENTIFIER

# --- for people --------------------------------------------------------------


def show_inspection(inspection: Inspection, where: str) -> None:
    """Print an option, part by part; `where` is the file that it is from, "" for none."""
    option = inspection.option
    size = len(option.octets)
    octets = "1 octet" if size == 1 else f"{size} octets"
    head = f"Option {option.code}, {octets} ({2 * size} hexadecimal digits)"
    if option.vendor_class is not None:
        head += f', class "{printable(option.vendor_class)}"'
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
        *(line for warning in inspection.warnings for line in wrapped(warning, "! ", "  ")),
        *(
            line
            for cause in inspection.causes
            for line in wrapped(f"Cause: {cause.name}: {cause.title}", "", "  ")
        ),
        f"{'The emulated' if inspection.is_doubtful else 'A'} phone takes from it:"
        f" {inspection.taken}",
    ]


def show_client(client: EmulatedClient, findings: list[Finding]) -> None:
    """Print every answer, what a phone makes of them, and what is wrong."""
    for answer in client.answers:
        kind = answer.message.message_type.name
        _say(
            f"Answer {answer.number}: {kind} of {answer.server} after"
            f" {answer.latency * 1000:.1f} ms: {'used' if answer.is_used else 'not used'}"
            f" ({answer.why})"
        )
        for code in (OPTION_43, OPTION_120):
            option = answer.option(code)
            if option is not None:
                show_inspection(option, "")
            elif kind == "ACK" and not (client.asks_for_vlan and code == OPTION_120):
                show(f"Option {code} is missing", "")
    for malformed in client.malformed:
        _say(f"Not a DHCP message, from {malformed.source}: {malformed.reason}")
    if not client.answers:
        times = "once" if len(client.sent) == 1 else f"{len(client.sent)} times"
        show(f"No answer to INFORM, which was sent {times}.")
    used = client.used
    if used is not None:
        taken = [each.taken for each in used.options if each.taken != "nothing"]
        show(f"A phone uses answer {used.number}, of {used.server}:", *(f"  {t}" for t in taken))
    for lacking in missed(client):
        _say(f"A phone misses {lacking}.")
    for finding in findings:
        _show_finding(finding)
    if not findings and client.is_usable:
        tell("No fault found.")


def _show_finding(finding: Finding) -> None:
    detail = f" ({finding.detail})" if finding.detail else ""
    _say(f"Finding: {finding.cause.name}: {finding.cause.title}{detail}")
    for evidence in finding.evidence:
        place = f"{evidence.place.file} {evidence.place.number}"
        _say(f"{place}: {evidence.text}", "  ", breaks=True)
        if evidence.note:
            _say(evidence.note, "    => ", "       ")
    if finding.cause.why:
        _say(f"Why: {finding.cause.why}", "  ")
    for remedy in finding.cause.remedies:
        show(f"  {remedy.where}:")
        for line in remedy.how.splitlines():
            _say(line, "    ")


def _say(text: str, first: str = "", rest: str | None = None, *, breaks: bool = False) -> None:
    rest = first + "  " if rest is None else rest
    show(*wrapped(text, first, rest, breaks=breaks))


# --- for programs ------------------------------------------------------------


def values_document(values: SignInValues) -> dict[str, Any]:
    """Return what `encode --json` prints."""
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


def inspection_document(inspection: Inspection) -> dict[str, Any]:
    """Return an option as a document."""
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
        "doubtful": inspection.is_doubtful,
    }


def client_document(client: EmulatedClient, findings: list[Finding]) -> dict[str, Any]:
    """Return what `emulate-client --json` prints."""
    used = client.used
    return {
        "class": client.vendor_class,
        "mac": client.phone_id,
        "sent": len(client.sent),
        "answers": [_answer_document(answer) for answer in client.answers],
        "malformed": [{"server": each.source, "reason": each.reason} for each in client.malformed],
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
        "inspected": [inspection_document(each) for each in answer.options],
        "used": answer.is_used,
        "why": answer.why,
    }
