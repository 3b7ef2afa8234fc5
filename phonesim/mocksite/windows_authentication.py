"""Who authenticates an HTTP request by NTLM: Windows authentication, as IIS does it.

    nothing, or what is not understood   -> 401, every scheme
    NEGOTIATE_MESSAGE                    -> 401, CHALLENGE_MESSAGE in the same scheme
    AUTHENTICATE_MESSAGE                 -> the user, or 401 with every scheme

The three belong to one connection, and what was begun on another one does not count. Under
Negotiate the same tokens are taken as under NTLM; Kerberos and SPNEGO are not spoken. The next
request has to authenticate itself again: which of both a site does is its own setting
(authPersistSingleRequest).

Specifications: RFC 4559 section 4, [MS-NTHT], [MS-NLMP] section 3.2.5.
"""

from __future__ import annotations

import random
from collections.abc import Sequence

import msgspec

from phonesim.errors import DecodeError
from phonesim.mocksite.users import User, UserDirectory
from phonesim.wire.http_token import HttpToken
from phonesim.wire.ntlm import (
    HTTP_FLAGS,
    KEY_EXCHANGE,
    NTLM,
    REQUEST_TARGET,
    SEAL,
    SIGN,
    TARGET_INFO,
    UNICODE,
    NtlmChallenge,
    decode_authenticate,
    decode_negotiate,
    encode_challenge,
    knows_password,
    name_of_message,
    target_info,
)

HANDSHAKE_SECONDS = 60.0
"""How long a challenge waits for its answer [unknown]."""

_GRANTED = HTTP_FLAGS | SIGN | SEAL | KEY_EXCHANGE
_ALWAYS = UNICODE | NTLM | REQUEST_TARGET | TARGET_INFO

Connection = tuple[str, int]
"""A client's address and port."""


class Unauthorized(msgspec.Struct, frozen=True):
    """What a 401 offers, and for the operator why, empty if nothing is wrong."""

    challenges: tuple[HttpToken, ...]
    why: str = ""


class _Challenged(msgspec.Struct, frozen=True):
    """A handshake under way: the two messages that were exchanged, and when."""

    scheme: str
    negotiate: bytes
    challenge: bytes
    at: float


class WindowsAuthentication:
    """One web server's. `epoch` is the Unix time at monotonic zero, `rng` makes challenges."""

    def __init__(
        self,
        users: UserDirectory,
        schemes: Sequence[str],
        fqdn: str,
        rng: random.Random,
        epoch: float,
    ) -> None:
        self._users = users
        self._offers = tuple(HttpToken(scheme) for scheme in schemes)
        self._name, _, self._domain = fqdn.partition(".")
        self._rng = rng
        self._epoch = epoch
        self._challenged: dict[Connection, _Challenged] = {}

    def authenticate(
        self, connection: Connection, token: HttpToken | None, now: float
    ) -> User | Unauthorized:
        """The user who sends this request, or what to answer."""
        self._forget(now)
        begun = self._challenged.pop(connection, None)
        if token is None:
            return Unauthorized(self._offers)
        if HttpToken(token.scheme) not in self._offers:
            return self._refuse(f"{token.scheme} is not offered")
        try:
            if name_of_message(token.octets) == "NEGOTIATE_MESSAGE":
                return self._challenge(connection, token, now)
            if begun is None or begun.scheme != token.scheme:
                return self._refuse("no handshake was begun on this connection")
            return self._check(begun, token.octets)
        except DecodeError as error:
            return self._refuse(str(error))

    def _challenge(self, connection: Connection, token: HttpToken, now: float) -> Unauthorized:
        asked = decode_negotiate(token.octets)
        challenge = encode_challenge(
            NtlmChallenge(
                flags=asked.flags & _GRANTED | _ALWAYS,
                server_challenge=self._rng.getrandbits(64).to_bytes(8, "big"),
                target_name=self._domain,
                target_info=target_info(self._domain, self._name, self._epoch + now),
            )
        )
        self._challenged[connection] = _Challenged(token.scheme, token.octets, challenge, now)
        return Unauthorized((HttpToken(token.scheme, challenge),))

    def _check(self, begun: _Challenged, answer: bytes) -> User | Unauthorized:
        message = decode_authenticate(answer)
        user = self._find(message.domain, message.user)
        shown = "\\".join(filter(None, (message.domain, message.user)))[:80]
        if user is None:
            return self._refuse(f"nobody signs in as {shown!r}")
        if not knows_password(begun.negotiate, begun.challenge, answer, user.password):
            return self._refuse(f"the password of {shown!r} is wrong")
        return user

    def _find(self, domain: str, user: str) -> User | None:
        """Names come whole or in parts: alice@contoso.com, CONTOSO and alice."""
        names = (f"{domain}\\{user}", f"{user}@{domain}") if domain else (user,)
        found = (self._users.by_user_name(name) for name in names)
        return next((each for each in found if each is not None), None)

    def _refuse(self, why: str) -> Unauthorized:
        return Unauthorized(self._offers, why)

    def _forget(self, now: float) -> None:
        """Give up the oldest handshakes."""
        while self._challenged:
            oldest = next(iter(self._challenged))
            if now < self._challenged[oldest].at + HANDSHAKE_SECONDS:
                return
            del self._challenged[oldest]
