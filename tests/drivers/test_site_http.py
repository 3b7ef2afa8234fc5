import asyncio

import aiohttp
import pytest
from serving import NAME, Client, Serve

from phonesim.drivers.site_http import BODY_LIMIT
from phonesim.mocksite import exchange as on
from phonesim.wire.cert_provisioning import GetRootCertChains, GetRootCertChainsResponse
from phonesim.wire.http import HttpResponse, decode_answer
from phonesim.wire.soap import encode_soap
from phonesim.wire.web_services_metadata import GetMetadata, ServiceMetadata, ServicePort

CHAIN = GetRootCertChainsResponse(chain=b"a chain")


def answer_http(event: on.ServerEvent) -> list[on.ServerAction]:
    if not isinstance(event, on.HttpReceived):
        return []
    return [
        on.SendHttpResponse(
            exchange_id=event.exchange_id, response=HttpResponse(status=200, message=CHAIN)
        )
    ]


async def test_a_soap_request_is_answered(serve: Serve) -> None:
    served = await serve("http", 80)
    served.machine.answer = answer_http
    address, port = served.place(80)
    async with (
        aiohttp.ClientSession() as session,
        session.post(
            f"http://{address}:{port}/CertProv",
            data=encode_soap(GetRootCertChains()),
            headers={"Host": NAME},
        ) as answer,
    ):
        assert answer.status == 200
        assert answer.headers["Content-Type"] == "text/xml; charset=utf-8"
        assert await answer.read() == encode_soap(CHAIN)
    event = await served.machine.events.get()
    assert isinstance(event, on.HttpReceived)
    assert (event.request.url, event.peer) == (f"http://{NAME}:80/CertProv", "127.0.0.1")


async def test_a_get_asks_for_metadata(serve: Serve) -> None:
    served = await serve("http", 80)
    metadata = ServiceMetadata(
        service="WebTicketService", ports=(ServicePort(name="A", location="https://a/"),)
    )
    served.machine.answer = lambda event: [
        on.SendHttpResponse(
            exchange_id=event.exchange_id, response=HttpResponse(status=200, message=metadata)
        )
    ]
    address, port = served.place(80)
    async with (
        aiohttp.ClientSession() as session,
        session.get(f"http://{address}:{port}/Service.svc/mex") as answer,
    ):
        assert answer.headers["Content-Type"] == "text/xml; charset=utf-8"
        assert decode_answer(await answer.read()) == metadata
    event = await served.machine.events.get()
    assert isinstance(event, on.HttpReceived)
    assert (event.request.path, event.request.message) == ("/Service.svc/mex", GetMetadata())


async def test_an_answer_without_soap_is_a_page(serve: Serve) -> None:
    served = await serve("http", 80)
    served.machine.answer = lambda event: (
        [
            on.SendHttpResponse(
                exchange_id=event.exchange_id,
                response=HttpResponse(status=503, retry_after=30),
            )
        ]
        if isinstance(event, on.HttpReceived)
        else []
    )
    address, port = served.place(80)
    async with (
        aiohttp.ClientSession() as session,
        session.post(f"http://{address}:{port}/", data=encode_soap(GetRootCertChains())) as answer,
    ):
        assert answer.status == 503
        assert answer.headers["Retry-After"] == "30"
        assert "503" in await answer.text()


@pytest.mark.parametrize(
    ("octets", "status"),
    [
        (b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 7\r\n\r\n<soap/>", 400),
        (b"PUT /status HTTP/1.1\r\nHost: a\r\n\r\n", 405),
        (b"\x16\x03\x01\x02\x00\x01\x00", 400),
        (b"hello\r\n\r\n", 400),
        (
            b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 999999\r\n\r\n" + bytes(BODY_LIMIT + 1),
            413,
        ),
    ],
    ids=["no SOAP", "PUT", "TLS", "no HTTP", "too long"],
)
async def test_what_is_no_soap_request_is_refused_and_told(
    serve: Serve, octets: bytes, status: int
) -> None:
    served = await serve("http", 80)
    reader, writer = await asyncio.open_connection(*served.place(80))
    writer.write(octets)
    assert (await reader.readline()).split()[1] == str(status).encode()
    event = await served.machine.events.get()
    assert isinstance(event, on.MalformedArrived)
    assert event.protocol == "http"
    assert event.reason
    writer.close()
    await writer.wait_closed()


async def test_a_client_that_gives_up_leaves_nothing_behind(serve: Serve) -> None:
    served = await serve("http", 80)
    address, port = served.place(80)
    async with aiohttp.ClientSession() as session:
        asking = asyncio.ensure_future(
            session.post(f"http://{address}:{port}/", data=encode_soap(GetRootCertChains()))
        )
        event = await served.machine.events.get()
        assert isinstance(event, on.HttpReceived)
        asking.cancel()
    late = on.SendHttpResponse(exchange_id=event.exchange_id, response=HttpResponse(status=200))
    served.machine.answer = lambda _: [late]
    client = Client("127.0.0.1")
    client.socket.close()
    await asyncio.sleep(0.02)
    assert served.machine.events.empty()
