"""The sub-machines of one phone: made of its profile, some of them when they are first needed.

A phone that stops early never has the later ones: fleets that load DHCP or DNS alone are large.
"""

from __future__ import annotations

import random
from functools import cached_property

from phonesim.config.device_profile import DeviceProfile
from phonesim.device.attachment import Attachment
from phonesim.device.cache import Cache
from phonesim.device.clock import PhoneClock
from phonesim.device.dhcp_client import DhcpClient
from phonesim.device.discovery import Discovery
from phonesim.device.http_authentication import WindowsCredentials
from phonesim.device.identity import Identity
from phonesim.device.line import Line
from phonesim.device.renewal import Renewal, Validity
from phonesim.device.resolver import Resolver
from phonesim.device.sign_in import SignIn
from phonesim.device.vlan import LldpEndpoint

Machine = (
    Attachment
    | LldpEndpoint
    | DhcpClient
    | Resolver
    | PhoneClock
    | Discovery
    | SignIn
    | Renewal
    | Line
    | Cache
    | Identity
)


class SubMachines:
    """One phone's. `number` and `pin`, or `credentials`, are what its user has."""

    def __init__(
        self,
        profile: DeviceProfile,
        mac: bytes,
        rng: random.Random,
        validity: Validity,
        number: str,
        pin: str,
        credentials: WindowsCredentials | None,
        attachment: Attachment,
    ) -> None:
        self._profile = profile
        self._mac = mac
        self._rng = rng
        self._validity = validity
        self._number = number
        self._pin = pin
        self._credentials = credentials
        self.attachment = attachment
        self.dhcp = DhcpClient(profile.dhcp, mac, rng, profile.vlan.option_forms)
        self.resolver = Resolver(profile.resolver, rng)
        self.clock = PhoneClock(profile.clock)
        asks_dns = profile.discovery.web_services_fallback == "dns"
        self.cache = Cache(
            profile.discovery.cert_prov_rel_path if asks_dns else None,
            keeps_lease=profile.dhcp.reboot_keeps_lease,
        )
        self.kept = Identity(profile.identity, self._expiry)

    @cached_property
    def lldp(self) -> LldpEndpoint:
        """The voice VLAN by LLDP-MED."""
        return LldpEndpoint(self._profile, self._mac)

    @cached_property
    def discovery(self) -> Discovery:
        """The race of DHCPINFORM and DNS."""
        return Discovery(self._profile.discovery, self._mac, self._rng)

    @cached_property
    def sign_in(self) -> SignIn:
        """Chain, ticket and certificate."""
        return SignIn(
            self._profile.sign_in,
            self._mac,
            self._number,
            self._pin,
            self._rng,
            self.clock.believed,
            self._credentials,
        )

    @cached_property
    def renewal(self) -> Renewal:
        """When the certificate is to be renewed."""
        return Renewal(self._profile.sign_in, self._validity, self.clock.believed)

    @cached_property
    def line(self) -> Line:
        """The registration, and what follows it."""
        profile = self._profile
        user_agent = profile.user_agent.replace("{firmware}", profile.firmware)
        return Line(
            profile.registration,
            self._mac,
            self._pin if self._credentials is None else self._credentials.password,
            user_agent,
            self._rng,
            self.clock.believed,
        )

    def owner_of_lookup(self, lookup_id: str) -> Machine:
        """Who asked for a name: it stands before the colon."""
        match lookup_id.partition(":")[0]:
            case "discovery":
                return self.discovery
            case "sign_in":
                return self.sign_in
            case "registration" | "primary_watch":
                return self.line
            case _:
                return self.clock

    def _expiry(self, certificate: bytes) -> float | None:
        validity = self._validity(certificate)
        return None if validity is None else validity[1]
