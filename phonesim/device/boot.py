"""The boot: which stage follows which, and what follows when one fails.

    vlan -> ip -> time -> discovery -> chain -> ticket -> certificate -> register -> commit

The first two are `phonesim.device.attachment`'s. What sub-machines found comes here, and what is
to be done next they are told. Where a boot can fail, and what follows:

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

A phone that is to load DHCP or DNS alone stops early: its last stage is ip or discovery, and
reaching its end is all it does, once or again and again. It does without the time, which only
certificates need.

A phone that is to load a Registrar alone has the stage register and no other: address, Registrars,
user, trust and clock were typed in. It is done when it is registered, and stays so; when it is due
again, it deregisters first, and registers anew over another connection.

Specifications: device reference section 1.
"""

from __future__ import annotations

import random

from phonesim.config.device_profile import DeviceProfile
from phonesim.device import device_log as log
from phonesim.device.actions import DeleteFile, PhoneAction
from phonesim.device.device_log import LogRecord
from phonesim.device.display import Display
from phonesim.device.events import (
    AddressFailed,
    AddressLost,
    AddressReady,
    AddressUnwanted,
    BootFailed,
    CacheForgotten,
    CacheLoaded,
    CacheUnusable,
    CertificateIssued,
    ClockSet,
    CommitWanted,
    DiscoveryWanted,
    Event,
    IdentityLoaded,
    IdentityUnusable,
    Lease,
    LineUsable,
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
    StageEnded,
    StageEntered,
    StagesDone,
    TimerExpired,
    TimeWanted,
    WebServicesAddress,
    WorkAbandoned,
)
from phonesim.device.outcome import FailureReason, Stage
from phonesim.device.recovery import blames_cache, needs_a_person, outdates_identity
from phonesim.device.sub_machines import SubMachines
from phonesim.device.tell import MachineName, Tell
from phonesim.wire.dhcp import format_mac

Output = Tell | LogRecord | PhoneAction | Observation

_ASKED: tuple[MachineName, ...] = ("clock", "discovery", "sign_in")


class Boot:
    """Takes what sub-machines found, and what the operator wants of the phone.

    Of `machines` it only asks what they know; what they are to do, it returns.
    """

    def __init__(
        self,
        profile: DeviceProfile,
        mac: bytes,
        rng: random.Random,
        machines: SubMachines,
        last_stage: Stage,
        fixed_registration: RegistrationWanted | None,
    ) -> None:
        self._profile = profile
        self._mac = mac
        self._rng = rng
        self._machines = machines
        self._last_stage = last_stage
        self._fixed_registration = fixed_registration
        self._display = Display(profile.display)
        self._lease: Lease | None = None
        self._cached: ServicesLocated | None = None
        self._services: ServicesLocated | None = None
        self._identity: CertificateIssued | None = None
        self._is_reused = False
        self._stage: Stage | None = None
        self._stage_began_at = 0.0
        self._needs_time = last_stage is Stage.COMMIT
        self._is_signed_in = False
        self._is_shutting_down = False
        self._is_signing_out = False
        self._is_signed_out = False
        self._is_repeating = False
        self._retry_at: float | None = None
        self.powered_at = 0.0
        self.is_off = False

    # --- the contract ---

    def handle(self, event: Event, now: float) -> list[Output]:
        """Take one event; return what sub-machines are told, log records and observations."""
        out: list[Output] = []
        match event:
            case StageEntered():
                self._enter(event.stage, now, out)
            case StageEnded(skipped=True) if event.stage is not self._stage:
                self._skip(event.stage, now, out)
            case StageEnded():
                if event.stage is not self._stage:  # as after AutoIP: it began unseen
                    self._enter(event.stage, now, out)
                self._end(event, now, out)
            case CacheLoaded():
                # Whoever was told where to register does not ask what an earlier boot had found.
                self._cached = event.services if self._fixed_registration is None else None
                out.append(Tell("attachment", event))
            case IdentityLoaded():
                self._identity = event.identity
                self._is_reused = True
            case AddressReady():
                self._lease = event.lease
                if not event.is_renewal:
                    self._go_on_with_address(now, out)
            case AddressFailed():
                self._fail(Stage.IP, event.reason, event.detail, event.retry_in, now, out)
            case AddressLost():
                self._lose_address(now, out)
            case ClockSet():
                self._clock_set(event, now, out)
            case ServicesLocated():
                self._located(event, now, out)
            case CertificateIssued():
                self._certified(event, now, out)
            case RenewalWanted():
                self._renew(out)
            case SignInFailed() if self._is_signed_in:
                out.append(Tell("renewal", event))
            case SignInFailed():
                self._failed(event.stage, event.reason, event.detail, now, out)
            case Registered():
                self._registered(event, now, out)
            case LineUsable():
                self._line_usable(event, now, out)
            case RegistrationLost():
                out += self._display.registration_lost()
                out.append(event)
            case RegistrationFailed():
                self._registration_failed(event, now, out)
            case RegistrationEnded() if self._is_signing_out:
                self._signed_out(event, out)
            case RegistrationEnded() if self._is_repeating:
                self._is_repeating = False
                self._register(now, out)
            case RegistrationEnded() | PhoneAbandoned():
                self._power_off(out)
            case TimerExpired():
                self._begin_again(now, out)
            case PowerApplied():
                self._power_applied(event, now, out)
            case RepetitionDue() if not self._is_shutting_down:
                self._repeat(event, now, out)
            case SignOutRequested() if not self._is_shutting_down:
                self._sign_out(out)
            case ShutdownRequested() if not self._is_shutting_down:
                self._shut_down(event, out)
            case RepetitionDue() | SignOutRequested() | ShutdownRequested():
                pass
            case _:
                raise TypeError(f"no machine takes {type(event).__name__}")
        return out

    def next_deadline(self) -> tuple[float, str] | None:
        """When a boot that failed is begun again."""
        return None if self._retry_at is None else (self._retry_at, "begin the boot again")

    # --- stages ---

    def _begin_stage(self, stage: Stage, now: float, out: list[Output]) -> None:
        self._stage = stage
        self._stage_began_at = now
        out.append(StageEntered(stage=stage))

    def _enter(self, stage: Stage, now: float, out: list[Output]) -> None:
        self._begin_stage(stage, now, out)
        out += self._display.stage_entered(stage)

    def _end(self, ended: StageEnded, now: float, out: list[Output]) -> None:
        self._stage = None
        seconds = now - self._stage_began_at
        result = ended.reason or ("skipped" if ended.skipped else "ok")
        out.append(log.STAGE_ENDED(ended.stage, result, seconds))
        out.append(ended)

    def _skip(self, stage: Stage, now: float, out: list[Output]) -> None:
        self._begin_stage(stage, now, out)
        self._end(StageEnded(stage=stage, skipped=True), now, out)

    # --- the boot ---

    def _power_applied(self, event: PowerApplied, now: float, out: list[Output]) -> None:
        profile = self._profile
        self.powered_at = now
        mac = format_mac(self._mac)
        record = log.POWER_APPLIED(profile.vendor, profile.model, profile.firmware, mac)
        out.append(record)
        if event.factory_reset:
            out += self._display.reset_wanted()
            out.append(log.FACTORY_RESET(",".join(sorted(event.files))))
            out += (DeleteFile(name=name) for name in event.files)
            event = PowerApplied(clock=event.clock)
        out.append(Tell("clock", event))
        out.append(Tell("kept", event))
        out.append(Tell("cache", event))

    def _repeat(self, event: RepetitionDue, now: float, out: list[Output]) -> None:
        out.append(Tell("resolver", event))
        if self._fixed_registration is not None:
            self._is_repeating = True
            self._is_signed_in = False
            out.append(Tell("line", ShutdownRequested()))
            return
        out.append(Tell("cache", event))
        self._discover(now, out)

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
        out.append(Tell("clock", TimeWanted(lease=self._lease)))

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
        out.append(Tell("discovery", DiscoveryWanted(lease=self._lease)))

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
            self._sign_in_at(services.web_services, out)
            return
        clock = self._machines.clock.believed(now)
        if not self._machines.kept.lasts(identity, clock):
            self._sign_in_at(services.web_services, out)
        elif self._machines.renewal.is_due(identity.certificate, clock):
            self._sign_in_at(services.web_services, out, identity)
        else:
            self._is_reused = True
            for stage in (Stage.CHAIN, Stage.TICKET, Stage.CERTIFICATE):
                self._skip(stage, now, out)
            out.append(log.IDENTITY_USED(identity.sip_uri))
            out.append(Tell("renewal", identity))
            self._register(now, out)

    def _sign_in_at(
        self,
        web_services: WebServicesAddress,
        out: list[Output],
        identity: CertificateIssued | None = None,
        *,
        in_background: bool = False,
    ) -> None:
        assert self._lease is not None
        wanted = SignInWanted(
            web_services=web_services,
            source=self._lease.address,
            identity=identity,
            in_background=in_background,
        )
        out.append(Tell("sign_in", wanted))

    def _renew(self, out: list[Output]) -> None:
        """Sign in with the certificate, in the background, for as long as it is registered."""
        if not self._is_signed_in or self._is_shutting_down or self._lease is None:
            return
        assert self._services is not None
        assert self._services.web_services is not None
        self._sign_in_at(self._services.web_services, out, self._identity, in_background=True)

    def _register(self, now: float, out: list[Output]) -> None:
        self._enter(Stage.REGISTER, now, out)
        if self._fixed_registration is not None:
            out.append(Tell("line", self._fixed_registration))
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
        out.append(Tell("line", wanted))

    def _certified(self, event: CertificateIssued, now: float, out: list[Output]) -> None:
        self._identity = event
        self._is_reused = False
        out.append(Tell("kept", event))
        out.append(Tell("renewal", event))
        if self._is_signed_in:
            out.append(Tell("line", event))
        else:
            self._register(now, out)

    def _registered(self, event: Registered, now: float, out: list[Output]) -> None:
        self._display.registered(is_survivable=event.is_survivable)
        if self._is_signed_in:
            out += self._display.home()
        elif self._stage is Stage.REGISTER:
            self._end(StageEnded(stage=Stage.REGISTER), now, out)
            if self._last_stage is Stage.REGISTER:
                self._is_signed_in = True
                out += self._display.home()
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
        out.append(Tell("cache", commit))
        self._services = ServicesLocated(web_services=web_services, registrars=event.registrars)
        if self._is_signed_in:
            return
        registrar = event.registrar.name
        self._end(StageEnded(stage=Stage.COMMIT), now, out)
        self._is_signed_in = True
        out.append(log.SIGNED_IN(sip_uri, registrar, now - self.powered_at))
        out += self._display.home()
        out.append(SignedIn(sip_uri=sip_uri, registrar=registrar))

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
        is_for_a_person = needs_a_person(reason)
        is_typed = self._fixed_registration is not None
        if stage is Stage.REGISTER and not is_typed and self._is_identity_outdated(reason):
            was_reused, self._is_reused, self._identity = self._is_reused, False, None
            out.append(Tell("kept", IdentityUnusable(detail=detail)))
            if was_reused:
                self._sign_in_again(reason, now, out)
                return
        if self._cached is not None and not is_for_a_person and self._cache_misled(reason):
            self._cached = None
            self._end(StageEnded(stage=stage, reason=reason), now, out)
            out.append(Tell("cache", CacheUnusable(detail=f"{stage}: {detail}")))
            self._discover(now, out)
            return
        if is_for_a_person:
            self._fail(stage, reason, detail, None, now, out)
        else:
            self._retry_later(stage, reason, detail, now, out, retry_after)

    def _is_identity_outdated(self, reason: FailureReason) -> bool:
        return outdates_identity(reason, refetches_chain=self._profile.identity.refetches_chain)

    def _cache_misled(self, reason: FailureReason) -> bool:
        return blames_cache(
            reason,
            has_time=not self._needs_time,
            clears_without_time=self._profile.clock.clears_cache_without_time,
        )

    def _sign_in_again(self, reason: FailureReason, now: float, out: list[Output]) -> None:
        assert self._services is not None
        assert self._services.web_services is not None
        self._end(StageEnded(stage=Stage.REGISTER, reason=reason), now, out)
        self._sign_in_at(self._services.web_services, out)

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

    def _begin_again(self, now: float, out: list[Output]) -> None:
        self._retry_at = None
        if self._fixed_registration is not None:
            self._register(now, out)
        elif self._needs_time:
            self._ask_time(now, out)
        else:
            self._find_services(now, out)

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
        out += self._display.boot_failed(reason)
        plan = "not again until a person acts" if retry is None else f"again in {retry:.0f} s"
        out.append(log.BOOT_FAILED(stage, reason, detail, plan))
        out.append(BootFailed(stage=stage, reason=reason, detail=detail, retry_in=retry))

    def _lose_address(self, now: float, out: list[Output]) -> None:
        """Drop all that the address was for, and begin again with getting one."""
        out.append(Tell("resolver", WorkAbandoned()))
        self._abandon_work(out)
        self._retry_at = None
        out.append(Tell("line", RegistrationAbandoned()))
        self._lease = None
        if self._is_signed_in:
            self._cached = self._services
        if self._stage is not None:
            ended = StageEnded(stage=self._stage, reason=FailureReason.LEASE_LOST)
            self._end(ended, now, out)
        self._is_signed_in = False
        if self._is_signing_out:
            self._signed_out(RegistrationEnded(), out)
        self._enter(Stage.IP, now, out)

    # --- ending ---

    def _sign_out(self, out: list[Output]) -> None:
        self._is_signing_out = True
        self._retry_at = None
        self._abandon_work(out)
        out.append(Tell("line", ShutdownRequested()))

    def _signed_out(self, event: RegistrationEnded, out: list[Output]) -> None:
        self._is_signing_out = False
        self._is_signed_in = False
        self._is_signed_out = True
        forgets = self._profile.identity.sign_out_forgets
        if "certificate" in forgets:
            self._identity = None
        if "services" in forgets:
            self._cached = None
            out.append(Tell("cache", CacheForgotten()))
        out.append(Tell("kept", event))
        out.append(SignedOut())

    def _shut_down(self, event: ShutdownRequested, out: list[Output]) -> None:
        self._is_shutting_down = True
        self._is_signing_out = self._is_repeating = False
        self._retry_at = None
        out.append(log.SHUTDOWN())
        out.append(Tell("attachment", event))
        self._abandon_work(out)
        out.append(Tell("line", event))

    def _abandon_work(self, out: list[Output]) -> None:
        out += [Tell(name, WorkAbandoned()) for name in _ASKED]

    def _power_off(self, out: list[Output]) -> None:
        self.is_off = True
        if self._profile.dhcp.releases_on_shutdown:
            out.append(Tell("cache", ShutdownRequested()))
        out.append(Tell("attachment", AddressUnwanted()))
        out.append(Tell("resolver", WorkAbandoned()))
        out.append(PoweredOff())
