"""A Registrar: binds users to the connections of their phones.

A request is checked for form, then for its user, then for who sends it, which is for
`sip_authenticator` to say.

A user whose primary Registrar is another one is redirected there, unless this is the backup:
then the phone is told that it is not connected to its primary. A binding that the server ends
is told with NOTIFY: one endpoint too many, or what a `DeregistrationOrdered` says. SUBSCRIBE is
in-band provisioning's.

The expiry that a phone asks for is moved into the configured range instead of being
refused with 423: Lync documents a range and a default for the server's timer, phones
take the server's value, and 423 is in no list of its answers.

A connection is closed when nothing came over it for longer than the keep-alive
timeout that the 200 OK named. Its bindings stay.

Specifications: RFC 3261 section 10.3, [MS-SIPREGE], [MS-OCER]; sign-in reference sections 17 to 21.
"""

from __future__ import annotations

import random
from fnmatch import fnmatchcase
from functools import lru_cache, partial
from heapq import heapify, heappop, heappush

import msgspec

from phonesim.config.site_profile import RegistrarConfig
from phonesim.mocksite.bindings import Binding, Bindings
from phonesim.mocksite.deregistration import deregistration_notify
from phonesim.mocksite.exchange import (
    CertificateAuthority,
    CloseClientConnection,
    ConnectionAccepted,
    ConnectionLost,
    DeregistrationOrdered,
    KeepAliveReceived,
    MalformedArrived,
    Report,
    SendSipToClient,
    ServerAction,
    ServerEvent,
    ServerTimerExpired,
    SipReceived,
)
from phonesim.mocksite.homes import HomeBook
from phonesim.mocksite.inband_provisioning_service import InbandProvisioningService
from phonesim.mocksite.sip_authenticator import SipAuthenticator
from phonesim.mocksite.users import User, UserDirectory
from phonesim.wire.sip import (
    Challenge,
    Contact,
    SipMessage,
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
_PRESENCE_STATE = 'register-action="{}";primary-cluster-type="{}";is-connected-to-primary="{}"'
_REDIRECT_EXPIRES = 2592000  # [capture]
_KNOWN_METHODS = frozenset(
    {"INVITE", "OPTIONS", "BYE", "SUBSCRIBE", "NOTIFY", "BENOTIFY", "MESSAGE", "INFO", "REFER"}
    | {"UPDATE", "PRACK", "PUBLISH", "SERVICE"}
)

_SPARE_CHECKS = 100

_Headers = tuple[tuple[str, str], ...]


class _Connection(msgspec.Struct, gc=False):
    """`notified` are the latest NOTIFYs on it that are not answered, by Call-ID."""

    peer: str
    heard_at: float
    notified: tuple[str, ...] = ()


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
    """The Registrar. `epoch` is the Unix time at monotonic zero, `rng` makes tags and nonces.

    `homes` says who is at home here; without it everybody is.
    """

    def __init__(
        self,
        config: RegistrarConfig,
        users: UserDirectory,
        authority: CertificateAuthority,
        rng: random.Random,
        epoch: float,
        homes: HomeBook | None = None,
    ) -> None:
        self._config = config
        self._homes = homes or HomeBook([config])
        self._provisioning = InbandProvisioningService(self._homes, SERVER, rng)
        self._users = users
        self._rng = rng
        self._authenticator = SipAuthenticator(config, users, authority, rng, epoch)
        self._idle_limit = config.keep_alive_timeout + KEEP_ALIVE_MARGIN
        self._connections: dict[int, _Connection] = {}
        self._idle_checks: list[tuple[float, int]] = []
        self._bindings = Bindings(config.maximum_endpoints)
        keep_alive = f"UAS; tcp=no; hop-hop=yes; end-end=no; timeout={config.keep_alive_timeout}"
        self._keep_alive_header = ("ms-keep-alive", keep_alive)
        self._accepted_headers = lru_cache(maxsize=16)(self._make_accepted_headers)
        self._removed_headers = (("Server", SERVER),)

    def handle(self, event: ServerEvent, now: float) -> list[ServerAction]:
        """Take one event; return what to do about it."""
        if isinstance(event, SipReceived):
            connection = self._connections.get(event.connection_id)
            if connection is None:
                return [_note("a SIP message on a closed connection", event.connection_id)]
            connection.heard_at = now
            if isinstance(event.message, SipResponse):
                if event.message.call_id in connection.notified:
                    return self._notice_answered(event.connection_id, connection, event.message)
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
            self._forget_checks()
            return []
        if isinstance(event, ServerTimerExpired):
            return self._close_idle(now)
        if isinstance(event, DeregistrationOrdered):
            return self._deregister(event, now)
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
        return self._bindings.contacts(sip_uri, now)

    def _accept(self, event: ConnectionAccepted, now: float) -> list[ServerAction]:
        if event.transport != self._config.transport:
            return [
                CloseClientConnection(connection_id=event.connection_id),
                _note(f"a {event.transport} connection is not taken", event.connection_id),
            ]
        self._connections[event.connection_id] = _Connection(event.peer, now)
        heappush(self._idle_checks, (now + self._idle_limit, event.connection_id))
        return []

    def _notice_answered(
        self, connection_id: int, connection: _Connection, response: SipResponse
    ) -> list[ServerAction]:
        refused = self._authenticator.check_answer(connection_id, response)
        if refused is not None:
            return [_note(f"an answer to NOTIFY is not the phone's: {refused}", connection_id)]
        connection.notified = tuple(
            each for each in connection.notified if each != response.call_id
        )
        return []

    def _forget_checks(self) -> None:
        """Drop the checks of lost connections when they are most of them."""
        connections = self._connections
        if len(self._idle_checks) > 2 * len(connections) + _SPARE_CHECKS:
            self._idle_checks = [each for each in self._idle_checks if each[1] in connections]
            heapify(self._idle_checks)

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
        outcome = self._decide(connection_id, request, now)
        if not isinstance(outcome, _Refusal):
            return outcome
        actions = [self._answer(connection_id, self._refuse(request, outcome))]
        if outcome.why:
            actions.append(
                Report(
                    text=f"{request.method} answered {outcome.status}: {outcome.why}",
                    fields=(("from", request.sender.uri), ("peer", connection.peer)),
                )
            )
        return actions

    def _answer(self, connection_id: int, message: SipMessage) -> ServerAction:
        signed = self._authenticator.sign(connection_id, message)
        return SendSipToClient(connection_id=connection_id, message=signed)

    def _decide(
        self, connection_id: int, request: SipRequest, now: float
    ) -> list[ServerAction] | _Refusal:
        if request.method not in ("REGISTER", "SUBSCRIBE"):
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
        if self._homes.is_disabled(user):
            return _Refusal(403, "Forbidden", "the user is disabled", (4141, "User disabled"))
        if request.method == "SUBSCRIBE":
            return self._subscribe(connection_id, request, user)
        if not self._homes.receives(self._config.name, user):
            return self._redirect(connection_id, request, user)
        return self._register(connection_id, request, user, now)

    def _subscribe(
        self, connection_id: int, request: SipRequest, user: User
    ) -> list[ServerAction] | _Refusal:
        answered = self._provisioning.subscribe(request, user)
        if answered is None:
            return _Refusal(
                489, "Bad Event", "another event", headers=(("Allow-Events", _ALLOW_EVENTS),)
            )
        return [self._answer(connection_id, each) for each in answered if each is not None]

    def _redirect(self, connection_id: int, request: SipRequest, user: User) -> list[ServerAction]:
        """Send a user home: the primary Registrar, and the backup behind it [field]."""
        homes = self._homes
        names = (homes.primary(user), homes.backup(user))
        contacts = tuple(Contact(uri=homes.server(name).uri) for name in names if name is not None)
        response = response_to(
            request,
            301,
            "Redirect request to Home Server",
            to_tag=self._tag(),
            contacts=contacts,
            expires=_REDIRECT_EXPIRES,
            headers=self._removed_headers,
        )
        report = Report(
            text="the user was redirected home",
            fields=(("user", user.sip_uri), ("to", contacts[0].uri)),
            is_warning=False,
        )
        return [self._answer(connection_id, response), report]

    def _check_form(self, request: SipRequest, aor: str) -> _Refusal | None:
        if request.sender.uri.lower() != aor:
            return _Refusal(
                403,
                "Forbidden",
                "From and To differ",
                (4004, "Credentials provided are not authorized to act as specified from URI"),
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
        return self._check_register_form(request, aor) if request.method == "REGISTER" else None

    def _check_register_form(self, request: SipRequest, aor: str) -> _Refusal | None:
        host = _host(request.uri)
        if host not in (aor.rpartition("@")[2], self._config.fqdn.lower()):
            return _Refusal(
                404,
                "Not Found",
                f"the Request-URI is for {host!r}",
                (1005, "Cannot route to destination domain"),
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
        self, connection_id: int, request: SipRequest, user: User, now: float
    ) -> list[ServerAction] | _Refusal:
        """Query, remove or update bindings: RFC 3261 section 10.3, steps 6 to 8."""
        aor = user.sip_uri
        bindings = self._bindings
        bindings.expire(aor, now)
        accept = partial(self._accepted, connection_id, request, aor, now)
        if not request.contacts:
            return [accept(0, self._removed_headers)]
        if len(request.contacts) > 1:
            return _Refusal(400, "Bad Request", "an endpoint has one Contact")
        contact = request.contacts[0]
        if contact.uri == "*":
            if request.expires != 0:
                return _Refusal(400, "Bad Request", "Contact * without Expires 0")
            bindings.clear(aor)
            return [accept(0, self._removed_headers)]
        endpoint = bindings.endpoint(aor, request)
        if isinstance(endpoint, str):
            return _Refusal(400, "Bad Request", endpoint)
        held = endpoint.held
        is_same_call = held is not None and held.call_id == request.call_id
        if held is not None and is_same_call and request.cseq <= held.cseq:
            return _Refusal(500, "Server Internal Error", f"CSeq {request.cseq} is not new")
        asked = contact.expires if contact.expires is not None else request.expires
        if asked == 0:
            bindings.remove(aor, endpoint.instance)
            return [accept(0, self._removed_headers)]
        config = self._config
        expires = config.expires_default if asked is None else asked
        expires = max(config.expires_minimum, min(config.expires_maximum, expires))
        oldest = bindings.bind(aor, endpoint, request, connection_id, now + expires)
        headers = self._accepted_headers(
            "refreshed" if is_same_call else "added",
            self._homes.cluster_type(user),
            "yes" if self._homes.is_primary(config.name, user) else "no",
        )
        answers = [accept(expires, headers)]
        if oldest is not None:
            answers += self._end(oldest, "unregistered")
            answers.append(
                Report(
                    text="the user has too many endpoints: the oldest was removed",
                    fields=(
                        ("user", aor),
                        ("instance", oldest.instance),
                        ("contact", oldest.contact),
                    ),
                )
            )
        return answers

    def _make_accepted_headers(self, action: str, cluster_type: str, connected: str) -> _Headers:
        return (
            self._keep_alive_header,
            ("presence-state", _PRESENCE_STATE.format(action, cluster_type, connected)),
            ("Allow-Events", _ALLOW_EVENTS),
            ("Supported", "adhoclist"),
            ("Supported", "msrtc-event-categories"),
            ("Server", SERVER),
        )

    def _deregister(self, order: DeregistrationOrdered, now: float) -> list[ServerAction]:
        """End the bindings that an administrator, or the site, wants ended."""
        actions: list[ServerAction] = []
        homes = self._homes
        ended = 0
        for binding in list(self._bindings.current(now)):
            user = self._users.by_sip_uri(binding.aor)
            if user is None or not fnmatchcase(binding.aor, order.users.lower()):
                continue
            preferred = order.registrar or homes.primary(user)
            match order.kind:
                case "rejected":
                    homes.disable(user)
                case "deactivated":
                    homes.move(user, preferred)
                case "preferred-registrar-change" if preferred == self._config.name:
                    continue
                case _:
                    pass
            self._bindings.remove(binding.aor, binding.instance)
            is_preference = order.kind == "preferred-registrar-change"
            actions += self._end(binding, order.kind, preferred if is_preference else None)
            ended += 1
        report = Report(
            text=f"deregistered: {order.kind}",
            fields=(("endpoints", str(ended)),),
            is_warning=False,
        )
        return [*actions, report]

    def _end(self, binding: Binding, kind: str, preferred: str | None = None) -> list[ServerAction]:
        """Tell an endpoint that its binding has ended, if its connection is still there."""
        connection = self._connections.get(binding.connection_id)
        if connection is None:
            return []
        homes = self._homes
        notify = deregistration_notify(
            binding,
            kind,
            homes.server(self._config.name),
            str(self._config.address),
            None if preferred is None else homes.server(preferred),
            self._rng,
        )
        awaited = (*connection.notified, notify.call_id)
        connection.notified = awaited[-self._config.maximum_endpoints :]
        return [self._answer(binding.connection_id, notify)]

    def _accepted(
        self,
        connection_id: int,
        request: SipRequest,
        aor: str,
        now: float,
        expires: int,
        headers: _Headers,
    ) -> ServerAction:
        response = response_to(
            request,
            200,
            "OK",
            to_tag=self._tag(),
            contacts=self._bindings.contacts(aor, now),
            expires=expires,
            headers=headers,
        )
        return self._answer(connection_id, response)

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
            "a Registrar takes REGISTER and SUBSCRIBE only",
            headers=(("Allow", "REGISTER, SUBSCRIBE"),),
        )
    return _Refusal(501, "Not Implemented", "the method is unknown")


def _note(text: str, connection_id: int) -> Report:
    return Report(text=text, fields=(("connection", str(connection_id)),))
