"""What is wrong with a network, by the answers to a client's INFORM, and what phones do without.

The evidence of a finding is an answer, by its number, or the INFORM that nobody answered.

Who asks for the VLAN may go without an answer where a switch tells it: a diagnosis of phones does
not look for that, so what is said then is not among its causes.

Specifications: device reference sections 1 (issues 1 and 2), 4, 6.1 and 15.1.
"""

from __future__ import annotations

from collections.abc import Iterator

import msgspec

from phonesim.field import causes, remedies
from phonesim.field.causes import Cause
from phonesim.field.dhcputil.emulated_client import Answer, EmulatedClient
from phonesim.field.dhcputil.inspection import OPTION_43, OPTION_120
from phonesim.field.finding import Certainty, Evidence, Finding
from phonesim.field.remedies import Remedy
from phonesim.field.sightings import Place
from phonesim.wire.dhcp import MessageType
from phonesim.wire.provisioning import UC_IDENTIFIER

VLAN_OPTION_MISSING = Cause(
    name="vlan-option-missing",
    title="DHCP names no voice VLAN",
    why="Sub-option 10 of option 43 for the class CPE-OCPHONE is what a phone goes by that LLDP-MED"
    " tells no VLAN. Where a switch does, none is needed, nor must one be set [documented,"
    " gg412828].",
    remedies=remedies.VLAN,
)
VLAN_UNANSWERED = msgspec.structs.replace(
    causes.INFORM_UNANSWERED,
    why="A phone asks for its VLAN with DISCOVER, and this asked with INFORM: a server may answer"
    " the one and not the other. Where a switch tells the VLAN by LLDP-MED, no answer is needed"
    " [documented, gg412828].",
    remedies=(
        *remedies.VLAN,
        Remedy("Cisco IOS, the phones' own VLAN interface", "ip helper-address 192.0.2.10"),
        remedies.RELAY[1],
    ),
)


def findings_of(client: EmulatedClient) -> list[Finding]:
    """What is wrong, the surest first."""
    return sorted(_find(client), key=lambda finding: finding.certainty)


def missed(client: EmulatedClient) -> list[str]:
    """What a phone lacks after these answers, and where it then looks."""
    used = client.used
    if client.asks_for_vlan:
        if used is not None:
            return []
        return ["the voice VLAN: phones stay untagged, unless a switch tells them by LLDP-MED"]
    if used is None:
        return ["all of it: phones take what DNS says, SRV first, and guess the Web Services URL"]
    lacking = []
    option_43, option_120 = used.option(OPTION_43), used.option(OPTION_120)
    if option_43 is None or not option_43.is_usable:
        lacking.append(
            "the Web Services URL: phones make one of the Registrar's name that DNS gives them"
        )
    if option_120 is not None and option_120.is_doubtful:
        lacking.append("the Registrar, unless they take it as plain text, which is not known")
    elif option_120 is None or not option_120.is_usable:
        lacking.append(
            "the Registrar: phones ask DNS, and may authenticate and yet fail to begin SIP"
        )
    return lacking


def _find(client: EmulatedClient) -> Iterator[Finding]:
    def finding(
        cause: Cause, certainty: Certainty, *evidence: Evidence, detail: str = ""
    ) -> Finding:
        return Finding(
            cause=cause,
            certainty=certainty,
            phone_id=client.phone_id,
            evidence=evidence,
            detail=detail,
        )

    asked = _asked(client)
    acks = [each for each in client.answers if each.message.message_type is MessageType.ACK]
    if not client.answers and not client.malformed:
        unanswered = VLAN_UNANSWERED if client.asks_for_vlan else causes.INFORM_UNANSWERED
        yield finding(unanswered, Certainty.CERTAIN, asked)
    is_other_case = (
        client.vendor_class != UC_IDENTIFIER
        and client.vendor_class.lower() == UC_IDENTIFIER.lower()
    )
    if is_other_case and not client.is_usable:
        yield finding(
            causes.INFORM_CLASS_WRONG,
            Certainty.CERTAIN if acks else Certainty.LIKELY,
            asked,
            detail=f'"{client.vendor_class}", and case counts',
        )
    for answer in client.answers:
        if answer.message.message_type is MessageType.NAK:
            yield finding(causes.INFORM_REFUSED, Certainty.CERTAIN, _said(answer))
        if answer.why.startswith("went to"):
            yield finding(causes.INFORM_ASTRAY, Certainty.CERTAIN, _said(answer), detail=answer.why)
    for answer in acks:
        for option in answer.options:
            for cause in option.causes:
                note = "; ".join(option.warnings)
                evidence = Evidence(
                    Place("answer", answer.number),
                    f"option {option.option.code} of {answer.server}:"
                    f" {option.option.octets.hex().upper()}",
                    note,
                )
                yield finding(cause, Certainty.CERTAIN, evidence)
    for cause, answer in _lacks(client, acks):
        if client.asks_for_vlan:
            detail = f"class {client.vendor_class}; right where a switch tells the VLAN"
            yield finding(cause, Certainty.POSSIBLE, _said(answer), detail=detail)
        else:
            yield finding(cause, Certainty.CERTAIN, _said(answer))
    several = _different(acks)
    if several:
        yield finding(
            causes.DHCP_SERVERS_DISAGREE, Certainty.CERTAIN, *(_said(each) for each in several)
        )


def _lacks(client: EmulatedClient, acks: list[Answer]) -> Iterator[tuple[Cause, Answer]]:
    """What the answer that is used lacks; of answers that are not, what the first one does."""
    judged = client.used or next(iter(acks), None)
    if judged is None:
        return
    has_43, has_120 = (judged.option(code) is not None for code in (OPTION_43, OPTION_120))
    if client.asks_for_vlan:
        if client.used is None and not any(each.causes for each in judged.options):
            yield VLAN_OPTION_MISSING, judged
    elif not has_43 and not has_120:
        yield causes.OPTIONS_MISSING, judged
    elif not has_43:
        yield causes.OPTION_43_MISSING, judged
    elif not has_120:
        yield causes.OPTION_120_MISSING, judged


def _different(acks: list[Answer]) -> list[Answer]:
    """The first answer that can win and those of other servers that differ, if there are any."""
    rivals = [each for each in acks if each.can_win]
    if not rivals:
        return []
    first, *others = rivals
    different = [
        each for each in others if each.server != first.server and _values(each) != _values(first)
    ]
    return [first, *different] if different else []


def _values(answer: Answer) -> tuple[bytes | None, ...]:
    return tuple(answer.message.options.get(code) for code in (OPTION_43, OPTION_120))


def _asked(client: EmulatedClient) -> Evidence:
    times = "once" if len(client.sent) == 1 else f"{len(client.sent)} times"
    first = client.sent[0]
    return Evidence(
        Place("INFORM", 1),
        f'INFORM xid 0x{first.xid:08x} from {first.ciaddr}, class "{client.vendor_class}",'
        f" sent {times}",
    )


def _said(answer: Answer) -> Evidence:
    options = ",".join(map(str, answer.message.options))
    return Evidence(
        Place("answer", answer.number),
        f"{answer.message.message_type.name} of {answer.server} with options {options}",
    )
