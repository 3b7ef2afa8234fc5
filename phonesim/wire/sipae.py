"""SIP authentication by NTLM, Kerberos and TLS-DSK: headers, signatures, keys.

A server offers schemes, each in a challenge of its own. Client and server then exchange
what the scheme wants, base64 in `gssapi-data`, in challenges and credentials, until each
has the keys of a security association (SA), which `opaque` names. From then on every
message is signed: a request in Authorization (`crand`, `cnum`, `response`), a response in
Authentication-Info (`srand`, `snum`, `rspauth`).

What is signed is a buffer of some of the message's values, each in angle brackets. Values
are those of the message: a decoder that changes one spoils the signature.

    version 2   without To URI and identities      (LCS and OCS 2007)
    version 3   the last message of the handshake is not signed
    version 4   it is signed

Specifications: [MS-SIPAE] sections 2.2, 3.2.5.1 (keys), 3.2.5.2 (buffer), 3.3.5; RFC 2246
and RFC 5246 section 5 (PRF); RFC 5216 section 2.3 (key label); sign-in reference sections
10 to 16.
"""

from __future__ import annotations

import base64
import binascii
import hmac
import re
from typing import Literal, Protocol

import msgspec

from phonesim.errors import DecodeError
from phonesim.wire.sip import (
    Challenge,
    Credentials,
    SipMessage,
    SipRequest,
    SipResponse,
    header,
)
from phonesim.wire.sip_header import quoted, read_address, read_authentication, read_list

TLS_DSK = "TLS-DSK"
NTLM = "NTLM"
KERBEROS = "Kerberos"

AUTHORIZATION = "Authorization"
AUTHENTICATION_INFO = "Authentication-Info"
PROXY_AUTHENTICATION_INFO = "Proxy-Authentication-Info"

GSSAPI_LIMIT = 20000
"""Octets of one message in gssapi-data [unknown]. Servers may name every authority that they
trust in CertificateRequest; in base64, a header line must hold it."""

Version = Literal[2, 3, 4]
MacHash = Literal["md5", "sha1", "sha256", "sha384"]
PrfHash = Literal["md5-sha1", "sha256", "sha384"]

KEY_LABEL = b"client EAP encryption"
KEYING_MATERIAL_SIZE = 128

_SCHEMES = {scheme.lower(): scheme for scheme in (TLS_DSK, NTLM, KERBEROS)}
_VERSIONS: dict[str, Version] = {"2": 2, "3": 3, "4": 4}
_LARGEST_NUMBER = 2**32 - 1

_is_random = re.compile(r"[0-9A-Fa-f]{8}").fullmatch
_is_signature = re.compile(r"(?:[0-9A-Fa-f]{2}){16,64}").fullmatch


class Offer(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """A challenge: a scheme that a server offers, or the next message of its handshake.

    `gssapi_data` is raw; None where there is none, which is not the same as an empty one.
    """

    scheme: str
    realm: str
    targetname: str
    version: Version
    opaque: str | None = None
    gssapi_data: bytes | None = None
    sts_uri: str | None = None
    is_proxy: bool = False


class Authorization(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """Credentials: the client's next message of a handshake, its signature, or both.

    `crand` is 8 hexadecimal digits, `response` hexadecimal.
    """

    scheme: str
    realm: str
    targetname: str
    version: Version
    opaque: str | None = None
    gssapi_data: bytes | None = None
    crand: str | None = None
    cnum: int | None = None
    response: str | None = None
    is_proxy: bool = False


class AuthenticationInfo(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """The signature of what a server sends; `snum` counts those of the SA from 1."""

    scheme: str
    realm: str
    targetname: str
    version: Version
    opaque: str
    srand: str
    snum: int
    rspauth: str


class SigningKey(Protocol):
    """The key of one direction of an SA."""

    def sign(self, buffer: bytes) -> str:
        """The signature of `buffer`, hexadecimal."""
        ...

    def verifies(self, buffer: bytes, signature: str) -> bool:
        """Whether that is the signature of `buffer`; its case does not matter."""
        ...


class HmacKey(msgspec.Struct, frozen=True, gc=False):
    """A key of TLS-DSK, and the hash of its HMAC. Its repr is empty."""

    key: bytes
    mac_hash: MacHash

    def sign(self, buffer: bytes) -> str:
        """HMAC of full length, in lower case."""
        return hmac.digest(self.key, buffer, self.mac_hash).hex()

    def verifies(self, buffer: bytes, signature: str) -> bool:
        """Compare in constant time; `signature` is ASCII."""
        return hmac.compare_digest(self.sign(buffer), signature.lower())

    def __repr__(self) -> str:
        """Keep the key out of logs."""
        return "HmacKey()"


class SigningKeys(msgspec.Struct, frozen=True, gc=False):
    """What the two ends of an SA sign with."""

    client: SigningKey
    server: SigningKey


# --- headers ---


def read_offer(challenge: Challenge) -> Offer | None:
    """Read a challenge; None if it is of another scheme, DecodeError if it is malformed."""
    scheme = _SCHEMES.get(challenge.scheme.lower())
    if scheme is None:
        return None
    values = _by_name(challenge.parameters)
    return Offer(
        scheme=scheme,
        realm=_needed(values, "realm", scheme),
        targetname=_needed(values, "targetname", scheme),
        version=_version(values, scheme),
        opaque=values.get("opaque"),
        gssapi_data=_gssapi_data(values, scheme),
        sts_uri=values.get("sts-uri"),
        is_proxy=challenge.is_proxy,
    )


def challenge_of(offer: Offer) -> Challenge:
    """The header that makes this offer."""
    parameters = []
    if offer.opaque is not None:
        parameters.append(("opaque", offer.opaque))
    if offer.gssapi_data is not None:
        parameters.append(("gssapi-data", base64.b64encode(offer.gssapi_data).decode()))
    parameters += [
        ("realm", offer.realm),
        ("targetname", offer.targetname),
        ("version", str(offer.version)),
    ]
    if offer.sts_uri is not None:
        parameters.append(("sts-uri", offer.sts_uri))
    return Challenge(scheme=offer.scheme, parameters=tuple(parameters), is_proxy=offer.is_proxy)


def read_authorization(credentials: Credentials) -> Authorization | None:
    """Read credentials; None if they are of another scheme, DecodeError if malformed."""
    scheme = _SCHEMES.get(credentials.scheme.lower())
    if scheme is None:
        return None
    values = _by_name(credentials.parameters)
    crand, response, cnum = values.get("crand"), values.get("response"), values.get("cnum")
    if response is not None:
        if crand is None or cnum is None:
            raise DecodeError(f"{scheme}: response without crand or cnum")
        _check_signature(scheme, "crand", crand, "response", response)
    return Authorization(
        scheme=scheme,
        realm=_needed(values, "realm", scheme),
        targetname=_needed(values, "targetname", scheme),
        version=_version(values, scheme),
        opaque=values.get("opaque"),
        gssapi_data=_gssapi_data(values, scheme),
        crand=crand,
        cnum=None if cnum is None else _number(cnum, f"{scheme}: cnum"),
        response=response,
        is_proxy=credentials.is_proxy,
    )


def credentials_of(authorization: Authorization) -> Credentials:
    """The header that says this, its parameters in the order of these clients."""
    parameters = [("qop", "auth")]
    if authorization.opaque is not None:
        parameters.append(("opaque", authorization.opaque))
    parameters += [("realm", authorization.realm), ("targetname", authorization.targetname)]
    if authorization.gssapi_data is not None:
        data = base64.b64encode(authorization.gssapi_data).decode()
        parameters.append(("gssapi-data", data))
    parameters.append(("version", str(authorization.version)))
    if authorization.response is not None:
        parameters += [
            ("crand", authorization.crand or ""),
            ("cnum", str(authorization.cnum)),
            ("response", authorization.response),
        ]
    return Credentials(
        scheme=authorization.scheme,
        parameters=tuple(parameters),
        is_proxy=authorization.is_proxy,
    )


def authentication_info(message: SipMessage) -> AuthenticationInfo | None:
    """The signature of what a server sent; None if it has none, DecodeError if it is malformed."""
    text = header(message, AUTHENTICATION_INFO) or header(message, PROXY_AUTHENTICATION_INFO)
    if text is None:
        return None
    given, parameters = read_authentication(text, AUTHENTICATION_INFO)
    scheme = _SCHEMES.get(given.lower())
    if scheme is None:
        return None
    values = _by_name(parameters)
    srand, rspauth = _needed(values, "srand", scheme), _needed(values, "rspauth", scheme)
    _check_signature(scheme, "srand", srand, "rspauth", rspauth)
    return AuthenticationInfo(
        scheme=scheme,
        realm=_needed(values, "realm", scheme),
        targetname=_needed(values, "targetname", scheme),
        version=_version(values, scheme),
        opaque=_needed(values, "opaque", scheme),
        srand=srand,
        snum=_number(_needed(values, "snum", scheme), f"{scheme}: snum"),
        rspauth=rspauth,
    )


def answer_authorization(response: SipResponse) -> Authorization | None:
    """The signature of a client's answer; None if it has none, DecodeError if malformed."""
    text = header(response, AUTHORIZATION)
    if text is None:
        return None
    scheme, parameters = read_authentication(text, AUTHORIZATION)
    return read_authorization(Credentials(scheme=scheme, parameters=parameters))


def authentication_info_text(info: AuthenticationInfo) -> str:
    """The value of the header Authentication-Info."""
    return (
        f'{info.scheme} qop="auth", opaque={quoted(info.opaque)}, srand="{info.srand}", '
        f'snum="{info.snum}", rspauth="{info.rspauth}", targetname={quoted(info.targetname)}, '
        f"realm={quoted(info.realm)}, version={info.version}"
    )


def _by_name(parameters: tuple[tuple[str, str], ...]) -> dict[str, str]:
    return {name.lower(): value for name, value in parameters}


def _needed(values: dict[str, str], name: str, scheme: str) -> str:
    value = values.get(name)
    if value is None:
        raise DecodeError(f"{scheme}: {name} is missing")
    return value


def _version(values: dict[str, str], scheme: str) -> Version:
    """What stands there, or 2 where nothing does: older servers do not name a version."""
    text = values.get("version", "2")
    version = _VERSIONS.get(text)
    if version is None:
        raise DecodeError(f"{scheme}: version {text[:20]!r} is not 2, 3 or 4")
    return version


def _gssapi_data(values: dict[str, str], scheme: str) -> bytes | None:
    text = values.get("gssapi-data")
    if text is None:
        return None
    try:
        data = base64.b64decode(text, validate=True)
    except (ValueError, binascii.Error):
        raise DecodeError(f"{scheme}: gssapi-data is not base64") from None
    if len(data) > GSSAPI_LIMIT:
        raise DecodeError(
            f"{scheme}: gssapi-data has {len(data)} octets; {GSSAPI_LIMIT} is the limit"
        )
    return data


def _number(text: str, name: str) -> int:
    if text.isascii() and text.isdigit() and len(text) <= 10:
        number = int(text)
        if 0 < number <= _LARGEST_NUMBER:
            return number
    raise DecodeError(f"{name} {text[:20]!r} is no number from 1 to {_LARGEST_NUMBER}")


def _check_signature(scheme: str, rand: str, given: str, name: str, signature: str) -> None:
    if not _is_random(given):
        raise DecodeError(f"{scheme}: {rand} is not 8 hexadecimal digits")
    if not _is_signature(signature):
        raise DecodeError(f"{scheme}: {name} is not 16 to 64 hexadecimal octets")


# --- signatures ---


def signature_buffer(
    scheme: str,
    realm: str,
    targetname: str,
    version: int,
    rand: str,
    number: int,
    message: SipMessage,
) -> bytes:
    """What the signature of `message` is made over; `rand` and `number` are crand and cnum of a
    request, srand and snum of a response.
    """
    sender, recipient = message.sender, message.recipient
    if isinstance(message, SipRequest):
        method, status = message.method, ""
    else:
        method, status = message.cseq_method, f"<{message.status}>"
    to_tag = recipient.tag or ""
    if version > 2:
        sip_identity, tel_identity = _identities(message)
        middle = f"<{recipient.uri}><{to_tag}><{sip_identity}><{tel_identity}>"
    else:
        middle = f"<{to_tag}>"
    expires = "" if message.expires is None else message.expires
    return (
        f"<{scheme}><{rand}><{number}><{realm}><{targetname}><{message.call_id}>"
        f"<{message.cseq}><{method}><{sender.uri}><{sender.tag or ''}>"
        f"{middle}<{expires}>{status}"
    ).encode()


def _identities(message: SipMessage) -> tuple[str, str]:
    """The sip: and the tel: URI of P-Asserted-Identity or P-Preferred-Identity."""
    sip = tel = ""
    for name, value in message.headers:
        if len(name) in (19, 20) and name.lower() in (
            "p-asserted-identity",
            "p-preferred-identity",
        ):
            try:
                for item in read_list(value, name):
                    uri, _, _ = read_address(item, 0, name)
                    scheme = uri.partition(":")[0].lower()
                    if scheme in ("sip", "sips"):
                        sip = sip or uri
                    elif scheme == "tel":
                        tel = tel or uri
            except DecodeError:
                continue  # no identity, then: the other side finds none either
    return sip, tel


# --- keys of TLS-DSK ---


def signing_keys(keying_material: bytes, mac_hash: MacHash) -> SigningKeys:
    """The keys in the 128 octets that the inner TLS connection exports under `KEY_LABEL`.

    ValueError if there are fewer.
    """
    if len(keying_material) < KEYING_MATERIAL_SIZE:
        raise ValueError(f"{len(keying_material)} octets of keying material are too few")
    return SigningKeys(
        HmacKey(keying_material[64:96], mac_hash), HmacKey(keying_material[96:128], mac_hash)
    )


def keying_material(
    master_secret: bytes, client_random: bytes, server_random: bytes, prf_hash: PrfHash
) -> bytes:
    """Those 128 octets, made from the secrets of an inner TLS handshake.

    `prf_hash` is md5-sha1 up to TLS 1.1, and in TLS 1.2 sha256 or the hash of the suite.
    """
    seed = KEY_LABEL + client_random + server_random
    if prf_hash != "md5-sha1":
        return p_hash(prf_hash, master_secret, seed, KEYING_MATERIAL_SIZE)
    half = (len(master_secret) + 1) // 2
    left = p_hash("md5", master_secret[:half], seed, KEYING_MATERIAL_SIZE)
    right = p_hash("sha1", master_secret[-half:], seed, KEYING_MATERIAL_SIZE)
    return bytes(a ^ b for a, b in zip(left, right, strict=True))


def p_hash(mac_hash: str, secret: bytes, seed: bytes, size: int) -> bytes:
    """P_hash of RFC 5246 section 5: `size` octets."""
    out = b""
    a = seed
    while len(out) < size:
        a = hmac.digest(secret, a, mac_hash)
        out += hmac.digest(secret, a + seed, mac_hash)
    return out[:size]


def mac_hash_of(cipher_suite: str) -> MacHash:
    """The hash of a TLS cipher suite's MAC, by the suite's OpenSSL name."""
    last = cipher_suite.rpartition("-")[2].lower()
    match last:
        case "md5" | "sha256" | "sha384":
            return last
        case _:
            return "sha1"
