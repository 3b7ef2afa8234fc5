import base64
import datetime
import hashlib
import re

import msgspec
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from cryptography.hazmat.primitives.serialization import Encoding
from lxml import etree
from signxml import (
    DigestAlgorithm,
    InvalidDigest,
    InvalidSignature,
    SignatureConfiguration,
    SignatureMethod,
    XMLVerifier,
)

from phonesim.errors import DecodeError
from phonesim.wire.saml_assertion import Assertion, decode_assertion, encode_assertion

ASSERTION = Assertion(
    assertion_id="SamlSecurityToken-1",
    issuer="web.contoso.com",
    name="sip:alice@contoso.com",
    audience="https://web.contoso.com:443/CertProv/CertProvisioningService.svc",
    not_before=1767596400,
    not_on_or_after=1767625200,
)
KEY = rsa.generate_private_key(65537, 2048)
NAME = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "Tokens")])
CERTIFICATE = (
    x509.CertificateBuilder(NAME, NAME, KEY.public_key(), 1)
    .not_valid_before(datetime.datetime(2026, 1, 1))
    .not_valid_after(datetime.datetime(2036, 1, 1))
    .sign(KEY, hashes.SHA256())
)
NAMESPACES = {"saml": "urn:oasis:names:tc:SAML:1.0:assertion"}


def sign(data: bytes) -> bytes:
    return KEY.sign(data, padding.PKCS1v15(), hashes.SHA1())


SIGNED = encode_assertion(ASSERTION, sign, CERTIFICATE.public_bytes(Encoding.DER))


def test_an_assertion_says_about_whom_for_whom_and_how_long() -> None:
    root = etree.fromstring(SIGNED)
    assert root.tag == "{urn:oasis:names:tc:SAML:1.0:assertion}Assertion"
    assert root.get("MajorVersion") == root.get("MinorVersion") == "1"
    assert root.get("Issuer") == "web.contoso.com"
    conditions = root.find("saml:Conditions", NAMESPACES)
    assert conditions is not None
    assert conditions.attrib == {
        "NotBefore": "2026-01-05T07:00:00Z",
        "NotOnOrAfter": "2026-01-05T15:00:00Z",
    }
    assert root.findtext(".//saml:Audience", namespaces=NAMESPACES) == ASSERTION.audience
    assert root.findtext(".//saml:NameIdentifier", namespaces=NAMESPACES) == ASSERTION.name


@pytest.mark.parametrize(
    "change",
    [
        {},
        {"name": "sip:o'brien&<co>\r\n@contoso.com", "issuer": "a\"b\t\n\r<&>'"},
        {"audience": "\u20ac", "assertion_id": "_1"},
    ],
)
def test_an_independent_library_verifies_it(change: dict[str, str]) -> None:
    assertion = msgspec.structs.replace(ASSERTION, **change)
    data = encode_assertion(assertion, sign, CERTIFICATE.public_bytes(Encoding.DER))
    verified = verify_elsewhere(data)
    assert verified.tag == "{urn:oasis:names:tc:SAML:1.0:assertion}Assertion"
    assert verified.findtext(".//saml:NameIdentifier", namespaces=NAMESPACES) == assertion.name
    read = decode_assertion(data)
    assert read.assertion == assertion
    KEY.public_key().verify(read.signature, read.signed_info, padding.PKCS1v15(), hashes.SHA1())


def test_an_independent_library_refuses_what_this_one_refuses() -> None:
    for old, new in ((b"alice", b"carol"), (b"15:00:00Z", b"16:00:00Z")):
        changed = SIGNED.replace(old, new)
        with pytest.raises((InvalidDigest, InvalidSignature)):
            verify_elsewhere(changed)
        with pytest.raises(DecodeError, match="not the one that was signed"):
            decode_assertion(changed)


def verify_elsewhere(data: bytes) -> etree._Element:
    result = XMLVerifier().verify(
        data,
        x509_cert=CERTIFICATE,
        id_attribute="AssertionID",
        expect_config=SignatureConfiguration(
            signature_methods=frozenset({SignatureMethod.RSA_SHA1}),
            digest_algorithms=frozenset({DigestAlgorithm.SHA1}),
        ),
    )
    assert not isinstance(result, list)
    assert result.signed_xml is not None
    return result.signed_xml


OTHER = encode_assertion(
    msgspec.structs.replace(ASSERTION, name="sip:mallory@contoso.com"),
    sign,
    CERTIFICATE.public_bytes(Encoding.DER),
)
BEGIN, END = SIGNED.index(b"<ds:Signature"), SIGNED.index(b"</ds:Signature>") + 15
SIGNATURE, PLAIN = SIGNED[BEGIN:END], SIGNED[:BEGIN] + SIGNED[END:]
FORGED = PLAIN.replace(b"alice", b"mallory")
CONDITIONS = SIGNED[SIGNED.index(b"<saml:Cond") : SIGNED.index(b"</saml:Conditions>") + 18]


def changed(old: bytes, new: bytes, count: int = 1) -> bytes:
    assert SIGNED.count(old) >= count
    return SIGNED.replace(old, new, count)


@pytest.mark.parametrize(
    ("data", "text"),
    [
        (b"<x/>", "x is no SAML 1.1 Assertion"),
        (PLAIN, "Assertion holds no Signature"),
        (changed(SIGNATURE, SIGNATURE * 2), "Assertion holds Signature 2 times"),
        (changed(b"AssertionID=", b"ID="), "Assertion has no AssertionID"),
        (changed(b'"SamlSecurityToken-1"', b'"SamlSecurityToken-2"'), "does not refer to what it"),
        (changed(b"alice", b"mallory"), "the Assertion is not the one that was signed"),
        (changed(b"</saml:Subject>", b" </saml:Subject>"), "is not the one that was signed"),
        (changed(CONDITIONS, CONDITIONS * 2), "is not the one that was signed"),
        (changed(CONDITIONS, b""), "is not the one that was signed"),
        (changed(b'MajorVersion="1"', b'MajorVersion="1" x="y"'), "is not the one that was sig"),
        # Signature wrapping: the signed assertion within a forged one, or the other way round.
        (
            FORGED.replace(b"</saml:Assertion>", SIGNATURE + PLAIN + b"</saml:Assertion>"),
            "another element bears the Id of what was signed",
        ),
        (
            FORGED.replace(b"SamlSecurityToken-1", b"other").replace(
                b"</saml:Assertion>", SIGNATURE + PLAIN + b"</saml:Assertion>"
            ),
            "does not refer to what it should be about",
        ),
        (
            changed(b"</saml:Assertion>", FORGED + b"</saml:Assertion>"),
            "another element bears the Id of what was signed",
        ),
        (
            changed(b"<ds:KeyInfo>", b"<ds:KeyInfo>" + FORGED),
            "another element bears the Id of what was signed",
        ),
        (changed(b"<ds:KeyInfo>", b'<ds:KeyInfo Id="SamlSecurityToken-1">'), "another element bea"),
        # Another algorithm.
        (changed(b"#rsa-sha1", b"#hmac-sha1"), "SignatureMethod is not"),
        (changed(b"#enveloped-signature", b"#base64"), "Transform is not"),
        (
            changed(
                b"</ds:Transforms>", b'<ds:Transform Algorithm="x"></ds:Transform></ds:Transforms>'
            ),
            "Transforms holds 3 elements instead of 2",
        ),
        (
            changed(
                b'<ds:Transform Algorithm="http://www.w3.org/2000/09/xmldsig#enveloped-signature">'
                b"</ds:Transform>",
                b"",
            ),
            "Transforms holds 1 elements instead of 2",
        ),
        (changed(b"<saml:Assertion", b"<!DOCTYPE x><saml:Assertion"), "holds a DTD"),
        (SIGNED[:-5], "not well-formed XML"),
    ],
)
def test_what_could_deceive_is_refused(data: bytes, text: str) -> None:
    with pytest.raises(DecodeError) as caught:
        decode_assertion(data)
    assert text in str(caught.value)


def test_the_signature_of_another_assertion_does_not_fit() -> None:
    begin, end = OTHER.index(b"<ds:Signature"), OTHER.index(b"</ds:Signature>") + 15
    with pytest.raises(DecodeError, match="not the one that was signed"):
        decode_assertion(SIGNED.replace(SIGNATURE, OTHER[begin:end]))


@pytest.mark.parametrize("field", ["Audience", "NameIdentifier", "Conditions"])
def test_an_assertion_that_lacks_something_is_refused_though_signed(field: str) -> None:
    root = etree.fromstring(PLAIN)
    (element,) = root.iter(f"{{{NAMESPACES['saml']}}}{field}")
    parent = element.getparent()
    assert parent is not None
    parent.remove(element)
    plain = etree.tostring(root, method="c14n", exclusive=True)
    with pytest.raises(DecodeError, match=f"holds no {field}"):
        decode_assertion(signed_anew(plain))


def signed_anew(plain: bytes) -> bytes:
    """Another assertion's text, with a digest of its own."""
    digest = base64.b64encode(hashlib.sha1(plain).digest())
    signature = re.sub(rb"(?<=<ds:DigestValue>)[^<]*", digest, SIGNATURE)
    return plain.replace(b"</saml:Assertion>", signature + b"</saml:Assertion>")
