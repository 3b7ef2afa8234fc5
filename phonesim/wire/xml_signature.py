"""XML signatures over one element, as these services make them and nothing beyond.

A signer writes what it signs in canonical form to begin with, so that no canonicalisation
is needed. A verifier canonicalises what it received. It follows no reference by itself: its
caller says which element the signature must be about, and that no other bears its Id.

Specifications: XML Signature, Exclusive XML Canonicalization 1.0, sign-in reference
sections 2 and 7.
"""

from __future__ import annotations

import hashlib
import hmac

import msgspec
from lxml import etree

from phonesim.errors import DecodeError
from phonesim.wire import soap_names as ns
from phonesim.wire.xml_document import attribute_xml, label, octets_of, octets_xml, only_child

_ATTRIBUTES_LIMIT = 16
_ELEMENTS_LIMIT = 100

_count_of_ids = etree.XPath(
    "count(//@*[. = $id][translate(local-name(), 'DI', 'di') = 'id'"
    " or local-name() = 'AssertionID'])"
)


class SignatureParts(msgspec.Struct, frozen=True, gc=False):
    """What a signature says: the digest of what was signed, and `value` over `signed_info`."""

    digest: bytes
    signed_info: bytes
    value: bytes

    def is_about(self, octets: bytes) -> bool:
        """Whether these canonical octets are what was signed."""
        digest = hashlib.sha1(octets, usedforsecurity=False).digest()
        return hmac.compare_digest(digest, self.digest)


def signed_info_xml(method: str, identifier: str, transforms: tuple[str, ...], of: str) -> str:
    """A SignedInfo about the element with that Id, whose canonical form is `of`."""
    digest = hashlib.sha1(of.encode(), usedforsecurity=False).digest()
    listed = "".join(f'<ds:Transform Algorithm="{each}"></ds:Transform>' for each in transforms)
    return (
        f'<ds:SignedInfo xmlns:ds="{ns.DS}"><ds:CanonicalizationMethod'
        f' Algorithm="{ns.EXCLUSIVE_C14N}"></ds:CanonicalizationMethod>'
        f'<ds:SignatureMethod Algorithm="{method}"></ds:SignatureMethod>'
        f'<ds:Reference URI="#{attribute_xml(identifier)}">'
        f"<ds:Transforms>{listed}</ds:Transforms>"
        f'<ds:DigestMethod Algorithm="{ns.SHA1}"></ds:DigestMethod>'
        f"<ds:DigestValue>{octets_xml(digest)}</ds:DigestValue></ds:Reference></ds:SignedInfo>"
    )


def signature_xml(signed_info: str, value: bytes, key_info: str) -> str:
    """A Signature; `key_info` is what its KeyInfo holds."""
    declared = f' xmlns:ds="{ns.DS}"'
    return (
        f"<ds:Signature{declared}>{signed_info.replace(declared, '', 1)}"
        f"<ds:SignatureValue>{octets_xml(value)}</ds:SignatureValue>"
        f"<ds:KeyInfo>{key_info}</ds:KeyInfo></ds:Signature>"
    )


def read_signature(
    signature: etree._Element, method: str, identifier: str, transforms: tuple[str, ...]
) -> SignatureParts:
    """What a Signature says about the element with that Id.

    DecodeError if it uses another method or other transforms, or is about anything else.
    """
    signed_info = only_child(signature, f"{{{ns.DS}}}SignedInfo")
    reference = only_child(signed_info, f"{{{ns.DS}}}Reference")
    for parent, name, algorithm in (
        (signed_info, "CanonicalizationMethod", ns.EXCLUSIVE_C14N),
        (signed_info, "SignatureMethod", method),
        (reference, "DigestMethod", ns.SHA1),
    ):
        _expect_algorithm(only_child(parent, f"{{{ns.DS}}}{name}"), algorithm)
    found = list(only_child(reference, f"{{{ns.DS}}}Transforms"))
    if len(found) != len(transforms):
        raise DecodeError(f"Transforms holds {len(found)} elements instead of {len(transforms)}")
    for transform, algorithm in zip(found, transforms, strict=True):
        _expect_algorithm(transform, algorithm)
    if not identifier or reference.get("URI") != f"#{identifier}":
        raise DecodeError("the signature does not refer to what it should be about")
    if _count_of_ids(signature, id=identifier) != 1:
        raise DecodeError("another element bears the Id of what was signed")
    return SignatureParts(
        digest=octets_of(only_child(reference, f"{{{ns.DS}}}DigestValue")),
        signed_info=canonical_form(signed_info),
        value=octets_of(only_child(signature, f"{{{ns.DS}}}SignatureValue")),
    )


def canonical_form(element: etree._Element) -> bytes:
    """Exclusive canonical form of a few elements with few attributes.

    Its cost is quadratic in attributes, and grows with elements times namespaces.
    """
    for count, each in enumerate(element.iter(), 1):
        if len(each.attrib) > _ATTRIBUTES_LIMIT:
            raise DecodeError(f"{label(each)} has {len(each.attrib)} attributes")
        if count > _ELEMENTS_LIMIT:
            raise DecodeError(f"{label(element)} holds more than {_ELEMENTS_LIMIT} elements")
    try:
        return etree.tostring(
            element, method="c14n", exclusive=True, with_comments=False, with_tail=False
        )
    except etree.LxmlError:
        raise DecodeError(f"{label(element)} has no canonical form") from None


def _expect_algorithm(method: etree._Element, algorithm: str) -> None:
    if method.get("Algorithm") != algorithm or len(method):
        raise DecodeError(f"{label(method)} is not {algorithm} without parameters")
