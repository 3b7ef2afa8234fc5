"""Whatever is made of two users' tickets, each gets a certificate for himself or none."""

from __future__ import annotations

import copy
import random

from hypothesis import given, settings
from hypothesis import strategies as st
from lxml import etree

from phonesim.config.site_profile import UserRange, WebServicesConfig
from phonesim.errors import DecodeError
from phonesim.mocksite.exchange import HttpReceived, SendHttpResponse
from phonesim.mocksite.users import UserDirectory
from phonesim.mocksite.web_services import WebServices
from phonesim.virtual_authority import VirtualAuthority
from phonesim.wire.cert_provisioning import (
    GetAndPublishCert,
    GetAndPublishCertResponse,
    KeyProof,
)
from phonesim.wire.http import HttpRequest, HttpResponse, WebMessage, parse_url
from phonesim.wire.soap import decode_soap_request, encode_soap
from phonesim.wire.web_services_metadata import PIN_PORT, PROOF_PORT, GetMetadata, ServiceMetadata
from phonesim.wire.web_ticket import (
    PinCredential,
    RequestSecurityToken,
    RequestSecurityTokenResponse,
    proof_key,
)

USERS = (
    UserRange(sip_uri="sip:alice@contoso.com", number="1", pin="24680"),
    UserRange(sip_uri="sip:mallory@contoso.com", number="2", pin="13579"),
)
AUTHORITY = VirtualAuthority()


class Services:
    """The services, and who asks them."""

    def __init__(self) -> None:
        config = WebServicesConfig(name="web01", address="10.0.0.20", fqdn="web.contoso.com")
        self._machine = WebServices(
            config, UserDirectory(USERS), AUTHORITY, random.Random(1), 1_767_596_400
        )
        self.provisioning = self._port(f"{config.cert_prov_rel_path}/mex", PROOF_PORT)
        self.tickets = self._port(f"{config.web_ticket_path}/mex", PIN_PORT)

    def _port(self, path: str, name: str) -> str:
        metadata = self.ask(f"https://web.contoso.com{path}", GetMetadata()).message
        assert isinstance(metadata, ServiceMetadata)
        port = metadata.port(name)
        assert port is not None
        return port.location

    def ask(self, location: str, message: WebMessage) -> HttpResponse:
        url = parse_url(location)
        request = HttpRequest(
            scheme=url.scheme, host=url.host, port=url.port, path=url.path, message=message
        )
        event = HttpReceived(exchange_id=1, request=request, peer="p")
        action = self._machine.handle(event, 9.0)[0]
        assert isinstance(action, SendHttpResponse)
        return action.response

    def request_of(self, number: str, pin: str, entity: str) -> bytes:
        """A certificate request as it crosses the network."""
        asked = RequestSecurityToken(
            context="c",
            applies_to=self.provisioning,
            entropy=number.encode() * 32,
            credential=PinCredential(number=number, pin=pin),
        )
        ticket = self.ask(self.tickets, asked).message
        assert isinstance(ticket, RequestSecurityTokenResponse)
        return encode_soap(
            GetAndPublishCert(
                to=self.provisioning,
                message_id=f"m{number}",
                device_id=f"d{number}",
                entity=entity,
                csr=f"csr {entity}".encode(),
                request_id="r",
                assertion_id=ticket.assertion_id,
                assertion=ticket.assertion,
                created=ticket.created,
                expires=ticket.expires,
                proof=KeyProof(proof_key(asked.entropy, ticket.entropy)),
            )
        )


NAMES = {
    *("Security", "Timestamp", "Signature", "SignedInfo", "Assertion", "GetAndPublishCert"),
    *("KeyInfo", "KeyIdentifier", "NameIdentifier", "BinarySecurityToken", "SignatureValue"),
}


@st.composite
def pieces(draw: st.DrawFn, mine: bytes, theirs: bytes) -> bytes:
    """My request, with elements taken from another one."""
    root, other = etree.fromstring(mine), etree.fromstring(theirs)
    near = [each for each in other.iter() if etree.QName(each).localname in NAMES]
    for _ in range(draw(st.integers(1, 3))):
        taken = copy.deepcopy(draw(st.sampled_from(near)))
        same = [each for each in root.iter(taken.tag) if each.getparent() is not None]
        place = draw(st.sampled_from(same or list(root.iter())))
        parent = place.getparent()
        if parent is None or not same or draw(st.booleans()):
            place.insert(draw(st.integers(0, len(place))), taken)
        else:
            parent.replace(place, taken)
    if draw(st.booleans()):
        for body in root.iter("{*}GetAndPublishCert"):
            body.set("Entity", draw(st.sampled_from(["alice@contoso.com", "mallory@contoso.com"])))
    return etree.tostring(root)


@settings(max_examples=300)
@given(st.data())
def test_nobody_gets_anothers_certificate(data: st.DataObject) -> None:
    services = Services()
    alices = services.request_of("1", "24680", "alice@contoso.com")
    mallorys = services.request_of("2", "13579", "mallory@contoso.com")
    # What Mallory can sign is his own Timestamp; what he heard of Alice is her assertion.
    forged = data.draw(pieces(mallorys, _without_proof(alices)))
    try:
        message = decode_soap_request(forged)
    except DecodeError:
        return
    answer = services.ask(services.provisioning, message).message
    if isinstance(answer, GetAndPublishCertResponse):
        assert AUTHORITY.subject(answer.certificate, 1_767_596_500) == "mallory@contoso.com"


def _without_proof(request: bytes) -> bytes:
    """Alice's request as one who has not got her key can make use of it."""
    root = etree.fromstring(request)
    for value in root.iterfind(".//{*}Security/{*}Signature/{*}SignatureValue"):
        value.text = "AAAA"
    return etree.tostring(root)


def test_each_gets_his_own() -> None:
    services = Services()
    for number, pin, entity in (
        ("1", "24680", "alice@contoso.com"),
        ("2", "13579", "mallory@contoso.com"),
    ):
        message = decode_soap_request(services.request_of(number, pin, entity))
        answer = services.ask(services.provisioning, message).message
        assert isinstance(answer, GetAndPublishCertResponse)
        assert AUTHORITY.subject(answer.certificate, 1_767_596_500) == entity
