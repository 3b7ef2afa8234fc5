"""Digest authentication: the answer to a challenge, and its check.

MD5 and SHA-256, with qop "auth" or without qop; no -sess variants, no auth-int,
no hashed user names. The server judges by itself whether the nonce is one of
its own and whether `realm`, `username` and `uri` are those that it expects.

Specifications: RFC 3261 section 22, RFC 7616 (section 3.4.1 with qop, RFC 2069's
form without), RFC 8760 (SHA-256 in SIP).
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Callable

from phonesim.wire.sip import Challenge, Credentials


def digest_credentials(
    challenge: Challenge,
    *,
    method: str,
    uri: str,
    username: str,
    password: str,
    cnonce: str,
    nc: int = 1,
) -> Credentials | None:
    """The answer to `challenge`, or None if it asks for what is not supported.

    `nc` counts the requests that use the challenge's nonce, from 1. `cnonce` and
    `nc` are sent only if the challenge offers qop.
    """
    if not is_answerable(challenge):
        return None
    asked = _by_name(challenge.parameters)
    digest = _ALGORITHMS[asked.get("algorithm", "MD5").upper()]
    realm, nonce = asked["realm"], asked["nonce"]
    qop = "auth" if "qop" in asked else None
    nc_text = f"{nc:08x}"
    response = _response(
        digest, username, realm, password, method, uri, nonce, nc_text, cnonce, qop
    )
    parameters = [
        ("username", username),
        ("realm", realm),
        ("nonce", nonce),
        ("uri", uri),
        ("response", response),
    ]
    if "algorithm" in asked:
        parameters.append(("algorithm", asked["algorithm"]))
    if qop is not None:
        parameters += [("cnonce", cnonce), ("qop", qop), ("nc", nc_text)]
    if "opaque" in asked:
        parameters.append(("opaque", asked["opaque"]))
    return Credentials(scheme="Digest", parameters=tuple(parameters), is_proxy=challenge.is_proxy)


def is_answerable(challenge: Challenge) -> bool:
    """Whether `challenge` asks for what is supported."""
    if challenge.scheme.lower() != "digest":
        return False
    asked = _by_name(challenge.parameters)
    if asked.get("algorithm", "MD5").upper() not in _ALGORITHMS:
        return False
    offers = asked.get("qop", "auth").split(",")
    has_qop = "auth" in [offer.strip().lower() for offer in offers]
    return has_qop and "realm" in asked and "nonce" in asked


def digest_verifies(credentials: Credentials, *, method: str, password: str) -> bool:
    """Whether the sender of `credentials` knew `password`; never raises."""
    if credentials.scheme.lower() != "digest":
        return False
    given = _by_name(credentials.parameters)
    if len(given) < len(credentials.parameters):
        return False
    digest = _ALGORITHMS.get(given.get("algorithm", "MD5").upper())
    qop = given.get("qop")
    needed = ["username", "realm", "nonce", "uri", "response"]
    if qop is not None:
        needed += ["cnonce", "nc"]
    if digest is None or qop not in (None, "auth") or any(name not in given for name in needed):
        return False
    expected = _response(
        digest,
        given["username"],
        given["realm"],
        password,
        method,
        given["uri"],
        given["nonce"],
        given.get("nc", ""),
        given.get("cnonce", ""),
        qop,
    )
    return hmac.compare_digest(expected.encode(), given["response"].lower().encode())


def _md5(text: str) -> str:
    return hashlib.md5(text.encode(), usedforsecurity=False).hexdigest()


def _sha256(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


_ALGORITHMS: dict[str, Callable[[str], str]] = {"MD5": _md5, "SHA-256": _sha256}


def _by_name(parameters: tuple[tuple[str, str], ...]) -> dict[str, str]:
    return {name.lower(): value for name, value in parameters}


def _response(
    digest: Callable[[str], str],
    username: str,
    realm: str,
    password: str,
    method: str,
    uri: str,
    nonce: str,
    nc: str,
    cnonce: str,
    qop: str | None,
) -> str:
    a1 = digest(f"{username}:{realm}:{password}")
    a2 = digest(f"{method}:{uri}")
    if qop is None:
        return digest(f"{a1}:{nonce}:{a2}")
    return digest(f"{a1}:{nonce}:{nc}:{cnonce}:{qop}:{a2}")
