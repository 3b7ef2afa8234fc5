"""One fleet: how many phones, of which models, started how fast, in which world."""

from __future__ import annotations

from ipaddress import IPv4Address
from typing import Annotated, Literal

from pydantic import Field, field_validator, model_validator

from phonesim.config.duration import parse_duration
from phonesim.config.model import Config
from phonesim.config.relay_profile import Relay
from phonesim.config.site_profile import DomainName
from phonesim.config.typed_registration import TypedRegistration

Attach = Literal["loopback", "wire", "virtual", "relay"]
OwnMac = Literal["full", "dhcp-only"]
BootKind = Literal["cold", "warm", "sign-out", "factory-reset"]
PartialStage = Literal["vlan", "ip", "discovery", "register"]
NO_SITE = "none"
SIGNED_IN = "signed-in"

_PARTS: tuple[tuple[PartialStage, ...], ...] = (
    ("ip",),
    ("vlan", "ip"),
    ("ip", "discovery"),
    ("discovery",),
    ("register",),
)
FROM_FIXED_ADDRESSES = _PARTS[-2:]
"""The parts of a boot that begin with an address that somebody typed in."""


class DeviceShare(Config):
    """A model and its share of the fleet; shares are weights."""

    device: str
    """Name of a device profile, or a path."""
    weight: Annotated[int, Field(ge=1)] = 1


class Links(Config):
    """The network of the virtual world, one way, each packet on its own."""

    latency: Annotated[float, Field(ge=0)] = 0.001
    jitter: Annotated[float, Field(ge=0)] = 0.0005
    """Uniform, added to the latency."""
    loss: Annotated[float, Field(ge=0, lt=1)] = 0
    """Probability that a datagram is lost; streams do not lose."""


class LoadLimits(Config):
    """What the load may not exceed, whatever `rate` says. None is no limit."""

    outstanding: Annotated[int, Field(ge=1)] | None = None
    """Phones that have started and not yet signed in, done their stages or failed. The next
    ones wait; `lateness_ms` of the summary says how long. A phone that starts again does not
    count."""
    packets_per_second: Annotated[float, Field(gt=0)] | None = None
    """Datagrams (DHCP, DNS, NTP) that the whole fleet sends; more of them wait. Not for the
    virtual world."""
    unanswered_share: Annotated[float, Field(ge=0, lt=1)] | None = None
    """The run stops, not valid, when more than this share of the last exchanges of phones and
    servers had no answer in time. One counts when it is answered or given up, and one of DHCP,
    which can take minutes, also each time that its request is repeated."""
    unanswered_window: Annotated[int, Field(ge=1, le=100_000)] = 100
    """How many the last exchanges are."""


Rate = Annotated[float, Field(gt=0, allow_inf_nan=False)]
Span = Annotated[float, Field(ge=0, allow_inf_nan=False)]


class Ramp(Config):
    """From one rate to another, evenly; what is left after that comes at the second one."""

    kind: Literal["ramp"]
    begin: Annotated[float, Field(ge=0, allow_inf_nan=False)] = 0
    """Phones started a second at first, and ..."""
    end: Rate
    """... after `seconds`."""
    seconds: Rate


class Step(Config):
    """A rate and how long it lasts."""

    rate: Rate
    seconds: Rate


class Steps(Config):
    """One rate after another; the last one lasts until every phone has started."""

    kind: Literal["steps"]
    steps: Annotated[tuple[Step, ...], Field(min_length=1)]


class Burst(Config):
    """All phones at once."""

    kind: Literal["burst"]


class Switches(Config):
    """The power comes back: each switch powers its ports one after another, all switches at once.

    The fleet's phones fill one switch after another.
    """

    kind: Literal["switches"]
    ports: Annotated[int, Field(ge=1)] = 48
    """Phones on a switch."""
    stagger: Span = 0.5
    """Seconds from one port to the next [unknown: it differs by switch]."""
    power_up_jitter: Span = 0
    """A switch powers its first port up to this many seconds after the first one could, at
    random [unknown]."""


LoadShape = Annotated[Ramp | Steps | Burst | Switches, Field(discriminator="kind")]


class FixedAddresses(Config):
    """Addresses that somebody typed into the phones, one after another, and what goes with them."""

    first: IPv4Address
    count: Annotated[int, Field(ge=1)]
    """How many there are."""
    prefix: Annotated[int, Field(ge=8, le=30)] = 24
    router: IPv4Address | None = None
    dns_servers: tuple[IPv4Address, ...] = ()
    domain: DomainName | None = None
    search_list: tuple[DomainName, ...] = ()
    asks_dhcp: bool = False
    """Whether phones send DHCPINFORM beside their DNS queries; otherwise DNS decides alone."""

    @model_validator(mode="after")
    def _is_consistent(self) -> FixedAddresses:
        size = 1 << (32 - self.prefix)
        offset = int(self.first) % size
        if offset == 0 or offset + self.count >= size:
            raise ValueError(
                f"{self.count} addresses from {self.first} on are not all hosts of one"
                f" /{self.prefix}"
            )
        taken = range(int(self.first), int(self.first) + self.count)
        for other in (self.router, *self.dns_servers):
            if other is not None and int(other) in taken:
                raise ValueError(f"{other} is one of the phones' addresses")
        return self


class Expectations(Config):
    """What makes the run a success; unmet means exit status 3."""

    signed_in: Annotated[float, Field(ge=0, le=1)] = 1
    """Share of phones that must be signed in or, with `stages`, done."""


class FleetProfile(Config):
    """A fleet."""

    name: str
    description: str = ""
    phones: Annotated[int, Field(ge=1, le=1_000_000)] = 25
    first_phone: Annotated[int, Field(ge=1, le=0xFFFFFF)] = 1
    """The number in the last three octets of the first phone's MAC; the others count on. Fleets
    that share a network at one time need numbers of their own."""
    devices: Annotated[tuple[DeviceShare, ...], Field(min_length=1)] = (
        DeviceShare(device="polycom-cx600"),
    )
    site: str = "contoso"
    """Name of a site profile, a path, or "none" for servers that are already there."""
    users_from: str | None = None
    """Name or path of a site profile whose users sign in; None takes those of `site`. For
    servers that are already there, a file with `name` and `users` is enough."""
    sign_in: Literal["pin", "credentials"] = "pin"
    """What users sign in with: number and PIN, or user name and password, which a computer hands
    to a phone with a USB tether."""
    faults: tuple[str, ...] = ()
    attach: Attach = "loopback"
    interface: Annotated[str, Field(min_length=1)] | None = None
    """For `wire`: the interface to use. For `relay`: where giaddrs that this host lacks are put,
    and the leased addresses of phones that go beyond [ip]; None for a host that has the giaddrs."""
    relay: Relay | None = None
    """For `relay`: the servers, and the relay agents between them and the phones."""
    own_mac: OwnMac | None = None
    """For `wire`: whether each phone's frames all have its own MAC, or only its DHCP and ARP
    probes; None takes `full` where this machine can do it."""
    rate: Rate = 20
    """Phones started a second."""
    shape: LoadShape | None = None
    """How phones start otherwise than at one rate: it takes the place of `rate`."""
    seed: Annotated[int, Field(ge=0, lt=1 << 63)] = 1
    stages: tuple[PartialStage, ...] | None = None
    """What each phone does of its boot: [ip], [vlan, ip], [ip, discovery], or, from a fixed
    address, [discovery] or [register]; None is all of it. A phone that ends early is done, not
    signed in."""
    addresses: FixedAddresses | None = None
    """For [discovery] and [register]: the fixed addresses; None takes those of the mock site's
    first scope."""
    registration: TypedRegistration | None = None
    """For [register]: where phones register, and as whom."""
    repeat_every: Rate | None = None
    """With `stages`: seconds from one start of a phone to its next, with nothing in its cache,
    as long as `until` says; None does them once. A phone that is slower starts late."""
    limits: LoadLimits = LoadLimits()
    boots: Annotated[int, Field(ge=1)] | Annotated[tuple[BootKind, ...], Field(min_length=1)] = 1
    """How often each phone boots, or how each of its boots begins. cold: with an empty disk, as
    from the factory. warm: after a loss of power, with what is on its disk. sign-out: the user
    signs out before the power goes. factory-reset: with * and # held. A number is one cold boot
    and warm ones after it."""
    phones_from: str | None = None
    """Name or path of an earlier run, whose phones these are: they begin with what it left on
    their disks."""
    until: str = SIGNED_IN
    """"signed-in": until every phone has signed in, is done or has failed; or a duration such
    as "10m"."""
    timeout: Annotated[float, Field(gt=0)] = 600
    """Seconds after the last start at which a phone that has not settled counts as failed."""
    port_offset: Annotated[int, Field(ge=0, le=60000)] | None = None
    """Loopback: added to every standard port, with `relay` on loopback too; None takes the first
    that is free."""
    keys: Literal["pool", "unique"] = "pool"
    """RSA keys: at most eight, which phones share as the run then says, or one a phone, made
    before the first one starts (0.25 s of CPU each)."""
    keep_leases: bool = False
    device_logs: Literal["all", "failed"] = "all"
    """Whose logs and files are written: every phone's, or those of phones with a failed boot."""
    links: Links = Links()
    expect: Expectations = Expectations()

    @field_validator("stages")
    @classmethod
    def _can_be_done_alone(
        cls, stages: tuple[PartialStage, ...] | None
    ) -> tuple[PartialStage, ...] | None:
        if stages is not None and stages not in _PARTS:
            raise ValueError(
                "should be [ip], [vlan, ip], [ip, discovery], [discovery] or [register]"
            )
        return stages

    @field_validator("until")
    @classmethod
    def _is_an_end(cls, until: str) -> str:
        if until != SIGNED_IN:
            parse_duration(until)
        return until

    @model_validator(mode="after")
    def _goes_together(self) -> FleetProfile:
        if self.addresses is not None:
            self._check_addresses(self.addresses)
        if self.registration is not None and self.stages != ("register",):
            raise ValueError("registration is for stages [register]: other phones discover it")
        if self.registration is None and self.stages == ("register",):
            raise ValueError("stages [register] need registration: its registrars, and the users")
        first = "cold" if isinstance(self.boots, int) else self.boots[0]
        if first == "sign-out":
            raise ValueError("boots cannot begin with sign-out: nobody has signed in yet")
        if first == "warm" and self.phones_from is None:
            raise ValueError("boots begin with warm only with phones_from: the disks are empty")
        if self.stages is not None and self.sign_in == "credentials":
            raise ValueError("sign_in credentials is for whole boots, not for stages")
        if self.stages is not None and not isinstance(self.boots, int) and "sign-out" in self.boots:
            raise ValueError("boots with sign-out are for whole boots, not for stages")
        if self.repeat_every is None:
            return self
        if self.stages is None:
            raise ValueError("repeat_every is for fleets with stages: a whole boot is not repeated")
        if self.until == SIGNED_IN or self.boots != 1:
            raise ValueError("repeat_every needs a duration in until, and no boots of its own")
        return self

    def _check_addresses(self, addresses: FixedAddresses) -> None:
        if self.stages not in FROM_FIXED_ADDRESSES:
            raise ValueError(
                "addresses are for stages [discovery] or [register]: other phones lease theirs"
            )
        finds = self.stages == ("discovery",)
        if finds and (not addresses.dns_servers or addresses.domain is None):
            raise ValueError("stages [discovery] need addresses.dns_servers and addresses.domain")
        asks_dns = self.registration is not None and self.registration.asks_dns
        if asks_dns and not addresses.dns_servers:
            raise ValueError(
                "registration.registrars are named: give addresses.dns_servers, or addresses as"
                " their hosts"
            )
