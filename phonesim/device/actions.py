"""What a phone asks of the world. Performing one never re-enters `Phone.handle`."""

from __future__ import annotations

import msgspec

from phonesim.device.device_log import LogRecord
from phonesim.wire.dhcp import DhcpMessage
from phonesim.wire.dns import DnsQuery
from phonesim.wire.http import HttpRequest
from phonesim.wire.lldp import LldpUnit
from phonesim.wire.ntp import NtpPacket
from phonesim.wire.sip import SipMessage


class Action(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """Base of everything that `handle` returns for the world."""


class AdvertiseLldp(Action, frozen=True, kw_only=True):
    """Say `unit` to the switch: now, then a second apart until it was said `fast_count` times,
    then every `interval` seconds. It takes the place of what was said before; a unit with a
    `ttl` of 0 is said once, and nothing after it.
    """

    unit: LldpUnit
    fast_count: int = 1
    interval: float = 0


class JoinVlan(Action, frozen=True, kw_only=True):
    """All frames but LLDP belong to this VLAN from now on; None is untagged, as at power-on."""

    vlan_id: int | None


class SendDhcp(Action, frozen=True, kw_only=True):
    """Send from `source` port 68 to `destination` port 67; "0.0.0.0" is no address yet."""

    message: DhcpMessage
    source: str
    destination: str


class ProbeAddress(Action, frozen=True, kw_only=True):
    """Find out whether another host uses `address`; answered by `AddressProbed`."""

    address: str


class ConfigureAddress(Action, frozen=True, kw_only=True):
    """The phone uses `address` from now on."""

    address: str
    subnet_mask: str
    routers: tuple[str, ...] = ()


class AnnounceAddress(Action, frozen=True, kw_only=True):
    """Say to everybody that `address`, which is configured, is the phone's (RFC 5227)."""

    address: str


class RemoveAddress(Action, frozen=True, kw_only=True):
    """The phone must not use `address` any more."""

    address: str


class SendDns(Action, frozen=True, kw_only=True):
    """Send a query to `server` port 53, from the phone's address `source`."""

    query: DnsQuery
    source: str
    server: str
    over_tcp: bool = False


class SendNtp(Action, frozen=True, kw_only=True):
    """Send a packet to `server` port 123."""

    packet: NtpPacket
    source: str
    server: str


class SendHttp(Action, frozen=True, kw_only=True):
    """POST `request` to the server at IPv4 `address`; one answer or failure follows.

    For https, `trust` is the downloaded chain (DER PKCS#7), the only thing the
    phone trusts, and `clock` the Unix time at which certificates must be valid.
    `continues` names an earlier exchange whose connection this one needs: it fails if that
    is closed.
    """

    exchange_id: int
    request: HttpRequest
    source: str
    address: str
    trust: bytes | None
    clock: float
    timeout: float
    continues: int | None = None


class MakeCertificateRequest(Action, frozen=True, kw_only=True):
    """Make the phone's key if it has none, and a PKCS#10 for CN=`subject`."""

    subject: str


class SignWithKey(Action, frozen=True, kw_only=True):
    """Sign `data` with RSA-SHA1 and the key of `MakeCertificateRequest`, which is `subject`'s."""

    subject: str
    data: bytes


class CheckCertificate(Action, frozen=True, kw_only=True):
    """Say whether `certificate` (DER) is for `subject` and the key of `MakeCertificateRequest`."""

    subject: str
    certificate: bytes


class OpenConnection(Action, frozen=True, kw_only=True):
    """Connect to a Registrar by `transport` "tls" or "tcp".

    `trust` and `clock` as in `SendHttp`.
    """

    connection_id: int
    source: str
    address: str
    port: int
    transport: str
    server_name: str
    trust: bytes | None
    clock: float
    timeout: float


class BeginHandshake(Action, frozen=True, kw_only=True):
    """Begin the inner TLS handshake of TLS-DSK; `HandshakeAdvanced` or `HandshakeFailed` follows.

    It takes the place of any earlier one. `certificate` is the phone's own (DER), shown to
    the other side; its key is the one of `MakeCertificateRequest`. `trust` and `clock` as in
    `SendHttp`; `server_name` is what the other side's certificate must be made for.
    `maximum_version` is the newest TLS that is offered, "tls1.0" or "tls1.2".
    """

    handshake_id: int
    server_name: str
    certificate: bytes
    trust: bytes
    clock: float
    maximum_version: str


class ContinueHandshake(Action, frozen=True, kw_only=True):
    """Take the next flight of the other side; `HandshakeAdvanced` or `HandshakeFailed` follows."""

    handshake_id: int
    received: bytes


class SendSip(Action, frozen=True, kw_only=True):
    """Send a request, or an answer to the server's, on an open connection."""

    connection_id: int
    message: SipMessage


class SendKeepAlive(Action, frozen=True, kw_only=True):
    """Send CRLFCRLF on an open connection."""

    connection_id: int


class CloseConnection(Action, frozen=True, kw_only=True):
    """Close; no event follows."""

    connection_id: int


class WriteLog(Action, frozen=True, kw_only=True):
    """Append the records of one moment to the device log.

    `clock` is the believed wall time, Unix seconds; `tick` milliseconds since power
    was applied.
    """

    records: tuple[LogRecord, ...]
    clock: float
    tick: int


class WriteFile(Action, frozen=True, kw_only=True):
    """Write a whole file of the virtual disk, atomically."""

    name: str
    data: bytes


class DeleteFile(Action, frozen=True, kw_only=True):
    """Remove a file of the virtual disk, if it is there."""

    name: str


PhoneAction = (
    AdvertiseLldp
    | JoinVlan
    | SendDhcp
    | ProbeAddress
    | ConfigureAddress
    | AnnounceAddress
    | RemoveAddress
    | SendDns
    | SendNtp
    | SendHttp
    | MakeCertificateRequest
    | SignWithKey
    | CheckCertificate
    | OpenConnection
    | BeginHandshake
    | ContinueHandshake
    | SendSip
    | SendKeepAlive
    | CloseConnection
    | WriteLog
    | WriteFile
    | DeleteFile
)
"""Every action: a world performs them all."""
