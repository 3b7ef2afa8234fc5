"""What a web service says of itself: the WSDL document at its URL with /mex behind it.

A client takes two things from it, by local names: where each port listens, and from the
policy of a port who issues the tokens that it wants. It also has what a SOAP client of any
make needs to call the operations: types, messages, bindings.

Specifications: WSDL 1.1, WS-Policy 1.5, WS-SecurityPolicy 1.2 section 5 (IssuedToken),
sign-in reference section 5. The ports' names are documented; that of the anonymous port,
the binding names and the schema are [inferred].
"""

from __future__ import annotations

from functools import lru_cache

import msgspec
from lxml import etree

from phonesim.errors import DecodeError
from phonesim.wire import soap_names as ns
from phonesim.wire.cert_provisioning import (
    ROOT_CHAINS,
    ROOT_CHAINS_ACTION,
    ROOT_CHAINS_CHAIN,
    ROOT_CHAINS_RESPONSE,
)
from phonesim.wire.soap_envelope import attribute_of
from phonesim.wire.xml_document import (
    attribute_xml,
    label,
    local_name,
    only_child,
    optional_child,
    text_of,
    text_xml,
)

METADATA_SUFFIX = "/mex"
"""What follows a service's URL where its metadata are [source]."""

PROOF_PORT = "CertProvisioningServiceWebTicketProof_SHA1"
"""The port that takes a web ticket with proof of its key [source]."""
ANONYMOUS_PORT = "CertProvisioningServiceAnon"
"""The port of GetRootCertChains; named by analogy [inferred]."""
PIN_PORT = "WebTicketServicePin"
CERTIFICATE_PORT = "WebTicketServiceCert"
NEGOTIATE_PORT = "WebTicketServiceWinNegotiate"
NTLM_PORT = "WebTicketServiceWinNtlm"
"""[documented MobilePreferredAuthType]"""


class GetMetadata(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """Anonymous request for a service's metadata: a plain GET."""


class ServicePort(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """A port. `issuer` is the URL of who issues the tokens that its policy asks for, None if
    it asks for none; with `needs_proof` they count only with proof of their key.
    """

    name: str
    location: str
    issuer: str | None = None
    needs_proof: bool = False


class ServiceMetadata(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """The ports of a service; `service` is CertProvisioningService or WebTicketService."""

    service: str
    ports: tuple[ServicePort, ...]

    def port(self, name: str) -> ServicePort | None:
        """The port of that name."""
        return next((port for port in self.ports if port.name == name), None)


class _Operation(msgspec.Struct, frozen=True):
    """An operation, the elements it takes and gives with the namespace of both, its actions."""

    name: str
    namespace: str
    request: str
    response: str
    action: str
    reply_action: str


_CONTRACTS = {
    "CertProvisioningService": (
        "ICertProvisioningService",
        (
            _Operation(
                "GetRootCertChains",
                ns.OCS,
                ROOT_CHAINS,
                ROOT_CHAINS_RESPONSE,
                ROOT_CHAINS_ACTION,
                f"{ROOT_CHAINS_ACTION}Response",
            ),
            _Operation(
                "GetAndPublishCert",
                ns.OCS,
                "GetAndPublishCert",
                "GetAndPublishCertResponse",
                ns.PUBLISH_ACTION,
                f"{ns.PUBLISH_ACTION}Response",
            ),
        ),
    ),
    "WebTicketService": (
        "IWebTicketService",
        (
            _Operation(
                "IssueToken",
                ns.WST,
                "RequestSecurityToken",
                "RequestSecurityTokenResponseCollection",
                ns.ISSUE_ACTION,
                ns.ISSUE_RESPONSE_ACTION,
            ),
        ),
    ),
}


@lru_cache(maxsize=16)
def encode_metadata(message: ServiceMetadata) -> bytes:
    """The WSDL document. KeyError if there is no such service."""
    port_type, operations = _CONTRACTS[message.service]
    elements = "".join(
        f'<wsdl:message name="{operation.name}_{direction}"><wsdl:part name="parameters"'
        f' element="m:{element}" xmlns:m="{operation.namespace}"/></wsdl:message>'
        for operation in operations
        for direction, element in (("Input", operation.request), ("Output", operation.response))
    )
    offered = "".join(
        f'<wsdl:operation name="{operation.name}">'
        f'<wsdl:input wsaw:Action="{operation.action}" message="tns:{operation.name}_Input"/>'
        f'<wsdl:output wsaw:Action="{operation.reply_action}"'
        f' message="tns:{operation.name}_Output"/></wsdl:operation>'
        for operation in operations
    )
    return (
        f'<wsdl:definitions name="{message.service}" targetNamespace="{ns.TEMPURI}"'
        f' xmlns:wsdl="{ns.WSDL}" xmlns:soap="{ns.WSDL_SOAP}" xmlns:wsu="{ns.WSU}"'
        f' xmlns:wsp="{ns.WSP}" xmlns:wsaw="{ns.WSAW}" xmlns:wsa10="{ns.WSA}"'
        f' xmlns:tns="{ns.TEMPURI}">'
        f"{''.join(_policy_xml(port) for port in message.ports)}"
        f"<wsdl:types>{_SCHEMAS[message.service]}</wsdl:types>"
        f'{elements}<wsdl:portType name="{port_type}">{offered}</wsdl:portType>'
        f"{''.join(_binding_xml(port, port_type, operations) for port in message.ports)}"
        f'<wsdl:service name="{message.service}">'
        f"{''.join(_port_xml(port) for port in message.ports)}"
        "</wsdl:service></wsdl:definitions>"
    ).encode()


def read_metadata(definitions: etree._Element) -> ServiceMetadata:
    """Read a WSDL document; DecodeError if it is none with one service of named ports."""
    if local_name(definitions) != "definitions":
        raise DecodeError(f"{label(definitions)} is no WSDL document")
    policies = {
        policy.get(f"{{{ns.WSU}}}Id"): policy for policy in definitions.iterchildren("{*}Policy")
    }
    service = only_child(definitions, "{*}service")
    ports = []
    for element in service.iterchildren("{*}port"):
        name = attribute_of(element, "name")
        address = optional_child(element, "{*}address")
        if address is None:
            continue  # a port of another protocol
        issuer, needs_proof = _read_issuer(policies.get(f"{name}_policy"))
        ports.append(
            ServicePort(
                name=name,
                location=attribute_of(address, "location"),
                issuer=issuer,
                needs_proof=needs_proof,
            )
        )
    if len({port.name for port in ports}) != len(ports):
        raise DecodeError("two ports of the service have the same name")
    return ServiceMetadata(service=attribute_of(service, "name"), ports=tuple(ports))


def _policy_xml(port: ServicePort) -> str:
    if port.issuer is None:
        return ""
    tokens = _ENDORSING if port.needs_proof else _SIGNED
    return (
        f'<wsp:Policy wsu:Id="{attribute_xml(port.name)}_policy"><wsp:ExactlyOne><wsp:All>'
        f'<sp:{tokens} xmlns:sp="{ns.SECURITY_POLICY}"><wsp:Policy><sp:IssuedToken><sp:Issuer>'
        f"<wsa10:Address>{text_xml(port.issuer)}</wsa10:Address></sp:Issuer></sp:IssuedToken>"
        f"</wsp:Policy></sp:{tokens}></wsp:All></wsp:ExactlyOne></wsp:Policy>"
    )


def _read_issuer(policy: etree._Element | None) -> tuple[str | None, bool]:
    if policy is None:
        return None, False
    for tokens, needs_proof in ((_ENDORSING, True), (_SIGNED, False)):
        address = policy.find(
            f"{{*}}ExactlyOne/{{*}}All/{{*}}{tokens}/{{*}}Policy/{{*}}IssuedToken"
            "/{*}Issuer/{*}Address"
        )
        if address is not None:
            return text_of(address).strip(), needs_proof
    return None, False


_ENDORSING, _SIGNED = "EndorsingSupportingTokens", "SignedSupportingTokens"


def _binding_xml(port: ServicePort, port_type: str, operations: tuple[_Operation, ...]) -> str:
    policy = ""
    if port.issuer is not None:
        policy = f'<wsp:PolicyReference URI="#{attribute_xml(port.name)}_policy"/>'
    bound = "".join(
        f'<wsdl:operation name="{operation.name}">'
        f'<soap:operation soapAction="{operation.action}" style="document"/>'
        '<wsdl:input><soap:body use="literal"/></wsdl:input>'
        '<wsdl:output><soap:body use="literal"/></wsdl:output></wsdl:operation>'
        for operation in operations
    )
    return (
        f'<wsdl:binding name="{attribute_xml(port.name)}" type="tns:{port_type}">{policy}'
        f'<soap:binding transport="{ns.SOAP_OVER_HTTP}"/>{bound}</wsdl:binding>'
    )


def _port_xml(port: ServicePort) -> str:
    name = attribute_xml(port.name)
    return (
        f'<wsdl:port name="{name}" binding="tns:{name}">'
        f'<soap:address location="{attribute_xml(port.location)}"/></wsdl:port>'
    )


_ANY = '<xs:any minOccurs="0" maxOccurs="unbounded" namespace="##any" processContents="lax"/>'


def _schema(namespace: str, *elements: str) -> str:
    return (
        f'<xs:schema xmlns:xs="{ns.XML_SCHEMA}" elementFormDefault="qualified"'
        f' targetNamespace="{namespace}">{"".join(elements)}</xs:schema>'
    )


def _element(name: str, content: str, *attributes: str) -> str:
    declared = "".join(f'<xs:attribute name="{each}" type="xs:string"/>' for each in attributes)
    return (
        f'<xs:element name="{name}"><xs:complexType><xs:sequence>{content}</xs:sequence>'
        f"{declared}</xs:complexType></xs:element>"
    )


_SCHEMAS = {
    "CertProvisioningService": _schema(
        ns.OCS,
        _element(ROOT_CHAINS, ""),
        _element(
            ROOT_CHAINS_RESPONSE, f'<xs:element name="{ROOT_CHAINS_CHAIN}" type="xs:base64Binary"/>'
        ),
        _element("GetAndPublishCert", _ANY, "DeviceId", "Entity"),
        _element("GetAndPublishCertResponse", _ANY, "ResponseClass", "DeviceId", "Entity"),
    ),
    "WebTicketService": _schema(
        ns.WST,
        _element("RequestSecurityToken", _ANY, "Context"),
        _element("RequestSecurityTokenResponseCollection", _ANY),
    ),
}
