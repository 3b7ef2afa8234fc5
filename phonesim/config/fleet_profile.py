"""One fleet: how many phones, of which models, started how fast, in which world."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, field_validator

from phonesim.config.model import Config

Attach = Literal["loopback", "wire", "virtual"]
OwnMac = Literal["full", "dhcp-only"]
PartialStage = Literal["vlan", "ip", "discovery"]

_PARTS: tuple[tuple[PartialStage, ...], ...] = (
    ("ip",),
    ("vlan", "ip"),
    ("ip", "discovery"),
    ("discovery",),
)


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
    ones wait; `lateness_ms` of the summary says how long."""
    packets_per_second: Annotated[float, Field(gt=0)] | None = None
    """Datagrams (DHCP, DNS, NTP) that the whole fleet sends; more of them wait. Not for the
    virtual world."""
    unanswered_share: Annotated[float, Field(ge=0, lt=1)] | None = None
    """The run stops, not valid, when more than this share of the last exchanges of phones and
    servers had no answer. An exchange ends when it is answered or no longer repeated."""
    unanswered_window: Annotated[int, Field(ge=1, le=100_000)] = 100
    """How many the last exchanges are."""


class Expectations(Config):
    """What makes the run a success; unmet means exit status 3."""

    signed_in: Annotated[float, Field(ge=0, le=1)] = 1
    """Share of phones that must be signed in or, with `stages`, done."""


class FleetProfile(Config):
    """A fleet."""

    name: str
    description: str = ""
    phones: Annotated[int, Field(ge=1, le=1_000_000)] = 25
    devices: Annotated[tuple[DeviceShare, ...], Field(min_length=1)] = (
        DeviceShare(device="polycom-cx600"),
    )
    site: str = "contoso"
    """Name of a site profile, a path, or "none" for servers that are already there."""
    users_from: str | None = None
    """Name or path of a site profile whose users sign in; None takes those of `site`. For
    servers that are already there, a file with `name` and `users` is enough."""
    faults: tuple[str, ...] = ()
    attach: Attach = "loopback"
    interface: str | None = None
    """For `wire`: the interface to use."""
    own_mac: OwnMac | None = None
    """For `wire`: whether each phone's frames all have its own MAC, or only its DHCP and ARP
    probes; None takes `full` where this machine can do it."""
    rate: Annotated[float, Field(gt=0, allow_inf_nan=False)] = 20
    """Phones started a second."""
    seed: Annotated[int, Field(ge=0, lt=1 << 63)] = 1
    stages: tuple[PartialStage, ...] | None = None
    """What each phone does of its boot: [ip], [vlan, ip], [ip, discovery], or [discovery] from a
    fixed address; None is all of it. A phone that ends early is done, not signed in."""
    limits: LoadLimits = LoadLimits()
    boots: Annotated[int, Field(ge=1)] = 1
    """Times each phone boots; its virtual disk lasts from one boot to the next."""
    until: str = "signed-in"
    """"signed-in": until every phone has signed in, is done or has failed; or a duration such
    as "10m"."""
    timeout: Annotated[float, Field(gt=0)] = 600
    """Seconds after the last start at which a phone that has not settled counts as failed."""
    port_offset: Annotated[int, Field(ge=0, le=60000)] | None = None
    """Loopback: added to every standard port; None takes the first that is free."""
    keys: Literal["pool", "unique"] = "pool"
    """RSA keys: shared from a small pool, or one a phone (0.2 s of CPU each)."""
    keep_leases: bool = False
    links: Links = Links()
    expect: Expectations = Expectations()

    @field_validator("stages")
    @classmethod
    def _can_be_done_alone(
        cls, stages: tuple[PartialStage, ...] | None
    ) -> tuple[PartialStage, ...] | None:
        if stages is not None and stages not in _PARTS:
            raise ValueError("should be [ip], [vlan, ip], [ip, discovery] or [discovery]")
        return stages
