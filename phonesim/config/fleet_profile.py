"""One fleet: how many phones, of which models, started how fast, in which world."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from phonesim.config.model import Config

Attach = Literal["loopback", "wire", "virtual"]
OwnMac = Literal["full", "dhcp-only"]


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


class Expectations(Config):
    """What makes the run a success; unmet means exit status 3."""

    signed_in: Annotated[float, Field(ge=0, le=1)] = 1
    """Share of phones that must be signed in."""


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
    rate: Annotated[float, Field(gt=0)] = 20
    """Phones started a second."""
    seed: int = 1
    boots: Annotated[int, Field(ge=1)] = 1
    """Times each phone boots; its virtual disk lasts from one boot to the next."""
    until: str = "signed-in"
    """"signed-in": until every phone has signed in or failed; or a duration such as "10m"."""
    timeout: Annotated[float, Field(gt=0)] = 600
    """Seconds after the last start at which a phone that has not settled counts as failed."""
    port_offset: Annotated[int, Field(ge=0, le=60000)] | None = None
    """Loopback: added to every standard port; None takes the first that is free."""
    keys: Literal["pool", "unique"] = "pool"
    """RSA keys: shared from a small pool, or one a phone (0.2 s of CPU each)."""
    keep_leases: bool = False
    links: Links = Links()
    expect: Expectations = Expectations()
