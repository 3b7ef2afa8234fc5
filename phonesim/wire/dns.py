"""DNS queries and responses, over dnspython.

Names are lower-case text without the final dot. Specifications: RFC 1035,
RFC 2308 (NODATA), RFC 2782 (SRV), RFC 6891 is not used: the phone sends no EDNS.
"""

from __future__ import annotations

import msgspec

DNS_PORT = 53


class SrvData(msgspec.Struct, frozen=True):
    """RDATA of an SRV record; a target of "." (no such service) is ""."""

    priority: int
    weight: int
    port: int
    target: str


class DnsRecord(msgspec.Struct, frozen=True):
    """One record. `data` is an IPv4 address for A, a name for CNAME, `SrvData` for SRV."""

    name: str
    rtype: str
    ttl: int
    data: str | SrvData


class DnsQuery(msgspec.Struct, frozen=True, kw_only=True):
    """A question: `qtype` is a mnemonic ("A", "SRV", "CNAME")."""

    id: int
    qname: str
    qtype: str
    recursion_desired: bool = True


class DnsResponse(msgspec.Struct, frozen=True, kw_only=True):
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
