"""Messages in words, for people who follow an exchange: what each says, and what it holds.

A message becomes one line that says what it is, and lines with its content. What gives access
to anything is left out: PINs, the octets of which a ticket's key is made, tickets themselves,
and what a password could be guessed from. Octets that say nothing to people (certificates,
handshakes) are described.

A message that cannot be read is not an error here: the line says so.
"""

from __future__ import annotations

import base64
import binascii
import re

import msgspec
from lxml import etree

from phonesim.errors import DecodeError
from phonesim.wire.dhcp import (
    DhcpMessage,
    Option,
    decode_addresses,
    decode_dhcp,
    decode_u32,
)
from phonesim.wire.dns import DnsRecord, SrvData, decode_query, decode_response
from phonesim.wire.ntlm import name_of_message
from phonesim.wire.provisioning import decode_sip_servers, decode_uc_options
from phonesim.wire.sip import Challenge, Credentials, SipRequest, decode_sip
from phonesim.wire.sipae import read_authorization, read_offer
from phonesim.wire.tls_records import describe_flight
from phonesim.wire.xml_document import local_name, parse_document

_LONGEST_BASE64 = 80
_HIDDEN = "********"
_SECRET_ELEMENTS = frozenset({"Password", "BinarySecret"})
_HTTP_TOKEN = re.compile(r"(?i)(Authorization|WWW-Authenticate): (NTLM|Negotiate) (.+)")
_SECRET_HEADERS = re.compile(r"(?im)^((?:Authorization|X-MS-WebTicket)): .*$")
_GSSAPI_DATA = re.compile(r'gssapi-data="([^"]*)"')
_DIGEST_RESPONSE = re.compile(r'(Authorization: Digest .*?\bresponse=)"[^"]*"', re.IGNORECASE)


class Spoken(msgspec.Struct, frozen=True, gc=False):
    """What a message is, in one line, and its content in lines."""

    title: str
    lines: tuple[str, ...] = ()


# --- DHCP, DNS ---


def speak_dhcp(octets: bytes) -> Spoken:
    """A DHCP message: its type, its addresses, its options."""
    try:
        message = decode_dhcp(octets)
    except DecodeError as error:
        return Spoken(f"DHCP that cannot be read: {error}")
    lines = [f"xid 0x{message.xid:08x} secs {message.secs}"]
    addresses = [
        f"{name} {value}"
        for name, value in (
            ("ciaddr", message.ciaddr),
            ("yiaddr", message.yiaddr),
            ("siaddr", message.siaddr),
            ("giaddr", message.giaddr),
        )
        if value != "0.0.0.0"
    ]
    if addresses:
        lines.append(" ".join(addresses))
    lines += [
        _option(code, value)
        for code, value in message.options.items()
        if code != Option.DHCP_MESSAGE_TYPE
    ]
    return Spoken(f"DHCP {_dhcp_name(message)}", tuple(lines))


def _dhcp_name(message: DhcpMessage) -> str:
    asked = message.options.get(Option.VENDOR_CLASS_IDENTIFIER)
    name = message.message_type.name
    return name if asked is None else f"{name} of class {asked.decode('ascii', 'replace')}"


_OPTION_NAMES = {int(each): each.name.lower().replace("_", " ") for each in Option}
_ADDRESS_OPTIONS = frozenset(
    {
        Option.SUBNET_MASK,
        Option.ROUTER,
        Option.TIME_SERVER,
        Option.DOMAIN_NAME_SERVER,
        Option.NTP_SERVERS,
        Option.REQUESTED_IP_ADDRESS,
        Option.SERVER_IDENTIFIER,
    }
)
_TEXT_OPTIONS = frozenset(
    {Option.HOST_NAME, Option.DOMAIN_NAME, Option.MESSAGE, Option.VENDOR_CLASS_IDENTIFIER}
)
_TIME_OPTIONS = frozenset(
    {Option.IP_ADDRESS_LEASE_TIME, Option.RENEWAL_TIME, Option.REBINDING_TIME}
)


def _option(code: int, value: bytes) -> str:
    return f"option {code} {_OPTION_NAMES.get(code, '')}: {_option_value(code, value)}"


def _option_value(code: int, value: bytes) -> str:
    try:
        if code in _ADDRESS_OPTIONS:
            return " ".join(decode_addresses(value))
        if code in _TIME_OPTIONS:
            return f"{decode_u32(value)} s"
    except DecodeError as error:
        return f"{value.hex()} ({error})"
    if code in _TEXT_OPTIONS:
        return value.decode("ascii", "backslashreplace")
    if code == Option.PARAMETER_REQUEST_LIST:
        return " ".join(map(str, value))
    if code == Option.VENDOR_SPECIFIC_INFORMATION:
        uc = decode_uc_options(value)
        parts = (
            *(uc.uc_identifier, uc.url_scheme, uc.web_server_fqdn),
            *(uc.web_server_port, uc.cert_prov_rel_path, uc.vlan_id),
        )
        return f"{value.hex()} ({' '.join(str(part) for part in parts if part is not None)})"
    if code == Option.SIP_SERVERS:
        servers = decode_sip_servers(value)
        return f"{value.hex()} ({' '.join((*servers.names, *servers.addresses))})"
    return value.hex()


def speak_dns(octets: bytes) -> Spoken:
    """A DNS query or its answer."""
    is_answer = len(octets) > 2 and bool(octets[2] & 0x80)
    try:
        if not is_answer:
            query = decode_query(octets)
            return Spoken(f"DNS query {query.qtype} {query.qname}")
        answer = decode_response(octets)
    except DecodeError as error:
        return Spoken(f"DNS that cannot be read: {error}")
    cut = ", cut off" if answer.truncated else ""
    return Spoken(
        f"DNS answer {answer.qtype} {answer.qname}: {answer.rcode}{cut}",
        tuple(map(_record, answer.answers)),
    )


def _record(record: DnsRecord) -> str:
    data = record.data
    if isinstance(data, SrvData):
        data = f"{data.priority} {data.weight} {data.port} {data.target}"
    return f"{record.name} {record.rtype} {data} ttl {record.ttl}"


# --- HTTP ---


def speak_http(octets: bytes) -> Spoken:
    """An HTTP request or its answer, with its SOAP body."""
    head, _, body = octets.partition(b"\r\n\r\n")
    first, *headers = head.decode("utf-8", "replace").split("\r\n")
    lines = [_http_header(line) for line in headers]
    title = first.removesuffix(" HTTP/1.1").removeprefix("HTTP/1.1 ")
    operation = ""
    if body:
        lines.append("")
        try:
            root = parse_document(body)
        except DecodeError as error:
            lines.append(f"{len(body)} octets that are no SOAP message: {error}")
        else:
            operation = _operation(root)
            lines += _xml(root)
    return Spoken(f"HTTP {title}{operation and f', {operation}'}", tuple(lines))


def _http_header(line: str) -> str:
    """A header without secrets; a token of NTLM by the name of its message."""
    found = _HTTP_TOKEN.fullmatch(line)
    if found is None:
        return _SECRET_HEADERS.sub(rf"\1: {_HIDDEN}", line)
    try:
        octets = base64.b64decode(found[3], validate=True)
        name = name_of_message(octets)
    except (DecodeError, ValueError, binascii.Error):
        return f"{found[1]}: {found[2]} {_HIDDEN}"
    return f"{found[1]}: {found[2]} ({name}, {len(octets)} octets)"


def _operation(root: etree._Element) -> str:
    """The name of what stands in the SOAP body, or what the document is."""
    if local_name(root) == "definitions":
        return "service metadata"
    for element in root.iter("{*}Body"):
        for content in element:
            return local_name(content)
    return ""


def _xml(root: etree._Element) -> list[str]:
    for element in list(root.iter("{*}Assertion")):
        size = len(etree.tostring(element))
        for child in list(element):
            element.remove(child)
        element.text = f"a ticket of {size} octets"
    for element in root.iter():
        text = (element.text or "").strip()
        if local_name(element) in _SECRET_ELEMENTS:
            element.text = _HIDDEN
        elif len(text) > _LONGEST_BASE64 and not len(element):
            element.text = _shortened(text)
    etree.indent(root)
    return etree.tostring(root, encoding="unicode").splitlines()


def _shortened(text: str) -> str:
    try:
        size = len(base64.b64decode("".join(text.split()), validate=True))
    except (ValueError, binascii.Error):
        return text
    return f"{text[:20]}... ({size} octets)"


# --- SIP ---


def speak_sip(octets: bytes) -> Spoken:
    """A SIP message, the handshake in its gssapi-data named."""
    if not octets.strip(b"\r\n"):
        return Spoken("SIP keep-alive")
    text = octets.decode("utf-8", "replace").rstrip("\r\n")
    text = _GSSAPI_DATA.sub(_flight, text)
    lines = tuple(_DIGEST_RESPONSE.sub(rf'\1"{_HIDDEN}"', line) for line in text.split("\r\n"))
    try:
        message = decode_sip(octets)
    except DecodeError as error:
        return Spoken(f"SIP that cannot be read: {error}", lines)
    if isinstance(message, SipRequest):
        title = message.method
        marks = [_credentials(each) for each in message.credentials]
        if message.expires == 0:
            ended = "subscription" if message.method == "SUBSCRIBE" else "binding"
            marks.append(f"ends the {ended}")
    else:
        title = f"{message.status} {message.reason} to {message.cseq_method}"
        marks = [each for each in map(_flight_of, message.challenges) if each]
        offers = [each.scheme for each in message.challenges if not _flight_of(each)]
        if offers:
            marks.append(f"offers {', '.join(offers)}")
        if any(name.lower().endswith("authentication-info") for name, _ in message.headers):
            marks.append("signed")
    return Spoken(f"SIP {title} ({', '.join(marks)})" if marks else f"SIP {title}", lines)


# --- TLS ---


def speak_tls(octets: bytes) -> Spoken:
    """The records of one side of a TLS handshake: the messages in them, by name."""
    try:
        return Spoken(f"TLS {describe_flight(octets)}")
    except DecodeError:
        return Spoken("TLS")


def _credentials(credentials: Credentials) -> str:
    try:
        given = read_authorization(credentials)
    except DecodeError:
        return credentials.scheme
    if given is None or (given.gssapi_data is None and given.response is None):
        return credentials.scheme
    if given.gssapi_data is None:
        return f"signed by {given.scheme}"
    return f"{given.scheme} {_described(given.gssapi_data)}"


def _flight_of(challenge: Challenge) -> str:
    """What a challenge says of its handshake; nothing if it offers a scheme."""
    try:
        offer = read_offer(challenge)
    except DecodeError:
        return ""
    if offer is None or offer.gssapi_data is None:
        return ""
    return f"{offer.scheme} {_described(offer.gssapi_data)}"


def _flight(found: re.Match[str]) -> str:
    try:
        octets = base64.b64decode(found[1], validate=True)
    except (ValueError, binascii.Error):
        return found[0]
    return f'gssapi-data="({_described(octets)}, {len(octets)} octets)"'


def _described(octets: bytes) -> str:
    try:
        return describe_flight(octets)
    except DecodeError:
        return "token" if octets else "request for a challenge"
