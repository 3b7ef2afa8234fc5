"""Sign-in at the web services: trust chain, web ticket by PIN, certificate.

    chain        http, anonymous      -> the only thing the phone trusts from now on
    ticket       https, number + PIN  -> assertion and proof key, and who the user is
    certificate  https, signed        -> a certificate for that user

Each step is one HTTP exchange with the server whose name discovery gave. A time-out, a
refused connection or a 503 is tried again as often as the profile says, at the next
address of the name; everything else ends the sign-in with its reason.

Specifications: [MS-OCAUTHWS], WS-Trust 1.3, sign-in reference sections 1 and 4 to 9.
"""

from __future__ import annotations

import random
import re
from collections.abc import Callable

import msgspec

from phonesim.config.device_profile import SignInConfig
from phonesim.device import device_log as log
from phonesim.device.actions import MakeCertificateRequest, PhoneAction, SendHttp
from phonesim.device.device_log import LogRecord
from phonesim.device.events import (
    CertificateIssued,
    CertificateRequestMade,
    Event,
    ExchangeEnded,
    HttpFailed,
    HttpResponseReceived,
    LookupAnswered,
    LookupRequested,
    SignInFailed,
    SignInWanted,
    StageEnded,
    StageEntered,
    TimerExpired,
    WebServicesAddress,
)
from phonesim.device.outcome import PEER_REASONS, ConnectFailure, FailureReason, Stage
from phonesim.wire.endpoint import epid_for, sip_instance
from phonesim.wire.soap import (
    GetAndPublishCert,
    GetAndPublishCertResponse,
    GetRootCertChains,
    GetRootCertChainsResponse,
    HttpRequest,
    HttpResponse,
    KeyProof,
    RequestSecurityToken,
    RequestSecurityTokenResponse,
    SoapFault,
    SoapMessage,
    SoapRequest,
    proof_key,
)

Output = PhoneAction | Event | LogRecord

_OPERATIONS = {
    Stage.CHAIN: "GetRootCertChains",
    Stage.TICKET: "RequestSecurityToken",
    Stage.CERTIFICATE: "GetAndPublishCert",
}

_CONNECT_REASONS = {
    ConnectFailure.REFUSED: FailureReason.WEB_SERVICES_REFUSED,
    ConnectFailure.UNREACHABLE: FailureReason.WEB_SERVICES_REFUSED,
    ConnectFailure.CLOSED: FailureReason.WEB_SERVICES_REFUSED,
    ConnectFailure.TIMEOUT: FailureReason.WEB_SERVICES_TIMEOUT,
    **PEER_REASONS,
}

# What a fault means that gives no PinFailureReason.
_FAULT_REASONS = {
    Stage.CHAIN: FailureReason.CHAIN_UNUSABLE,
    Stage.TICKET: FailureReason.WEB_SERVICES_FAULT,
    Stage.CERTIFICATE: FailureReason.CERTIFICATE_NOT_ISSUED,
}

_TRANSIENT = {
    ConnectFailure.REFUSED,
    ConnectFailure.UNREACHABLE,
    ConnectFailure.CLOSED,
    ConnectFailure.TIMEOUT,
}

# PinFailureReason values [documented hh383225].
_PIN_REASONS = {
    "IncorrectPin": FailureReason.PIN_INCORRECT,
    "Unauthorized": FailureReason.PIN_INCORRECT,
    "UserPinAccountLocked": FailureReason.PIN_LOCKED,
    "UserPinAccountDisabled": FailureReason.USER_DISABLED,
    "PinExpired": FailureReason.PIN_EXPIRED,
    "PinNotSet": FailureReason.PIN_NOT_SET,
    "PinNotEnabledForUser": FailureReason.PIN_NOT_ENABLED,
    "PinNotUnique": FailureReason.PIN_NOT_UNIQUE,
    "NonUniqueUser": FailureReason.PIN_NOT_UNIQUE,
    "UserDoesNotExist": FailureReason.USER_UNKNOWN,
}

_LONGEST_RETRY_AFTER = 3600.0
_is_sip_uri = re.compile(r"sip:[!#-;=?A-~]+@[!#-;=?A-~]+").fullmatch


class Idle(msgspec.Struct, frozen=True, gc=False):
    """Nothing under way."""


class Resolving(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """The web server's name is being looked up."""


class Awaiting(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """A request is under way."""

    stage: Stage
    exchange_id: int
    message: SoapRequest
    attempt: int
    started_at: float


class Pausing(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """A request failed for now and is sent again at `retry_at`."""

    stage: Stage
    message: SoapRequest
    attempt: int
    started_at: float
    retry_at: float


class MakingKey(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """Waiting for the certificate request of `sip_uri`."""

    ticket: RequestSecurityTokenResponse
    key: bytes
    entity: str


State = Idle | Resolving | Awaiting | Pausing | MakingKey


class SignIn:
    """Takes `SignInWanted`, gives `CertificateIssued` or `SignInFailed`."""

    def __init__(
        self,
        config: SignInConfig,
        mac: bytes,
        number: str,
        pin: str,
        rng: random.Random,
        believed: Callable[[float], float],
    ) -> None:
        self._config = config
        self._mac = mac
        self._number = number
        self._pin = pin
        self._rng = rng
        self._believed = believed
        self._exchanges = 0
        self._wanted: SignInWanted | None = None
        self._addresses: tuple[str, ...] = ()
        self._chain = b""
        self._ticket: RequestSecurityTokenResponse | None = None
        self.state: State = Idle()

    # --- the contract ---

    def handle(self, event: Event, now: float) -> list[Output]:
        """Take one event; return actions, log records and events for the phone."""
        match event:
            case HttpResponseReceived():
                return self._answered(event, now)
            case HttpFailed():
                return self._not_answered(event, now)
            case LookupAnswered():
                return self._looked_up(event, now)
            case CertificateRequestMade():
                return self._request_made(event, now)
            case TimerExpired():
                match self.state:
                    case Pausing(retry_at=at) if now >= at:
                        return self._send(self.state, now)
                    case _:
                        return []
            case SignInWanted():
                return self._begin(event)
            case _:
                return []

    def next_deadline(self) -> tuple[float, str] | None:
        """When a request is repeated. While one is under way, the world's time-out counts."""
        match self.state:
            case Pausing(retry_at=at):
                return at, "repeat the request"
            case _:
                return None

    def abandon(self) -> None:
        """Stop: the address is gone. Late answers will be dropped."""
        self.state = Idle()

    # --- the three steps ---

    def _begin(self, event: SignInWanted) -> list[Output]:
        self._wanted = event
        self.state = Resolving()
        return [
            StageEntered(stage=Stage.CHAIN),
            LookupRequested(lookup_id="sign_in:web", qname=event.web_services.host, qtype="A"),
        ]

    def _looked_up(self, event: LookupAnswered, now: float) -> list[Output]:
        if not isinstance(self.state, Resolving):
            return []
        self._addresses = tuple(str(record.data) for record in event.records)
        if not self._addresses:
            detail = f"{event.qname}: {event.rcode}, no address"
            return self._fail(Stage.CHAIN, FailureReason.WEB_SERVER_NAME_UNRESOLVED, detail)
        return self._start(Stage.CHAIN, GetRootCertChains(), now)

    def _chain_received(self, response: GetRootCertChainsResponse, now: float) -> list[Output]:
        if not response.chain:
            return self._fail(Stage.CHAIN, FailureReason.CHAIN_UNUSABLE, "the chain is empty")
        self._chain = response.chain
        message = RequestSecurityToken(
            context=self._uuid(),
            applies_to=self._services.url,
            username=self._number,
            password=self._pin,
            entropy=self._rng.randbytes(32),
        )
        return [
            log.CHAIN_RECEIVED(len(response.chain)),
            StageEnded(stage=Stage.CHAIN),
            StageEntered(stage=Stage.TICKET),
            *self._start(Stage.TICKET, message, now),
        ]

    def _ticket_received(
        self, request: RequestSecurityToken, ticket: RequestSecurityTokenResponse
    ) -> list[Output]:
        if ticket.context != request.context or not _is_sip_uri(ticket.sip_uri or ""):
            detail = "the ticket is not for this request, or names no user"
            return self._fail(Stage.TICKET, FailureReason.MALFORMED_ANSWER, detail)
        assert ticket.sip_uri is not None
        entity = ticket.sip_uri.removeprefix("sip:")
        self._ticket = ticket
        self.state = MakingKey(
            ticket=ticket, key=proof_key(request.entropy, ticket.entropy), entity=entity
        )
        lifetime = ticket.expires - ticket.created
        return [
            log.TICKET_RECEIVED(ticket.sip_uri, ticket.assertion_id, lifetime),
            StageEnded(stage=Stage.TICKET),
            StageEntered(stage=Stage.CERTIFICATE),
            MakeCertificateRequest(subject=entity),
        ]

    def _request_made(self, event: CertificateRequestMade, now: float) -> list[Output]:
        state = self.state
        if not isinstance(state, MakingKey) or state.entity != event.subject:
            return []
        ticket = state.ticket
        message = GetAndPublishCert(
            to=self._services.url,
            message_id=self._uuid(),
            device_id=sip_instance(epid_for(self._mac, f"sip:{state.entity}")),
            entity=state.entity,
            csr=event.csr,
            request_id=self._uuid(),
            assertion_id=ticket.assertion_id,
            assertion=ticket.assertion,
            created=ticket.created,
            expires=ticket.expires,
            proof=KeyProof(state.key),
        )
        return self._start(Stage.CERTIFICATE, message, now)

    def _certificate_received(self, response: GetAndPublishCertResponse) -> list[Output]:
        assert self._ticket is not None
        assert self._ticket.sip_uri is not None
        self.state = Idle()
        sip_uri, certificate = self._ticket.sip_uri, response.certificate
        return [
            log.CERTIFICATE_RECEIVED(sip_uri, len(certificate)),
            StageEnded(stage=Stage.CERTIFICATE),
            CertificateIssued(
                sip_uri=sip_uri,
                certificate=certificate,
                chain=self._chain,
                ticket_id=self._ticket.assertion_id,
                ticket_expires=self._ticket.expires,
            ),
        ]

    # --- one exchange ---

    def _start(self, stage: Stage, message: SoapRequest, now: float) -> list[Output]:
        first = Pausing(stage=stage, message=message, attempt=0, started_at=now, retry_at=now)
        return self._send(first, now)

    def _send(self, pausing: Pausing, now: float) -> list[Output]:
        assert self._wanted is not None
        self._exchanges += 1
        attempt = pausing.attempt + 1
        self.state = Awaiting(
            stage=pausing.stage,
            exchange_id=self._exchanges,
            message=pausing.message,
            attempt=attempt,
            started_at=pausing.started_at,
        )
        services = self._services
        if pausing.stage is Stage.CHAIN:
            scheme, port, path = "http", self._config.chain_port, services.path
        elif pausing.stage is Stage.TICKET:
            scheme, port, path = services.scheme, services.port, self._config.web_ticket_path
        else:
            scheme, port, path = services.scheme, services.port, services.path
        request = HttpRequest(
            scheme=scheme, host=services.host, port=port, path=path, message=pausing.message
        )
        address = self._addresses[(attempt - 1) % len(self._addresses)]
        return [
            log.HTTP_SENT(_OPERATIONS[pausing.stage], request.url, address, attempt),
            SendHttp(
                exchange_id=self._exchanges,
                request=request,
                source=self._wanted.source,
                address=address,
                trust=None if scheme == "http" else self._chain,
                clock=self._believed(now),
                timeout=self._config.http_timeout,
            ),
        ]

    def _answered(self, event: HttpResponseReceived, now: float) -> list[Output]:
        state, response = self.state, event.response
        if not isinstance(state, Awaiting) or state.exchange_id != event.exchange_id:
            return [log.HTTP_IGNORED(f"{response.status} answers no open request")]
        operation = _OPERATIONS[state.stage]
        out: list[Output] = []
        if response.status != 200:
            out.append(log.HTTP_ANSWER(operation, response.status, _describe(response.message)))
        if response.status in {408, 503} and state.attempt < self._config.attempts:
            wanted = min(response.retry_after or 0, _LONGEST_RETRY_AFTER)
            return out + self._pause(state, now, max(self._config.retry_delay, wanted))
        out.append(ExchangeEnded(kind="http", sent=state.attempt, seconds=now - state.started_at))
        match state.message, response.message:
            case GetRootCertChains(), GetRootCertChainsResponse() as answer:
                return out + self._chain_received(answer, now)
            case RequestSecurityToken() as request, RequestSecurityTokenResponse() as answer:
                return out + self._ticket_received(request, answer)
            case GetAndPublishCert(), GetAndPublishCertResponse() as answer:
                return out + self._certificate_received(answer)
            case _:
                return out + self._refused(state.stage, response)

    def _refused(self, stage: Stage, response: HttpResponse) -> list[Output]:
        fault = response.message
        detail = f"{_OPERATIONS[stage]}: HTTP {response.status}"
        if isinstance(fault, SoapFault):
            text = fault.error_reason or fault.reason
            reason = _PIN_REASONS.get(fault.pin_failure or "", _FAULT_REASONS[stage])
            refused = log.TICKET_REFUSED(fault.pin_failure or fault.code, fault.error_id, text)
            return [refused, *self._fail(stage, reason, f"{detail}: {text}")]
        if response.status == 404:
            return self._fail(stage, FailureReason.WEB_SERVICES_NOT_FOUND, detail)
        if response.status >= 500:
            return self._fail(stage, FailureReason.WEB_SERVICES_UNAVAILABLE, detail)
        if response.status == 200:
            detail += f" with {_describe(fault)}"
            return self._fail(stage, FailureReason.MALFORMED_ANSWER, detail)
        return self._fail(stage, FailureReason.WEB_SERVICES_FAULT, detail)

    def _not_answered(self, event: HttpFailed, now: float) -> list[Output]:
        state = self.state
        if not isinstance(state, Awaiting) or state.exchange_id != event.exchange_id:
            return [log.HTTP_IGNORED(f"no request is open that could fail: {event.detail}")]
        operation = _OPERATIONS[state.stage]
        out: list[Output] = [log.HTTP_FAILED(operation, event.failure, event.detail)]
        if event.failure in _TRANSIENT and state.attempt < self._config.attempts:
            return out + self._pause(state, now, self._config.retry_delay)
        out.append(ExchangeEnded(kind="http", sent=state.attempt, seconds=None))
        detail = f"{operation}: {event.detail}"
        return out + self._fail(state.stage, _CONNECT_REASONS[event.failure], detail)

    def _pause(self, state: Awaiting, now: float, delay: float) -> list[Output]:
        self.state = Pausing(
            stage=state.stage,
            message=state.message,
            attempt=state.attempt,
            started_at=state.started_at,
            retry_at=now + delay,
        )
        return []

    def _fail(self, stage: Stage, reason: FailureReason, detail: str) -> list[Output]:
        self.state = Idle()
        return [SignInFailed(stage=stage, reason=reason, detail=detail)]

    @property
    def _services(self) -> WebServicesAddress:
        assert self._wanted is not None
        return self._wanted.web_services

    def _uuid(self) -> str:
        # RFC 9562 section 5.4; five times as fast as uuid.UUID, and five go into a boot.
        bits = self._rng.getrandbits(128) & ~(0xF << 76 | 0x3 << 62) | 0x4 << 76 | 0x2 << 62
        digits = f"{bits:032x}"
        return f"{digits[:8]}-{digits[8:12]}-{digits[12:16]}-{digits[16:20]}-{digits[20:]}"


def _describe(message: SoapMessage | None) -> str:
    match message:
        case None:
            return "no SOAP message"
        case SoapFault():
            return f"fault {message.code}: {message.reason}"
        case _:
            return type(message).__name__
