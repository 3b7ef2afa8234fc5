"""What an ACK grants: reading a lease out of a DHCP message's options.

Specifications: RFC 2131 section 4.4.5 (T1 and T2), RFC 2132 (the options).
"""

from __future__ import annotations

from phonesim.device.events import Lease
from phonesim.errors import DecodeError
from phonesim.wire.dhcp import (
    UNSPECIFIED,
    DhcpMessage,
    Option,
    decode_addresses,
    decode_u32,
)

INFINITE_LEASE = 0xFFFFFFFF
"""RFC 2131 section 3.3."""


def server_identifier(message: DhcpMessage) -> str | None:
    """The server that sent the message (option 54); `DecodeError` if it is no address."""
    value = message.options.get(Option.SERVER_IDENTIFIER)
    if value is None:
        return None
    addresses = decode_addresses(value)
    if len(addresses) != 1:
        raise DecodeError(f"server identifier of {len(value)} octets, not 4")
    return addresses[0]


def read_lease(ack: DhcpMessage, server: str, requested_at: float) -> Lease:
    """The lease that an ACK grants; `DecodeError` says which option is unusable.

    Its times count from `requested_at`, when the REQUEST was sent (RFC 2131 section 4.4.1).
    """
    options = ack.options
    if ack.yiaddr == UNSPECIFIED:
        raise DecodeError("ACK without an address")
    granted = options.get(Option.IP_ADDRESS_LEASE_TIME)
    if granted is None:
        raise DecodeError("ACK without a lease time")
    duration = decode_u32(granted)
    if duration == INFINITE_LEASE:
        t1 = t2 = expiry = float("inf")
    else:
        # RFC 2131 section 4.4.5: T1 defaults to 0.5 and T2 to 0.875 of the duration; values
        # that are out of order are of no use.
        expiry = float(duration)
        t1, t2 = expiry * 0.5, expiry * 0.875
        if Option.RENEWAL_TIME in options and Option.REBINDING_TIME in options:
            given_t1 = float(decode_u32(options[Option.RENEWAL_TIME]))
            given_t2 = float(decode_u32(options[Option.REBINDING_TIME]))
            if given_t1 < given_t2 < expiry:
                t1, t2 = given_t1, given_t2
    domain = options.get(Option.DOMAIN_NAME)
    return Lease(
        address=ack.yiaddr,
        subnet_mask=next(iter(_addresses(options, Option.SUBNET_MASK)), "255.255.255.0"),
        server=server,
        t1_at=requested_at + t1,
        t2_at=requested_at + t2,
        expires_at=requested_at + expiry,
        routers=_addresses(options, Option.ROUTER),
        dns_servers=_addresses(options, Option.DOMAIN_NAME_SERVER),
        domain=None if domain is None else _domain(domain),
        ntp_servers=_addresses(options, Option.NTP_SERVERS),
        time_servers=_addresses(options, Option.TIME_SERVER),
    )


def _addresses(options: dict[int, bytes], code: Option) -> tuple[str, ...]:
    value = options.get(code)
    return () if value is None else decode_addresses(value)


def _domain(value: bytes) -> str | None:
    return value.rstrip(b"\0").decode("ascii", "replace").strip(".").lower() or None
