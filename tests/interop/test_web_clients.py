"""Clients of other makes at the mock site's web services: zeep, pyspnego, curl, openssl."""

from __future__ import annotations

import asyncio
import base64
import http.client
import random
import socket
import ssl
import time
from collections.abc import AsyncIterator
from pathlib import Path

import msgspec
import pytest
import requests
import spnego
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
from phonesim.wire.http_token import HttpToken, decode_challenges, encode_token
from phonesim.wire.soap import decode_soap_response, encode_soap
from phonesim.wire.web_services_metadata import (
    ANONYMOUS_PORT,
    NEGOTIATE_PORT,
    PIN_PORT,
    PROOF_PORT,
)
from phonesim.wire.web_ticket import RequestSecurityToken, RequestSecurityTokenResponse

NUMBER, PIN = "+14255550001", "8000014"
USER_NAME, PASSWORD = "CONTOSO\\staff1", "Correct-Horse-7"
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
        users=(
            UserRange(
                sip_uri="sip:alice@contoso.com",
                number=NUMBER,
                pin=PIN,
                user_name=USER_NAME,
                password=PASSWORD,
            ),
        ),
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


class WindowsClient:
    """An HTTPS connection, kept open, to the port for Windows authentication."""

    def __init__(self, services: Services) -> None:
        context = ssl.create_default_context(cafile=str(services.trust))
        self.connection = http.client.HTTPSConnection("localhost", services.port, context=context)
        self.body = encode_soap(
            RequestSecurityToken(
                context="c",
                applies_to=f"{services.web}{CERT_PROV}/WebTicket_Proof",
                entropy=bytes(32),
                credential=None,
            )
        )

    def post(
        self, token: HttpToken | None = None, *, with_body: bool = True
    ) -> tuple[int, tuple[HttpToken, ...], bytes]:
        """Status, challenges and body of the answer."""
        headers = {"Content-Type": "text/xml; charset=utf-8"}
        if token is not None:
            headers["Authorization"] = encode_token(token)
        body = self.body if with_body else b""
        self.connection.request("POST", WEB_TICKET, body, headers)
        answer = self.connection.getresponse()
        challenges = decode_challenges(answer.headers.get_all("WWW-Authenticate") or ())
        return answer.status, challenges, answer.read()

    def sign_in(
        self, name: str, password: str, scheme: str, *, reconnects: bool = False
    ) -> tuple[int, bytes]:
        """Authenticate with pyspnego, as clients do that send the body last."""
        status, offers, _ = self.post(with_body=False)
        assert (status, [each.scheme for each in offers]) == (401, ["Negotiate", "NTLM"])
        client = spnego.client(name, password, hostname="localhost", protocol="ntlm")
        status, (challenge,), _ = self.post(HttpToken(scheme, client.step()), with_body=False)
        assert (status, challenge.scheme) == (401, scheme)
        if reconnects:
            self.connection.close()
        status, _, body = self.post(HttpToken(scheme, client.step(challenge.octets)))
        assert client.complete
        self.connection.close()
        return status, body


@pytest.mark.parametrize("scheme", ["NTLM", "Negotiate"])
@pytest.mark.parametrize("name", [USER_NAME, "contoso\\STAFF1"])
async def test_pyspnego_gets_a_web_ticket_by_ntlm(
    services: Services, name: str, scheme: str
) -> None:
    client = WindowsClient(services)
    status, body = await asyncio.to_thread(client.sign_in, name, PASSWORD, scheme)
    assert status == 200
    ticket = decode_soap_response(body)
    assert isinstance(ticket, RequestSecurityTokenResponse)
    assert ticket.sip_uri == "sip:alice@contoso.com"


@pytest.mark.parametrize(
    ("name", "password", "reconnects"),
    [(USER_NAME, "wrong", False), ("nobody", PASSWORD, False), (USER_NAME, PASSWORD, True)],
    ids=["wrong password", "unknown user", "another connection"],
)
async def test_pyspnego_gets_no_web_ticket_otherwise(
    services: Services, name: str, password: str, reconnects: bool
) -> None:
    client = WindowsClient(services)
    status, body = await asyncio.to_thread(
        client.sign_in, name, password, "NTLM", reconnects=reconnects
    )
    assert status == 401
    assert b"Assertion" not in body


@pytest.mark.parametrize("octets", [b"garbage", b"NTLMSSP\0\3\0\0\0" + bytes(60)])
async def test_garbage_is_told_to_begin_again(services: Services, octets: bytes) -> None:
    def ask() -> list[tuple[int, tuple[HttpToken, ...], bytes]]:
        client = WindowsClient(services)
        negotiate = spnego.client("a", "b", protocol="ntlm").step()
        answers = [client.post(HttpToken("NTLM", each)) for each in (octets, negotiate, octets)]
        client.connection.close()
        return answers

    offers = (HttpToken("Negotiate"), HttpToken("NTLM"))
    first, challenge, last = await asyncio.to_thread(ask)
    assert first[:2] == last[:2] == (401, offers)
    assert challenge[1][0].octets


@pytest.mark.interop("curl")
async def test_curl_gets_a_web_ticket_by_ntlm(services: Services, tmp_path: Path) -> None:
    message = tmp_path / "request.xml"
    message.write_bytes(WindowsClient(services).body)

    async def post(password: str) -> bytes:
        return await run(
            *("curl", "--silent", "--show-error", "--noproxy", "*", "--cacert", services.trust),
            *("--ntlm", "--user", f"{USER_NAME}:{password}", "--data-binary", f"@{message}"),
            *("--header", "Content-Type: text/xml", "--write-out", "%{http_code}"),
            f"{services.web}{WEB_TICKET}",
        )

    got = await post(PASSWORD)
    assert got.endswith(b"200")
    assert isinstance(decode_soap_response(got[:-3]), RequestSecurityTokenResponse)
    assert (await post("wrong")).endswith(b"401")


@pytest.mark.interop("curl")
async def test_curl_gets_the_metadata(services: Services) -> None:
    for path, port in (
        (CERT_PROV, PROOF_PORT),
        (WEB_TICKET, PIN_PORT),
        (WEB_TICKET, NEGOTIATE_PORT),
    ):
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
