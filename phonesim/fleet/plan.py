"""What will be run: a fleet's profiles, read together and turned into one spec a phone.

Phone i of a fleet (counted from 0) has the MAC `OUI of its model` + `first_phone` + i, the ith
user, and starts when the load shape says, at a rate i / rate seconds after the run's begin. Models
alternate so that every stretch of the fleet has them in the proportion of their weights. Phones
that end before they register need no users; those with a fixed address have the ith that the fleet
gives, or of the mock site's first scope. The same profiles give the same phones.
"""

from __future__ import annotations

import random
from collections.abc import Iterable, Iterator, Mapping, Sequence
from ipaddress import IPv4Network
from itertools import islice, repeat

import msgspec

from phonesim.config.device_profile import DeviceProfile
from phonesim.config.duration import parse_duration
from phonesim.config.fault import FaultProfile
from phonesim.config.fleet_profile import (
    FROM_FIXED_ADDRESSES,
    NO_SITE,
    SIGNED_IN,
    Attach,
    BootKind,
    DeviceShare,
    FixedAddresses,
    FleetProfile,
)
from phonesim.config.site_profile import SiteProfile, UserRange
from phonesim.device.events import Lease
from phonesim.device.http_authentication import WindowsCredentials
from phonesim.device.outcome import Stage
from phonesim.errors import ProfileError
from phonesim.fleet.load_shape import start_times
from phonesim.fleet.registration_plan import check_registration, registering, with_registrations
from phonesim.fleet.relay_plan import behind_relays, check_relay, check_renewals
from phonesim.mocksite.site import build_site
from phonesim.profiles import DEVICE, FAULT, FLEET, SITE, Override, apply, load
from phonesim.virtual_authority import VirtualAuthority
from phonesim.wire.dhcp import UNSPECIFIED
from phonesim.world import PhoneSpec, RunLimits

_FOREVER = float("inf")
_USERS_OF: dict[str, tuple[Attach, ...]] = {
    "interface": ("wire", "relay"),
    "own_mac": ("wire",),
    "port_offset": ("loopback", "relay"),
    "keys": ("loopback", "wire", "relay"),
    "links": ("virtual",),
}
"""Which worlds have a use for a value of a fleet, where it is not all of them."""
_LAST_NUMBER = 0xFFFFFF


class Monkey(msgspec.Struct, frozen=True, kw_only=True):
    """Random faults: their seed, how many seconds there are some, and how many after that phones
    have to come back.
    """

    seed: int
    span: float
    grace: float


class Plan(msgspec.Struct, frozen=True, kw_only=True):
    """A run before it runs. `site` is None for servers that are already there.

    With a `monkey`, the faults are its own.
    """

    fleet: FleetProfile
    site: SiteProfile | None
    faults: tuple[FaultProfile, ...]
    specs: tuple[PhoneSpec, ...]
    limits: RunLimits
    monkey: Monkey | None = None


def read_plan(
    name: str,
    overrides: Sequence[Override] = (),
    faults: Sequence[str] = (),
    users: Sequence[UserRange] | None = None,
) -> Plan:
    """Read a fleet and everything it names; `faults` come on top of its own.

    `users` are those who sign in, instead of the site's or those of `users_from`.

    Raises `ProfileError` for whatever of it cannot be used.
    """
    fleet = load(FLEET, name, overrides)
    if faults:
        fleet = fleet.model_copy(update={"faults": (*fleet.faults, *faults)})
    return plan_fleet(fleet, overrides, users=users)


def plan_fleet(
    fleet: FleetProfile,
    overrides: Sequence[Override] = (),
    other_faults: Sequence[FaultProfile] = (),
    users: Sequence[UserRange] | None = None,
) -> Plan:
    """Read everything that a fleet names; `other_faults` come on top of those.

    The site is built once for trial: whether its faults find something to act on shows then.

    Raises `ProfileError` for whatever of it cannot be used.
    """
    if fleet.site == NO_SITE:
        site = None
        if any(override.root == SITE.name for override in overrides):
            raise ProfileError("a site value is set, but the fleet has no mock site (site: none)")
    else:
        site = load(SITE, fleet.site, overrides)
    _check_world(fleet)
    _check_uses(fleet.attach, overrides)
    relay = check_relay(fleet, site) if fleet.attach == "relay" else None
    devices = {
        share.device: _for_fleet(fleet, apply(DEVICE, load(DEVICE, share.device), overrides))
        for share in fleet.devices
    }
    if users is None:
        users = _users(fleet, site) if _has_users(fleet) else ()
    leases = fixed_leases(fleet, site) if fleet.stages in FROM_FIXED_ADDRESSES else repeat(None)
    faults_of = (*(load(FAULT, fault) for fault in fleet.faults), *other_faults)
    if site is not None:
        build_site(site, faults_of, VirtualAuthority(), random.Random(0), 0)
    specs = phone_specs(fleet, devices, users, leases)
    if fleet.registration is not None:
        specs = list(with_registrations(fleet, users, specs))
    if relay is not None:
        check_renewals(fleet, specs)
        specs = list(behind_relays(fleet, relay, specs))
    return Plan(
        fleet=fleet,
        site=site,
        faults=faults_of,
        specs=tuple(specs),
        limits=run_limits(fleet),
    )


def phone_specs(
    fleet: FleetProfile,
    devices: Mapping[str, DeviceProfile],
    users: Sequence[UserRange],
    leases: Iterable[Lease | None] = repeat(None),
) -> list[PhoneSpec]:
    """Return the phones of a fleet; `devices` are its models by the name the fleet uses.

    `leases` are the fixed ones, in order.
    """
    known = sum(user_range.count for user_range in users)
    if fleet.stages is None and known < fleet.phones:
        raise ProfileError(
            f"fleet {fleet.name!r}: {fleet.phones} phones need as many users, and"
            f" {fleet.users_from or fleet.site!r} has {known}: lower --phones, or add users"
        )
    if fleet.first_phone + fleet.phones - 1 > _LAST_NUMBER:
        raise ProfileError(
            f"fleet {fleet.name!r}: {fleet.phones} phones from number {fleet.first_phone} on are"
            f" more than a MAC has room for ({_LAST_NUMBER}): lower first_phone or --phones"
        )
    ouis = {name: bytes.fromhex(profile.oui.replace(":", "")) for name, profile in devices.items()}
    models = islice(interleave(fleet.devices), fleet.phones)
    _check_sign_in(fleet, devices)
    typed = _typed(users, fleet) if fleet.stages is None else repeat(("", "", None))
    # Behind a relay agent a phone is in its VLAN already.
    whole = (Stage.IP if fleet.attach == "relay" else Stage.VLAN, Stage.COMMIT)
    stages = fleet.stages or whole
    first_stage, last_stage = Stage(stages[0]), Stage(stages[-1])
    specs: list[PhoneSpec] = []
    starts = start_times(fleet)
    each = zip(models, typed, leases, starts, strict=False)
    for index, (name, (number, pin, credentials), lease, starts_at) in enumerate(each):
        mac = ouis[name] + (fleet.first_phone + index).to_bytes(3, "big")
        phone_id = mac.hex("-").upper()
        specs.append(
            PhoneSpec(
                phone_id=phone_id,
                mac=mac,
                profile=devices[name],
                number=number,
                pin=pin,
                starts_at=starts_at,
                seed=f"{fleet.seed}/{phone_id}",
                first_stage=first_stage,
                last_stage=last_stage,
                fixed_lease=lease,
                credentials=credentials,
            )
        )
    return specs


def fixed_leases(fleet: FleetProfile, site: SiteProfile | None) -> list[Lease]:
    """Return an address for each phone of a fleet that asks no DHCP server for one.

    They are the fleet's own, or those that the mock site's first scope would have given, with
    its options.
    """
    if fleet.addresses is not None:
        return _typed_in(fleet, fleet.addresses)
    servers = () if site is None else site.dhcp_servers
    server = next((server for server in servers if server.scope is not None), None)
    if server is None or server.scope is None:
        raise ProfileError(
            f"fleet {fleet.name!r}: phones without the stage ip take their addresses from"
            " fleet.addresses, or from the mock site's first DHCP scope, and there is none: give"
            " fleet.addresses"
        )
    scope = server.scope
    size = int(scope.last) - int(scope.first) + 1
    if size < fleet.phones:
        raise ProfileError(
            f"fleet {fleet.name!r}: {fleet.phones} phones need as many addresses, and the scope of"
            f" {server.name} has {size}: lower --phones, or enlarge it"
        )
    return [
        Lease(
            address=str(scope.first + index),
            subnet_mask=str(scope.subnet.netmask),
            server=str(server.address),
            t1_at=_FOREVER,
            t2_at=_FOREVER,
            expires_at=_FOREVER,
            routers=tuple(map(str, scope.routers)),
            dns_servers=tuple(map(str, scope.dns_servers)),
            domain=scope.domain,
            search_list=scope.domain_search,
            ntp_servers=tuple(map(str, scope.ntp_servers)),
        )
        for index in range(fleet.phones)
    ]


def _typed_in(fleet: FleetProfile, addresses: FixedAddresses) -> list[Lease]:
    if addresses.count < fleet.phones:
        raise ProfileError(
            f"fleet {fleet.name!r}: {fleet.phones} phones need as many addresses, and"
            f" addresses.count is {addresses.count}: lower --phones, or give more"
        )
    return [
        Lease(
            address=str(addresses.first + index),
            subnet_mask=str(IPv4Network((0, addresses.prefix)).netmask),
            server=UNSPECIFIED,
            t1_at=_FOREVER,
            t2_at=_FOREVER,
            expires_at=_FOREVER,
            routers=() if addresses.router is None else (str(addresses.router),),
            dns_servers=tuple(map(str, addresses.dns_servers)),
            domain=addresses.domain,
            search_list=addresses.search_list,
        )
        for index in range(fleet.phones)
    ]


def _for_fleet(fleet: FleetProfile, device: DeviceProfile) -> DeviceProfile:
    """The model as this fleet uses it: one that is to load DNS alone asks no DHCP server."""
    if fleet.registration is not None:
        return registering(fleet, device)
    if fleet.addresses is None or fleet.addresses.asks_dhcp:
        return device
    discovery = device.discovery.model_copy(update={"asks_dhcp": False})
    return device.model_copy(update={"discovery": discovery})


def interleave(shares: Sequence[DeviceShare]) -> Iterator[str]:
    """Yield device names for ever, each as often as its weight says, evenly spread.

    Every share's credit grows by its weight; the richest is taken and pays the total.
    """
    total = sum(share.weight for share in shares)
    credit = [0] * len(shares)
    while True:
        for position, share in enumerate(shares):
            credit[position] += share.weight
        richest = credit.index(max(credit))
        credit[richest] -= total
        yield shares[richest].device


def _boot_kinds(fleet: FleetProfile) -> tuple[BootKind, ...]:
    if not isinstance(fleet.boots, int):
        return fleet.boots
    first: BootKind = "cold" if fleet.phones_from is None else "warm"
    later: BootKind = "warm"
    return (first, *[later] * (fleet.boots - 1))


def run_limits(fleet: FleetProfile) -> RunLimits:
    """Return when a run of this fleet ends."""
    return RunLimits(
        duration=None if fleet.until == SIGNED_IN else parse_duration(fleet.until),
        timeout=fleet.timeout,
        boots=_boot_kinds(fleet),
        keep_leases=fleet.keep_leases,
        outstanding=fleet.limits.outstanding,
        repeat_every=fleet.repeat_every,
    )


def _has_users(fleet: FleetProfile) -> bool:
    """Whether phones are users of a site: those that sign in, or register without a template."""
    if fleet.registration is not None:
        return fleet.registration.sip_uri is None
    return fleet.stages is None


def _users(fleet: FleetProfile, site: SiteProfile | None) -> tuple[UserRange, ...]:
    if fleet.users_from is not None:
        return load(SITE, fleet.users_from).users
    if site is not None:
        return site.users
    another = "" if fleet.registration is None else ", or registration.sip_uri"
    raise ProfileError(
        f"fleet {fleet.name!r}: site none has no users: say who signs in with fleet.users_from,"
        f" a site profile with users{another}"
    )


def _check_world(fleet: FleetProfile) -> None:
    where = f"fleet {fleet.name!r}"
    if fleet.attach == "virtual" and fleet.site == NO_SITE:
        raise ProfileError(f"{where}: the virtual world needs a mock site: give --site")
    if fleet.attach == "virtual" and fleet.limits.packets_per_second is not None:
        raise ProfileError(
            f"{where}: limits.packets_per_second is for real packets, and the virtual world has"
            " none: use --attach loopback, or limits.outstanding"
        )
    is_fixed = fleet.stages in FROM_FIXED_ADDRESSES
    if fleet.attach == "wire" and is_fixed and fleet.addresses is None:
        another = ", or use stages [ip, discovery]" if fleet.registration is None else ""
        raise ProfileError(
            f"{where}: on a real network a phone needs an address of its own: give fleet.addresses"
            f"{another}"
        )
    if fleet.registration is not None:
        check_registration(fleet, fleet.registration)
    if fleet.addresses is not None and fleet.attach != "virtual":
        first = fleet.addresses.first
        if first.is_loopback != (fleet.attach == "loopback"):
            raise ProfileError(
                f"{where}: addresses.first is {first}, and the {fleet.attach} world has"
                f" {'only' if fleet.attach == 'loopback' else 'no'} addresses of 127.0.0.0/8"
            )
    if fleet.attach == "wire" and fleet.interface is None:
        raise ProfileError(f"{where}: give the interface to use: --interface (see doctor)")
    if fleet.relay is not None and fleet.attach != "relay":
        raise ProfileError(
            f"{where}: relay agents are for --attach relay: with {fleet.attach}, set"
            " fleet.relay=null"
        )
    if fleet.site == NO_SITE and fleet.faults:
        raise ProfileError(f"{where}: faults act on the mock site, and there is none (site: none)")


def _check_uses(attach: Attach, overrides: Sequence[Override]) -> None:
    """Refuse what somebody asked for that would change nothing."""
    for override in overrides:
        worlds = _USERS_OF.get(override.path[0], ()) if override.root == FLEET.name else ()
        if worlds and attach not in worlds and override.value is not None:
            raise ProfileError(
                f"{override.label}: the {attach} world has no use for it: leave it out, or use"
                f" --attach {' or '.join(worlds)}"
            )


def _check_sign_in(fleet: FleetProfile, devices: Mapping[str, DeviceProfile]) -> None:
    for name, device in devices.items():
        if fleet.sign_in == "credentials" and not device.usb_tether:
            raise ProfileError(
                f"fleet {fleet.name!r}: device {name} has no USB tether, and its users can only"
                " type a PIN: leave it out of devices, or set fleet.sign_in=pin"
            )


def _typed(
    users: Iterable[UserRange], fleet: FleetProfile
) -> Iterator[tuple[str, str, WindowsCredentials | None]]:
    """Yield number, PIN and, where users sign in with them, the credentials of every user."""
    for user_range in users:
        for n in range(user_range.first, user_range.first + user_range.count):
            try:
                credentials = None
                if fleet.sign_in == "credentials":
                    credentials = _credentials(user_range, n)
                yield user_range.number.format(n=n), user_range.pin.format(n=n), credentials
            except (LookupError, ValueError, AttributeError) as error:
                raise ProfileError(
                    f"users: number {user_range.number!r}, its PIN or its credentials cannot be"
                    f" filled in: only {{n}} is known ({error})"
                ) from None


def _credentials(users: UserRange, n: int) -> WindowsCredentials:
    sip_uri = users.sip_uri.format(n=n)
    user_name = users.user_name or users.sip_uri.partition(":")[2]
    password = users.pin if users.password is None else users.password
    return WindowsCredentials(
        sip_uri=sip_uri, user_name=user_name.format(n=n), password=password.format(n=n)
    )
