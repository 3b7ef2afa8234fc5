"""A phone's requests to the web services.

An exchange connects to the IPv4 address that the phone resolved itself, while Host
and SNI carry the name. Redirects are not followed, cookies not kept, no proxy used.
A phone's connections stay open for some seconds, because the certificate request
follows the ticket; then all that its client holds is let go. An exchange that needs the
connection of another one is not sent on any other.

A tap is told a request when there is a connection to send it on, and an answer when all
of it is there.

Specifications: RFC 9110, RFC 9112.
"""

from __future__ import annotations

import asyncio
import datetime
import email.utils
import socket
from collections.abc import Callable
from contextvars import ContextVar
from ssl import SSLContext
from typing import NamedTuple

import aiohttp
from aiohttp.connector import Connection
from aiohttp.tracing import Trace
from yarl import URL

from phonesim.capture import PhoneTap
from phonesim.device.actions import SendHttp
from phonesim.device.events import Event, HttpFailed, HttpResponseReceived
from phonesim.device.outcome import ConnectFailure
from phonesim.drivers.failed_connections import tell_failure
from phonesim.drivers.phone_tasks import Spawn
from phonesim.drivers.trust import (
    PhoneTls,
    certificates_shown,
    check_server_name,
    connects_on,
    explain,
)
from phonesim.errors import DecodeError
from phonesim.wire.http import (
    CHALLENGE_HEADER,
    DIAGNOSTICS_HEADER,
    HttpResponse,
    WebDiagnostics,
    decode_answer,
    decode_diagnostics,
    encode_body,
    encode_request,
    encode_response,
    request_headers,
)
from phonesim.wire.http_token import decode_challenges
from phonesim.wire.pcapng import TransportAddress

BODY_LIMIT = 1024 * 1024
"""Octets of an answer that a phone reads before it gives up."""

IDLE_SECONDS = 5.0

_SUCCESS = range(200, 300)
_NO_TIMEOUT = aiohttp.ClientTimeout(total=None, sock_connect=None)


class HttpClient:
    """The exchanges of one phone; `deliver` takes one event for each, `spawn` begins a task.

    `tap` is told what is sent and received.
    """

    def __init__(
        self,
        port_offset: int,
        tls: PhoneTls,
        deliver: Callable[[Event], None],
        spawn: Spawn,
        tap: PhoneTap | None = None,
    ) -> None:
        self._tap = tap
        self._port_offset = port_offset
        self._tls = tls
        self._deliver = deliver
        self._spawn = spawn
        self._session: aiohttp.ClientSession | None = None
        self._peer: tuple[str, str, str] | None = None
        self._exchanges: set[asyncio.Task[None]] = set()
        self._closing: set[asyncio.Task[None]] = set()
        self._idle: asyncio.TimerHandle | None = None
        self._used = _LastUsed()

    def send(self, action: SendHttp) -> None:
        """Begin an exchange."""
        task = self._spawn(self._exchange(action))
        self._exchanges.add(task)
        task.add_done_callback(self._ended)

    def close(self) -> None:
        """End every exchange, without an event, and close the connections."""
        for task in self._exchanges:
            task.cancel()
        self._release()

    async def closed(self) -> None:
        """Wait until what `close` began is done."""
        await asyncio.gather(*self._exchanges, *self._closing, return_exceptions=True)

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._exchanges.discard(task)
        if not self._exchanges and self._session is not None and self._idle is None:
            self._idle = asyncio.get_running_loop().call_later(IDLE_SECONDS, self._release)

    def _release(self) -> None:
        if self._idle is not None:
            self._idle.cancel()
            self._idle = None
        self._used.transport = None
        session, self._session = self._session, None
        if session is not None:
            task = asyncio.get_running_loop().create_task(session.close())
            self._closing.add(task)
            task.add_done_callback(self._closing.discard)

    async def _exchange(self, action: SendHttp) -> None:
        told = None if self._tap is None else _ToldExchange(self._tap, action)
        event: Event
        try:
            async with asyncio.timeout(action.timeout):
                event = await self._request(action, told)
        except TimeoutError:
            event = _failed(
                action, ConnectFailure.TIMEOUT, f"no answer within {action.timeout:.0f} s"
            )
        except aiohttp.ClientConnectorError as error:
            event = _failed(action, *explain(error.__cause__ or error))
        except aiohttp.ServerDisconnectedError:
            event = _failed(action, ConnectFailure.CLOSED, "the server closed the connection")
        except (aiohttp.ClientResponseError, aiohttp.ClientPayloadError) as error:
            text = f"no HTTP answer: {getattr(error, 'message', '') or error}"
            event = _failed(action, ConnectFailure.MALFORMED, text)
        except (aiohttp.ClientError, OSError, ValueError) as error:
            event = _failed(action, *explain(error))
        if told is not None and isinstance(event, HttpFailed):
            told.failed(event.failure, self._tls.newest_version)
        self._deliver(event)

    async def _request(self, action: SendHttp, told: _ToldExchange | None) -> Event:
        request = action.request
        url = URL.build(
            scheme=request.scheme,
            host=action.address,
            port=request.port + self._port_offset,
            path=request.path,
        )
        ssl: SSLContext | bool = False
        if request.scheme == "https":
            check_server_name(request.host)
            ssl = self._tls.context(action.trust, action.clock)
        data, headers = encode_body(request.message), request_headers(request)
        if told is not None:
            told.request = encode_request(request.method, request.path, headers, data)
        _underway.set(_Underway(action, self._used, told))
        async with self._session_for(action).request(
            request.method,
            url,
            data=data or None,
            headers=headers,
            ssl=ssl,
            server_hostname=request.host if ssl else None,
            allow_redirects=False,
            skip_auto_headers=("User-Agent", "Accept", "Accept-Encoding"),
        ) as answer:
            body = await _read_body(answer)
            if told is not None and body is not None:
                told.answered(answer, body)
            return _read_answer(action, answer, body)

    def _session_for(self, action: SendHttp) -> aiohttp.ClientSession:
        if self._idle is not None:
            self._idle.cancel()
            self._idle = None
        peer = (action.source, action.address, action.request.host)
        if self._peer != peer:
            # A pooled connection is known by its address: another name needs another one.
            self._release()
            self._peer = peer
        if self._session is None:
            connector = _Connector(
                local_addr=(action.source, 0),
                limit=0,
                keepalive_timeout=IDLE_SECONDS,
                socket_factory=_make_socket,
            )
            self._session = aiohttp.ClientSession(
                connector=connector,
                cookie_jar=aiohttp.DummyCookieJar(),
                timeout=_NO_TIMEOUT,
            )
        return self._session


class _ToldExchange:
    """An exchange as a tap is told of it; `request` are the octets to be sent."""

    def __init__(self, tap: PhoneTap, action: SendHttp) -> None:
        self.request = b""
        self._tap = tap
        self._action = action
        self._local: TransportAddress | None = None
        self._peer = (action.address, action.request.port)

    def connected(self, local: TransportAddress) -> None:
        """The request goes from there."""
        self._local = local
        self._tap.sent_message("http", local, self._peer, self.request)

    def failed(self, failure: ConnectFailure, version: str) -> None:
        """There is none, or none that can be used."""
        if self._local is None:
            tell_failure(self._tap, self._action, failure, certificates_shown(), version)
        elif failure is ConnectFailure.CLOSED:
            self._tap.ended(self._local, self._peer)

    def answered(self, answer: aiohttp.ClientResponse, body: bytes) -> None:
        """The answer is there."""
        headers = [
            (name.decode("utf-8", "surrogateescape"), value.decode("utf-8", "surrogateescape"))
            for name, value in answer.raw_headers
        ]
        assert self._local is not None
        octets = encode_response(answer.status, answer.reason or "", headers, body)
        self._tap.received_message("http", self._local, self._peer, octets)


class _LastUsed:
    """The connection that a phone's last exchange went on."""

    exchange_id = 0
    transport: asyncio.Transport | None = None


class _Underway(NamedTuple):
    """What a task is about to send, and whom to tell where it goes."""

    action: SendHttp
    used: _LastUsed
    told: _ToldExchange | None


_underway: ContextVar[_Underway] = ContextVar("_underway")
"""The exchange of the current task."""


class _Connector(aiohttp.TCPConnector):
    """Knows which connection a request is about to go on: nobody else does."""

    async def connect(
        self,
        req: aiohttp.ClientRequest,
        traces: list[Trace],
        timeout: aiohttp.ClientTimeout,  # noqa: ASYNC109, the name is aiohttp's
    ) -> Connection:
        """Connect as aiohttp does, refuse another connection than the one that it must be, tell."""
        connection = await super().connect(req, traces, timeout)
        action, used, told = _underway.get()
        transport = connection.transport
        if action.continues is not None and (
            action.continues != used.exchange_id or transport is not used.transport
        ):
            connection.release()
            raise aiohttp.ServerDisconnectedError
        used.exchange_id, used.transport = action.exchange_id, transport
        if told is not None and transport is not None:
            told.connected(transport.get_extra_info("sockname")[:2])
        return connection


def _make_socket(address: aiohttp.AddrInfoType) -> socket.socket:
    family, kind, protocol, _, _ = address
    made = socket.socket(family, kind, protocol)
    connects_on(made)
    return made


async def _read_body(answer: aiohttp.ClientResponse) -> bytes | None:
    """The body; None if it is longer than `BODY_LIMIT`."""
    body = bytearray()
    async for chunk in answer.content.iter_any():
        body += chunk
        if len(body) > BODY_LIMIT:
            return None
    return bytes(body)


def _read_answer(action: SendHttp, answer: aiohttp.ClientResponse, body: bytes | None) -> Event:
    if body is None:
        text = f"the answer is longer than {BODY_LIMIT} octets"
        return _failed(action, ConnectFailure.MALFORMED, text)
    message = None
    try:
        challenges = decode_challenges(answer.headers.getall(CHALLENGE_HEADER, ()))
    except DecodeError as error:
        return _failed(action, ConnectFailure.MALFORMED, f"the answer is unusable: {error}")
    try:
        message = decode_answer(body)
    except DecodeError as error:
        if answer.status in _SUCCESS:
            return _failed(action, ConnectFailure.MALFORMED, f"the answer is unusable: {error}")
    return HttpResponseReceived(
        exchange_id=action.exchange_id,
        response=HttpResponse(
            status=answer.status,
            message=message,
            retry_after=_retry_after(answer.headers.get("Retry-After")),
            diagnostics=_diagnostics(answer.headers.get(DIAGNOSTICS_HEADER)),
            challenges=challenges,
        ),
    )


def _failed(action: SendHttp, failure: ConnectFailure, detail: str) -> HttpFailed:
    request = action.request
    return HttpFailed(
        exchange_id=action.exchange_id,
        failure=failure,
        detail=f"{request.host} ({action.address}:{request.port}): {detail}",
    )


def _diagnostics(value: str | None) -> WebDiagnostics | None:
    try:
        return None if value is None else decode_diagnostics(value)
    except DecodeError:
        return None


def _retry_after(value: str | None) -> int | None:
    """Seconds, from a Retry-After that gives them or a date (RFC 9110 section 10.2.3)."""
    if value is None:
        return None
    if value.isascii() and value.isdigit():
        return int(value)
    try:
        date = email.utils.parsedate_to_datetime(value)
    except (ValueError, OverflowError):
        return None
    if date.tzinfo is None:
        date = date.replace(tzinfo=datetime.UTC)
    return max(0, round((date - datetime.datetime.now(datetime.UTC)).total_seconds()))
