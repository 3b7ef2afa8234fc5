"""A Registrar: binds users to the connections of their phones.

A REGISTER is checked for form, then for its user, then for who sends it, which is for
`sip_authenticator` to say. Bindings end by the clock: those that are over count for nothing
at the user's next REGISTER.

The expiry that a phone asks for is moved into the configured range instead of being
refused with 423: Lync documents a range and a default for the server's timer, phones
take the server's value, and 423 is in no list of its answers.

A connection is closed when nothing came over it for longer than the keep-alive
timeout that the 200 OK named. Its bindings stay.

Specifications: RFC 3261 section 10.3, [MS-SIPREGE], [MS-OCER]; sign-in reference sections 17 to 21.
"""

from __future__ import annotations

import random
import re
from functools import lru_cache
from heapq import heappop, heappush

import msgspec

from phonesim.config.site_profile import RegistrarConfig
from phonesim.mocksite.exchange import (
    CertificateAuthority,
    CloseClientConnection,
    ConnectionAccepted,
    ConnectionLost,
    KeepAliveReceived,
    MalformedArrived,
    Report,
    SendSipToClient,
    ServerAction,
    ServerEvent,
    ServerTimerExpired,
    SipReceived,
)
from phonesim.mocksite.sip_authenticator import SipAuthenticator
from phonesim.mocksite.users import User, UserDirectory
from phonesim.wire.endpoint import gruu, sip_instance
from phonesim.wire.sip import (
    Challenge,
    Contact,
    SipRequest,
    SipResponse,
    response_to,
)

KEEP_ALIVE_MARGIN = 30.0
"""Seconds beyond the announced timeout before an idle connection is closed [inferred]."""
SERVER = "RTC/4.0"
"""Server header of Lync 2010 [inferred]."""

_ALLOW_EVENTS = (
    "vnd-microsoft-provisioning,vnd-microsoft-roaming-contacts,vnd-microsoft-roaming-ACL,"
    "presence,presence.wpending,vnd-microsoft-roaming-self,vnd-microsoft-provisioning-v2"
)
_PRESENCE_STATE = (
    'register-action="{}";primary-cluster-type="central";is-connected-to-primary="yes"'
)
_KNOWN_METHODS = frozenset(
    {"INVITE", "OPTIONS", "BYE", "SUBSCRIBE", "NOTIFY", "BENOTIFY", "MESSAGE", "INFO", "REFER"}
    | {"UPDATE", "PRACK", "PUBLISH", "SERVICE"}
)
_UUID = re.compile(r"[0-9A-F]{8}(-[0-9A-F]{4}){3}-[0-9A-F]{12}")

_Headers = tuple[tuple[str, str], ...]


class _Connection(msgspec.Struct, gc=False):
    peer: str
    heard_at: float


class _Binding(msgspec.Struct, gc=False):
    """One endpoint of a user. `instance` is the UUID in upper case."""

    instance: str
    epid: str | None
    contact: str
    gruu: str
    call_id: str
    cseq: int
    expires_at: float


class _Refusal(msgspec.Struct, frozen=True):
    """A final response other than 200. `diagnostics` is an id of [MS-OCER] and its text.

    `why` is for the operator; empty where a request is refused in the normal course of things.
    """

    status: int
    reason: str
    why: str
    diagnostics: tuple[int, str] | None = None
    challenges: tuple[Challenge, ...] = ()
    headers: _Headers = ()


class Registrar:
    """The Registrar. `epoch` is the Unix time at monotonic zero, `rng` makes tags and nonces."""

    def __init__(
        self,
        config: RegistrarConfig,
        users: UserDirectory,
        authority: CertificateAuthority,
        rng: random.Random,
        epoch: float,
    ) -> None:
        self._config = config
        self._users = users
        self._rng = rng
        self._authenticator = SipAuthenticator(config, users, authority, rng, epoch)
        self._idle_limit = config.keep_alive_timeout + KEEP_ALIVE_MARGIN
        self._maximum_endpoints = config.maximum_endpoints
        self._connections: dict[int, _Connection] = {}
        self._idle_checks: list[tuple[float, int]] = []
        self._bindings: dict[str, dict[str, _Binding]] = {}
        self._accepted_headers = {
            action: (
                (
                    "ms-keep-alive",
                    f"UAS; tcp=no; hop-hop=yes; end-end=no; timeout={config.keep_alive_timeout}",
                ),
                ("presence-state", _PRESENCE_STATE.format(action)),
                ("Allow-Events", _ALLOW_EVENTS),
                ("Supported", "adhoclist"),
                ("Supported", "msrtc-event-categories"),
                ("Server", SERVER),
            )
            for action in ("added", "refreshed")
        }
        self._removed_headers = (("Server", SERVER),)

    def handle(self, event: ServerEvent, now: float) -> list[ServerAction]:
        """Take one event; return what to do about it."""
        if isinstance(event, SipReceived):
            connection = self._connections.get(event.connection_id)
            if connection is None:
                return [_note("a SIP message on a closed connection", event.connection_id)]
            connection.heard_at = now
            if isinstance(event.message, SipResponse):
                return [_note("a SIP response to no request", event.connection_id)]
            return self._request(event.connection_id, connection, event.message, now)
        if isinstance(event, KeepAliveReceived):
            connection = self._connections.get(event.connection_id)
            if connection is not None:
                connection.heard_at = now
            return []
        if isinstance(event, ConnectionAccepted):
            return self._accept(event, now)
        if isinstance(event, ConnectionLost):
            self._connections.pop(event.connection_id, None)
            self._authenticator.forget(event.connection_id)
            return []
        if isinstance(event, ServerTimerExpired):
            return self._close_idle(now)
        if isinstance(event, MalformedArrived):
            return [
                Report(
                    text="malformed SIP message",
                    fields=(("source", event.source), ("reason", event.reason)),
                )
            ]
        return []

    def next_deadline(self) -> tuple[float, str] | None:
        """Return when the connection that may have been idle for longest is to be looked at."""
        return (self._idle_checks[0][0], "idle connection") if self._idle_checks else None

    def sign(self, connection_id: int, response: SipResponse) -> SipResponse:
        """The response as the Registrar sends it over that connection."""
        return self._authenticator.sign(connection_id, response)

    def contacts(self, sip_uri: str, now: float) -> tuple[Contact, ...]:
        """The current bindings of a user, with the seconds that each still has."""
        return tuple(
            _contact(binding, now)
            for binding in self._bindings.get(sip_uri, {}).values()
            if binding.expires_at > now
        )

    def _accept(self, event: ConnectionAccepted, now: float) -> list[ServerAction]:
        if event.transport != self._config.transport:
            return [
                CloseClientConnection(connection_id=event.connection_id),
                _note(f"a {event.transport} connection is not taken", event.connection_id),
            ]
        self._connections[event.connection_id] = _Connection(event.peer, now)
        heappush(self._idle_checks, (now + self._idle_limit, event.connection_id))
        return []

    def _close_idle(self, now: float) -> list[ServerAction]:
        actions: list[ServerAction] = []
        checks = self._idle_checks
        while checks and checks[0][0] <= now:
            _, connection_id = heappop(checks)
            connection = self._connections.get(connection_id)
            if connection is None:
                continue
            idle_at = connection.heard_at + self._idle_limit
            if idle_at > now:
                heappush(checks, (idle_at, connection_id))
                continue
            del self._connections[connection_id]
            self._authenticator.forget(connection_id)
            actions.append(CloseClientConnection(connection_id=connection_id))
            actions.append(
                Report(
                    text="connection closed: no keep-alive in time",
                    fields=(("peer", connection.peer),),
                )
            )
        return actions

    def _request(
        self, connection_id: int, connection: _Connection, request: SipRequest, now: float
    ) -> list[ServerAction]:
        if request.method == "ACK":
            return []
        response: SipResponse
        report: Report | None = None
        outcome = self._decide(connection_id, request, now)
        if isinstance(outcome, _Refusal):
            response = self._refuse(request, outcome)
            if outcome.why:
                report = Report(
                    text=f"{request.method} answered {outcome.status}: {outcome.why}",
                    fields=(("from", request.sender.uri), ("peer", connection.peer)),
                )
        else:
            response, report = outcome
        response = self.sign(connection_id, response)
        answer = SendSipToClient(connection_id=connection_id, message=response)
        return [answer] if report is None else [answer, report]

    def _decide(
        self, connection_id: int, request: SipRequest, now: float
    ) -> tuple[SipResponse, Report | None] | _Refusal:
        if request.method != "REGISTER":
            return _other_method(request.method)
        aor = request.recipient.uri.lower()
        refusal = self._check_form(request, aor)
        if refusal is not None:
            return refusal
        user = self._users.by_sip_uri(aor)
        if user is None:
            return _Refusal(
                404,
                "Not Found",
                "no such user",
                (4005, "Destination URI either not enabled for SIP or does not exist"),
            )
        rejection = self._authenticator.check(connection_id, request, user, now)
        if rejection is not None:
            return _Refusal(*msgspec.structs.astuple(rejection))
        if not user.is_enabled:
            return _Refusal(403, "Forbidden", "the user is disabled", (4141, "User disabled"))
        return self._register(request, user, now)

    def _check_form(self, request: SipRequest, aor: str) -> _Refusal | None:
        if request.sender.uri.lower() != aor:
            return _Refusal(
                403,
                "Forbidden",
                "From and To differ",
                (4004, "Credentials provided are not authorized to act as specified from URI"),
            )
        host = _host(request.uri)
        if host not in (aor.rpartition("@")[2], self._config.fqdn.lower()):
            return _Refusal(
                404,
                "Not Found",
                f"the Request-URI is for {host!r}",
                (1005, "Cannot route to destination domain"),
            )
        if request.sender.epid is None and not any(
            contact.instance for contact in request.contacts
        ):
            return _Refusal(
                400,
                "Bad Request",
                "neither epid nor +sip.instance",
                (4010, "Missing endpoint identifier"),
            )
        supported = ""
        for name, value in request.headers:
            folded = name.lower()
            if folded == "supported":
                supported += "," + value
            elif folded == "event" and value.partition(";")[0].strip().lower() != "registration":
                return _Refusal(
                    489,
                    "Bad Event",
                    f"Event is {value!r}",
                    (4055, "Event is not registration"),
                    headers=(("Allow-Events", "registration"),),
                )
        if _lacks_gruu(supported):
            return _Refusal(
                421,
                "Extension Required",
                "msrtc-event-categories without gruu-10",
                (2057, "msrtc-event-categories needs gruu-10"),
                headers=(("Require", "gruu-10"),),
            )
        return None

    def _register(
        self, request: SipRequest, user: User, now: float
    ) -> tuple[SipResponse, Report | None] | _Refusal:
        """Query, remove or update bindings: RFC 3261 section 10.3, steps 6 to 8."""
        aor = user.sip_uri
        bindings = self._bindings.setdefault(aor, {})
        for instance in [key for key, held in bindings.items() if held.expires_at <= now]:
            del bindings[instance]
        if not request.contacts:
            return self._accepted(request, aor, now, 0, self._removed_headers), None
        if len(request.contacts) > 1:
            return _Refusal(400, "Bad Request", "an endpoint has one Contact")
        contact = request.contacts[0]
        if contact.uri == "*":
            if request.expires != 0:
                return _Refusal(400, "Bad Request", "Contact * without Expires 0")
            bindings.clear()
            return self._accepted(request, aor, now, 0, self._removed_headers), None
        epid = request.sender.epid
        instance = contact.instance.upper() if contact.instance else ""
        held = bindings.get(instance) if instance else None
        if epid is not None and (held is None or held.epid != epid):
            derived = sip_instance(epid) if epid.isascii() else ""
            if instance and instance != derived:
                return _Refusal(400, "Bad Request", "+sip.instance is not derived from epid")
            instance = derived
            held = bindings.get(instance)
        if _UUID.fullmatch(instance) is None:
            return _Refusal(400, "Bad Request", "+sip.instance is no UUID")
        is_same_call = held is not None and held.call_id == request.call_id
        if held is not None and is_same_call and request.cseq <= held.cseq:
            return _Refusal(500, "Server Internal Error", f"CSeq {request.cseq} is not new")
        asked = contact.expires if contact.expires is not None else request.expires
        if asked == 0:
            bindings.pop(instance, None)
            return self._accepted(request, aor, now, 0, self._removed_headers), None
        config = self._config
        expires = config.expires_default if asked is None else asked
        expires = max(config.expires_minimum, min(config.expires_maximum, expires))
        report = None
        if held is not None:
            del bindings[instance]
        elif len(bindings) >= self._maximum_endpoints:
            oldest = bindings.pop(next(iter(bindings)))
            report = Report(
                text="the user has too many endpoints: the oldest was removed",
                fields=(("user", aor), ("instance", oldest.instance), ("contact", oldest.contact)),
            )
        bindings[instance] = _Binding(
            instance=instance,
            epid=epid,
            contact=contact.uri,
            gruu=held.gruu if held is not None else gruu(aor, instance),
            call_id=request.call_id,
            cseq=request.cseq,
            expires_at=now + expires,
        )
        headers = self._accepted_headers["refreshed" if is_same_call else "added"]
        return self._accepted(request, aor, now, expires, headers), report

    def _accepted(
        self, request: SipRequest, aor: str, now: float, expires: int, headers: _Headers
    ) -> SipResponse:
        return response_to(
            request,
            200,
            "OK",
            to_tag=self._tag(),
            contacts=self.contacts(aor, now),
            expires=expires,
            headers=headers,
        )

    def _refuse(self, request: SipRequest, refusal: _Refusal) -> SipResponse:
        headers = refusal.headers
        if refusal.diagnostics is not None:
            code, text = refusal.diagnostics
            source = self._config.fqdn
            value = f'{code};reason="{text}";source="{source}"'
            headers = (*headers, ("ms-diagnostics", value))
        return response_to(
            request,
            refusal.status,
            refusal.reason,
            to_tag=self._tag(),
            challenges=refusal.challenges,
            headers=(*headers, ("Server", SERVER)),
        )

    def _tag(self) -> str:
        return f"{self._rng.getrandbits(128):032X}"


def _contact(binding: _Binding, now: float) -> Contact:
    return Contact(
        uri=binding.contact,
        expires=round(binding.expires_at - now),
        instance=binding.instance.lower(),
        parameters=(("gruu", binding.gruu),),
    )


@lru_cache(maxsize=256)
def _host(uri: str) -> str:
    """The host of a Request-URI that names no user, in lower case."""
    return uri.lower().partition(":")[2].partition(";")[0].partition(":")[0]


@lru_cache(maxsize=256)
def _lacks_gruu(supported: str) -> bool:
    tags = {tag.strip().lower() for tag in supported.split(",")}
    return "msrtc-event-categories" in tags and "gruu-10" not in tags


def _other_method(method: str) -> _Refusal:
    if method == "CANCEL":
        return _Refusal(481, "Call/Transaction Does Not Exist", "nothing to cancel")
    if method in _KNOWN_METHODS:
        return _Refusal(
            405,
            "Method Not Allowed",
            "a Registrar takes REGISTER only",
            headers=(("Allow", "REGISTER"),),
        )
    return _Refusal(501, "Not Implemented", "the method is unknown")


def _note(text: str, connection_id: int) -> Report:
    return Report(text=text, fields=(("connection", str(connection_id)),))
