"""How a phone proves to a Registrar who it is, and checks that it is the Registrar who answers.

    no association --401, 407--> a scheme is chosen
        Digest: the same request again, with the answer                       [RFC 3261]
        TLS-DSK: the flights of a TLS handshake go to and fro in requests and 401s until
        both sides have keys                                                  [MS-SIPAE]
        NTLM: an empty token brings a challenge, its answer goes with the first signature
    association: all that is sent is signed, and all that comes must be, but for provisional
        answers, 401 and 407

The schemes are those of the profile, in its order. An answer that is not signed as it must
be counts as none. A 401 to a signed request ends the association, and the way begins again:
once, for a Registrar that refuses what it has just agreed to will go on doing so.

An association is given up some minutes before its end, or before that of the certificate
that it was made with: the next request goes unsigned, over the same connection.

The owner hands over challenges and what the world says of handshakes, and sends its request
again at `CredentialsReady`; it lets requests be signed by `authenticate`, and answers checked
by `refusal`.

Specifications: [MS-SIPAE] sections 3.2 and 3.3.5, RFC 3261 section 22, sign-in reference
sections 10 to 16.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import TypeVar

import msgspec

from phonesim.config.device_profile import RegistrationConfig
from phonesim.device import device_log as log
from phonesim.device.actions import BeginHandshake, ContinueHandshake, PhoneAction
from phonesim.device.device_log import LogRecord
from phonesim.device.events import (
    AuthenticationFailed,
    CertificateIssued,
    CredentialsReady,
    Event,
    HandshakeAdvanced,
    HandshakeFailed,
    RegistrationWanted,
    RequestChallenged,
)
from phonesim.device.outcome import FailureReason
from phonesim.errors import DecodeError
from phonesim.wire.digest import digest_credentials, is_answerable
from phonesim.wire.ntlm import answer_challenge, decode_challenge, encode_authenticate
from phonesim.wire.sip import (
    Challenge,
    Credentials,
    SipMessage,
    SipRequest,
    SipResponse,
    authentication_text,
)
from phonesim.wire.sipae import (
    AUTHORIZATION,
    NTLM,
    Authorization,
    Offer,
    SigningKeys,
    authentication_info,
    credentials_of,
    read_offer,
    signature_buffer,
)
from phonesim.wire.tls_records import describe_flight

Output = PhoneAction | Event | LogRecord

_MINIMUM_LIFETIME = 60.0  # a certificate that is about to expire does not make it go in circles
_HANDSHAKE_METHOD = "REGISTER"
_UNSIGNED_ANSWERS = frozenset({401, 407})


class Unauthenticated(msgspec.Struct, frozen=True, gc=False):
    """Requests go out as they are."""


class AnsweringDigest(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """Requests carry the answer to `challenge`; `nonce_count` of them did.

    `is_confirmed`: the Registrar accepted one of them.
    """

    challenge: Challenge
    nonce_count: int
    is_confirmed: bool = False


class Shaking(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """A handshake is under way; the next request carries `flight`, if there is one yet."""

    offer: Offer
    opaque: str | None
    flight: bytes | None = None


class Associated(msgspec.Struct, kw_only=True, gc=False):
    """Messages are signed; `sent` is the last cnum, `received` the last snum.

    `is_confirmed`: the Registrar has signed an answer. `flight` ends the handshake, and goes
    with the first request.
    """

    offer: Offer
    opaque: str
    keys: SigningKeys
    ends_at: float
    sent: int = 0
    received: int = 0
    is_confirmed: bool = False
    flight: bytes | None = None


Message = TypeVar("Message", bound=SipMessage)

State = Unauthenticated | AnsweringDigest | Shaking | Associated


class SipAuthentication:
    """The authentication of one registration, at one Registrar after another."""

    def __init__(
        self,
        config: RegistrationConfig,
        pin: str,
        rng: random.Random,
        believed: Callable[[float], float],
    ) -> None:
        self._config = config
        self._password = pin if config.password is None else config.password
        self._rng = rng
        self._believed = believed
        self._wanted: RegistrationWanted | None = None
        self._handshakes = 0
        self.state: State = Unauthenticated()

    def handle(self, event: Event, now: float) -> list[Output]:
        """Take one event; return actions, log records, and what became of a challenge."""
        match event:
            case RequestChallenged():
                return self._challenged(event.response, now)
            case HandshakeAdvanced() if event.handshake_id == self._handshakes:
                return self._advanced(event, now)
            case HandshakeFailed() if event.handshake_id == self._handshakes:
                return self._not_advanced(event)
            case CertificateIssued() if self._wanted is not None:
                self._wanted = msgspec.structs.replace(
                    self._wanted, certificate=event.certificate, chain=event.chain
                )
                return []
            case RegistrationWanted():
                self._wanted = event
                self.reset()
                return []
            case _:
                return []

    def next_deadline(self) -> tuple[float, str] | None:
        """When the association must be given up."""
        state = self.state
        return (state.ends_at, "authenticate anew") if isinstance(state, Associated) else None

    def reset(self) -> None:
        """Forget what was agreed: the connection is another one."""
        self.state = Unauthenticated()

    def expire(self, now: float) -> list[Output]:
        """Give the association up if its time has come."""
        state = self.state
        if not isinstance(state, Associated) or now < state.ends_at:
            return []
        self.reset()
        return [log.ASSOCIATION_ENDED(state.opaque, "its time has come")]

    @property
    def scheme(self) -> str:
        """How the next request will be authenticated; empty if it will not be."""
        match self.state:
            case AnsweringDigest():
                return "Digest"
            case Shaking(offer=offer) | Associated(offer=offer):
                return offer.scheme
            case _:
                return ""

    # --- requests and their answers ---

    def authenticate(self, message: Message) -> Message:
        """The message as it is to be sent: a request, or an answer to one of the Registrar's."""
        if isinstance(message, SipRequest):
            credentials = self._credentials(message)
            if credentials is None:
                return message
            return msgspec.structs.replace(message, credentials=(credentials,))
        if not isinstance(self.state, Associated):
            return message
        signature = authentication_text(self._signature(self.state, message))
        header = (AUTHORIZATION, signature)
        return msgspec.structs.replace(message, headers=(*message.headers, header))

    def _credentials(self, request: SipRequest) -> Credentials | None:
        state = self.state
        match state:
            case Associated():
                return self._signature(state, request)
            case Shaking(flight=bytes()) if request.method == _HANDSHAKE_METHOD:
                return credentials_of(
                    Authorization(
                        scheme=state.offer.scheme,
                        realm=state.offer.realm,
                        targetname=state.offer.targetname,
                        version=state.offer.version,
                        opaque=state.opaque,
                        gssapi_data=state.flight,
                        is_proxy=state.offer.is_proxy,
                    )
                )
            case AnsweringDigest():
                self.state = msgspec.structs.replace(state, nonce_count=state.nonce_count + 1)
                return self._digest(state.challenge, request, state.nonce_count + 1)
            case _:
                return None

    def _signature(self, state: Associated, message: SipMessage) -> Credentials:
        state.sent += 1
        offer = state.offer
        crand = f"{self._rng.getrandbits(32):08x}"
        buffer = signature_buffer(
            offer.scheme,
            offer.realm,
            offer.targetname,
            offer.version,
            crand,
            state.sent,
            message,
        )
        is_first = not state.is_confirmed and state.sent == 1
        # In version 3 the server learns of the end of the handshake from an unsigned request.
        is_signed = offer.version > 3 or not is_first
        return credentials_of(
            Authorization(
                scheme=offer.scheme,
                realm=offer.realm,
                targetname=offer.targetname,
                version=offer.version,
                opaque=state.opaque,
                gssapi_data=state.flight if is_first else None,
                crand=crand if is_signed else None,
                cnum=state.sent if is_signed else None,
                response=state.keys.client.sign(buffer) if is_signed else None,
                is_proxy=offer.is_proxy,
            )
        )

    def refusal(self, message: SipMessage) -> str | None:
        """Why a message cannot be taken for the Registrar's; None if it can."""
        state = self.state
        if isinstance(message, SipResponse) and (
            message.status < 200 or message.status in _UNSIGNED_ANSWERS
        ):
            return None
        if not isinstance(state, Associated):
            if isinstance(state, AnsweringDigest) and isinstance(message, SipResponse):
                self.state = msgspec.structs.replace(state, is_confirmed=True)
            return None
        try:
            info = authentication_info(message)
        except DecodeError as error:
            return str(error)
        offer = state.offer
        if info is None:
            return "it is not signed"
        if (info.scheme, info.realm, info.targetname, info.opaque) != (
            offer.scheme,
            offer.realm,
            offer.targetname,
            state.opaque,
        ):
            return f"it is signed for another association, {info.opaque}"
        if info.snum <= state.received:
            return f"snum {info.snum} is not new"
        buffer = signature_buffer(
            offer.scheme,
            offer.realm,
            offer.targetname,
            offer.version,
            info.srand,
            info.snum,
            message,
        )
        if not state.keys.server.verifies(buffer, info.rspauth):
            return "its signature is wrong"
        state.received = info.snum
        state.is_confirmed = True
        return None

    # --- challenges ---

    def _challenged(self, response: SipResponse, now: float) -> list[Output]:
        out: list[Output] = []
        offers = _read_offers(response, out)
        match self.state:
            case Shaking(offer=made) as state:
                return out + self._next_flight(state, _same(made, offers), now)
            case Associated() as state:
                out.append(log.ASSOCIATION_ENDED(state.opaque, f"answered {response.status}"))
                self.reset()
                if not state.is_confirmed and state.offer.scheme == NTLM:
                    return [*out, _unauthorized("the Registrar does not take the password")]
                if not state.is_confirmed:
                    return [*out, self._failed("the Registrar refuses what it has agreed to")]
            case AnsweringDigest(is_confirmed=False) if not _is_stale(response):
                self.reset()
                return [*out, _unauthorized("the Registrar asks for other credentials")]
            case _:
                pass
        names = ",".join(dict.fromkeys(challenge.scheme for challenge in response.challenges))
        for scheme in self._config.authentication:
            if scheme == "digest":
                started = self._answer_digest(response)
            else:
                started = self._begin(offers.get(scheme), now)
            if started is not None:
                return [*out, log.SCHEME_CHOSEN(names, self.scheme, self._target), *started]
        if not response.challenges:
            return [*out, _unauthorized("the Registrar names no scheme")]
        wanted = ", ".join(self._config.authentication)
        detail = f"the Registrar offers {names}, the phone has {wanted}"
        return [
            *out,
            AuthenticationFailed(reason=FailureReason.REGISTRATION_NO_COMMON_SCHEME, detail=detail),
        ]

    @property
    def _target(self) -> str:
        match self.state:
            case Shaking(offer=offer):
                return offer.targetname
            case AnsweringDigest(challenge=challenge):
                return dict(challenge.parameters).get("realm", "")
            case _:
                return ""

    def _answer_digest(self, response: SipResponse) -> list[Output] | None:
        assert self._wanted is not None
        for challenge in response.challenges:
            if is_answerable(challenge):
                state = self.state
                is_same = isinstance(state, AnsweringDigest) and state.challenge == challenge
                if not is_same:
                    self.state = AnsweringDigest(challenge=challenge, nonce_count=0)
                return [CredentialsReady()]
        return None

    def _digest(
        self, challenge: Challenge, request: SipRequest, nonce_count: int
    ) -> Credentials | None:
        assert self._wanted is not None
        return digest_credentials(
            challenge,
            method=request.method,
            uri=request.uri,
            username=self._wanted.sip_uri.removeprefix("sip:").partition("@")[0],
            password=self._password,
            cnonce=f"{self._rng.getrandbits(64):016x}",
            nc=nonce_count,
        )

    def _begin(self, offer: Offer | None, now: float) -> list[Output] | None:
        if offer is None:
            return None
        assert self._wanted is not None
        self._handshakes += 1
        if offer.scheme == NTLM:
            self.state = Shaking(offer=offer, opaque=offer.opaque, flight=b"")
            return [log.HANDSHAKE_SENT(NTLM, 0, "nothing"), CredentialsReady()]
        self.state = Shaking(offer=offer, opaque=offer.opaque)
        return [
            BeginHandshake(
                handshake_id=self._handshakes,
                server_name=offer.targetname,
                certificate=self._wanted.certificate,
                trust=self._wanted.chain,
                clock=self._believed(now),
                maximum_version=self._config.inner_tls,
            )
        ]

    def _next_flight(self, state: Shaking, offer: Offer | None, now: float) -> list[Output]:
        if state.flight is None:
            return []  # said twice: this side has not answered yet
        if offer is None or not offer.gssapi_data:
            return [self._failed("the Registrar does not go on with the handshake")]
        opaque = offer.opaque or state.opaque
        if not opaque or state.opaque not in (None, opaque):
            return [self._failed(f"the Registrar names the handshake {opaque!r}")]
        if offer.scheme == NTLM:
            return self._answer_ntlm(state.offer, opaque, offer.gssapi_data, now)
        try:
            messages = describe_flight(offer.gssapi_data)
        except DecodeError as error:
            return [self._failed(f"the Registrar sent no handshake: {error}")]
        self.state = Shaking(offer=state.offer, opaque=opaque)
        return [
            log.HANDSHAKE_RECEIVED(offer.scheme, len(offer.gssapi_data), messages),
            ContinueHandshake(handshake_id=self._handshakes, received=offer.gssapi_data),
        ]

    def _answer_ntlm(self, offer: Offer, opaque: str, received: bytes, now: float) -> list[Output]:
        assert self._wanted is not None
        user, _, domain = self._wanted.sip_uri.removeprefix("sip:").partition("@")
        try:
            challenge = decode_challenge(received)
        except DecodeError as error:
            return [self._failed(f"the Registrar sent no challenge: {error}")]
        message, keys = answer_challenge(
            challenge,
            user=user,
            domain=domain,
            password=self._password,
            now=self._believed(now),
            client_challenge=self._rng.getrandbits(64).to_bytes(8, "big"),
            session_key=self._rng.getrandbits(128).to_bytes(16, "big"),
        )
        flight = encode_authenticate(message)
        return [
            log.HANDSHAKE_RECEIVED(NTLM, len(received), "CHALLENGE_MESSAGE"),
            log.HANDSHAKE_SENT(NTLM, len(flight), "AUTHENTICATE_MESSAGE"),
            *self._associate(offer, opaque, keys, float("inf"), now, flight),
        ]

    # --- what the world says of a handshake ---

    def _advanced(self, event: HandshakeAdvanced, now: float) -> list[Output]:
        state = self.state
        if not isinstance(state, Shaking) or state.flight is not None:
            return []
        if event.keys is None:
            self.state = msgspec.structs.replace(state, flight=event.flight)
            return [
                log.HANDSHAKE_SENT(
                    state.offer.scheme, len(event.flight), describe_flight(event.flight)
                ),
                CredentialsReady(),
            ]
        assert state.opaque is not None
        return self._associate(state.offer, state.opaque, event.keys, event.valid_until, now)

    def _associate(
        self,
        offer: Offer,
        opaque: str,
        keys: SigningKeys,
        valid_until: float,
        now: float,
        flight: bytes | None = None,
    ) -> list[Output]:
        config = self._config
        lifetime = min(valid_until - self._believed(now), config.association_lifetime)
        lifetime = max(lifetime - config.association_margin, _MINIMUM_LIFETIME)
        self.state = Associated(
            offer=offer, opaque=opaque, keys=keys, ends_at=now + lifetime, flight=flight
        )
        return [
            log.ASSOCIATION_MADE(offer.scheme, opaque, offer.targetname, int(lifetime)),
            CredentialsReady(),
        ]

    def _not_advanced(self, event: HandshakeFailed) -> list[Output]:
        return [self._failed(event.detail)] if isinstance(self.state, Shaking) else []

    def _failed(self, detail: str) -> AuthenticationFailed:
        self.reset()
        reason = FailureReason.REGISTRATION_HANDSHAKE_FAILED
        return AuthenticationFailed(reason=reason, detail=detail)


def _read_offers(response: SipResponse, out: list[Output]) -> dict[str, Offer]:
    """The first offer of each scheme, by its name in the profile; says which cannot be read."""
    offers: dict[str, Offer] = {}
    for challenge in response.challenges:
        try:
            offer = read_offer(challenge)
        except DecodeError as error:
            out.append(log.SIP_IGNORED(str(error)))
        else:
            if offer is not None:
                offers.setdefault(offer.scheme.lower(), offer)
    return offers


def _same(made: Offer, offers: dict[str, Offer]) -> Offer | None:
    offer = offers.get(made.scheme.lower())
    is_same = offer is not None and (offer.realm, offer.targetname, offer.is_proxy) == (
        made.realm,
        made.targetname,
        made.is_proxy,
    )
    return offer if is_same else None


def _is_stale(response: SipResponse) -> bool:
    """Whether a Registrar only wants another nonce."""
    return any(
        (name.lower(), value.lower()) == ("stale", "true")
        for challenge in response.challenges
        if challenge.scheme.lower() == "digest"
        for name, value in challenge.parameters
    )


def _unauthorized(detail: str) -> AuthenticationFailed:
    return AuthenticationFailed(reason=FailureReason.REGISTRATION_UNAUTHORIZED, detail=detail)
