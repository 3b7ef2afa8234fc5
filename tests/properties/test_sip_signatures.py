"""A phone and a Registrar with somebody between them who changes what they say.

Whatever that is, neither raises; the Registrar lets nobody in but by a request just as the
phone signed it, once; and the phone believes no answer but as the Registrar signed it, once.
"""

from __future__ import annotations

import random
from typing import Any

import msgspec
from hypothesis import given, settings
from hypothesis import strategies as st

from phonesim.config.device_profile import RegistrationConfig
from phonesim.config.site_profile import RegistrarConfig, UserRange
from phonesim.device.actions import BeginHandshake, ContinueHandshake
from phonesim.device.events import (
    AuthenticationFailed,
    HandshakeAdvanced,
    HandshakeFailed,
    RegistrarAddress,
    RegistrationWanted,
    RequestChallenged,
)
from phonesim.device.sip_authentication import Associated, SipAuthentication
from phonesim.errors import DecodeError
from phonesim.mocksite.sip_authenticator import SipAuthenticator
from phonesim.mocksite.users import UserDirectory
from phonesim.virtual_authority import VirtualAuthority
from phonesim.virtual_handshake import VirtualClientHandshake
from phonesim.wire.sip import NameAddress, SipRequest, SipResponse, response_to

ALICE, TARGET, EPOCH = "sip:alice@contoso.com", "fe01.contoso.com", 1_767_596_400
CERTIFICATE = VirtualAuthority().issue(b"csr alice@contoso.com", EPOCH, EPOCH + 10**6)


class Line:
    """Both ends; `twist` changes each message on its way."""

    def __init__(self, twist: Any) -> None:
        self.twist = twist
        users = UserDirectory([UserRange(sip_uri=ALICE, number="1", pin="1")])
        self.user = users.by_sip_uri(ALICE)
        assert self.user is not None
        users.publish(self.user, "phone", CERTIFICATE)
        self.registrar = SipAuthenticator(
            RegistrarConfig(name="r", address="10.0.0.1", fqdn=TARGET),
            users,
            VirtualAuthority(),
            random.Random(1),
            EPOCH,
        )
        self.phone = SipAuthentication(
            RegistrationConfig(), "1", random.Random(2), lambda now: EPOCH + now
        )
        self.phone.handle(
            RegistrationWanted(
                registrars=(RegistrarAddress(host=TARGET, port=5061, transport="tls", source="x"),),
                sip_uri=ALICE,
                certificate=CERTIFICATE,
                chain=b"virtual chain",
                source="10.0.0.2",
            ),
            0,
        )
        self.tls: VirtualClientHandshake | None = None
        self.cseq = 0
        self.sent: list[SipRequest] = []
        self.said: list[SipResponse] = []
        self.taken: list[SipRequest] = []
        self.believed: list[SipResponse] = []

    def exchange(self) -> None:
        """One request of the phone, and what follows from its answer."""
        self.cseq += 1
        request = SipRequest(
            method="REGISTER",
            uri="sip:contoso.com",
            vias=("SIP/2.0/TLS 10.0.0.2:5061",),
            sender=NameAddress(uri=ALICE, tag="t"),
            recipient=NameAddress(uri=ALICE),
            call_id="c",
            cseq=self.cseq,
            expires=600,
        )
        signed = self.phone.authenticate(request)
        self.sent.append(signed)
        received = self.twist(signed, self.sent)
        rejection = self.registrar.check(1, received, self.user, 0.0)
        if rejection is None:
            self.taken.append(received)
            response = response_to(received, 200, "OK", to_tag="b", expires=300)
        else:
            response = response_to(
                received,
                rejection.status,
                rejection.reason,
                to_tag="b",
                challenges=rejection.challenges,
            )
        response = self.registrar.sign(1, response)
        self.said.append(response)
        self.answer(self.twist(response, self.said))

    def answer(self, response: SipResponse) -> None:
        is_guarded = isinstance(self.phone.state, Associated)
        if self.phone.refusal(response) is not None:
            return
        if response.status in (401, 407):
            self.perform(self.phone.handle(RequestChallenged(response=response), 0.0))
        elif is_guarded and response.status >= 200:
            self.believed.append(response)

    def perform(self, outputs: list[Any]) -> None:
        for output in outputs:
            match output:
                case BeginHandshake(handshake_id=number):
                    seed = f"{number}"
                    self.tls = VirtualClientHandshake(seed, output.server_name, CERTIFICATE)
                    self.shake(number, b"")
                case ContinueHandshake(handshake_id=number):
                    self.shake(number, output.received)
                case AuthenticationFailed():
                    assert output.detail

    def shake(self, number: int, received: bytes) -> None:
        assert self.tls is not None
        try:
            flight = self.tls.advance(received)
        except DecodeError as error:
            event: Any = HandshakeFailed(handshake_id=number, detail=str(error))
        else:
            event = HandshakeAdvanced(
                handshake_id=number, flight=flight, keys=self.tls.keys, valid_until=EPOCH + 9e5
            )
        self.perform(self.phone.handle(event, 0.0))


def signed_part(message: SipRequest | SipResponse) -> tuple[Any, ...]:
    status = message.status if isinstance(message, SipResponse) else None
    return (
        *(message.call_id, message.cseq, message.sender.uri, message.sender.tag),
        *(message.recipient, message.expires, status),
    )


def test_without_anybody_between_them_every_request_is_taken_and_every_answer_believed() -> None:
    line = Line(lambda message, past: message)
    for _ in range(10):
        line.exchange()
    assert [request.cseq for request in line.taken] == [4, 5, 6, 7, 8, 9, 10]
    assert [response.cseq for response in line.believed] == [4, 5, 6, 7, 8, 9, 10]


OTHERS = ["", "x", "A1", "0a1b2c3d", "1", "2", "99", "ab" * 20, "FgMBAAQBAAAA", "é", "sip:x@y"]


def twisted(message: Any, past: list[Any], rng: random.Random) -> Any:
    """The message, or an earlier one, or one that somebody has changed."""
    choice = rng.random()
    if choice < 0.6:
        return message
    if choice < 0.7:
        return rng.choice(past)
    is_request = isinstance(message, SipRequest)
    attribute = "credentials" if is_request else "challenges"
    headers = getattr(message, attribute)
    kind = rng.choice(["parameter", "header", "value", "info", "all"])
    if kind == "parameter" and headers:
        place = rng.randrange(len(headers))
        parameters = dict(headers[place].parameters)
        name = rng.choice(list(parameters) or ["opaque"])
        if rng.random() < 0.3:
            parameters.pop(name, None)
        else:
            parameters[name] = rng.choice(OTHERS)
        changed = msgspec.structs.replace(headers[place], parameters=tuple(parameters.items()))
        headers = (*headers[:place], changed, *headers[place + 1 :])
        return msgspec.structs.replace(message, **{attribute: headers})
    if kind == "header":
        return msgspec.structs.replace(message, **{attribute: headers[:-1]})
    if kind == "all":
        earlier = rng.choice(past)
        return msgspec.structs.replace(message, **{attribute: getattr(earlier, attribute)})
    if kind == "info" and not is_request:
        earlier = rng.choice(past)
        return msgspec.structs.replace(message, headers=earlier.headers)
    name, value = rng.choice(
        [
            ("expires", rng.choice([None, 0, 1])),
            ("cseq", message.cseq + 1),
            ("call_id", "other"),
            ("sender", NameAddress(uri=ALICE, tag="other")),
            ("recipient", NameAddress(uri="sip:bob@contoso.com", tag="c")),
            *((("status", rng.choice([100, 200, 401, 403, 503])),) if not is_request else ()),
        ]
    )
    return msgspec.structs.replace(message, **{name: value})


@settings(max_examples=200)
@given(seed=st.integers(0, 2**32), count=st.integers(1, 25))
def test_whoever_stands_between_them_gets_nobody_to_believe_anything(seed: int, count: int) -> None:
    rng = random.Random(seed)
    line = Line(lambda message, past: twisted(message, past, rng))
    for _ in range(count):
        line.exchange()
    sent = {(signed_part(each), response_of(each)) for each in line.sent}
    taken = [(signed_part(each), response_of(each)) for each in line.taken]
    assert len(taken) == len(set(taken))
    assert sent.issuperset(taken)
    said = [signed_part(each) for each in line.said]
    assert all(signed_part(each) in said for each in line.believed)
    signatures = [info_of(each) for each in line.believed]
    assert len(signatures) == len(set(signatures))


def response_of(request: SipRequest) -> str | None:
    """Its signature; two headers have the one of the first."""
    values = [dict(each.parameters).get("response") for each in request.credentials]
    return values[0] if values else None


def info_of(response: SipResponse) -> str:
    return dict(response.headers)["Authentication-Info"]
