"""The SAML 1.1 assertion that a web ticket is: who may use which service, and until when.

Its issuer signs it, so that a service can trust what comes back with a request. The
signature is in it (enveloped) and about all the rest of it. Who reads one reads nothing
that was not signed: an element moved, added or doubled makes it another assertion.

Specifications: SAML 1.1, XML Signature section 6.6.4 (enveloped signature), sign-in reference
section 6.3. What is in the assertion beyond AssertionID is [inferred] from what identity
servers of that make write: RSA-SHA1, holder of key, the user as NameIdentifier.
"""

from __future__ import annotations

from collections.abc import Callable

import msgspec
from lxml import etree

from phonesim.errors import DecodeError
from phonesim.wire import soap_names as ns
from phonesim.wire.soap_envelope import attribute_of
from phonesim.wire.xml_document import (
    attribute_xml,
    label,
    octets_xml,
    only_child,
    parse_document,
    seconds_from,
    seconds_xml,
    text_of,
    text_xml,
)
from phonesim.wire.xml_signature import (
    canonical_form,
    read_signature,
    signature_xml,
    signed_info_xml,
)

_TRANSFORMS = (ns.ENVELOPED_SIGNATURE, ns.EXCLUSIVE_C14N)
_END = "</saml:Assertion>"


class Assertion(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """What an assertion says; times are Unix seconds.

    `audience` is the URL of the service it is for, `name` the SIP URI of the user it is about.
    """

    assertion_id: str
    issuer: str
    name: str
    audience: str
    not_before: int
    not_on_or_after: int


class SignedAssertion(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """An assertion as it came: the signature is about it, and waits for its key."""

    assertion: Assertion
    signed_info: bytes
    signature: bytes


def encode_assertion(
    assertion: Assertion, sign: Callable[[bytes], bytes], certificate: bytes
) -> bytes:
    """A signed assertion; `sign` makes RSA-SHA1 signatures, `certificate` (DER) is their key's."""
    plain = _assertion_xml(assertion)
    signed_info = signed_info_xml(ns.RSA_SHA1, assertion.assertion_id, _TRANSFORMS, plain)
    key_info = (
        f"<ds:X509Data><ds:X509Certificate>{octets_xml(certificate)}"
        "</ds:X509Certificate></ds:X509Data>"
    )
    signature = signature_xml(signed_info, sign(signed_info.encode()), key_info)
    return f"{plain.removesuffix(_END)}{signature}{_END}".encode()


def decode_assertion(data: bytes) -> SignedAssertion:
    """Read a signed assertion; DecodeError if anything in it is not what was signed."""
    root = parse_document(data)
    if root.tag != f"{{{ns.SAML}}}Assertion":
        raise DecodeError(f"{label(root)} is no SAML 1.1 Assertion")
    identifier = attribute_of(root, "AssertionID")
    signature = only_child(root, f"{{{ns.DS}}}Signature")
    parts = read_signature(signature, ns.RSA_SHA1, identifier, _TRANSFORMS)
    _remove(signature)
    if not parts.is_about(canonical_form(root)):
        raise DecodeError("the Assertion is not the one that was signed")
    return SignedAssertion(
        assertion=_read_assertion(root, identifier),
        signed_info=parts.signed_info,
        signature=parts.value,
    )


def read_name(assertion: etree._Element) -> str | None:
    """[inferred] The user's SIP URI is the first NameIdentifier of the ticket, if it is one."""
    for identifier in assertion.iter(f"{{{ns.SAML}}}NameIdentifier"):
        text = text_of(identifier)
        return text if text.startswith("sip:") else None
    return None


def _assertion_xml(assertion: Assertion) -> str:
    """Without a signature, in canonical form."""
    instant = seconds_xml(assertion.not_before)
    return (
        f'<saml:Assertion xmlns:saml="{ns.SAML}"'
        f' AssertionID="{attribute_xml(assertion.assertion_id)}" IssueInstant="{instant}"'
        f' Issuer="{attribute_xml(assertion.issuer)}" MajorVersion="1" MinorVersion="1">'
        f'<saml:Conditions NotBefore="{instant}"'
        f' NotOnOrAfter="{seconds_xml(assertion.not_on_or_after)}">'
        "<saml:AudienceRestrictionCondition>"
        f"<saml:Audience>{text_xml(assertion.audience)}</saml:Audience>"
        "</saml:AudienceRestrictionCondition></saml:Conditions>"
        f'<saml:AuthenticationStatement AuthenticationInstant="{instant}"'
        ' AuthenticationMethod="urn:oasis:names:tc:SAML:1.0:am:unspecified">'
        f"<saml:Subject><saml:NameIdentifier>{text_xml(assertion.name)}</saml:NameIdentifier>"
        "<saml:SubjectConfirmation><saml:ConfirmationMethod>"
        "urn:oasis:names:tc:SAML:1.0:cm:holder-of-key"
        "</saml:ConfirmationMethod></saml:SubjectConfirmation></saml:Subject>"
        f"</saml:AuthenticationStatement>{_END}"
    )


def _read_assertion(root: etree._Element, identifier: str) -> Assertion:
    conditions = only_child(root, f"{{{ns.SAML}}}Conditions")
    restriction = only_child(conditions, f"{{{ns.SAML}}}AudienceRestrictionCondition")
    statement = only_child(root, f"{{{ns.SAML}}}AuthenticationStatement")
    subject = only_child(statement, f"{{{ns.SAML}}}Subject")
    return Assertion(
        assertion_id=identifier,
        issuer=attribute_of(root, "Issuer"),
        name=text_of(only_child(subject, f"{{{ns.SAML}}}NameIdentifier")),
        audience=text_of(only_child(restriction, f"{{{ns.SAML}}}Audience")),
        not_before=seconds_from(attribute_of(conditions, "NotBefore"), "NotBefore"),
        not_on_or_after=seconds_from(attribute_of(conditions, "NotOnOrAfter"), "NotOnOrAfter"),
    )


def _remove(signature: etree._Element) -> None:
    """Apply the enveloped-signature transform: the text behind the Signature stays."""
    parent, tail = signature.getparent(), signature.tail or ""
    assert parent is not None
    previous = signature.getprevious()
    if previous is None:
        parent.text = (parent.text or "") + tail
    else:
        previous.tail = (previous.tail or "") + tail
    parent.remove(signature)
