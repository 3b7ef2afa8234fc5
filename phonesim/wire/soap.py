"""The SOAP messages of the web services: octets to messages and back.

Each kind of message is written and read by the module that defines it; here is which
kinds there are, and how one is told from another.

Specifications: SOAP 1.1, [MS-OCAUTHWS], sign-in reference sections 2 to 9.
"""

from __future__ import annotations

from collections.abc import Callable

from lxml import etree

from phonesim.errors import DecodeError
from phonesim.wire import cert_provisioning, web_ticket
from phonesim.wire import soap_names as ns
from phonesim.wire.cert_provisioning import (
    ROOT_CHAINS,
    ROOT_CHAINS_ACTION,
    ROOT_CHAINS_RESPONSE,
    GetAndPublishCert,
    GetAndPublishCertResponse,
    GetRootCertChains,
    GetRootCertChainsResponse,
)
from phonesim.wire.soap_envelope import (
    SoapFault,
    envelope_xml,
    fault_xml,
    open_envelope,
    read_fault,
)
from phonesim.wire.web_ticket import RequestSecurityToken, RequestSecurityTokenResponse
from phonesim.wire.xml_document import label, local_name, parse_document

SoapRequest = GetRootCertChains | RequestSecurityToken | GetAndPublishCert
SoapResponse = (
    GetRootCertChainsResponse | RequestSecurityTokenResponse | GetAndPublishCertResponse | SoapFault
)
SoapMessage = SoapRequest | SoapResponse


def soap_action(message: SoapRequest) -> str:
    """The action's URI, which the HTTP header SOAPAction carries between double quotes."""
    match message:
        case GetRootCertChains():
            return ROOT_CHAINS_ACTION
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
            return envelope_xml("", f'<{ROOT_CHAINS} xmlns="{ns.OCS}"/>')
        case GetRootCertChainsResponse():
            return envelope_xml("", cert_provisioning.root_chains_response_xml(message))
        case RequestSecurityToken():
            return envelope_xml(
                web_ticket.credential_xml(message.credential), web_ticket.issue_xml(message)
            )
        case RequestSecurityTokenResponse():
            return envelope_xml("", web_ticket.issue_response_xml(message))
        case GetAndPublishCert():
            return envelope_xml(
                cert_provisioning.ticket_header_xml(message), cert_provisioning.publish_xml(message)
            )
        case GetAndPublishCertResponse():
            return envelope_xml("", cert_provisioning.publish_response_xml(message))
        case SoapFault():
            return envelope_xml("", fault_xml(message))


def decode_soap_request(data: bytes) -> SoapRequest:
    """Read a request; DecodeError if it is none of the three, or malformed."""
    envelope = parse_document(data)
    content = open_envelope(envelope)
    read = _REQUESTS.get(content.tag)
    if read is None:
        raise DecodeError(f"{label(content)} is no request of these services")
    return read(envelope, content, data)


def decode_soap_response(data: bytes) -> SoapResponse:
    """Read an answer, which may be a fault; DecodeError if it is none, or malformed."""
    return read_soap_response(parse_document(data), data)


def read_soap_response(envelope: etree._Element, data: bytes) -> SoapResponse:
    """The answer in `data`, which was parsed already; DecodeError as `decode_soap_response`."""
    content = open_envelope(envelope)
    read = _RESPONSES.get(local_name(content))
    if read is None:
        raise DecodeError(f"{label(content)} is no answer of these services")
    return read(content, data)


_REQUESTS: dict[str, Callable[[etree._Element, etree._Element, bytes], SoapRequest]] = {
    f"{{{ns.OCS}}}{ROOT_CHAINS}": cert_provisioning.read_root_chains,
    f"{{{ns.WST}}}RequestSecurityToken": web_ticket.read_issue,
    f"{{{ns.OCS}}}GetAndPublishCert": cert_provisioning.read_publish,
}
_RESPONSES: dict[str, Callable[[etree._Element, bytes], SoapResponse]] = {
    ROOT_CHAINS_RESPONSE: cert_provisioning.read_root_chains_response,
    "RequestSecurityTokenResponseCollection": web_ticket.read_issue_response,
    "GetAndPublishCertResponse": cert_provisioning.read_publish_response,
    "Fault": read_fault,
}
