"""Web tickets: issued to who was authenticated, and known again when they come back.

A ticket is a signed assertion, and a key that is made of both sides' entropy and never
crosses the network. What comes back with a certificate request is trusted for its
signature alone; then its times, its audience and the proof of its key are looked at. The
keys are kept here by AssertionID until their tickets have expired.

Specifications: [MS-OCAUTHWS], WS-Trust 1.3, WS-Security 1.0; sign-in reference sections 6
and 7.
"""

from __future__ import annotations

import random

import msgspec

from phonesim.errors import DecodeError
from phonesim.mocksite.exchange import CertificateAuthority
from phonesim.mocksite.refusal import Refusal, refuse, refuse_request, refuse_token
from phonesim.mocksite.users import User
from phonesim.wire.cert_provisioning import GetAndPublishCert
from phonesim.wire.saml_assertion import Assertion, decode_assertion, encode_assertion
from phonesim.wire.web_ticket import (
    RequestSecurityToken,
    RequestSecurityTokenResponse,
    proof_key,
)

CLOCK_SKEW = 300
"""Seconds by which a peer's clock may differ, the usual limit of WS-Security servers."""
ENTROPY_SIZE = 32
"""Octets of either side's entropy [source]."""
MESSAGES_LIMIT = 64
"""Requests that one ticket is good for: as many MessageIDs are remembered."""


class Ticket(msgspec.Struct, gc=False):
    """An issued web ticket: whose it is, its proof key, and the messages that showed it."""

    user: User
    key: bytes
    expires: int
    message_ids: tuple[str, ...] = ()


class WebTickets:
    """The tickets of one web server for the services at `audiences` (URLs in lower case)."""

    def __init__(
        self,
        issuer: str,
        audiences: frozenset[str],
        lifetime: int,
        authority: CertificateAuthority,
        rng: random.Random,
    ) -> None:
        self._issuer = issuer
        self._audiences = audiences
        self._lifetime = lifetime
        self._authority = authority
        self._rng = rng
        self._tickets: dict[str, Ticket] = {}

    def check_request(self, message: RequestSecurityToken) -> Refusal | None:
        """Why no ticket can be had with this request, whoever asks."""
        if message.applies_to.lower() not in self._audiences:
            return refuse(
                "InvalidRequest",
                "The specified request failed.",
                "RequestSecurityToken for a service of another server",
                ("applies_to", message.applies_to),
            )
        if len(message.entropy) != ENTROPY_SIZE:
            return refuse(
                "InvalidRequest",
                "The specified request failed.",
                f"RequestSecurityToken whose entropy is not {ENTROPY_SIZE} octets",
            )
        return None

    def issue(
        self, message: RequestSecurityToken, user: User, clock: int
    ) -> RequestSecurityTokenResponse:
        """A ticket for a user who was authenticated."""
        assertion_id = f"SamlSecurityToken-{self._rng.getrandbits(128):032x}"
        expires = clock + self._lifetime
        assertion = Assertion(
            assertion_id=assertion_id,
            issuer=self._issuer,
            name=user.sip_uri,
            audience=message.applies_to,
            not_before=clock,
            not_on_or_after=expires,
        )
        entropy = self._rng.randbytes(ENTROPY_SIZE)
        self._drop_expired(clock)
        key = proof_key(message.entropy, entropy)
        self._tickets[assertion_id] = Ticket(user=user, key=key, expires=expires)
        return RequestSecurityTokenResponse(
            context=message.context,
            assertion_id=assertion_id,
            assertion=encode_assertion(
                assertion, self._authority.sign, self._authority.signing_certificate()
            ),
            created=clock,
            expires=expires,
            entropy=entropy,
            sip_uri=user.sip_uri,
        )

    def check(self, message: GetAndPublishCert, clock: int) -> Ticket | Refusal:
        """The ticket that a request shows, and shows for the first time."""
        about = ("entity", message.entity)
        try:
            signed = decode_assertion(message.assertion)
        except DecodeError as error:
            return refuse_token(f"GetAndPublishCert refused: its assertion: {error}", about)
        assertion = signed.assertion
        why = None
        ticket = self._tickets.get(assertion.assertion_id)
        if not self._authority.has_signed(signed.signed_info, signed.signature):
            why = "the assertion was not signed here"
        elif assertion.assertion_id != message.assertion_id:
            why = "the signature names another assertion"
        elif ticket is None:
            why = "the key of the assertion is not known"
        elif clock >= assertion.not_on_or_after:
            why = "the web ticket has expired"
        elif clock < assertion.not_before - CLOCK_SKEW:
            why = "the web ticket is not yet valid"
        elif assertion.audience.lower() not in self._audiences:
            why = "the web ticket is for another service"
        elif (
            message.created < assertion.not_before - CLOCK_SKEW
            or message.expires > assertion.not_on_or_after + CLOCK_SKEW
        ):
            why = "the Timestamp is outside the web ticket's lifetime"
        if why is not None or ticket is None:
            return refuse_token(f"GetAndPublishCert refused: {why}", about)
        if not message.created - CLOCK_SKEW <= clock < message.expires + CLOCK_SKEW:
            return refuse(
                "InvalidSecurity",
                "The message has expired.",
                "GetAndPublishCert whose Timestamp is not now",
                about,
            )
        if not message.proof.verify(ticket.key):
            return refuse(
                "FailedCheck",
                "The signature was invalid.",
                "GetAndPublishCert without proof of the ticket's key",
                about,
            )
        if message.message_id in ticket.message_ids:
            return refuse_request("GetAndPublishCert refused: its MessageID was used before", about)
        if len(ticket.message_ids) >= MESSAGES_LIMIT:
            return refuse_request("GetAndPublishCert refused: the web ticket is used up", about)
        return ticket

    def _drop_expired(self, clock: int) -> None:
        """Forget the oldest tickets; all live equally long, so they expire in order."""
        while self._tickets:
            oldest = next(iter(self._tickets))
            if self._tickets[oldest].expires + CLOCK_SKEW > clock:
                return
            del self._tickets[oldest]
