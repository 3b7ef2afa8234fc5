"""A packet of a capture in one line of words, what matters of it decoded.

No secret is in it: see `wire.spoken`.
"""

from __future__ import annotations

import re

from phonesim.wire.pcapng import TransportAddress
from phonesim.wire.spoken import Spoken, speak_dhcp, speak_dns, speak_http, speak_sip, speak_tls

_LONGEST = 800
_DHCP_LINES = ("xid ", "ciaddr ", "yiaddr ", "siaddr ", "giaddr ")
_DHCP_OPTIONS = frozenset({"43", "50", "51", "54", "55", "56", "60", "82", "120"})

_REFUSAL = re.compile(rb"HTTP/1\.[01] (?!200)")
_SAID = re.compile("(?i)fault|reason|error|x-ms-diag|www-auth|retry-after")
_BODY = re.compile(rb"<(?:[\w.-]+:)?Body[^>]*>\s*<(?:[\w.-]+:)?([\w.-]+)")

Ends = tuple[TransportAddress, TransportAddress]


def dhcp_words(octets: bytes, ends: Ends) -> str:
    """A DHCP message with the options that matter to a phone."""
    spoken = speak_dhcp(octets)
    lines = [
        line
        for line in spoken.lines
        if line.startswith(_DHCP_LINES) or line.split(" ", 2)[1] in _DHCP_OPTIONS
    ]
    return _words(ends, spoken.title, lines)


def dns_words(octets: bytes, ends: Ends) -> str:
    """A query or an answer with its records."""
    return _spoken(ends, speak_dns(octets))


def http_words(octets: bytes, ends: Ends) -> str:
    """The first line of a request or an answer, and what SOAP says in it."""
    if _REFUSAL.match(octets):
        spoken = speak_http(octets)
        lines = [line.strip() for line in spoken.lines if _SAID.search(line)]
        return _words(ends, spoken.title, lines)
    first = octets[:_LONGEST].partition(b"\r\n")[0].decode("utf-8", "replace")
    content = _BODY.search(octets)
    operation = f", {content[1].decode('ascii', 'replace')}" if content else ""
    return _words(ends, f"HTTP {first.replace('HTTP/1.1', '').strip()}{operation}", [])


def sip_words(octets: bytes, ends: Ends) -> str:
    """A SIP message in a line, with what it says of errors."""
    spoken = speak_sip(octets)
    lines = [line for line in spoken.lines if line.lower().startswith(("ms-diag", "contact"))]
    return _words(ends, spoken.title, lines)


def tls_words(octets: bytes, ends: Ends) -> str:
    """Which handshake messages a flight has."""
    return _spoken(ends, speak_tls(octets))


def plain_words(title: str, ends: Ends) -> str:
    """A packet of which only the title matters."""
    return _words(ends, title, [])


def _spoken(ends: Ends, spoken: Spoken) -> str:
    return _words(ends, spoken.title, list(spoken.lines))


def _words(ends: Ends, title: str, lines: list[str]) -> str:
    (source, source_port), (destination, destination_port) = ends
    text = f"{source}:{source_port} -> {destination}:{destination_port} {title}"
    return "; ".join([text, *lines])[:_LONGEST]
