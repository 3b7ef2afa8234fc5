"""One TCP connection of a phone in a capture: whether it came about, and what it carried.

DNS, plain HTTP and SIP are read; of TLS the handshake is.

Specifications: RFC 1035 section 4.2.2 (DNS over TCP).
"""

from __future__ import annotations

import contextlib

from phonesim.device import device_log as log
from phonesim.errors import DecodeError
from phonesim.field.captures.captured_names import DnsNarrator
from phonesim.field.captures.captured_seen import Seen, Told, shown
from phonesim.field.captures.captured_sip import SipNarrator
from phonesim.field.captures.captured_streams import SILENCE
from phonesim.field.captures.captured_tls import TlsNarrator
from phonesim.field.captures.captured_web import WebNarrator
from phonesim.field.captures.captured_words import dns_words
from phonesim.field.captures.known_hosts import KnownHosts
from phonesim.wire.dns import DNS_PORT
from phonesim.wire.http_stream import HttpMessage, HttpStream
from phonesim.wire.pcapng import TransportAddress
from phonesim.wire.sip import SIP_PORT, SipStream

_TLS_BEGINS = (b"\x16\x03", b"\x15\x03")


class ConnectionNarrator:
    """Tells one connection, with the narrators of what it may carry."""

    def __init__(
        self,
        client: TransportAddress,
        server: TransportAddress,
        hosts: KnownHosts,
        dns: DnsNarrator,
        web: WebNarrator,
        sip: SipNarrator,
    ) -> None:
        self.client = client
        self.server = server
        self.is_registrar = hosts.is_registrar(*server)
        self.is_resolver = server[1] == DNS_PORT
        self._dns = dns
        self._web = web
        self._sip = sip
        self._opening: Seen | None = None
        self._tls: TlsNarrator | None = None
        self._http: tuple[HttpStream, HttpStream] | None = None
        self._cutters: tuple[SipStream, SipStream] | None = None
        self._queries, self._answers = bytearray(), bytearray()
        self._messages: list[bytes] = []
        self._is_connected = False
        self._has_failed = False
        self._has_messages = False

    @property
    def server_text(self) -> str:
        """The server, as sightings of connections call it."""
        return f"{self.server[0]}:{self.server[1]}"

    def opening(self, seen: Seen) -> list[Told]:
        """The phone wants the connection."""
        self._opening = seen
        return self.connecting(seen)

    def connecting(self, seen: Seen) -> list[Told]:
        """Tell that the phone turns to a Registrar, if it is one."""
        if not self.is_registrar:
            return []
        transport = "tcp" if self.server[1] == SIP_PORT else "tls"
        name = self._sip.name(self.server)
        return [Told(log.REGISTRAR_CONNECTING(name, self.server[0], transport, ""), seen)]

    def opened(self, seen: Seen) -> list[Told]:
        """The server takes it."""
        self._opening = None
        return []

    def repeated(self, seen: Seen) -> None:
        """The phone asks again."""
        self._opening = seen

    def refused(self, seen: Seen) -> list[Told]:
        """The server refuses it."""
        self._opening = None
        return self._fail("refused", seen)

    def silence(self, now: float) -> list[Told]:
        """Nobody answers, if it is so."""
        last = self._opening
        if last is None or now - last.at < SILENCE:
            return []
        self._opening = None
        return self._fail("timeout", Seen(last.number, last.at, f"nobody answers {last.text}"))

    def ended(self, seen: Seen, *, by_client: bool) -> list[Told]:
        """A side has ended it."""
        self._opening = None
        told: list[Told] = []
        if self._http is not None and not by_client:
            told += [
                each
                for message in self._http[1].end()
                for each in self._web.received(message, self.client, self.server, seen)
            ]
        is_waited_for = (
            self._web.awaits(self.client, self.server)
            or (self.is_registrar and self._sip.awaits(self.server))
            or (self._tls is not None and not self._is_connected)
        )
        if not by_client and is_waited_for:
            told += self._fail("closed", seen)
        return told

    def octets(self, octets: bytes, seen: Seen, *, by_client: bool) -> list[Told]:
        """A direction's next octets."""
        self._opening = None
        if self.is_resolver:
            return self._resolve(octets, seen, by_client=by_client)
        if self._tls is None and self._http is None and self._cutters is None:
            self._begin(octets)
        try:
            if self._tls is not None:
                return self._handshake(octets, seen, by_client=by_client)
            if self._http is not None:
                return [
                    each
                    for message in self._http[0 if by_client else 1].feed(octets)
                    for each in self._http_told(message, "http", seen, by_client=by_client)
                ]
            if self._cutters is not None:
                return self._cut(octets, seen, by_client=by_client)
        except DecodeError as error:
            protocol = "http" if self._http is not None else "sip"
            source = "phone" if by_client else self.server[0]
            self._http = self._cutters = None
            return [Told(log.MALFORMED(protocol, source, len(octets), str(error)), seen)]
        return []

    def tls(self, octets: bytes, seen: Seen, *, by_client: bool) -> list[Told]:
        """TLS records that stand alone."""
        self._opening = None
        if self._tls is None:
            self._tls = TlsNarrator(self.server_text)
        return self._handshake(octets, seen, by_client=by_client)

    def http(self, message: HttpMessage, scheme: str, seen: Seen, *, by_client: bool) -> list[Told]:
        """A whole message of HTTP that stands alone, unless its stream was seen as well."""
        self._opening = None
        if self._http is not None:
            return []
        self._has_messages = True
        return self._http_told(message, scheme, seen, by_client=by_client)

    def _http_told(
        self, message: HttpMessage, scheme: str, seen: Seen, *, by_client: bool
    ) -> list[Told]:
        if by_client:
            return self._web.sent(message, self.client, self.server, scheme, seen)
        return self._web.received(message, self.client, self.server, seen)

    def sip(self, octets: bytes, seen: Seen, *, by_client: bool) -> list[Told]:
        """A whole message of SIP that stands alone, unless its stream was seen as well."""
        self._opening = None
        if self._cutters is not None:
            return []
        self._has_messages = True
        return self._sip_told(octets, seen, by_client=by_client)

    def _sip_told(self, octets: bytes, seen: Seen, *, by_client: bool) -> list[Told]:
        told = self._connected(seen)
        narrator = self._sip
        return told + (
            narrator.sent(octets, self.server, seen)
            if by_client
            else narrator.received(octets, self.server, seen)
        )

    def _begin(self, octets: bytes) -> None:
        if octets[:2] in _TLS_BEGINS:
            self._tls = TlsNarrator(self.server_text)
        elif self._has_messages:
            return  # they tell the same
        elif self.is_registrar:
            take = self._messages.append
            self._cutters = SipStream(take), SipStream(take)
        elif octets[:1].isalpha():
            self._http = HttpStream(), HttpStream()

    def _resolve(self, octets: bytes, seen: Seen, *, by_client: bool) -> list[Told]:
        waiting = self._queries if by_client else self._answers
        tell = self._dns.sent if by_client else self._dns.received
        ends = (self.client, self.server) if by_client else (self.server, self.client)
        waiting += octets
        told: list[Told] = []
        while len(waiting) >= 2 and len(waiting) >= 2 + (waiting[0] << 8 | waiting[1]):
            end = 2 + (waiting[0] << 8 | waiting[1])
            message = bytes(waiting[2:end])
            del waiting[:end]
            whole = Seen(seen.number, seen.at, dns_words(message, ends))
            told += tell(message, self.server[0], "tcp", whole)
        return told

    def _handshake(self, octets: bytes, seen: Seen, *, by_client: bool) -> list[Told]:
        tls = self._tls
        assert tls is not None
        told = tls.take(octets, seen, by_client=by_client)
        if tls.failure:
            told += self._fail(tls.failure, seen)
        elif tls.is_encrypted:
            told += self._connected(seen)
        return told

    def _cut(self, octets: bytes, seen: Seen, *, by_client: bool) -> list[Told]:
        assert self._cutters is not None
        self._messages.clear()
        cutter = self._cutters[0 if by_client else 1]
        is_more = True
        while is_more and not cutter.framing_lost:
            with contextlib.suppress(DecodeError):  # what is no SIP was seen as well
                is_more = bool(cutter.feed(octets))
            octets = b""
        if cutter.framing_lost:
            self._cutters = None
        return [
            each
            for message in list(self._messages)
            for each in self._sip_told(message, seen, by_client=by_client)
        ]

    def _connected(self, seen: Seen) -> list[Told]:
        if self._is_connected:
            return []
        self._is_connected = True
        if not self.is_registrar:
            return []
        local = f"{self.client[0]}:{self.client[1]}"
        return [Told(log.REGISTRAR_CONNECTED(self._sip.name(self.server), local), seen)]

    def _fail(self, failure: str, seen: Seen) -> list[Told]:
        if self._has_failed or self.is_resolver:  # DNS without an answer says the same
            return []
        self._has_failed = True
        told = [Told(shown("connect_failed", self.server_text, failure), seen)]
        if self.is_registrar:
            told.append(self._sip.failed(self.server, failure, seen))
        else:
            told.append(self._web.failed(self.client, self.server, failure, seen))
        return told
