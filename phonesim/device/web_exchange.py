"""One request to a web service at a time: its server's address, its repetitions, its answer.

    Resolving -> Awaiting -> (Pausing -> Awaiting)* -> WebAnswered | WebFailed

A name is looked up once in a sign-in. A time-out, a refused connection or a 503 is tried
again as often as the profile says, at the next address of the name. Where the phone has
credentials for HTTP, a 401 is answered with them: the same request once more, and what was
begun on one connection goes on there. A connection that is lost meanwhile is a failure like
others, after which all of it begins anew.

Specifications: RFC 9110 sections 10.2.3 (Retry-After) and 15, RFC 4559 section 4; sign-in
reference section 9.
"""

from __future__ import annotations

from collections.abc import Callable

import msgspec

from phonesim.config.device_profile import SignInConfig
from phonesim.device import device_log as log
from phonesim.device.actions import PhoneAction, SendHttp
from phonesim.device.device_log import LogRecord
from phonesim.device.events import (
    Event,
    ExchangeEnded,
    HttpFailed,
    HttpResponseReceived,
    LookupAnswered,
    LookupRequested,
    TimerExpired,
)
from phonesim.device.http_authentication import HttpAuthentication, NotAuthenticated
from phonesim.device.outcome import PEER_REASONS, ConnectFailure, FailureReason
from phonesim.wire.http import HttpRequest, HttpResponse, HttpUrl, WebAnswer, WebMessage
from phonesim.wire.http_token import HttpToken
from phonesim.wire.ntlm import name_of_message
from phonesim.wire.soap_envelope import SoapFault

LOOKUP_ID = "sign_in:web"

_CONNECT_REASONS = {
    ConnectFailure.REFUSED: FailureReason.WEB_SERVICES_REFUSED,
    ConnectFailure.UNREACHABLE: FailureReason.WEB_SERVICES_REFUSED,
    ConnectFailure.CLOSED: FailureReason.WEB_SERVICES_REFUSED,
    ConnectFailure.TIMEOUT: FailureReason.WEB_SERVICES_TIMEOUT,
    **PEER_REASONS,
}
_TRANSIENT = {
    ConnectFailure.REFUSED,
    ConnectFailure.UNREACHABLE,
    ConnectFailure.CLOSED,
    ConnectFailure.TIMEOUT,
}
_LONGEST_RETRY_AFTER = 3600.0


class WebAnswered(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """The server answered `request`, with whatever status."""

    request: WebMessage
    response: HttpResponse


class WebFailed(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """There was no answer to `request`, and there will be none."""

    request: WebMessage
    reason: FailureReason
    detail: str


Output = PhoneAction | Event | LogRecord | WebAnswered | WebFailed


class Request(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """What is asked, where, what is trusted there (None over plain HTTP), and as whom."""

    url: HttpUrl
    message: WebMessage
    trust: bytes | None
    authentication: HttpAuthentication | None


class Idle(msgspec.Struct, frozen=True, gc=False):
    """Nothing under way."""


class Resolving(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """The server's name is being looked up."""

    request: Request


class Awaiting(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """A request is under way."""

    request: Request
    exchange_id: int
    attempt: int
    started_at: float


class Pausing(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """A request failed for now and is sent again at `retry_at`."""

    request: Request
    attempt: int
    started_at: float
    retry_at: float


State = Idle | Resolving | Awaiting | Pausing


class WebExchange:
    """Carries out the requests of a sign-in; `believed` gives the phone's clock.

    `repeated` makes of a message what is sent when it is sent again.
    """

    def __init__(
        self,
        config: SignInConfig,
        believed: Callable[[float], float],
        repeated: Callable[[WebMessage], WebMessage],
    ) -> None:
        self._config = config
        self._believed = believed
        self._repeated = repeated
        self._exchanges = 0
        self._source = ""
        self._addresses: dict[str, tuple[str, ...]] = {}
        self.state: State = Idle()

    def begin(self, source: str) -> None:
        """A new sign-in, from the phone's address `source`."""
        self._source = source
        self._addresses = {}
        self.state = Idle()

    def ask(
        self,
        url: HttpUrl,
        message: WebMessage,
        trust: bytes | None,
        now: float,
        authentication: HttpAuthentication | None = None,
    ) -> list[Output]:
        """Begin an exchange; it takes the place of one that is under way."""
        request = Request(
            url=url,
            message=message,
            trust=None if url.scheme == "http" else trust,
            authentication=authentication,
        )
        if url.host in self._addresses:
            return self._send(request, 1, now, now)
        self.state = Resolving(request=request)
        return [LookupRequested(lookup_id=LOOKUP_ID, qname=url.host, qtype="A")]

    def handle(self, event: Event, now: float) -> list[Output]:
        """Take one event; return what to do and, in the end, what came of the exchange."""
        match event:
            case HttpResponseReceived():
                return self._answered(event, now)
            case HttpFailed():
                return self._not_answered(event, now)
            case LookupAnswered():
                return self._looked_up(event, now)
            case TimerExpired():
                match self.state:
                    case Pausing(retry_at=at) as paused if now >= at:
                        message = self._repeated(paused.request.message)
                        request = msgspec.structs.replace(paused.request, message=message)
                        return self._send(request, paused.attempt + 1, paused.started_at, now)
                    case _:
                        return []
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
        """Stop. Late answers will be dropped."""
        self.state = Idle()

    def _looked_up(self, event: LookupAnswered, now: float) -> list[Output]:
        state = self.state
        if not isinstance(state, Resolving) or event.qname != state.request.url.host:
            return []
        addresses = tuple(str(record.data) for record in event.records)
        if not addresses:
            self.state = Idle()
            return [
                WebFailed(
                    request=state.request.message,
                    reason=FailureReason.WEB_SERVER_NAME_UNRESOLVED,
                    detail=f"{event.qname}: {event.rcode}, no address",
                )
            ]
        self._addresses[event.qname] = addresses
        return self._send(state.request, 1, now, now)

    def _send(self, request: Request, attempt: int, started_at: float, now: float) -> list[Output]:
        if request.authentication is not None:
            request.authentication.reset()
        return self._send_as(request, attempt, started_at, now)

    def _send_as(
        self,
        request: Request,
        attempt: int,
        started_at: float,
        now: float,
        token: HttpToken | None = None,
        continues: int | None = None,
    ) -> list[Output]:
        self._exchanges += 1
        self.state = Awaiting(
            request=request, exchange_id=self._exchanges, attempt=attempt, started_at=started_at
        )
        url = request.url
        addresses = self._addresses[url.host]
        address = addresses[(attempt - 1) % len(addresses)]
        return [
            log.HTTP_SENT(operation_name(request.message), str(url), address, attempt),
            SendHttp(
                exchange_id=self._exchanges,
                request=HttpRequest(
                    scheme=url.scheme,
                    host=url.host,
                    port=url.port,
                    path=url.path,
                    message=request.message,
                    authorization=token,
                ),
                source=self._source,
                address=address,
                trust=request.trust,
                clock=self._believed(now),
                timeout=self._config.http_timeout,
                continues=continues,
            ),
        ]

    def _answered(self, event: HttpResponseReceived, now: float) -> list[Output]:
        state, response = self.state, event.response
        if not isinstance(state, Awaiting) or state.exchange_id != event.exchange_id:
            return [log.HTTP_IGNORED(f"{response.status} answers no open request")]
        operation = operation_name(state.request.message)
        out: list[Output] = []
        if response.status != 200:
            out.append(log.HTTP_ANSWER(operation, response.status, describe_response(response)))
        said = response.diagnostics
        if said is not None:
            out.append(log.WEB_DIAGNOSTICS(said.error_id, said.source, said.faultcode, said.reason))
        if response.status in {408, 503} and state.attempt < self._config.attempts:
            wanted = min(response.retry_after or 0, _LONGEST_RETRY_AFTER)
            return out + self._pause(state, now, max(self._config.retry_delay, wanted))
        self.state = Idle()
        out.append(ExchangeEnded(kind="http", sent=state.attempt, seconds=now - state.started_at))
        if response.status == 401 and state.request.authentication is not None:
            return out + self._authenticate(
                state, state.request.authentication, response.challenges, now
            )
        return [*out, WebAnswered(request=state.request.message, response=response)]

    def _authenticate(
        self,
        state: Awaiting,
        authentication: HttpAuthentication,
        challenges: tuple[HttpToken, ...],
        now: float,
    ) -> list[Output]:
        step = authentication.answer(challenges, now)
        operation = operation_name(state.request.message)
        if isinstance(step, NotAuthenticated):
            detail = f"{operation}: {step.detail}"
            return [WebFailed(request=state.request.message, reason=step.reason, detail=detail)]
        name, size = name_of_message(step.token.octets), len(step.token.octets)
        return [
            log.HTTP_AUTHORIZED(operation, step.token.scheme, name, size),
            *self._send_as(
                state.request,
                state.attempt,
                now,
                now,
                step.token,
                state.exchange_id if step.stays else None,
            ),
        ]

    def _not_answered(self, event: HttpFailed, now: float) -> list[Output]:
        state = self.state
        if not isinstance(state, Awaiting) or state.exchange_id != event.exchange_id:
            return [log.HTTP_IGNORED(f"no request is open that could fail: {event.detail}")]
        operation = operation_name(state.request.message)
        out: list[Output] = [log.HTTP_FAILED(operation, event.failure, event.detail)]
        if event.failure in _TRANSIENT and state.attempt < self._config.attempts:
            return out + self._pause(state, now, self._config.retry_delay)
        self.state = Idle()
        authentication = state.request.authentication
        is_cut = authentication is not None and authentication.is_under_way
        return [
            *out,
            ExchangeEnded(kind="http", sent=state.attempt, seconds=None),
            WebFailed(
                request=state.request.message,
                reason=_CONNECT_REASONS[event.failure],
                detail=f"{operation}: {event.detail}{', in the middle of NTLM' if is_cut else ''}",
            ),
        ]

    def _pause(self, state: Awaiting, now: float, delay: float) -> list[Output]:
        self.state = Pausing(
            request=state.request,
            attempt=state.attempt,
            started_at=state.started_at,
            retry_at=now + delay,
        )
        return []


def operation_name(message: WebMessage) -> str:
    """What the log calls the request."""
    return type(message).__name__


def describe_response(response: HttpResponse) -> str:
    """What is worth logging of an answer other than 200."""
    if response.message is None and response.challenges:
        return "it wants " + ", ".join(
            f"{each.scheme} ({len(each.octets)} octets)" if each.octets else each.scheme
            for each in response.challenges
        )
    return describe(response.message)


def describe(answer: WebAnswer | None) -> str:
    """An answer in a few words."""
    match answer:
        case None:
            return "no SOAP message"
        case SoapFault():
            return f"fault {answer.code}: {answer.reason}"
        case _:
            return type(answer).__name__
