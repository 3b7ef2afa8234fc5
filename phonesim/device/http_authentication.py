"""The phone's side of NTLM over HTTP, with the credentials that a tethered computer handed over.

    Unauthenticated -> NEGOTIATE_MESSAGE -> Negotiating -> AUTHENTICATE_MESSAGE -> Answered

The phone answers the scheme NTLM, and Negotiate where that is all there is, with the same
tokens: it has no Kerberos ticket [inferred]. A 401 after its answer means that the server
knows the user under another password, or not at all.

Specifications: RFC 4559 section 4, [MS-NTHT], [MS-NLMP] section 3.1.5; sign-in reference
section 6.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence

import msgspec

from phonesim.device.outcome import FailureReason
from phonesim.errors import DecodeError
from phonesim.wire.http_token import NEGOTIATE, NTLM, HttpToken
from phonesim.wire.ntlm import (
    HTTP_FLAGS,
    NtlmNegotiate,
    answer_over_connection,
    encode_negotiate,
)


class WindowsCredentials(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """What is typed on a computer to which a phone is tethered.

    `sip_uri` is sip:user@domain, `user_name` DOMAIN\\user or user@domain.
    """

    sip_uri: str
    user_name: str
    password: str

    def __repr__(self) -> str:
        """Name the user and keep the password to itself."""
        return f"WindowsCredentials({self.sip_uri!r}, {self.user_name!r})"


class Authorize(msgspec.Struct, frozen=True, gc=False):
    """Send the request again with this token; `stays`: on the same connection."""

    token: HttpToken
    stays: bool


class NotAuthenticated(msgspec.Struct, frozen=True, gc=False):
    """It cannot be done, and why."""

    reason: FailureReason
    detail: str


class Unauthenticated(msgspec.Struct, frozen=True, gc=False):
    """Nothing was sent."""


class Negotiating(msgspec.Struct, frozen=True, gc=False):
    """The first token was sent; the server's challenge is awaited."""

    token: HttpToken


class Answered(msgspec.Struct, frozen=True, gc=False):
    """The challenge was answered."""


State = Unauthenticated | Negotiating | Answered


class HttpAuthentication:
    """Takes what a 401 offers, gives the next token or why there is none."""

    def __init__(
        self,
        credentials: WindowsCredentials,
        rng: random.Random,
        believed: Callable[[float], float],
    ) -> None:
        self._credentials = credentials
        self._rng = rng
        self._believed = believed
        self.state: State = Unauthenticated()

    def reset(self) -> None:
        """Begin again: the connection is another one."""
        self.state = Unauthenticated()

    @property
    def is_under_way(self) -> bool:
        """Whether a token was sent: it needs the connection on which it was."""
        return not isinstance(self.state, Unauthenticated)

    def answer(self, challenges: Sequence[HttpToken], now: float) -> Authorize | NotAuthenticated:
        """Answer a 401."""
        match self.state:
            case Unauthenticated():
                return self._begin(challenges)
            case Negotiating(token=token):
                return self._prove(token, challenges, now)
            case Answered():
                return NotAuthenticated(
                    FailureReason.PASSWORD_INCORRECT,
                    f"{self._credentials.user_name} was not accepted with its password",
                )

    def _begin(self, challenges: Sequence[HttpToken]) -> Authorize | NotAuthenticated:
        offered = [challenge.scheme for challenge in challenges]
        scheme = next((scheme for scheme in (NTLM, NEGOTIATE) if scheme in offered), None)
        if scheme is None:
            return NotAuthenticated(
                FailureReason.WEB_SERVICES_NO_COMMON_SCHEME,
                f"the server offers {', '.join(offered) or 'nothing'}, the phone has NTLM",
            )
        token = HttpToken(scheme, encode_negotiate(NtlmNegotiate(flags=HTTP_FLAGS)))
        self.state = Negotiating(token)
        return Authorize(token, stays=False)

    def _prove(
        self, sent: HttpToken, challenges: Sequence[HttpToken], now: float
    ) -> Authorize | NotAuthenticated:
        received = next((each.octets for each in challenges if each.scheme == sent.scheme), b"")
        domain, _, user = self._credentials.user_name.rpartition("\\")
        try:
            octets = answer_over_connection(
                sent.octets,
                received,
                user=user,
                domain=domain,
                password=self._credentials.password,
                now=self._believed(now),
                client_challenge=self._rng.getrandbits(64).to_bytes(8, "big"),
            )
        except DecodeError as error:
            return NotAuthenticated(
                FailureReason.WEB_SERVICES_HANDSHAKE_FAILED,
                f"the server sent no challenge: {error}",
            )
        self.state = Answered()
        return Authorize(HttpToken(sent.scheme, octets), stays=True)
