"""Tokens of Negotiate and NTLM in HTTP: who the client is, in several steps.

    client                                       server
    POST                                      -> 401, WWW-Authenticate: Negotiate, and NTLM
    POST, Authorization: NTLM <token>         -> 401, WWW-Authenticate: NTLM <token>
    POST, Authorization: NTLM <token>         -> the answer

All of it goes over one connection.

Specifications: RFC 4559 section 4, RFC 9110 section 11; [MS-NTHT].
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Iterable

import msgspec

from phonesim.errors import DecodeError

NEGOTIATE = "Negotiate"
NTLM = "NTLM"

_SCHEMES = {scheme.lower(): scheme for scheme in (NEGOTIATE, NTLM)}


class HttpToken(msgspec.Struct, frozen=True, gc=False):
    """A scheme and its token, empty in an offer. Passwords can be guessed from it: no repr."""

    scheme: str
    octets: bytes = b""

    def __repr__(self) -> str:
        """Name the scheme and the token's size."""
        return f"HttpToken({self.scheme!r}, {len(self.octets)} octets)"


def encode_token(token: HttpToken) -> str:
    """The value of Authorization or WWW-Authenticate."""
    if not token.octets:
        return token.scheme
    return f"{token.scheme} {base64.b64encode(token.octets).decode()}"


def decode_token(value: str) -> HttpToken:
    """Read Authorization; DecodeError if a token of Negotiate or NTLM is not base64.

    Of other schemes only the name is kept.
    """
    name, _, text = value.strip().partition(" ")
    scheme = _SCHEMES.get(name.lower())
    if scheme is None:
        return HttpToken(name[:40])
    try:
        return HttpToken(scheme, base64.b64decode(text.strip(), validate=True))
    except (binascii.Error, ValueError):
        raise DecodeError(f"the token of {scheme} is not base64") from None


def decode_challenges(values: Iterable[str]) -> tuple[HttpToken, ...]:
    """Read every WWW-Authenticate; DecodeError as `decode_token`.

    What a comma leaves of parameters of other schemes is not told from schemes: it names none
    that anybody would choose.
    """
    return tuple(
        decode_token(part) for value in values for part in value.split(",") if part.strip()
    )
