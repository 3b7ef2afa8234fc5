"""SIP requests and responses, and the decoder of a TCP or TLS stream.

A message keeps the fields that registration decides on as typed values, and
every other header as a (name, value) pair in order.

A message is read in two steps. The head gives the start line, the headers and
Content-Length: if that fails on a stream, nobody knows where the next message
begins. Then the values are read: if that fails, this one message is lost.

sipmessage gives the compact header forms and CSeq. Its other classes are not
used, for they change what they read: a Request-URI is re-escaped (a GRUU loses
its colons), a host such as lab1 is refused, quoted parameters are split at their
commas and semicolons (`qop="auth,auth-int"`, `gruu="sip:...;gruu"`), and a second
challenge is dropped. The tests compare the two where both can read.

Specifications: RFC 3261, RFC 5626 section 3.5.1 (CRLF keep-alives),
[MS-SIPRE] section 2.2.5 (epid, +sip.instance, proxy=replace).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from functools import lru_cache

import msgspec
from sipmessage import CSeq
from sipmessage.message import COMPACT_FORMS

from phonesim.errors import DecodeError
from phonesim.wire.sip_header import (
    TOKEN,
    URI,
    is_token,
    parameters_text,
    quoted,
    read_address,
    read_authentication,
    read_list,
    read_number,
    read_parameters,
    shown,
)

SIPS_PORT = 5061
SIP_PORT = 5060

PING = b"\r\n\r\n"
PONG = b"\r\n"

HEAD_LIMIT = 65536
BODY_LIMIT = 65536
LINE_LIMIT = 32768
HEADERS_LIMIT = 256


class NameAddress(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """A From or To value: the bare URI, and its parameters `tag` and `epid`.

    `display_name` is without quotes; `parameters` holds the other header parameters
    in order; a flag has the value "".
    """

    uri: str
    tag: str | None = None
    epid: str | None = None
    display_name: str = ""
    parameters: tuple[tuple[str, str], ...] = ()


class Contact(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """A Contact value. `expires` is seconds; `instance` the UUID of +sip.instance.

    `parameters` holds the other header parameters in order; a flag has the value "".
    The uri "*" stands for every binding (RFC 3261 section 10.2.2).
    """

    uri: str
    expires: int | None = None
    instance: str | None = None
    parameters: tuple[tuple[str, str], ...] = ()


class Challenge(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """One WWW-Authenticate or Proxy-Authenticate header; values are without quotes."""

    scheme: str
    parameters: tuple[tuple[str, str], ...] = ()
    is_proxy: bool = False


class Credentials(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """One Authorization or Proxy-Authorization header; values are without quotes."""

    scheme: str
    parameters: tuple[tuple[str, str], ...] = ()
    is_proxy: bool = False


class SipRequest(msgspec.Struct, frozen=True, kw_only=True, gc=False):
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


class SipResponse(msgspec.Struct, frozen=True, kw_only=True, gc=False):
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


class KeepAlive(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """CRLFs between messages: a ping is two of them, a pong is one."""

    is_ping: bool


def header(message: SipMessage, name: str) -> str | None:
    """The first value of an untyped header, by case-insensitive name."""
    wanted = name.lower()
    for key, value in message.headers:
        if key.lower() == wanted:
            return value
    return None


def response_to(
    request: SipRequest,
    status: int,
    reason: str,
    *,
    to_tag: str | None = None,
    contacts: tuple[Contact, ...] = (),
    expires: int | None = None,
    challenges: tuple[Challenge, ...] = (),
    headers: tuple[tuple[str, str], ...] = (),
) -> SipResponse:
    """A response that copies what RFC 3261 section 8.2.6.2 says.

    `to_tag` is added to To unless the request's To already has one.
    """
    recipient = request.recipient
    if to_tag is not None and recipient.tag is None:
        recipient = NameAddress(
            uri=recipient.uri,
            tag=to_tag,
            epid=recipient.epid,
            display_name=recipient.display_name,
            parameters=recipient.parameters,
        )
    return SipResponse(
        status=status,
        reason=reason,
        vias=request.vias,
        sender=request.sender,
        recipient=recipient,
        call_id=request.call_id,
        cseq=request.cseq,
        cseq_method=request.method,
        contacts=contacts,
        expires=expires,
        challenges=challenges,
        headers=headers,
    )


def encode_sip(message: SipMessage) -> bytes:
    """One whole message, its headers in the order that these phones use.

    Raises ValueError if a value holds a line break: it would begin another header.
    """
    authentication: Iterable[Challenge | Credentials]
    if isinstance(message, SipRequest):
        lines = [f"{message.method} {message.uri} SIP/2.0"]
        lines += [f"Via: {via}" for via in message.vias]
        lines.append(f"Max-Forwards: {message.max_forwards}")
        cseq_method = message.method
        authentication = message.credentials
        own, proxy = "Authorization", "Proxy-Authorization"
    else:
        lines = [f"SIP/2.0 {message.status} {message.reason}"]
        lines += [f"Via: {via}" for via in message.vias]
        cseq_method = message.cseq_method
        authentication = message.challenges
        own, proxy = "WWW-Authenticate", "Proxy-Authenticate"
    lines.append(f"From: {_name_address_text(message.sender)}")
    lines.append(f"To: {_name_address_text(message.recipient)}")
    lines.append(f"Call-ID: {message.call_id}")
    lines.append(f"CSeq: {message.cseq} {cseq_method}")
    lines += [f"Contact: {_contact_text(contact)}" for contact in message.contacts]
    lines += [
        f"{proxy if each.is_proxy else own}: {authentication_text(each)}" for each in authentication
    ]
    if message.expires is not None:
        lines.append(f"Expires: {message.expires}")
    lines += [f"{name}: {value}" for name, value in message.headers]
    lines.append(f"Content-Length: {len(message.body)}")
    head = "\r\n".join(lines)
    breaks = len(lines) - 1
    if head.count("\n") != breaks or head.count("\r") != breaks:
        raise ValueError("a SIP header value holds a line break")
    return f"{head}\r\n\r\n".encode() + message.body


def decode_sip(data: bytes) -> SipMessage:
    """Read one whole message, of which `data` holds nothing more and nothing less.

    Without Content-Length the body is what follows the head (RFC 3261 section
    20.14). Raises DecodeError, with a text for a field engineer.
    """
    end = data.find(b"\r\n\r\n", 0, HEAD_LIMIT + 4)
    if end < 0:
        raise DecodeError(f"no blank line ends the SIP headers within {HEAD_LIMIT} octets")
    head = _read_head(data[:end])
    body = data[end + 4 :]
    if len(body) > BODY_LIMIT:
        raise DecodeError(f"the body has {len(body)} octets; {BODY_LIMIT} is the limit")
    if head.length is not None and head.length != len(body):
        raise DecodeError(f"Content-Length is {head.length}, the body has {len(body)} octets")
    return _read_message(head, body)


class SipStream:
    """Cuts the octets of one connection into messages and keep-alives.

    A lone CRLF counts as a pong only once the next octet shows that it is not the
    first half of a ping. `saw`, if given, takes the octets of each of them, and
    what is no SIP too.
    """

    def __init__(self, saw: Callable[[bytes], None] | None = None) -> None:
        self.framing_lost = False
        """Whether the stream can no longer be read: only closing it is left."""
        self._saw = saw
        self._buffer = bytearray()
        self._searched = 0
        self._head_octets = b""
        self._head: _Head | None = None
        self._fault: str | None = None

    def feed(self, data: bytes) -> list[SipMessage | KeepAlive]:
        """Take what was received, return what it completes.

        Raises DecodeError for a message that cannot be read, and goes on behind it
        at the next call, unless `framing_lost`. What precedes the fault is returned
        first and the fault then raised by the next call: `feed(b"")` gives what is
        held back, until it returns an empty list.
        """
        if not self.framing_lost:
            self._buffer += data
        items: list[SipMessage | KeepAlive] = []
        while self._fault is None:
            try:
                item = self._next()
            except DecodeError as error:
                self._fault = str(error)
            else:
                if item is None:
                    return items
                items.append(item)
        if items:
            return items
        fault = self._fault
        if not self.framing_lost:
            self._fault = None
        raise DecodeError(fault)

    def _next(self) -> SipMessage | KeepAlive | None:
        buffer = self._buffer
        if self._head is None:
            if buffer and buffer[0] in b"\r\n":
                return self._next_keep_alive()
            end = buffer.find(b"\r\n\r\n", self._searched)
            if end > HEAD_LIMIT or (end < 0 and len(buffer) > HEAD_LIMIT + 3):
                self._lose()
                raise DecodeError(f"no blank line ends the SIP headers within {HEAD_LIMIT} octets")
            if end < 0:
                self._searched = max(0, len(buffer) - 3)
                return None
            head_octets = bytes(buffer[:end])
            self._head_octets = bytes(buffer[: end + 4])
            del buffer[: end + 4]
            self._searched = 0
            try:
                self._head = _read_head(head_octets)
            except DecodeError:
                self._lose()
                raise
            if self._head.length is None:
                self._lose()
                raise DecodeError("no Content-Length: on a stream, the message has no known end")
        head = self._head
        length = head.length or 0
        if len(buffer) < length:
            return None
        body = bytes(buffer[:length])
        del buffer[:length]
        self._head = None
        self._tell(self._head_octets + body)
        self._head_octets = b""
        return _read_message(head, body)

    def _next_keep_alive(self) -> KeepAlive | None:
        buffer = self._buffer
        if buffer.startswith(PING):
            del buffer[:4]
            self._tell(PING)
            return KeepAlive(is_ping=True)
        if PING.startswith(buffer):
            return None
        if buffer.startswith(PONG):
            del buffer[:2]
            self._tell(PONG)
            return KeepAlive(is_ping=False)
        self._lose()
        raise DecodeError("a stray CR or LF stands between two SIP messages")

    def _lose(self) -> None:
        self.framing_lost = True
        self._tell(self._head_octets + self._buffer)
        self._buffer.clear()

    def _tell(self, octets: bytes) -> None:
        if self._saw is not None:
            self._saw(octets)


# --- the head -----------------------------------------------------------------

_is_call_id = re.compile(r"[!-~]+").fullmatch

_PRINTABLE = bytes(octet for octet in range(256) if octet in (9, *range(32, 127), *range(128, 256)))
_FULL_NAMES = {short: (full.lower(), full) for short, full in COMPACT_FORMS.items()}


class _Head(msgspec.Struct, frozen=True, gc=False):
    """A start line, and headers as (name in lower case, (name, value)).

    Compact names are written out. `length` is Content-Length's.
    """

    start_line: str
    headers: list[tuple[str, tuple[str, str]]]
    length: int | None


def _read_head(octets: bytes) -> _Head:
    controls = octets.translate(None, _PRINTABLE)
    if controls != b"\r\n" * octets.count(b"\r\n"):
        raise DecodeError("the SIP headers hold a control character")
    try:
        text = octets.decode()
    except UnicodeDecodeError as error:
        raise DecodeError(f"the SIP headers are not UTF-8 at octet {error.start}") from None
    if "\r\n " in text or "\r\n\t" in text:
        text = re.sub(r"\r\n[ \t]+", " ", text)
    start_line, *lines = text.split("\r\n")
    if len(start_line) > LINE_LIMIT:
        raise DecodeError(f"the start line is longer than {LINE_LIMIT} characters")
    if len(lines) > HEADERS_LIMIT:
        raise DecodeError(f"{len(lines)} SIP headers; {HEADERS_LIMIT} is the limit")
    headers = []
    length: int | None = None
    for line in lines:
        key, header = each = _read_line(line)
        if key == "content-length":
            if length is not None:
                raise DecodeError("Content-Length occurs twice")
            length = read_number(header[1], header[0])
            if length > BODY_LIMIT:
                raise DecodeError(f"Content-Length is {length}; {BODY_LIMIT} is the limit")
        else:
            headers.append(each)
    return _Head(start_line, headers, length)


@lru_cache(maxsize=1024)
def _read_line(line: str) -> tuple[str, tuple[str, str]]:
    # Most lines are the same in every message of a fleet: they are read once, and kept once.
    if len(line) > LINE_LIMIT:
        raise DecodeError(f"header {shown(line)} is longer than {LINE_LIMIT} characters")
    name, colon, value = line.partition(":")
    name = name.rstrip(" \t")
    if not colon or not is_token(name):
        raise DecodeError(f"header line {shown(line)} does not begin with a name and a colon")
    key = name.lower()
    if key in _FULL_NAMES:
        key, name = _FULL_NAMES[key]
    return key, (name, value.strip(" \t"))


# --- the message --------------------------------------------------------------

_SINGLE_IN_RESPONSE = frozenset({"from", "to", "call-id", "cseq", "expires"})
_SINGLE_IN_REQUEST = _SINGLE_IN_RESPONSE | {"max-forwards"}
_CREDENTIALS = frozenset({"authorization", "proxy-authorization"})
_CHALLENGES = frozenset({"www-authenticate", "proxy-authenticate"})
_MANDATORY = (("from", "From"), ("to", "To"), ("call-id", "Call-ID"), ("cseq", "CSeq"))

_START_LINE = re.compile(
    rf"({TOKEN}) ({URI}) SIP/2\.0|SIP/2\.0 ([1-6][0-9][0-9])(?: (.*)|$)", re.IGNORECASE
)


def _read_message(head: _Head, body: bytes) -> SipMessage:
    start = _START_LINE.fullmatch(head.start_line)
    if start is None:
        raise DecodeError(f"start line {shown(head.start_line)} is neither request nor response")
    method, uri, status, reason = start.groups()
    single = _SINGLE_IN_REQUEST if method else _SINGLE_IN_RESPONSE
    authentication = _CREDENTIALS if method else _CHALLENGES
    values: dict[str, str] = {}
    vias: list[str] = []
    contacts: list[Contact] = []
    schemes: list[tuple[str, tuple[tuple[str, str], ...], bool]] = []
    others: list[tuple[str, str]] = []
    for key, header in head.headers:
        name, value = header
        if key in single:
            if key in values:
                raise DecodeError(f"{name} occurs twice")
            values[key] = value
        elif key == "via":
            vias += _read_vias(value)
        elif key == "contact":
            contacts += _read_contacts(value)
        elif key in authentication:
            schemes.append((*read_authentication(value, name), key.startswith("proxy-")))
        else:
            others.append(header)
    if not vias:
        raise DecodeError("no Via header")
    for key, name in _MANDATORY:
        if key not in values:
            raise DecodeError(f"no {name} header")
    call_id = values["call-id"]
    if not _is_call_id(call_id):
        raise DecodeError(f"Call-ID {shown(call_id)} is empty or holds a space")
    sender = _read_name_address(values["from"], "From")
    recipient = _read_name_address(values["to"], "To")
    cseq, cseq_method = _read_cseq(values["cseq"])
    expires = read_number(values["expires"], "Expires") if "expires" in values else None
    if not method:
        return SipResponse(
            status=int(status),
            reason=reason or "",
            vias=tuple(vias),
            sender=sender,
            recipient=recipient,
            call_id=call_id,
            cseq=cseq,
            cseq_method=cseq_method,
            contacts=tuple(contacts),
            expires=expires,
            challenges=tuple(
                Challenge(scheme=scheme, parameters=parameters, is_proxy=is_proxy)
                for scheme, parameters, is_proxy in schemes
            ),
            headers=tuple(others),
            body=body,
        )
    if cseq_method != method:
        raise DecodeError(f"CSeq says {shown(cseq_method)}, the request is {shown(method)}")
    max_forwards = values.get("max-forwards")
    return SipRequest(
        method=method,
        uri=uri,
        vias=tuple(vias),
        sender=sender,
        recipient=recipient,
        call_id=call_id,
        cseq=cseq,
        max_forwards=70 if max_forwards is None else read_number(max_forwards, "Max-Forwards", 255),
        contacts=tuple(contacts),
        expires=expires,
        credentials=tuple(
            Credentials(scheme=scheme, parameters=parameters, is_proxy=is_proxy)
            for scheme, parameters, is_proxy in schemes
        ),
        headers=tuple(others),
        body=body,
    )


# --- header values --------------------------------------------------------------

_begins_a_via = re.compile(
    rf"SIP[ \t]*/[ \t]*2\.0[ \t]*/[ \t]*{TOKEN}[ \t]+[^ \t;,]", re.IGNORECASE
).match
_INSTANCE = re.compile(
    r"<urn:uuid:([0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12})>", re.IGNORECASE
)
_BARE_PARAMETERS = frozenset({"version", "algorithm", "stale", "nc", "userhash", "charset"})


def _read_vias(value: str) -> list[str]:
    items = read_list(value, "Via")
    for item in items:
        if not _begins_a_via(item):
            raise DecodeError(f"Via {shown(item)} begins without SIP/2.0/transport and a host")
    return items


def _read_cseq(value: str) -> tuple[int, str]:
    try:
        cseq = CSeq.parse(value)
    except ValueError:
        raise DecodeError(f"CSeq {shown(value)} is no number and method") from None
    if cseq.sequence >= 2**31 or not value.isascii():
        raise DecodeError(f"CSeq {shown(value)} is no number below 2**31 and method")
    return cseq.sequence, cseq.method


def _read_name_address(value: str, name: str) -> NameAddress:
    uri, display_name, position = read_address(value, 0, name)
    parameters, position = read_parameters(value, position, name)
    if position < len(value):
        raise DecodeError(f"{name} {shown(value)} is not one address")
    tag: str | None = None
    epid: str | None = None
    others = []
    for key, parameter in parameters:
        match key.lower():
            case "tag":
                tag = parameter
            case "epid":
                epid = parameter
            case _:
                others.append((key, parameter))
    for key, token in (("tag", tag), ("epid", epid)):
        if token is not None and not is_token(token):
            raise DecodeError(f"{name} has a {key} that is no token")
    return NameAddress(
        uri=uri, tag=tag, epid=epid, display_name=display_name, parameters=tuple(others)
    )


def _read_contacts(value: str) -> list[Contact]:
    if value == "*":
        return [Contact(uri="*")]
    contacts = []
    position = 0
    while True:
        uri, _, position = read_address(value, position, "Contact")
        parameters, position = read_parameters(value, position, "Contact")
        expires: int | None = None
        instance: str | None = None
        others = []
        for key, parameter in parameters:
            lower = key.lower()
            if lower == "expires":
                expires = read_number(parameter, "expires of Contact")
            elif lower == "+sip.instance" and (match := _INSTANCE.fullmatch(parameter)):
                instance = match.group(1)
            else:
                others.append((key, parameter))
        contacts.append(
            Contact(uri=uri, expires=expires, instance=instance, parameters=tuple(others))
        )
        if position == len(value):
            return contacts
        if value[position] != ",":
            raise DecodeError(f"Contact has {shown(value[position:])} after an address")
        position += 1


def _name_address_text(address: NameAddress) -> str:
    text = f"<{address.uri}>"
    if address.display_name:
        text = f"{quoted(address.display_name)} {text}"
    if address.tag is not None:
        text += f";tag={address.tag}"
    if address.epid is not None:
        text += f";epid={address.epid}"
    return text + parameters_text(address.parameters)


def _contact_text(contact: Contact) -> str:
    if contact.uri == "*":
        return "*"
    text = f"<{contact.uri}>"
    if contact.expires is not None:
        text += f";expires={contact.expires}"
    text += parameters_text(contact.parameters)
    if contact.instance is not None:
        text += f';+sip.instance="<urn:uuid:{contact.instance}>"'
    return text


def authentication_text(authentication: Challenge | Credentials) -> str:
    """A header's value: quoted but for what RFC 3261 section 25.1 and [MS-SIPAE] write bare."""
    if not authentication.parameters:
        return authentication.scheme
    bare_qop = isinstance(authentication, Credentials) and authentication.scheme == "Digest"
    items = []
    for key, value in authentication.parameters:
        is_bare = key in _BARE_PARAMETERS or (bare_qop and key == "qop")
        items.append(f"{key}={value if is_bare and is_token(value) else quoted(value)}")
    return f"{authentication.scheme} {', '.join(items)}"
