"""Web tickets: who asks for one, and what it is.

A RequestSecurityToken shows who the client is, and brings half of a key. The answer is
a SAML assertion that only the services can make, and the other half: the proof key never
crosses the network.

Specifications: [MS-OCAUTHWS], WS-Trust 1.3, WS-Security 1.0 (UsernameToken), sign-in
reference sections 6 and 7. What no public text states (the PIN credential's form, how the
SIP URI comes back) is written by one function each, marked [inferred].
"""

from __future__ import annotations

import hmac

import msgspec
from lxml import etree

from phonesim.errors import DecodeError
from phonesim.wire import soap_names as ns
from phonesim.wire.message_signature import (
    CertificateSignature,
    certificate_signature_xml,
    read_certificate_signature,
    timestamp_xml,
)
from phonesim.wire.saml_assertion import read_name
from phonesim.wire.soap_envelope import attribute_of, expect_text
from phonesim.wire.xml_document import (
    attribute_xml,
    markup_of,
    octets_of,
    octets_xml,
    only_child,
    optional_child,
    seconds_of,
    seconds_xml,
    text_of,
    text_xml,
)


class PinCredential(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """What is typed on the phone: a number or extension, and the PIN."""

    number: str
    pin: str

    def __repr__(self) -> str:
        """Name the number and keep the PIN to itself."""
        return f"PinCredential({self.number!r})"


class CertificateCredential(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """A certificate that the services issued earlier, and a signature with its key.

    `created` and `expires` are the signed Timestamp, Unix seconds.
    """

    created: int
    expires: int
    signature: CertificateSignature


Credential = PinCredential | CertificateCredential


class RequestSecurityToken(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """Web ticket request for the service at `applies_to`; `entropy` is 32 octets.

    `credential` is None where HTTP says who the client is. `sip_uri` is claimed by who knows it
    already: who signs in with a PIN does not.
    """

    context: str
    applies_to: str
    entropy: bytes
    credential: Credential | None
    sip_uri: str | None = None


class RequestSecurityTokenResponse(msgspec.Struct, frozen=True, kw_only=True, gc=False):
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


def proof_key(client_entropy: bytes, server_entropy: bytes) -> bytes:
    """The ticket's key, 32 octets: P_SHA1 (RFC 2246 section 5) of both entropies."""
    key = b""
    chain = server_entropy
    while len(key) < 32:
        chain = hmac.digest(client_entropy, chain, "sha1")
        key += hmac.digest(client_entropy, chain + server_entropy, "sha1")
    return key[:32]


def issue_xml(message: RequestSecurityToken) -> str:
    """The Body; without Claims if no SIP URI is known."""
    claims = ""
    if message.sip_uri is not None:
        claims = (
            f'<wst:Claims Dialect="{ns.CLAIMS}"><auth:ClaimType xmlns:auth="{ns.AUTHORIZATION}"'
            f' Uri="{ns.URI_CLAIM}" Optional="false"><auth:Value>{text_xml(message.sip_uri)}'
            "</auth:Value></auth:ClaimType></wst:Claims>"
        )
    return (
        f'<wst:RequestSecurityToken xmlns:wst="{ns.WST}"'
        f' Context="{attribute_xml(message.context)}">'
        f"<wst:TokenType>{ns.SAML_V1_1}</wst:TokenType>"
        f"<wst:RequestType>{ns.ISSUE_REQUEST_TYPE}</wst:RequestType>"
        f'<wsp:AppliesTo xmlns:wsp="{ns.WSP}"><wsa:EndpointReference xmlns:wsa="{ns.WSA}">'
        f"<wsa:Address>{text_xml(message.applies_to)}</wsa:Address>"
        f"</wsa:EndpointReference></wsp:AppliesTo>{claims}"
        f"<wst:Entropy><wst:BinarySecret>{octets_xml(message.entropy)}</wst:BinarySecret>"
        f"</wst:Entropy><wst:KeyType>{ns.SYMMETRIC_KEY}</wst:KeyType></wst:RequestSecurityToken>"
    )


def credential_xml(credential: Credential | None) -> str:
    """The content of a ticket request's Header; without a credential there is none [source]."""
    if credential is None:
        return ""
    if isinstance(credential, PinCredential):
        return _pin_credential_xml(credential)
    return (
        f'<wsse:Security xmlns:wsse="{ns.WSSE}" soap:mustUnderstand="1">'
        f"{timestamp_xml(credential.created, credential.expires)}"
        f"{certificate_signature_xml(credential.signature)}</wsse:Security>"
    )


def _pin_credential_xml(credential: PinCredential) -> str:
    """[inferred] The credential of WebTicketServicePin; `_read_pin_credential` is its reader.

    Synthetic: the UsernameToken that the password port takes, with the number as
    typed and the PIN, neither of them in base64.
    """
    return (
        f'<wsse:Security xmlns:wsse="{ns.WSSE}" soap:mustUnderstand="1"><wsse:UsernameToken>'
        f"<wsse:Username>{text_xml(credential.number)}</wsse:Username>"
        f'<wsse:Password Type="{ns.PASSWORD_TEXT}">{text_xml(credential.pin)}</wsse:Password>'
        "</wsse:UsernameToken></wsse:Security>"
    )


def issue_response_xml(message: RequestSecurityTokenResponse) -> str:
    """The Body of the answer with the ticket."""
    return (
        f'<wst:RequestSecurityTokenResponseCollection xmlns:wst="{ns.WST}">'
        f'<wst:RequestSecurityTokenResponse Context="{attribute_xml(message.context)}">'
        f"<wst:TokenType>{ns.SAML_V1_1}</wst:TokenType>"
        f"<wst:RequestedSecurityToken>{message.assertion.decode()}</wst:RequestedSecurityToken>"
        "<wst:RequestedProofToken>"
        f"<wst:ComputedKey>{ns.PSHA1_KEY}</wst:ComputedKey></wst:RequestedProofToken>"
        f"<wst:Entropy><wst:BinarySecret>{octets_xml(message.entropy)}</wst:BinarySecret>"
        f'</wst:Entropy><wst:Lifetime xmlns:wsu="{ns.WSU}">'
        f"<wsu:Created>{seconds_xml(message.created)}</wsu:Created>"
        f"<wsu:Expires>{seconds_xml(message.expires)}</wsu:Expires></wst:Lifetime>"
        "</wst:RequestSecurityTokenResponse></wst:RequestSecurityTokenResponseCollection>"
    )


def read_issue(
    envelope: etree._Element, content: etree._Element, data: bytes
) -> RequestSecurityToken:
    """Read a ticket request with its credential."""
    expect_text(only_child(content, f"{{{ns.WST}}}TokenType"), ns.SAML_V1_1)
    expect_text(only_child(content, f"{{{ns.WST}}}RequestType"), ns.ISSUE_REQUEST_TYPE)
    expect_text(only_child(content, f"{{{ns.WST}}}KeyType"), ns.SYMMETRIC_KEY)
    applies_to = only_child(content, f"{{{ns.WSP}}}AppliesTo")
    reference = only_child(applies_to, f"{{{ns.WSA}}}EndpointReference")
    entropy = only_child(content, f"{{{ns.WST}}}Entropy")
    return RequestSecurityToken(
        context=content.get("Context") or "",
        applies_to=text_of(only_child(reference, f"{{{ns.WSA}}}Address")),
        entropy=octets_of(only_child(entropy, f"{{{ns.WST}}}BinarySecret")),
        credential=_read_credential(envelope),
        sip_uri=_read_claim(content),
    )


def _read_claim(content: etree._Element) -> str | None:
    claims = optional_child(content, f"{{{ns.WST}}}Claims")
    if claims is None:
        return None
    claim = only_child(claims, f"{{{ns.AUTHORIZATION}}}ClaimType")
    if claims.get("Dialect") != ns.CLAIMS or claim.get("Uri") != ns.URI_CLAIM:
        raise DecodeError("the claim is not about the SIP URI")
    return text_of(only_child(claim, f"{{{ns.AUTHORIZATION}}}Value"))


def _read_credential(envelope: etree._Element) -> Credential | None:
    header = optional_child(envelope, f"{{{ns.SOAP}}}Header")
    security = None if header is None else optional_child(header, f"{{{ns.WSSE}}}Security")
    if security is None:
        return None
    tokens = [each for each in security if each.tag in _TOKENS]
    if len(tokens) != 1:
        raise DecodeError(f"Security holds {len(tokens)} credentials instead of one")
    if tokens[0].tag == _TOKENS[0]:
        return _read_pin_credential(security)
    timestamp = only_child(security, f"{{{ns.WSU}}}Timestamp")
    return CertificateCredential(
        created=seconds_of(only_child(timestamp, f"{{{ns.WSU}}}Created")),
        expires=seconds_of(only_child(timestamp, f"{{{ns.WSU}}}Expires")),
        signature=read_certificate_signature(security),
    )


_TOKENS = (f"{{{ns.WSSE}}}UsernameToken", f"{{{ns.WSSE}}}BinarySecurityToken")


def _read_pin_credential(security: etree._Element) -> PinCredential:
    """[inferred] Number and PIN, plain or both in base64.

    A PIN consists of digits [documented], and digits read as base64 never give
    digits, so the two forms cannot be taken for each other.
    """
    token = only_child(security, f"{{{ns.WSSE}}}UsernameToken")
    username = only_child(token, f"{{{ns.WSSE}}}Username")
    password = only_child(token, f"{{{ns.WSSE}}}Password")
    if password.get("Type", ns.PASSWORD_TEXT) != ns.PASSWORD_TEXT:
        raise DecodeError(f"the Type of Password is not {ns.PASSWORD_TEXT}")
    try:
        plain = octets_of(username).decode(), octets_of(password).decode("ascii")
    except (DecodeError, UnicodeDecodeError):
        plain = "", ""
    if plain[1].isdigit():
        return PinCredential(number=plain[0], pin=plain[1])
    return PinCredential(number=text_of(username), pin=text_of(password))


def read_issue_response(content: etree._Element, data: bytes) -> RequestSecurityTokenResponse:
    """Read the answer with the ticket."""
    response = only_child(content, "{*}RequestSecurityTokenResponse")
    token = only_child(response, "{*}RequestedSecurityToken")
    assertion = only_child(token, f"{{{ns.SAML}}}Assertion")
    lifetime = only_child(response, "{*}Lifetime")
    return RequestSecurityTokenResponse(
        context=response.get("Context") or "",
        assertion_id=attribute_of(assertion, "AssertionID"),
        assertion=markup_of(assertion, data),
        created=seconds_of(only_child(lifetime, "{*}Created")),
        expires=seconds_of(only_child(lifetime, "{*}Expires")),
        entropy=octets_of(only_child(only_child(response, "{*}Entropy"), "{*}BinarySecret")),
        sip_uri=read_name(assertion),
    )
