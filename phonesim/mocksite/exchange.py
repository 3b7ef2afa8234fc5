"""The contract of a mock server: what reaches it, what it asks of the world.

    handle(event, now) -> list[Action]
    next_deadline() -> tuple[float, str] | None

`now` is monotonic seconds. A server's wall clock is `now` plus the site's epoch.
A server that refuses what it received says why with `Report`: the operator log.
"""

from __future__ import annotations

from typing import Protocol

import msgspec

from phonesim.wire.dhcp import DhcpMessage
from phonesim.wire.dns import DnsQuery, DnsResponse
from phonesim.wire.http import HttpRequest, HttpResponse
from phonesim.wire.lldp import LldpUnit
from phonesim.wire.ntp import NtpPacket
from phonesim.wire.sip import SipMessage, SipRequest, SipResponse
from phonesim.wire.sipae import SigningKeys


class ServerEvent(msgspec.Struct, frozen=True, kw_only=True):
    """Base of what `handle` takes."""


class LldpAdvertised(ServerEvent, frozen=True, kw_only=True):
    """What is plugged into the port `port` (a phone's id) advertises."""

    unit: LldpUnit
    port: str


class DhcpReceived(ServerEvent, frozen=True, kw_only=True):
    """A DHCP message from `source` ("0.0.0.0" when the client has no address).

    `destination` is where it was sent: the broadcast address or the server's own.
    """

    message: DhcpMessage
    source: str
    destination: str


class DnsReceived(ServerEvent, frozen=True, kw_only=True):
    """A query from `client` (opaque to the server: it goes back in the answer)."""

    query: DnsQuery
    client: str
    over_tcp: bool = False


class NtpReceived(ServerEvent, frozen=True, kw_only=True):
    """A client packet from `client`."""

    packet: NtpPacket
    client: str


class HttpReceived(ServerEvent, frozen=True, kw_only=True):
    """A request; `exchange_id` comes back in `SendHttpResponse`.

    `peer` is the client's address; with `peer_port` it tells connections apart.
    """

    exchange_id: int
    request: HttpRequest
    peer: str
    peer_port: int = 0


class ConnectionAccepted(ServerEvent, frozen=True, kw_only=True):
    """A SIP connection is up."""

    connection_id: int
    peer: str
    peer_port: int
    transport: str


class SipReceived(ServerEvent, frozen=True, kw_only=True):
    """A SIP message on that connection."""

    connection_id: int
    message: SipMessage


class KeepAliveReceived(ServerEvent, frozen=True, kw_only=True):
    """CRLFCRLF on that connection."""

    connection_id: int


class ConnectionLost(ServerEvent, frozen=True, kw_only=True):
    """The client closed the connection, or it broke."""

    connection_id: int


class DeregistrationOrdered(ServerEvent, frozen=True, kw_only=True):
    """An administrator, or what the site does by itself, ends registrations.

    `kind` is one of `phonesim.wire.registration_event.KINDS`; `users` is a shell pattern of SIP
    URIs; `registrar` names the Registrar where users are moved, or which they shall prefer.
    """

    kind: str
    users: str = "*"
    registrar: str | None = None


class MalformedArrived(ServerEvent, frozen=True, kw_only=True):
    """Bytes that no codec could read; the driver already answered what the protocol demands."""

    protocol: str
    source: str
    reason: str


class ServerTimerExpired(ServerEvent, frozen=True, kw_only=True):
    """The time that `next_deadline` named has come."""


class ServerAction(msgspec.Struct, frozen=True, kw_only=True):
    """Base of what `handle` returns."""


class SendLldp(ServerAction, frozen=True, kw_only=True):
    """Advertise at that port."""

    unit: LldpUnit
    port: str


class SendDhcpReply(ServerAction, frozen=True, kw_only=True):
    """Send to `destination` (address, or broadcast) at `port`, from server address `source`."""

    message: DhcpMessage
    source: str
    destination: str
    port: int


class SendDnsResponse(ServerAction, frozen=True, kw_only=True):
    """Answer that client."""

    response: DnsResponse
    client: str
    over_tcp: bool = False


class SendNtpReply(ServerAction, frozen=True, kw_only=True):
    """Answer that client."""

    packet: NtpPacket
    client: str


class SendHttpResponse(ServerAction, frozen=True, kw_only=True):
    """Answer that exchange."""

    exchange_id: int
    response: HttpResponse


class SendSipToClient(ServerAction, frozen=True, kw_only=True):
    """Send on that connection."""

    connection_id: int
    message: SipRequest | SipResponse


class CloseClientConnection(ServerAction, frozen=True, kw_only=True):
    """Close that connection."""

    connection_id: int


class ClosePorts(ServerAction, frozen=True, kw_only=True):
    """The server is down: close its ports and drop its connections, of which it is told."""


class OpenPorts(ServerAction, frozen=True, kw_only=True):
    """The server is back: open them again."""


class ChangeCertificate(ServerAction, frozen=True, kw_only=True):
    """From now on the server's TLS ports show another kind of certificate, such as "valid"."""

    certificate: str


class Report(ServerAction, frozen=True, kw_only=True):
    """A line of the operator log. `fields` are its key-value pairs, secrets left out."""

    text: str
    fields: tuple[tuple[str, str], ...] = ()
    is_warning: bool = True


class Server(Protocol):
    """A machine on the site's side."""

    def handle(self, event: ServerEvent, now: float) -> list[ServerAction]:
        """Take one event; return what to do about it."""
        ...

    def next_deadline(self) -> tuple[float, str] | None:
        """When the server wants `ServerTimerExpired`, and why."""
        ...


class ServerHandshake(Protocol):
    """The server's side of one inner handshake."""

    @property
    def keys(self) -> SigningKeys | None:
        """What both sides sign with; None before the handshake is over."""
        ...

    @property
    def certificate(self) -> bytes:
        """The certificate (DER) whose key the client has shown to hold, when it is over."""
        ...

    def advance(self, received: bytes) -> bytes:
        """Take a flight of the client, return the next one; `DecodeError` says what is wrong."""
        ...


class CertificateAuthority(Protocol):
    """The site's certificate authority, injected: real in the drivers, a stand-in in virtual time.

    Times are Unix seconds.
    """

    def chain(self) -> bytes:
        """The chain of trust as a DER PKCS#7 bag."""
        ...

    def root(self) -> bytes:
        """The same without the authority that issues: a chain which does not reach a server."""
        ...

    def request_subject(self, csr: bytes) -> str:
        """The common name in a DER PKCS#10; `DecodeError` if malformed or not self-signed."""
        ...

    def issue(self, csr: bytes, not_before: int, not_after: int) -> bytes:
        """Sign a client certificate (DER) for the request's own subject and key."""
        ...

    def accept_handshake(self, names: tuple[str, ...]) -> ServerHandshake:
        """An inner TLS handshake with a server whose certificate is made for `names`."""
        ...

    def sign(self, data: bytes) -> bytes:
        """Sign with RSA-SHA1, as the issuer of web tickets."""
        ...

    def has_signed(self, data: bytes, signature: bytes) -> bool:
        """Whether `sign` made this signature of `data`."""
        ...

    def verifies(self, certificate: bytes, data: bytes, signature: bytes) -> bool:
        """Whether the key of a certificate issued here made this RSA-SHA1 signature of `data`."""
        ...

    def signing_certificate(self) -> bytes:
        """The certificate (DER) for the key of `sign`."""
        ...

    def subject(self, certificate: bytes, now: int) -> str | None:
        """The common name of a certificate issued here and valid at `now`; None otherwise."""
        ...


class Listener(msgspec.Struct, frozen=True, kw_only=True):
    """Where a server listens, and as whom.

    `protocol` is dhcp, dns, ntp, http, https, sip or sips; `port` the standard
    port, which a driver may map. `names` are what its certificate must carry,
    `certificate` which kind it shows ("valid" unless a fault says otherwise).
    `minimum_tls` is the oldest TLS version that it takes, "1.0" to "1.3".
    `on_vlan` is the VLAN that a DHCP server is in, None for the untagged one.
    """

    name: str
    protocol: str
    address: str
    port: int
    server: Server
    names: tuple[str, ...] = ()
    certificate: str = "valid"
    minimum_tls: str = "1.0"
    refuses: bool = False
    on_vlan: int | None = None
