import base64
import hashlib
import hmac
import xml.etree.ElementTree as StandardTree

import pytest
from lxml import etree

from phonesim.errors import DecodeError
from phonesim.wire.message_signature import (
    CertificateSignature,
    certificate_signature_xml,
    certificate_signed_info,
    read_certificate_signature,
    read_ticket_signature,
    ticket_signature_xml,
    timestamp_xml,
)
from phonesim.wire.xml_document import parse_document

WSSE = "http://docs.oasis-open.org/wss/2004/01/oasis-200401-wss-wssecurity-secext-1.0.xsd"
WSU = "http://docs.oasis-open.org/wss/2004/01/oasis-200401-wss-wssecurity-utility-1.0.xsd"
DS = "http://www.w3.org/2000/09/xmldsig#"
C14N = "http://www.w3.org/2001/10/xml-exc-c14n#"
KEY = bytes(range(32))
TIMESTAMP = timestamp_xml(1767596400, 1767625200)
SIGNATURE = ticket_signature_xml(TIMESTAMP, KEY, "ticket-1")


def security(timestamp: str = TIMESTAMP, signature: str = SIGNATURE, more: str = "") -> bytes:
    return f'<w:Security xmlns:w="{WSSE}">{timestamp}{signature}{more}</w:Security>'.encode()


def verifies(data: bytes, key: bytes = KEY) -> bool:
    return read_ticket_signature(parse_document(data)).verifies(key)


def test_what_is_written_is_canonical_already() -> None:
    root = parse_document(security())
    for element, text in ((root[0], TIMESTAMP), (root[1], SIGNATURE)):
        canonical = etree.tostring(element, method="c14n", exclusive=True).decode()
        assert canonical == StandardTree.canonicalize(text)
    assert StandardTree.canonicalize(TIMESTAMP) == TIMESTAMP


def test_the_digest_and_the_value_are_those_of_xml_signature() -> None:
    root = parse_document(security())
    namespaces = {"ds": DS}
    digest = root.findtext(".//ds:DigestValue", namespaces=namespaces)
    assert digest == base64.b64encode(hashlib.sha1(TIMESTAMP.encode()).digest()).decode()
    signed_info = root.find(".//ds:SignedInfo", namespaces)
    assert signed_info is not None
    canonical = StandardTree.canonicalize(etree.tostring(signed_info, encoding="unicode"))
    value = root.findtext(".//ds:SignatureValue", namespaces=namespaces)
    assert value == base64.b64encode(hmac.digest(KEY, canonical.encode(), "sha1")).decode()


def test_a_signature_verifies_with_its_own_key_only() -> None:
    parts = read_ticket_signature(parse_document(security()))
    assert parts.assertion_id == "ticket-1"
    assert parts.verifies(KEY)
    assert not parts.verifies(bytes(32))
    assert not parts.verifies(b"")


def test_a_signature_in_another_hand_verifies() -> None:
    """Other prefixes, white space, single quotes, and namespaces declared further out."""
    timestamp = (
        "<u:Timestamp  u:Id='_0' ><u:Created>2026-01-05T07:00:00.000Z</u:Created>\n"
        "<u:Expires>2026-01-05T07:05:00.000Z</u:Expires>\n</u:Timestamp>"
    )
    signed_info = (
        f"<SignedInfo>\n<CanonicalizationMethod Algorithm='{C14N}'/>"
        f'<SignatureMethod Algorithm="{DS}hmac-sha1"/><Reference URI="#_0"><Transforms>'
        f'<Transform Algorithm="{C14N}"/></Transforms><DigestMethod Algorithm="{DS}sha1"/>'
        "<DigestValue>{}</DigestValue></Reference></SignedInfo>"
    )
    identifier = (
        "<KeyInfo><w:SecurityTokenReference><w:KeyIdentifier ValueType="
        '"http://docs.oasis-open.org/wss/oasis-wss-saml-token-profile-1.0#SAMLAssertionID">'
        "t</w:KeyIdentifier></w:SecurityTokenReference></KeyInfo>"
    )

    def document(digest: str, value: str) -> bytes:
        return (
            f'<w:Security xmlns:w="{WSSE}" xmlns:u="{WSU}" xmlns:unused="u:x">{timestamp}'
            f'<Signature xmlns="{DS}">{signed_info.format(digest)}'
            f"<SignatureValue>\n{value}\n</SignatureValue>{identifier}</Signature></w:Security>"
        ).encode()

    canonical = StandardTree.canonicalize(timestamp.replace(" ", f" xmlns:u='{WSU}' ", 1))
    digest = base64.b64encode(hashlib.sha1(canonical.encode()).digest()).decode()
    canonical = StandardTree.canonicalize(
        signed_info.format(digest).replace("<SignedInfo", f'<SignedInfo xmlns="{DS}"', 1)
    )
    value = base64.b64encode(hmac.digest(KEY, canonical.encode(), "sha1")).decode()
    assert verifies(document(digest, value))
    assert not verifies(document(digest, value).replace(b"07:05", b"08:05"))


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("2026-01-05T07:00:00Z", "2026-01-06T07:00:00Z"),
        ("<wsu:Expires>", "<wsu:Expires> "),
        ("<wsu:Expires>", '<wsu:Expires x="y">'),
        ('wsu:Id="timestamp"', 'wsu:Id="timestamp" x="y"'),
        ("<ds:SignedInfo>", "<ds:SignedInfo> "),
        ("<ds:DigestValue>", "<ds:DigestValue> "),
        ('<ds:Reference URI="#timestamp">', '<ds:Reference URI="#timestamp" Type="x">'),
    ],
)
def test_what_was_changed_does_not_verify(old: str, new: str) -> None:
    data = security().decode()
    assert data.count(old) == 1
    assert not verifies(data.replace(old, new).encode())


def test_a_timestamp_with_a_digest_of_its_own_does_not_verify() -> None:
    other = timestamp_xml(1767596400, 1999999999)
    digests = [
        base64.b64encode(hashlib.sha1(text.encode()).digest()).decode()
        for text in (TIMESTAMP, other)
    ]
    data = security(other).decode().replace(*digests).encode()
    assert not verifies(data)


ID = 'wsu:Id="timestamp"'
FORGED = timestamp_xml(1767596400, 1999999999)


@pytest.mark.parametrize(
    ("data", "text"),
    [
        (security(timestamp=""), "Security holds no Timestamp"),
        (security(signature=""), "Security holds no Signature"),
        (security(more=SIGNATURE), "Security holds Signature 2 times"),
        (security(more=FORGED), "Security holds Timestamp 2 times"),
        # Signature wrapping: the signed Timestamp is moved aside, another takes its place.
        (
            security(FORGED, more=f"<aside>{TIMESTAMP}</aside>"),
            "another element bears the Id of what was signed",
        ),
        (
            security(FORGED.replace(ID, 'wsu:Id="other"'), more=f"<aside>{TIMESTAMP}</aside>"),
            "the signature does not refer to what it should be about",
        ),
        (
            security(FORGED.replace(ID, ""), more=f"<aside>{TIMESTAMP}</aside>"),
            "the signature does not refer to what it should be about",
        ),
        (security(more='<x ID="timestamp"/>'), "another element bears the Id of what was signed"),
        (
            security(more='<x xml:id="timestamp"/>'),
            "another element bears the Id of what was signed",
        ),
        (security(more='<x AssertionID="timestamp"/>'), "another element bears the Id"),
        (security(TIMESTAMP.replace(ID, "")), "does not refer to what it should be about"),
        (
            security(TIMESTAMP.replace(ID, 'Id="timestamp"')),
            "does not refer to what it should be about",
        ),
        (security(TIMESTAMP.replace(ID, 'wsu:Id=""')), "does not refer to what it should be about"),
        (
            security(signature=SIGNATURE.replace("#timestamp", "")),
            "does not refer to what it should",
        ),
        (security(signature=SIGNATURE.replace("hmac-sha1", "rsa-sha1")), "SignatureMethod is not"),
        (
            security(
                signature=SIGNATURE.replace(
                    "</ds:SignatureMethod>",
                    "<ds:HMACOutputLength>8</ds:HMACOutputLength></ds:SignatureMethod>",
                )
            ),
            "SignatureMethod is not http://www.w3.org/2000/09/xmldsig#hmac-sha1 without parameters",
        ),
        (
            security(signature=SIGNATURE.replace("#sha1", "#md5")),
            "DigestMethod is not http://www.w3.org/2000/09/xmldsig#sha1 without parameters",
        ),
        (
            security(signature=SIGNATURE.replace("exc-c14n#", "c14n", 1)),
            "CanonicalizationMethod is",
        ),
        (
            security(
                signature=SIGNATURE.replace(
                    "</ds:Transform>", '</ds:Transform><ds:Transform Algorithm="x"></ds:Transform>'
                )
            ),
            "Transforms holds 2 elements instead of 1",
        ),
        (
            security(
                signature=SIGNATURE.replace(
                    "</ds:SignedInfo>", '<ds:Reference URI="#x"></ds:Reference></ds:SignedInfo>'
                )
            ),
            "SignedInfo holds Reference 2 times",
        ),
        (security(signature=SIGNATURE.replace("SAMLAssertionID", "X")), "the ValueType of KeyIden"),
        (
            security(signature=SIGNATURE.replace("=</ds:SignatureV", "</ds:SignatureV")),
            "not base64",
        ),
        (
            security(TIMESTAMP.replace(ID, ID + "".join(f' a{i}=""' for i in range(5000)))),
            "Timestamp has 5001 attributes",
        ),
        (
            security(TIMESTAMP.replace("</wsu:Created>", "</wsu:Created>" + "<x/>" * 5000)),
            "Timestamp holds more than 100 elements",
        ),
        (
            security(TIMESTAMP.replace(ID, f'{ID} xmlns:x="relative" x:a=""')),
            "Timestamp has no canonical form",
        ),
    ],
)
def test_what_could_deceive_is_refused(data: bytes, text: str) -> None:
    with pytest.raises(DecodeError) as caught:
        read_ticket_signature(parse_document(data))
    assert text in str(caught.value)


INFO = certificate_signed_info(1767596400, 1767625200)
BY_CERTIFICATE = certificate_signature_xml(
    CertificateSignature(certificate=b"certificate", signed_info=INFO, value=b"value")
)
TOKEN = BY_CERTIFICATE[: BY_CERTIFICATE.index("<ds:Signature")]


def test_a_certificate_and_what_its_key_signed_come_back() -> None:
    read = read_certificate_signature(parse_document(security(signature=BY_CERTIFICATE)))
    assert (read.certificate, read.signed_info, read.value) == (b"certificate", INFO, b"value")


def test_what_a_certificates_key_signs_is_canonical_already() -> None:
    assert StandardTree.canonicalize(INFO.decode()) == INFO.decode()
    digest = base64.b64encode(hashlib.sha1(TIMESTAMP.encode()).digest())
    assert digest in INFO


@pytest.mark.parametrize(
    ("timestamp", "signature", "text"),
    [
        (FORGED, BY_CERTIFICATE, "the Timestamp is not the one that was signed"),
        (TIMESTAMP + FORGED, BY_CERTIFICATE, "Security holds Timestamp 2 times"),
        (TIMESTAMP, TOKEN + BY_CERTIFICATE, "holds BinarySecurityToken 2 times"),
        (TIMESTAMP, BY_CERTIFICATE.replace(TOKEN, ""), "holds no BinarySecurityToken"),
        (TIMESTAMP, BY_CERTIFICATE.replace('"#certificate"', '"#x"'), "does not refer to the cer"),
        (TIMESTAMP, BY_CERTIFICATE.replace("rsa-sha1", "hmac-sha1"), "SignatureMethod is not"),
        (TIMESTAMP, BY_CERTIFICATE.replace("#X509v3", "#X509v1"), "not declared as X.509"),
        (f"<x>{TIMESTAMP}</x>{FORGED}", BY_CERTIFICATE, "another element bears the Id"),
        (TIMESTAMP, SIGNATURE, "holds no BinarySecurityToken"),
    ],
)
def test_what_could_deceive_about_a_certificate_is_refused(
    timestamp: str, signature: str, text: str
) -> None:
    with pytest.raises(DecodeError) as caught:
        read_certificate_signature(parse_document(security(timestamp, signature)))
    assert text in str(caught.value)
