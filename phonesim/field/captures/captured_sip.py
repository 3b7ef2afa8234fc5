"""The SIP of one phone in a capture, as its log would tell it.

Where SIP went through TLS, only captures of phonesim's own have its messages.

Specifications: RFC 3261 section 10, [MS-SIPREGE], sign-in reference sections 11 to 20.
"""

from __future__ import annotations

import re

from phonesim.device import device_log as log
from phonesim.device.register_messages import read_redirect
from phonesim.errors import DecodeError
from phonesim.field.captures.captured_seen import Seen, Told
from phonesim.field.captures.known_hosts import KnownHosts
from phonesim.wire.pcapng import TransportAddress
from phonesim.wire.registration_event import deregistration_of
from phonesim.wire.sip import (
    Credentials,
    SipMessage,
    SipRequest,
    SipResponse,
    decode_sip,
    header,
)
from phonesim.wire.sip_server import diagnostics_of
from phonesim.wire.sipae import read_authorization, read_offer
from phonesim.wire.tls_records import describe_flight

ANSWER_WAIT = 20.0
"""Seconds after which a REGISTER that has no answer counts as unanswered."""
_PRESENCE_STATE = re.compile(r'(?:^|;)\s*([a-z\-]+)="?([A-Za-z\-]+)"?')
_CERTIFICATE_SCHEME = "TLS-DSK"


class SipNarrator:
    """Tells the registrations of one phone; `hosts` knows the names of servers."""

    def __init__(self, hosts: KnownHosts) -> None:
        self._hosts = hosts
        self._asked: tuple[SipRequest, TransportAddress, Seen] | None = None
        self._offers: tuple[str, TransportAddress, Seen] | None = None

    def name(self, server: TransportAddress) -> str:
        """What the log calls that Registrar."""
        return f"{self._hosts.name(server[0])}:{server[1]}"

    def sent(self, octets: bytes, server: TransportAddress, seen: Seen) -> list[Told]:
        """Tell a message of the phone."""
        message = _decode(octets)
        if message is None:
            return []
        if isinstance(message, DecodeError):
            return [Told(log.MALFORMED("sip", "phone", len(octets), str(message)), seen)]
        if not isinstance(message, SipRequest):
            return []
        if message.method == "SUBSCRIBE":
            event = header(message, "Event") or ""
            sent = log.SUBSCRIBE_SENT(self.name(server), event, message.cseq, message.expires or 0)
            return [Told(sent, seen)]
        if message.method != "REGISTER":
            return []
        told: list[Told] = []
        scheme = message.credentials[0].scheme if message.credentials else ""
        for credentials in message.credentials:
            told += self._authorized(credentials, seen)
        self._asked = (message, server, seen)
        self._offers = None
        name, expires = self.name(server), message.expires or 0
        return [*told, Told(log.REGISTER_SENT(name, message.cseq, expires, scheme), seen)]

    def received(self, octets: bytes, server: TransportAddress, seen: Seen) -> list[Told]:
        """Tell a message to the phone."""
        message = _decode(octets)
        if message is None:
            return []
        if isinstance(message, DecodeError):
            return [Told(log.MALFORMED("sip", server[0], len(octets), str(message)), seen)]
        diagnostics = diagnostics_of(message)
        text = "" if diagnostics is None else diagnostics.text
        if isinstance(message, SipRequest):
            event = deregistration_of(message)
            if event is None:
                return []
            return [Told(log.DEREGISTERED(self.name(server), event, text), seen)]
        if message.cseq_method == "SUBSCRIBE":
            answer = log.SUBSCRIBE_ANSWER(message.status, message.reason, message.cseq, text)
            return [Told(answer, seen)]
        if message.cseq_method != "REGISTER":
            return []
        asked, self._asked = self._asked, None
        if message.status == 200:
            return self._accepted(message, None if asked is None else asked[0], server, seen)
        answer = log.REGISTER_ANSWER(message.status, message.reason, message.cseq, text)
        told = [Told(answer, seen)]
        if message.status in (401, 407):
            told += self._challenged(message, server, seen)
        elif 300 <= message.status < 400:
            targets, _ = read_redirect(message, "")
            names = "+".join(each.name for each in targets)
            told.append(Told(log.REGISTRAR_REDIRECTED(self.name(server), names), seen))
        return told

    def failed(self, server: TransportAddress, failure: str, seen: Seen) -> Told:
        """Tell that a connection did not come about or ended."""
        self._asked = None
        detail = f"{server[0]}:{server[1]}: {failure}"
        return Told(log.REGISTRAR_FAILED(self.name(server), failure, detail), seen)

    def awaits(self, server: TransportAddress) -> bool:
        """Whether a REGISTER to that server has no answer yet."""
        return self._asked is not None and self._asked[1] == server

    def silence(self, now: float) -> list[Told]:
        """Tell what nobody has answered, and what the phone had no answer to."""
        told = []
        if self._asked is not None and now - self._asked[2].at >= ANSWER_WAIT:
            _, server, last = self._asked
            seen = Seen(last.number, last.at, f"nobody answers {last.text}")
            told.append(self.failed(server, "timeout", seen))
        if self._offers is not None and now - self._offers[2].at >= ANSWER_WAIT:
            offers, server, seen = self._offers
            self._offers = None
            detail = f"it offers {offers}, the phone wants {_CERTIFICATE_SCHEME}"
            failed = log.REGISTRAR_FAILED(
                self.name(server), "registration-no-common-scheme", detail
            )
            told.append(Told(failed, seen))
        return told

    def _accepted(
        self,
        response: SipResponse,
        request: SipRequest | None,
        server: TransportAddress,
        seen: Seen,
    ) -> list[Told]:
        if request is not None and request.expires == 0:
            answer = log.REGISTER_ANSWER(200, response.reason, response.cseq, "")
            return [Told(answer, seen)]
        own = [each.uri for each in ([] if request is None else request.contacts)]
        expires = response.expires or 0
        for contact in response.contacts:
            if contact.expires is not None and (contact.uri in own or not expires):
                expires = contact.expires
        presence = dict(_PRESENCE_STATE.findall(header(response, "presence-state") or ""))
        registered = log.REGISTERED(
            self.name(server), response.sender.uri, expires, presence.get("register-action", "")
        )
        return [Told(registered, seen)]

    def _challenged(
        self, response: SipResponse, server: TransportAddress, seen: Seen
    ) -> list[Told]:
        told = []
        offers = []
        for challenge in response.challenges:
            offers.append(challenge.scheme)
            try:
                offer = read_offer(challenge)
            except DecodeError as error:
                told.append(Told(log.SIP_IGNORED(str(error)), seen))
                continue
            if offer is not None and offer.gssapi_data is not None:
                received = log.HANDSHAKE_RECEIVED(
                    offer.scheme, len(offer.gssapi_data), _described(offer.gssapi_data)
                )
                told.append(Told(received, seen))
        if _CERTIFICATE_SCHEME not in map(str.upper, offers):
            self._offers = (", ".join(offers) or "no scheme", server, seen)
        return told

    def _authorized(self, credentials: Credentials, seen: Seen) -> list[Told]:
        try:
            given = read_authorization(credentials)
        except DecodeError as error:
            return [Told(log.SIP_IGNORED(str(error)), seen)]
        if given is None or given.gssapi_data is None:
            return []
        sent = log.HANDSHAKE_SENT(
            given.scheme, len(given.gssapi_data), _described(given.gssapi_data)
        )
        return [Told(sent, seen)]


def _decode(octets: bytes) -> SipMessage | DecodeError | None:
    """A message; None for a keep-alive."""
    if not octets.strip(b"\r\n"):
        return None
    try:
        return decode_sip(octets)
    except DecodeError as error:
        return error


def _described(octets: bytes) -> str:
    try:
        return describe_flight(octets)
    except DecodeError:
        return "token" if octets else "nothing"
