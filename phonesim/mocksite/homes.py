"""Where the site's users are at home: the primary Registrar of each, and its backup.

All Registrars of a site read the same book. What an administrator changes while the site runs,
moving or disabling users, is entered here. An ordinary registrar, which takes Digest alone,
belongs to no pool: everybody is at home there, unless the site has no others.

Specifications: sign-in reference sections 17.2, 19 and 21.
"""

from __future__ import annotations

from collections.abc import Sequence

from phonesim.config.site_profile import RegistrarConfig, UserRange, WebServicesConfig
from phonesim.errors import ProfileError
from phonesim.mocksite.users import User
from phonesim.wire.inband_provisioning import InbandProvisioning, ServiceUrl
from phonesim.wire.sip_server import SipServer


class HomeBook:
    """The Registrars of a site by name, and who is at home where.

    Raises `ProfileError` if a range of users names a Registrar that the site has not.
    """

    def __init__(
        self,
        registrars: Sequence[RegistrarConfig],
        web_services: Sequence[WebServicesConfig] = (),
        users: Sequence[UserRange] = (),
    ) -> None:
        pools = [registrar for registrar in registrars if registrar.authentication != ("digest",)]
        self._names = tuple(registrar.name for registrar in pools or registrars)
        self._servers = {
            registrar.name: SipServer(
                host=registrar.fqdn, port=registrar.port, transport=registrar.transport
            )
            for registrar in registrars
        }
        self._cluster_types = {registrar.name: registrar.cluster_type for registrar in registrars}
        for users_range in users:
            for name in (users_range.registrar, users_range.backup_registrar):
                if name is not None and name not in self._servers:
                    raise ProfileError(
                        f"users {users_range.sip_uri}: there is no registrar {name!r}; "
                        f"there are: {', '.join(self._servers) or 'none'}"
                    )
        self._web_services = (
            ServiceUrl(
                scheme="https",
                host=web_services[0].fqdn,
                port=web_services[0].https_port,
                path=web_services[0].cert_prov_rel_path,
            )
            if web_services
            else None
        )
        self._moved: dict[str, str] = {}
        self._left: dict[str, str] = {}
        self._disabled: set[str] = set()

    def server(self, name: str) -> SipServer:
        """Where a Registrar is."""
        return self._servers[name]

    def primary(self, user: User) -> str:
        """The name of the user's primary Registrar."""
        return self._moved.get(user.sip_uri) or user.registrar or self._names[0]

    def backup(self, user: User) -> str | None:
        """The name of the user's backup Registrar; None if there is no other than the primary.

        The Registrar that a user was moved away from is none any more.
        """
        primary = self.primary(user)
        if user.backup_registrar is not None and user.backup_registrar != primary:
            return user.backup_registrar
        names = self._names
        after = names.index(primary) + 1 if primary in names else 0
        following = names[after % len(names)]
        return None if following in (primary, self._left.get(user.sip_uri)) else following

    def receives(self, name: str, user: User) -> bool:
        """Whether a Registrar takes the user's registrations."""
        return name not in self._names or name in (self.primary(user), self.backup(user))

    def is_primary(self, name: str, user: User) -> bool:
        """Whether the user is at home there, not merely at a backup."""
        return name not in self._names or name == self.primary(user)

    def cluster_type(self, user: User) -> str:
        """What kind of pool the user's primary Registrar is."""
        return self._cluster_types[self.primary(user)]

    def provisioning(self, user: User) -> InbandProvisioning:
        """What in-band provisioning tells the user's endpoints."""
        names = (self.primary(user), self.backup(user))
        return InbandProvisioning(
            registrars=tuple(self._servers[name] for name in names if name is not None),
            web_services=self._web_services,
        )

    def move(self, user: User, registrar: str) -> None:
        """Move a user to another primary Registrar."""
        self._left[user.sip_uri] = self.primary(user)
        self._moved[user.sip_uri] = registrar

    def disable(self, user: User) -> None:
        """Disable a user at every Registrar."""
        self._disabled.add(user.sip_uri)

    def is_disabled(self, user: User) -> bool:
        """Whether a user was disabled, from the beginning or since."""
        return not user.is_enabled or user.sip_uri in self._disabled
