"""One mock site: who is there, on which address, and what each server knows."""

from __future__ import annotations

import datetime
from ipaddress import IPv4Address, IPv4Network
from typing import Annotated, Literal

from pydantic import AwareDatetime, Field, model_validator

from phonesim.config.model import Config

Seconds = Annotated[float, Field(ge=0)]
Port = Annotated[int, Field(ge=1, le=65535)]
U16 = Annotated[int, Field(ge=0, le=65535)]
Expires = Annotated[int, Field(ge=1, le=0xFFFFFFFF)]
DomainName = Annotated[str, Field(pattern=r"^[A-Za-z0-9_-]{1,63}(\.[A-Za-z0-9_-]{1,63})*$")]
VlanId = Annotated[int, Field(ge=1, le=4094)]
HexText = Annotated[str, Field(pattern=r"^([0-9A-Fa-f]{2})*$")]
WindowsAuth = Literal["negotiate", "ntlm", "none"]
PinState = Literal["ok", "locked", "expired", "not-set", "not-enabled", "unauthorized"]


class SignInOptions(Config):
    """What options 43 and 120 say, by name; the server makes the bytes."""

    web_server_fqdn: str | None = None
    """Sub-option 3; None leaves option 43 out."""
    uc_identifier: str = "MS-UC-Client"
    """Sub-option 1; phones take option 43 for theirs if it is their INFORM class [inferred]."""
    url_scheme: str = "https"
    web_server_port: Port = 443
    cert_prov_rel_path: str = "/CertProv/CertProvisioningService.svc"
    registrars: tuple[str, ...] = ()
    """Names of option 120, in order; none leaves the option out."""


class Scope(Config):
    """A pool of addresses and the options that go with it."""

    subnet: IPv4Network
    first: IPv4Address
    last: IPv4Address
    lease_time: Annotated[int, Field(ge=1, le=0xFFFFFFFF)] = 691200
    """Seconds; the Windows DHCP default is 8 days."""
    routers: tuple[IPv4Address, ...] = ()
    dns_servers: tuple[IPv4Address, ...] = ()
    ntp_servers: tuple[IPv4Address, ...] = ()
    domain: str | None = None
    domain_search: tuple[DomainName, ...] = ()
    """Option 119."""

    @model_validator(mode="after")
    def _is_consistent(self) -> Scope:
        if self.first not in self.subnet or self.last not in self.subnet:
            raise ValueError(f"{self.first} to {self.last} is not within subnet {self.subnet}")
        if self.first > self.last:
            raise ValueError(f"first address {self.first} comes after last address {self.last}")
        return self


class DhcpServerConfig(Config):
    """A DHCP server. Without any scope it answers INFORM only, as a Lync Registrar does."""

    name: str
    address: IPv4Address
    scope: Scope | None = None
    """That of clients on the server's own network."""
    relayed_scopes: tuple[Scope, ...] = ()
    """Those of clients behind relay agents: the one that has the giaddr in its subnet."""
    sign_in: SignInOptions = SignInOptions()
    """Options 43 and 120, given to clients of `sign_in_class`."""
    sign_in_class: str = "MS-UC-Client"
    """Option 60 that option 43 is given to; case-sensitive [documented gg412828]."""
    vlan_id: VlanId | None = None
    """Sub-option 10, given to class CPE-OCPHONE."""
    vlan_option: HexText | None = None
    """Octets of sub-option 10 instead of the digits of `vlan_id`, such as 0064."""
    on_vlan: VlanId | None = None
    """The VLAN that the server is in, None for the untagged one. Not for the wire, where a server
    is in the VLAN of its interface."""
    authoritative: bool = False
    """NAK clients that the server does not know; RFC 2131 section 4.3.2 wants silence."""


class SwitchConfig(Config):
    """The access switch that phones are plugged into. On the wire there is a real one."""

    name: str = "switch01"
    voice_vlan: VlanId | None = None
    """The VLAN of its LLDP-MED network policy; None is a policy of untagged voice."""
    priority: Annotated[int, Field(ge=0, le=7)] = 5
    dscp: Annotated[int, Field(ge=0, le=63)] = 46


class SrvRecord(Config):
    """An SRV record of a zone."""

    name: str
    priority: U16 = 0
    weight: U16 = 0
    port: U16
    target: str


class Zone(Config):
    """A zone. Names are relative to `origin` unless they end in a dot; "@" is the origin."""

    origin: str
    ttl: Annotated[int, Field(ge=0, le=0x7FFFFFFF)] = 3600
    a: dict[str, tuple[IPv4Address, ...]] = {}
    cname: dict[str, str] = {}
    srv: tuple[SrvRecord, ...] = ()


class DnsServerConfig(Config):
    """An authoritative DNS server; names outside its zones are REFUSED."""

    name: str
    address: IPv4Address
    zones: tuple[Zone, ...]
    udp_limit: Annotated[int, Field(ge=12, le=65535)] = 512
    """A larger UDP answer is truncated (RFC 1035 section 4.2.1)."""


class NtpServerConfig(Config):
    """An NTP server that tells the site's time."""

    name: str
    address: IPv4Address


class WebServicesConfig(Config):
    """The certificate provisioning and web ticket services."""

    name: str
    address: IPv4Address
    fqdn: DomainName
    http_port: Port = 80
    https_port: Port = 443
    cert_prov_rel_path: str = "/CertProv/CertProvisioningService.svc"
    proof_suffix: str = "/WebTicket_Proof"
    """Where under `cert_prov_rel_path` the port for web tickets with proof is [capture]."""
    web_ticket_path: str = "/WebTicket/WebTicketService.svc"
    """[documented WebTicketInternalUri]"""
    pin_suffix: str = "/Pin"
    """Where under `web_ticket_path` WebTicketServicePin is [unknown]."""
    ticket_lifetime: Annotated[int, Field(ge=60)] = 28800
    """Seconds [unknown]."""
    certificate_validity_hours: Annotated[int, Field(ge=8, le=8760)] = 4320
    """[documented DefaultValidityPeriodHours]"""
    certificate_suffix: str = "/Cert"
    """Where under `web_ticket_path` WebTicketServiceCert is [unknown]."""
    use_pin_auth: bool = True
    """Whether there is a WebTicketServicePin [documented UsePinAuth; what is missing without
    without it: inferred]."""
    use_certificate_auth: bool = True
    """Whether there is a WebTicketServiceCert [documented UseCertificateAuth]."""
    use_windows_auth: WindowsAuth = "negotiate"
    """Whether there is a WebTicketServiceWinNegotiate or a WebTicketServiceWinNtlm, and whether
    Negotiate is offered beside NTLM [documented UseWindowsAuth; which of the ports: inferred]."""
    windows_suffix: str = ""
    """Where under `web_ticket_path` that port is [capture]."""
    certificate_names: tuple[str, ...] = ()
    """Names beside `fqdn` that the certificate carries and under which the services answer."""
    error_ids: dict[str, Annotated[int, Field(ge=1)]] = {}
    """ErrorId of a PIN fault, by PinFailureReason; one that is not listed has none [unknown]."""


class PinPolicyConfig(Config):
    """The pool's PIN policy [documented Set-CsPinPolicy]."""

    maximum_logon_attempts: Annotated[int, Field(ge=1, le=999)] | None = None
    """Wrong PINs in 30 minutes that lock a user for an hour; None goes by the PIN's length: 10
    for 4 digits, 25 for more. What locks for good, 100, 1000 and 5000, it does not change."""
    lifetime_days: Annotated[int, Field(ge=0, le=999)] = 0
    """Age at which a PIN has expired; 0 is never."""


class RegistrarConfig(Config):
    """A registrar over TLS (or TCP)."""

    name: str
    address: IPv4Address
    fqdn: DomainName
    port: Port = 5061
    transport: Literal["tls", "tcp"] = "tls"
    authentication: Annotated[
        tuple[Literal["ntlm", "kerberos", "tls-dsk", "digest"], ...], Field(min_length=1)
    ] = ("ntlm", "kerberos", "tls-dsk")
    """What the 401 offers, in order [capture]. With tls-dsk a client shows the certificate that
    the web services issued to it; digest is an ordinary registrar's, RFC 3261 section 22."""
    sip_authentication_version: Literal[2, 3, 4] = 4
    """`version` of the offers but Digest: what is signed, and from when on [documented MS-SIPAE;
    4 capture]."""
    sts_uri: str | None = None
    """What TLS-DSK names for the certificate provisioning; None leaves it out."""
    refuses_replays: bool = True
    """Refuse a request whose cnum is not greater than every earlier one [unknown]."""
    realm: str = "SIP Communications Service"
    expires_minimum: Expires = 300
    expires_default: Expires = 600
    expires_maximum: Expires = 900
    """[documented Set-CsRegistrarConfiguration]"""
    keep_alive_timeout: Annotated[int, Field(ge=1)] = 300
    """[capture]"""
    maximum_endpoints: Annotated[int, Field(ge=1)] = 8
    """Bindings of one user [documented MaxEndpointsPerUser]."""
    certificate_names: tuple[str, ...] = ()
    """Names beside `fqdn` that the certificate carries, such as sip.<domain>."""
    cluster_type: Literal["central", "remote"] = "central"
    """`primary-cluster-type` for those who are at home here; a branch's is remote."""

    @model_validator(mode="after")
    def _is_consistent(self) -> RegistrarConfig:
        if not self.expires_minimum <= self.expires_default <= self.expires_maximum:
            raise ValueError("expires_default is not between expires_minimum and expires_maximum")
        return self


class UserRange(Config):
    """Users numbered `first` to `first + count - 1`; `{n}` in the templates is the number.

    Templates are format strings: "{n:05d}".
    """

    first: Annotated[int, Field(ge=0)] = 1
    count: Annotated[int, Field(ge=1)] = 1
    sip_uri: str
    number: str
    """Phone number or extension that is typed on the phone."""
    extension: str | None = None
    """Another number that will do: what is dialled inside the company."""
    pin: str
    user_name: str | None = None
    """DOMAIN\\user or user@domain, to sign in with a password; None is the SIP URI's [inferred]."""
    password: str | None = None
    """None is the PIN."""
    pin_state: PinState = "ok"
    pin_age_days: Annotated[float, Field(ge=0)] = 0
    """How long ago the PIN was set when the site begins; see `pin_policy`."""
    is_enabled: bool = True
    registrar: str | None = None
    """Name of the primary Registrar; None is the site's first one that does not
    take Digest alone."""
    backup_registrar: str | None = None
    """Name of the backup Registrar; None is the one that the site names after the primary, the
    first one after the last. Any other Registrar redirects the user to the primary."""


class SiteProfile(Config):
    """A whole site."""

    name: str
    description: str = ""
    epoch: AwareDatetime = datetime.datetime(2026, 1, 5, 7, 0, tzinfo=datetime.UTC)
    """The site's wall clock when a virtual run begins; other worlds use the real clock."""
    switch: SwitchConfig | None = None
    """None: a switch that does not speak LLDP-MED."""
    dhcp_servers: tuple[DhcpServerConfig, ...] = ()
    dns_servers: tuple[DnsServerConfig, ...] = ()
    ntp_servers: tuple[NtpServerConfig, ...] = ()
    web_services: tuple[WebServicesConfig, ...] = ()
    registrars: tuple[RegistrarConfig, ...] = ()
    users: tuple[UserRange, ...] = ()
    pin_policy: PinPolicyConfig = PinPolicyConfig()
