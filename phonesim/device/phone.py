"""The phone: joins the sub-machines into one boot.

    vlan -> ip -> time -> discovery -> chain -> ticket -> certificate -> register -> commit

An event goes to the sub-machine it belongs to; what that returns for its siblings comes
back here and is routed on, until only actions and observations are left. The records of
one event become one `WriteLog`, stamped with the clock that the phone believes.

Where a boot can fail, and what follows:

    vlan         never: without a voice VLAN the phone goes on untagged
    ip           no-lease                 AutoIP; goes on when a server answers later
                 address-in-use           a fixed address that another host has: never again
    time         clock-not-set            the boot goes on with a wrong clock, and asks again
                                          when it begins again; or it does not go on
    discovery    web-services-not-located again after the profile's retry delay
    chain..certificate                    again after the delay, or never: a wrong PIN
                                          needs a person
    register     registrar-not-located, ...  again after the delay, or what Retry-After says
    commit       as register: the registration can end while in-band provisioning is awaited

A phone that is signed in and loses its registration shows so and gets another one by itself;
when a Registrar refuses it, it has to sign in again.

A failure with addresses from the cache makes the cache unusable: discovery runs at once. Only
certificates that a wrong clock refuses do not. A phone that still has its certificate, from an
earlier boot or a lost lease, goes on with the stage register. One that the Registrar does not
take is forgotten; if it was an old one, the phone signs in at the web services at once.

The stage vlan is LLDP's. Where no switch names a voice VLAN a DHCP server may, in the stage ip:
the phone gives that lease back and asks for another one in the VLAN.

A phone that is to load DHCP or DNS alone stops early: its last stage is ip or discovery, and
reaching its end is all it does, once or again and again. It does without the time, which only
certificates need, and unless its first stage is vlan it takes no notice of VLANs. With a fixed
address it does without DHCP's four messages, too, but not without the ARP probe.

A phone that is to load a Registrar alone has the stage register and no other: address, Registrars,
user, trust and clock were typed in. It is done when it is registered, and stays so; when it is due
again, it deregisters first, and registers anew over another connection.

Specifications: device reference sections 1 and 3.5, RFC 5227 section 2.1.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from functools import cached_property
from typing import Any, get_args

from phonesim.config.device_profile import DeviceProfile
from phonesim.device import device_log as log
from phonesim.device.actions import (
    ConfigureAddress,
    DeleteFile,
    JoinVlan,
    PhoneAction,
    ProbeAddress,
    WriteLog,
)
from phonesim.device.cache import Cache
from phonesim.device.clock import PhoneClock
from phonesim.device.device_log import LogRecord
from phonesim.device.dhcp_client import DhcpClient
from phonesim.device.discovery import Discovery
from phonesim.device.events import (
    AddressClaimed,
    AddressProbed,
    AddressUnwanted,
    AddressWanted,
    BootFailed,
    CacheForgotten,
    CacheLoaded,
    CacheUnusable,
    CertificateChecked,
    CertificateIssued,
    CertificateRequestMade,
    ClockSet,
    CommitWanted,
    ConnectionClosed,
    ConnectionFailed,
    ConnectionOpened,
    DataSigned,
    DhcpAnswerKept,
    DhcpMessageReceived,
    DiscoveryWanted,
    DisplayShowed,
    DnsAnswerKept,
    DnsResponseReceived,
    Event,
    HandshakeAdvanced,
    HandshakeFailed,
    HttpFailed,
    HttpResponseReceived,
    IdentityLoaded,
    IdentityUnusable,
    Lease,
    LeaseBound,
    LeaseFailed,
    LeaseLost,
    LineUsable,
    LldpReceived,
    LookupAnswered,
    LookupRequested,
    MalformedReceived,
    NtpPacketReceived,
    Observation,
    PhoneAbandoned,
    PowerApplied,
    PoweredOff,
    Registered,
    RegistrationAbandoned,
    RegistrationEnded,
    RegistrationFailed,
    RegistrationLost,
    RegistrationWanted,
    RenewalWanted,
    RepetitionDue,
    ServicesLocated,
    ShutdownRequested,
    SignedIn,
    SignedOut,
    SignInFailed,
    SignInWanted,
    SignOutRequested,
    SipMessageReceived,
    StageEnded,
    StageEntered,
    StagesDone,
    TimerExpired,
    TimeWanted,
    VlanChanged,
    VlanJoined,
    VlanOffered,
    VlanSettled,
    VlanWanted,
    WebServicesAddress,
)
from phonesim.device.http_authentication import WindowsCredentials
from phonesim.device.identity import Identity
from phonesim.device.line import Line
from phonesim.device.outcome import FailureReason, Stage
from phonesim.device.renewal import Renewal, Validity
from phonesim.device.resolver import Resolver
from phonesim.device.sign_in import SignIn
from phonesim.device.vlan import LldpEndpoint
from phonesim.wire.dhcp import BOOTREPLY, format_mac

Output = PhoneAction | Observation
Machine = (
    LldpEndpoint
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

# What waiting cannot mend: someone has to type another PIN, or an administrator has to act.
_NEEDS_A_PERSON = frozenset(
    {
        FailureReason.PASSWORD_INCORRECT,
        FailureReason.PIN_INCORRECT,
        FailureReason.PIN_LOCKED,
        FailureReason.PIN_EXPIRED,
        FailureReason.PIN_NOT_SET,
        FailureReason.PIN_NOT_ENABLED,
        FailureReason.PIN_NOT_UNIQUE,
        FailureReason.USER_NOT_UNIQUE,
        FailureReason.USER_UNAUTHORIZED,
        FailureReason.USER_UNKNOWN,
        FailureReason.USER_DISABLED,
        FailureReason.REGISTRATION_DISPLACED,
    }
)

# The Registrar does not take the certificate: another one may do better.
_IDENTITY_REFUSED = frozenset(
    {FailureReason.REGISTRATION_UNAUTHORIZED, FailureReason.REGISTRATION_FORBIDDEN}
)

# The stored chain of trust does not lead to the server's certificate.
_CHAIN_OUTDATED = frozenset(
    {
        FailureReason.CERTIFICATE_UNTRUSTED,
        FailureReason.CERTIFICATE_ISSUER_MISSING,
        FailureReason.CHAIN_UNUSABLE,
    }
)

_OF_TIME = frozenset({FailureReason.CERTIFICATE_EXPIRED, FailureReason.CERTIFICATE_NOT_YET_VALID})


def _unreadable(certificate: bytes) -> None:
    return None


class Phone:
    """One phone, from power-on to power-off.

    `last_stage` is IP, DISCOVERY or, for a whole boot, COMMIT; `first_stage` is VLAN or, for a
    phone that takes no notice of VLANs, IP. A `fixed_lease` is an address that somebody typed in:
    the phone begins with it, and never asks for another. With a `fixed_registration` the phone
    has a fixed lease, and its only stage is REGISTER. `validity` reads certificates. With
    `credentials` the user signs in on a tethered computer, and types no PIN.
    """

    def __init__(
        self,
        profile: DeviceProfile,
        mac: bytes,
        number: str,
        pin: str,
        rng: random.Random,
        last_stage: Stage = Stage.COMMIT,
        fixed_lease: Lease | None = None,
        first_stage: Stage = Stage.VLAN,
        validity: Validity = _unreadable,
        fixed_registration: RegistrationWanted | None = None,
        credentials: WindowsCredentials | None = None,
    ) -> None:
        self._profile = profile
        self._mac = mac
        self._rng = rng
        self._last_stage = last_stage
        self._fixed_lease = fixed_lease
        self._fixed_registration = fixed_registration
        self._finds_vlan = first_stage is Stage.VLAN and fixed_lease is None
        self._dhcp = DhcpClient(profile.dhcp, mac, rng, profile.vlan.option_forms)
        self._resolver = Resolver(profile.resolver, rng)
        self._clock = PhoneClock(profile.clock)
        asks_dns = profile.discovery.web_services_fallback == "dns"
        self._cache = Cache(
            profile.discovery.cert_prov_rel_path if asks_dns else None,
            keeps_lease=profile.dhcp.reboot_keeps_lease,
        )
        self._validity = validity
        self._kept = Identity(profile.identity, self._expiry)
        self._number = number
        self._pin = pin
        self._credentials = credentials
        self._deadlines: dict[Machine, tuple[float, str]] = {}
        self._records: list[LogRecord] = []
        self._powered_at = 0.0
        self._vlan_id: int | None = None
        self._loaded = CacheLoaded(address=None, services=None)
        self._lease: Lease | None = None
        self._cached: ServicesLocated | None = None
        self._services: ServicesLocated | None = None
        self._identity: CertificateIssued | None = None
        self._is_reused = False
        self._shown = ""
        self._home = ""
        self._stage: Stage | None = None
        self._stage_began_at = 0.0
        self._needs_time = last_stage is Stage.COMMIT
        self._is_signed_in = False
        self._is_shutting_down = False
        self._is_signing_out = False
        self._is_signed_out = False
        self._retry_at: float | None = None
        self._is_repeating = False

    # A phone that stops early never has the later ones.

    @cached_property
    def _lldp(self) -> LldpEndpoint:
        return LldpEndpoint(self._profile, self._mac)

    @cached_property
    def _discovery(self) -> Discovery:
        return Discovery(self._profile.discovery, self._mac, self._rng)

    @cached_property
    def _sign_in(self) -> SignIn:
        believed = self._clock.believed
        return SignIn(
            self._profile.sign_in,
            self._mac,
            self._number,
            self._pin,
            self._rng,
            believed,
            self._credentials,
        )

    @cached_property
    def _renewal(self) -> Renewal:
        return Renewal(self._profile.sign_in, self._validity, self._clock.believed)

    @cached_property
    def _line(self) -> Line:
        profile = self._profile
        user_agent = profile.user_agent.replace("{firmware}", profile.firmware)
        return Line(
            profile.registration,
            self._mac,
            self._pin if self._credentials is None else self._credentials.password,
            user_agent,
            self._rng,
            self._clock.believed,
        )

    def _expiry(self, certificate: bytes) -> float | None:
        validity = self._validity(certificate)
        return None if validity is None else validity[1]

    # --- the contract ---

    def handle(self, event: Event, now: float) -> list[Output]:
        """Take one event; return actions for the world, and observations."""
        out: list[Output] = []
        take = _TAKERS.get(type(event))
        if take is None:
            raise TypeError(f"no world event: {type(event).__name__}")
        take(self, event, now, out)
        if self._records:
            # One moment, one stamp: handling an event takes no time.
            clock, tick = self._clock.believed(now), int((now - self._powered_at) * 1000)
            out.append(WriteLog(records=tuple(self._records), clock=clock, tick=tick))
            self._records = []
        return out

    def next_deadline(self) -> tuple[float, str] | None:
        """When the next timer is due, and which."""
        earliest: tuple[float, str] | None = None
        if self._retry_at is not None:
            earliest = (self._retry_at, "begin the boot again")
        for deadline in self._deadlines.values():
            if earliest is None or deadline < earliest:
                earliest = deadline
        return earliest

    # --- routing ---

    def _resolver_event(self, event: Event, now: float, out: list[Output]) -> None:
        self._run(self._resolver, event, now, out)

    def _sign_in_event(self, event: Event, now: float, out: list[Output]) -> None:
        self._run(self._sign_in, event, now, out)

    def _line_event(self, event: Event, now: float, out: list[Output]) -> None:
        self._run(self._line, event, now, out)

    def _dhcp_event(self, event: Event, now: float, out: list[Output]) -> None:
        self._run(self._dhcp, event, now, out)

    def _probed(self, event: AddressProbed, now: float, out: list[Output]) -> None:
        if self._fixed_lease is None:
            self._run(self._dhcp, event, now, out)
        else:
            self._fixed_probed(event, self._fixed_lease, now, out)

    def _lldp_event(self, event: Event, now: float, out: list[Output]) -> None:
        self._run(self._lldp, event, now, out)

    def _clock_event(self, event: Event, now: float, out: list[Output]) -> None:
        self._run(self._clock, event, now, out)

    def _run(self, machine: Machine, event: Event, now: float, out: list[Output]) -> None:
        """Give an event to a sub-machine and route what it returns."""
        results = machine.handle(event, now)
        deadline = machine.next_deadline()
        if deadline is None:
            self._deadlines.pop(machine, None)
        else:
            self._deadlines[machine] = deadline
        for result in results:
            if isinstance(result, LogRecord):
                self._records.append(result)
            elif type(result) in _OUTWARD:
                out.append(result)  # type: ignore[arg-type]  # a set of types narrows nothing
            else:
                assert isinstance(result, Event)
                self._route(result, now, out)

    def _route(self, event: Event, now: float, out: list[Output]) -> None:
        match event:
            case StageEntered():
                self._enter(event.stage, now, out)
            case StageEnded():
                self._end(event, now, out)
            case RegistrationLost():
                self._show(self._profile.display.reconnecting, out)
                out.append(event)
            case LookupRequested():
                self._run(self._resolver, event, now, out)
            case LookupAnswered():
                owner = event.lookup_id.partition(":")[0]
                self._run(self._lookup_owner(owner), event, now, out)
            case LeaseBound():
                self._lease_bound(event, now, out)
            case LeaseFailed():
                where = "" if self._vlan_id is None else f" in VLAN {self._vlan_id}"
                detail = f"{event.detail}{where}"
                if event.auto_ip is not None:
                    detail += f"; using {event.auto_ip}"
                retry = self._profile.dhcp.auto_ip_retry_interval
                self._fail(Stage.IP, FailureReason.NO_LEASE, detail, retry, now, out)
            case LeaseLost():
                self._lease_lost(event, now, out)
            case VlanSettled():
                self._vlan_settled(event, now, out)
            case VlanOffered():
                self._vlan_offered(event, now, out)
            case VlanChanged():
                self._vlan_changed(event, now, out)
            case CacheLoaded():
                # Whoever was told where to register does not ask what an earlier boot had found.
                self._cached = event.services if self._fixed_registration is None else None
                self._loaded = event
                self._find_vlan(now, out)
            case ClockSet():
                self._clock_set(event, now, out)
            case DhcpAnswerKept() | DnsAnswerKept():
                self._run(self._cache, event, now, out)
            case ServicesLocated():
                self._located(event, now, out)
            case IdentityLoaded():
                self._identity = event.identity
                self._is_reused = True
            case CertificateIssued():
                self._identity = event
                self._is_reused = False
                self._run(self._kept, event, now, out)
                self._run(self._renewal, event, now, out)
                if self._is_signed_in:
                    self._run(self._line, event, now, out)
                else:
                    self._register(now, out)
            case RenewalWanted():
                self._renew(now, out)
            case SignInFailed() if self._is_signed_in:
                self._run(self._renewal, event, now, out)
            case SignInFailed():
                self._failed(event.stage, event.reason, event.detail, now, out)
            case Registered():
                self._registered(event, now, out)
            case LineUsable():
                self._line_usable(event, now, out)
            case RegistrationFailed():
                self._registration_failed(event, now, out)
            case RegistrationEnded() if self._is_signing_out:
                self._signed_out(event, now, out)
            case RegistrationEnded() if self._is_repeating:
                self._is_repeating = False
                self._register(now, out)
            case RegistrationEnded():
                self._power_off(now, out)
            case _:
                raise TypeError(f"no sub-machine takes {type(event).__name__}")

    def _lookup_owner(self, owner: str) -> Machine:
        match owner:
            case "discovery":
                return self._discovery
            case "sign_in":
                return self._sign_in
            case "registration" | "primary_watch":
                return self._line
            case _:
                return self._clock

    def _timer_expired(self, event: TimerExpired, now: float, out: list[Output]) -> None:
        if self._retry_at is not None and now >= self._retry_at:
            self._retry_at = None
            if self._fixed_registration is not None:
                self._register(now, out)
            elif self._needs_time:
                self._ask_time(now, out)
            else:
                self._find_services(now, out)
        for machine in [m for m, (at, _) in self._deadlines.items() if at <= now]:
            self._run(machine, event, now, out)

    def _dhcp_received(self, event: DhcpMessageReceived, now: float, out: list[Output]) -> None:
        message = event.message
        if message.op != BOOTREPLY:
            record = log.DHCP_IGNORED(
                message.message_type.name, message.xid, event.source, "no reply: op is not 2"
            )
            self._log(record)
        elif not self._dhcp.expects(message.xid) and self._discovery.expects(message.xid):
            self._run(self._discovery, event, now, out)
        else:
            self._run(self._dhcp, event, now, out)

    def _malformed(self, event: MalformedReceived, now: float, out: list[Output]) -> None:
        record = log.MALFORMED(event.protocol, event.source, event.size, event.reason)
        self._log(record)
        if event.protocol == "sip":
            self._run(self._line, event, now, out)

    # --- what is shown, logged and observed ---

    def _log(self, record: LogRecord) -> None:
        self._records.append(record)

    def _show(self, text: str, out: list[Output]) -> None:
        if text:
            self._shown = text
            self._log(log.DISPLAY(text))
            out.append(DisplayShowed(text=text))

    def _begin_stage(self, stage: Stage, now: float, out: list[Output]) -> None:
        self._stage = stage
        self._stage_began_at = now
        out.append(StageEntered(stage=stage))

    def _enter(self, stage: Stage, now: float, out: list[Output]) -> None:
        self._begin_stage(stage, now, out)
        display = self._profile.display
        match stage:
            case Stage.VLAN | Stage.IP if self._shown != display.acquiring:
                self._show(display.acquiring, out)
            case Stage.CHAIN:
                self._show(display.locating, out)
            case Stage.REGISTER:
                self._show(display.connecting, out)
            case _:
                pass

    def _end(self, ended: StageEnded, now: float, out: list[Output]) -> None:
        self._stage = None
        seconds = now - self._stage_began_at
        result = ended.reason or ("skipped" if ended.skipped else "ok")
        self._log(log.STAGE_ENDED(ended.stage, result, seconds))
        out.append(ended)

    def _skip(self, stage: Stage, now: float, out: list[Output]) -> None:
        self._begin_stage(stage, now, out)
        self._end(StageEnded(stage=stage, skipped=True), now, out)

    # --- the boot ---

    def _power_applied(self, event: PowerApplied, now: float, out: list[Output]) -> None:
        profile = self._profile
        self._powered_at = now
        self._clock.power_on(now, event.clock)
        mac = format_mac(self._mac)
        record = log.POWER_APPLIED(profile.vendor, profile.model, profile.firmware, mac)
        self._log(record)
        if event.factory_reset:
            self._show(profile.display.reset, out)
            self._log(log.FACTORY_RESET(",".join(sorted(event.files))))
            out += (DeleteFile(name=name) for name in event.files)
            event = PowerApplied()
        self._run(self._kept, event, now, out)
        self._run(self._cache, event, now, out)

    def _find_vlan(self, now: float, out: list[Output]) -> None:
        if not self._finds_vlan:
            self._take_address(now, out)
        elif self._profile.vlan.lldp_wait == 0:
            self._skip(Stage.VLAN, now, out)
            self._take_address(now, out, seeks_vlan=self._profile.vlan.dhcp_option)
        else:
            self._enter(Stage.VLAN, now, out)
            self._run(self._lldp, VlanWanted(), now, out)

    def _tell_lldp(self, event: Event, now: float, out: list[Output]) -> None:
        if self._finds_vlan:
            self._run(self._lldp, event, now, out)

    def _vlan_settled(self, event: VlanSettled, now: float, out: list[Output]) -> None:
        self._end(StageEnded(stage=Stage.VLAN), now, out)
        self._join(event.vlan_id, out)
        asks = self._profile.vlan.dhcp_option and not event.is_told
        self._take_address(now, out, seeks_vlan=asks)

    def _vlan_offered(self, event: VlanOffered, now: float, out: list[Output]) -> None:
        self._log(log.VLAN_FOUND(event.vlan_id, f"dhcp:{event.server}"))
        self._join(event.vlan_id, out)
        self._run(self._lldp, event, now, out)
        self._run(self._dhcp, AddressWanted(), now, out)

    def _vlan_changed(self, event: VlanChanged, now: float, out: list[Output]) -> None:
        if self._is_shutting_down:
            return
        self._lose_address(now, out)
        self._run(self._dhcp, AddressUnwanted(), now, out)
        self._join(event.vlan_id, out)
        self._run(self._dhcp, AddressWanted(), now, out)

    def _join(self, vlan_id: int | None, out: list[Output]) -> None:
        if vlan_id != self._vlan_id:
            self._vlan_id = vlan_id
            out.append(JoinVlan(vlan_id=vlan_id))
            out.append(VlanJoined(vlan_id=vlan_id))

    def _take_address(self, now: float, out: list[Output], *, seeks_vlan: bool = False) -> None:
        fixed = self._fixed_lease
        if fixed is None:
            self._enter(Stage.IP, now, out)
            wanted = AddressWanted(
                cached_address=self._loaded.address,
                cached_lease=self._loaded.lease,
                seeks_vlan=seeks_vlan,
            )
            self._run(self._dhcp, wanted, now, out)
            return
        out.append(ProbeAddress(address=fixed.address))

    def _fixed_probed(
        self, event: AddressProbed, fixed: Lease, now: float, out: list[Output]
    ) -> None:
        if event.conflict is not None:
            self._log(log.ADDRESS_CONFLICT(event.address, event.conflict))
            reason = FailureReason.ADDRESS_IN_USE
            self._fail(Stage.IP, reason, f"{event.conflict} has it", None, now, out)
            return
        self._lease = fixed
        out.append(
            ConfigureAddress(
                address=fixed.address,
                subnet_mask=fixed.subnet_mask,
                routers=fixed.routers,
            )
        )
        self._run(self._resolver, LeaseBound(lease=fixed), now, out)
        self._go_on_with_address(now, out)

    def _repetition_due(self, event: RepetitionDue, now: float, out: list[Output]) -> None:
        if self._is_shutting_down:
            return
        self._resolver.forget()
        if self._fixed_registration is not None:
            self._is_repeating = True
            self._is_signed_in = False
            self._run(self._line, ShutdownRequested(), now, out)
            return
        self._run(self._cache, event, now, out)
        self._discover(now, out)

    def _lease_bound(self, event: LeaseBound, now: float, out: list[Output]) -> None:
        lease = event.lease
        self._lease = lease
        self._run(self._resolver, event, now, out)
        self._run(self._cache, event, now, out)
        self._tell_lldp(event, now, out)
        duration = lease.expires_at - now
        forever = duration == float("inf")
        self._log(
            log.DHCP_LEASE(
                lease.address,
                lease.subnet_mask,
                lease.server,
                -1 if forever else round(lease.t1_at - now),
                -1 if forever else round(lease.t2_at - now),
                -1 if forever else round(duration),
                ",".join(lease.routers),
                ",".join(lease.dns_servers),
                lease.domain or "",
                ",".join(lease.ntp_servers),
            )
        )
        if event.is_renewal or self._is_shutting_down:
            return
        if self._stage is not Stage.IP:
            self._enter(Stage.IP, now, out)
        self._end(StageEnded(stage=Stage.IP), now, out)
        self._go_on_with_address(now, out)

    def _go_on_with_address(self, now: float, out: list[Output]) -> None:
        if self._is_signed_out:
            return
        match self._last_stage:
            case Stage.IP:
                out.append(StagesDone())
            case Stage.DISCOVERY:
                self._find_services(now, out)
            case Stage.REGISTER:
                self._register(now, out)
            case _:
                self._ask_time(now, out)

    def _ask_time(self, now: float, out: list[Output]) -> None:
        assert self._lease is not None
        self._enter(Stage.TIME, now, out)
        self._run(self._clock, TimeWanted(lease=self._lease), now, out)

    def _clock_set(self, event: ClockSet, now: float, out: list[Output]) -> None:
        self._needs_time = event.offset is None
        reason = FailureReason.CLOCK_NOT_SET if self._needs_time else None
        self._end(StageEnded(stage=Stage.TIME, reason=reason), now, out)
        if reason is not None and self._profile.clock.without_time == "stop":
            self._retry_later(Stage.TIME, reason, "no NTP server answered", now, out)
        else:
            self._find_services(now, out)

    def _find_services(self, now: float, out: list[Output]) -> None:
        if self._cached is not None:
            self._skip(Stage.DISCOVERY, now, out)
            self._go_on_with_services(self._cached, now, out)
        else:
            self._discover(now, out)

    def _discover(self, now: float, out: list[Output]) -> None:
        assert self._lease is not None
        self._enter(Stage.DISCOVERY, now, out)
        self._run(self._discovery, DiscoveryWanted(lease=self._lease), now, out)

    def _located(self, event: ServicesLocated, now: float, out: list[Output]) -> None:
        if event.web_services is None:
            reason = FailureReason.WEB_SERVICES_NOT_LOCATED
            self._failed(Stage.DISCOVERY, reason, event.why_not, now, out)
            return
        self._end(StageEnded(stage=Stage.DISCOVERY), now, out)
        self._go_on_with_services(event, now, out)

    def _go_on_with_services(
        self, services: ServicesLocated, now: float, out: list[Output]
    ) -> None:
        assert self._lease is not None
        assert services.web_services is not None
        self._services = services
        if self._last_stage is Stage.DISCOVERY:
            out.append(StagesDone())
            return
        identity = self._identity
        if identity is None:
            self._sign_in_at(services.web_services, now, out)
            return
        clock = self._clock.believed(now)
        if not self._kept.lasts(identity, clock):
            self._sign_in_at(services.web_services, now, out)
        elif self._renewal.is_due(identity.certificate, clock):
            self._sign_in_at(services.web_services, now, out, identity)
        else:
            self._is_reused = True
            for stage in (Stage.CHAIN, Stage.TICKET, Stage.CERTIFICATE):
                self._skip(stage, now, out)
            self._log(log.IDENTITY_USED(identity.sip_uri))
            self._run(self._renewal, identity, now, out)
            self._register(now, out)

    def _sign_in_at(
        self,
        web_services: WebServicesAddress,
        now: float,
        out: list[Output],
        identity: CertificateIssued | None = None,
    ) -> None:
        assert self._lease is not None
        wanted = SignInWanted(
            web_services=web_services, source=self._lease.address, identity=identity
        )
        self._run(self._sign_in, wanted, now, out)

    def _renew(self, now: float, out: list[Output]) -> None:
        """Sign in with the certificate, in the background, for as long as it is registered."""
        if not self._is_signed_in or self._is_shutting_down or self._lease is None:
            return
        assert self._services is not None
        assert self._services.web_services is not None
        wanted = SignInWanted(
            web_services=self._services.web_services,
            source=self._lease.address,
            identity=self._identity,
            in_background=True,
        )
        self._run(self._sign_in, wanted, now, out)

    def _register(self, now: float, out: list[Output]) -> None:
        self._enter(Stage.REGISTER, now, out)
        if self._fixed_registration is not None:
            self._run(self._line, self._fixed_registration, now, out)
            return
        assert self._lease is not None
        assert self._services is not None
        assert self._identity is not None
        if not self._services.registrars:
            detail = f"authenticated, but {self._services.why_not}"
            reason = FailureReason.REGISTRAR_NOT_LOCATED
            self._failed(Stage.REGISTER, reason, detail, now, out)
            return
        wanted = RegistrationWanted(
            registrars=self._services.registrars,
            sip_uri=self._identity.sip_uri,
            certificate=self._identity.certificate,
            chain=self._identity.chain,
            source=self._lease.address,
        )
        self._run(self._line, wanted, now, out)

    def _registered(self, event: Registered, now: float, out: list[Output]) -> None:
        display = self._profile.display
        self._home = display.survivable if event.is_survivable else display.signed_in
        if self._is_signed_in:
            self._show_home(out)
        elif self._stage is Stage.REGISTER:
            self._end(StageEnded(stage=Stage.REGISTER), now, out)
            if self._last_stage is Stage.REGISTER:
                self._is_signed_in = True
                self._show_home(out)
                out.append(StagesDone())
            else:
                self._enter(Stage.COMMIT, now, out)

    def _line_usable(self, event: LineUsable, now: float, out: list[Output]) -> None:
        if self._last_stage is Stage.REGISTER:
            return  # it keeps nothing of a site
        assert self._services is not None
        assert self._identity is not None
        sip_uri = self._identity.sip_uri
        web_services = event.web_services or self._services.web_services
        assert web_services is not None
        commit = CommitWanted(
            web_services=web_services, registrars=event.registrars, sip_uri=sip_uri
        )
        self._run(self._cache, commit, now, out)
        self._services = ServicesLocated(web_services=web_services, registrars=event.registrars)
        if self._is_signed_in:
            return
        registrar = event.registrar.name
        self._end(StageEnded(stage=Stage.COMMIT), now, out)
        self._is_signed_in = True
        self._log(log.SIGNED_IN(sip_uri, registrar, now - self._powered_at))
        self._show_home(out)
        out.append(SignedIn(sip_uri=sip_uri, registrar=registrar))

    def _show_home(self, out: list[Output]) -> None:
        display = self._profile.display
        if self._home:
            if self._shown != self._home:
                self._show(self._home, out)
        elif self._shown in (display.reconnecting, display.survivable):
            self._shown = ""
            self._log(log.DISPLAY(""))
            out.append(DisplayShowed(text=""))

    # --- failing ---

    def _registration_failed(
        self, event: RegistrationFailed, now: float, out: list[Output]
    ) -> None:
        if self._is_signed_in:
            # The cache is not to blame: it was good until now.
            self._is_signed_in = False
            self._cached = None
        stage = Stage.COMMIT if self._stage is Stage.COMMIT else Stage.REGISTER
        self._failed(stage, event.reason, event.detail, now, out, event.retry_after)

    def _failed(
        self,
        stage: Stage,
        reason: FailureReason,
        detail: str,
        now: float,
        out: list[Output],
        retry_after: float | None = None,
    ) -> None:
        """Fail the boot, or ask anew if it was what the phone had kept that misled it."""
        needs_a_person = reason in _NEEDS_A_PERSON
        is_typed = self._fixed_registration is not None
        if stage is Stage.REGISTER and not is_typed and self._is_identity_outdated(reason):
            was_reused, self._is_reused, self._identity = self._is_reused, False, None
            self._run(self._kept, IdentityUnusable(detail=detail), now, out)
            if was_reused:
                self._sign_in_again(reason, now, out)
                return
        if self._cached is not None and not needs_a_person and self._cache_misled(reason):
            self._cached = None
            self._end(StageEnded(stage=stage, reason=reason), now, out)
            self._run(self._cache, CacheUnusable(detail=f"{stage}: {detail}"), now, out)
            self._discover(now, out)
            return
        if needs_a_person:
            self._fail(stage, reason, detail, None, now, out)
        else:
            self._retry_later(stage, reason, detail, now, out, retry_after)

    def _is_identity_outdated(self, reason: FailureReason) -> bool:
        refetches = self._profile.identity.refetches_chain
        return reason in _IDENTITY_REFUSED or (refetches and reason in _CHAIN_OUTDATED)

    def _cache_misled(self, reason: FailureReason) -> bool:
        is_of_time = reason in _OF_TIME and self._needs_time
        return not is_of_time or self._profile.clock.clears_cache_without_time

    def _sign_in_again(self, reason: FailureReason, now: float, out: list[Output]) -> None:
        assert self._services is not None
        assert self._services.web_services is not None
        self._end(StageEnded(stage=Stage.REGISTER, reason=reason), now, out)
        self._sign_in_at(self._services.web_services, now, out)

    def _retry_later(
        self,
        stage: Stage,
        reason: FailureReason,
        detail: str,
        now: float,
        out: list[Output],
        retry_after: float | None = None,
    ) -> None:
        delay = max(self._profile.retry_delay, retry_after or 0.0)
        retry = delay * self._rng.uniform(1, 1.2)
        self._retry_at = now + retry
        self._fail(stage, reason, detail, retry, now, out)

    def _fail(
        self,
        stage: Stage,
        reason: FailureReason,
        detail: str,
        retry: float | None,
        now: float,
        out: list[Output],
    ) -> None:
        if self._stage is stage:
            self._end(StageEnded(stage=stage, reason=reason), now, out)
        display = self._profile.display
        self._show(display.failures.get(reason, display.failure), out)
        plan = "not again until a person acts" if retry is None else f"again in {retry:.0f} s"
        self._log(log.BOOT_FAILED(stage, reason, detail, plan))
        out.append(BootFailed(stage=stage, reason=reason, detail=detail, retry_in=retry))

    def _lease_lost(self, event: LeaseLost, now: float, out: list[Output]) -> None:
        if self._is_shutting_down:
            return
        self._tell_lldp(event, now, out)
        self._lose_address(now, out)

    def _lose_address(self, now: float, out: list[Output]) -> None:
        """Drop all that the address was for, and begin again with getting one."""
        for machine in (self._resolver, self._clock, self._discovery, self._sign_in):
            machine.abandon()
            self._deadlines.pop(machine, None)
        self._retry_at = None
        self._run(self._line, RegistrationAbandoned(), now, out)
        self._lease = None
        if self._is_signed_in:
            self._cached = self._services
        if self._stage is not None:
            ended = StageEnded(stage=self._stage, reason=FailureReason.LEASE_LOST)
            self._end(ended, now, out)
        self._is_signed_in = False
        if self._is_signing_out:
            self._signed_out(RegistrationEnded(), now, out)
        self._enter(Stage.IP, now, out)

    # --- ending ---

    def _sign_out(self, event: SignOutRequested, now: float, out: list[Output]) -> None:
        if self._is_shutting_down:
            return
        self._is_signing_out = True
        self._retry_at = None
        self._abandon_boot()
        self._run(self._line, ShutdownRequested(), now, out)

    def _signed_out(self, event: RegistrationEnded, now: float, out: list[Output]) -> None:
        self._is_signing_out = False
        self._is_signed_in = False
        self._is_signed_out = True
        forgets = self._profile.identity.sign_out_forgets
        if "certificate" in forgets:
            self._identity = None
        if "services" in forgets:
            self._cached = None
            self._run(self._cache, CacheForgotten(), now, out)
        self._run(self._kept, event, now, out)
        out.append(SignedOut())

    def _shut_down(self, event: ShutdownRequested, now: float, out: list[Output]) -> None:
        if self._is_shutting_down:
            return
        self._is_shutting_down = True
        self._is_signing_out = self._is_repeating = False
        self._retry_at = None
        self._log(log.SHUTDOWN())
        self._abandon_boot()
        self._run(self._line, event, now, out)

    def _abandon_boot(self) -> None:
        for machine in (self._clock, self._discovery, self._sign_in):
            machine.abandon()
            self._deadlines.pop(machine, None)

    def _abandoned(self, event: PhoneAbandoned, now: float, out: list[Output]) -> None:
        self._power_off(now, out)

    def _power_off(self, now: float, out: list[Output]) -> None:
        event = ShutdownRequested()
        if self._profile.dhcp.releases_on_shutdown:
            self._run(self._cache, event, now, out)
        self._run(self._dhcp, event, now, out)
        self._tell_lldp(event, now, out)
        self._resolver.abandon()
        self._deadlines.clear()
        out.append(PoweredOff())


# What sub-machines say to the world, and nothing else follows from it here.
_OUTWARD = frozenset((*get_args(PhoneAction), *Observation.__subclasses__())) - {
    StageEntered,
    StageEnded,
    RegistrationLost,
}

# By type, for a fleet looks here with every event: a chain of cases costs ten times as much.
_TAKERS: dict[type[Event], Callable[[Phone, Any, float, list[Output]], None]] = {
    TimerExpired: Phone._timer_expired,
    DhcpMessageReceived: Phone._dhcp_received,
    DnsResponseReceived: Phone._resolver_event,
    HttpResponseReceived: Phone._sign_in_event,
    HttpFailed: Phone._sign_in_event,
    CertificateRequestMade: Phone._sign_in_event,
    DataSigned: Phone._sign_in_event,
    CertificateChecked: Phone._sign_in_event,
    SipMessageReceived: Phone._line_event,
    ConnectionOpened: Phone._line_event,
    ConnectionFailed: Phone._line_event,
    ConnectionClosed: Phone._line_event,
    HandshakeAdvanced: Phone._line_event,
    HandshakeFailed: Phone._line_event,
    AddressProbed: Phone._probed,
    AddressClaimed: Phone._dhcp_event,
    NtpPacketReceived: Phone._clock_event,
    LldpReceived: Phone._lldp_event,
    MalformedReceived: Phone._malformed,
    PowerApplied: Phone._power_applied,
    ShutdownRequested: Phone._shut_down,
    RepetitionDue: Phone._repetition_due,
    SignOutRequested: Phone._sign_out,
    PhoneAbandoned: Phone._abandoned,
}
