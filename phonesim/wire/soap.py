"""The SOAP messages of the web services, over lxml.

Specifications: [MS-OCAUTHWS], WS-Trust 1.3, WS-Security 1.0 (UsernameToken,
SAML token profile), XML Signature with exclusive canonicalisation. What no
public text states (the PIN credential's form, the element names of
GetRootCertChains, how the SIP URI comes back) is written by one function each,
marked [inferred].
"""

from __future__ import annotations

import hmac

import msgspec


class Proof:
    """How a signed request shows that its sender holds the ticket's proof key."""

    def verify(self, key: bytes) -> bool:
        """Whether the proof was made with `key` over what was received."""
        raise NotImplementedError


class KeyProof(Proof):
    """The sender's side: holds the key itself, with which `encode_soap` signs."""

    def __init__(self, key: bytes) -> None:
        self.key = key

    def verify(self, key: bytes) -> bool:
        """Whether `key` is the key held."""
        return hmac.compare_digest(self.key, key)


class GetRootCertChains(msgspec.Struct, frozen=True, kw_only=True):
    """Anonymous request for the chain of trust, sent over plain HTTP."""


class GetRootCertChainsResponse(msgspec.Struct, frozen=True, kw_only=True):
    """The chain: a DER PKCS#7 certificate bag."""

    chain: bytes


class RequestSecurityToken(msgspec.Struct, frozen=True, kw_only=True):
    """Web ticket request with PIN credentials; `entropy` is 32 octets."""

    context: str
    applies_to: str
    username: str
    password: str
    entropy: bytes


class RequestSecurityTokenResponse(msgspec.Struct, frozen=True, kw_only=True):
    """A web ticket. `assertion` is the SAML assertion's XML, to be sent back verbatim.

    `created` and `expires` are Unix seconds; `entropy` is the server's half of
    the proof key; `sip_uri` the user the credentials belong to.
    """

    context: str
    assertion_id: str
    assertion: bytes
    created: int
    expires: int
    entropy: bytes
    sip_uri: str | None


class GetAndPublishCert(msgspec.Struct, frozen=True, kw_only=True):
    """Certificate request, signed with the ticket's proof key.

    `device_id` is a UUID without braces, `entity` is user@domain, `csr` DER PKCS#10.
    `created` and `expires` are the signed Timestamp, Unix seconds.
    """

    to: str
    message_id: str
    device_id: str
    entity: str
    csr: bytes
    request_id: str
    assertion_id: str
    assertion: bytes
    created: int
    expires: int
    proof: Proof


class GetAndPublishCertResponse(msgspec.Struct, frozen=True, kw_only=True):
    """The issued certificate, DER X.509."""

    certificate: bytes
    device_id: str
    entity: str


class SoapFault(msgspec.Struct, frozen=True, kw_only=True):
    """A fault with its OCSDiagnosticsFault; `code` has no prefix.

    `error_id` and `error_reason` are those of Ms-Diagnostics-Fault, 0 and ""
    when the fault carries none. `pin_failure` is one of the documented
    PinFailureReason values, carried in NameValuePairs [inferred].
    """

    code: str
    reason: str
    error_id: int = 0
    error_reason: str = ""
    pin_failure: str | None = None


SoapRequest = GetRootCertChains | RequestSecurityToken | GetAndPublishCert
SoapResponse = (
    GetRootCertChainsResponse | RequestSecurityTokenResponse | GetAndPublishCertResponse | SoapFault
)
SoapMessage = SoapRequest | SoapResponse


class HttpRequest(msgspec.Struct, frozen=True, kw_only=True):
    """A POST to a web service. `scheme` is "http" or "https"; `host` the name in Host and SNI."""

    scheme: str
    host: str
    port: int
    path: str
    message: SoapRequest

    @property
    def url(self) -> str:
        """The URL, with its port always written."""
        return f"{self.scheme}://{self.host}:{self.port}{self.path}"


class HttpResponse(msgspec.Struct, frozen=True, kw_only=True):
    """A web service's answer; `message` is None when the body is no SOAP (a 404 page)."""

    status: int
    message: SoapResponse | None = None
    retry_after: int | None = None
