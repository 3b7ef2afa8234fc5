"""What an ACK grants: reading a lease, and a voice VLAN, out of a DHCP message's options.

An option that cannot be read is reported and left out: a mistyped NTP server is no
reason to do without an address. Only without a lease time is an ACK of no use.

Specifications: RFC 2131 section 4.4.5 (T1 and T2), RFC 2132 (the options), device
reference section 4 (the voice VLAN in option 43).
"""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import lru_cache
from typing import TypeVar

from phonesim.device import device_log as log
from phonesim.device.device_log import LogRecord
from phonesim.device.events import Lease
from phonesim.errors import DecodeError
from phonesim.wire.dhcp import (
    UNSPECIFIED,
    DhcpMessage,
    Option,
    decode_addresses,
    decode_u32,
)
from phonesim.wire.domain_search import decode_domain_search
from phonesim.wire.provisioning import VlanForm, decode_uc_options

INFINITE_LEASE = 0xFFFFFFFF
"""RFC 2131 section 3.3."""

Value = TypeVar("Value")


def server_identifier(message: DhcpMessage) -> str | None:
    """The server that sent the message (option 54); `DecodeError` if it is no address."""
    value = message.options.get(Option.SERVER_IDENTIFIER)
    if value is None:
        return None
    addresses = decode_addresses(value)
    if len(addresses) != 1:
        raise DecodeError(f"server identifier of {len(value)} octets, not 4")
    return addresses[0]


def read_lease(ack: DhcpMessage, server: str, requested_at: float) -> tuple[Lease, list[LogRecord]]:
    """The lease that an ACK grants, and a record for each option of it that is not used.

    Its times count from `requested_at`, when the REQUEST was sent (RFC 2131 section 4.4.1).
    `DecodeError` if the ACK grants none.
    """
    if ack.yiaddr == UNSPECIFIED:
        raise DecodeError("ACK without an address")
    options = ack.options
    granted = options.get(Option.IP_ADDRESS_LEASE_TIME)
    if granted is None:
        raise DecodeError("ACK without a lease time")
    duration, t1, t2, parameters, warnings = _read_parameters(
        granted, tuple([options.get(code) for code in _PARAMETERS])
    )
    lease = Lease(
        address=ack.yiaddr,
        server=server,
        t1_at=requested_at + t1,
        t2_at=requested_at + t2,
        expires_at=requested_at + duration,
        subnet_mask=parameters[0],
        routers=parameters[1],
        dns_servers=parameters[2],
        domain=parameters[3],
        search_list=parameters[4],
        ntp_servers=parameters[5],
        time_servers=parameters[6],
    )
    return lease, [log.OPTION_WARNING(server, *warning) for warning in warnings]


_PARAMETERS = (
    Option.RENEWAL_TIME,
    Option.REBINDING_TIME,
    Option.SUBNET_MASK,
    Option.ROUTER,
    Option.DOMAIN_NAME_SERVER,
    Option.DOMAIN_NAME,
    Option.DOMAIN_SEARCH,
    Option.NTP_SERVERS,
    Option.TIME_SERVER,
)

Parameters = tuple[
    str,
    tuple[str, ...],
    tuple[str, ...],
    str | None,
    tuple[str, ...],
    tuple[str, ...],
    tuple[str, ...],
]


@lru_cache(maxsize=1024)
def _read_parameters(
    granted: bytes, values: tuple[bytes | None, ...]
) -> tuple[float, float, float, Parameters, tuple[tuple[int, str], ...]]:
    """What all clients of a scope are told: lease, T1 and T2 in seconds, and the parameters.

    `values` are those of `_PARAMETERS`. With them the options that are not used, and why.
    """
    warnings: list[tuple[int, str]] = []
    given = dict(zip(_PARAMETERS, values, strict=True))

    def read(code: Option, decode: Callable[[bytes], Value], default: Value) -> Value:
        value = given[code]
        if value is None:
            return default
        try:
            return decode(value)
        except DecodeError as error:
            warnings.append((code, f"{error}: not used"))
            return default

    duration = _decode_seconds(granted)
    if not duration:
        raise DecodeError("ACK with a lease time of 0")
    t1, t2 = duration * 0.5, duration * 0.875
    if values[:2] != (None, None):
        given_t1 = read(Option.RENEWAL_TIME, _decode_seconds, t1)
        given_t2 = read(Option.REBINDING_TIME, _decode_seconds, t2)
        # RFC 2131 section 4.4.5: T1 is before T2, and T2 before the end of the lease.
        if given_t1 < given_t2 < duration:
            t1, t2 = given_t1, given_t2
        elif duration < _FOREVER:
            detail = f"T1 {given_t1:.0f}, T2 {given_t2:.0f} and lease {duration:.0f} s"
            detail += " are out of order: T1 and T2 not used"
            warnings.append((Option.RENEWAL_TIME, detail))
    none: tuple[str, ...] = ()
    parameters = (
        read(Option.SUBNET_MASK, decode_addresses, _DEFAULT_MASK)[0],
        read(Option.ROUTER, decode_addresses, none),
        read(Option.DOMAIN_NAME_SERVER, decode_addresses, none),
        read(Option.DOMAIN_NAME, _decode_domain, None),
        read(Option.DOMAIN_SEARCH, _decode_search_list, none),
        read(Option.NTP_SERVERS, decode_addresses, none),
        read(Option.TIME_SERVER, decode_addresses, none),
    )
    return duration, t1, t2, parameters, tuple(warnings)


def read_voice_vlan(
    ack: DhcpMessage, server: str, forms: tuple[VlanForm, ...]
) -> tuple[int | None, list[LogRecord]]:
    """The voice VLAN (1 to 4094) that option 43 names in one of the `forms`, or None.

    With it come the records about the option, none if there is no option.
    """
    octets = ack.options.get(Option.VENDOR_SPECIFIC_INFORMATION)
    if octets is None:
        return None, []
    options = decode_uc_options(octets, forms)
    records = [
        log.OPTION_WARNING(server, Option.VENDOR_SPECIFIC_INFORMATION, warning)
        for warning in options.warnings
    ]
    if options.vlan_id is not None:
        records.insert(0, log.VLAN_OPTION(server, octets.hex(), options.vlan_id))
    return options.vlan_id, records


_DEFAULT_MASK: tuple[str, ...] = ("255.255.255.0",)
_FOREVER = float("inf")
_LONGEST_DOMAIN = 200  # leaves room for the names that are put before it
_is_domain = re.compile(r"[a-z0-9_][a-z0-9_-]{0,62}(\.[a-z0-9_][a-z0-9_-]{0,62})*").fullmatch


def _decode_seconds(value: bytes) -> float:
    seconds = decode_u32(value)
    return _FOREVER if seconds == INFINITE_LEASE else float(seconds)


def _decode_domain(value: bytes) -> str | None:
    domain = value.rstrip(b"\0").decode("ascii", "replace").strip(".").lower()
    return _checked(domain) if domain else None


def _decode_search_list(value: bytes) -> tuple[str, ...]:
    return tuple(map(_checked, decode_domain_search(value)))


def _checked(domain: str) -> str:
    if not _is_domain(domain) or len(domain) > _LONGEST_DOMAIN:
        raise DecodeError(f'"{domain}" is no domain name')
    return domain
