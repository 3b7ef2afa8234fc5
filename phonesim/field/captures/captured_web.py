"""The web services of one phone in a capture, as its log would tell it.

What went through TLS is here only in captures of phonesim's own, which hold such messages in
the clear.

Specifications: sign-in reference sections 2 to 9.
"""

from __future__ import annotations

import re

from phonesim.device import device_log as log
from phonesim.device.web_exchange import describe, describe_response
from phonesim.errors import DecodeError
from phonesim.field.captures.captured_certificates import read_chain
from phonesim.field.captures.captured_seen import Seen, Told, shown
from phonesim.field.captures.known_hosts import KnownHosts
from phonesim.wire import soap_names as ns
from phonesim.wire.cert_provisioning import (
    ROOT_CHAINS_ACTION,
    GetAndPublishCertResponse,
    GetRootCertChainsResponse,
)
from phonesim.wire.http import (
    CHALLENGE_HEADER,
    DIAGNOSTICS_HEADER,
    HttpResponse,
    WebAnswer,
    decode_answer,
    decode_diagnostics,
)
from phonesim.wire.http_stream import HttpMessage
from phonesim.wire.http_token import decode_challenges
from phonesim.wire.pcapng import TransportAddress
from phonesim.wire.soap_envelope import SoapFault
from phonesim.wire.web_services_metadata import ServiceMetadata
from phonesim.wire.web_ticket import RequestSecurityTokenResponse

ANSWER_WAIT = 25.0
"""Seconds after which a request that has no answer counts as unanswered."""
_MOST_OPEN = 32
_OPERATIONS = {
    ROOT_CHAINS_ACTION: "GetRootCertChains",
    ns.ISSUE_ACTION: "RequestSecurityToken",
    ns.PUBLISH_ACTION: "GetAndPublishCert",
}
_STANDARD_PORTS = {"http": 80, "https": 443}
_MASKED = re.compile(rb"(<(?:[\w.-]+:)?BinarySecret(?:\s[^>]*)?>)(\*+)(?=</)")


class _Asked:
    __slots__ = ("operation", "seen", "url", "user")

    def __init__(self, operation: str, url: str, user: str, seen: Seen) -> None:
        self.operation = operation
        self.url = url
        self.user = user
        self.seen = seen


class WebNarrator:
    """Tells the HTTP exchanges of one phone; `hosts` knows the names of servers."""

    def __init__(self, hosts: KnownHosts) -> None:
        self._hosts = hosts
        self._open: dict[tuple[TransportAddress, TransportAddress], _Asked] = {}
        self._last = ("", "", 0)  # operation, url, attempt
        self._user = ""

    def sent(
        self,
        message: HttpMessage,
        client: TransportAddress,
        server: TransportAddress,
        scheme: str,
        seen: Seen,
    ) -> list[Told]:
        """Tell a request."""
        method, _, rest = message.first.partition(" ")
        action = message.header("SOAPAction").strip('"')
        known = "GetMetadata" if method == "GET" else "RequestSecurityToken"
        operation = _OPERATIONS.get(action, known)
        host = message.header("Host").partition(":")[0].lower() or self._hosts.name(server[0])
        url = f"{scheme}://{host}:{server[1]}{rest.rpartition(' ')[0]}"
        attempt = self._last[2] + 1 if self._last[:2] == (operation, url) else 1
        self._last = (operation, url, attempt)
        if len(self._open) >= _MOST_OPEN:
            self._open.clear()
        self._open[client, server] = _Asked(operation, url, self._user, seen)
        return [Told(log.HTTP_SENT(operation, url, server[0], attempt), seen)]

    def received(
        self, message: HttpMessage, client: TransportAddress, server: TransportAddress, seen: Seen
    ) -> list[Told]:
        """Tell an answer."""
        asked = self._open.pop((client, server), None)
        if asked is None:
            return [Told(log.HTTP_IGNORED(f"{message.status} answers no open request"), seen)]
        try:
            response = _read_answer(message)
        except DecodeError as error:
            return [Told(log.HTTP_FAILED(asked.operation, "malformed", str(error)), seen)]
        if message.status == 200:
            self._last = ("", "", 0)
        said = response.diagnostics
        told = []
        if response.status != 200:
            answer = log.HTTP_ANSWER(asked.operation, response.status, describe_response(response))
            told.append(Told(answer, seen))
        if said is not None:
            diagnostics = log.WEB_DIAGNOSTICS(
                said.error_id, said.source, said.faultcode, said.reason
            )
            told.append(Told(diagnostics, seen))
        match response.message:
            case SoapFault() as fault:
                text = fault.error_reason or fault.reason
                refused = log.TICKET_REFUSED(fault.pin_failure or fault.code, fault.error_id, text)
                told.append(Told(refused, seen))
            case GetRootCertChainsResponse() as chains:
                subjects, problem = read_chain(chains.chain)
                told += [
                    Told(log.CHAIN_RECEIVED(len(chains.chain)), seen),
                    Told(shown("chain_shown", asked.url, ",".join(subjects), problem), seen),
                ]
            case RequestSecurityTokenResponse() as ticket:
                self._user = ticket.sip_uri or ""
                lifetime = ticket.expires - ticket.created
                received = log.TICKET_RECEIVED(self._user, ticket.assertion_id, lifetime)
                told.append(Told(received, seen))
            case GetAndPublishCertResponse() as issued:
                user = f"sip:{issued.entity}"
                received = log.CERTIFICATE_RECEIVED(user, len(issued.certificate))
                told.append(Told(received, seen))
            case ServiceMetadata() as metadata:
                names = ",".join(port.name for port in metadata.ports)
                told.append(Told(shown("metadata_shown", asked.url, names), seen))
            case _ if response.status == 200:
                detail = f"200 with {describe(response.message)}"
                told.append(Told(log.HTTP_FAILED(asked.operation, "malformed", detail), seen))
            case _:
                pass
        return told

    def failed(
        self, client: TransportAddress, server: TransportAddress, failure: str, seen: Seen
    ) -> Told:
        """Tell that a connection to a server ended without an answer, or did not come about."""
        asked = self._open.pop((client, server), None)
        where = f"{self._hosts.name(server[0])} ({server[0]}:{server[1]})"
        # Only the chain of trust is asked for in the clear.
        guess = "GetRootCertChains" if server[1] == _STANDARD_PORTS["http"] else ""
        operation = guess if asked is None else asked.operation
        return Told(log.HTTP_FAILED(operation, failure, f"{where}: {failure}"), seen)

    def awaits(self, client: TransportAddress, server: TransportAddress) -> bool:
        """Whether a request has no answer yet."""
        return (client, server) in self._open

    def silence(self, now: float) -> list[Told]:
        """Tell what nobody has answered."""
        told = []
        for ends, asked in list(self._open.items()):
            if now - asked.seen.at >= ANSWER_WAIT:
                last = asked.seen
                seen = Seen(last.number, last.at, f"nobody answers {last.text}")
                told.append(self.failed(*ends, "timeout", seen))
        return told


def scheme_of(port: int) -> str:
    """The scheme of a message whose stream is not seen."""
    return "http" if port == _STANDARD_PORTS["http"] else "https"


def _read_answer(message: HttpMessage) -> HttpResponse:
    answer: WebAnswer | None = None
    if message.body:
        try:
            answer = decode_answer(_MASKED.sub(_unmasked, message.body))
        except DecodeError:
            if message.status == 200:
                raise
    diagnostics = None
    header = message.header(DIAGNOSTICS_HEADER)
    if header:
        try:
            diagnostics = decode_diagnostics(header)
        except DecodeError:
            diagnostics = None
    return HttpResponse(
        status=message.status,
        message=answer,
        diagnostics=diagnostics,
        challenges=decode_challenges(message.values(CHALLENGE_HEADER)),
    )


def _unmasked(found: re.Match[bytes]) -> bytes:
    """Base64 of the same size for asterisks that a capture has in a secret's place."""
    return found[1] + b"A" * len(found[2])
