"""The mock site's web services, over aiohttp's low-level server.

Only a GET and a POST of a SOAP request reach the server's machine. Anything else is
answered here (405, 413, 400) and told to the machine as malformed.

Specifications: RFC 9110, RFC 9112; SOAP 1.1 section 6.
"""

from __future__ import annotations

import asyncio
import logging
import ssl
from collections.abc import Callable
from typing import Any

import aiohttp
from aiohttp import web
from aiohttp.http_exceptions import HttpProcessingError
from multidict import CIMultiDict

from phonesim.drivers.server_host import ServerHost
from phonesim.drivers.stream_port import StreamPort
from phonesim.errors import DecodeError
from phonesim.mocksite.exchange import HttpReceived, Listener, MalformedArrived, SendHttpResponse
from phonesim.wire.http import (
    AUTHORIZATION_HEADER,
    HttpRequest,
    HttpResponse,
    WebMessage,
    encode_body,
    response_headers,
)
from phonesim.wire.http_token import HttpToken, decode_token
from phonesim.wire.soap import decode_soap_request
from phonesim.wire.web_services_metadata import GetMetadata

BODY_LIMIT = 256 * 1024
"""Octets of a request that the server reads."""

BODY_SECONDS = 30.0
"""How long the server waits for the rest of a request."""

REASON_LIMIT = 200
"""Characters of what is told of octets that are no HTTP."""

_CLOSE_SECONDS = 0.01  # 0 would wait for ever
_XML = "text/xml"


class WebPort:
    """One HTTP or HTTPS port of a web server."""

    def __init__(
        self, listener: Listener, host: ServerHost, failed: Callable[[Exception], None]
    ) -> None:
        self._listener = listener
        self._host = host
        self._server = web.Server(
            self._answer,
            handler_cancellation=True,
            auto_decompress=False,  # a small body can be a large one packed; phones pack none
            access_log=None,
            logger=_Complaints(host, failed),
        )
        self._port: StreamPort | None = None

    async def start(self, port_offset: int, context: ssl.SSLContext | None) -> None:
        """Listen; OSError if the port is taken."""
        address = (self._listener.address, self._listener.port + port_offset)
        self._port = StreamPort(self._server, address, context, self._host.broke)
        await self._port.open()
        self._host.ports.streams.append(self)

    async def close(self) -> None:
        """Close the port and its connections."""
        self.go_down()
        await self._server.shutdown(_CLOSE_SECONDS)

    def go_down(self) -> None:
        """Close the port and drop its connections; what they asked is not answered."""
        if self._port is not None:
            self._port.close()
        for connection in self._server.connections:
            if connection.transport is not None:
                connection.transport.abort()

    def come_back(self) -> None:
        """Listen again."""
        if self._port is not None:
            self._port.open_again()

    async def _answer(self, request: web.BaseRequest) -> web.StreamResponse:
        peer = request.remote or "unknown"
        if request.method not in {"GET", "POST"}:
            self._refused(peer, f"{request.method} {request.path}: only GET and POST are served")
            return web.Response(status=405, headers={"Allow": "GET, POST"})
        try:
            async with asyncio.timeout(BODY_SECONDS):
                body = await _read_body(request)
        except TimeoutError:
            self._refused(peer, f"a body that is not there after {BODY_SECONDS:.0f} s")
            return web.Response(status=408)
        except aiohttp.ClientPayloadError as error:
            self._refused(peer, f"a body that ends too early: {error}")
            return web.Response(status=400)
        if body is None:
            self._refused(peer, f"a body of more than {BODY_LIMIT} octets")
            return web.Response(status=413)
        try:
            authorization = _authorization(request)
            message = _message(request, body)
        except DecodeError as error:
            self._refused(peer, str(error))
            return web.Response(status=400, text=f"{error}\n")
        exchange_id = self._host.new_id()
        answer = asyncio.get_running_loop().create_future()
        exchanges = self._host.ports.exchanges
        exchanges[exchange_id] = answer
        try:
            self._host.deliver(
                HttpReceived(
                    exchange_id=exchange_id,
                    request=HttpRequest(
                        scheme=self._listener.protocol,
                        host=(request.headers.get("Host") or "").partition(":")[0],
                        port=self._listener.port,
                        path=request.path,
                        message=message,
                        authorization=authorization,
                    ),
                    peer=peer,
                    peer_port=_port_of(request),
                )
            )
            action: SendHttpResponse = await answer
        finally:
            exchanges.pop(exchange_id, None)
        answered = _response(action.response)
        if action.response.closes:
            answered.force_close()
        return answered

    def _refused(self, peer: str, reason: str) -> None:
        self._host.deliver(MalformedArrived(protocol="http", source=peer, reason=reason))


def _authorization(request: web.BaseRequest) -> HttpToken | None:
    value = request.headers.get(AUTHORIZATION_HEADER)
    return None if value is None else decode_token(value)


def _message(request: web.BaseRequest, body: bytes) -> WebMessage | None:
    if request.method == "GET":
        return GetMetadata()
    return decode_soap_request(body) if body else None


def _port_of(request: web.BaseRequest) -> int:
    name = request.get_extra_info("peername")
    return 0 if name is None else int(name[1])


async def _read_body(request: web.BaseRequest) -> bytes | None:
    """The body; None if it is longer than `BODY_LIMIT`."""
    body = bytearray()
    async for chunk in request.content.iter_any():
        body += chunk
        if len(body) > BODY_LIMIT:
            return None
    return bytes(body)


def _response(response: HttpResponse) -> web.Response:
    headers = CIMultiDict(response_headers(response))
    if response.diagnostics is not None:
        headers["X-MS-Server-Fqdn"] = response.diagnostics.source
    if response.message is None:
        text = f"<html><body>{response.status}</body></html>\n"
        return web.Response(
            status=response.status, headers=headers, text=text, content_type="text/html"
        )
    return web.Response(
        status=response.status,
        headers=headers,
        body=encode_body(response.message),
        content_type=_XML,
        charset="utf-8",
    )


def _one_line(message: str) -> str:
    """What aiohttp says of octets that are no HTTP: it quotes them all, on lines of their own."""
    line = " ".join(message.split())
    return line if len(line) <= REASON_LIMIT else line[:REASON_LIMIT] + "..."


class _Complaints(logging.Logger):
    """Takes what aiohttp would log: octets that are no HTTP, or a handler that raised."""

    def __init__(self, host: ServerHost, failed: Callable[[Exception], None]) -> None:
        super().__init__("phonesim.site_http")
        self._host = host
        self._complain = failed

    def exception(self, msg: object, *args: Any, exc_info: Any = None, **_: Any) -> None:
        if isinstance(exc_info, HttpProcessingError):
            source = str(args[0]) if args else "unknown"
            self._host.deliver(
                MalformedArrived(protocol="http", source=source, reason=_one_line(exc_info.message))
            )
        elif isinstance(exc_info, Exception):
            self._complain(exc_info)

    debug = exception
