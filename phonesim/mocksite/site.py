"""A whole site: its servers with their faults, and where each of them listens.

Servers share nothing but the directory of users. A fault is carried out where it
belongs: what passes a server goes to a `FaultInjector` around it, what a server is
to its configuration or its listener. A rogue DHCP server answers first because the
others' answers are held back for its head start.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from fnmatch import fnmatchcase

import msgspec

from phonesim.config.fault import (
    AddDhcpServer,
    AddressConflict,
    AnswerClass,
    CloseConnections,
    Delay,
    Deregister,
    DnsRcode,
    DnsTarget,
    FaultProfile,
    FaultRule,
    HoldLeases,
    HttpStatus,
    IssueForeignCertificate,
    MisdirectInform,
    Outage,
    Refuse,
    RefuseCertificate,
    RefuseDhcp,
    RequireTls,
    SetDhcpOption,
    SetPinState,
    SetPresenceState,
    SetSipBody,
    SetVlanOption,
    SetVoiceVlan,
    ShiftClock,
    ShowCertificate,
    Silence,
    SipStatus,
    SpoilChain,
    StripDhcpOptions,
)
from phonesim.config.site_profile import DhcpServerConfig, SiteProfile
from phonesim.errors import ProfileError
from phonesim.mocksite.dhcp_server import DhcpServer
from phonesim.mocksite.dns_server import DnsServer
from phonesim.mocksite.exchange import CertificateAuthority, Listener, Server
from phonesim.mocksite.faults import FaultInjector, SignAnswer, is_injected
from phonesim.mocksite.held_leases import HeldLeases
from phonesim.mocksite.homes import HomeBook
from phonesim.mocksite.ntp_server import NtpServer
from phonesim.mocksite.registrar import Registrar
from phonesim.mocksite.switch import Switch
from phonesim.mocksite.timed_faults import TimedFaults, is_timed
from phonesim.mocksite.users import UserDirectory
from phonesim.mocksite.web_services import WebServices
from phonesim.wire.dhcp import SERVER_PORT as DHCP_PORT
from phonesim.wire.dns import DNS_PORT
from phonesim.wire.ntp import NTP_PORT


class Site(msgspec.Struct, frozen=True, kw_only=True):
    """A site, ready to be served.

    `switch` is what phones are plugged into; it has no address to listen on. `squatters`
    are addresses that hosts outside the site's knowledge use; `epoch` is the Unix time at
    monotonic zero.
    """

    name: str
    listeners: tuple[Listener, ...]
    squatters: frozenset[str]
    epoch: float
    users: UserDirectory
    switch: Server | None = None


def build_site(
    profile: SiteProfile,
    faults: Sequence[FaultProfile],
    authority: CertificateAuthority,
    rng: random.Random,
    epoch: float,
) -> Site:
    """Build every server of `profile`, with `faults`.

    Raises `ProfileError` if a fault finds nothing to act on or two servers share a port.
    """
    rules = [rule for fault in faults for rule in fault.rules]
    dhcp_configs = [
        *(rule.server for rule in rules if isinstance(rule, AddDhcpServer)),
        *profile.dhcp_servers,
    ]
    names = {
        "lldp": [profile.switch.name] if profile.switch else [],
        "dhcp": [config.name for config in dhcp_configs],
        "dns": [config.name for config in profile.dns_servers],
        "ntp": [config.name for config in profile.ntp_servers],
        "web": [config.name for config in profile.web_services],
        "sip": [config.name for config in profile.registrars],
    }
    pin_states = [rule for rule in rules if isinstance(rule, SetPinState)]
    users = UserDirectory(profile.users, pin_states, profile.pin_policy)
    for fault in faults:
        for rule in fault.rules:
            _check_target(fault, rule, names, users)
    listeners = [
        *_dhcp_listeners(dhcp_configs, rules),
        *_other_listeners(profile, rules, users, authority, rng, epoch),
    ]
    _check_ports(listeners)
    return Site(
        name=profile.name,
        listeners=tuple(listeners),
        switch=_switch(profile, rules),
        squatters=_squatters(dhcp_configs, rules),
        epoch=epoch,
        users=users,
    )


def _switch(profile: SiteProfile, rules: Sequence[FaultRule]) -> Server | None:
    config = profile.switch
    if config is None:
        return None
    for rule in rules:
        if isinstance(rule, SetVoiceVlan) and _names(rule, config.name):
            config = config.model_copy(update={"voice_vlan": rule.vlan_id})
    return _with_faults(Switch(config), config.name, "lldp", rules)


def _dhcp_listeners(
    configs: Sequence[DhcpServerConfig], rules: Sequence[FaultRule]
) -> list[Listener]:
    rogues = [rule for rule in rules if isinstance(rule, AddDhcpServer)]
    head_start = max((rogue.head_start for rogue in rogues), default=0.0)
    listeners = []
    for index, config in enumerate(configs):
        server: Server = DhcpServer(_with_other_options(config, rules))
        for rule in rules:
            if isinstance(rule, HoldLeases) and _names(rule, config.name):
                server = HeldLeases(server, config, rule.leave)
        server = _with_faults(server, config.name, "dhcp", rules)
        if head_start and index >= len(rogues):
            late = Delay(kind="delay", protocol="dhcp", seconds=head_start)
            server = FaultInjector(server, [late])
        listeners.append(
            Listener(
                name=config.name,
                protocol="dhcp",
                address=str(config.address),
                port=DHCP_PORT,
                server=server,
                on_vlan=config.on_vlan,
            )
        )
    return listeners


def _with_other_options(config: DhcpServerConfig, rules: Sequence[FaultRule]) -> DhcpServerConfig:
    for rule in rules:
        match rule:
            case AnswerClass() if _names(rule, config.name):
                config = config.model_copy(update={"sign_in_class": rule.sign_in_class})
            case SetVlanOption() if _names(rule, config.name):
                config = config.model_copy(update={"vlan_option": rule.value})
            case _:
                pass
    return config


def _other_listeners(
    profile: SiteProfile,
    rules: Sequence[FaultRule],
    users: UserDirectory,
    authority: CertificateAuthority,
    rng: random.Random,
    epoch: float,
) -> list[Listener]:
    def own_rng() -> random.Random:
        return random.Random(rng.getrandbits(64))

    listeners = [
        Listener(
            name=dns.name,
            protocol="dns",
            address=str(dns.address),
            port=DNS_PORT,
            server=_with_faults(DnsServer(dns), dns.name, "dns", rules),
        )
        for dns in profile.dns_servers
    ]
    listeners += [
        Listener(
            name=ntp.name,
            protocol="ntp",
            address=str(ntp.address),
            port=NTP_PORT,
            server=_with_faults(NtpServer(ntp, epoch), ntp.name, "ntp", rules),
        )
        for ntp in profile.ntp_servers
    ]
    for web in profile.web_services:
        services = WebServices(web, users, authority, own_rng(), epoch)
        server = _with_faults(services, web.name, "web", rules, authority=authority)
        for protocol, port in (("http", web.http_port), ("https", web.https_port)):
            listeners.append(
                Listener(
                    name=web.name,
                    protocol=protocol,
                    address=str(web.address),
                    port=port,
                    server=server,
                    names=(web.fqdn, *web.certificate_names),
                    certificate=_certificate(web.name, protocol, rules),
                    minimum_tls=_minimum_tls(web.name, protocol, rules),
                    refuses=_refuses(web.name, protocol, rules),
                )
            )
    homes = HomeBook(profile.registrars, profile.web_services, profile.users)
    for config in profile.registrars:
        registrar = Registrar(config, users, authority, own_rng(), epoch, homes)
        is_tls = config.transport == "tls"
        listeners.append(
            Listener(
                name=config.name,
                protocol="sips" if is_tls else "sip",
                address=str(config.address),
                port=config.port,
                server=_with_faults(registrar, config.name, "sip", rules, registrar.sign),
                names=(config.fqdn, *config.certificate_names),
                certificate=_certificate(config.name, "sip", rules) if is_tls else "valid",
                minimum_tls=_minimum_tls(config.name, "sip", rules) if is_tls else "1.0",
                refuses=_refuses(config.name, "sip", rules),
            )
        )
    return listeners


def _with_faults(
    server: Server,
    name: str,
    kind: str,
    rules: Sequence[FaultRule],
    sign: SignAnswer | None = None,
    authority: CertificateAuthority | None = None,
) -> Server:
    acting = [rule for rule in rules if kind in _kinds(rule) and _names(rule, name)]
    if any(map(is_injected, acting)):
        chains = {"empty": b"", "unreadable": b"not a chain of certificates"}
        if authority is not None and any(isinstance(rule, SpoilChain) for rule in acting):
            chains["without-intermediate"] = authority.root()
        foreign = b"" if authority is None else authority.signing_certificate()
        server = FaultInjector(server, acting, sign, chains, foreign)
    if any(map(is_timed, acting)):
        server = TimedFaults(server, acting)
    return server


def _names(rule: FaultRule, name: str) -> bool:
    return fnmatchcase(name, rule.target)


def _kinds(rule: FaultRule) -> tuple[str, ...]:
    """The kinds of server that a rule can act on; none for a rule that is about something else."""
    match rule:
        case Silence() | Delay() | Refuse() | Outage():
            return ("web",) if rule.protocol in ("http", "https") else (rule.protocol,)
        case (
            StripDhcpOptions()
            | SetDhcpOption()
            | AnswerClass()
            | RefuseDhcp()
            | MisdirectInform()
            | HoldLeases()
            | SetVlanOption()
            | AddressConflict()
        ):
            return ("dhcp",)
        case SetVoiceVlan():
            return ("lldp",)
        case DnsRcode() | DnsTarget():
            return ("dns",)
        case ShiftClock():
            return ("ntp",)
        case (
            HttpStatus()
            | SpoilChain()
            | CloseConnections()
            | IssueForeignCertificate()
            | RefuseCertificate()
        ):
            return ("web",)
        case SipStatus() | SetPresenceState() | SetSipBody() | Deregister():
            return ("sip",)
        case ShowCertificate() | RequireTls():
            return {None: ("web", "sip"), "https": ("web",), "sip": ("sip",)}[rule.protocol]
        case AddDhcpServer() | SetPinState():
            return ()


def _check_target(
    fault: FaultProfile,
    rule: FaultRule,
    names: dict[str, list[str]],
    users: UserDirectory,
) -> None:
    if isinstance(rule, SetPinState):
        if not users.matches(rule.users):
            raise ProfileError(
                f"fault {fault.name}: {rule.kind}: no SIP URI of the site matches {rule.users!r}"
            )
        return
    if isinstance(rule, Deregister) and rule.registrar not in (None, *names["sip"]):
        raise ProfileError(
            f"fault {fault.name}: {rule.kind}: registrar {rule.registrar!r} is none of the site's; "
            f"there are: {', '.join(names['sip'])}"
        )
    kinds = _kinds(rule)
    known = [name for kind in kinds for name in names[kind]]
    if kinds and not any(_names(rule, name) for name in known):
        what = " or ".join(kinds)
        there = f"there are: {', '.join(known)}" if known else "the site has none"
        raise ProfileError(
            f"fault {fault.name}: {rule.kind}: target {rule.target!r} names no {what} server; "
            f"{there}"
        )


def _check_ports(listeners: Sequence[Listener]) -> None:
    taken: dict[tuple[str, int], str] = {}
    for listener in listeners:
        place = (listener.address, listener.port)
        if place in taken:
            raise ProfileError(
                f"{taken[place]} and {listener.name} both listen on {place[0]} port {place[1]}"
            )
        taken[place] = listener.name


def _refuses(name: str, protocol: str, rules: Sequence[FaultRule]) -> bool:
    return any(
        isinstance(rule, Refuse) and rule.protocol == protocol and _names(rule, name)
        for rule in rules
    )


def _certificate(name: str, protocol: str, rules: Sequence[FaultRule]) -> str:
    kinds = [
        rule.certificate
        for rule in rules
        if isinstance(rule, ShowCertificate)
        and not rule.is_passing
        and _shows(rule, name, protocol)
    ]
    return kinds[-1] if kinds else "valid"


def _minimum_tls(name: str, protocol: str, rules: Sequence[FaultRule]) -> str:
    versions = [
        rule.version
        for rule in rules
        if isinstance(rule, RequireTls) and _shows(rule, name, protocol)
    ]
    return max(versions, default="1.0")


def _shows(rule: ShowCertificate | RequireTls, name: str, protocol: str) -> bool:
    return protocol != "http" and rule.protocol in (None, protocol) and _names(rule, name)


def _squatters(configs: Sequence[DhcpServerConfig], rules: Sequence[FaultRule]) -> frozenset[str]:
    return frozenset(
        str(config.scope.first + offset)
        for rule in rules
        if isinstance(rule, AddressConflict)
        for config in configs
        if config.scope is not None and _names(rule, config.name)
        for offset in range(min(rule.count, int(config.scope.last) - int(config.scope.first) + 1))
    )
