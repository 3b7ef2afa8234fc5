import asyncio
import gzip

import aiohttp
import pytest
from serving import NAME, Client, Serve

from phonesim.drivers import site_http
from phonesim.drivers.site_http import BODY_LIMIT, REASON_LIMIT
from phonesim.mocksite import exchange as on
from phonesim.wire.cert_provisioning import GetRootCertChains, GetRootCertChainsResponse
from phonesim.wire.http import HttpResponse, decode_answer
from phonesim.wire.http_token import NEGOTIATE, NTLM, HttpToken
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
        (bytes(range(1, 256)) * 20, 400),
        (
            b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 999999\r\n\r\n" + bytes(BODY_LIMIT + 1),
            413,
        ),
    ],
    ids=["no SOAP", "PUT", "TLS", "no HTTP", "any octets", "too long"],
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
    assert "\n" not in event.reason
    assert len(event.reason) <= REASON_LIMIT + len("...")
    writer.close()
    await writer.wait_closed()


LIE = b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 99\r\n\r\n<soap"


async def test_a_body_that_does_not_come_is_not_awaited_for_ever(
    serve: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(site_http, "BODY_SECONDS", 0.05)
    served = await serve("http", 80)
    reader, writer = await asyncio.open_connection(*served.place(80))
    writer.write(LIE)
    assert b" 408 " in await reader.readline()
    event = await served.machine.events.get()
    assert isinstance(event, on.MalformedArrived)
    assert "a body that is not there after" in event.reason
    writer.close()
    await writer.wait_closed()


async def test_a_body_that_ends_too_early_is_told_or_dropped(serve: Serve) -> None:
    served = await serve("http", 80)
    reader, writer = await asyncio.open_connection(*served.place(80))
    writer.write(LIE)
    writer.write_eof()
    await reader.read()
    writer.close()
    await writer.wait_closed()
    await asyncio.sleep(0.02)
    while not served.machine.events.empty():
        assert isinstance(served.machine.events.get_nowait(), on.MalformedArrived)


@pytest.mark.parametrize(
    ("headers", "body", "reason"),
    [
        (b"Content-Encoding: gzip\r\n", gzip.compress(bytes(10**7)), "not well-formed XML"),
        (b"", b"<!DOCTYPE a [<!ENTITY b 'c'>]><a>&b;</a>", "holds a DTD"),
        (b"", b"<a>" * 5000, "not well-formed XML"),
        (b"", "<a/>".encode("utf-16"), "not well-formed XML"),
    ],
    ids=["packed", "DTD", "deep", "UTF-16"],
)
async def test_a_hostile_body_is_refused_with_its_reason(
    serve: Serve, headers: bytes, body: bytes, reason: str
) -> None:
    served = await serve("http", 80)
    reader, writer = await asyncio.open_connection(*served.place(80))
    length = b"Content-Length: %d\r\n" % len(body)
    writer.write(b"POST / HTTP/1.1\r\nHost: a\r\n" + headers + length + b"\r\n" + body)
    assert b" 400 " in await reader.readline()
    event = await served.machine.events.get()
    assert isinstance(event, on.MalformedArrived)
    assert reason in event.reason
    writer.close()
    await writer.wait_closed()


@pytest.mark.parametrize(
    "framing",
    [
        b"Content-Length: 4\r\nContent-Length: 5\r\n",
        b"Content-Length: -4\r\n",
        b"Content-Length: 4\r\nTransfer-Encoding: chunked\r\n",
        b"Transfer-Encoding: chunked, chunked\r\n",
    ],
)
async def test_a_request_that_lies_about_its_length_is_refused(
    serve: Serve, framing: bytes
) -> None:
    served = await serve("http", 80)
    reader, writer = await asyncio.open_connection(*served.place(80))
    writer.write(b"POST / HTTP/1.1\r\nHost: a\r\n" + framing + b"\r\n<a/>\r\n")
    assert b" 400 " in await reader.readline()
    assert isinstance(await served.machine.events.get(), on.MalformedArrived)
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


async def test_a_token_reaches_the_machine_with_the_connection(serve: Serve) -> None:
    served = await serve("http", 80)
    served.machine.answer = lambda event: (
        [
            on.SendHttpResponse(
                exchange_id=event.exchange_id,
                response=HttpResponse(
                    status=401, challenges=(HttpToken(NEGOTIATE), HttpToken(NTLM, b"NTLMSSP\0"))
                ),
            )
        ]
        if isinstance(event, on.HttpReceived)
        else []
    )
    address, port = served.place(80)
    headers = {"Host": NAME, "Authorization": "NTLM TlRMTVNTUAA="}
    async with aiohttp.ClientSession() as session:
        for _ in range(2):
            async with session.post(f"http://{address}:{port}/", headers=headers) as answer:
                assert answer.status == 401
                offers = answer.headers.getall("WWW-Authenticate")
                assert offers == ["Negotiate", "NTLM TlRMTVNTUAA="]
    events = [await served.machine.events.get() for _ in range(2)]
    assert all(isinstance(event, on.HttpReceived) for event in events)
    first, second = events
    assert first.request.message is None
    assert first.request.authorization == HttpToken(NTLM, b"NTLMSSP\0")
    assert first.peer_port == second.peer_port > 0


async def test_a_token_that_is_not_base64_is_refused_and_told(serve: Serve) -> None:
    served = await serve("http", 80)
    address, port = served.place(80)
    async with (
        aiohttp.ClientSession() as session,
        session.post(f"http://{address}:{port}/", headers={"Authorization": "NTLM ~"}) as answer,
    ):
        assert answer.status == 400
    event = await served.machine.events.get()
    assert isinstance(event, on.MalformedArrived)
    assert event.reason == "the token of NTLM is not base64"


async def test_an_answer_can_end_its_connection(serve: Serve) -> None:
    served = await serve("http", 80)
    served.machine.answer = lambda event: (
        [
            on.SendHttpResponse(
                exchange_id=event.exchange_id, response=HttpResponse(status=401, closes=True)
            )
        ]
        if isinstance(event, on.HttpReceived)
        else []
    )
    reader, writer = await asyncio.open_connection(*served.place(80))
    writer.write(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n")
    answered = await reader.read()  # to the end of the connection
    assert answered.startswith(b"HTTP/1.1 401 ")
    assert b"connection: close\r\n" in answered.lower()
    writer.close()
    await writer.wait_closed()


async def test_a_web_server_goes_down_with_its_exchanges_and_comes_back(serve: Serve) -> None:
    served = await serve("http", 80)
    host, url = served.host.server("server1"), "http://{}:{}/CertProv".format(*served.place(80))
    order: list[on.ServerAction] = [on.ClosePorts()]
    served.machine.answer = lambda event: order if isinstance(event, on.KeepAliveReceived) else []
    async with aiohttp.ClientSession() as session:
        asking = asyncio.ensure_future(session.get(url))
        assert isinstance(await served.machine.events.get(), on.HttpReceived)
        host.deliver(on.KeepAliveReceived(connection_id=0))
        with pytest.raises(aiohttp.ClientError):
            await asking
        with pytest.raises(aiohttp.ClientConnectorError):
            await session.get(url)
        order[:] = [on.OpenPorts()]
        host.deliver(on.KeepAliveReceived(connection_id=0))
        served.machine.answer = answer_http
        for _ in range(100):
            try:
                async with session.get(url) as answer:
                    assert answer.status == 200
                    break
            except aiohttp.ClientConnectorError:
                await asyncio.sleep(0.01)
        else:
            pytest.fail("the port did not open again")
