"""Registration: REGISTER at one Registrar after another, and staying registered.

The Registrars are tried in the order, and at the times, of `registrar_order`, each over a
`registrar_connection`. A 301 leads to the home pool. What Registrars challenge is answered by
`sip_authentication`. The binding is refreshed before it expires; a Registrar that answers a
refresh with "added" or "fixed" had lost it, and the phone registers anew.

A registration ends for now when the connection is lost, when a refresh fails in a way that time
may mend (480, 5xx, no answer: Retry-After counts), or when the server deregisters the phone
because its user moved (`deactivated`): another round follows. It ends for good, and the sign-in
has failed, when a Registrar refuses the user (403, 404 and their like), or deregisters the phone
because the user is disabled (`rejected`) or has too many endpoints (`unregistered`). With
`preferred-registrar-change`, or when the primary Registrar answers again, the phone goes there
without having lost anything: the present Registrar is the next one if that fails.

Requests and answers of other sub-machines leave over the same connection: `SipMessageWanted`.

Specifications: RFC 3261 sections 10.2 and 22, RFC 3680 section 4.2 (what each kind of
deregistration asks of the phone), [MS-SIPREGE], [MS-OCER], sign-in reference sections 17 to 21.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import assert_never

import msgspec

from phonesim.config.device_profile import RegistrationConfig
from phonesim.device import device_log as log
from phonesim.device.actions import (
    PhoneAction,
)
from phonesim.device.device_log import LogRecord
from phonesim.device.events import (
    AuthenticationFailed,
    CertificateIssued,
    ConnectionClosed,
    ConnectionFailed,
    ConnectionOpened,
    CredentialsReady,
    Event,
    ExchangeEnded,
    HandshakeAdvanced,
    HandshakeFailed,
    LookupAnswered,
    MalformedReceived,
    PrimaryAnswered,
    ProvisioningLearned,
    ProvisioningWanted,
    Registered,
    RegistrarAddress,
    RegistrarUnreachable,
    RegistrationAbandoned,
    RegistrationEnded,
    RegistrationFailed,
    RegistrationLost,
    RegistrationMissed,
    RegistrationWanted,
    RequestChallenged,
    ShutdownRequested,
    SipMessageReceived,
    SipMessageWanted,
    TimerExpired,
)
from phonesim.device.outcome import FailureReason
from phonesim.device.register_messages import (
    DEREGISTERED_REASONS,
    Acceptance,
    RegisterWriter,
    named_by,
    read_acceptance,
    read_redirect,
    refusal_reason,
)
from phonesim.device.registrar_connection import RegistrarConnection
from phonesim.device.registrar_order import RegistrarOrder
from phonesim.device.registration_failures import REFUSED, RegistrationFailures
from phonesim.device.registration_states import (
    Bound,
    Connecting,
    Deregistering,
    Idle,
    Pausing,
    Registering,
    State,
)
from phonesim.device.sip_authentication import SipAuthentication
from phonesim.errors import DecodeError
from phonesim.wire.registration_event import deregistration_of
from phonesim.wire.sip import (
    SipMessage,
    SipRequest,
    SipResponse,
    header,
    response_to,
)
from phonesim.wire.sip_server import (
    diagnostics_of,
    min_expires_of,
    retry_after_of,
)

Output = PhoneAction | Event | LogRecord

_DEREGISTER_TIMEOUT = 2.0
_MINIMUM_REFRESH = 1.0  # a Registrar that grants no time is not asked without a pause
_MAXIMUM_REQUESTS = 10  # a handshake, anew, and 423 at most: no Registrar can make it go on


class Registration:
    """Takes `RegistrationWanted`, gives `Registered` or `RegistrationFailed`.

    `ProvisioningWanted` comes before the `Registered` of a binding that is no refresh.
    """

    def __init__(
        self,
        config: RegistrationConfig,
        mac: bytes,
        pin: str,
        user_agent: str,
        rng: random.Random,
        believed: Callable[[float], float],
    ) -> None:
        self._config = config
        self._writer = RegisterWriter(config, mac, user_agent, rng)
        self._authentication = SipAuthentication(config, pin, rng, believed)
        self._connection = RegistrarConnection(config, believed)
        self._order = RegistrarOrder(config, rng)
        self._failures = RegistrationFailures()
        self._has_registered = False
        self._holds_at: RegistrarAddress | None = None
        self._state_told: tuple[str, ...] = ()
        self._expires = config.expires
        self.state: State = Idle()

    # --- the contract ---

    def handle(self, event: Event, now: float) -> list[Output]:
        """Take one event; return actions, log records and events for the phone."""
        match event:
            case SipMessageReceived() if self._connection.carries(event.connection_id):
                return self._received(event, now)
            case ConnectionOpened() | ConnectionFailed() | ConnectionClosed() | LookupAnswered():
                return self._connect(event, now)
            case HandshakeAdvanced() | HandshakeFailed():
                return self._authenticate(event, now)
            case TimerExpired():
                return self._timer_expired(now)
            case SipMessageWanted() if self._connection.is_open:
                return self._send(event.message, now)
            case ProvisioningLearned() if event.registrars:
                self._order.provide(event.registrars)
                return []
            case PrimaryAnswered() if isinstance(self.state, Bound):
                out = self._return_to(event.registrar, "it answers again")
                return out + self._try_registrar(now)
            case RegistrationWanted():
                return self._begin(event, now)
            case CertificateIssued():  # it serves from the next handshake on
                self._connection.handle(event, now)
                return self._authentication.handle(event, now)
            case MalformedReceived() if self._connection.is_open:
                # Framing is lost: what follows on the connection has no meaning.
                return [*self._connection.close(), *self._closed(event.reason, now)]
            case RegistrationAbandoned():
                self.state = Idle()
                self._holds_at = None
                return self._connection.close()
            case ShutdownRequested():
                return self._shut_down(now)
            case _:
                return []

    def next_deadline(self) -> tuple[float, str] | None:
        """When to refresh, to send a keep-alive, to give up, or to connect again."""
        match self.state:
            case Idle() | Connecting():
                return None
            case Registering(timeout_at=at):
                return at, "give the REGISTER up"
            case Bound(refresh_at=at):
                renewal = self._authentication.next_deadline() or (at, "refresh")
                return min((at, "refresh"), (self._connection.keep_alive_at, "keep-alive"), renewal)
            case Pausing(reconnect_at=at):
                return at, "connect again"
            case Deregistering(timeout_at=at):
                return at, "give the deregistration up"
            case _:
                assert_never(self.state)

    def unverified(self, message: SipMessage) -> list[Output]:
        """What is to be logged instead of believing a message; nothing if it is the Registrar's."""
        refused = self._authentication.refusal(message)
        if refused is None:
            return []
        name = message.method if isinstance(message, SipRequest) else str(message.status)
        return [log.SIP_UNVERIFIED(name, refused)]

    # --- finding and connecting ---

    def _begin(self, event: RegistrationWanted, now: float) -> list[Output]:
        self._authentication.handle(event, now)
        self._connection.handle(event, now)
        self._writer.begin_user(event.sip_uri)
        self._has_registered = False
        self._holds_at = None
        self._failures.clear()
        self._order.begin(event.registrars)
        return self._try_registrar(now)

    @property
    def is_elsewhere(self) -> bool:
        """Whether the phone is registered at a Registrar that is not its primary one."""
        return isinstance(self.state, Bound) and self._order.is_elsewhere

    @property
    def primary(self) -> RegistrarAddress | None:
        """The primary Registrar, once the site has named it."""
        return self._order.primary

    def addresses(self, host: str) -> tuple[str, ...]:
        """The addresses that a Registrar's name had when the phone last registered there."""
        return self._connection.addresses(host)

    @property
    def _registrar(self) -> RegistrarAddress:
        return self._order.current

    @property
    def _name(self) -> str:
        return self._registrar.name

    def _try_registrar(self, now: float) -> list[Output]:
        self.state = Connecting()
        return self._connection.reach(self._registrar, now)

    def _connect(self, event: Event, now: float) -> list[Output]:
        """Let the connecting go on, and register when there is a connection."""
        out: list[Output] = []
        for result in self._connection.handle(event, now):
            match result:
                case ConnectionOpened():
                    self._writer.begin_connection(result.local_address, result.local_port)
                    self._authentication.reset()
                    out += self._register(now, started_at=now, was_registered=False)
                case RegistrarUnreachable():
                    out += self._next(result.reason, result.detail, now)
                case ConnectionClosed():
                    out += self._closed(result.detail, now)
                case _:
                    out.append(result)
        return out

    def _next(
        self, reason: FailureReason, detail: str, now: float, retry_after: float = 0.0
    ) -> list[Output]:
        """Try the next Registrar of the round after a failure; else pause, or give up."""
        has_more = self._order.next()
        was_lost = self._holds_at is None
        out = [] if has_more else self._lost(detail)
        out += self._connection.close()
        self._failures.add(reason, detail, retry_after)
        if has_more:
            return out + self._try_registrar(now)
        final, full = self._failures.sum_up()
        if self._has_registered and final not in REFUSED:
            missed = [RegistrationMissed(detail=full)] if was_lost else []
            return [*out, *missed, *self._pause(now)]
        return out + self._fail(final, full)

    def _fail(self, reason: FailureReason, detail: str) -> list[Output]:
        self.state = Idle()
        wait = self._failures.take_retry_after() or None
        return [RegistrationFailed(reason=reason, detail=detail, retry_after=wait)]

    def _return_to(self, registrar: RegistrarAddress, detail: str) -> list[Output]:
        """Leave for another Registrar: this one is the next if that refuses."""
        self._order.return_to(registrar)
        return [log.PRIMARY_PREFERRED(registrar.name, detail), *self._connection.close()]

    # --- REGISTER ---

    def _register(
        self,
        now: float,
        *,
        started_at: float,
        was_registered: bool,
        attempt: int = 1,
    ) -> list[Output]:
        request = self._writer.write(self._registrar.transport, self._expires)
        self.state = Registering(
            cseq=request.cseq,
            started_at=started_at,
            timeout_at=now + self._config.response_timeout,
            was_registered=was_registered,
            attempt=attempt,
        )
        return [*self._authentication.expire(now), *self._send_register(request, now)]

    def _send_register(self, request: SipRequest, now: float) -> list[Output]:
        scheme = self._authentication.scheme
        return [
            log.REGISTER_SENT(self._name, request.cseq, request.expires or 0, scheme),
            *self._send(request, now),
        ]

    def _send(self, message: SipMessage, now: float) -> list[Output]:
        return [self._connection.send(self._authentication.authenticate(message), now)]

    # --- answers ---

    def _received(self, event: SipMessageReceived, now: float) -> list[Output]:
        message, state = event.message, self.state
        if not isinstance(message, SipResponse):
            return self.unverified(message) or self._requested(message, now)
        if (
            not isinstance(state, Registering | Deregistering)
            or message.call_id != self._writer.call_id
            or message.cseq != state.cseq
            or state.challenge is not None
        ):
            return [log.SIP_IGNORED(f"{message.status} answers no open request")]
        refused = self._authentication.refusal(message)
        if refused is not None:
            if isinstance(state, Registering):
                self.state = msgspec.structs.replace(state, refused=refused)
            return [log.SIP_UNVERIFIED(str(message.status), refused)]
        diagnostics = diagnostics_of(message)
        told = "" if diagnostics is None else diagnostics.text
        if message.status == 200 and isinstance(state, Registering):
            return self._accepted(state, message, now)
        out: list[Output] = [
            log.REGISTER_ANSWER(message.status, message.reason, message.cseq, told)
        ]
        if message.status < 200:
            return out
        may_repeat = state.attempt < _MAXIMUM_REQUESTS
        if message.status in {401, 407} and may_repeat:
            self.state = msgspec.structs.replace(state, challenge=message)
            return out + self._authenticate(RequestChallenged(response=message), now)
        if isinstance(state, Deregistering):
            return out + self._end()
        if message.status == 423 and may_repeat:
            longer = min_expires_of(message)
            if longer is not None and longer > self._expires:
                self._expires = longer
                return out + self._register(
                    now,
                    started_at=state.started_at,
                    was_registered=state.was_registered,
                    attempt=state.attempt + 1,
                )
        out.append(self._ended(now, state))
        if 300 <= message.status < 400:
            return out + self._redirected(message, now)
        reason = refusal_reason(message.status, diagnostics)
        wait = 0.0
        if reason is FailureReason.REGISTRAR_UNAVAILABLE:
            wait = min(retry_after_of(message) or 0, self._config.maximum_retry_after)
        return out + self._next(reason, self._describe(message), now, wait)

    def _redirected(self, message: SipResponse, now: float) -> list[Output]:
        """Go to the home pool that a 301 names."""
        name = self._name
        targets, why_not = read_redirect(message, f"redirect:{self._registrar.host}")
        if not targets:
            detail = f"{name}: {message.status} {message.reason}: {why_not}"
            return self._next(FailureReason.REGISTRATION_REJECTED, detail, now)
        if not self._order.redirect(targets):
            most = self._config.maximum_redirects
            detail = f"{name}: redirected to {targets[0].name}, more than {most} times in a row"
            return self._next(FailureReason.REGISTRAR_REDIRECTS, detail, now)
        redirected = log.REGISTRAR_REDIRECTED(name, "+".join(each.name for each in targets))
        return [redirected, *self._connection.close(), *self._try_registrar(now)]

    def _requested(self, request: SipRequest, now: float) -> list[Output]:
        """Take a request of the server: only its word on this registration is expected."""
        event = deregistration_of(request)
        if event is None:
            return [log.SIP_IGNORED(f"{request.method}: no such request is expected")]
        diagnostics = diagnostics_of(request)
        told = "" if diagnostics is None else diagnostics.text
        out: list[Output] = [log.DEREGISTERED(self._name, event, told)]
        if request.method == "NOTIFY":
            out += self._send(response_to(request, 200, "OK"), now)
        if not isinstance(self.state, Bound | Registering):
            return out
        detail = f"{self._name}: deregistered, {event}" + (f" ({told})" if told else "")
        preferred = header(request, "p-preferred-registrar")
        if event == "preferred-registrar-change" and preferred is not None:
            try:
                registrar = named_by(preferred, f"preferred:{self._registrar.host}")
            except DecodeError as error:
                out.append(log.SIP_IGNORED(f"p-preferred-registrar: {error}"))
            else:
                out += self._return_to(registrar, "the Registrar prefers it")
                # It tells all its phones at once.
                at = self._order.soon(now)
                self.state = Pausing(reconnect_at=at, begins_round=False)
                return out
        out += [*self._lost(detail), *self._connection.close()]
        reason = DEREGISTERED_REASONS.get(event)
        if reason is not None:
            return out + self._fail(reason, detail)
        self._order.pause_until(now)
        self.state = Pausing(reconnect_at=self._order.soon(now))
        return out

    def _authenticate(self, event: Event, now: float) -> list[Output]:
        """Let the authentication go on, and send the REGISTER again when it is ready."""
        out: list[Output] = []
        for result in self._authentication.handle(event, now):
            state = self.state
            if not isinstance(result, CredentialsReady | AuthenticationFailed):
                out.append(result)
            elif isinstance(state, Deregistering):
                ready = isinstance(result, CredentialsReady)
                out += self._deregister(now, state) if ready else self._end()
            elif not isinstance(state, Registering):
                continue  # the REGISTER was given up meanwhile
            elif isinstance(result, CredentialsReady):
                out += self._register(
                    now,
                    started_at=state.started_at,
                    was_registered=state.was_registered,
                    attempt=state.attempt + 1,
                )
            else:
                assert state.challenge is not None
                detail = f"{self._describe(state.challenge)}: {result.detail}"
                out += [
                    log.REGISTRAR_FAILED(self._name, result.reason, result.detail),
                    self._ended(now, state),
                    *self._next(result.reason, detail, now),
                ]
        return out

    def _describe(self, response: SipResponse) -> str:
        diagnostics = diagnostics_of(response)
        told = "" if diagnostics is None else f" ({diagnostics.text})"
        return f"{self._name}: {response.status} {response.reason}{told}"

    def _accepted(self, state: Registering, response: SipResponse, now: float) -> list[Output]:
        accepted = read_acceptance(response, self._writer, self._expires)
        self._connection.keep_alive_within(accepted.keep_alive_timeout, now)
        if state.was_registered and accepted.action in ("added", "fixed"):
            return [self._ended(now, state), *self._begin_anew(accepted.action, now)]
        margin = min(self._config.refresh_margin, accepted.expires / 2)
        refresh_delay = max(accepted.expires - margin, _MINIMUM_REFRESH)
        self.state = Bound(refresh_at=now + refresh_delay)
        self._has_registered = True
        self._failures.clear()
        self._order.accepted()
        self._connection.remember()
        is_refresh = state.was_registered and self._holds_at is not None
        self._holds_at = self._registrar
        out: list[Output] = [
            self._ended(now, state),
            log.REGISTERED(self._name, self._writer.sip_uri, accepted.expires, accepted.action),
            *self._tell_state(accepted),
        ]
        if accepted.offers_provisioning and self._config.provisioning and not is_refresh:
            endpoint = self._writer.endpoint(self._registrar, accepted.gruu)
            out.append(ProvisioningWanted(endpoint=endpoint))
        return [
            *out,
            Registered(
                registrar=self._registrar,
                expires=accepted.expires,
                is_refresh=is_refresh,
                is_survivable=accepted.is_survivable,
            ),
        ]

    def _begin_anew(self, action: str, now: float) -> list[Output]:
        """Register anew where a refresh found no binding: dialogs have ended [MS-SIPREGE]."""
        self._writer.begin_dialog()
        detail = f'a refresh was answered with "{action}": there was no binding'
        return [
            log.REGISTRATION_LOST(self._name, detail),
            *self._lost(detail),
            *self._register(now, started_at=now, was_registered=False),
        ]

    def _tell_state(self, accepted: Acceptance) -> list[Output]:
        """Log what a Lync Registrar says of itself when it says something new."""
        told = (self._name, *accepted.told)
        if told == self._state_told or not any(accepted.told):
            return []
        self._state_told = told
        return [log.REGISTRAR_STATE(*told)]

    def _ended(self, now: float, state: Registering) -> ExchangeEnded:
        return ExchangeEnded(kind="sip_register", sent=1, seconds=now - state.started_at)

    # --- losing and ending ---

    def _closed(self, detail: str, now: float) -> list[Output]:
        out: list[Output] = [log.REGISTRATION_LOST(self._name, detail)]
        match self.state:
            case Deregistering():
                return out + self._end()
            case Registering(was_registered=False):
                full = f"{self._name}: {detail}"
                return out + self._next(FailureReason.REGISTRAR_REFUSED, full, now)
            case _:
                return [*out, *self._lost(detail), *self._pause(now)]

    def _lost(self, detail: str) -> list[Output]:
        """Say that a binding is lost, if there was one until now."""
        if self._holds_at is None:
            return []
        lost = RegistrationLost(registrar=self._holds_at.name, detail=detail)
        self._holds_at = None
        return [lost]

    def _pause(self, now: float) -> list[Output]:
        at = self._order.pause_until(now, self._failures.take_retry_after())
        self.state = Pausing(reconnect_at=at)
        return [log.REGISTRATION_PAUSED(at - now, self._name)]

    def _timer_expired(self, now: float) -> list[Output]:
        match self.state:
            case Bound(refresh_at=at) if now >= at or self._is_authentication_due(now):
                return self._register(now, started_at=now, was_registered=True)
            case Bound() if now >= self._connection.keep_alive_at:
                return [self._connection.keep_alive(now)]
            case Registering(timeout_at=at, refused=refused) if now >= at:
                detail = f"{self._name}: no answer to REGISTER"
                reason = FailureReason.REGISTRAR_TIMEOUT
                if refused:
                    detail += f" that can be believed: {refused}"
                    reason = FailureReason.REGISTRAR_UNVERIFIED
                out: list[Output] = [
                    log.REGISTRAR_FAILED(self._name, "timeout", detail),
                    ExchangeEnded(kind="sip_register", sent=1, seconds=None),
                ]
                return out + self._next(reason, detail, now)
            case Pausing(reconnect_at=at, begins_round=begins_round) if now >= at:
                if begins_round:
                    self._order.begin_round(now)
                return self._try_registrar(now)
            case Deregistering(timeout_at=at) if now >= at:
                return self._end()
            case _:
                return []

    def _is_authentication_due(self, now: float) -> bool:
        deadline = self._authentication.next_deadline()
        return deadline is not None and now >= deadline[0]

    def _shut_down(self, now: float) -> list[Output]:
        match self.state:
            case Bound() | Registering(was_registered=True):
                return self._deregister(now)
            case _:
                return self._end()

    def _deregister(self, now: float, before: Deregistering | None = None) -> list[Output]:
        """End the binding; again, if the Registrar challenged the request `before`."""
        request = self._writer.write(self._registrar.transport, 0)
        self.state = Deregistering(
            cseq=request.cseq,
            timeout_at=now + _DEREGISTER_TIMEOUT if before is None else before.timeout_at,
            attempt=1 if before is None else before.attempt + 1,
        )
        return self._send_register(request, now)

    def _end(self) -> list[Output]:
        self.state = Idle()
        return [*self._connection.close(), RegistrationEnded()]
