"""What somebody types into phones that do nothing but register: where, as whom, trusting whom."""

from __future__ import annotations

from ipaddress import AddressValueError, IPv4Address
from typing import Annotated, Literal

from pydantic import Field, field_validator

from phonesim.config.model import Config
from phonesim.config.site_profile import DomainName

_STANDARD_PORTS = {"tls": 5061, "tcp": 5060}


class TypedRegistrar(Config):
    """A Registrar to try."""

    host: DomainName
    """A name, which needs a DNS server, or an address."""
    port: Annotated[int, Field(ge=1, le=65535)] | None = None
    """None is the transport's own: 5061 for TLS, 5060 for TCP [documented RFC 3261 section 19]."""
    transport: Literal["tls", "tcp"] = "tls"

    @property
    def port_number(self) -> int:
        """The port that is meant."""
        return self.port or _STANDARD_PORTS[self.transport]

    @property
    def is_name(self) -> bool:
        """Whether DNS has to be asked for it."""
        try:
            IPv4Address(self.host)
        except AddressValueError:
            return True
        return False


class TypedRegistration(Config):
    """Registrars, users and trust of a fleet that only registers.

    `{n}` in the templates is the user's number: "{n:05d}".
    """

    registrars: Annotated[tuple[TypedRegistrar, ...], Field(min_length=1)]
    """Tried in this order until one accepts."""
    trust: str | None = None
    """File with the PEM certificates that the Registrars' own lead to; the mock site needs none."""
    sip_uri: str | None = None
    """Template of the users' URIs; None takes the users of the site, or of `users_from`."""
    first_user: Annotated[int, Field(ge=0)] = 1
    """The number of the first phone's user; only with `sip_uri`."""
    password: str | None = None
    """Template of their passwords. None is `registration.password` of the device profile or else,
    for the site's users, the PIN."""

    @field_validator("sip_uri")
    @classmethod
    def _is_a_user(cls, sip_uri: str | None) -> str | None:
        if sip_uri is not None:
            scheme, _, address = sip_uri.partition(":")
            user, _, host = address.partition("@")
            if scheme != "sip" or not user or not host:
                raise ValueError('should be like "sip:user{n}@example.com"')
        return sip_uri

    @property
    def asks_dns(self) -> bool:
        """Whether a Registrar is named."""
        return any(registrar.is_name for registrar in self.registrars)

    @property
    def needs_trust(self) -> bool:
        """Whether a Registrar shows a certificate."""
        return any(registrar.transport == "tls" for registrar in self.registrars)
