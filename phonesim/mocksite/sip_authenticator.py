"""How a Registrar makes sure who sends a REGISTER, and signs what it answers.

    unsigned                     401 with every scheme that is offered
    gssapi-data                  401 with the next flight of the handshake; at its end 403 if
                                 the certificate is not the user's, else an association
    signed, by an association    taken if the signature is right and cnum is new

A TLS-DSK client is whoever its certificate names, which the site's authority must have issued
and the web services published. With NTLM and Digest it is whoever knows the password. Kerberos is
offered as the real thing does, and no ticket is ever taken.

An association belongs to its connection and ends with it, when its certificate expires, and
after eight hours. All that is sent over the connection is signed, but for provisional answers
and 401.

What cannot be read or verified is answered 401 with the offers and ms-diagnostics 1000: which
answer a real server gives to a wrong signature or a replay is [unknown].

Specifications: [MS-SIPAE] sections 3.3.5.1 and 3.3.5.2, [MS-OCER], RFC 3261 section 22,
RFC 2617 (Digest); sign-in reference sections 10 to 16 and 20.
"""

from __future__ import annotations

import datetime
import random
from collections import OrderedDict
from functools import lru_cache
from typing import TypeVar

import msgspec

from phonesim.config.site_profile import RegistrarConfig
from phonesim.errors import DecodeError
from phonesim.mocksite.exchange import CertificateAuthority, ServerHandshake
from phonesim.mocksite.ntlm_acceptor import NtlmAcceptor
from phonesim.mocksite.users import User, UserDirectory
from phonesim.wire.digest import digest_verifies
from phonesim.wire.sip import Challenge, SipMessage, SipRequest, SipResponse
from phonesim.wire.sipae import (
    AUTHENTICATION_INFO,
    KERBEROS,
    NTLM,
    TLS_DSK,
    AuthenticationInfo,
    Authorization,
    Offer,
    SigningKeys,
    answer_authorization,
    authentication_info_text,
    challenge_of,
    read_authorization,
    signature_buffer,
)
from phonesim.wire.tls_records import read_flight

NONCE_LIFETIME = 300.0
"""Seconds for which a Digest nonce is taken."""
MAXIMUM_NONCES = 100_000
"""Nonces that are remembered: in a flood of challenges the oldest become stale early."""
ASSOCIATION_LIFETIME = 28800.0
"""Seconds for which an association is, at most."""
MAXIMUM_CREDENTIALS = 8
"""Authorization headers that are looked at; a client needs one."""

_HANDSHAKE_FAILED = (1000, "Final handshake failed")
_NOT_AS_FROM = (4004, "Credentials provided are not authorized to act as specified from URI")


class Rejection(msgspec.Struct, frozen=True):
    """A request that is not the user's own, or not yet known to be.

    `why` is for the operator; empty in the normal course of things. `diagnostics` is an id of
    [MS-OCER] and its text.
    """

    status: int
    reason: str
    why: str
    diagnostics: tuple[int, str] | None = None
    challenges: tuple[Challenge, ...] = ()
    headers: tuple[tuple[str, str], ...] = ()


class _Nonce(msgspec.Struct, gc=False):
    issued_at: float
    count: int = 0


class _HalfOpen(msgspec.Struct, frozen=True):
    """A handshake under way."""

    scheme: str
    opaque: str
    sip_uri: str
    handshake: ServerHandshake


class _Association(msgspec.Struct, kw_only=True):
    """An established SA. `received` is the last cnum, `sent` the last snum."""

    scheme: str
    opaque: str
    sip_uri: str
    certificate: bytes
    keys: SigningKeys
    ends_at: float
    received: int = 0
    sent: int = 0


Message = TypeVar("Message", bound=SipMessage)


class SipAuthenticator:
    """The authentication of one Registrar; `epoch` is the Unix time at monotonic zero."""

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
        self._authority = authority
        self._rng = rng
        self._epoch = epoch
        self._half_open: dict[int, _HalfOpen] = {}
        self._associations: dict[int, _Association] = {}
        self._nonces: OrderedDict[str, _Nonce] = OrderedDict()
        version = config.sip_authentication_version
        self._offers = {
            offer.scheme: offer
            for offer in (
                Offer(
                    scheme=_SCHEMES[name],
                    realm=config.realm,
                    targetname=f"sip/{config.fqdn}" if name == "kerberos" else config.fqdn,
                    version=version,
                    sts_uri=config.sts_uri if name == "tls-dsk" else None,
                )
                for name in config.authentication
                if name in _SCHEMES
            )
        }
        self._challenges = tuple(challenge_of(offer) for offer in self._offers.values())

    def check(
        self, connection_id: int, request: SipRequest, user: User, now: float
    ) -> Rejection | None:
        """Why `request` is not taken for the user's own; None if it is."""
        if len(request.credentials) > MAXIMUM_CREDENTIALS:
            return Rejection(400, "Bad Request", "too many Authorization headers")
        if not self._offers:
            return self._check_digest(request, user, now)
        try:
            found = self._own(request)
        except DecodeError as error:
            return self._refused(str(error), now)
        if found is None:
            if "digest" in self._config.authentication and request.credentials:
                return self._check_digest(request, user, now)
            return self._unauthorized("", now)
        if found.gssapi_data is not None:
            step = self._handshake(connection_id, found, user, now)
            if step is not None:
                return step
        return self._check_signature(connection_id, found, request, user, now)

    def check_answer(self, connection_id: int, response: SipResponse) -> str | None:
        """Why a client's answer is not taken for its own; None if it is."""
        association = self._associations.get(connection_id)
        if association is None or response.status < 200:
            return None
        try:
            given = answer_authorization(response)
        except DecodeError as error:
            return str(error)
        if given is None or given.opaque != association.opaque:
            return "the answer is not signed"
        return self._check_signed(association, given, response)

    def sign(self, connection_id: int, message: Message) -> Message:
        """The message as it is to be sent."""
        association = self._associations.get(connection_id)
        if association is None or _goes_unsigned(message):
            return message
        offer = self._offers[association.scheme]
        association.sent += 1
        srand = f"{self._rng.getrandbits(32):08X}"
        buffer = signature_buffer(
            offer.scheme,
            offer.realm,
            offer.targetname,
            offer.version,
            srand,
            association.sent,
            message,
        )
        info = AuthenticationInfo(
            scheme=offer.scheme,
            realm=offer.realm,
            targetname=offer.targetname,
            version=offer.version,
            opaque=association.opaque,
            srand=srand,
            snum=association.sent,
            rspauth=association.keys.server.sign(buffer),
        )
        header = (AUTHENTICATION_INFO, authentication_info_text(info))
        return msgspec.structs.replace(message, headers=(header, *message.headers))

    def forget(self, connection_id: int) -> None:
        """The connection is gone, and what was agreed over it."""
        self._half_open.pop(connection_id, None)
        self._associations.pop(connection_id, None)

    # --- TLS-DSK and NTLM ---

    def _own(self, request: SipRequest) -> Authorization | None:
        """The first credentials that are meant for this server; DecodeError if malformed."""
        for credentials in request.credentials:
            authorization = read_authorization(credentials)
            offer = None if authorization is None else self._offers.get(authorization.scheme)
            if (
                authorization is not None
                and offer is not None
                and authorization.realm == offer.realm
                and authorization.targetname.lower() == offer.targetname.lower()
            ):
                return authorization
        return None

    def _handshake(
        self, connection_id: int, given: Authorization, user: User, now: float
    ) -> Rejection | None:
        """Take a flight; None when the handshake is over and the request may be signed."""
        assert given.gssapi_data is not None
        half_open = self._half_open.pop(connection_id, None)
        if given.opaque is None:
            half_open = self._accept(given.scheme, user)
        if (
            half_open is None
            or half_open.scheme != given.scheme
            or given.opaque not in (None, half_open.opaque)
        ):
            return self._refused(f"no handshake is named {given.opaque}", now)
        if half_open.sip_uri != user.sip_uri:
            return self._refused("the handshake was begun by another user", now)
        try:
            if given.scheme == TLS_DSK:
                read_flight(given.gssapi_data)
            flight = half_open.handshake.advance(given.gssapi_data)
        except DecodeError as error:
            return self._refused(str(error), now)
        keys = half_open.handshake.keys
        if keys is None:
            self._half_open[connection_id] = half_open
        else:
            certificate = half_open.handshake.certificate
            if half_open.scheme == TLS_DSK:
                refusal = self._check_certificate(certificate, user, now)
                if refusal is not None:
                    return refusal
            self._associations[connection_id] = _Association(
                scheme=half_open.scheme,
                opaque=half_open.opaque,
                sip_uri=user.sip_uri,
                certificate=certificate,
                keys=keys,
                ends_at=now + ASSOCIATION_LIFETIME,
            )
            if not flight:
                return None
        offer = self._offers[half_open.scheme]
        challenge = challenge_of(
            Offer(
                scheme=offer.scheme,
                realm=offer.realm,
                targetname=offer.targetname,
                version=offer.version,
                opaque=half_open.opaque,
                gssapi_data=flight,
            )
        )
        return Rejection(
            401,
            "Unauthorized",
            "",
            challenges=(challenge,),
            headers=(self._date(now),),
        )

    def _accept(self, scheme: str, user: User) -> _HalfOpen | None:
        handshake: ServerHandshake
        fqdn = self._config.fqdn
        if scheme == TLS_DSK:
            handshake = self._authority.accept_handshake((fqdn,))
        elif scheme == NTLM:
            handshake = NtlmAcceptor(user, fqdn, self._rng.getrandbits(64).to_bytes(8, "big"))
        else:
            return None
        opaque = f"{self._rng.getrandbits(32):08X}"
        return _HalfOpen(scheme, opaque, user.sip_uri, handshake)

    def _check_certificate(self, certificate: bytes, user: User, now: float) -> Rejection | None:
        subject = self._authority.subject(certificate, int(self._epoch + now))
        if subject is None:
            why = "the client's certificate is not valid here"
            return Rejection(403, "Forbidden", why, _HANDSHAKE_FAILED)
        if subject.lower() != user.address:
            why = f"the certificate is that of {subject!r}"
            return Rejection(403, "Forbidden", why, _NOT_AS_FROM)
        if not self._users.is_published(user, certificate):
            why = "the client's certificate is not the published one"
            return Rejection(403, "Forbidden", why, _HANDSHAKE_FAILED)
        return None

    def _check_signature(
        self,
        connection_id: int,
        given: Authorization,
        request: SipRequest,
        user: User,
        now: float,
    ) -> Rejection | None:
        association = self._associations.get(connection_id)
        if association is None or given.opaque != association.opaque:
            return self._refused(f"no association is named {given.opaque}", now)
        if association.sip_uri != user.sip_uri:
            why = f"the association is {association.sip_uri}'s"
            return Rejection(403, "Forbidden", why, _NOT_AS_FROM)
        if now >= association.ends_at or (
            association.certificate
            and self._authority.subject(association.certificate, int(self._epoch + now)) is None
        ):
            del self._associations[connection_id]
            return self._unauthorized("the association is over", now)
        is_first = not association.received and self._offers[association.scheme].version < 4
        if given.response is None and is_first:
            return None
        problem = self._check_signed(association, given, request)
        return None if problem is None else self._refused(problem, now)

    def _check_signed(
        self, association: _Association, given: Authorization, message: SipMessage
    ) -> str | None:
        """Why a message is not signed as the next one of the association; None if it is."""
        if given.response is None or given.crand is None or given.cnum is None:
            return "the message is not signed"
        if self._config.refuses_replays and given.cnum <= association.received:
            return f"cnum {given.cnum} is not new: a replay"
        buffer = signature_buffer(
            given.scheme,
            given.realm,
            given.targetname,
            given.version,
            given.crand,
            given.cnum,
            message,
        )
        if not association.keys.client.verifies(buffer, given.response):
            return "the signature is wrong"
        association.received = max(association.received, given.cnum)
        return None

    def _refused(self, why: str, now: float) -> Rejection:
        return self._unauthorized(why, now, _HANDSHAKE_FAILED)

    def _unauthorized(
        self,
        why: str,
        now: float,
        diagnostics: tuple[int, str] | None = None,
    ) -> Rejection:
        challenges = self._challenges
        if "digest" in self._config.authentication:
            challenges = (*challenges, self._digest_challenge(now))
        return Rejection(
            401,
            "Unauthorized",
            why,
            diagnostics,
            challenges=challenges,
            headers=(self._date(now),),
        )

    def _date(self, now: float) -> tuple[str, str]:
        return "Date", _http_date(int(self._epoch + now))

    # --- Digest ---

    def _check_digest(self, request: SipRequest, user: User, now: float) -> Rejection | None:
        for credentials in request.credentials:
            parameters = {name.lower(): value for name, value in credentials.parameters}
            if (
                credentials.scheme.lower() != "digest"
                or parameters.get("realm") != self._config.realm
            ):
                continue
            if not _is_consistent(parameters, request, user) or not digest_verifies(
                credentials, method=request.method, password=user.password
            ):
                return self._unauthorized("the Digest response is wrong", now)
            if not self._take_nonce(parameters, now):
                return self._stale(now)
            return None
        return self._unauthorized("", now)

    def _take_nonce(self, parameters: dict[str, str], now: float) -> bool:
        """Whether the nonce is current and its count greater than any seen."""
        nonce = self._nonces.get(parameters.get("nonce", ""))
        if nonce is None or now >= nonce.issued_at + NONCE_LIFETIME:
            return False
        try:
            count = int(parameters.get("nc", ""), 16)
        except ValueError:
            return False
        if count <= nonce.count:
            return False
        nonce.count = count
        return True

    def _stale(self, now: float) -> Rejection:
        challenge = self._digest_challenge(now, is_stale=True)
        why = "the Digest nonce is stale"
        return Rejection(401, "Unauthorized", why, challenges=(*self._challenges, challenge))

    def _digest_challenge(self, now: float, *, is_stale: bool = False) -> Challenge:
        nonces = self._nonces
        while nonces:
            oldest = next(iter(nonces.values()))
            if now < oldest.issued_at + NONCE_LIFETIME and len(nonces) < MAXIMUM_NONCES:
                break
            nonces.popitem(last=False)
        nonce = f"{self._rng.getrandbits(128):032x}"
        nonces[nonce] = _Nonce(now)
        return Challenge(
            scheme="Digest",
            parameters=(
                ("realm", self._config.realm),
                ("nonce", nonce),
                ("algorithm", "MD5"),
                ("qop", "auth"),
                *((("stale", "true"),) if is_stale else ()),
            ),
        )


_SCHEMES = {"tls-dsk": TLS_DSK, "ntlm": NTLM, "kerberos": KERBEROS}


def _goes_unsigned(message: SipMessage) -> bool:
    return isinstance(message, SipResponse) and (
        message.status < 200 or message.status in (401, 407)
    )


@lru_cache(maxsize=4)
def _http_date(seconds: int) -> str:
    moment = datetime.datetime.fromtimestamp(seconds, datetime.UTC)
    return f"{moment:%a, %d %b %Y %H:%M:%S} GMT"


def _is_consistent(parameters: dict[str, str], request: SipRequest, user: User) -> bool:
    """Whether Digest credentials are the user's, and made for this very request."""
    name = parameters.get("username", "").lower()
    return (
        name in (user.address, user.address.partition("@")[0], user.number.lower())
        and parameters.get("uri") == request.uri
        and parameters.get("qop") == "auth"
    )
