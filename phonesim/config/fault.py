"""Faults: what goes wrong, at which server, how often."""

from __future__ import annotations

from ipaddress import IPv4Address
from typing import Annotated, Literal

from pydantic import Field

from phonesim.config.model import Config
from phonesim.config.site_profile import DhcpServerConfig, HexText, Port, VlanId


class FaultBase(Config):
    """Where and when a fault acts."""

    target: str = "*"
    """Name of the server, or a shell pattern of names; "*" is every server of the kind."""
    every_nth: Annotated[int, Field(ge=1)] = 1
    """Act on every nth event that the fault applies to."""


class PassingFault(FaultBase):
    """A fault that may come later than the run, and go again before it ends: what is done to
    requests and answers, and what a server is for a while.
    """

    kind: str
    begins_at: Annotated[float, Field(ge=0)] = 0
    """Seconds after the run's begin; before, all is well."""
    lasts: Annotated[float, Field(gt=0)] | None = None
    """Seconds; None is for good."""

    @property
    def is_passing(self) -> bool:
        """Whether there is a time when it does not act."""
        return self.begins_at > 0 or self.lasts is not None

    @property
    def ends_at(self) -> float:
        """Seconds after the run's begin."""
        return float("inf") if self.lasts is None else self.begins_at + self.lasts


class StripDhcpOptions(PassingFault):
    """Replies lack these options."""

    kind: Literal["strip-dhcp-options"]
    options: tuple[int, ...]


class SetDhcpOption(PassingFault):
    """Replies that carry the option carry these bytes instead."""

    kind: Literal["set-dhcp-option"]
    option: int
    value: HexText


class AnswerClass(FaultBase):
    """The server gives its sign-in options to another vendor class."""

    kind: Literal["answer-class"]
    sign_in_class: str


class RefuseDhcp(PassingFault):
    """Instead of an ACK there is a NAK."""

    kind: Literal["dhcp-nak"]
    request: Literal["inform", "request"]
    """What is refused: INFORM, or REQUEST."""
    message: str = "refused"
    """Option 56."""


class MisdirectInform(PassingFault):
    """The ACK of an INFORM goes elsewhere than to the client's address and port."""

    kind: Literal["inform-astray"]
    address: IPv4Address | None = None
    """None is the client's own."""
    port: Port | None = None
    """None is 68."""


class HoldLeases(FaultBase):
    """Clients that are gone hold the addresses of the server's own scope, all but `leave`, until
    their leases end.
    """

    kind: Literal["leases-held"]
    leave: Annotated[int, Field(ge=0)] = 0


class SetVlanOption(FaultBase):
    """DHCP servers put these octets into sub-option 10, the voice VLAN."""

    kind: Literal["vlan-option"]
    value: HexText


class SetVoiceVlan(FaultBase):
    """The switch's network policy names another voice VLAN."""

    kind: Literal["voice-vlan"]
    vlan_id: VlanId


class AddDhcpServer(FaultBase):
    """A server nobody wanted on the segment; `head_start` seconds ahead of all others."""

    kind: Literal["add-dhcp-server"]
    server: DhcpServerConfig
    head_start: Annotated[float, Field(ge=0)] = 0.05


class Silence(PassingFault):
    """Requests are dropped."""

    kind: Literal["silence"]
    protocol: Literal["lldp", "dhcp", "dns", "ntp", "http", "https", "sip"]
    match: str = "*"
    """Shell pattern of what is dropped: a DHCP message type, a DNS name, a path, a SIP method."""


class Delay(PassingFault):
    """Answers come late by `seconds`."""

    kind: Literal["delay"]
    protocol: Literal["lldp", "dhcp", "dns", "ntp", "http", "https", "sip"]
    seconds: Annotated[float, Field(gt=0)]
    match: str = "*"


class DnsRcode(PassingFault):
    """Queries for matching names get this rcode and no records."""

    kind: Literal["dns-rcode"]
    rcode: Literal["NXDOMAIN", "SERVFAIL", "REFUSED", "NOERROR"]
    match: str = "*"


class ShiftClock(PassingFault):
    """NTP servers tell a time that is wrong by `seconds`; less than 0 is the past."""

    kind: Literal["clock-shift"]
    seconds: int


class DnsTarget(PassingFault):
    """SRV answers for matching names point to another target."""

    kind: Literal["dns-target"]
    target_name: str
    match: str = "*"


class HttpStatus(PassingFault):
    """Matching paths get this status, without a SOAP body."""

    kind: Literal["http-status"]
    status: Annotated[int, Field(ge=300, le=599)]
    match: str = "*"
    retry_after: int | None = None


class Refuse(FaultBase):
    """The server's port is closed."""

    kind: Literal["refuse"]
    protocol: Literal["http", "https", "sip"]


class ShowCertificate(PassingFault):
    """TLS servers show another kind of certificate.

    "no-intermediate": a good one, without that of the authority which issued it.
    """

    kind: Literal["show-certificate"]
    certificate: Literal[
        "expired", "not-yet-valid", "wildcard", "wrong-name", "untrusted", "no-intermediate"
    ]
    protocol: Literal["https", "sip"] | None = None
    """Whose: that of web services, of Registrars, or of both."""


class RequireTls(FaultBase):
    """TLS servers take no older version than this one."""

    kind: Literal["require-tls"]
    version: Literal["1.1", "1.2", "1.3"]
    protocol: Literal["https", "sip"] | None = None


class SpoilChain(PassingFault):
    """Web services give another chain of trust than the one that would do."""

    kind: Literal["spoil-chain"]
    chain: Literal["empty", "unreadable", "without-intermediate"]


class CloseConnections(PassingFault):
    """Web services end the connection after each answer, as a load balancer may that knows
    nothing of NTLM.
    """

    kind: Literal["close-connections"]


class IssueForeignCertificate(PassingFault):
    """Web services answer a certificate request with the certificate of somebody else."""

    kind: Literal["issue-foreign-certificate"]


class RefuseCertificate(PassingFault):
    """Web services answer a certificate request with a fault, though they made the certificate."""

    kind: Literal["refuse-certificate"]
    reason: str
    error_id: Annotated[int, Field(ge=0)] = 0
    """0 is none."""


class Outage(PassingFault):
    """The server is down for a time: its TCP ports are closed, its connections dropped, and
    datagrams unanswered.
    """

    kind: Literal["outage"]
    protocol: Literal["dhcp", "dns", "ntp", "https", "sip"]
    """That of the server; https is all that a web server does."""


class Deregister(FaultBase):
    """At a time, a Registrar deregisters those of its users that are registered there."""

    kind: Literal["deregister"]
    event: Literal["unregistered", "rejected", "deactivated", "preferred-registrar-change"]
    """As the NOTIFY names it. `rejected` disables the users, `deactivated` moves them."""
    at: Annotated[float, Field(ge=0)]
    """Seconds after the run's begin."""
    users: str = "*"
    """Shell pattern of SIP URIs."""
    registrar: str | None = None
    """Name of the Registrar where users are moved, or which they shall prefer; None is their
    primary one."""


class SipStatus(PassingFault):
    """Requests are answered with this status."""

    kind: Literal["sip-status"]
    status: Annotated[int, Field(ge=300, le=699)]
    reason: str
    diagnostics: str | None = None
    """Value of ms-diagnostics."""
    match: str = "register"
    """Shell pattern of the SIP method."""
    contact: str | None = None
    """SIP URI of a Contact, as a redirect has."""
    retry_after: Annotated[int, Field(ge=0)] | None = None
    """Seconds of Retry-After."""


class SetPresenceState(PassingFault):
    """200 answers to REGISTER say another `register-action`, or no User Services."""

    kind: Literal["presence-state"]
    register_action: Literal["added", "refreshed", "fixed"] | None = None
    user_services: Literal["available", "unavailable"] | None = None


class SetSipBody(PassingFault):
    """Answers and requests of the server that have a body have this one."""

    kind: Literal["sip-body"]
    body: str


class AddressConflict(FaultBase):
    """Another host already uses the first `count` addresses of each scope."""

    kind: Literal["address-conflict"]
    count: Annotated[int, Field(ge=1)] = 1


class SetPinState(FaultBase):
    """Users whose SIP URI matches cannot sign in, for the reason that `state` names.

    "wrong": the server has another PIN and password than the user's; "disabled": the user is
    disabled. `every_nth` counts the users of each range, `target` does not apply.
    """

    kind: Literal["pin-state"]
    users: str = "*"
    """Shell pattern of SIP URIs."""
    state: Literal[
        "wrong", "locked", "expired", "not-set", "not-enabled", "unauthorized", "disabled"
    ]


FaultRule = Annotated[
    StripDhcpOptions
    | SetDhcpOption
    | AnswerClass
    | RefuseDhcp
    | MisdirectInform
    | HoldLeases
    | SetVlanOption
    | SetVoiceVlan
    | AddDhcpServer
    | Silence
    | Delay
    | DnsRcode
    | DnsTarget
    | ShiftClock
    | HttpStatus
    | Refuse
    | ShowCertificate
    | Outage
    | Deregister
    | RequireTls
    | SpoilChain
    | CloseConnections
    | IssueForeignCertificate
    | RefuseCertificate
    | SipStatus
    | SetPresenceState
    | SetSipBody
    | AddressConflict
    | SetPinState,
    Field(discriminator="kind"),
]


class FaultProfile(Config):
    """One named fault, made of one or more rules."""

    name: str
    description: str
    rules: Annotated[tuple[FaultRule, ...], Field(min_length=1)]
