"""What happens to a phone: facts from the world, facts between its sub-machines,
and observations for whoever watches.

World events arrive at `Phone.handle`. Internal events (`LeaseBound`,
`ServicesLocated`, ...) go from a sub-machine to the phone and from the phone to
another sub-machine. Observations leave the phone beside its actions: the run
recorder folds them, nothing else depends on them.
"""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from phonesim.device.outcome import ConnectFailure, FailureReason, Stage
from phonesim.wire.dhcp import DhcpMessage
from phonesim.wire.dns import DnsRecord, DnsResponse
from phonesim.wire.http import HttpResponse
from phonesim.wire.lldp import LldpUnit
from phonesim.wire.ntp import NtpPacket
from phonesim.wire.sip import SipMessage, SipResponse
from phonesim.wire.sipae import SigningKeys


class Event(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """Base of everything that `handle` takes."""


# --- from the world ---------------------------------------------------------


class PowerApplied(Event, frozen=True, kw_only=True):
    """The phone starts. `files` are its virtual disk's files, by name, as bytes.

    `has_key` says that its private key is among them and can be read. With `factory_reset`,
    * and # were held while the power came. `clock` is the Unix time that was typed in, if any.
    """

    files: Mapping[str, bytes] = {}
    has_key: bool = False
    factory_reset: bool = False
    clock: float | None = None


class SignOutRequested(Event, frozen=True, kw_only=True):
    """Whoever is signed in signs out: deregister, forget who it was, then `SignedOut`."""


class RepetitionDue(Event, frozen=True, kw_only=True):
    """A phone that is done with its only stage does it again, and knows nothing of before."""


class ShutdownRequested(Event, frozen=True, kw_only=True):
    """The operator ends the run: deregister, release the lease, then `PoweredOff`."""


class PhoneAbandoned(Event, frozen=True, kw_only=True):
    """The phone raised and is lost: release the lease if there is one, and nothing else."""


class TimerExpired(Event, frozen=True, kw_only=True):
    """The time that `next_deadline` named has come."""


class LldpReceived(Event, frozen=True, kw_only=True):
    """The switch, or whoever is on the other end of the cable, advertises."""

    unit: LldpUnit


class DhcpMessageReceived(Event, frozen=True, kw_only=True):
    """A DHCP message for this phone, from the server address `source`."""

    message: DhcpMessage
    source: str


class AddressProbed(Event, frozen=True, kw_only=True):
    """The ARP probe of `address` ended; `conflict` is the other host's MAC, or None."""

    address: str
    conflict: str | None = None


class AddressClaimed(Event, frozen=True, kw_only=True):
    """Another host, whose MAC is `mac`, sent ARP from the phone's configured `address`."""

    address: str
    mac: str


class DnsResponseReceived(Event, frozen=True, kw_only=True):
    """A DNS response from `server`, by UDP or (`over_tcp`) TCP."""

    response: DnsResponse
    server: str
    over_tcp: bool = False


class NtpPacketReceived(Event, frozen=True, kw_only=True):
    """An NTP packet from `server`."""

    packet: NtpPacket
    server: str


class HttpResponseReceived(Event, frozen=True, kw_only=True):
    """The answer to `SendHttp` of that exchange."""

    exchange_id: int
    response: HttpResponse


class HttpFailed(Event, frozen=True, kw_only=True):
    """No HTTP answer: the connection or the body failed; `detail` is for the log."""

    exchange_id: int
    failure: ConnectFailure
    detail: str


class CertificateRequestMade(Event, frozen=True, kw_only=True):
    """Answer to `MakeCertificateRequest`: a DER PKCS#10 over the phone's own key."""

    subject: str
    csr: bytes


class CertificateChecked(Event, frozen=True, kw_only=True):
    """Answer to `CheckCertificate`: what is wrong with it; empty if nothing is."""

    certificate: bytes
    problem: str


class DataSigned(Event, frozen=True, kw_only=True):
    """The phone's key signed `data`; `signature` is empty if there is no key any more."""

    data: bytes
    signature: bytes


class ConnectionOpened(Event, frozen=True, kw_only=True):
    """Answer to `OpenConnection`; `local_address` and `local_port` are the phone's end."""

    connection_id: int
    local_address: str
    local_port: int


class ConnectionFailed(Event, frozen=True, kw_only=True):
    """Answer to `OpenConnection`: there is none."""

    connection_id: int
    failure: ConnectFailure
    detail: str


class ConnectionClosed(Event, frozen=True, kw_only=True):
    """An open connection ended without our asking."""

    connection_id: int
    detail: str


class SipMessageReceived(Event, frozen=True, kw_only=True):
    """A SIP message on that connection."""

    connection_id: int
    message: SipMessage


class MalformedReceived(Event, frozen=True, kw_only=True):
    """Bytes that no codec could read.

    `protocol` is lldp, dhcp, dns, ntp, http or sip.
    """

    protocol: str
    source: str
    reason: str
    size: int


# --- between sub-machines, by way of the phone -------------------------------


class Lease(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """A bound address. Times are monotonic seconds, counted from the REQUEST."""

    address: str
    subnet_mask: str
    server: str
    t1_at: float
    t2_at: float
    expires_at: float
    routers: tuple[str, ...] = ()
    dns_servers: tuple[str, ...] = ()
    domain: str | None = None
    search_list: tuple[str, ...] = ()
    ntp_servers: tuple[str, ...] = ()
    time_servers: tuple[str, ...] = ()


class VlanWanted(Event, frozen=True, kw_only=True):
    """The phone has power and wants to know its voice VLAN."""


class VlanSettled(Event, frozen=True, kw_only=True):
    """The wait for LLDP is over. `vlan_id` is the voice VLAN, None for untagged.

    `is_told` says whether a switch told so; if not, DHCP may know.
    """

    vlan_id: int | None
    is_told: bool


class VlanChanged(Event, frozen=True, kw_only=True):
    """A later network policy puts the phone into another VLAN, None for untagged."""

    vlan_id: int | None


class VlanOffered(Event, frozen=True, kw_only=True):
    """The ACK of `server` named a voice VLAN; its lease has been released."""

    vlan_id: int
    server: str


class AddressWanted(Event, frozen=True, kw_only=True):
    """The phone wants an address; `cached_address` is the one it had before it lost power.

    `cached_lease` is the lease of it, if the phone keeps that too. With `seeks_vlan`, an ACK
    that names a voice VLAN is not for its address.
    """

    cached_address: str | None = None
    cached_lease: Lease | None = None
    seeks_vlan: bool = False


class AddressUnwanted(Event, frozen=True, kw_only=True):
    """The phone leaves the network that its address is for."""


class LeaseBound(Event, frozen=True, kw_only=True):
    """The DHCP client has a usable address: new, renewed or confirmed after a reboot."""

    lease: Lease
    is_renewal: bool = False


class LeaseFailed(Event, frozen=True, kw_only=True):
    """No server gave an address; the phone is on `auto_ip` and retries in the background.

    `detail` says what servers did instead.
    """

    auto_ip: str | None
    detail: str = "no DHCP server answered"


class LeaseLost(Event, frozen=True, kw_only=True):
    """The address may no longer be used (NAK, expiry, conflict); `detail` is for the log."""

    address: str
    detail: str


class AddressReady(Event, frozen=True, kw_only=True):
    """The phone can be reached at the lease's address: leased, renewed or typed in."""

    lease: Lease
    is_renewal: bool = False


class AddressFailed(Event, frozen=True, kw_only=True):
    """The phone is in the network without an address; seconds until it tries again, or None."""

    reason: FailureReason
    detail: str
    retry_in: float | None


class AddressLost(Event, frozen=True, kw_only=True):
    """What the address was used for has ended; another one is looked for."""


class WorkAbandoned(Event, frozen=True, kw_only=True):
    """What was asked of a machine is in vain: it stops, and answers that come late are dropped."""


class LookupRequested(Event, frozen=True, kw_only=True):
    """A sub-machine wants a name resolved; `lookup_id` names the owner and the use."""

    lookup_id: str
    qname: str
    qtype: str


class LookupAnswered(Event, frozen=True, kw_only=True):
    """The resolver's result. `rcode` is "TIMEOUT" when no server answered.

    `records` are those of the type asked for, CNAMEs already followed; NODATA is
    NOERROR with none. `server` is the one that answered, or None.
    """

    lookup_id: str
    qname: str
    qtype: str
    rcode: str
    records: tuple[DnsRecord, ...] = ()
    server: str | None = None


class ClockSet(Event, frozen=True, kw_only=True):
    """The time stage ended. `offset` is seconds to add to the believed clock, None if unset."""

    offset: float | None
    server: str | None = None


class WebServicesAddress(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """Where the web services are, and which answer said so (`source`, for the log)."""

    scheme: str
    host: str
    port: int
    path: str
    source: str

    @property
    def url(self) -> str:
        """The certificate provisioning URL."""
        return f"{self.scheme}://{self.host}:{self.port}{self.path}"


class RegistrarAddress(msgspec.Struct, frozen=True, kw_only=True, gc=False, omit_defaults=True):
    """A Registrar to try; `transport` is "tls" or "tcp".

    `addresses` are those that its name had when the phone last registered there, if the cache
    knows them.
    """

    host: str
    port: int
    transport: str
    source: str
    addresses: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        """host:port, for logs."""
        return f"{self.host}:{self.port}"


class ServicesLocated(Event, frozen=True, kw_only=True):
    """Discovery ended with what it found; either part may be missing, `why_not` says why."""

    web_services: WebServicesAddress | None
    registrars: tuple[RegistrarAddress, ...]
    why_not: str = ""


class DhcpAnswerKept(Event, frozen=True, kw_only=True):
    """A DHCP response with an FQDN, from `server`: always cached, winner or not."""

    server: str
    web_services: WebServicesAddress | None
    registrars: tuple[RegistrarAddress, ...]


class DnsAnswerKept(Event, frozen=True, kw_only=True):
    """The Registrars that DNS named, when its answer was used."""

    registrars: tuple[RegistrarAddress, ...]


class CacheLoaded(Event, frozen=True, kw_only=True):
    """What the virtual disk still held; `services` is None when the network must be asked."""

    address: str | None
    lease: Lease | None = None
    services: ServicesLocated | None


class CacheUnusable(Event, frozen=True, kw_only=True):
    """What the cache said does not work; the network will be asked."""

    detail: str


class CacheForgotten(Event, frozen=True, kw_only=True):
    """Nothing that was learned about the site is to be used again."""


class CommitWanted(Event, frozen=True, kw_only=True):
    """Sign-in and registration succeeded with these: they replace what discovery cached."""

    web_services: WebServicesAddress
    registrars: tuple[RegistrarAddress, ...]
    sip_uri: str


class TimeWanted(Event, frozen=True, kw_only=True):
    """The phone has an address and wants to know the time."""

    lease: Lease


class DiscoveryWanted(Event, frozen=True, kw_only=True):
    """The phone has no usable cache: ask the network."""

    lease: Lease


class RenewalWanted(Event, frozen=True, kw_only=True):
    """The certificate has not long to live."""


class SignInWanted(Event, frozen=True, kw_only=True):
    """Authenticate at these web services, from the phone's address `source`.

    With an `identity`, do it with that certificate, and with the PIN if it is refused. In the
    background no stage of a boot is entered.
    """

    web_services: WebServicesAddress
    source: str
    identity: CertificateIssued | None = None
    in_background: bool = False


class CertificateIssued(Event, frozen=True, kw_only=True):
    """Sign-in ended well: the phone holds a certificate for `sip_uri`.

    `chain` is the downloaded trust chain (DER PKCS#7); `ticket_id` and `ticket_expires` (Unix
    seconds) are those of the web ticket that it was asked for with.
    """

    sip_uri: str
    certificate: bytes
    chain: bytes
    ticket_id: str = ""
    ticket_expires: int = 0


class IdentityLoaded(Event, frozen=True, kw_only=True):
    """The virtual disk still held what an earlier sign-in ended with, and the key for it."""

    identity: CertificateIssued


class IdentityUnusable(Event, frozen=True, kw_only=True):
    """The certificate does not work any more: the phone signs in anew."""

    detail: str


class SignInFailed(Event, frozen=True, kw_only=True):
    """Sign-in ended badly at `stage`."""

    stage: Stage
    reason: FailureReason
    detail: str


class RegistrationWanted(Event, frozen=True, kw_only=True):
    """Register at the first of `registrars` that accepts, from the phone's address `source`."""

    registrars: tuple[RegistrarAddress, ...]
    sip_uri: str
    certificate: bytes
    chain: bytes
    source: str


class HandshakeAdvanced(Event, frozen=True, kw_only=True):
    """The inner TLS handshake has a flight for the other side, or is over.

    `keys` are there when it is over; the phone's own certificate is valid until the Unix time
    `valid_until`.
    """

    handshake_id: int
    flight: bytes
    keys: SigningKeys | None = None
    valid_until: float = 0.0


class HandshakeFailed(Event, frozen=True, kw_only=True):
    """The inner TLS handshake cannot go on: this side's fault, or the other's, as `detail` says."""

    handshake_id: int
    detail: str


class RequestChallenged(Event, frozen=True, kw_only=True):
    """The Registrar wants the request again, with what its 401 or 407 asks for."""

    response: SipResponse


class CredentialsReady(Event, frozen=True, kw_only=True):
    """The request can be sent again: it will be authenticated as the Registrar asked."""


class AuthenticationFailed(Event, frozen=True, kw_only=True):
    """What the Registrar asks for cannot be given."""

    reason: FailureReason
    detail: str


class RegistrarUnreachable(Event, frozen=True, kw_only=True):
    """No connection to the Registrar could be had: its name has no address, or none takes one."""

    reason: FailureReason
    detail: str


class RegistrationAbandoned(Event, frozen=True, kw_only=True):
    """The address is gone: drop the connection, send nothing."""


class Registered(Event, frozen=True, kw_only=True):
    """The Registrar accepted the binding; `expires` is in seconds.

    `is_refresh`: the phone was registered there already. `is_survivable`: the Registrar is not
    the primary, or has no User Services.
    """

    registrar: RegistrarAddress
    expires: int
    is_refresh: bool = False
    is_survivable: bool = False


class RegistrationFailed(Event, frozen=True, kw_only=True):
    """Every Registrar was tried; `reason` is that of the last one that answered, or the last.

    `detail` says what each of them did, `retry_after` for how long one of them wants to be left
    alone, in seconds.
    """

    reason: FailureReason
    detail: str
    retry_after: float | None = None


class SipEndpoint(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """Who a phone is on its connection to a Registrar, for requests that follow REGISTER.

    `registrar` is host:port, for the log; `contact` the GRUU that the Registrar gave, or else the
    address.
    """

    registrar: str
    host: str
    transport: str
    local_address: str
    local_port: int
    sip_uri: str
    epid: str
    instance: str
    contact: str


class ProvisioningWanted(Event, frozen=True, kw_only=True):
    """There is a new binding at a Registrar that offers in-band provisioning."""

    endpoint: SipEndpoint


class SipMessageWanted(Event, frozen=True, kw_only=True):
    """A sub-machine wants a message sent on the connection of the registration."""

    message: SipMessage


class ProvisioningLearned(Event, frozen=True, kw_only=True):
    """What in-band provisioning says: the primary Registrar and its backup, the web services."""

    registrars: tuple[RegistrarAddress, ...]
    web_services: WebServicesAddress | None


class ProvisioningMissed(Event, frozen=True, kw_only=True):
    """In-band provisioning was refused, unreadable or did not come; `detail` is for the log."""

    detail: str


class PrimaryWanted(Event, frozen=True, kw_only=True):
    """Look now and then whether this Registrar, at which the phone is not, is back."""

    registrar: RegistrarAddress
    source: str
    chain: bytes


class PrimaryUnwanted(Event, frozen=True, kw_only=True):
    """Look no longer."""


class PrimaryAnswered(Event, frozen=True, kw_only=True):
    """It takes connections again."""

    registrar: RegistrarAddress


class LineUsable(Event, frozen=True, kw_only=True):
    """The phone is registered at `registrar`, and knows what to cache.

    `registrars` are those to try the next time, in order; `web_services` is None where in-band
    provisioning does not name them.
    """

    registrar: RegistrarAddress
    registrars: tuple[RegistrarAddress, ...]
    web_services: WebServicesAddress | None


class RegistrationEnded(Event, frozen=True, kw_only=True):
    """Deregistration is complete, or was given up."""


# --- observations -----------------------------------------------------------


class Observation(Event, frozen=True, kw_only=True):
    """Base of what the run recorder folds."""


class StageEntered(Observation, frozen=True, kw_only=True):
    """A stage began."""

    stage: Stage


class StageEnded(Observation, frozen=True, kw_only=True):
    """A stage ended; `reason` is None when it went well. `skipped`: the cache had it."""

    stage: Stage
    reason: FailureReason | None = None
    skipped: bool = False


class VlanJoined(Observation, frozen=True, kw_only=True):
    """The phone is in another VLAN from now on, None for untagged, as at power-on."""

    vlan_id: int | None


class ExchangeEnded(Observation, frozen=True, kw_only=True):
    """A request was answered or given up.

    `kind` is dhcp_discover, dhcp_request, dhcp_inform, dns, ntp, http,
    sip_register or sip_subscribe; `sent` counts packets, retransmissions included; `seconds` runs
    from the first one to the answer, None when there was none.

    DHCP and DNS say who answered (`server`) and what (`answer`: a message type, an rcode);
    `waited` is counted from the last packet, None where which one was answered is not known.
    """

    kind: str
    sent: int
    seconds: float | None
    server: str | None = None
    answer: str = ""
    waited: float | None = None


class AttemptEnded(Observation, frozen=True, kw_only=True):
    """A request to `server` did not end its exchange.

    `answer` is the rcode that sent the query on, or TC; `waited` is None without an answer.
    DHCP asks every server: its `server` is None, and it tells of requests without an answer only.
    """

    kind: str
    server: str | None = None
    answer: str = ""
    waited: float | None = None


class SignedIn(Observation, frozen=True, kw_only=True):
    """The boot is complete: registered and committed."""

    sip_uri: str
    registrar: str


class RegistrationLost(Observation, frozen=True, kw_only=True):
    """A phone that was signed in has no registration any more, and tries to get another."""

    registrar: str
    detail: str


class RegistrationMissed(Observation, frozen=True, kw_only=True):
    """A round of attempts to get it back failed; another follows. `detail`: why, by Registrar."""

    detail: str


class RegistrationRegained(Observation, frozen=True, kw_only=True):
    """It has one again."""

    registrar: str


class RegistrarChanged(Observation, frozen=True, kw_only=True):
    """A phone that was signed in is registered at another Registrar than before."""

    previous: str
    registrar: str
    is_survivable: bool


class SignedOut(Observation, frozen=True, kw_only=True):
    """The phone has signed out, and waits for a person."""


class StagesDone(Observation, frozen=True, kw_only=True):
    """The phone did the stages that it was made for, which end before a sign-in."""


class BootFailed(Observation, frozen=True, kw_only=True):
    """The boot failed for now; `retry_in` seconds, or None when only a person can help."""

    stage: Stage
    reason: FailureReason
    detail: str
    retry_in: float | None = None


class PoweredOff(Observation, frozen=True, kw_only=True):
    """Shutdown is complete; the phone takes no more events."""


class DisplayShowed(Observation, frozen=True, kw_only=True):
    """The phone's display changed to `text`."""

    text: str
