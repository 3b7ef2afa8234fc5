"""Connections that failed, as a capture is told of them: sockets say so without a packet."""

from __future__ import annotations

from phonesim.capture import PhoneTap, RefusedHandshake, alert_of, made_port
from phonesim.device.actions import OpenConnection, SendHttp
from phonesim.device.outcome import ConnectFailure

_BEFORE_TLS = frozenset(
    {ConnectFailure.TIMEOUT, ConnectFailure.UNREACHABLE, ConnectFailure.REFUSED}
)
_BY_SERVER = frozenset({ConnectFailure.TLS_VERSION_REFUSED, ConnectFailure.TLS_FAILED})


def tell_failure(
    tap: PhoneTap,
    action: SendHttp | OpenConnection,
    failure: ConnectFailure,
    shown: tuple[bytes, ...],
    version: str,
) -> None:
    """Tell a connection that did not come about.

    `shown` are the certificates that the server has shown (DER), `version` the newest TLS that
    the phone offers. Nothing is told where the phone did not even try.
    """
    if isinstance(action, SendHttp):
        number, port = action.exchange_id, action.request.port
        name, is_tls = action.request.host, action.request.scheme == "https"
    else:
        number, port = action.connection_id, action.port
        name, is_tls = action.server_name, action.transport == "tls"
    local, peer = (action.source, made_port(number)), (action.address, port)
    if failure in _BEFORE_TLS:
        tap.attempted(local, peer)
        if failure is ConnectFailure.REFUSED:
            tap.refused(local, peer)
    elif is_tls and (shown or failure in _BY_SERVER):
        tap.attempted(local, peer)
        handshake = RefusedHandshake(
            version=version,
            server_name=name,
            shown=shown,
            alert=alert_of(failure),
            by_phone=failure not in _BY_SERVER,
        )
        tap.refused_tls(local, peer, handshake)
