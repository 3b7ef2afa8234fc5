import asyncio
import gzip
import ssl
import time
from collections.abc import AsyncIterator, Awaitable, Callable

import pytest
from aiohttp import web
from captured import Captured
from cryptography import x509
from multidict import CIMultiDict
from scapy.layers.inet import TCP
from tls_servers import tls_server

from phonesim.device.actions import SendHttp
from phonesim.device.events import Event, HttpFailed, HttpResponseReceived
from phonesim.device.outcome import ConnectFailure
from phonesim.drivers.authority import CertificateKind, SiteAuthority
from phonesim.drivers.http_client import BODY_LIMIT, HttpClient
from phonesim.drivers.trust import PhoneTls
from phonesim.wire.cert_provisioning import GetRootCertChains, GetRootCertChainsResponse
from phonesim.wire.http import HttpRequest, HttpResponse, WebMessage
from phonesim.wire.http_token import NTLM, HttpToken
from phonesim.wire.soap import encode_soap
from phonesim.wire.soap_envelope import SoapFault
from phonesim.wire.tls_hello import decode_certificates, decode_client_hello
from phonesim.wire.tls_stream import TlsStream
from phonesim.wire.web_services_metadata import (
    GetMetadata,
    ServiceMetadata,
    ServicePort,
    encode_metadata,
)
from phonesim.wire.xml_document import DOCUMENT_LIMIT

OFFSET = 22000
NAME = "web.contoso.com"
CHAIN = GetRootCertChainsResponse(chain=b"a chain")
METADATA = ServiceMetadata(
    service="WebTicketService", ports=(ServicePort(name="A", location="https://web.contoso.com/"),)
)
Handler = Callable[[web.BaseRequest], Awaitable[web.StreamResponse]]


class Phone:
    """A phone's client, and what came of its exchanges."""

    def __init__(self, address: str, source: str) -> None:
        self.events: asyncio.Queue[Event] = asyncio.Queue()
        self.address = address
        self.source = source
        self.captured = Captured()
        self.client = HttpClient(
            *(OFFSET, PhoneTls(), self.events.put_nowait, asyncio.ensure_future),
            self.captured.tap,
        )

    def post(
        self,
        exchange_id: int = 1,
        scheme: str = "http",
        port: int = 80,
        trust: bytes | None = None,
        timeout: float = 10,
        path: str = "/CertProv/CertProvisioningService.svc",
        host: str = NAME,
        message: WebMessage | None = None,
        authorization: HttpToken | None = None,
        continues: int | None = None,
    ) -> None:
        self.client.send(
            SendHttp(
                exchange_id=exchange_id,
                request=HttpRequest(
                    scheme=scheme,
                    host=host,
                    port=port,
                    path=path,
                    message=message or GetRootCertChains(),
                    authorization=authorization,
                ),
                source=self.source,
                address=self.address,
                trust=trust,
                clock=time.time(),
                timeout=timeout,
                continues=continues,
            )
        )

    async def failure(self) -> tuple[ConnectFailure, str]:
        event = await self.events.get()
        assert isinstance(event, HttpFailed)
        return event.failure, event.detail


@pytest.fixture
async def phone(new_address: Callable[[], str]) -> AsyncIterator[Phone]:
    phone = Phone(new_address(), new_address())
    yield phone
    phone.client.close()
    await phone.client.closed()


@pytest.fixture
async def serve(phone: Phone) -> AsyncIterator[Callable[..., Awaitable[web.Server]]]:
    """Starts a web server at the address that the phone asks."""
    started: list[tuple[web.Server, asyncio.Server]] = []

    async def start(
        handler: Handler, port: int = 80, context: ssl.SSLContext | None = None
    ) -> web.Server:
        server = web.Server(handler, access_log=None)
        loop = asyncio.get_running_loop()
        listener = await loop.create_server(server, phone.address, port + OFFSET, ssl=context)
        started.append((server, listener))
        return server

    yield start
    for server, listener in started:
        listener.close()
        await server.shutdown(0.01)


Serve = Callable[..., Awaitable[web.Server]]


async def test_an_exchange_looks_like_the_phones(phone: Phone, serve: Serve) -> None:
    seen: list[tuple[str, str | None, dict[str, str], bytes]] = []

    async def answer(request: web.BaseRequest) -> web.Response:
        seen.append((request.path, request.remote, dict(request.headers), await request.read()))
        return web.Response(body=encode_soap(CHAIN), content_type="text/xml")

    await serve(answer)
    phone.post()
    assert await phone.events.get() == HttpResponseReceived(
        exchange_id=1, response=HttpResponse(status=200, message=CHAIN)
    )
    ((path, remote, headers, body),) = seen
    assert path == "/CertProv/CertProvisioningService.svc"
    assert remote == phone.source
    assert body == encode_soap(GetRootCertChains())
    assert headers == {
        "Host": NAME,
        "Content-Type": "text/xml; charset=utf-8",
        "SOAPAction": '"http://schemas.microsoft.com/OCS/AuthWebServices/GetRootCertChains"',
        "Content-Length": str(len(body)),
    }


async def test_metadata_are_asked_for_with_a_get(phone: Phone, serve: Serve) -> None:
    seen: list[tuple[str, dict[str, str], bytes]] = []

    async def answer(request: web.BaseRequest) -> web.Response:
        seen.append((request.method, dict(request.headers), await request.read()))
        return web.Response(body=encode_metadata(METADATA), content_type="text/xml")

    await serve(answer)
    phone.post(message=GetMetadata())
    assert await phone.events.get() == HttpResponseReceived(
        exchange_id=1, response=HttpResponse(status=200, message=METADATA)
    )
    assert seen == [("GET", {"Host": NAME}, b"")]


@pytest.mark.parametrize(
    ("host", "path"),
    [
        (NAME, "@127.0.0.1/elsewhere"),
        (NAME, "no slash"),
        ("web.contoso.com\r\nX-Injected: 1", "/"),
    ],
)
async def test_what_cannot_be_asked_for_is_not_sent(
    phone: Phone, serve: Serve, host: str, path: str
) -> None:
    async def answer(request: web.BaseRequest) -> web.Response:
        return web.Response()

    server = await serve(answer)
    phone.post(path=path, host=host)
    failure, detail = await phone.failure()
    assert failure == ConnectFailure.MALFORMED
    assert detail
    assert server.requests_count == 0


async def test_another_port_is_named_in_host(phone: Phone, serve: Serve) -> None:
    async def answer(request: web.BaseRequest) -> web.Response:
        return web.Response(status=404, text=request.headers["Host"])

    server = await serve(answer, 8080)
    phone.post(port=8080)
    await phone.events.get()
    assert server.requests_count == 1


async def test_https_keeps_its_connection_for_the_next_exchange(
    phone: Phone, serve: Serve, site_authority: SiteAuthority
) -> None:
    ports: list[int] = []

    async def answer(request: web.BaseRequest) -> web.Response:
        assert request.transport is not None
        ports.append(request.transport.get_extra_info("peername")[1])
        return web.Response(body=encode_soap(CHAIN), content_type="text/xml")

    await serve(answer, 443, tls_server(site_authority, NAME))
    for exchange_id in (1, 2):
        phone.post(exchange_id, "https", 443, site_authority.chain())
        assert isinstance(await phone.events.get(), HttpResponseReceived)
    assert ports[0] == ports[1]


@pytest.mark.parametrize(
    ("kind", "failure"),
    [
        ("expired", ConnectFailure.CERTIFICATE_EXPIRED),
        ("untrusted", ConnectFailure.CERTIFICATE_UNTRUSTED),
        ("wildcard", ConnectFailure.CERTIFICATE_WILDCARD),
        ("wrong-name", ConnectFailure.CERTIFICATE_NAME_MISMATCH),
    ],
)
async def test_nothing_is_sent_to_a_server_that_is_not_trusted(
    phone: Phone,
    serve: Serve,
    site_authority: SiteAuthority,
    kind: CertificateKind,
    failure: ConnectFailure,
) -> None:
    async def answer(request: web.BaseRequest) -> web.Response:
        return web.Response()

    server = await serve(answer, 443, tls_server(site_authority, NAME, kind))
    phone.post(scheme="https", port=443, trust=site_authority.chain())
    found, detail = await phone.failure()
    assert found == failure
    assert detail.startswith(f"{NAME} ({phone.address}:443): ")
    assert server.requests_count == 0


async def test_without_a_chain_there_is_no_https(phone: Phone) -> None:
    phone.post(scheme="https", port=443)
    failure, detail = await phone.failure()
    assert failure == ConnectFailure.CERTIFICATE_UNTRUSTED
    assert "no chain of trust was downloaded" in detail


async def test_a_closed_port_is_refused(phone: Phone) -> None:
    phone.post()
    failure, detail = await phone.failure()
    assert failure == ConnectFailure.REFUSED
    assert "refused" in detail


async def test_a_server_that_does_not_answer_times_out(phone: Phone, serve: Serve) -> None:
    async def answer(request: web.BaseRequest) -> web.Response:
        await asyncio.sleep(30)
        return web.Response()

    await serve(answer)
    phone.post(timeout=0.1)
    assert (await phone.failure())[0] == ConnectFailure.TIMEOUT


async def test_an_address_that_is_not_ours_is_unreachable(phone: Phone) -> None:
    phone.source = "192.0.2.77"
    phone.post()
    failure, detail = await phone.failure()
    assert failure == ConnectFailure.UNREACHABLE
    assert detail


@pytest.mark.parametrize(
    ("octets", "failure"),
    [
        (b"", ConnectFailure.CLOSED),
        (b"SSH-2.0-OpenSSH_9.9\r\n", ConnectFailure.MALFORMED),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 50\r\n\r\n<soap", ConnectFailure.MALFORMED),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nhtml", ConnectFailure.MALFORMED),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\n<a/>", ConnectFailure.MALFORMED),
        (b"HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n<a/>", ConnectFailure.MALFORMED),
        (
            b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\nContent-Length: 5\r\n\r\n<a/>",
            ConnectFailure.MALFORMED,
        ),
        (
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
            ConnectFailure.MALFORMED,
        ),
        (b"HTTP/1.1 200 OK\r\nX: " + b"y" * 100_000 + b"\r\n\r\n", ConnectFailure.MALFORMED),
    ],
)
async def test_what_is_no_answer_fails_the_exchange(
    phone: Phone, octets: bytes, failure: ConnectFailure
) -> None:
    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(octets)
        writer.close()

    async with await asyncio.start_server(answer, phone.address, 80 + OFFSET):
        phone.post()
        found, detail = await phone.failure()
    assert found == failure
    assert detail


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (b"<!DOCTYPE a [<!ENTITY b 'c'>]><a>&b;</a>", "the XML holds a DTD"),
        (b"<a>" * 5000, "not well-formed XML"),
        (bytes(DOCUMENT_LIMIT + 1), "is the limit"),
        (encode_soap(CHAIN)[:-9], "not well-formed XML"),
        (encode_metadata(METADATA).replace(b"wsdl:service", b"wsdl:servant"), "holds no service"),
        (encode_soap(CHAIN).replace(b"soap:Body", b"soap:Head"), "Envelope holds no Body"),
    ],
    ids=["DTD", "deep", "long", "cut", "no service", "no Body"],
)
async def test_a_hostile_answer_fails_with_its_reason(
    phone: Phone, serve: Serve, body: bytes, reason: str
) -> None:
    async def answer(request: web.BaseRequest) -> web.Response:
        return web.Response(body=body, content_type="text/xml")

    await serve(answer)
    phone.post()
    failure, detail = await phone.failure()
    assert failure == ConnectFailure.MALFORMED
    assert reason in detail


async def test_a_packed_answer_is_cut_off_where_it_is_too_long(phone: Phone, serve: Serve) -> None:
    async def answer(request: web.BaseRequest) -> web.Response:
        packed = gzip.compress(bytes(50 * BODY_LIMIT))
        return web.Response(body=packed, headers={"Content-Encoding": "gzip"})

    await serve(answer)
    phone.post()
    failure, detail = await phone.failure()
    assert (failure, str(BODY_LIMIT) in detail) == (ConnectFailure.MALFORMED, True)


async def test_an_endless_answer_is_cut_off(phone: Phone, serve: Serve) -> None:
    async def answer(request: web.BaseRequest) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        for _ in range(BODY_LIMIT // 65536 + 2):
            await response.write(bytes(65536))
        return response

    await serve(answer)
    phone.post()
    failure, detail = await phone.failure()
    assert failure == ConnectFailure.MALFORMED
    assert str(BODY_LIMIT) in detail


async def test_faults_pages_and_retry_after_are_answers(phone: Phone, serve: Serve) -> None:
    fault = SoapFault(code="FailedAuthentication", reason="no")
    answers = [
        web.Response(status=500, body=encode_soap(fault), content_type="text/xml"),
        web.Response(status=404, text="<html>not here</html>"),
        web.Response(status=503, headers={"Retry-After": "17"}),
        web.Response(status=503, headers={"Retry-After": "Wed, 21 Oct 2015 07:28:00 GMT"}),
        web.Response(status=503, headers={"Retry-After": "soon"}),
        web.Response(status=503, headers={"Retry-After": f"Wed, {10**20} Oct 2015 07:28:00 GMT"}),
        web.Response(status=302, headers={"Location": "http://127.0.0.1/elsewhere"}),
    ]
    expected = [
        HttpResponse(status=500, message=fault),
        HttpResponse(status=404),
        HttpResponse(status=503, retry_after=17),
        HttpResponse(status=503, retry_after=0),
        HttpResponse(status=503),
        HttpResponse(status=503),
        HttpResponse(status=302),
    ]
    waiting = iter(answers)

    async def answer(request: web.BaseRequest) -> web.StreamResponse:
        return next(waiting)

    await serve(answer)
    for exchange_id, response in enumerate(expected):
        phone.post(exchange_id)
        assert await phone.events.get() == HttpResponseReceived(
            exchange_id=exchange_id, response=response
        )


async def test_a_client_that_closes_tells_nothing_more(phone: Phone, serve: Serve) -> None:
    asked = asyncio.Event()

    async def answer(request: web.BaseRequest) -> web.Response:
        asked.set()
        await asyncio.sleep(30)
        return web.Response()

    await serve(answer)
    phone.post()
    await asked.wait()
    phone.client.close()
    await phone.client.closed()
    assert phone.events.empty()


async def test_a_tap_is_told_the_octets_that_went_and_came(phone: Phone) -> None:
    """What the server read from the wire is what the capture shows."""
    body = encode_soap(CHAIN)
    answer = b"HTTP/1.1 200 Fine\r\nX-Case: kept\r\nContent-Length: %d\r\n\r\n" % len(body)
    requests: list[bytes] = []
    peers: list[tuple[str, int]] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        peers.append(writer.get_extra_info("peername"))
        head = await reader.readuntil(b"\r\n\r\n")
        size = int(head.lower().partition(b"content-length: ")[2].split()[0])
        requests.append(head + await reader.readexactly(size))
        writer.write(answer + body)
        await writer.drain()
        writer.close()

    async with await asyncio.start_server(serve, phone.address, 80 + OFFSET):
        phone.post()
        await phone.events.get()
    sent, received = phone.captured.messages()
    assert sent.protocol == received.protocol == "http"
    assert sent.octets == requests[0]
    assert sent.ends == (peers[0], (phone.address, 80))
    assert received.ends == sent.ends[::-1]
    head = answer.replace(b"Content-Length: %d\r\n" % len(body), b"")
    assert received.octets.startswith(head[:-2])
    assert received.octets.endswith(b"\r\n\r\n" + body)


async def test_of_a_refused_request_only_the_refusal_is_told(phone: Phone) -> None:
    phone.post()
    await phone.failure()
    assert phone.captured.messages() == []
    assert [str(frame[TCP].flags) for frame in phone.captured.frames()] == ["S", "RA"]


@pytest.mark.parametrize(
    ("kind", "shown", "alert"),
    [("wildcard", 2, 42), ("expired", 2, 45), ("untrusted", 2, 48), ("no-intermediate", 1, 48)],
)
async def test_a_tap_is_told_the_certificate_that_was_refused(
    phone: Phone, serve: Serve, kind: CertificateKind, shown: int, alert: int
) -> None:
    async def never(request: web.BaseRequest) -> web.StreamResponse:
        raise AssertionError

    authority = SiteAuthority()
    await serve(never, 443, tls_server(authority, NAME, kind))
    trust = authority.root() if kind == "no-intermediate" else authority.chain()
    phone.post(scheme="https", port=443, trust=trust)
    await phone.failure()
    hello, flight, last = (
        TlsStream().feed(message.octets) for message in phone.captured.messages()
    )
    assert decode_client_hello(hello[0].body).server_name == NAME
    certificates = decode_certificates(flight[1].body)
    assert len(certificates) == shown
    assert x509.load_der_x509_certificate(certificates[0]).subject
    assert last[0].body[1] == alert


async def test_a_request_without_an_answer_is_told(phone: Phone, serve: Serve) -> None:
    async def silent(request: web.BaseRequest) -> web.StreamResponse:
        await asyncio.sleep(60)
        raise AssertionError

    await serve(silent)
    phone.post(timeout=0.2)
    assert (await phone.failure())[0] is ConnectFailure.TIMEOUT
    assert len(phone.captured.messages()) == 1


async def test_what_is_read_from_tls_is_told(
    phone: Phone, serve: Serve, site_authority: SiteAuthority
) -> None:
    async def answer(request: web.BaseRequest) -> web.StreamResponse:
        return web.Response(body=encode_soap(CHAIN), content_type="text/xml")

    await serve(answer, 443, tls_server(site_authority, NAME))
    for exchange_id in (1, 2):  # the second one over the same connection
        phone.post(exchange_id, "https", 443, trust=site_authority.chain())
        assert isinstance(await phone.events.get(), HttpResponseReceived)
    messages = phone.captured.messages()
    assert [message.octets[:5] for message in messages] == [b"POST ", b"HTTP/"] * 2
    assert {message.ends for message in messages[::2]} == {messages[0].ends}
    assert messages[0].ends[1] == (phone.address, 443)


# --- one connection ---


def windows(exchange_id: int = 0) -> HttpToken:
    return HttpToken(NTLM, b"token %d" % exchange_id)


async def test_challenges_are_read_and_tokens_sent(phone: Phone, serve: Serve) -> None:
    seen: list[str | None] = []

    async def answer(request: web.BaseRequest) -> web.StreamResponse:
        seen.append(request.headers.get("Authorization"))
        offers = [("WWW-Authenticate", "Negotiate, NTLM"), ("WWW-Authenticate", "Basic realm=x")]
        return web.Response(status=401, headers=CIMultiDict(offers))

    await serve(answer)
    phone.post(1, authorization=windows())
    event = await phone.events.get()
    assert isinstance(event, HttpResponseReceived)
    assert event.response.status == 401
    assert [each.scheme for each in event.response.challenges] == ["Negotiate", "NTLM", "Basic"]
    assert seen == ["NTLM dG9rZW4gMA=="]


async def test_a_challenge_that_is_not_base64_is_malformed(phone: Phone, serve: Serve) -> None:
    async def answer(request: web.BaseRequest) -> web.StreamResponse:
        return web.Response(status=401, headers={"WWW-Authenticate": "NTLM ~~~"})

    await serve(answer)
    phone.post()
    failure, detail = await phone.failure()
    assert failure is ConnectFailure.MALFORMED
    assert "the token of NTLM is not base64" in detail


@pytest.mark.parametrize("scheme", ["http", "https"])
async def test_an_exchange_that_needs_a_connection_goes_on_it(
    phone: Phone, serve: Serve, site_authority: SiteAuthority, scheme: str
) -> None:
    peers: list[object] = []

    async def answer(request: web.BaseRequest) -> web.StreamResponse:
        peers.append(request.get_extra_info("peername"))
        return web.Response(body=encode_soap(CHAIN), content_type="text/xml")

    where = {"scheme": scheme, "port": 443, "trust": site_authority.chain()}
    await serve(answer, 443, tls_server(site_authority, NAME) if scheme == "https" else None)
    for exchange_id, continues in ((1, None), (2, 1), (3, 2)):
        phone.post(exchange_id, continues=continues, **where)  # type: ignore[arg-type]
        assert isinstance(await phone.events.get(), HttpResponseReceived)
    assert len(set(peers)) == 1


async def test_an_exchange_whose_connection_is_gone_is_not_sent_on_another(
    phone: Phone, serve: Serve
) -> None:
    asked = 0

    async def answer(request: web.BaseRequest) -> web.StreamResponse:
        nonlocal asked
        asked += 1
        response = web.Response(body=encode_soap(CHAIN), content_type="text/xml")
        response.force_close()
        return response

    await serve(answer)
    phone.post(1)
    assert isinstance(await phone.events.get(), HttpResponseReceived)
    phone.post(2, continues=1)
    failure, detail = await phone.failure()
    assert failure is ConnectFailure.CLOSED
    assert "the server closed the connection" in detail
    phone.post(3)
    assert isinstance(await phone.events.get(), HttpResponseReceived)
    phone.post(4, continues=1)  # not the one that this connection was used for last
    assert (await phone.failure())[0] is ConnectFailure.CLOSED
    assert asked == 2
    assert len(phone.captured.messages()) == 4
