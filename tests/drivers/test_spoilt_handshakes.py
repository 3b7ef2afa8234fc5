"""NTLM whose messages are spoilt on the way, in virtual time and on real sockets."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import msgspec
import pytest
from fleet_runs import Run

from phonesim.config.fleet_profile import Links
from phonesim.device.http_authentication import WindowsCredentials
from phonesim.device.outcome import FailureReason, Stage
from phonesim.mocksite import exchange as on
from phonesim.mocksite.site import Site
from phonesim.simulation import simulate
from phonesim.virtual_authority import VirtualAuthority
from phonesim.wire.http_token import HttpToken
from phonesim.wire.ntlm import SIGN
from phonesim.world import PhoneSpec, RunLimits

Spoil = Callable[[HttpToken], HttpToken]
SignIn = Callable[[Spoil | None, Spoil | None], Awaitable[Run]]


class Meddler:
    """A web server, and somebody before it who changes what it gets or what it says."""

    def __init__(self, server: on.Server, request: Spoil | None, answer: Spoil | None) -> None:
        self._server = server
        self._request = request
        self._answer = answer

    def handle(self, event: on.ServerEvent, now: float) -> list[on.ServerAction]:
        if isinstance(event, on.HttpReceived) and self._request and event.request.authorization:
            spoilt = self._request(event.request.authorization)
            request = msgspec.structs.replace(event.request, authorization=spoilt)
            event = msgspec.structs.replace(event, request=request)
        return [self._spoil(action) for action in self._server.handle(event, now)]

    def next_deadline(self) -> tuple[float, str] | None:
        return self._server.next_deadline()

    def _spoil(self, action: on.ServerAction) -> on.ServerAction:
        if not isinstance(action, on.SendHttpResponse) or self._answer is None:
            return action
        challenges = tuple(
            self._answer(each) if each.octets else each for each in action.response.challenges
        )
        response = msgspec.structs.replace(action.response, challenges=challenges)
        return msgspec.structs.replace(action, response=response)


def octets(spoil: Callable[[bytes], bytes], of_type: int) -> Spoil:
    """Change messages of that type."""
    return lambda token: (
        HttpToken(token.scheme, spoil(token.octets)) if token.octets[8] == of_type else token
    )


def flipped(place: int, bit: int = 1) -> Callable[[bytes], bytes]:
    return lambda message: message[:place] + bytes([message[place] ^ bit]) + message[place + 1 :]


@pytest.fixture(params=["virtual", "loopback"])
async def sign_in(request: pytest.FixtureRequest, run: Run) -> SignIn:
    """Boot a phone whose user has a password, with somebody in between."""

    async def boot(request_spoilt: Spoil | None, answer_spoilt: Spoil | None) -> Run:
        if request.param == "virtual":
            run.authority = VirtualAuthority()
        site = run.site()
        listeners = tuple(
            msgspec.structs.replace(
                each, server=Meddler(each.server, request_spoilt, answer_spoilt)
            )
            if each.protocol == "https"
            else each
            for each in site.listeners
        )
        site = msgspec.structs.replace(site, listeners=listeners)
        credentials = WindowsCredentials(
            sip_uri="sip:user00001@contoso.com",
            user_name="user00001@contoso.com",
            password="8000014",
        )
        (spec,) = run.specs(1)
        await boot_in(request.param, msgspec.structs.replace(spec, credentials=credentials), site)
        return run

    async def boot_in(world: str, spec: PhoneSpec, site: Site) -> None:
        if world == "loopback":
            await run.boot([spec], site)
            return
        disk = run.disk(spec.profile)
        simulate([spec], site, disk, run.observer, RunLimits(), Links(), 1)

    return boot


NO_CHALLENGE = FailureReason.WEB_SERVICES_HANDSHAKE_FAILED
NO_PASSWORD = FailureReason.PASSWORD_INCORRECT
SPOILT: dict[str, tuple[Spoil | None, Spoil | None, FailureReason | None, str]] = {
    "nothing": (None, None, None, ""),
    "challenge garbage": (None, octets(lambda _: b"NTLMSSP\0\2 garbage", 2), NO_CHALLENGE, ""),
    "challenge cut off": (None, octets(lambda whole: whole[:-9], 2), NO_CHALLENGE, ""),
    "scheme": (None, lambda token: HttpToken("Negotiate", token.octets), NO_CHALLENGE, ""),
    "challenge": (None, octets(flipped(24), 2), NO_PASSWORD, "password of"),
    "answer garbage": (octets(lambda _: b"NTLMSSP\0\3 x", 3), None, NO_PASSWORD, "no message"),
    "code": (octets(flipped(72), 3), None, NO_PASSWORD, "password of"),
    "flags offered": (octets(flipped(12, SIGN), 1), None, NO_PASSWORD, "password of"),
}


@pytest.mark.parametrize("what", SPOILT)
async def test_what_is_spoilt_fails_with_its_reason(sign_in: SignIn, what: str) -> None:
    request, answer, reason, told = SPOILT[what]
    run = await sign_in(request, answer)
    assert run.observer.failures() == ([] if reason is None else [(Stage.TICKET, reason)])
    reports = [text for text in run.observer.reports if text.startswith("HTTP 401")]
    assert len(reports) == (1 if told else 0)
    assert all(told in text for text in reports)
