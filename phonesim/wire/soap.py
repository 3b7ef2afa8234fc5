"""The SOAP messages of the web services.

Messages are written as text, so that a SAML assertion goes back octet for octet
as it came; they are read with lxml. A reader of requests insists on namespaces;
a reader of answers goes by local names, for the documents leave some namespaces
of the answers open.

Specifications: [MS-OCAUTHWS], WS-Trust 1.3, WS-Security 1.0 (UsernameToken,
SAML token profile), SAML 1.1, SOAP 1.1, sign-in reference sections 2 to 9. What no
public text states (the PIN credential's form, the element names of
GetRootCertChains, how the SIP URI comes back, where a fault carries the PIN failure)
is written by one function each, marked [inferred].
"""

from __future__ import annotations

import base64
import hmac
from abc import ABC, abstractmethod
from collections.abc import Callable

import msgspec
from lxml import etree

from phonesim.errors import DecodeError
from phonesim.wire import soap_names as ns
from phonesim.wire.xml_document import (
    attribute_xml,
    label,
    local_name,
    markup_of,
    octets_of,
    octets_xml,
    only_child,
    optional_child,
    parse_document,
    seconds_of,
    seconds_xml,
    text_of,
    text_xml,
)
from phonesim.wire.xml_signature import (
    SignatureParts,
    read_signature,
    signature_xml,
    timestamp_xml,
)


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

    def __init__(self, parts: SignatureParts) -> None:
        self._parts = parts

    def verify(self, key: bytes) -> bool:
        """Whether `key` signed the Timestamp that the request's times were read from."""
        return self._parts.verifies(key)


class GetRootCertChains(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """Anonymous request for the chain of trust, sent over plain HTTP."""


class GetRootCertChainsResponse(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """The chain: a DER PKCS#7 certificate bag."""

    chain: bytes


class RequestSecurityToken(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """Web ticket request with PIN credentials; `entropy` is 32 octets."""

    context: str
    applies_to: str
    username: str
    password: str
    entropy: bytes


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


class SoapFault(msgspec.Struct, frozen=True, kw_only=True, gc=False):
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


class HttpRequest(msgspec.Struct, frozen=True, kw_only=True, gc=False):
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


class HttpResponse(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """A web service's answer; `message` is None when the body is no SOAP (a 404 page)."""

    status: int
    message: SoapResponse | None = None
    retry_after: int | None = None


def soap_action(message: SoapRequest) -> str:
    """The action's URI, which the HTTP header SOAPAction carries between double quotes."""
    match message:
        case GetRootCertChains():
            return _ROOT_CHAINS_ACTION
        case RequestSecurityToken():
            return ns.ISSUE_ACTION
        case GetAndPublishCert():
            return ns.PUBLISH_ACTION


def encode_soap(message: SoapMessage) -> bytes:
    """The envelope, in UTF-8.

    A GetAndPublishCert is signed with the key of its proof, which must be a KeyProof
    (TypeError if not). ValueError if a text holds what XML cannot.
    """
    match message:
        case GetRootCertChains():
            head, body = "", f'<{_ROOT_CHAINS} xmlns="{ns.OCS}"/>'
        case GetRootCertChainsResponse():
            head, body = "", _root_chains_response_xml(message)
        case RequestSecurityToken():
            head, body = (
                _pin_credential_xml(message.username, message.password),
                _issue_xml(message),
            )
        case RequestSecurityTokenResponse():
            head, body = "", _issue_response_xml(message)
        case GetAndPublishCert():
            head, body = _ticket_header_xml(message), _publish_xml(message)
        case GetAndPublishCertResponse():
            head, body = "", _publish_response_xml(message)
        case SoapFault():
            head, body = "", _fault_xml(message)
    if head:
        head = f"<soap:Header>{head}</soap:Header>"
    return (
        f'<soap:Envelope xmlns:soap="{ns.SOAP}">{head}<soap:Body>{body}</soap:Body></soap:Envelope>'
    ).encode()


def decode_soap_request(data: bytes) -> SoapRequest:
    """Read a request; DecodeError if it is none of the three, or malformed."""
    envelope, content = _open_envelope(data)
    read = _REQUESTS.get(content.tag)
    if read is None:
        raise DecodeError(f"{label(content)} is no request of these services")
    return read(envelope, content, data)


def decode_soap_response(data: bytes) -> SoapResponse:
    """Read an answer, which may be a fault; DecodeError if it is none, or malformed."""
    _, content = _open_envelope(data)
    read = _RESPONSES.get(local_name(content))
    if read is None:
        raise DecodeError(f"{label(content)} is no answer of these services")
    return read(content, data)


def proof_key(client_entropy: bytes, server_entropy: bytes) -> bytes:
    """The ticket's key, 32 octets: P_SHA1 (RFC 2246 section 5) of both entropies."""
    key = b""
    chain = server_entropy
    while len(key) < 32:
        chain = hmac.digest(client_entropy, chain, "sha1")
        key += hmac.digest(client_entropy, chain + server_entropy, "sha1")
    return key[:32]


def saml_assertion(
    assertion_id: str, issuer: str, sip_uri: str, audience: str, created: int, expires: int
) -> bytes:
    """A SAML 1.1 assertion about `sip_uri` for the service `audience`; times are Unix seconds.

    It is not signed: whoever issues it must know it again by its id.
    """
    instant = seconds_xml(created)
    return (
        f'<saml:Assertion xmlns:saml="{ns.SAML}" MajorVersion="1" MinorVersion="1"'
        f' AssertionID="{attribute_xml(assertion_id)}" Issuer="{attribute_xml(issuer)}"'
        f' IssueInstant="{instant}">'
        f'<saml:Conditions NotBefore="{instant}" NotOnOrAfter="{seconds_xml(expires)}">'
        f"<saml:AudienceRestrictionCondition><saml:Audience>{text_xml(audience)}</saml:Audience>"
        "</saml:AudienceRestrictionCondition></saml:Conditions>"
        f'<saml:AuthenticationStatement AuthenticationInstant="{instant}"'
        ' AuthenticationMethod="urn:oasis:names:tc:SAML:1.0:am:unspecified">'
        f"<saml:Subject><saml:NameIdentifier>{text_xml(sip_uri)}</saml:NameIdentifier>"
        "<saml:SubjectConfirmation><saml:ConfirmationMethod>"
        "urn:oasis:names:tc:SAML:1.0:cm:holder-of-key"
        "</saml:ConfirmationMethod></saml:SubjectConfirmation></saml:Subject>"
        "</saml:AuthenticationStatement></saml:Assertion>"
    ).encode()


_SOAP_FAULT_CODES = frozenset({"VersionMismatch", "MustUnderstand", "Client", "Server"})
_TRUST_FAULT_CODES = frozenset({"InvalidRequest", "RequestFailed"})


def _root_chains_names() -> tuple[str, str, str, str]:
    """[inferred] Action, request, response and chain element, by analogy with GetAndPublishCert."""
    return (
        f"{ns.OCS}GetRootCertChains",
        "GetRootCertChains",
        "GetRootCertChainsResponse",
        "CertChain",
    )


_ROOT_CHAINS_ACTION, _ROOT_CHAINS, _ROOT_CHAINS_RESPONSE, _ROOT_CHAINS_CHAIN = _root_chains_names()


# --- writing ------------------------------------------------------------------


def _root_chains_response_xml(message: GetRootCertChainsResponse) -> str:
    return (
        f'<{_ROOT_CHAINS_RESPONSE} xmlns="{ns.OCS}"><{_ROOT_CHAINS_CHAIN}>'
        f"{octets_xml(message.chain)}</{_ROOT_CHAINS_CHAIN}></{_ROOT_CHAINS_RESPONSE}>"
    )


def _pin_credential_xml(username: str, password: str) -> str:
    """[inferred] The credential of WebTicketServicePin; `_read_pin_credential` is its reader.

    Synthetic: the UsernameToken that the password port takes, with the number as
    typed and the PIN, neither of them in base64.
    """
    return (
        f'<wsse:Security xmlns:wsse="{ns.WSSE}" soap:mustUnderstand="1"><wsse:UsernameToken>'
        f"<wsse:Username>{text_xml(username)}</wsse:Username>"
        f'<wsse:Password Type="{ns.PASSWORD_TEXT}">{text_xml(password)}</wsse:Password>'
        "</wsse:UsernameToken></wsse:Security>"
    )


def _issue_xml(message: RequestSecurityToken) -> str:
    """Without Claims: who signs in with a PIN does not know the SIP URI yet."""
    return (
        f'<wst:RequestSecurityToken xmlns:wst="{ns.WST}"'
        f' Context="{attribute_xml(message.context)}">'
        f"<wst:TokenType>{ns.SAML_V1_1}</wst:TokenType>"
        f"<wst:RequestType>{ns.ISSUE_REQUEST_TYPE}</wst:RequestType>"
        f'<wsp:AppliesTo xmlns:wsp="{ns.WSP}"><wsa:EndpointReference xmlns:wsa="{ns.WSA}">'
        f"<wsa:Address>{text_xml(message.applies_to)}</wsa:Address>"
        "</wsa:EndpointReference></wsp:AppliesTo>"
        f"<wst:Entropy><wst:BinarySecret>{octets_xml(message.entropy)}</wst:BinarySecret>"
        f"</wst:Entropy><wst:KeyType>{ns.SYMMETRIC_KEY}</wst:KeyType></wst:RequestSecurityToken>"
    )


def _issue_response_xml(message: RequestSecurityTokenResponse) -> str:
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


def _ticket_header_xml(message: GetAndPublishCert) -> str:
    if not isinstance(message.proof, KeyProof):
        raise TypeError("a request can only be signed by a KeyProof")
    timestamp = timestamp_xml(message.created, message.expires)
    signature = signature_xml(timestamp, message.proof.key, message.assertion_id)
    return (
        f'<wsa:To xmlns:wsa="{ns.WSA}">{text_xml(message.to)}</wsa:To>'
        f'<wsa:ReplyTo xmlns:wsa="{ns.WSA}"><wsa:Address>{ns.ANONYMOUS}</wsa:Address></wsa:ReplyTo>'
        f'<wsa:MessageID xmlns:wsa="{ns.WSA}">uuid:{text_xml(message.message_id)}</wsa:MessageID>'
        f'<wsa:Action xmlns:wsa="{ns.WSA}">{ns.PUBLISH_ACTION}</wsa:Action>'
        f'<wsse:Security xmlns:wsse="{ns.WSSE}">'
        f"{timestamp}{message.assertion.decode()}{signature}</wsse:Security>"
    )


def _publish_xml(message: GetAndPublishCert) -> str:
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


def _publish_response_xml(message: GetAndPublishCertResponse) -> str:
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


def _fault_xml(message: SoapFault) -> str:
    namespace = ns.WSSE
    if message.code in _SOAP_FAULT_CODES:
        namespace = ns.SOAP
    elif message.code in _TRUST_FAULT_CODES:
        namespace = ns.WST
    diagnostics = ""
    if message.error_id:
        diagnostics = (
            f"<Ms-Diagnostics-Fault><ErrorId>{message.error_id}</ErrorId>"
            f"<Reason>{text_xml(message.error_reason)}</Reason></Ms-Diagnostics-Fault>"
        )
    if message.pin_failure is not None:
        diagnostics += _pin_failure_xml(message.pin_failure)
    detail = ""
    if diagnostics:
        detail = f'<OCSDiagnosticsFault xmlns="{ns.AF}">{diagnostics}</OCSDiagnosticsFault>'
        detail = f"<detail>{detail}</detail>"
    return (
        f'<soap:Fault><faultcode xmlns:a="{namespace}">a:{text_xml(message.code)}</faultcode>'
        f'<faultstring xml:lang="en-US">{text_xml(message.reason)}</faultstring>'
        f"{detail}</soap:Fault>"
    )


def _pin_failure_xml(pin_failure: str) -> str:
    """[inferred] PinFailureReason as one of the NameValuePairs; `_read_pin_failure` reads it."""
    return (
        f'<NameValuePairs xmlns:a="{ns.ARRAYS}"><a:KeyValueOfstringstring>'
        f"<a:Key>PinFailureReason</a:Key><a:Value>{text_xml(pin_failure)}</a:Value>"
        "</a:KeyValueOfstringstring></NameValuePairs>"
    )


# --- reading ------------------------------------------------------------------


def _open_envelope(data: bytes) -> tuple[etree._Element, etree._Element]:
    """The envelope, and the one element in its Body."""
    envelope = parse_document(data)
    if envelope.tag != f"{{{ns.SOAP}}}Envelope":
        raise DecodeError(f"{label(envelope)} is no SOAP 1.1 Envelope")
    body = only_child(envelope, f"{{{ns.SOAP}}}Body")
    if len(body) != 1:
        raise DecodeError(f"the SOAP Body holds {len(body)} elements instead of one")
    return envelope, body[0]


def _security_header(envelope: etree._Element) -> tuple[etree._Element, etree._Element]:
    header = only_child(envelope, f"{{{ns.SOAP}}}Header")
    return header, only_child(header, f"{{{ns.WSSE}}}Security")


def _read_root_chains(
    envelope: etree._Element, content: etree._Element, data: bytes
) -> GetRootCertChains:
    return GetRootCertChains()


def _read_issue(
    envelope: etree._Element, content: etree._Element, data: bytes
) -> RequestSecurityToken:
    _, security = _security_header(envelope)
    username, password = _read_pin_credential(security)
    _expect(only_child(content, f"{{{ns.WST}}}TokenType"), ns.SAML_V1_1)
    _expect(only_child(content, f"{{{ns.WST}}}RequestType"), ns.ISSUE_REQUEST_TYPE)
    _expect(only_child(content, f"{{{ns.WST}}}KeyType"), ns.SYMMETRIC_KEY)
    applies_to = only_child(content, f"{{{ns.WSP}}}AppliesTo")
    reference = only_child(applies_to, f"{{{ns.WSA}}}EndpointReference")
    entropy = only_child(content, f"{{{ns.WST}}}Entropy")
    return RequestSecurityToken(
        context=content.get("Context") or "",
        applies_to=text_of(only_child(reference, f"{{{ns.WSA}}}Address")),
        username=username,
        password=password,
        entropy=octets_of(only_child(entropy, f"{{{ns.WST}}}BinarySecret")),
    )


def _read_pin_credential(security: etree._Element) -> tuple[str, str]:
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
        return plain
    return text_of(username), text_of(password)


def _read_publish(
    envelope: etree._Element, content: etree._Element, data: bytes
) -> GetAndPublishCert:
    header, security = _security_header(envelope)
    _expect(only_child(header, f"{{{ns.WSA}}}Action"), ns.PUBLISH_ACTION)
    signature = read_signature(security)
    timestamp = only_child(security, f"{{{ns.WSU}}}Timestamp")
    assertion = only_child(security, f"{{{ns.SAML}}}Assertion")
    assertion_id = assertion.get("AssertionID")
    if not assertion_id or assertion_id != signature.assertion_id:
        raise DecodeError("the signature does not name the Assertion of its Security header")
    request = only_child(content, f"{{{ns.WST_OF_PUBLISH}}}RequestSecurityToken")
    _expect(only_child(request, f"{{{ns.WST_OF_PUBLISH}}}TokenType"), ns.X509_V3)
    _expect(only_child(request, f"{{{ns.WST_OF_PUBLISH}}}RequestType"), ns.PUBLISH_REQUEST_TYPE)
    csr = only_child(request, f"{{{ns.WSSE}}}BinarySecurityToken")
    if csr.get("ValueType") != ns.PKCS10 or csr.get("EncodingType") != ns.BASE64:
        raise DecodeError("BinarySecurityToken is not declared as PKCS#10 in base64")
    message_id = text_of(only_child(header, f"{{{ns.WSA}}}MessageID"))
    return GetAndPublishCert(
        to=text_of(only_child(header, f"{{{ns.WSA}}}To")),
        message_id=message_id.removeprefix("urn:").removeprefix("uuid:"),
        device_id=_without_braces(_attribute(content, "DeviceId")),
        entity=_attribute(content, "Entity"),
        csr=octets_of(csr),
        request_id=text_of(only_child(request, f"{{{ns.WSTEP}}}RequestID")),
        assertion_id=assertion_id,
        assertion=markup_of(assertion, data),
        created=seconds_of(only_child(timestamp, f"{{{ns.WSU}}}Created")),
        expires=seconds_of(only_child(timestamp, f"{{{ns.WSU}}}Expires")),
        proof=XmlSignatureProof(signature),
    )


def _read_root_chains_response(content: etree._Element, data: bytes) -> GetRootCertChainsResponse:
    return GetRootCertChainsResponse(
        chain=octets_of(only_child(content, f"{{*}}{_ROOT_CHAINS_CHAIN}"))
    )


def _read_issue_response(content: etree._Element, data: bytes) -> RequestSecurityTokenResponse:
    response = only_child(content, "{*}RequestSecurityTokenResponse")
    token = only_child(response, "{*}RequestedSecurityToken")
    assertion = only_child(token, f"{{{ns.SAML}}}Assertion")
    lifetime = only_child(response, "{*}Lifetime")
    return RequestSecurityTokenResponse(
        context=response.get("Context") or "",
        assertion_id=_attribute(assertion, "AssertionID"),
        assertion=markup_of(assertion, data),
        created=seconds_of(only_child(lifetime, "{*}Created")),
        expires=seconds_of(only_child(lifetime, "{*}Expires")),
        entropy=octets_of(only_child(only_child(response, "{*}Entropy"), "{*}BinarySecret")),
        sip_uri=_read_sip_uri(assertion),
    )


def _read_sip_uri(assertion: etree._Element) -> str | None:
    """[inferred] The user's SIP URI is the first NameIdentifier of the ticket, if it is one."""
    for identifier in assertion.iter(f"{{{ns.SAML}}}NameIdentifier"):
        text = text_of(identifier)
        return text if text.startswith("sip:") else None
    return None


def _read_publish_response(content: etree._Element, data: bytes) -> GetAndPublishCertResponse:
    response = only_child(content, "{*}RequestSecurityTokenResponse")
    token = only_child(response, "{*}RequestedSecurityToken")
    return GetAndPublishCertResponse(
        certificate=octets_of(only_child(token, "{*}BinarySecurityToken")),
        device_id=_without_braces(content.get("DeviceId") or ""),
        entity=content.get("Entity") or "",
    )


def _read_fault(content: etree._Element, data: bytes) -> SoapFault:
    error_id, error_reason, pin_failure = 0, "", None
    detail = optional_child(content, "{*}detail")
    diagnostics = (
        None if detail is None else optional_child(detail, f"{{{ns.AF}}}OCSDiagnosticsFault")
    )
    if diagnostics is not None:
        fault = optional_child(diagnostics, f"{{{ns.AF}}}Ms-Diagnostics-Fault")
        if fault is not None:
            number = text_of(only_child(fault, f"{{{ns.AF}}}ErrorId")).strip()
            if not (number.isascii() and number.isdigit() and len(number) < 10 and int(number)):
                raise DecodeError("ErrorId is no positive number")
            error_id = int(number)
            reason = optional_child(fault, f"{{{ns.AF}}}Reason")
            error_reason = "" if reason is None else text_of(reason)
        pin_failure = _read_pin_failure(diagnostics)
    return SoapFault(
        code=text_of(only_child(content, "{*}faultcode")).strip().rpartition(":")[2],
        reason=text_of(only_child(content, "{*}faultstring")),
        error_id=error_id,
        error_reason=error_reason,
        pin_failure=pin_failure,
    )


def _read_pin_failure(diagnostics: etree._Element) -> str | None:
    """[inferred] The value whose key is PinFailureReason."""
    pairs = optional_child(diagnostics, f"{{{ns.AF}}}NameValuePairs")
    for pair in () if pairs is None else pairs:
        if text_of(only_child(pair, "{*}Key")) == "PinFailureReason":
            return text_of(only_child(pair, "{*}Value"))
    return None


_REQUESTS: dict[str, Callable[[etree._Element, etree._Element, bytes], SoapRequest]] = {
    f"{{{ns.OCS}}}{_ROOT_CHAINS}": _read_root_chains,
    f"{{{ns.WST}}}RequestSecurityToken": _read_issue,
    f"{{{ns.OCS}}}GetAndPublishCert": _read_publish,
}
_RESPONSES: dict[str, Callable[[etree._Element, bytes], SoapResponse]] = {
    _ROOT_CHAINS_RESPONSE: _read_root_chains_response,
    "RequestSecurityTokenResponseCollection": _read_issue_response,
    "GetAndPublishCertResponse": _read_publish_response,
    "Fault": _read_fault,
}


def _expect(element: etree._Element, value: str) -> None:
    if text_of(element).strip() != value:
        raise DecodeError(f"{label(element)} is not {value}")


def _attribute(element: etree._Element, name: str) -> str:
    value = element.get(name)
    if not value:
        raise DecodeError(f"{label(element)} has no {name}")
    return value


def _without_braces(text: str) -> str:
    return text[1:-1] if text.startswith("{") and text.endswith("}") else text
