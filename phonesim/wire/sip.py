"""SIP requests and responses over sipmessage, and the decoder of a TCP or TLS stream.

A message keeps the fields that registration decides on as typed values, and
every other header as a (name, value) pair in order.

Specifications: RFC 3261, RFC 5626 section 3.5.1 (CRLF keep-alives),
[MS-SIPRE] section 2.2.5 (epid, +sip.instance, proxy=replace).
"""

from __future__ import annotations

import msgspec

SIPS_PORT = 5061
SIP_PORT = 5060


class NameAddress(msgspec.Struct, frozen=True, kw_only=True):
    """A From or To value: the bare URI, and its parameters `tag` and `epid`."""

    uri: str
    tag: str | None = None
    epid: str | None = None


class Contact(msgspec.Struct, frozen=True, kw_only=True):
    """A Contact value. `expires` is seconds; `instance` the UUID of +sip.instance.

    `parameters` holds the other header parameters in order; a flag has the value "".
    """

    uri: str
    expires: int | None = None
    instance: str | None = None
    parameters: tuple[tuple[str, str], ...] = ()


class Challenge(msgspec.Struct, frozen=True, kw_only=True):
    """One WWW-Authenticate or Proxy-Authenticate header."""

    scheme: str
    parameters: tuple[tuple[str, str], ...] = ()
    is_proxy: bool = False


class Credentials(msgspec.Struct, frozen=True, kw_only=True):
    """One Authorization or Proxy-Authorization header."""

    scheme: str
    parameters: tuple[tuple[str, str], ...] = ()
    is_proxy: bool = False


class SipRequest(msgspec.Struct, frozen=True, kw_only=True):
    """A request. `vias` are whole Via values, topmost first."""

    method: str
    uri: str
    vias: tuple[str, ...]
    sender: NameAddress
    recipient: NameAddress
    call_id: str
    cseq: int
    max_forwards: int = 70
    contacts: tuple[Contact, ...] = ()
    expires: int | None = None
    credentials: tuple[Credentials, ...] = ()
    headers: tuple[tuple[str, str], ...] = ()
    body: bytes = b""


class SipResponse(msgspec.Struct, frozen=True, kw_only=True):
    """A response; `cseq_method` is the method of its CSeq header."""

    status: int
    reason: str
    vias: tuple[str, ...]
    sender: NameAddress
    recipient: NameAddress
    call_id: str
    cseq: int
    cseq_method: str
    contacts: tuple[Contact, ...] = ()
    expires: int | None = None
    challenges: tuple[Challenge, ...] = ()
    headers: tuple[tuple[str, str], ...] = ()
    body: bytes = b""


SipMessage = SipRequest | SipResponse


def header(message: SipMessage, name: str) -> str | None:
    """The first value of an untyped header, by case-insensitive name."""
    wanted = name.lower()
    for key, value in message.headers:
        if key.lower() == wanted:
            return value
    return None
