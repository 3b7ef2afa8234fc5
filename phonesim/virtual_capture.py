"""Captures of the virtual world, where messages travel without octets, frames or ports.

What a phone sends and receives is encoded when it does so, as the worlds of sockets
would have sent it: a datagram that a link loses on its way to the phone is missing, one
that is lost on the way from it is there. Ports of the phone's own are made up, by rule: the
same run gives the same capture. What no codec can write is not shown, for no network could
have carried it.

Specifications: RFC 2131 section 4.1 (where a reply goes), RFC 1035 section 4.2.2.
"""

from __future__ import annotations

import contextlib
from collections.abc import Sequence

from phonesim.capture import Capture, PacketWriter, PhoneTap, RefusedHandshake, made_port
from phonesim.device import actions as do
from phonesim.device import events as on
from phonesim.device.outcome import ConnectFailure
from phonesim.mocksite.exchange import SendDhcpReply
from phonesim.wire.dhcp import (
    BROADCAST,
    CLIENT_PORT,
    SERVER_PORT,
    UNSPECIFIED,
    DhcpMessage,
    MessageType,
    encode_dhcp,
)
from phonesim.wire.dns import DNS_PORT, encode_query, encode_response
from phonesim.wire.http import encode_http_request, encode_http_response
from phonesim.wire.ntp import NTP_PORT, encode_ntp
from phonesim.wire.pcapng import TransportAddress
from phonesim.wire.sip import PING, encode_sip
from phonesim.world import PhoneSpec

_DATAGRAM_PORT = 49152

_Ends = tuple[TransportAddress, TransportAddress]


class VirtualCapture:
    """Tells `writers` what phones do and meet; `epoch` is the run's begin (Unix)."""

    def __init__(self, writers: Sequence[PacketWriter], epoch: float) -> None:
        self._epoch_ns = round(epoch * 1_000_000) * 1000
        self._now = 0.0
        self._capture = Capture(writers, self._time_ns, makes_frames=True)
        self._phones: dict[bytes, _Phone] = {}

    def sent(self, spec: PhoneSpec, action: do.Action, now: float) -> None:
        """A phone did this, and something on the network was there to take it."""
        phone = self._phone(spec, now)
        with contextlib.suppress(ValueError):
            phone.sent(action)

    def attempted(
        self,
        spec: PhoneSpec,
        action: do.SendHttp | do.OpenConnection,
        handshake: RefusedHandshake | None,
        now: float,
    ) -> None:
        """A phone tried to connect, which will fail: in a TLS handshake if there is one."""
        phone = self._phone(spec, now)
        phone.attempted(action, handshake)

    def ended(self, now: float) -> None:
        """The run is over."""
        self._now = now
        self._capture.end()

    def received(self, spec: PhoneSpec, event: on.Event, now: float) -> None:
        """A phone met this."""
        phone = self._phone(spec, now)
        with contextlib.suppress(ValueError):
            phone.received(event)

    def astray(self, spec: PhoneSpec, reply: SendDhcpReply, now: float) -> None:
        """A DHCP server answered a phone where it does not listen."""
        phone = self._phone(spec, now)
        with contextlib.suppress(ValueError):
            phone.missed(reply)

    def _phone(self, spec: PhoneSpec, now: float) -> _Phone:
        self._now = now
        phone = self._phones.get(spec.mac)
        if phone is None:
            tap = self._capture.tap(spec.phone_id, spec.mac)
            phone = self._phones[spec.mac] = _Phone(tap)
        return phone

    def _time_ns(self) -> int:
        return self._epoch_ns + round(self._now * 1_000_000) * 1000


class _Phone:
    """One phone's side of its exchanges: `address` is the one it used last."""

    __slots__ = ("_address", "_attempts", "_exchanges", "_streams", "_tap")

    def __init__(self, tap: PhoneTap) -> None:
        self._tap = tap
        self._address = UNSPECIFIED
        self._exchanges: dict[int, _Ends] = {}
        self._streams: dict[int, _Ends] = {}
        self._attempts: dict[tuple[str, int], tuple[_Ends, RefusedHandshake | None]] = {}

    def attempted(
        self, action: do.SendHttp | do.OpenConnection, handshake: RefusedHandshake | None
    ) -> None:
        if isinstance(action, do.SendHttp):
            key, port = ("http", action.exchange_id), action.request.port
        else:
            key, port = ("sip", action.connection_id), action.port
        ends = ((action.source, made_port(key[1])), (action.address, port))
        self._attempts[key] = (ends, handshake)
        self._tap.attempted(*ends)

    def _failed(self, protocol: str, number: int, ends: _Ends | None, failure: str) -> None:
        """What was seen of it when an attempt failed, or the connection of `ends` ended."""
        attempt = self._attempts.pop((protocol, number), None)
        if attempt is None:
            if ends is not None and failure == ConnectFailure.CLOSED:
                self._tap.ended(*ends)
        elif attempt[1] is not None:
            self._tap.refused_tls(*attempt[0], attempt[1])
        elif failure == ConnectFailure.REFUSED:
            self._tap.refused(*attempt[0])

    def sent(self, action: do.Action) -> None:
        tap = self._tap
        match action:
            case do.SendDhcp():
                local, peer = (action.source, CLIENT_PORT), (action.destination, SERVER_PORT)
                tap.sent_datagram(local, peer, encode_dhcp(action.message))
            case do.SendDns():
                self._address = action.source
                local, peer = (action.source, _DATAGRAM_PORT), (action.server, DNS_PORT)
                query = encode_query(action.query)
                if action.over_tcp:
                    tap.sent_message("dns", local, peer, _with_size(query))
                else:
                    tap.sent_datagram(local, peer, query)
            case do.SendNtp():
                self._address = action.source
                local, peer = (action.source, _DATAGRAM_PORT), (action.server, NTP_PORT)
                tap.sent_datagram(local, peer, encode_ntp(action.packet))
            case do.SendHttp():
                first = action.exchange_id if action.continues is None else action.continues
                local = (action.source, made_port(first))
                peer = (action.address, action.request.port)
                self._exchanges[action.exchange_id] = (local, peer)
                tap.sent_message("http", local, peer, encode_http_request(action.request))
            case do.OpenConnection():
                local = (action.source, made_port(action.connection_id))
                self._streams[action.connection_id] = (local, (action.address, action.port))
            case do.SendSip():
                self._send(action.connection_id, encode_sip(action.message))
            case do.SendKeepAlive():
                self._send(action.connection_id, PING)
            case do.AdvertiseLldp():
                tap.advertised(action.unit)
            case do.JoinVlan():
                tap.joined_vlan(action.vlan_id)
            case do.AnnounceAddress():
                tap.announced(action.address)
            case do.CloseConnection():
                self._streams.pop(action.connection_id, None)
            case _:
                pass

    def received(self, event: on.Event) -> None:
        tap = self._tap
        match event:
            case on.DhcpMessageReceived(message=message):
                local = (_destination(message), CLIENT_PORT)
                tap.received_datagram(local, (event.source, SERVER_PORT), encode_dhcp(message))
            case on.DnsResponseReceived():
                local, peer = (self._address, _DATAGRAM_PORT), (event.server, DNS_PORT)
                answer = encode_response(event.response)
                if event.over_tcp:
                    tap.received_message("dns", local, peer, _with_size(answer))
                else:
                    tap.received_datagram(local, peer, answer)
            case on.NtpPacketReceived():
                local, peer = (self._address, _DATAGRAM_PORT), (event.server, NTP_PORT)
                tap.received_datagram(local, peer, encode_ntp(event.packet))
            case on.LldpReceived():
                tap.heard_lldp(event.unit)
            case on.HttpResponseReceived():
                ends = self._exchanges.pop(event.exchange_id, None)
                if ends is not None:
                    tap.received_message("http", *ends, encode_http_response(event.response))
            case on.HttpFailed():
                ends = self._exchanges.pop(event.exchange_id, None)
                self._failed("http", event.exchange_id, ends, event.failure)
            case on.ConnectionOpened():
                ends = self._streams.get(event.connection_id)
                if ends is not None:
                    local = (event.local_address, event.local_port)
                    self._streams[event.connection_id] = (local, ends[1])
            case on.SipMessageReceived():
                ends = self._streams.get(event.connection_id)
                if ends is not None:
                    tap.received_message("sip", *ends, encode_sip(event.message))
            case on.ConnectionFailed():
                ends = self._streams.pop(event.connection_id, None)
                self._failed("sip", event.connection_id, ends, event.failure)
            case on.ConnectionClosed():
                ends = self._streams.pop(event.connection_id, None)
                self._failed("sip", event.connection_id, ends, ConnectFailure.CLOSED)
            case on.AddressProbed():
                tap.probed(event.address, event.conflict)
            case on.PowerApplied():
                self._exchanges.clear()
                self._streams.clear()
                self._attempts.clear()
            case _:
                pass

    def missed(self, reply: SendDhcpReply) -> None:
        ends = (reply.destination, reply.port), (reply.source, SERVER_PORT)
        self._tap.received_datagram(*ends, encode_dhcp(reply.message))

    def _send(self, connection_id: int, octets: bytes) -> None:
        ends = self._streams.get(connection_id)
        if ends is not None:
            self._tap.sent_message("sip", *ends, octets)


def _destination(message: DhcpMessage) -> str:
    """Where a server sends a reply, so far as the reply tells."""
    if message.message_type is MessageType.NAK or (
        message.is_broadcast and message.ciaddr == UNSPECIFIED
    ):
        return BROADCAST
    return message.yiaddr if message.ciaddr == UNSPECIFIED else message.ciaddr


def _with_size(message: bytes) -> bytes:
    return len(message).to_bytes(2, "big") + message
