"""Clients of other makes at the mock site's web services: zeep, curl, openssl."""

from __future__ import annotations

import asyncio
import base64
import random
import socket
import time
from collections.abc import AsyncIterator
from pathlib import Path

import msgspec
import pytest
import requests
import zeep
from cryptography.hazmat.primitives.serialization import Encoding, pkcs7
from lxml import etree
from zeep.exceptions import Fault
from zeep.wsse.username import UsernameToken

from phonesim.config.site_profile import SiteProfile, UserRange, WebServicesConfig
from phonesim.drivers.authority import SiteAuthority
from phonesim.drivers.site_host import SiteHost
from phonesim.mocksite.site import build_site
from phonesim.wire import soap_names as ns
from phonesim.wire.web_services_metadata import ANONYMOUS_PORT, PIN_PORT, PROOF_PORT

NUMBER, PIN = "+14255550001", "8000014"
CERT_PROV, WEB_TICKET = "/CertProv/CertProvisioningService.svc", "/WebTicket/WebTicketService.svc"


class Quiet:
    """Nobody reads the operator log."""

    def report(self, *_: object) -> None: ...


class Services(msgspec.Struct):
    """Where they are, and the file with their root certificate."""

    web: str
    port: int
    trust: Path


@pytest.fixture
async def services(tmp_path: Path) -> AsyncIterator[Services]:
    http_port, https_port = free_ports()
    profile = SiteProfile(
        name="clients",
        web_services=(
            WebServicesConfig(
                name="web01",
                address="127.0.0.1",
                fqdn="localhost",
                http_port=http_port,
                https_port=https_port,
            ),
        ),
        users=(UserRange(sip_uri="sip:alice@contoso.com", number=NUMBER, pin=PIN),),
    )
    authority = SiteAuthority()
    begun = time.monotonic()
    site = build_site(profile, [], authority, random.Random(1), time.time())
    host = SiteHost(site, authority, Quiet(), lambda: time.monotonic() - begun)
    await host.start(0)
    trust = tmp_path / "root.pem"
    (root,) = pkcs7.load_der_pkcs7_certificates(authority.root())
    trust.write_bytes(root.public_bytes(Encoding.PEM))
    yield Services(f"https://localhost:{https_port}", https_port, trust)
    await host.stop()


def free_ports() -> tuple[int, int]:
    place = "127.0.0.1", 0
    with socket.create_server(place) as one, socket.create_server(place) as two:
        return one.getsockname()[1], two.getsockname()[1]


def zeep_client(services: Services, path: str, **options: object) -> zeep.Client:
    session = requests.Session()
    session.verify = str(services.trust)
    session.trust_env = False
    transport = zeep.Transport(session=session)
    settings = zeep.Settings(force_https=False)  # the anonymous port is plain HTTP
    url = f"{services.web}{path}/mex"
    return zeep.Client(url, transport=transport, settings=settings, **options)


async def test_zeep_gets_the_chain_from_what_the_metadata_say(services: Services) -> None:
    def ask() -> bytes:
        client = zeep_client(services, CERT_PROV)
        anonymous = client.bind("CertProvisioningService", ANONYMOUS_PORT)
        return bytes(anonymous.GetRootCertChains())

    chain = await asyncio.to_thread(ask)
    root, issuing = pkcs7.load_der_pkcs7_certificates(chain)
    issuing.verify_directly_issued_by(root)


def token_request(services: Services) -> list[zeep.xsd.AnyObject]:
    """The content of RequestSecurityToken, as a client makes it that knows WS-Trust."""
    content = f"""<r xmlns:t="{ns.WST}" xmlns:a="{ns.WSA}" xmlns:p="{ns.WSP}">
      <t:TokenType>{ns.SAML_V1_1}</t:TokenType><t:RequestType>{ns.ISSUE_REQUEST_TYPE}</t:RequestType>
      <p:AppliesTo><a:EndpointReference>
        <a:Address>{services.web}{CERT_PROV}/WebTicket_Proof</a:Address>
      </a:EndpointReference></p:AppliesTo>
      <t:Entropy><t:BinarySecret>{base64.b64encode(bytes(32)).decode()}</t:BinarySecret></t:Entropy>
      <t:KeyType>{ns.SYMMETRIC_KEY}</t:KeyType></r>"""
    return list(etree.fromstring(content))


async def test_zeep_gets_a_web_ticket_with_number_and_pin(services: Services) -> None:
    def ask(pin: str) -> list[etree._Element]:
        client = zeep_client(services, WEB_TICKET, wsse=UsernameToken(NUMBER, pin))
        service = client.bind("WebTicketService", PIN_PORT)
        return service.IssueToken(_value_1=token_request(services), Context="c")

    (response,) = await asyncio.to_thread(ask, PIN)
    assert response.get("Context") == "c"
    (name,) = response.iter(f"{{{ns.SAML}}}NameIdentifier")
    assert name.text == "sip:alice@contoso.com"
    with pytest.raises(Fault) as refused:
        await asyncio.to_thread(ask, "13579")
    assert refused.value.code.endswith("FailedAuthentication")
    assert refused.value.detail.findtext(".//{*}Value") == "IncorrectPin"


async def test_zeep_is_told_why_it_gets_no_certificate(services: Services) -> None:
    def ask() -> None:
        client = zeep_client(services, CERT_PROV)
        service = client.bind("CertProvisioningService", PROOF_PORT)
        service.GetRootCertChains()

    with pytest.raises(Fault, match="does not know this action"):
        await asyncio.to_thread(ask)


@pytest.mark.interop("curl")
async def test_curl_gets_the_metadata(services: Services) -> None:
    for path, port in ((CERT_PROV, PROOF_PORT), (WEB_TICKET, PIN_PORT)):
        got = await run(
            *("curl", "--silent", "--show-error", "--fail", "--noproxy", "*"),
            *("--cacert", services.trust, f"{services.web}{path}/mex"),
        )
        assert f'port name="{port}"'.encode() in got


@pytest.mark.interop("openssl")
async def test_openssl_sees_a_server_with_its_whole_chain(services: Services) -> None:
    seen = await run(
        *("openssl", "s_client", "-connect", f"127.0.0.1:{services.port}"),
        *("-servername", "localhost", "-verify_hostname", "localhost", "-x509_strict"),
        *("-CAfile", services.trust, "-verify_return_error", "-showcerts"),
    )
    assert b"Verify return code: 0 (ok)" in seen
    assert seen.count(b"BEGIN CERTIFICATE") == 2  # its own and the issuing one


async def run(*command: str | Path) -> bytes:
    process = await asyncio.create_subprocess_exec(
        *command,
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    out, complaint = await process.communicate()
    assert process.returncode == 0, complaint.decode()
    return out
