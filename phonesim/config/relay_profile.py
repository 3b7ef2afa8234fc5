"""Relay agents between a fleet and its DHCP servers: which there are, and what they add."""

from __future__ import annotations

from ipaddress import IPv4Address
from typing import Annotated, Any

from pydantic import BeforeValidator, Field, model_validator

from phonesim.config.model import Config


class RelayedLink(Config):
    """A link with phones, and the relay agent on it.

    `circuit_id` and `remote_id` are sub-options 1 and 2 of option 82 (RFC 3046), a value a
    phone: text, or hexadecimal digits after "0x". In both, {n} is the phone's number in the
    fleet, from 1, {mac} its MAC, {giaddr} the agent's address and {link} the link's name; "0x"
    templates get them as hexadecimal digits ({n:04x}, {mac}, {giaddr}, {link}).
    """

    giaddr: IPv4Address
    """The agent's address on the link: one of this host's, which servers answer to and choose
    the scope by."""
    link: str = ""
    """A name for results and templates; the giaddr if there is none."""
    circuit_id: str | None = None
    """None takes that of `relay`."""
    remote_id: str | None = None
    """None takes that of `relay`."""
    twin: IPv4Address | None = None
    """The address of a second agent on the link, which forwards every request as well: two
    routers that both relay."""

    @property
    def name(self) -> str:
        """What the link is called."""
        return self.link or str(self.giaddr)

    @property
    def agents(self) -> tuple[IPv4Address, ...]:
        """The addresses of its agents."""
        return (self.giaddr,) if self.twin is None else (self.giaddr, self.twin)


def _bare_address(value: Any) -> Any:
    return {"giaddr": value} if isinstance(value, str) else value


class Relay(Config):
    """The relay agents of `attach: relay`. Phones are spread evenly over the links."""

    servers: Annotated[tuple[IPv4Address, ...], Field(min_length=1)]
    """Every request goes to each of them."""
    giaddrs: Annotated[
        tuple[
            Annotated[
                RelayedLink,
                BeforeValidator(_bare_address, json_schema_input_type=IPv4Address | RelayedLink),
            ],
            ...,
        ],
        Field(min_length=1),
    ]
    """One a link: an address, or a mapping."""
    circuit_id: str | None = None
    """That of links without their own; None adds none."""
    remote_id: str | None = None
    """That of links without their own; None adds none."""
    copies: Annotated[int, Field(ge=1, le=16)] = 1
    """How often an agent sends each request to each server: more than 1 is a network that
    delivers everything more than once."""

    @property
    def agents(self) -> tuple[IPv4Address, ...]:
        """The addresses of all agents."""
        return tuple(agent for link in self.giaddrs for agent in link.agents)

    @property
    def fan_out(self) -> int:
        """Into how many datagrams the agents make one request, at most."""
        most_agents = max(len(link.agents) for link in self.giaddrs)
        return most_agents * self.copies * len(self.servers)

    @model_validator(mode="after")
    def _is_consistent(self) -> Relay:
        _refuse_twice("giaddr", [str(agent) for agent in self.agents])
        _refuse_twice("link", [link.name for link in self.giaddrs])
        _refuse_twice("server", [str(server) for server in self.servers])
        for address in (*self.servers, *self.agents):
            if address.is_unspecified or address.is_multicast or int(address) == 0xFFFFFFFF:
                raise ValueError(f"{address} is not the address of a host")
        local = {address.is_loopback for address in (*self.servers, *self.agents)}
        if len(local) > 1:
            raise ValueError(
                "loopback addresses and others: servers and giaddrs do not reach each other"
            )
        return self


def _refuse_twice(what: str, values: list[str]) -> None:
    seen = set[str]()
    for value in values:
        if value in seen:
            raise ValueError(f"{what} {value} is there twice: each needs its own")
        seen.add(value)
