"""The signature that ties a WS-Security Timestamp to a ticket's proof key.

The signer writes Timestamp and SignedInfo in their canonical form to begin with,
so that no canonicalisation is needed. The verifier canonicalises what it
received. It follows no reference by itself: the one Timestamp of the Security
header is what the signature must name, and nothing else may bear its Id, so a
signed element cannot be moved away and another put in its place.

Specifications: XML Signature, Exclusive XML Canonicalization 1.0, WS-Security
1.0 SAML token profile, sign-in reference section 7.
"""

from __future__ import annotations

import hashlib
import hmac

import msgspec
from lxml import etree

from phonesim.errors import DecodeError
from phonesim.wire import soap_names as ns
from phonesim.wire.xml_document import (
    label,
    octets_of,
    octets_xml,
    only_child,
    seconds_xml,
    text_of,
    text_xml,
)

_TIMESTAMP_ID = "timestamp"
_ATTRIBUTES_LIMIT = 16

_count_of_ids = etree.XPath(
    "count(//@*[. = $id][translate(local-name(), 'DI', 'di') = 'id'"
    " or local-name() = 'AssertionID'])"
)


class SignatureParts(msgspec.Struct, frozen=True, gc=False):
    """What a signature says, and the canonical octets that it says it about."""

    assertion_id: str
    timestamp: bytes
    timestamp_digest: bytes
    signed_info: bytes
    value: bytes

    def verifies(self, key: bytes) -> bool:
        """Whether the Timestamp is the one that was signed, and with `key`."""
        digest = hashlib.sha1(self.timestamp, usedforsecurity=False).digest()
        is_same = hmac.compare_digest(digest, self.timestamp_digest)
        value = hmac.digest(key, self.signed_info, "sha1")
        return hmac.compare_digest(value, self.value) and is_same


def timestamp_xml(created: int, expires: int) -> str:
    """A Timestamp element, in canonical form. Times are Unix seconds."""
    return (
        f'<wsu:Timestamp xmlns:wsu="{ns.WSU}" wsu:Id="{_TIMESTAMP_ID}">'
        f"<wsu:Created>{seconds_xml(created)}</wsu:Created>"
        f"<wsu:Expires>{seconds_xml(expires)}</wsu:Expires></wsu:Timestamp>"
    )


def signature_xml(timestamp: str, key: bytes, assertion_id: str) -> str:
    """The Signature over `timestamp_xml`'s result, with the proof key of that assertion."""
    digest = hashlib.sha1(timestamp.encode(), usedforsecurity=False).digest()
    content = _SIGNED_INFO_CONTENT.format(octets_xml(digest))
    canonical = f'<ds:SignedInfo xmlns:ds="{ns.DS}">{content}</ds:SignedInfo>'
    value = hmac.digest(key, canonical.encode(), "sha1")
    return (
        f'<ds:Signature xmlns:ds="{ns.DS}"><ds:SignedInfo>{content}</ds:SignedInfo>'
        f"<ds:SignatureValue>{octets_xml(value)}</ds:SignatureValue><ds:KeyInfo>"
        f'<wsse:SecurityTokenReference xmlns:wsse="{ns.WSSE}" wsse:TokenType="{ns.SAML_V1_1}">'
        f'<wsse:KeyIdentifier ValueType="{ns.SAML_ASSERTION_ID}">{text_xml(assertion_id)}'
        "</wsse:KeyIdentifier></wsse:SecurityTokenReference></ds:KeyInfo></ds:Signature>"
    )


def read_signature(security: etree._Element) -> SignatureParts:
    """What the one Signature of a Security header says about its one Timestamp.

    DecodeError if it uses another algorithm, or signs anything else.
    """
    timestamp = only_child(security, f"{{{ns.WSU}}}Timestamp")
    signature = only_child(security, f"{{{ns.DS}}}Signature")
    signed_info = only_child(signature, f"{{{ns.DS}}}SignedInfo")
    reference = only_child(signed_info, f"{{{ns.DS}}}Reference")
    transforms = only_child(reference, f"{{{ns.DS}}}Transforms")
    for parent, name, algorithm in (
        (signed_info, "CanonicalizationMethod", ns.EXCLUSIVE_C14N),
        (signed_info, "SignatureMethod", ns.HMAC_SHA1),
        (transforms, "Transform", ns.EXCLUSIVE_C14N),
        (reference, "DigestMethod", ns.SHA1),
    ):
        method = only_child(parent, f"{{{ns.DS}}}{name}")
        if method.get("Algorithm") != algorithm or len(method):
            raise DecodeError(f"{name} is not {algorithm} without parameters")
    identifier = timestamp.get(f"{{{ns.WSU}}}Id")
    if not identifier or reference.get("URI") != f"#{identifier}":
        raise DecodeError("the signature does not refer to the Timestamp of its Security header")
    if _count_of_ids(security, id=identifier) != 1:
        raise DecodeError("another element bears the Id of the Timestamp")
    key_info = only_child(signature, f"{{{ns.DS}}}KeyInfo")
    token = only_child(key_info, f"{{{ns.WSSE}}}SecurityTokenReference")
    key_identifier = only_child(token, f"{{{ns.WSSE}}}KeyIdentifier")
    if key_identifier.get("ValueType") != ns.SAML_ASSERTION_ID:
        raise DecodeError(f"the ValueType of KeyIdentifier is not {ns.SAML_ASSERTION_ID}")
    return SignatureParts(
        assertion_id=text_of(key_identifier),
        timestamp=_canonical(timestamp),
        timestamp_digest=octets_of(only_child(reference, f"{{{ns.DS}}}DigestValue")),
        signed_info=_canonical(signed_info),
        value=octets_of(only_child(signature, f"{{{ns.DS}}}SignatureValue")),
    )


_SIGNED_INFO_CONTENT = (
    f'<ds:CanonicalizationMethod Algorithm="{ns.EXCLUSIVE_C14N}"></ds:CanonicalizationMethod>'
    f'<ds:SignatureMethod Algorithm="{ns.HMAC_SHA1}"></ds:SignatureMethod>'
    f'<ds:Reference URI="#{_TIMESTAMP_ID}">'
    f'<ds:Transforms><ds:Transform Algorithm="{ns.EXCLUSIVE_C14N}"></ds:Transform></ds:Transforms>'
    f'<ds:DigestMethod Algorithm="{ns.SHA1}"></ds:DigestMethod>'
    "<ds:DigestValue>{}</ds:DigestValue></ds:Reference>"
)


def _canonical(element: etree._Element) -> bytes:
    """Exclusive canonical form; its cost is quadratic in an element's attributes."""
    for each in element.iter():
        if len(each.attrib) > _ATTRIBUTES_LIMIT:
            raise DecodeError(f"{label(each)} has {len(each.attrib)} attributes")
    try:
        return etree.tostring(element, method="c14n", exclusive=True, with_comments=False)
    except etree.LxmlError:
        raise DecodeError(f"{label(element)} has no canonical form") from None
