"""Requests of who says by HTTP who it is; without that, `test_sign_in` plays them all."""

from __future__ import annotations

import msgspec
import pytest
from playing import Dice, containing, like, matching, play

from phonesim.config.device_profile import SignInConfig
from phonesim.device import device_log as log
from phonesim.device.actions import SendHttp
from phonesim.device.events import (
    ExchangeEnded,
    HttpFailed,
    HttpResponseReceived,
    LookupAnswered,
    TimerExpired,
)
from phonesim.device.http_authentication import HttpAuthentication, WindowsCredentials
from phonesim.device.outcome import ConnectFailure, FailureReason
from phonesim.device.web_exchange import LOOKUP_ID, WebAnswered, WebExchange, WebFailed
from phonesim.wire.cert_provisioning import GetRootCertChains, GetRootCertChainsResponse
from phonesim.wire.dns import DnsRecord
from phonesim.wire.http import HttpRequest, HttpResponse, HttpUrl
from phonesim.wire.http_token import NEGOTIATE, NTLM, HttpToken
from phonesim.wire.ntlm import (
    HTTP_FLAGS,
    NtlmChallenge,
    NtlmNegotiate,
    answer_over_connection,
    encode_challenge,
    encode_negotiate,
)

HOST, ME, WEB, WEB2 = "web.contoso.com", "10.0.0.50", "10.0.0.20", "10.0.0.21"
MESSAGE = GetRootCertChains()
FIRST = encode_negotiate(NtlmNegotiate(flags=HTTP_FLAGS))
CHALLENGE = encode_challenge(NtlmChallenge(flags=HTTP_FLAGS, server_challenge=b"challeng"))
ANSWER = answer_over_connection(
    FIRST,
    CHALLENGE,
    user="alice",
    domain="CONTOSO",
    password="secret",
    now=1.7e9,
    client_challenge=(1).to_bytes(8, "big"),
)
OFFERS = (HttpToken(NEGOTIATE), HttpToken(NTLM))
ONCE = ExchangeEnded(kind="http", sent=1, seconds=0.0)


def asking(**config: object) -> WebExchange:
    """A client whose first request, at WEB, is under way as exchange 1."""
    client = WebExchange(SignInConfig(**config), lambda now: 1.7e9, lambda message: message)
    credentials = WindowsCredentials(
        sip_uri="sip:alice@contoso.com", user_name="CONTOSO\\alice", password="secret"
    )
    client.begin(ME)
    url = HttpUrl(scheme="https", host=HOST, port=443, path="/A")
    authentication = HttpAuthentication(credentials, Dice(), lambda now: 1.7e9)
    client.ask(url, MESSAGE, b"chain", 0.0, authentication)
    records = tuple(DnsRecord(HOST, "A", 60, each) for each in (WEB, WEB2))
    found = LookupAnswered(
        lookup_id=LOOKUP_ID, qname=HOST, qtype="A", rcode="NOERROR", records=records
    )
    play(client, [(0.0, found, [sends(1)])])
    return client


def sends(
    number: int,
    token: bytes | None = None,
    *,
    address: str = WEB,
    continues: int | None = None,
) -> SendHttp:
    return SendHttp(
        exchange_id=number,
        request=HttpRequest(
            scheme="https",
            host=HOST,
            port=443,
            path="/A",
            message=MESSAGE,
            authorization=None if token is None else HttpToken(NTLM, token),
        ),
        source=ME,
        address=address,
        trust=b"chain",
        clock=1.7e9,
        timeout=30,
        continues=continues,
    )


def wants(number: int, *challenges: HttpToken) -> HttpResponseReceived:
    response = HttpResponse(status=401, challenges=challenges)
    return HttpResponseReceived(exchange_id=number, response=response)


CHALLENGED = HttpToken(NTLM, CHALLENGE)
SAID = HttpResponse(status=200, message=GetRootCertChainsResponse(chain=b"c"))


def test_the_same_request_goes_three_times_and_stays_where_it_began() -> None:
    auth = log.HTTP_AUTHORIZED
    play(
        asking(),
        [
            (
                0.0,
                wants(1, *OFFERS),
                [
                    matching(log.HTTP_ANSWER, status=401, detail="it wants Negotiate, NTLM"),
                    auth("GetRootCertChains", "NTLM", "NEGOTIATE_MESSAGE", len(FIRST)),
                    log.HTTP_SENT("GetRootCertChains", f"https://{HOST}:443/A", WEB, 1),
                    ONCE,
                    sends(2, FIRST),
                ],
            ),
            (
                0.0,
                wants(2, CHALLENGED),
                [
                    matching(log.HTTP_ANSWER, detail=f"it wants NTLM ({len(CHALLENGE)} octets)"),
                    auth("GetRootCertChains", "NTLM", "AUTHENTICATE_MESSAGE", len(ANSWER)),
                    ONCE,
                    sends(3, ANSWER, continues=2),
                ],
            ),
            (
                0.0,
                HttpResponseReceived(exchange_id=3, response=SAID),
                [ONCE, WebAnswered(request=MESSAGE, response=SAID)],
            ),
        ],
    )


def test_who_is_known_already_is_not_asked() -> None:
    answered = HttpResponseReceived(exchange_id=1, response=SAID)
    play(asking(), [(0.0, answered, [ONCE, WebAnswered(request=MESSAGE, response=SAID)])])


@pytest.mark.parametrize(
    ("answers", "reason"),
    [
        ([()], FailureReason.WEB_SERVICES_NO_COMMON_SCHEME),
        ([(HttpToken("Basic"),)], FailureReason.WEB_SERVICES_NO_COMMON_SCHEME),
        ([OFFERS, OFFERS], FailureReason.WEB_SERVICES_HANDSHAKE_FAILED),
        ([OFFERS, (HttpToken(NTLM, b"x"),)], FailureReason.WEB_SERVICES_HANDSHAKE_FAILED),
        ([OFFERS, (CHALLENGED,), OFFERS], FailureReason.PASSWORD_INCORRECT),
        ([OFFERS, (CHALLENGED,), (CHALLENGED,)], FailureReason.PASSWORD_INCORRECT),
    ],
)
def test_it_ends_with_its_reason(
    answers: list[tuple[HttpToken, ...]], reason: FailureReason
) -> None:
    client = asking()
    *before, last = enumerate(answers, 1)
    for number, challenges in before:
        client.handle(wants(number, *challenges), 0.0)
    detail = containing("GetRootCertChains: ")
    failed = like(WebFailed, request=MESSAGE, reason=reason, detail=detail)
    play(client, [(0.0, wants(last[0], *last[1]), [ONCE, failed])])
    assert client.next_deadline() is None


CLOSED = HttpFailed(exchange_id=3, failure=ConnectFailure.CLOSED, detail="closed")


@pytest.mark.parametrize(
    "event",
    [CLOSED, HttpResponseReceived(exchange_id=3, response=HttpResponse(status=503))],
    ids=["connection closed", "503"],
)
def test_what_was_begun_begins_anew_elsewhere(event: HttpFailed | HttpResponseReceived) -> None:
    client = asking(attempts=2, retry_delay=5)
    client.handle(wants(1, *OFFERS), 0.0)
    client.handle(wants(2, CHALLENGED), 0.0)
    twice = msgspec.structs.replace(ONCE, sent=2, seconds=5.0)
    play(
        client,
        [
            (0.0, event, []),
            (0.0, None, [(5.0, "repeat the request")]),
            (5.0, TimerExpired(), [sends(4, address=WEB2)]),
            (5.0, wants(4, *OFFERS), [twice, sends(5, FIRST, address=WEB2)]),
        ],
    )


def test_a_connection_that_is_never_kept_is_told() -> None:
    client = asking(attempts=1)
    client.handle(wants(1, *OFFERS), 0.0)
    client.handle(wants(2, CHALLENGED), 0.0)
    over = ExchangeEnded(kind="http", sent=1, seconds=None)
    failed = WebFailed(
        request=MESSAGE,
        reason=FailureReason.WEB_SERVICES_REFUSED,
        detail="GetRootCertChains: closed, in the middle of NTLM",
    )
    play(client, [(0.0, CLOSED, [over, failed])])
