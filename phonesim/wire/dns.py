"""DNS queries and responses, over dnspython.

Names are lower-case text without the final dot; the root is "". A label's octets
that are no plain characters are escaped as in a zone file (`\\.`, `\\032`).

dnspython takes about 0.1 ms a message, so what it made is remembered: a parse
by the octets behind the id, a rendering by what it says. A fleet asks a site
for the same few names, and only the id differs.

The encoders raise ValueError for what DNS cannot carry (a label of 64 octets,
an unknown type), the decoders raise `DecodeError` and nothing else.

Specifications: RFC 1035, RFC 2181 section 9 (TC), RFC 2308 (NODATA), RFC 2782
(SRV). RFC 6891 is not used: the phone sends no EDNS.
"""

from __future__ import annotations

import struct
from functools import lru_cache
from typing import Any

import dns.exception
import dns.flags
import dns.message
import dns.name
import dns.opcode
import dns.rcode
import dns.rdata
import dns.rdataclass
import dns.rdatatype
import dns.renderer
import dns.rrset
import msgspec
from dns.rdtypes.ANY.CNAME import CNAME
from dns.rdtypes.IN.A import A
from dns.rdtypes.IN.SRV import SRV

from phonesim.errors import DecodeError

DNS_PORT = 53


class SrvData(msgspec.Struct, frozen=True, gc=False):
    """RDATA of an SRV record; a target of "." (no such service) is ""."""

    priority: int
    weight: int
    port: int
    target: str


class DnsRecord(msgspec.Struct, frozen=True, gc=False):
    """One record. `data` is an IPv4 address for A, a name for CNAME, `SrvData` for SRV."""

    name: str
    rtype: str
    ttl: int
    data: str | SrvData


class DnsQuery(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """A question: `qtype` is a mnemonic ("A", "SRV", "CNAME")."""

    id: int
    qname: str
    qtype: str
    recursion_desired: bool = True


class DnsResponse(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """An answer: `rcode` is a mnemonic ("NOERROR", "NXDOMAIN", "SERVFAIL").

    Records whose type is none of A, CNAME and SRV are left out of `answers`.
    """

    id: int
    qname: str
    qtype: str
    rcode: str = "NOERROR"
    answers: tuple[DnsRecord, ...] = ()
    truncated: bool = False
    authoritative: bool = False


def encode_query(query: DnsQuery) -> bytes:
    """The octets of a query of class IN."""
    return _encode_id(query.id) + _render_query(query.qname, query.qtype, query.recursion_desired)


def decode_query(data: bytes) -> DnsQuery:
    """Read a standard query with one question of class IN; EDNS is skipped."""
    qname, qtype, recursion_desired = _parse_query(_split_tail(data))
    return DnsQuery(
        id=int.from_bytes(data[:2], "big"),
        qname=qname,
        qtype=qtype,
        recursion_desired=recursion_desired,
    )


def encode_response(response: DnsResponse, limit: int | None = None) -> bytes:
    """The octets of a response, at most `limit` of them (TCP's 65535 if None).

    Records that do not fit are left out from the first such one on, and TC is
    set: over UDP `limit` is 512. The question is always written, and RD is set
    as the phone's queries have it.
    """
    return _encode_id(response.id) + _render_response(
        response.qname,
        response.qtype,
        response.rcode,
        response.answers,
        response.truncated,
        response.authoritative,
        _LARGEST_MESSAGE if limit is None else limit,
    )


def decode_response(data: bytes) -> DnsResponse:
    """Read a response to a standard query with one question of class IN."""
    qname, qtype, rcode, answers, truncated, authoritative = _parse_response(_split_tail(data))
    return DnsResponse(
        id=int.from_bytes(data[:2], "big"),
        qname=qname,
        qtype=qtype,
        rcode=rcode,
        answers=answers,
        truncated=truncated,
        authoritative=authoritative,
    )


_REMEMBERED = 4096
_LARGEST_MESSAGE = 65535
_HEADER_SIZE = 12
_HIGHEST_TTL = 0x7FFFFFFF
_HIGHEST_RCODE = 15
_PLACEHOLDER_ID = b"\0\0"
_IN = dns.rdataclass.IN
_QUERY_HEADER = struct.Struct("!HHHHH")
_FLAGS_AND_COUNT = struct.Struct("!HH")


def _encode_id(message_id: int) -> bytes:
    if not 0 <= message_id <= 0xFFFF:
        raise ValueError(f"{message_id} is not a DNS id of 16 bits")
    return message_id.to_bytes(2, "big")


def _split_tail(data: bytes) -> bytes:
    """Everything behind the id."""
    if len(data) < _HEADER_SIZE:
        raise DecodeError(f"{len(data)} octets: a DNS message has a header of {_HEADER_SIZE}")
    return data[2:]


@lru_cache(maxsize=_REMEMBERED)
def _render_query(qname: str, qtype: str, recursion_desired: bool) -> bytes:
    """Everything behind the id."""
    flags = int(dns.flags.RD) if recursion_desired else 0
    question = struct.pack("!HH", _type_code(qtype), _IN)
    name = _name(qname).to_wire()
    assert name is not None  # it is None only if written to a file
    return _QUERY_HEADER.pack(flags, 1, 0, 0, 0) + name + question


@lru_cache(maxsize=_REMEMBERED)
def _render_response(
    qname: str,
    qtype: str,
    rcode: str,
    answers: tuple[DnsRecord, ...],
    truncated: bool,
    authoritative: bool,
    limit: int,
) -> bytes:
    """Everything behind the id."""
    flags = dns.flags.QR | dns.flags.RD | _rcode_value(rcode)
    if authoritative:
        flags |= dns.flags.AA
    if truncated:
        flags |= dns.flags.TC
    renderer: Any = dns.renderer.Renderer(  # type: ignore[no-untyped-call]  # it has no types
        id=0, flags=int(flags)
    )
    renderer.add_question(_name(qname), _type_code(qtype), _IN)
    renderer.max_size = min(limit, _LARGEST_MESSAGE)
    for record in answers:
        rrset = _make_rrset(record)
        try:
            renderer.add_rrset(dns.renderer.ANSWER, rrset)
        except dns.exception.TooBig:
            renderer.flags |= dns.flags.TC
            break
    renderer.write_header()
    wire: bytes = renderer.get_wire()
    return wire[2:]


@lru_cache(maxsize=_REMEMBERED)
def _parse_query(tail: bytes) -> tuple[str, str, bool]:
    """Qname, qtype and RD of the query that is `tail` behind its id."""
    message = _parse(tail, is_response=False)
    question = message.question[0]
    recursion_desired = bool(message.flags & dns.flags.RD)
    return _name_text(question.name), dns.rdatatype.to_text(question.rdtype), recursion_desired


@lru_cache(maxsize=_REMEMBERED)
def _parse_response(
    tail: bytes,
) -> tuple[str, str, str, tuple[DnsRecord, ...], bool, bool]:
    """The fields of the response that is `tail` behind its id, in `DnsResponse`'s order."""
    message = _parse(tail, is_response=True)
    question = message.question[0]
    answers = [_read_record(rrset) for rrset in message.answer if rrset.rdclass == _IN]
    return (
        _name_text(question.name),
        dns.rdatatype.to_text(question.rdtype),
        dns.rcode.to_text(message.rcode()),
        tuple(record for record in answers if record is not None),
        bool(message.flags & dns.flags.TC),
        bool(message.flags & dns.flags.AA),
    )


def _parse(tail: bytes, *, is_response: bool) -> dns.message.Message:
    kind = "response" if is_response else "query"
    flags, question_count = _FLAGS_AND_COUNT.unpack_from(tail)
    if bool(flags & dns.flags.QR) != is_response:
        raise DecodeError(f"the QR bit is {int(not is_response)}: this is no DNS {kind}")
    opcode = dns.opcode.from_flags(flags)
    if opcode != dns.opcode.QUERY:
        raise DecodeError(f"the DNS opcode is {opcode:d}, not QUERY (0)")
    if question_count != 1:
        raise DecodeError(f"the DNS {kind} has {question_count} questions, not 1")
    try:
        message = dns.message.from_wire(_PLACEHOLDER_ID + tail, one_rr_per_rrset=True)
    # dnspython means to raise DNSException only; whatever else its readers of
    # rare record types let slip is the sender's fault all the same.
    except Exception as error:
        detail = " ".join(str(error).split()) or type(error).__name__
        raise DecodeError(f"DNS {kind} of {2 + len(tail)} octets: {detail}") from error
    question = message.question[0]
    if question.rdclass != _IN:
        raise DecodeError(f"the DNS question's class is {question.rdclass:d}, not IN (1)")
    return message


def _read_record(rrset: dns.rrset.RRset) -> DnsRecord | None:
    """The one record of `rrset`; None if its type is none of those kept."""
    rdata = rrset[0]
    data: str | SrvData
    match rdata:
        case A():
            data = rdata.address
        case CNAME():
            data = _name_text(rdata.target)
        case SRV():
            target = _name_text(rdata.target)
            data = SrvData(rdata.priority, rdata.weight, rdata.port, target)
        case _:
            return None
    rtype = dns.rdatatype.to_text(rrset.rdtype)
    return DnsRecord(_name_text(rrset.name), rtype, rrset.ttl, data)


def _make_rrset(record: DnsRecord) -> dns.rrset.RRset:
    if not 0 <= record.ttl <= _HIGHEST_TTL:
        raise ValueError(f"{record.ttl} is not a TTL of 31 bits")
    match record:
        case DnsRecord(rtype="A", data=str(address)):
            text = address
        case DnsRecord(rtype="CNAME", data=str(target)):
            text = _name(target).to_text()
        case DnsRecord(rtype="SRV", data=SrvData(priority, weight, port, target)):
            text = f"{priority} {weight} {port} {_name(target).to_text()}"
        case _:
            raise ValueError(f"cannot write a record of type {record.rtype} from {record.data!r}")
    try:
        rdata = dns.rdata.from_text(_IN, record.rtype, text)
    except dns.exception.DNSException as error:
        raise ValueError(f"{text!r} is no data of type {record.rtype}: {error}") from error
    return dns.rrset.from_rdata(_name(record.name), record.ttl, rdata)


@lru_cache(maxsize=_REMEMBERED)
def _name(text: str) -> dns.name.Name:
    """The absolute name; ValueError if `text` is none."""
    try:
        return dns.name.from_text(text, dns.name.root)
    except (dns.exception.DNSException, UnicodeError) as error:
        raise ValueError(f"{text!r} is not a DNS name: {error}") from error


def _name_text(name: dns.name.Name) -> str:
    return name.to_text(omit_final_dot=True).lower() if len(name) > 1 else ""


def _type_code(qtype: str) -> dns.rdatatype.RdataType:
    try:
        return dns.rdatatype.from_text(qtype)
    except (dns.exception.DNSException, ValueError) as error:
        raise ValueError(f"{qtype!r} is not a DNS type") from error


def _rcode_value(rcode: str) -> int:
    try:
        value = dns.rcode.from_text(rcode)
    except (dns.exception.DNSException, ValueError) as error:
        raise ValueError(f"{rcode!r} is not a DNS rcode") from error
    if value > _HIGHEST_RCODE:
        raise ValueError(f"{rcode} needs EDNS, which is not used")
    return int(value)
