"""Certificate provisioning: the chain of trust for anybody, a certificate for a ticket's holder.

GetRootCertChains is anonymous. GetAndPublishCert shows a web ticket and proves, by a signed
Timestamp, that its sender holds the ticket's key.

Specifications: [MS-OCAUTHWS], WS-Security 1.0 (SAML token profile), sign-in reference
sections 4, 7 and 8. What no public text states (the element names of GetRootCertChains) is
written by one function, marked [inferred].
"""

from __future__ import annotations

import base64
import hmac
from abc import ABC, abstractmethod

import msgspec
from lxml import etree

from phonesim.errors import DecodeError
from phonesim.wire import soap_names as ns
from phonesim.wire.message_signature import (
    TicketSignature,
    read_ticket_signature,
    ticket_signature_xml,
    timestamp_xml,
)
from phonesim.wire.soap_envelope import attribute_of, expect_text, security_header
from phonesim.wire.xml_document import (
    attribute_xml,
    markup_of,
    octets_of,
    octets_xml,
    only_child,
    seconds_of,
    text_of,
    text_xml,
)

_ID_LIMIT = 256  # characters of an id, which its receiver may have to remember


class Proof(ABC):
    """How a signed request shows that its sender holds the ticket's proof key."""

    @abstractmethod
    def verify(self, key: bytes) -> bool:
        """Whether the proof was made with `key` over what was received."""


class KeyProof(Proof):
    """The sender's side: holds the key itself, with which `encode_soap` signs."""

    def __init__(self, key: bytes) -> None:
        self.key = key

    def verify(self, key: bytes) -> bool:
        """Whether `key` is the key held."""
        return hmac.compare_digest(self.key, key)


class XmlSignatureProof(Proof):
    """The receiver's side: the signature that came with the request."""

    def __init__(self, signature: TicketSignature) -> None:
        self._signature = signature

    def verify(self, key: bytes) -> bool:
        """Whether `key` signed the Timestamp that the request's times were read from."""
        return self._signature.verifies(key)


class GetRootCertChains(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """Anonymous request for the chain of trust, sent over plain HTTP."""


class GetRootCertChainsResponse(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """The chain: a DER PKCS#7 certificate bag."""

    chain: bytes


class GetAndPublishCert(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """Certificate request, signed with the ticket's proof key.

    `device_id` is a UUID without braces, `entity` is user@domain, `csr` DER PKCS#10.
    `created` and `expires` are the signed Timestamp, Unix seconds. `message_id` and
    `request_id` are UUIDs, without "uuid:".
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


class GetAndPublishCertResponse(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """The issued certificate, DER X.509."""

    certificate: bytes
    device_id: str
    entity: str


def _root_chains_names() -> tuple[str, str, str, str]:
    """[inferred] Action, request, response and chain element, by analogy with GetAndPublishCert."""
    return (
        f"{ns.OCS}GetRootCertChains",
        "GetRootCertChains",
        "GetRootCertChainsResponse",
        "CertChain",
    )


ROOT_CHAINS_ACTION, ROOT_CHAINS, ROOT_CHAINS_RESPONSE, ROOT_CHAINS_CHAIN = _root_chains_names()


def root_chains_response_xml(message: GetRootCertChainsResponse) -> str:
    """The Body of the answer with the chain."""
    return (
        f'<{ROOT_CHAINS_RESPONSE} xmlns="{ns.OCS}"><{ROOT_CHAINS_CHAIN}>'
        f"{octets_xml(message.chain)}</{ROOT_CHAINS_CHAIN}></{ROOT_CHAINS_RESPONSE}>"
    )


def read_root_chains_response(content: etree._Element, data: bytes) -> GetRootCertChainsResponse:
    """Read the answer with the chain."""
    return GetRootCertChainsResponse(
        chain=octets_of(only_child(content, f"{{*}}{ROOT_CHAINS_CHAIN}"))
    )


def ticket_header_xml(message: GetAndPublishCert) -> str:
    """The Header of a call with a ticket: only the Timestamp is signed."""
    if not isinstance(message.proof, KeyProof):
        raise TypeError("a request can only be signed by a KeyProof")
    timestamp = timestamp_xml(message.created, message.expires)
    signature = ticket_signature_xml(timestamp, message.proof.key, message.assertion_id)
    return (
        f'<wsa:To xmlns:wsa="{ns.WSA}">{text_xml(message.to)}</wsa:To>'
        f'<wsa:ReplyTo xmlns:wsa="{ns.WSA}"><wsa:Address>{ns.ANONYMOUS}</wsa:Address></wsa:ReplyTo>'
        f'<wsa:MessageID xmlns:wsa="{ns.WSA}">uuid:{text_xml(message.message_id)}</wsa:MessageID>'
        f'<wsa:Action xmlns:wsa="{ns.WSA}">{ns.PUBLISH_ACTION}</wsa:Action>'
        f'<wsse:Security xmlns:wsse="{ns.WSSE}">'
        f"{timestamp}{message.assertion.decode()}{signature}</wsse:Security>"
    )


def publish_xml(message: GetAndPublishCert) -> str:
    """The Body of the certificate request."""
    csr = base64.encodebytes(message.csr).decode().replace("\n", "\r\n")
    return (
        f'<GetAndPublishCert xmlns="{ns.OCS}" DeviceId="{{{attribute_xml(message.device_id)}}}"'
        f' Entity="{attribute_xml(message.entity)}">'
        f'<wst:RequestSecurityToken xmlns:wst="{ns.WST_OF_PUBLISH}">'
        f"<wst:TokenType>{ns.X509_V3}</wst:TokenType>"
        f"<wst:RequestType>{ns.PUBLISH_REQUEST_TYPE}</wst:RequestType>"
        f'<wsse:BinarySecurityToken xmlns:wsse="{ns.WSSE}" ValueType="{ns.PKCS10}"'
        f' EncodingType="{ns.BASE64}">\r\n{csr}</wsse:BinarySecurityToken>'
        f'<wstep:RequestID xmlns:wstep="{ns.WSTEP}">{text_xml(message.request_id)}'
        "</wstep:RequestID></wst:RequestSecurityToken></GetAndPublishCert>"
    )


def publish_response_xml(message: GetAndPublishCertResponse) -> str:
    """The Body of the answer with the certificate."""
    return (
        f'<GetAndPublishCertResponse xmlns="{ns.OCS}" ResponseClass="Success"'
        f' DeviceId="{{{attribute_xml(message.device_id)}}}"'
        f' Entity="{attribute_xml(message.entity)}">'
        f'<wst:RequestSecurityTokenResponse xmlns:wst="{ns.WST_OF_PUBLISH}">'
        f"<wst:TokenType>{ns.X509_V3}</wst:TokenType><wst:RequestedSecurityToken>"
        f'<wsse:BinarySecurityToken xmlns:wsse="{ns.WSSE}" ValueType="{ns.X509_V3}"'
        f' EncodingType="{ns.BASE64}">{octets_xml(message.certificate)}</wsse:BinarySecurityToken>'
        "</wst:RequestedSecurityToken></wst:RequestSecurityTokenResponse>"
        "</GetAndPublishCertResponse>"
    )


def read_root_chains(
    envelope: etree._Element, content: etree._Element, data: bytes
) -> GetRootCertChains:
    """Read the anonymous request, which holds nothing."""
    return GetRootCertChains()


def read_publish(
    envelope: etree._Element, content: etree._Element, data: bytes
) -> GetAndPublishCert:
    """Read a certificate request; its signature is for `proof` to verify."""
    header, security = security_header(envelope)
    expect_text(only_child(header, f"{{{ns.WSA}}}Action"), ns.PUBLISH_ACTION)
    signature = read_ticket_signature(security)
    timestamp = only_child(security, f"{{{ns.WSU}}}Timestamp")
    assertion = only_child(security, f"{{{ns.SAML}}}Assertion")
    assertion_id = assertion.get("AssertionID")
    if not assertion_id or assertion_id != signature.assertion_id:
        raise DecodeError("the signature does not name the Assertion of its Security header")
    request = only_child(content, f"{{{ns.WST_OF_PUBLISH}}}RequestSecurityToken")
    expect_text(only_child(request, f"{{{ns.WST_OF_PUBLISH}}}TokenType"), ns.X509_V3)
    expect_text(only_child(request, f"{{{ns.WST_OF_PUBLISH}}}RequestType"), ns.PUBLISH_REQUEST_TYPE)
    csr = only_child(request, f"{{{ns.WSSE}}}BinarySecurityToken")
    if csr.get("ValueType") != ns.PKCS10 or csr.get("EncodingType") != ns.BASE64:
        raise DecodeError("BinarySecurityToken is not declared as PKCS#10 in base64")
    message_id = text_of(only_child(header, f"{{{ns.WSA}}}MessageID"))
    device_id = attribute_of(content, "DeviceId")
    if max(len(message_id), len(device_id)) > _ID_LIMIT:
        raise DecodeError(f"MessageID or DeviceId has more than {_ID_LIMIT} characters")
    return GetAndPublishCert(
        to=text_of(only_child(header, f"{{{ns.WSA}}}To")),
        message_id=message_id.removeprefix("urn:").removeprefix("uuid:"),
        device_id=_without_braces(device_id),
        entity=attribute_of(content, "Entity"),
        csr=octets_of(csr),
        request_id=text_of(only_child(request, f"{{{ns.WSTEP}}}RequestID")),
        assertion_id=assertion_id,
        assertion=markup_of(assertion, data),
        created=seconds_of(only_child(timestamp, f"{{{ns.WSU}}}Created")),
        expires=seconds_of(only_child(timestamp, f"{{{ns.WSU}}}Expires")),
        proof=XmlSignatureProof(signature),
    )


def read_publish_response(content: etree._Element, data: bytes) -> GetAndPublishCertResponse:
    """Read the answer with the certificate."""
    response = only_child(content, "{*}RequestSecurityTokenResponse")
    token = only_child(response, "{*}RequestedSecurityToken")
    return GetAndPublishCertResponse(
        certificate=octets_of(only_child(token, "{*}BinarySecurityToken")),
        device_id=_without_braces(content.get("DeviceId") or ""),
        entity=content.get("Entity") or "",
    )


def _without_braces(text: str) -> str:
    return text[1:-1] if text.startswith("{") and text.endswith("}") else text
