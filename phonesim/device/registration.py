"""Registration: a TLS connection to a Registrar, REGISTER, and staying registered.

The Registrars are tried in turn until one answers successfully. A Digest challenge is
answered, as ordinary registrars make it. The binding is refreshed before it expires,
CRLFCRLF keeps the connection alive, and a lost connection is made again after a pause
that grows and has jitter, beginning with the first Registrar.

Specifications: RFC 3261 sections 10.2 and 22, RFC 5626 section 4.4.1 (keep-alive),
[MS-SIPREGE], [MS-CONMGMT], sign-in reference sections 17 and 18.
"""

from __future__ import annotations

import random
import re
from collections.abc import Callable
from typing import assert_never

import msgspec

from phonesim.config.device_profile import RegistrationConfig
from phonesim.device import device_log as log
from phonesim.device.actions import (
    CloseConnection,
    OpenConnection,
    PhoneAction,
    SendKeepAlive,
    SendSip,
)
from phonesim.device.device_log import LogRecord
from phonesim.device.events import (
    CertificateIssued,
    ConnectionClosed,
    ConnectionFailed,
    ConnectionOpened,
    Event,
    ExchangeEnded,
    LookupAnswered,
    LookupRequested,
    MalformedReceived,
    Registered,
    RegistrarAddress,
    RegistrationAbandoned,
    RegistrationEnded,
    RegistrationFailed,
    RegistrationLost,
    RegistrationWanted,
    ShutdownRequested,
    SipMessageReceived,
    TimerExpired,
)
from phonesim.device.outcome import PEER_REASONS, ConnectFailure, FailureReason
from phonesim.wire.digest import digest_credentials
from phonesim.wire.endpoint import epid_for, sip_instance
from phonesim.wire.sip import (
    Challenge,
    Contact,
    Credentials,
    NameAddress,
    SipRequest,
    SipResponse,
    header,
)

Output = PhoneAction | Event | LogRecord

_CONNECT_REASONS = {
    ConnectFailure.REFUSED: FailureReason.REGISTRAR_REFUSED,
    ConnectFailure.UNREACHABLE: FailureReason.REGISTRAR_REFUSED,
    ConnectFailure.CLOSED: FailureReason.REGISTRAR_REFUSED,
    ConnectFailure.TIMEOUT: FailureReason.REGISTRAR_TIMEOUT,
    **PEER_REASONS,
}

_STATUS_REASONS = {
    401: FailureReason.REGISTRATION_UNAUTHORIZED,
    403: FailureReason.REGISTRATION_FORBIDDEN,
    404: FailureReason.REGISTRATION_NOT_FOUND,
    407: FailureReason.REGISTRATION_UNAUTHORIZED,
}

_ANSWERED = frozenset(
    {
        *_STATUS_REASONS.values(),
        FailureReason.REGISTRAR_UNAVAILABLE,
        FailureReason.REGISTRATION_REJECTED,
    }
)

_KEEP_ALIVE_TIMEOUT = re.compile(r";\s*timeout=(\d{1,6})")
_REGISTER_ACTION = re.compile(r'register-action="([a-z]+)"')
_DEREGISTER_TIMEOUT = 2.0
_MINIMUM_REFRESH = 1.0  # a Registrar that grants no time is not asked without a pause
_MAXIMUM_REQUESTS = 5  # challenged, stale and 423 at most: a Registrar cannot make it go on
_METHODS = "INVITE, MESSAGE, INFO, OPTIONS, BYE, CANCEL, NOTIFY, ACK, REFER, BENOTIFY"


class Idle(msgspec.Struct, frozen=True, gc=False):
    """Nothing under way."""


class Resolving(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """The Registrar's name is being looked up."""


class Connecting(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """TCP, and TLS if the Registrar wants it, is being set up to `address`."""

    address: str


class Registering(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """A REGISTER waits for its answer.

    `was_registered`: it refreshes a binding. `attempt` counts the requests that it
    took so far, `has_answered` says that one of them answered a challenge.
    """

    cseq: int
    started_at: float
    timeout_at: float
    was_registered: bool
    attempt: int
    has_answered: bool


class Bound(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """The binding holds until it is refreshed."""

    refresh_at: float
    expires: int


class Pausing(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """The connection was lost; another attempt follows."""

    reconnect_at: float


class Deregistering(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """A REGISTER with Expires 0 waits for its answer."""

    cseq: int
    timeout_at: float


State = Idle | Resolving | Connecting | Registering | Bound | Pausing | Deregistering


class Registration:
    """Takes `RegistrationWanted`, gives `Registered` or `RegistrationFailed`."""

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
        self._mac = mac
        self._pin = pin
        self._rng = rng
        self._believed = believed
        self._headers = (
            ("User-Agent", user_agent),
            *(("Supported", tag) for tag in config.supported),
            ("ms-keep-alive", "UAC;hop-hop=yes"),
            ("Event", "registration"),
        )
        self._wanted: RegistrationWanted | None = None
        self._epid = ""
        self._instance = ""
        self._index = 0
        self._failures: list[tuple[FailureReason, str]] = []
        self._has_registered = False
        self._losses = 0
        self._addresses: list[str] = []
        self._connection_id = 0
        self._has_connection = False
        self._keep_alive_at = 0.0
        self._keep_alive_interval = config.keep_alive_interval
        self._local = ("", 0)
        self._call_id = ""
        self._from_tag = ""
        self._ms_opaque = ""
        self._cseq = 0
        self._expires = config.expires
        self._challenge: Challenge | None = None
        self._nonce_count = 0
        self.state: State = Idle()

    # --- the contract ---

    def handle(self, event: Event, now: float) -> list[Output]:
        """Take one event; return actions, log records and events for the phone."""
        match event:
            case SipMessageReceived() if event.connection_id == self._connection_id:
                return self._received(event, now)
            case ConnectionOpened() if self._is_connecting(event.connection_id):
                return self._opened(event, now)
            case ConnectionFailed() if self._is_connecting(event.connection_id):
                return self._not_connected(event, now)
            case ConnectionClosed() if self._is_open(event.connection_id):
                return self._closed(event.detail, now)
            case LookupAnswered():
                return self._looked_up(event, now)
            case TimerExpired():
                return self._timer_expired(now)
            case RegistrationWanted():
                return self._begin(event)
            case CertificateIssued() if self._wanted is not None:
                # Shown from the next connection on.
                self._wanted = msgspec.structs.replace(
                    self._wanted, certificate=event.certificate, chain=event.chain
                )
                return []
            case MalformedReceived() if self._is_open(self._connection_id):
                # Framing is lost: what follows on the connection has no meaning.
                return [*self._close(), *self._closed(event.reason, now)]
            case RegistrationAbandoned():
                self.state = Idle()
                return self._close()
            case ShutdownRequested():
                return self._shut_down(now)
            case _:
                return []

    def next_deadline(self) -> tuple[float, str] | None:
        """When to refresh, to send a keep-alive, to give up, or to connect again."""
        match self.state:
            case Idle() | Resolving() | Connecting():
                return None
            case Registering(timeout_at=at):
                return at, "give the REGISTER up"
            case Bound(refresh_at=at):
                return min((at, "refresh"), (self._keep_alive_at, "keep-alive"))
            case Pausing(reconnect_at=at):
                return at, "connect again"
            case Deregistering(timeout_at=at):
                return at, "give the deregistration up"
            case _:
                assert_never(self.state)

    def _is_connecting(self, connection_id: int) -> bool:
        return isinstance(self.state, Connecting) and connection_id == self._connection_id

    def _is_open(self, connection_id: int) -> bool:
        """Whether that connection is ours and up: what closed it may have crossed our own close."""
        return (
            self._has_connection
            and connection_id == self._connection_id
            and not isinstance(self.state, Connecting)
        )

    # --- finding and connecting ---

    def _begin(self, event: RegistrationWanted) -> list[Output]:
        self._wanted = event
        self._epid = epid_for(self._mac, event.sip_uri)
        self._instance = sip_instance(self._epid)
        self._has_registered = False
        self._index = 0
        self._losses = 0
        self._failures = []
        return self._try_registrar()

    @property
    def _registrar(self) -> RegistrarAddress:
        assert self._wanted is not None
        return self._wanted.registrars[self._index]

    @property
    def _name(self) -> str:
        return f"{self._registrar.host}:{self._registrar.port}"

    def _try_registrar(self) -> list[Output]:
        self.state = Resolving()
        return [
            LookupRequested(
                lookup_id="registration:registrar", qname=self._registrar.host, qtype="A"
            )
        ]

    def _looked_up(self, event: LookupAnswered, now: float) -> list[Output]:
        if not isinstance(self.state, Resolving):
            return []
        self._addresses = [str(record.data) for record in event.records]
        if not self._addresses:
            detail = f"{event.qname}: {event.rcode}, no address"
            out: list[Output] = [log.REGISTRAR_FAILED(self._name, "unresolved", detail)]
            return out + self._next(FailureReason.REGISTRAR_NAME_UNRESOLVED, detail, now)
        return self._connect(now)

    def _connect(self, now: float) -> list[Output]:
        assert self._wanted is not None
        registrar, address = self._registrar, self._addresses.pop(0)
        self._connection_id += 1
        self._has_connection = True
        self.state = Connecting(address=address)
        return [
            log.REGISTRAR_CONNECTING(self._name, address, registrar.transport, registrar.source),
            OpenConnection(
                connection_id=self._connection_id,
                source=self._wanted.source,
                address=address,
                port=registrar.port,
                transport=registrar.transport,
                server_name=registrar.host,
                trust=self._wanted.chain if registrar.transport == "tls" else None,
                certificate=self._wanted.certificate if registrar.transport == "tls" else None,
                clock=self._believed(now),
                timeout=self._config.connect_timeout,
            ),
        ]

    def _not_connected(self, event: ConnectionFailed, now: float) -> list[Output]:
        self._has_connection = False
        out: list[Output] = [log.REGISTRAR_FAILED(self._name, event.failure, event.detail)]
        if self._addresses:
            return out + self._connect(now)
        detail = f"{self._name}: {event.detail}"
        return out + self._next(_CONNECT_REASONS[event.failure], detail, now)

    def _opened(self, event: ConnectionOpened, now: float) -> list[Output]:
        self._keep_alive_interval = self._config.keep_alive_interval
        self._local = (event.local_address, event.local_port)
        self._call_id = f"{self._rng.getrandbits(128):032x}"
        self._from_tag = f"{self._rng.getrandbits(40):010x}"
        self._ms_opaque = f"{self._rng.getrandbits(40):010x}"
        self._cseq = 0
        self._challenge = None
        local = f"{event.local_address}:{event.local_port}"
        connected = log.REGISTRAR_CONNECTED(self._name, local)
        return [connected, *self._register(now, started_at=now, was_registered=False)]

    def _next(self, reason: FailureReason, detail: str, now: float) -> list[Output]:
        """Try the next Registrar after a failure, or give up."""
        assert self._wanted is not None
        out = [*self._lost(detail), *self._close()]
        self._failures.append((reason, detail))
        if self._index + 1 < len(self._wanted.registrars):
            self._index += 1
            return out + self._try_registrar()
        self._index = 0
        failures, self._failures = self._failures, []
        if self._has_registered:
            return out + self._pause(now)
        self.state = Idle()
        # A Registrar that answered tells more than one that could not be reached.
        answered = [failure for failure, _ in failures if failure in _ANSWERED]
        full = "; ".join(each for _, each in failures)
        return [*out, RegistrationFailed(reason=(answered or [reason])[-1], detail=full)]

    def _close(self) -> list[Output]:
        if not self._has_connection:
            return []
        self._has_connection = False
        return [CloseConnection(connection_id=self._connection_id)]

    # --- REGISTER ---

    def _register(
        self,
        now: float,
        *,
        started_at: float,
        was_registered: bool,
        attempt: int = 1,
        has_answered: bool = False,
        credentials: Credentials | None = None,
    ) -> list[Output]:
        if credentials is None and self._challenge is not None:
            credentials = self._answer_challenge(self._challenge)
        self._cseq += 1
        self.state = Registering(
            cseq=self._cseq,
            started_at=started_at,
            timeout_at=now + self._config.response_timeout,
            was_registered=was_registered,
            attempt=attempt,
            has_answered=has_answered,
        )
        return self._send_register(now, self._expires, credentials)

    def _send_register(
        self, now: float, expires: int, credentials: Credentials | None
    ) -> list[Output]:
        assert self._wanted is not None
        sip_uri = self._wanted.sip_uri
        domain = sip_uri.partition("@")[2]
        address, port = self._local
        transport = self._registrar.transport
        branch = f"z9hG4bK{self._rng.getrandbits(64):016x}"
        request = SipRequest(
            method="REGISTER",
            uri=f"sip:{domain}",
            vias=(f"SIP/2.0/{transport.upper()} {address}:{port};branch={branch}",),
            sender=NameAddress(uri=sip_uri, tag=self._from_tag, epid=self._epid),
            recipient=NameAddress(uri=sip_uri),
            call_id=self._call_id,
            cseq=self._cseq,
            contacts=(
                Contact(
                    uri=(f"sip:{address}:{port};transport={transport};ms-opaque={self._ms_opaque}"),
                    instance=self._instance,
                    parameters=(("methods", _METHODS), ("proxy", "replace")),
                ),
            ),
            expires=expires,
            credentials=() if credentials is None else (credentials,),
            headers=self._headers,
        )
        self._keep_alive_at = now + self._keep_alive_interval
        scheme = "" if credentials is None else credentials.scheme
        return [
            log.REGISTER_SENT(self._name, self._cseq, expires, scheme),
            SendSip(connection_id=self._connection_id, message=request),
        ]

    def _answer_challenge(self, challenge: Challenge) -> Credentials | None:
        assert self._wanted is not None
        user, _, domain = self._wanted.sip_uri.removeprefix("sip:").partition("@")
        nonce_count = self._nonce_count + 1 if challenge == self._challenge else 1
        credentials = digest_credentials(
            challenge,
            method="REGISTER",
            uri=f"sip:{domain}",
            username=user,
            password=self._config.digest_password or self._pin,
            cnonce=f"{self._rng.getrandbits(64):016x}",
            nc=nonce_count,
        )
        if credentials is not None:
            self._challenge, self._nonce_count = challenge, nonce_count
        return credentials

    # --- answers ---

    def _received(self, event: SipMessageReceived, now: float) -> list[Output]:
        message, state = event.message, self.state
        if not isinstance(message, SipResponse):
            return [log.SIP_IGNORED(f"{message.method}: no request is expected")]
        if (
            not isinstance(state, Registering | Deregistering)
            or message.call_id != self._call_id
            or message.cseq != state.cseq
        ):
            return [log.SIP_IGNORED(f"{message.status} answers no open request")]
        diagnostics = (
            header(message, "ms-diagnostics") or header(message, "ms-diagnostics-public") or ""
        )
        if message.status == 200 and isinstance(state, Registering):
            return self._accepted(state, message, now)
        out: list[Output] = [
            log.REGISTER_ANSWER(message.status, message.reason, message.cseq, diagnostics)
        ]
        if message.status < 200:
            return out
        if isinstance(state, Deregistering):
            return out + self._end()
        may_repeat = state.attempt < _MAXIMUM_REQUESTS
        if message.status in {401, 407} and may_repeat:
            answered = self._challenged(state, message, now)
            if answered is not None:
                return out + answered
        if message.status == 423 and may_repeat:
            longer = _integer(header(message, "Min-Expires"))
            if longer is not None and longer > self._expires:
                self._expires = longer
                return out + self._register(
                    now,
                    started_at=state.started_at,
                    was_registered=state.was_registered,
                    attempt=state.attempt + 1,
                    has_answered=state.has_answered,
                )
        out.append(self._ended(now, state))
        reason = _STATUS_REASONS.get(message.status)
        if reason is None:
            reason = (
                FailureReason.REGISTRAR_UNAVAILABLE
                if 500 <= message.status < 600
                else FailureReason.REGISTRATION_REJECTED
            )
        detail = f"{self._name}: {message.status} {message.reason}"
        if diagnostics:
            detail += f" ({diagnostics})"
        return out + self._next(reason, detail, now)

    def _challenged(
        self, state: Registering, response: SipResponse, now: float
    ) -> list[Output] | None:
        """Answer the first Digest challenge that can be: once, and again if it was merely stale."""
        for challenge in response.challenges:
            credentials = self._answer_challenge(challenge)
            if credentials is None:
                continue
            is_stale = dict(challenge.parameters).get("stale", "").lower() == "true"
            if state.has_answered and not is_stale:
                return None
            return self._register(
                now,
                started_at=state.started_at,
                was_registered=state.was_registered,
                attempt=state.attempt + 1,
                has_answered=True,
                credentials=credentials,
            )
        return None

    def _accepted(self, state: Registering, response: SipResponse, now: float) -> list[Output]:
        assert self._wanted is not None
        expires = self._granted(response)
        keep_alive = _KEEP_ALIVE_TIMEOUT.search(header(response, "ms-keep-alive") or "")
        if keep_alive is not None:
            # Earlier than the server's limit, so that a slow network does not cost the flow.
            self._keep_alive_interval = max(1.0, int(keep_alive.group(1)) * 0.8)
        self._keep_alive_at = now + self._keep_alive_interval
        margin = min(self._config.refresh_margin, expires / 2)
        refresh_delay = max(expires - margin, _MINIMUM_REFRESH)
        self.state = Bound(refresh_at=now + refresh_delay, expires=expires)
        self._has_registered = True
        self._losses = 0
        action = _REGISTER_ACTION.search(header(response, "presence-state") or "")
        return [
            self._ended(now, state),
            log.REGISTERED(
                self._name, self._wanted.sip_uri, expires, action.group(1) if action else ""
            ),
            Registered(registrar=self._registrar, expires=expires, is_refresh=state.was_registered),
        ]

    def _granted(self, response: SipResponse) -> int:
        """The expiry of our own binding (RFC 3261 section 10.2.4), in seconds."""
        instance = self._instance.lower()
        address, port = self._local
        for contact in response.contacts:
            is_ours = (contact.instance or "").lower() == instance or contact.uri.startswith(
                f"sip:{address}:{port}"
            )
            if is_ours and contact.expires is not None:
                return contact.expires
        return self._expires if response.expires is None else response.expires

    def _ended(self, now: float, state: Registering) -> ExchangeEnded:
        return ExchangeEnded(kind="sip_register", sent=1, seconds=now - state.started_at)

    # --- losing and ending ---

    def _closed(self, detail: str, now: float) -> list[Output]:
        self._has_connection = False
        out: list[Output] = [log.REGISTRATION_LOST(self._name, detail)]
        match self.state:
            case Deregistering():
                return out + self._end()
            case Registering(was_registered=False) if not self._has_registered:
                full = f"{self._name}: {detail}"
                return out + self._next(FailureReason.REGISTRAR_REFUSED, full, now)
            case _:
                self._index = 0
                return [*out, *self._lost(detail), *self._pause(now)]

    def _lost(self, detail: str) -> list[Output]:
        """Say that a binding is lost, if there was one until now."""
        match self.state:
            case Bound() | Registering(was_registered=True):
                return [RegistrationLost(registrar=self._name, detail=detail)]
            case _:
                return []

    def _pause(self, now: float) -> list[Output]:
        delays = self._config.reconnect_delays
        delay = delays[min(self._losses, len(delays) - 1)]
        self._losses += 1
        self.state = Pausing(reconnect_at=now + delay * self._rng.uniform(1, 1.5))
        return []

    def _timer_expired(self, now: float) -> list[Output]:
        match self.state:
            case Bound(refresh_at=at) if now >= at:
                return self._register(now, started_at=now, was_registered=True)
            case Bound() if now >= self._keep_alive_at:
                self._keep_alive_at = now + self._keep_alive_interval
                return [SendKeepAlive(connection_id=self._connection_id)]
            case Registering(timeout_at=at) if now >= at:
                detail = f"{self._name}: no answer to REGISTER"
                out: list[Output] = [
                    log.REGISTRAR_FAILED(self._name, "timeout", detail),
                    ExchangeEnded(kind="sip_register", sent=1, seconds=None),
                ]
                return out + self._next(FailureReason.REGISTRAR_TIMEOUT, detail, now)
            case Pausing(reconnect_at=at) if now >= at:
                return self._try_registrar()
            case Deregistering(timeout_at=at) if now >= at:
                return self._end()
            case _:
                return []

    def _shut_down(self, now: float) -> list[Output]:
        match self.state:
            case Bound() | Registering(was_registered=True):
                self._cseq += 1
                self.state = Deregistering(cseq=self._cseq, timeout_at=now + _DEREGISTER_TIMEOUT)
                credentials = (
                    None if self._challenge is None else self._answer_challenge(self._challenge)
                )
                return self._send_register(now, 0, credentials)
            case _:
                return self._end()

    def _end(self) -> list[Output]:
        self.state = Idle()
        return [*self._close(), RegistrationEnded()]


def _integer(text: str | None) -> int | None:
    is_number = text is not None and text.isascii() and text.isdigit() and len(text) <= 10
    return int(text) if text is not None and is_number else None
