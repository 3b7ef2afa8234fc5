"""The signature of a message: over its WS-Security Timestamp, and nothing else.

It is made with the proof key of the web ticket that the message shows, or with the private key
of a certificate. The one Timestamp of the Security header is what the signature must be about,
and nothing else may bear its Id, so a signed element cannot be moved away and another put in
its place.

Specifications: WS-Security 1.0 (Timestamp, SAML and X.509 token profiles), sign-in reference
sections 6 and 7. That a certificate's key signs the Timestamp alone, as a ticket's does, is
[inferred].
"""

from __future__ import annotations

import hmac

import msgspec
from lxml import etree

from phonesim.errors import DecodeError
from phonesim.wire import soap_names as ns
from phonesim.wire.xml_document import (
    octets_of,
    octets_xml,
    only_child,
    seconds_xml,
    text_of,
    text_xml,
)
from phonesim.wire.xml_signature import (
    SignatureParts,
    canonical_form,
    read_signature,
    signature_xml,
    signed_info_xml,
)

_TIMESTAMP_ID = "timestamp"
_CERTIFICATE_ID = "certificate"


class TicketSignature(msgspec.Struct, frozen=True, gc=False):
    """A signature with the proof key of an assertion, over a Timestamp in canonical form."""

    assertion_id: str
    timestamp: bytes
    parts: SignatureParts

    def verifies(self, key: bytes) -> bool:
        """Whether the Timestamp is the one that was signed, and with `key`."""
        value = hmac.digest(key, self.parts.signed_info, "sha1")
        is_same = self.parts.is_about(self.timestamp)
        return hmac.compare_digest(value, self.parts.value) and is_same


class CertificateSignature(msgspec.Struct, frozen=True, gc=False):
    """A signature with the key of a certificate (DER), whose digest is the Timestamp's."""

    certificate: bytes
    signed_info: bytes
    value: bytes


def timestamp_xml(created: int, expires: int) -> str:
    """A Timestamp element, in canonical form. Times are Unix seconds."""
    return (
        f'<wsu:Timestamp xmlns:wsu="{ns.WSU}" wsu:Id="{_TIMESTAMP_ID}">'
        f"<wsu:Created>{seconds_xml(created)}</wsu:Created>"
        f"<wsu:Expires>{seconds_xml(expires)}</wsu:Expires></wsu:Timestamp>"
    )


def ticket_signature_xml(timestamp: str, key: bytes, assertion_id: str) -> str:
    """The Signature over `timestamp_xml`'s result, with the proof key of that assertion."""
    signed_info = signed_info_xml(ns.HMAC_SHA1, _TIMESTAMP_ID, (ns.EXCLUSIVE_C14N,), timestamp)
    value = hmac.digest(key, signed_info.encode(), "sha1")
    return signature_xml(
        signed_info,
        value,
        f'<wsse:SecurityTokenReference xmlns:wsse="{ns.WSSE}" wsse:TokenType="{ns.SAML_V1_1}">'
        f'<wsse:KeyIdentifier ValueType="{ns.SAML_ASSERTION_ID}">{text_xml(assertion_id)}'
        "</wsse:KeyIdentifier></wsse:SecurityTokenReference>",
    )


def read_ticket_signature(security: etree._Element) -> TicketSignature:
    """What the one Signature of a Security header says about its one Timestamp.

    DecodeError if it uses another algorithm, or signs anything else.
    """
    timestamp = only_child(security, f"{{{ns.WSU}}}Timestamp")
    signature = only_child(security, f"{{{ns.DS}}}Signature")
    identifier = timestamp.get(f"{{{ns.WSU}}}Id") or ""
    parts = read_signature(signature, ns.HMAC_SHA1, identifier, (ns.EXCLUSIVE_C14N,))
    key_info = only_child(signature, f"{{{ns.DS}}}KeyInfo")
    token = only_child(key_info, f"{{{ns.WSSE}}}SecurityTokenReference")
    key_identifier = only_child(token, f"{{{ns.WSSE}}}KeyIdentifier")
    if key_identifier.get("ValueType") != ns.SAML_ASSERTION_ID:
        raise DecodeError(f"the ValueType of KeyIdentifier is not {ns.SAML_ASSERTION_ID}")
    return TicketSignature(
        assertion_id=text_of(key_identifier), timestamp=canonical_form(timestamp), parts=parts
    )


def certificate_signed_info(created: int, expires: int) -> bytes:
    """The octets that the key of a certificate has to sign with RSA-SHA1; Unix seconds."""
    timestamp = timestamp_xml(created, expires)
    transforms = (ns.EXCLUSIVE_C14N,)
    return signed_info_xml(ns.RSA_SHA1, _TIMESTAMP_ID, transforms, timestamp).encode()


def certificate_signature_xml(signature: CertificateSignature) -> str:
    """The certificate as a BinarySecurityToken, and the Signature that refers to it."""
    return (
        f'<wsse:BinarySecurityToken xmlns:wsse="{ns.WSSE}" xmlns:wsu="{ns.WSU}"'
        f' wsu:Id="{_CERTIFICATE_ID}" ValueType="{ns.X509_V3}" EncodingType="{ns.BASE64}">'
        f"{octets_xml(signature.certificate)}</wsse:BinarySecurityToken>"
    ) + signature_xml(
        signature.signed_info.decode(),
        signature.value,
        f'<wsse:SecurityTokenReference xmlns:wsse="{ns.WSSE}">'
        f'<wsse:Reference URI="#{_CERTIFICATE_ID}" ValueType="{ns.X509_V3}"></wsse:Reference>'
        "</wsse:SecurityTokenReference>",
    )


def read_certificate_signature(security: etree._Element) -> CertificateSignature:
    """The one certificate of a Security header, and its Signature over the one Timestamp.

    DecodeError if anything else was signed, or the Timestamp is another one.
    """
    timestamp = only_child(security, f"{{{ns.WSU}}}Timestamp")
    token = only_child(security, f"{{{ns.WSSE}}}BinarySecurityToken")
    signature = only_child(security, f"{{{ns.DS}}}Signature")
    if token.get("ValueType") != ns.X509_V3 or token.get("EncodingType") != ns.BASE64:
        raise DecodeError("BinarySecurityToken is not declared as X.509 in base64")
    identifier = timestamp.get(f"{{{ns.WSU}}}Id") or ""
    parts = read_signature(signature, ns.RSA_SHA1, identifier, (ns.EXCLUSIVE_C14N,))
    key_info = only_child(signature, f"{{{ns.DS}}}KeyInfo")
    reference = only_child(
        only_child(key_info, f"{{{ns.WSSE}}}SecurityTokenReference"), f"{{{ns.WSSE}}}Reference"
    )
    if reference.get("URI") != f"#{token.get(f'{{{ns.WSU}}}Id')}":
        raise DecodeError("the signature does not refer to the certificate of its header")
    if not parts.is_about(canonical_form(timestamp)):
        raise DecodeError("the Timestamp is not the one that was signed")
    return CertificateSignature(
        certificate=octets_of(token), signed_info=parts.signed_info, value=parts.value
    )
