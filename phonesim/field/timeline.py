"""A boot as a story, from a phone's device log: who sent what, what came back, what was shown.

    0.142  -> 255.255.255.255     DHCP INFORM of class MS-UC-Client
    0.151  <- 127.20.0.10         DHCP ACK with options 53,54,43,120

A table says which records are told, and in which words; the others are details for the log
itself. What repeats itself is told once, with how often it came.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

import msgspec

from phonesim.device.device_log import KINDS, LogLine, Value

MOST_TOLD = 70
"""Steps that are told of a story; of a longer one, the beginning and the end."""

DISPLAY = "display"
PHONE = ""
_TO, _FROM = "->", "<-"
_LEFT_OUT = 20


class Step(msgspec.Struct, frozen=True, kw_only=True):
    """One thing that happened: `at` is seconds after power-on. `who` is a peer with an arrow that
    says who spoke, `display`, or empty for what the phone did by itself.
    """

    at: float
    who: str
    text: str
    times: int = 1

    @property
    def told(self) -> str:
        """The text, and how often it came."""
        return self.text if self.times == 1 else f"{self.text} ({self.times} times)"


_Words = Callable[[Mapping[str, Value]], tuple[str, str]]


def _said(arrow: str, peer: str, text: str) -> _Words:
    """What went over the network; both templates name fields of the record."""
    return lambda values: (f"{arrow} {peer.format_map(values)}", text.format_map(values))


def _did(text: str) -> _Words:
    return lambda values: (PHONE, text.format_map(values))


def _option_120(values: Mapping[str, Value]) -> tuple[str, str]:
    named = str(values["registrars"]).replace("+", ", ") or "nothing that can be used"
    return PHONE, f"option 120 of {values['server']} names {named}"


def _option_43(values: Mapping[str, Value]) -> tuple[str, str]:
    return PHONE, f"option 43 of {values['server']}: {values['url'] or 'no URL in it'}"


def _dhcp_sent(values: Mapping[str, Value]) -> tuple[str, str]:
    of_class = values["vendor_class"] and f" of class {values['vendor_class']}"
    return f"{_TO} {values['destination']}", f"DHCP {values['type']}{of_class}"


def _register_sent(values: Mapping[str, Value]) -> tuple[str, str]:
    shown = values["auth"] and f", {values['auth']}"
    return f"{_TO} Registrar", f"SIP REGISTER{shown}"


def _dns_answer(values: Mapping[str, Value]) -> tuple[str, str]:
    said = f"{values['rcode']}, {values['records'] or 'no records'}"
    return f"{_FROM} {values['server']}", f"DNS {values['qtype']} {values['qname']}: {said}"


def _answer(protocol: str) -> _Words:
    def words(values: Mapping[str, Value]) -> tuple[str, str]:
        diagnostics = f"; {values['diagnostics']}" if values["diagnostics"] else ""
        text = f"{protocol} {values['status']} {values['reason']}{diagnostics}"
        return f"{_FROM} Registrar", text

    return words


_WORDS: dict[str, _Words] = {
    "power_applied": _did("power: {vendor} {model}, firmware {firmware}"),
    "factory_reset": _did("factory reset: erased {files}"),
    "display": lambda values: (DISPLAY, f'"{values["text"]}"'),
    "lldp_sent": _said(_TO, "switch", "LLDP-MED"),
    "lldp_received": _said(_FROM, "switch", "LLDP-MED, {policy}"),
    "vlan_found": _did("voice VLAN {vlan}, from {source}"),
    "vlan_not_found": _did("no voice VLAN: {detail}"),
    "vlan_option": _said(_FROM, "{server}", "option 43 sub-option 10: {hex}"),
    "dhcp_sent": _dhcp_sent,
    "dhcp_received": _said(_FROM, "{server}", "DHCP {type}, options {options}"),
    "dhcp_ignored": _did("DHCP {type} of {source} ignored: {detail}"),
    "dhcp_lease": _did("address {address} from {server}, DNS {dns}, domain {domain}"),
    "dhcp_no_answer": _did("no answer to DHCP {type}, asked {attempts} times"),
    "address_conflict": _did("{address} is in use by {mac}: declined"),
    "lease_kept": _did("no DHCP server answered: {address} is used on"),
    "auto_ip": _did("no DHCP server: takes {address} by itself"),
    "lease_lost": _did("address {address} lost: {detail}"),
    "dns_sent": _said(_TO, "{server}", "DNS {qtype} {qname}"),
    "dns_answer": _dns_answer,
    "dns_ignored": _said(_FROM, "{server}", "DNS {qname} ignored: {detail}"),
    "ntp_sent": _said(_TO, "{server}", "NTP"),
    "clock_set": _said(_FROM, "{server}", "NTP: clock set, by {offset:.0f} s"),
    "clock_not_set": _did("the clock is not set: {detail}"),
    "discovery_started": _did("looks for servers: {detail}"),
    "option_43": _option_43,
    "option_120": _option_120,
    "option_missing": _did("option {option} of {server} is missing"),
    "option_warning": _did("option {option} of {server}: {detail}"),
    "race_won": _did("{source} wins: {detail}"),
    "race_lost": _did("{source} {detail}"),
    "web_services_located": _did("Web Services: {url}, from {source}"),
    "web_services_not_located": _did("no Web Services: {detail}"),
    "registrar_located": _did("Registrar {order}: {registrar}, from {source}"),
    "registrar_not_located": _did("no Registrar: {detail}"),
    "cache_empty": _did("the cache is empty"),
    "cache_used": _did("from the cache: {url}, Registrars {registrars}"),
    "cache_corrupt": _did("{file} in the cache is corrupt: {detail}"),
    "cache_unusable": _did("the cache is of no use: {detail}"),
    "cache_committed": _did("cached: {url}, Registrars {registrars}"),
    "identity_used": _did("goes on with the certificate of {user}"),
    "identity_unusable": _did("the certificate is of no use: {detail}"),
    "http_sent": _said(_TO, "{address}", "HTTP {operation} {url}"),
    "http_answer": _said(_FROM, "web services", "HTTP {status} to {operation} {detail}"),
    "http_failed": _did("{operation} failed, {failure}: {detail}"),
    "chain_received": _did("chain of trust, {size} octets"),
    "ticket_received": _did("web ticket for {user}"),
    "ticket_refused": _did("refused, {reason}: {detail}"),
    "certificate_received": _did("certificate for {user}"),
    "registrar_connecting": _said(_TO, "{address}", "connects to {registrar}, {transport}"),
    "registrar_connected": _said(_FROM, "Registrar", "connected"),
    "registrar_failed": _did("{registrar} failed, {failure}: {detail}"),
    "register_sent": _register_sent,
    "register_answer": _answer("SIP"),
    "scheme_chosen": _did("of {offers}, takes {scheme}"),
    "registered": _did("registered at {registrar} for {expires} s"),
    "registrar_redirected": _did("{registrar} redirects to {target}"),
    "registration_lost": _did("registration at {registrar} lost: {detail}"),
    "deregistered": _said(_FROM, "Registrar", "deregistered, {event}: {diagnostics}"),
    "registrar_changed": _did("Registrar {new} instead of {old}"),
    "malformed": _said(_FROM, "{source}", "{protocol} that cannot be read: {detail}"),
    "signed_in": _did("signed in as {user} at {registrar}"),
    "boot_failed": _did("FAILED at stage {stage}, {reason}: {detail}; {retry}"),
}


def tell(lines: Iterable[LogLine]) -> list[Step]:
    """Tell one boot's log, from its first line to its end, or to that of the run."""
    steps: list[Step] = []
    for step in _steps(lines):
        last = steps[-1] if steps else None
        if last is not None and (last.who, last.text) == (step.who, step.text):
            steps[-1] = msgspec.structs.replace(last, times=last.times + 1)
        else:
            steps.append(step)
    if len(steps) <= MOST_TOLD:
        return steps
    began, left = steps[: MOST_TOLD - _LEFT_OUT], len(steps) - MOST_TOLD
    skipped = Step(at=began[-1].at, who="", text=f"({left} more steps: see the log)")
    return [*began, skipped, *steps[-_LEFT_OUT:]]


def displays(lines: Iterable[LogLine]) -> list[str]:
    """Return all that the display showed, in order."""
    return [str(line.record.values[0]) for line in lines if line.record.name == "display"]


def to_json(steps: Iterable[Step]) -> list[dict[str, Any]]:
    """Return steps as a JSON document has them."""
    return [
        {"at": round(step.at, 3), "who": step.who, "text": step.text, "times": step.times}
        for step in steps
    ]


def _steps(lines: Iterable[LogLine]) -> Iterator[Step]:
    for line in lines:
        if line.record.name == "shutdown":
            return
        words = _WORDS.get(line.record.name)
        if words is not None:
            fields = KINDS[line.record.name].fields
            values = dict(zip(fields, line.record.values, strict=True))
            who, text = words(values)
            yield Step(at=line.tick / 1000, who=who, text=" ".join(text.split()))
