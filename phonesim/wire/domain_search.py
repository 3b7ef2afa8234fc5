"""Option 119: the domains that a name is completed with, in the order they are tried.

The value is a row of DNS names, and one may end in a pointer to another: offsets count from the
value's first octet, pieces of a long option joined (RFC 3396). Domains are lower-case text
without the final dot; a root name, as padding leaves it behind, is passed over.

Specifications: RFC 3397, RFC 1035 sections 3.1 and 4.1.4.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

import dns.exception
import dns.name

from phonesim.errors import DecodeError


def encode_domain_search(domains: Sequence[str]) -> bytes:
    """The value, uncompressed. ValueError for what is no domain."""
    octets = b""
    for domain in domains:
        try:
            name = dns.name.from_text(domain, dns.name.root)
        except (dns.exception.DNSException, UnicodeError) as error:
            raise ValueError(f"{domain!r} is not a domain name: {error}") from error
        if name == dns.name.root:
            raise ValueError("the root is not a domain to search")
        wire = name.canonicalize().to_wire()
        assert wire is not None  # it is None only if written to a file
        octets += wire
    return octets


@lru_cache(maxsize=1024)
def decode_domain_search(value: bytes) -> tuple[str, ...]:
    """The domains, compressed or not; `DecodeError` says at which offset it is not one."""
    domains = []
    at = 0
    while at < len(value):
        try:
            name, size = dns.name.from_wire(value, at)
        except dns.exception.DNSException as error:
            detail = str(error) or type(error).__name__
            raise DecodeError(f"the domain at offset {at}: {detail}") from error
        at += size
        if name != dns.name.root:
            domains.append(name.to_text(omit_final_dot=True).lower())
    return tuple(domains)
