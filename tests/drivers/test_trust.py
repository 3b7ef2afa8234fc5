import asyncio
import re
import socket
import ssl
import time
import warnings
from collections.abc import Callable

import pytest
import uvloop
from cryptography.hazmat.primitives.serialization import Encoding, pkcs7

from phonesim.config.device_profile import TlsConfig, TlsVersion
from phonesim.device.outcome import ConnectFailure
from phonesim.drivers.authority import CertificateKind, SiteAuthority
from phonesim.drivers.live_run import let_transports_close
from phonesim.drivers.trust import (
    CertificateRefused,
    PhoneTls,
    check_server_name,
    connects_on,
    explain,
    server_context,
    take_versions,
)

NAME = "pool.contoso.com"
YEAR = 365 * 86400
EMPTY_BAG = bytes.fromhex(
    "302306092a864886f70d010702a01630140201013100300b06092a864886f70d0107013100"
)
"""A PKCS#7 bag that is well formed and holds no certificate."""


def site_context(authority: SiteAuthority, kind: CertificateKind = "valid") -> ssl.SSLContext:
    credentials = authority.server_credentials((NAME,), kind)
    return server_context(credentials.certificate, credentials.key, "1.0")


async def shake_hands(
    client: ssl.SSLContext, server: ssl.SSLContext, name: str = NAME
) -> tuple[str, bytes | None]:
    """Connect, say hello; return the TLS version and the certificate that the server saw."""
    seen: asyncio.Future[bytes | None] = asyncio.get_running_loop().create_future()

    async def greet(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        seen.set_result(writer.get_extra_info("ssl_object").getpeercert(True))
        writer.write(await reader.readline())
        writer.close()

    async with await asyncio.start_server(greet, "127.0.0.1", 0, ssl=server) as listener:
        port = listener.sockets[0].getsockname()[1]
        reader, writer = await asyncio.open_connection(
            "127.0.0.1", port, ssl=client, server_hostname=name
        )
        version = writer.get_extra_info("ssl_object").version()
        writer.write(b"hello\n")
        assert await reader.readline() == b"hello\n"
        writer.close()
        await writer.wait_closed()
        return version, await seen


Loop = Callable[[], asyncio.AbstractEventLoop]


@pytest.fixture(params=[asyncio.new_event_loop, uvloop.new_event_loop], ids=["asyncio", "uvloop"])
def loop_factory(request: pytest.FixtureRequest) -> Loop:
    factory: Loop = request.param
    return factory


def test_a_good_server_is_trusted(site_authority: SiteAuthority, loop_factory: Loop) -> None:
    tls = PhoneTls()
    context = tls.context(site_authority.chain(), time.time())
    with asyncio.Runner(loop_factory=loop_factory) as runner:
        version, seen = runner.run(shake_hands(context, site_context(site_authority)))
    assert version == "TLSv1.2"
    assert seen is None


@pytest.mark.parametrize(
    ("kind", "failure", "words"),
    [
        ("expired", ConnectFailure.CERTIFICATE_EXPIRED, "CN=pool.contoso.com expired on"),
        ("not-yet-valid", ConnectFailure.CERTIFICATE_NOT_YET_VALID, "not valid before"),
        ("wildcard", ConnectFailure.CERTIFICATE_WILDCARD, r"\*\.contoso\.com"),
        ("wrong-name", ConnectFailure.CERTIFICATE_NAME_MISMATCH, "not for pool.contoso.com"),
        ("untrusted", ConnectFailure.CERTIFICATE_UNTRUSTED, "refused"),
    ],
)
def test_a_bad_certificate_is_refused_and_explained(
    site_authority: SiteAuthority,
    loop_factory: Loop,
    kind: CertificateKind,
    failure: ConnectFailure,
    words: str,
) -> None:
    context = PhoneTls().context(site_authority.chain(), time.time())
    server = site_context(site_authority, kind)
    with (
        asyncio.Runner(loop_factory=loop_factory) as runner,
        pytest.raises(ssl.SSLError) as caught,
    ):
        runner.run(shake_hands(context, server))
    found, detail = explain(caught.value)
    assert found == failure
    assert re.search(words, detail)


@pytest.mark.parametrize(
    ("years", "failure"),
    [
        (-20, ConnectFailure.CERTIFICATE_NOT_YET_VALID),
        (5, ConnectFailure.CERTIFICATE_EXPIRED),
    ],
)
async def test_dates_are_judged_by_the_phones_own_clock(
    site_authority: SiteAuthority, years: int, failure: ConnectFailure
) -> None:
    context = PhoneTls().context(site_authority.chain(), time.time() + years * YEAR)
    with pytest.raises(CertificateRefused) as caught:
        await shake_hands(context, site_context(site_authority))
    assert explain(caught.value)[0] == failure


async def test_an_expired_certificate_is_good_to_a_phone_whose_clock_is_behind(
    site_authority: SiteAuthority,
) -> None:
    context = PhoneTls().context(site_authority.chain(), time.time() - 30 * 86400)
    await shake_hands(context, site_context(site_authority, "expired"))


async def test_an_authority_that_expired_spoils_the_chain(site_authority: SiteAuthority) -> None:
    authority = SiteAuthority("Old", lambda: time.time() - 20 * YEAR)
    server = site_context(authority)
    with pytest.raises(CertificateRefused, match="expired"):
        await shake_hands(PhoneTls().context(authority.chain(), time.time()), server)


async def test_the_name_is_compared_without_case(site_authority: SiteAuthority) -> None:
    context = PhoneTls().context(site_authority.chain(), time.time())
    await shake_hands(context, site_context(site_authority), NAME.upper())


async def test_the_issuing_authority_must_be_in_the_chain(site_authority: SiteAuthority) -> None:
    issuing = pkcs7.load_der_pkcs7_certificates(site_authority.chain())[1]
    chain = pkcs7.serialize_certificates([issuing], Encoding.DER)
    with pytest.raises(ssl.SSLCertVerificationError) as caught:
        await shake_hands(PhoneTls().context(chain, time.time()), site_context(site_authority))
    assert explain(caught.value)[0] == ConnectFailure.CERTIFICATE_ISSUER_MISSING


@pytest.mark.parametrize(
    ("trust", "failure", "words"),
    [
        (None, ConnectFailure.CERTIFICATE_UNTRUSTED, "no chain of trust was downloaded"),
        (b"\x30\x03abc", ConnectFailure.CHAIN_UNUSABLE, "cannot be read"),
        (EMPTY_BAG, ConnectFailure.CHAIN_UNUSABLE, "empty|cannot be read"),
    ],
)
def test_a_phone_without_a_chain_trusts_nobody(
    trust: bytes | None, failure: ConnectFailure, words: str
) -> None:
    with pytest.raises(CertificateRefused, match=words) as caught:
        PhoneTls().context(trust, 0)
    assert explain(caught.value)[0] == failure


@pytest.mark.parametrize("name", ["", ".contoso.com", "a" * 64 + ".com", "a..b", "f\ufffd"])
def test_what_is_no_host_name_is_no_servers(site_authority: SiteAuthority, name: str) -> None:
    with pytest.raises(CertificateRefused, match="is no host name") as caught:
        check_server_name(name)
    assert explain(caught.value)[0] == ConnectFailure.CERTIFICATE_NAME_MISMATCH


def test_phones_share_what_is_the_same_for_all_of_them(site_authority: SiteAuthority) -> None:
    now = int(time.time())
    tls, chain = PhoneTls(), site_authority.chain()
    context = tls.context(chain, now)
    assert PhoneTls().context(bytes(bytearray(chain)), now + 5) is context
    assert PhoneTls(TlsConfig(maximum_version="1.0")).context(chain, now) is not context
    assert PhoneTls().context(SiteAuthority("Other").chain(), now) is not context


async def test_phones_that_share_a_context_have_clocks_of_their_own(
    site_authority: SiteAuthority,
) -> None:
    server = site_context(site_authority)

    async def boot(clock: float) -> ConnectFailure | None:
        try:
            await shake_hands(PhoneTls().context(site_authority.chain(), clock), server)
        except ssl.SSLError as error:
            return explain(error)[0]
        return None

    now = time.time()
    found = await asyncio.gather(*(boot(now + years * YEAR) for years in (0, 5, 0, -20)))
    expired, early = ConnectFailure.CERTIFICATE_EXPIRED, ConnectFailure.CERTIFICATE_NOT_YET_VALID
    assert found == [None, expired, None, early]


@pytest.mark.parametrize(
    ("kind", "alert"),
    [
        ("expired", "SSLV3_ALERT_CERTIFICATE_EXPIRED"),
        ("not-yet-valid", "SSLV3_ALERT_CERTIFICATE_EXPIRED"),
        ("wildcard", "SSLV3_ALERT_BAD_CERTIFICATE"),
        ("wrong-name", "SSLV3_ALERT_BAD_CERTIFICATE"),
        ("untrusted", "TLSV1_ALERT_UNKNOWN_CA"),
    ],
)
def test_a_refused_server_is_told_why(
    site_authority: SiteAuthority, loop_factory: Loop, kind: CertificateKind, alert: str
) -> None:
    async def refuse() -> str:
        client = PhoneTls().context(site_authority.chain(), time.time())
        loop = asyncio.get_running_loop()
        with socket.create_server(("127.0.0.1", 0)) as listener:
            told = loop.run_in_executor(None, hear_alert, listener, kind)
            own = socket.create_connection(listener.getsockname())
            own.setblocking(False)
            connects_on(own)
            with pytest.raises(ssl.SSLError):
                await loop.create_connection(
                    asyncio.Protocol, ssl=client, sock=own, server_hostname=NAME
                )
            alert = await told
            await let_transports_close()
            return alert

    def hear_alert(listener: socket.socket, kind: CertificateKind) -> str:
        connection, _ = listener.accept()
        server = site_context(site_authority, kind)
        with connection, pytest.raises(ssl.SSLError) as caught:
            server.wrap_socket(connection, server_side=True)
        return str(caught.value.reason)

    with asyncio.Runner(loop_factory=loop_factory) as runner:
        assert runner.run(refuse()) == alert


@pytest.mark.parametrize("resumes", [False, True])
async def test_sessions_are_resumed_if_the_profile_says_so(
    site_authority: SiteAuthority, resumes: bool
) -> None:
    server = site_context(site_authority)
    tls = PhoneTls(TlsConfig(session_resumption=resumes))
    for _ in range(3):
        await shake_hands(tls.context(site_authority.chain(), time.time()), server)
    assert server.session_stats()["hits"] == (2 if resumes else 0)


async def test_a_resumed_session_is_judged_by_the_clock_as_well(
    site_authority: SiteAuthority,
) -> None:
    server = site_context(site_authority)
    tls, chain = PhoneTls(TlsConfig(session_resumption=True)), site_authority.chain()
    await shake_hands(tls.context(chain, time.time()), server)
    with pytest.raises(CertificateRefused, match="expired"):
        await shake_hands(tls.context(chain, time.time() + 5 * YEAR), server)
    assert server.session_stats()["hits"] == 1


@pytest.mark.parametrize(("newest", "is_taken"), [("1.0", False), ("1.1", False), ("1.2", True)])
async def test_a_server_that_wants_a_newer_tls_is_told_apart(
    site_authority: SiteAuthority, newest: TlsVersion, is_taken: bool
) -> None:
    server = site_context(site_authority)
    take_versions(server, "1.2", "1.3")
    tls = PhoneTls(TlsConfig(maximum_version=newest))
    context = tls.context(site_authority.chain(), time.time())
    if is_taken:
        assert (await shake_hands(context, server))[0] == "TLSv1.2"
        return
    with pytest.raises(ssl.SSLError) as caught:
        await shake_hands(context, server)
    assert explain(caught.value)[0] == ConnectFailure.TLS_VERSION_REFUSED


def test_failures_of_the_network_have_words() -> None:
    cases: list[tuple[BaseException, ConnectFailure]] = [
        (ConnectionRefusedError(), ConnectFailure.REFUSED),
        (ConnectionResetError(), ConnectFailure.CLOSED),
        (TimeoutError(), ConnectFailure.TIMEOUT),
        (OSError(110, "Connection timed out"), ConnectFailure.TIMEOUT),
        (OSError(113, "No route to host"), ConnectFailure.UNREACHABLE),
        (ssl.SSLEOFError(), ConnectFailure.CLOSED),
        (ssl.SSLError("wrong version"), ConnectFailure.TLS_FAILED),
        (ValueError("XML cannot hold that"), ConnectFailure.MALFORMED),
    ]
    for error, failure in cases:
        found, detail = explain(error)
        assert found == failure
        assert detail


async def test_a_server_of_the_phones_era_is_spoken_to(site_authority: SiteAuthority) -> None:
    server = site_context(site_authority)
    server.set_ciphers("AES128-SHA:@SECLEVEL=0")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        server.minimum_version = server.maximum_version = ssl.TLSVersion.TLSv1
    context = PhoneTls().context(site_authority.chain(), time.time())
    version, _ = await shake_hands(context, server)
    assert version == "TLSv1"


async def test_a_server_that_speaks_no_tls_fails_the_handshake(
    site_authority: SiteAuthority,
) -> None:
    context = PhoneTls().context(site_authority.chain(), time.time())

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 400 Bad Request\r\n\r\n")
        writer.close()

    async with await asyncio.start_server(answer, "127.0.0.1", 0, family=socket.AF_INET) as server:
        port = server.sockets[0].getsockname()[1]
        with pytest.raises(ssl.SSLError) as caught:
            await asyncio.open_connection("127.0.0.1", port, ssl=context, server_hostname=NAME)
    failure, detail = explain(caught.value)
    assert failure == ConnectFailure.TLS_FAILED
    assert "wrong version number" in detail
