import pytest
from lxml import etree

from phonesim.errors import DecodeError
from phonesim.wire.web_services_metadata import (
    ANONYMOUS_PORT,
    PIN_PORT,
    PROOF_PORT,
    ServiceMetadata,
    ServicePort,
    encode_metadata,
    read_metadata,
)
from phonesim.wire.xml_document import parse_document

WEB = "https://web.contoso.com:443"
PROVISIONING = ServiceMetadata(
    service="CertProvisioningService",
    ports=(
        ServicePort(name=ANONYMOUS_PORT, location="http://web.contoso.com:80/C.svc"),
        ServicePort(
            name=PROOF_PORT, location=f"{WEB}/C.svc/Proof", issuer=f"{WEB}/W.svc", needs_proof=True
        ),
        ServicePort(name="Bearer", location=f"{WEB}/C.svc/Bearer", issuer=f"{WEB}/W.svc"),
    ),
)
TICKETS = ServiceMetadata(
    service="WebTicketService", ports=(ServicePort(name=PIN_PORT, location=f"{WEB}/W.svc/Pin"),)
)


def read(data: bytes) -> ServiceMetadata:
    return read_metadata(parse_document(data))


@pytest.mark.parametrize("metadata", [PROVISIONING, TICKETS])
def test_metadata_come_back_as_they_were(metadata: ServiceMetadata) -> None:
    assert read(encode_metadata(metadata)) == metadata


def test_a_client_finds_what_it_needs_where_clients_look() -> None:
    root = etree.fromstring(encode_metadata(PROVISIONING))
    namespaces = {
        "wsdl": "http://schemas.xmlsoap.org/wsdl/",
        "soap": "http://schemas.xmlsoap.org/wsdl/soap/",
        "wsp": "http://schemas.xmlsoap.org/ws/2004/09/policy",
        "sp": "http://docs.oasis-open.org/ws-sx/ws-securitypolicy/200702",
        "wsa": "http://www.w3.org/2005/08/addressing",
        "wsu": "http://docs.oasis-open.org/wss/2004/01/oasis-200401-wss-wssecurity-utility-1.0.xsd",
    }
    assert root.tag == "{http://schemas.xmlsoap.org/wsdl/}definitions"
    assert root.get("targetNamespace") == "http://tempuri.org/"
    assert root.xpath(
        f"string(wsp:Policy[@wsu:Id='{PROOF_PORT}_policy']/wsp:ExactlyOne/wsp:All/"
        "sp:EndorsingSupportingTokens/wsp:Policy/sp:IssuedToken/sp:Issuer/wsa:Address)",
        namespaces=namespaces,
    ) == (f"{WEB}/W.svc")
    assert root.xpath(
        f"string(wsdl:service/wsdl:port[@name='{PROOF_PORT}']/soap:address/@location)",
        namespaces=namespaces,
    ) == (f"{WEB}/C.svc/Proof")


def test_the_operation_of_web_tickets_has_the_documented_names_and_actions() -> None:
    root = etree.fromstring(encode_metadata(TICKETS))
    namespaces = {
        "wsdl": "http://schemas.xmlsoap.org/wsdl/",
        "wsaw": "http://www.w3.org/2006/05/addressing/wsdl",
    }
    operation = root.xpath(
        "wsdl:portType[@name='IWebTicketService']/wsdl:operation[@name='IssueToken']",
        namespaces=namespaces,
    )[0]
    trust = "http://docs.oasis-open.org/ws-sx/ws-trust/200512"
    assert operation.xpath("*/@wsaw:Action", namespaces=namespaces) == [
        f"{trust}/RST/Issue",
        f"{trust}/RSTRC/IssueFinal",
    ]


def test_metadata_in_another_hand_are_read_by_local_names() -> None:
    data = b"""<definitions xmlns="urn:x" xmlns:u="http://docs.oasis-open.org/wss/2004/01/\
oasis-200401-wss-wssecurity-utility-1.0.xsd">
      <Policy u:Id="A_policy"><ExactlyOne><All><Other/></All><All><SignedSupportingTokens><Policy>
        <IssuedToken><Issuer><Address> https://issuer/ </Address></Issuer></IssuedToken>
      </Policy></SignedSupportingTokens></All></ExactlyOne></Policy>
      <Policy/>
      <service name="S"><port name="Pipe"/><port name="A"><address location="https://a/"/></port>
      </service></definitions>"""
    assert read(data) == ServiceMetadata(
        service="S",
        ports=(ServicePort(name="A", location="https://a/", issuer="https://issuer/"),),
    )


@pytest.mark.parametrize(
    ("data", "text"),
    [
        (b"<html/>", "html is no WSDL document"),
        (b"<definitions/>", "definitions holds no service"),
        (b"<definitions><service/><service/></definitions>", "holds service 2 times"),
        (b"<definitions><service/></definitions>", "service has no name"),
        (b"<definitions><service name='s'><port/></service></definitions>", "port has no name"),
        (
            b"<definitions><service name='s'><port name='p'><address/></port></service>"
            b"</definitions>",
            "address has no location",
        ),
        (
            encode_metadata(TICKETS).replace(b"</wsdl:service>", b"")[:-20]
            + b"<wsdl:port name='WebTicketServicePin'><a location='x'/></wsdl:port>",
            "not well-formed",
        ),
        (
            encode_metadata(PROVISIONING).replace(b'port name="Bearer"', b'port name="%b"'
            % PROOF_PORT.encode()),
            "two ports of the service have the same name",
        ),
        (
            encode_metadata(PROVISIONING).replace(
                b"</wsa10:Address>", b"<x/></wsa10:Address>"
            ),
            "Address holds elements where text should be",
        ),
    ],
)  # fmt: skip
def test_what_is_wrong_with_metadata_is_said(data: bytes, text: str) -> None:
    with pytest.raises(DecodeError, match=text):
        read(data)


def test_only_services_that_exist_are_described() -> None:
    with pytest.raises(KeyError):
        encode_metadata(ServiceMetadata(service="Other", ports=()))
