import base64
from typing import Any

import msgspec
import pytest
from lxml import etree

from phonesim.errors import DecodeError
from phonesim.wire.cert_provisioning import (
    GetAndPublishCert,
    GetAndPublishCertResponse,
    GetRootCertChains,
    GetRootCertChainsResponse,
    KeyProof,
)
from phonesim.wire.saml_assertion import Assertion, encode_assertion
from phonesim.wire.soap import (
    SoapMessage,
    decode_soap_request,
    decode_soap_response,
    encode_soap,
    soap_action,
)
from phonesim.wire.soap_envelope import SoapFault
from phonesim.wire.web_ticket import (
    PinCredential,
    RequestSecurityToken,
    RequestSecurityTokenResponse,
    proof_key,
)
from phonesim.wire.xml_document import DOCUMENT_LIMIT

NAMESPACES = {
    "soap": "http://schemas.xmlsoap.org/soap/envelope/",
    "wsa": "http://www.w3.org/2005/08/addressing",
    "wsse": "http://docs.oasis-open.org/wss/2004/01/oasis-200401-wss-wssecurity-secext-1.0.xsd",
    "wsu": "http://docs.oasis-open.org/wss/2004/01/oasis-200401-wss-wssecurity-utility-1.0.xsd",
    "wst": "http://docs.oasis-open.org/ws-sx/ws-trust/200512",
    "wst-": "http://docs.oasis-open.org/ws-sx/ws-trust/200512/",
    "wstep": "http://schemas.microsoft.com/windows/pki/2009/01/enrollment",
    "wsp": "http://schemas.xmlsoap.org/ws/2004/09/policy",
    "ds": "http://www.w3.org/2000/09/xmldsig#",
    "saml": "urn:oasis:names:tc:SAML:1.0:assertion",
    "ocs": "http://schemas.microsoft.com/OCS/AuthWebServices/",
    "af": "urn:component:Microsoft.Rtc.WebAuthentication.2010",
    "arr": "http://schemas.microsoft.com/2003/10/Serialization/Arrays",
}
WSS = "http://docs.oasis-open.org/wss/2004/01/oasis-200401-wss-"

URL = "https://web.contoso.com:443/CertProv/CertProvisioningService.svc"
KEY = bytes(range(32))
CREATED = 1767596400
EXPIRES = CREATED + 28800
ASSERTION = encode_assertion(
    Assertion(
        assertion_id="SamlSecurityToken-1",
        issuer="https://web/",
        name="sip:alice@contoso.com",
        audience=URL,
        not_before=CREATED,
        not_on_or_after=EXPIRES,
    ),
    lambda data: b"signature",
    b"certificate",
)
INSTANCE = "34D859DB-6585-5F91-A3B4-DE853C15347D"

ISSUE = RequestSecurityToken(
    context="11111111-2222-3333-4444-555555555555",
    applies_to=URL,
    credential=PinCredential(number="+14255550100", pin="13579"),
    entropy=b"\1" * 32,
)
TICKET = RequestSecurityTokenResponse(
    context=ISSUE.context,
    assertion_id="SamlSecurityToken-1",
    assertion=ASSERTION,
    created=CREATED,
    expires=EXPIRES,
    entropy=b"\2" * 32,
    sip_uri="sip:alice@contoso.com",
)
PUBLISH = GetAndPublishCert(
    to=URL,
    message_id="66666666-7777-8888-9999-000000000000",
    device_id=INSTANCE,
    entity="alice@contoso.com",
    csr=bytes(range(200)),
    request_id="aaaaaaaa-bbbb-cccc-dddd-eeeeeeeeeeee",
    assertion_id="SamlSecurityToken-1",
    assertion=ASSERTION,
    created=CREATED,
    expires=EXPIRES,
    proof=KeyProof(KEY),
)
CERTIFICATE = GetAndPublishCertResponse(
    certificate=bytes(range(100)), device_id=INSTANCE, entity="alice@contoso.com"
)
FAULT = SoapFault(
    code="FailedAuthentication",
    reason="The PIN is wrong.",
    error_id=28020,
    error_reason="No valid security token.",
    pin_failure="IncorrectPin",
)
CHAIN = GetRootCertChainsResponse(chain=b"\x30\x82" + bytes(98))


def written(message: SoapMessage) -> Any:
    """A finder of texts and attributes in what is written: the only match of an XPath."""
    root = etree.fromstring(encode_soap(message))

    def only(path: str) -> str:
        (match,) = root.xpath(path, namespaces=NAMESPACES)
        return str(match)

    return only


def test_the_proof_key_is_that_of_the_vector() -> None:
    key = proof_key(b"\1" * 32, b"\2" * 32)
    assert base64.b64encode(key) == b"597mlYma8sW1YDxXzAu/sc7wGwxbTB8ROpWwZM69Ze0="


def test_a_ticket_request_has_the_documented_form() -> None:
    only = written(ISSUE)
    token = "/soap:Envelope/soap:Body/wst:RequestSecurityToken"
    assert only(f"{token}/@Context") == ISSUE.context
    assert (
        only(f"{token}/wst:TokenType/text()")
        == "http://docs.oasis-open.org/wss/oasis-wss-saml-token-profile-1.1#SAMLV1.1"
    )
    assert (
        only(f"{token}/wst:RequestType/text()")
        == "http://schemas.xmlsoap.org/ws/2005/02/trust/Issue"
    )
    assert only(f"{token}/wsp:AppliesTo/wsa:EndpointReference/wsa:Address/text()") == URL
    assert only(f"{token}/wst:Entropy/wst:BinarySecret/text()") == f"{'AQEB' * 10}AQE="
    assert (
        only(f"{token}/wst:KeyType/text()")
        == "http://docs.oasis-open.org/ws-sx/ws-trust/200512/SymmetricKey"
    )
    security = "/soap:Envelope/soap:Header/wsse:Security"
    assert only(f"{security}/@soap:mustUnderstand") == "1"
    assert only(f"{security}/wsse:UsernameToken/wsse:Username/text()") == "+14255550100"
    assert only(f"{security}/wsse:UsernameToken/wsse:Password/text()") == "13579"
    assert (
        only(f"{security}/wsse:UsernameToken/wsse:Password/@Type")
        == f"{WSS}username-token-profile-1.0#PasswordText"
    )


def test_a_ticket_is_found_where_clients_look() -> None:
    only = written(TICKET)
    token = (
        "/soap:Envelope/soap:Body/wst:RequestSecurityTokenResponseCollection"
        "/wst:RequestSecurityTokenResponse"
    )
    assert only(f"{token}/wst:Lifetime/wsu:Created/text()") == "2026-01-05T07:00:00Z"
    assert only(f"{token}/wst:Lifetime/wsu:Expires/text()") == "2026-01-05T15:00:00Z"
    assert only("//wst:BinarySecret/text()") == f"{'AgIC' * 10}AgI="
    assertion = f"{token}/wst:RequestedSecurityToken/saml:Assertion"
    assert only(f"{assertion}/@AssertionID") == "SamlSecurityToken-1"
    assert ASSERTION in encode_soap(TICKET)


def test_a_certificate_request_has_the_documented_form() -> None:
    only = written(PUBLISH)
    header = "/soap:Envelope/soap:Header"
    assert only(f"{header}/wsa:To/text()") == URL
    assert (
        only(f"{header}/wsa:ReplyTo/wsa:Address/text()")
        == "http://www.w3.org/2005/08/addressing/anonymous"
    )
    assert only(f"{header}/wsa:MessageID/text()") == f"uuid:{PUBLISH.message_id}"
    assert only(f"{header}/wsa:Action/text()") == soap_action(PUBLISH)
    root = etree.fromstring(encode_soap(PUBLISH))
    security = root.find("soap:Header/wsse:Security", NAMESPACES)
    assert [etree.QName(child).localname for child in security] == [
        "Timestamp",
        "Assertion",
        "Signature",
    ]
    assert only("//wsse:Security/ds:Signature//ds:Reference/@URI") == "#timestamp"
    assert only("//wsse:SecurityTokenReference/wsse:KeyIdentifier/text()") == "SamlSecurityToken-1"
    request = "/soap:Envelope/soap:Body/ocs:GetAndPublishCert"
    assert only(f"{request}/@DeviceId") == f"{{{INSTANCE}}}"
    assert only(f"{request}/@Entity") == "alice@contoso.com"
    token = f"{request}/wst-:RequestSecurityToken"
    assert only(f"{token}/wst-:TokenType/text()") == f"{WSS}x509-token-profile-1.0#X509v3"
    assert (
        only(f"{token}/wst-:RequestType/text()")
        == "http://docs.oasis-open.org/ws-sx/ws-trust/200512/Issue"
    )
    csr = f"{token}/wsse:BinarySecurityToken"
    assert (
        only(f"{csr}/@ValueType") == "http://schemas.microsoft.com/OCS/AuthWebServices.xsd#PKCS10"
    )
    assert only(f"{csr}/@EncodingType") == f"{WSS}wssecurity-secext-1.0.xsd#Base64Binary"
    assert only(f"{token}/wstep:RequestID/text()") == PUBLISH.request_id


def test_a_pkcs10_is_written_in_lines_of_76_characters() -> None:
    text = encode_soap(PUBLISH).partition(b'Base64Binary">')[2].partition(b"</wsse:Binary")[0]
    assert [len(line) for line in text.split(b"\r\n")] == [0, 76, 76, 76, 40, 0]


def test_a_certificate_is_found_where_clients_look() -> None:
    only = written(CERTIFICATE)
    response = "/soap:Envelope/soap:Body/ocs:GetAndPublishCertResponse"
    assert only(f"{response}/@DeviceId") == f"{{{INSTANCE}}}"
    path = (
        "/wst-:RequestSecurityTokenResponse/wst-:RequestedSecurityToken"
        "/wsse:BinarySecurityToken/text()"
    )
    assert base64.b64decode(only(f"{response}{path}")) == CERTIFICATE.certificate


def test_a_fault_has_the_documented_form() -> None:
    only = written(FAULT)
    fault = "/soap:Envelope/soap:Body/soap:Fault"
    assert only(f"{fault}/faultstring/text()") == FAULT.reason
    diagnostics = f"{fault}/detail/af:OCSDiagnosticsFault"
    assert only(f"{diagnostics}/af:Ms-Diagnostics-Fault/af:ErrorId/text()") == "28020"
    assert only(f"{diagnostics}/af:Ms-Diagnostics-Fault/af:Reason/text()") == FAULT.error_reason
    pair = f"{diagnostics}/af:NameValuePairs/arr:KeyValueOfstringstring"
    assert only(f"{pair}/arr:Key/text()") == "PinFailureReason"
    assert only(f"{pair}/arr:Value/text()") == "IncorrectPin"


@pytest.mark.parametrize(
    ("code", "prefix"),
    [("FailedAuthentication", "wsse"), ("Server", "soap"), ("InvalidRequest", "wst")],
)
def test_a_fault_code_is_in_the_namespace_that_defines_it(code: str, prefix: str) -> None:
    root = etree.fromstring(encode_soap(SoapFault(code=code, reason="x")))
    element = root.find(".//faultcode")
    alias, _, name = element.text.partition(":")
    assert element.nsmap[alias] == NAMESPACES[prefix]
    assert name == code
    assert root.find(".//detail") is None


@pytest.mark.parametrize(
    ("message", "action"),
    [
        (
            GetRootCertChains(),
            "http://schemas.microsoft.com/OCS/AuthWebServices/GetRootCertChains",
        ),
        (ISSUE, "http://docs.oasis-open.org/ws-sx/ws-trust/200512/RST/Issue"),
        (PUBLISH, "http://schemas.microsoft.com/OCS/AuthWebServices/GetAndPublishCert"),
    ],
)
def test_actions_are_the_documented_ones(message: Any, action: str) -> None:
    assert soap_action(message) == action


@pytest.mark.parametrize("message", [GetRootCertChains(), ISSUE])
def test_requests_come_back_as_they_were(message: Any) -> None:
    assert decode_soap_request(encode_soap(message)) == message


@pytest.mark.parametrize(
    "message",
    [
        CHAIN,
        TICKET,
        CERTIFICATE,
        FAULT,
        SoapFault(code="Client", reason=""),
        SoapFault(code="RequestFailed", reason="x", pin_failure="PinExpired"),
        SoapFault(code="InvalidSecurityToken", reason="x", error_id=1),
    ],
)
def test_answers_come_back_as_they_were(message: Any) -> None:
    assert decode_soap_response(encode_soap(message)) == message


def published(data: bytes) -> GetAndPublishCert:
    message = decode_soap_request(data)
    assert isinstance(message, GetAndPublishCert)
    return message


def test_a_certificate_request_comes_back_with_a_proof() -> None:
    message = published(encode_soap(PUBLISH))
    assert message.proof.verify(KEY)
    assert not message.proof.verify(bytes(32))
    assert msgspec.structs.replace(message, proof=PUBLISH.proof) == PUBLISH


def test_a_key_proof_verifies_with_the_key_it_holds() -> None:
    assert KeyProof(KEY).verify(bytes(range(32)))
    assert not KeyProof(KEY).verify(bytes(32))


def test_what_came_signed_cannot_be_signed_again() -> None:
    with pytest.raises(TypeError, match="only be signed by a KeyProof"):
        encode_soap(published(encode_soap(PUBLISH)))


def test_an_assertion_goes_back_octet_for_octet() -> None:
    theirs = (
        b"<saml:Assertion  AssertionID='SamlSecurityToken-1'\n MajorVersion = \"1\" "
        b"xmlns:saml='urn:oasis:names:tc:SAML:1.0:assertion'><saml:Subject>"
        b"<saml:NameIdentifier>sip:&#97;lice@contoso.com</saml:NameIdentifier></saml:Subject >"
        b"<ds:Signature xmlns:ds='http://www.w3.org/2000/09/xmldsig#'/>\n</saml:Assertion >"
    )
    ticket = decode_soap_response(encode_soap(TICKET).replace(ASSERTION, theirs))
    assert isinstance(ticket, RequestSecurityTokenResponse)
    assert ticket == msgspec.structs.replace(TICKET, assertion=theirs)
    request = msgspec.structs.replace(PUBLISH, assertion=ticket.assertion)
    assert theirs in encode_soap(request)
    message = published(encode_soap(request))
    assert message.assertion == theirs
    assert message.proof.verify(KEY)


@pytest.mark.parametrize("name", ["alice@contoso.com", "", "tel:+14255550100"])
def test_a_ticket_that_names_no_sip_uri_has_none(name: str) -> None:
    data = encode_soap(TICKET).replace(b"sip:alice@contoso.com", name.encode())
    ticket = decode_soap_response(data)
    assert isinstance(ticket, RequestSecurityTokenResponse)
    assert ticket.sip_uri is None


def test_answers_go_by_local_names() -> None:
    trust = b"http://docs.oasis-open.org/ws-sx/ws-trust/200512"
    data = encode_soap(TICKET).replace(trust, b"http://schemas.xmlsoap.org/ws/2005/02/trust")
    assert decode_soap_response(data) == TICKET
    data = encode_soap(CERTIFICATE).replace(trust + b"/", trust)
    data = data.replace(b' DeviceId="{%b}"' % INSTANCE.encode(), b"")
    data = data.replace(b' Entity="alice@contoso.com"', b"")
    assert decode_soap_response(data) == GetAndPublishCertResponse(
        certificate=CERTIFICATE.certificate, device_id="", entity=""
    )


@pytest.mark.parametrize(
    ("username", "password"),
    [
        ("+14255550100", "13579"),
        ("KzE0MjU1NTUwMTAw", "MTM1Nzk="),
        ("+14255550100", "1234"),
        ("5550100", "12345678"),
    ],
)
def test_a_pin_is_read_plain_and_in_base64(username: str, password: str) -> None:
    data = encode_soap(ISSUE)
    data = data.replace(b"+14255550100", username.encode()).replace(b"13579", password.encode())
    message = decode_soap_request(data)
    assert isinstance(message, RequestSecurityToken)
    if username.startswith("K"):
        assert message.credential == PinCredential(number="+14255550100", pin="13579")
    else:
        assert message.credential == PinCredential(number=username, pin=password)


@pytest.mark.parametrize(
    "place", ["<wsa:To", "<wsse:Security ", "<ds:Signature ", "</soap:Header>", "</GetAndPublish"]
)
def test_only_the_signed_timestamp_counts(place: str) -> None:
    other = FORGED.replace('wsu:Id="timestamp"', "")
    message = published(changed(PUBLISH, place, f"<x>{other}</x>{place}"))
    assert (message.created, message.expires) == (CREATED, EXPIRES)
    assert message.proof.verify(KEY)


def changed(message: SoapMessage, old: str, new: str) -> bytes:
    text = encode_soap(message).decode()
    assert old in text
    return text.replace(old, new).encode()


TIMESTAMP = encode_soap(PUBLISH).decode().partition("<wsu:Timestamp")[2].partition("</wsu:T")[0]
TIMESTAMP = f"<wsu:Timestamp{TIMESTAMP}</wsu:Timestamp>"
FORGED = TIMESTAMP.replace("15:00:00", "23:00:00")


@pytest.mark.parametrize(
    ("data", "text"),
    [
        (b"<html><body>404</body></html>", "html is no SOAP 1.1 Envelope"),
        (
            changed(ISSUE, NAMESPACES["soap"], "http://www.w3.org/2003/05/soap-envelope"),
            "Envelope is no SOAP 1.1 Envelope",
        ),
        (changed(GetRootCertChains(), "Body", "body"), "Envelope holds no Body"),
        (
            changed(GetRootCertChains(), "</soap:Body>", "<x/></soap:Body>"),
            "the SOAP Body holds 2 elements instead of one",
        ),
        (
            changed(GetRootCertChains(), "</soap:Body>", "</soap:Body><soap:Body/>"),
            "Envelope holds Body 2 times",
        ),
        (changed(GetRootCertChains(), "GetRoot", "GetBranch"), "GetBranchCertChains is no request"),
        (changed(ISSUE, f'"{NAMESPACES["wst"]}"', '"u:x"'), "RequestSecurityToken is no request"),
        (encode_soap(FAULT), "Fault is no request of these services"),
        (changed(ISSUE, "UsernameToken", "Token"), "Security holds 0 credentials instead of one"),
        (changed(ISSUE, "#PasswordText", "#PasswordDigest"), "the Type of Password is not http"),
        (changed(ISSUE, ">13579<", "><x/><"), "Password holds elements where text should be"),
        (changed(ISSUE, "#SAMLV1.1", "#SAMLV2.0"), "TokenType is not http"),
        (changed(ISSUE, "trust/Issue", "trust/Renew"), "RequestType is not http"),
        (changed(ISSUE, "/SymmetricKey", "/PublicKey"), "KeyType is not http"),
        (changed(ISSUE, "AQEBAQ", "AQEBA"), "BinarySecret is not base64"),
        (changed(ISSUE, "wsa:Address", "wsa:Addr"), "EndpointReference holds no Address"),
        (changed(PUBLISH, "DeviceId", "Device"), "GetAndPublishCert has no DeviceId"),
        (changed(PUBLISH, "Entity=", "Name="), "GetAndPublishCert has no Entity"),
        (changed(PUBLISH, ".xsd#PKCS10", ".xsd#PKCS7"), "not declared as PKCS#10 in base64"),
        (changed(PUBLISH, "#X509v3", "#X509v1"), "TokenType is not http"),
        (changed(PUBLISH, "200512/Issue", "200512/Renew"), "RequestType is not http"),
        (
            changed(PUBLISH, "GetAndPublishCert</wsa:A", "Other</wsa:A"),
            "Action is not http://schemas.microsoft.com/OCS/AuthWebServices/GetAndPublishCert",
        ),
        (changed(PUBLISH, "saml:Assertion", "saml:Claim"), "Security holds no Assertion"),
        (
            changed(PUBLISH, ASSERTION.decode(), ASSERTION.decode() * 2),
            "Security holds Assertion 2 times",
        ),
        (
            changed(PUBLISH, 'ID="SamlSecurityToken-1"', 'ID="SamlSecurityToken-2"'),
            "the signature does not name the Assertion of its Security header",
        ),
        (
            changed(PUBLISH, '"SamlSecurityToken-1"', '""').replace(
                b">SamlSecurityToken-1<", b"><"
            ),
            "the signature does not name the Assertion of its Security header",
        ),
        # Signature wrapping.
        (
            changed(PUBLISH, "<wsa:To", f"<x>{TIMESTAMP}</x><wsa:To").replace(
                f'<wsse:Security xmlns:wsse="{NAMESPACES["wsse"]}">{TIMESTAMP}'.encode(),
                f'<wsse:Security xmlns:wsse="{NAMESPACES["wsse"]}">{FORGED}'.encode(),
            ),
            "another element bears the Id of what was signed",
        ),
        (
            changed(PUBLISH, "</wsse:Security>", f"</wsse:Security><x>{FORGED}</x>"),
            "another element bears the Id of what was signed",
        ),
        (changed(PUBLISH, TIMESTAMP, TIMESTAMP + FORGED), "Security holds Timestamp 2 times"),
        (
            changed(
                PUBLISH,
                "</soap:Header>",
                f'<wsse:Security xmlns:wsse="{NAMESPACES["wsse"]}"/></soap:Header>',
            ),
            "Header holds Security 2 times",
        ),
        (
            changed(
                PUBLISH,
                "<wsu:Created>",
                "<wsu:Created>1999-01-01T00:00:00Z</wsu:Created><wsu:Created>",
            ),
            "Timestamp holds Created 2 times",
        ),
        (changed(PUBLISH, "15:00:00Z</wsu", "15:00:00</wsu"), "Expires is no xs:dateTime in UTC"),
    ],
)
def test_what_is_wrong_with_a_request_is_said(data: bytes, text: str) -> None:
    with pytest.raises(DecodeError) as caught:
        decode_soap_request(data)
    assert text in str(caught.value)
    assert "13579" not in str(caught.value)


@pytest.mark.parametrize(
    ("data", "text"),
    [
        (b"Service Unavailable", "not well-formed XML"),
        (encode_soap(GetRootCertChains()), "GetRootCertChains is no answer of these services"),
        (changed(CHAIN, "MIIA", "*"), "CertChain is not base64"),
        (changed(TICKET, "wst:Lifetime", "wst:Life"), "holds no Lifetime"),
        (changed(TICKET, "T07:00:00Z</wsu", "T07:00Z</wsu"), "Created is no xs:dateTime in UTC"),
        (changed(TICKET, "saml:Assertion", "saml:Claim"), "holds no Assertion"),
        (changed(TICKET, "AssertionID=", "ID="), "Assertion has no AssertionID"),
        (changed(TICKET, "BinarySecret", "Secret"), "Entropy holds no BinarySecret"),
        (changed(CERTIFICATE, "BinarySecurityToken", "Token"), "holds no BinarySecurityToken"),
        (changed(FAULT, "faultcode", "code"), "Fault holds no faultcode"),
        (changed(FAULT, "faultstring", "string"), "Fault holds no faultstring"),
        (changed(FAULT, ">28020<", ">0<"), "ErrorId is no positive number"),
        (changed(FAULT, ">28020<", ">x<"), "ErrorId is no positive number"),
        (changed(FAULT, ">28020<", "><"), "ErrorId is no positive number"),
        (changed(FAULT, "a:Value", "a:Other"), "KeyValueOfstringstring holds no Value"),
    ],
)
def test_what_is_wrong_with_an_answer_is_said(data: bytes, text: str) -> None:
    with pytest.raises(DecodeError) as caught:
        decode_soap_response(data)
    assert text in str(caught.value)


@pytest.mark.parametrize("field", ["message_id", "device_id"])
def test_an_id_that_is_too_long_to_be_remembered_is_refused(field: str) -> None:
    assert published(encode_soap(msgspec.structs.replace(PUBLISH, **{field: "x" * 200})))
    with pytest.raises(DecodeError, match="more than 256 characters"):
        decode_soap_request(encode_soap(msgspec.structs.replace(PUBLISH, **{field: "x" * 300})))


def test_a_fault_of_another_service_is_read_without_diagnostics() -> None:
    data = changed(FAULT, NAMESPACES["af"], "urn:other")
    assert decode_soap_response(data) == SoapFault(code=FAULT.code, reason=FAULT.reason)
    data = changed(FAULT, "PinFailureReason", "Colour")
    assert decode_soap_response(data) == msgspec.structs.replace(FAULT, pin_failure=None)
    data = changed(FAULT, "<Reason>No valid security token.</Reason>", "")
    assert decode_soap_response(data) == msgspec.structs.replace(FAULT, error_reason="")


@pytest.mark.parametrize("decode", [decode_soap_request, decode_soap_response])
@pytest.mark.parametrize(
    ("data", "text"),
    [
        (
            b'<!DOCTYPE a [<!ENTITY a "ha"><!ENTITY b "&a;&a;&a;&a;&a;">]><a>&b;</a>',
            "the XML holds a DTD",
        ),
        (
            b'<!DOCTYPE a [<!ENTITY x SYSTEM "file:///etc/hostname">]><a>&x;</a>',
            "the XML holds a DTD",
        ),
        (b"<a>" * 2000 + b"</a>" * 2000, "Excessive depth"),
        (b" " * (DOCUMENT_LIMIT + 1), "the XML has 262145 octets; 262144 is the limit"),
    ],
)
def test_hostile_documents_are_refused(decode: Any, data: bytes, text: str) -> None:
    with pytest.raises(DecodeError) as caught:
        decode(data)
    assert text in str(caught.value)


def test_texts_are_escaped() -> None:
    message = msgspec.structs.replace(
        ISSUE,
        context="\"<&>'\t\n",
        applies_to="a&b<c>]]>\r\n",
        credential=PinCredential(number="</wsse:Username>", pin="1"),
    )
    assert decode_soap_request(encode_soap(message)) == message


def test_what_xml_cannot_hold_is_not_written() -> None:
    with pytest.raises(ValueError, match="XML cannot hold a control character"):
        encode_soap(msgspec.structs.replace(ISSUE, credential=PinCredential(number="\0", pin="1")))


@pytest.mark.parametrize(
    "data",
    [
        encode_soap(msgspec.structs.replace(ISSUE, credential=None)),
        changed(ISSUE, "soap:Header", "soap:Head"),
        changed(ISSUE, "wsse:Security", "wsse:Secure"),
    ],
    ids=["no header", "another header", "no Security"],
)
def test_a_ticket_request_need_not_say_who_asks(data: bytes) -> None:
    assert decode_soap_request(data) == msgspec.structs.replace(ISSUE, credential=None)


def test_who_is_known_to_http_sends_no_header() -> None:
    assert b"Header" not in encode_soap(msgspec.structs.replace(ISSUE, credential=None))
