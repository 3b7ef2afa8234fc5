"""Connections of the virtual network: HTTP exchanges and SIP connections, plain and over TLS.

A connection loses nothing but needs its handshake first, and can be refused: by nobody
listening there, or by the phone, which checks the certificate that is shown (see
`virtual_authority`). After that it is a `Session`, until one side ends it.
"""

from __future__ import annotations

import msgspec

from phonesim.device import actions as do
from phonesim.device import events as on
from phonesim.device.outcome import ConnectFailure
from phonesim.mocksite import exchange as site_side
from phonesim.virtual_authority import certificate_refusal, refused_handshake
from phonesim.virtual_network import PhonePort, ServerPort, Session, VirtualNetwork

_NO_LISTENER = "no server listens there"
_CLOSED = "the server closed the connection"
_TLS_ROUND_TRIPS = 3


class _Refusal(msgspec.Struct, frozen=True, kw_only=True):
    """Why a phone gets no connection, `after` so many seconds."""

    failure: ConnectFailure
    detail: str
    after: float


class VirtualConnections:
    """What phones and servers have under way with each other; `epoch` is the run's begin (Unix)."""

    def __init__(self, network: VirtualNetwork, epoch: float) -> None:
        self._network = network
        self._time = network.time
        self._epoch = epoch
        self._last_number = 0
        self._streams: dict[int, Session] = {}
        self._exchanges: dict[int, Session] = {}

    # --- from a phone ---

    def send_http(self, phone: PhonePort, action: do.SendHttp) -> None:
        """Take a request to its server, over a new connection or an earlier exchange's."""
        request = action.request
        met = self._connect(
            phone, action, request.scheme, request.port, request.host, action.continues
        )
        if isinstance(met, _Refusal):
            detail = f"{request.host} ({action.address}:{request.port}): {met.detail}"
            failed = on.HttpFailed(
                exchange_id=action.exchange_id, failure=met.failure, detail=detail
            )
            self._time.after(met.after, phone.receive, failed)
            return
        server, round_trips = met
        self._network.sent(phone, action)
        exchange = self._begin(phone, action.exchange_id, server)
        number = exchange.server_number
        self._exchanges[number] = exchange
        phone.exchanges.add(number)
        first = action.exchange_id if action.continues is None else action.continues
        event = site_side.HttpReceived(
            exchange_id=number, request=request, peer=action.source, peer_port=_port(first)
        )
        arrives_at = self._time.now + round_trips + self._network.delay()
        self._time.at(arrives_at, server.receive, event)
        self._time.after(action.timeout, self._time_out, number, action.timeout)

    def open_connection(self, phone: PhonePort, action: do.OpenConnection) -> None:
        """Connect a phone to a Registrar."""
        protocol = "sips" if action.transport == "tls" else "sip"
        met = self._connect(phone, action, protocol, action.port, action.server_name)
        if isinstance(met, _Refusal):
            failed = on.ConnectionFailed(
                connection_id=action.connection_id,
                failure=met.failure,
                detail=f"{action.address}:{action.port}: {met.detail}",
            )
            self._time.after(met.after, phone.receive, failed)
            return
        server, round_trips = met
        self._network.sent(phone, action)
        stream = self._begin(phone, action.connection_id, server)
        number = stream.server_number
        self._streams[number] = phone.streams[action.connection_id] = stream
        local_port = _port(number)
        accepted = site_side.ConnectionAccepted(
            connection_id=number,
            peer=action.source,
            peer_port=local_port,
            transport=action.transport,
        )
        opened = on.ConnectionOpened(
            connection_id=action.connection_id,
            local_address=action.source,
            local_port=local_port,
        )
        self._time.after(round_trips, server.receive, accepted)
        self._time.after(round_trips, phone.receive, opened)

    def send_sip(self, phone: PhonePort, action: do.SendSip) -> None:
        """Take a message to the Registrar, if the connection is still there."""
        stream = phone.streams.get(action.connection_id)
        if stream is not None:
            self._network.sent(phone, action)
            event = site_side.SipReceived(
                connection_id=stream.server_number, message=action.message
            )
            self._to_server(stream, event)

    def keep_alive(self, phone: PhonePort, action: do.SendKeepAlive) -> None:
        """Take a keep-alive to the Registrar, if the connection is still there."""
        stream = phone.streams.get(action.connection_id)
        if stream is not None:
            self._network.sent(phone, action)
            self._to_server(stream, site_side.KeepAliveReceived(connection_id=stream.server_number))

    def close(self, phone: PhonePort, action: do.CloseConnection) -> None:
        """End a connection from the phone's side."""
        self._network.sent(phone, action)
        stream = phone.streams.get(action.connection_id)
        if stream is not None:
            self._lose(stream)

    def unplug(self, phone: PhonePort) -> None:
        """A phone is without power: its peers notice what they can."""
        for stream in list(phone.streams.values()):
            self._lose(stream)
        for number in phone.exchanges:
            del self._exchanges[number]
        phone.exchanges.clear()

    # --- from a server ---

    def answer_http(self, action: site_side.SendHttpResponse) -> None:
        """Take a response to the phone that asked, if it still waits."""
        exchange = self._end_exchange(action.exchange_id)
        if exchange is None:
            return
        number, phone = exchange.phone_number, exchange.phone
        phone.closed_exchange = number if action.response.closes else None
        answered = on.HttpResponseReceived(exchange_id=number, response=action.response)
        self._time.after(self._network.delay(), phone.receive, answered)

    def answer_sip(self, action: site_side.SendSipToClient) -> None:
        """Take a message to the phone, if the connection is still there."""
        stream = self._streams.get(action.connection_id)
        if stream is not None:
            event = on.SipMessageReceived(connection_id=stream.phone_number, message=action.message)
            self._time.after(self._network.latency, stream.phone.receive, event)

    def drop(self, action: site_side.CloseClientConnection) -> None:
        """End a connection from the server's side, if it is still there."""
        stream = self._streams.get(action.connection_id)
        if stream is not None:
            self._drop(stream)

    def close_ports(self, server: ServerPort) -> None:
        """A server goes down: all that it has under way ends, and nothing new begins."""
        server.is_down = True
        for stream in [each for each in self._streams.values() if each.server is server]:
            self._drop(stream)
            lost = site_side.ConnectionLost(connection_id=stream.server_number)
            self._time.after(0.0, server.receive, lost)
        for number in [each for each, its in self._exchanges.items() if its.server is server]:
            after = self._network.latency
            self._time.after(after, self._break_off, number, ConnectFailure.CLOSED, _CLOSED)

    # --- sessions ---

    def _connect(
        self,
        phone: PhonePort,
        action: do.SendHttp | do.OpenConnection,
        protocol: str,
        port: int,
        name: str,
        continues: int | None = None,
    ) -> tuple[ServerPort, float] | _Refusal:
        """Who answers, and how long the handshakes take; no time in a connection that is open."""
        found = self._network.listener(protocol, action.address, port)
        round_trips = 2 * self._network.delay()
        if found is None or found[1].is_down:
            self._attempted(phone, action)
            return _Refusal(failure=ConnectFailure.REFUSED, detail=_NO_LISTENER, after=round_trips)
        listener, server = found
        if continues is not None:
            if continues == phone.closed_exchange:
                return _Refusal(failure=ConnectFailure.CLOSED, detail=_CLOSED, after=0.0)
            return server, 0.0
        if protocol in ("https", "sips"):
            round_trips *= _TLS_ROUND_TRIPS
            version = phone.spec.profile.tls.maximum_version
            refused = certificate_refusal(
                listener, name, action.trust, action.clock, self._epoch, version
            )
            if refused is not None:
                failure, detail = refused
                # Without a chain of trust a phone does not even try.
                if action.trust is not None and failure is not ConnectFailure.CHAIN_UNUSABLE:
                    self._attempted(phone, action, (listener, name, failure))
                return _Refusal(failure=failure, detail=detail, after=round_trips)
        return server, round_trips

    def _attempted(
        self,
        phone: PhonePort,
        action: do.SendHttp | do.OpenConnection,
        refused: tuple[site_side.Listener, str, ConnectFailure] | None = None,
    ) -> None:
        """A phone tries in vain: it refuses that listener under that name, or there is none."""
        capture = self._network.capture
        if capture is None:
            return
        handshake = None
        if refused is not None:
            version = phone.spec.profile.tls.maximum_version
            handshake = refused_handshake(*refused, version, self._epoch)
        capture.attempted(phone.spec, action, handshake, self._time.now)

    def _begin(self, phone: PhonePort, number: int, server: ServerPort) -> Session:
        self._last_number += 1
        return Session(phone, number, server, self._last_number)

    def _to_server(self, stream: Session, event: site_side.ServerEvent) -> None:
        self._time.after(self._network.latency, stream.server.receive, event)

    def _end_exchange(self, number: int) -> Session | None:
        """An exchange is over, if it is still under way."""
        exchange = self._exchanges.pop(number, None)
        if exchange is not None:
            exchange.phone.exchanges.remove(number)
        return exchange

    def _time_out(self, number: int, timeout: float) -> None:
        self._break_off(number, ConnectFailure.TIMEOUT, f"no answer within {timeout:.0f} s")

    def _break_off(self, number: int, failure: ConnectFailure, detail: str) -> None:
        """End an exchange without an answer, if it is still under way."""
        exchange = self._end_exchange(number)
        if exchange is not None:
            exchange.phone.receive(
                on.HttpFailed(exchange_id=exchange.phone_number, failure=failure, detail=detail)
            )

    def _end_stream(self, stream: Session) -> None:
        self._streams.pop(stream.server_number, None)
        stream.phone.streams.pop(stream.phone_number, None)

    def _lose(self, stream: Session) -> None:
        """A phone is gone from a connection: its server notices."""
        self._end_stream(stream)
        self._to_server(stream, site_side.ConnectionLost(connection_id=stream.server_number))

    def _drop(self, stream: Session) -> None:
        """A server is gone from a connection: its phone notices."""
        self._end_stream(stream)
        closed = on.ConnectionClosed(
            connection_id=stream.phone_number, detail="closed by the server"
        )
        self._time.after(self._network.latency, stream.phone.receive, closed)


def _port(number: int) -> int:
    return 49152 + number % 16384
