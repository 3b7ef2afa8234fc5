"""What SIP servers say of themselves and of each other: where one is, and why it refused.

Specifications: RFC 3261 sections 19.1.1 (SIP URI) and 20.33 (Retry-After), [MS-OCER] section 2
(ms-diagnostics), sign-in reference sections 19 to 21.
"""

from __future__ import annotations

import re

import msgspec

from phonesim.errors import DecodeError
from phonesim.wire.sip import SIP_PORT, SIPS_PORT, SipMessage, header
from phonesim.wire.sip_header import read_number, shown

_SERVER = re.compile(
    r"(sips?):(?:[^@;?]*@)?([A-Za-z0-9](?:[A-Za-z0-9.\-]{0,251}[A-Za-z0-9])?)(?::([0-9]{1,5}))?"
    r"((?:;[^;?]*)*)",
    re.IGNORECASE,
)
_TRANSPORT = re.compile(r";transport=([a-z]+)(?:;|$)", re.IGNORECASE)
_DIAGNOSTICS = re.compile(r"\s*([0-9]{1,9})\s*(?:;|$)")
_QUOTED_PARAMETER = re.compile(r';\s*([A-Za-z\-]+)\s*=\s*"((?:[^"\\]|\\.)*)"')
_SECONDS = re.compile(r"\s*([0-9]{1,9})\s*(?:[(;]|$)")


class SipServer(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """A server's place. `transport` is "tls" or "tcp"."""

    host: str
    port: int
    transport: str

    @property
    def uri(self) -> str:
        """The place as a SIP URI, with its transport."""
        return f"sip:{self.host}:{self.port};transport={self.transport}"


def read_server_uri(uri: str) -> SipServer:
    """The server that a SIP URI names: TLS unless it says `transport=tcp` [source].

    DecodeError if it names none, or wants another transport.
    """
    match = _SERVER.fullmatch(uri.strip().removeprefix("<").removesuffix(">"))
    if match is None:
        raise DecodeError(f"{shown(uri)} is no SIP URI of a server")
    scheme, host, port, parameters = match.groups()
    named = _TRANSPORT.search(parameters)
    transport = "tls" if named is None or scheme.lower() == "sips" else named.group(1).lower()
    if transport not in ("tls", "tcp"):
        raise DecodeError(f"{shown(uri)} wants transport {transport}: tls and tcp are known")
    number = (SIPS_PORT if transport == "tls" else SIP_PORT) if port is None else int(port)
    if not 1 <= number <= 65535:
        raise DecodeError(f"{shown(uri)} has port {number}")
    return SipServer(host=host.lower(), port=number, transport=transport)


class Diagnostics(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """An ms-diagnostics header: an id of [MS-OCER], its text, and which server says so."""

    id: int
    reason: str = ""
    source: str = ""

    @property
    def text(self) -> str:
        """What is worth logging of it."""
        by = f" at {self.source}" if self.source else ""
        return f"{self.id} {self.reason or 'no reason'}{by}"


def diagnostics_of(message: SipMessage) -> Diagnostics | None:
    """The ms-diagnostics of a message, else its ms-diagnostics-public; None without an id."""
    value = header(message, "ms-diagnostics") or header(message, "ms-diagnostics-public")
    match = None if value is None else _DIAGNOSTICS.match(value)
    if value is None or match is None:
        return None
    texts = {name.lower(): text for name, text in _QUOTED_PARAMETER.findall(value)}
    return Diagnostics(
        id=int(match.group(1)), reason=texts.get("reason", ""), source=texts.get("source", "")
    )


def retry_after_of(message: SipMessage) -> int | None:
    """The seconds of Retry-After; None without one that can be read."""
    match = _SECONDS.match(header(message, "Retry-After") or "")
    return None if match is None else int(match.group(1))


def min_expires_of(message: SipMessage) -> int | None:
    """The seconds of Min-Expires; None without one that can be read."""
    value = header(message, "Min-Expires")
    try:
        return None if value is None else read_number(value, "Min-Expires")
    except DecodeError:
        return None
