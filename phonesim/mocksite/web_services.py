"""The certificate provisioning and web ticket services of one pool.

Three exchanges lead a phone to its certificate; where it finds them, the metadata of the
services say. GetRootCertChains is anonymous and the only one that plain HTTP may carry. A
RequestSecurityToken with number and
PIN is answered with a web ticket: an assertion that names its user, and entropy
that together with the client's makes a proof key which never crosses the network.
GetAndPublishCert shows the ticket, proves to hold that key, and is answered with a
certificate for the ticket's user, which is published to the site's Registrars.

Wrong PINs are counted: `maximum_pin_attempts` of them within half an hour lock a
user for an hour, right PIN or not.

Specifications: [MS-OCAUTHWS]; sign-in reference sections 4 to 9; device reference
section 11 (PIN policy of Set-CsPinPolicy, PinFailureReason).
"""

from __future__ import annotations

import hashlib
import random

import msgspec

from phonesim.config.site_profile import WebServicesConfig
from phonesim.errors import DecodeError
from phonesim.mocksite.exchange import (
    CertificateAuthority,
    HttpReceived,
    MalformedArrived,
    Report,
    SendHttpResponse,
    ServerAction,
    ServerEvent,
)
from phonesim.mocksite.users import User, UserDirectory
from phonesim.wire.cert_provisioning import (
    GetAndPublishCert,
    GetAndPublishCertResponse,
    GetRootCertChains,
    GetRootCertChainsResponse,
)
from phonesim.wire.http import HttpRequest, HttpResponse, WebAnswer, WebMessage
from phonesim.wire.soap_envelope import SoapFault
from phonesim.wire.web_services_metadata import (
    ANONYMOUS_PORT,
    METADATA_SUFFIX,
    PIN_PORT,
    PROOF_PORT,
    GetMetadata,
    ServiceMetadata,
    ServicePort,
)
from phonesim.wire.web_ticket import (
    RequestSecurityToken,
    RequestSecurityTokenResponse,
    proof_key,
    saml_assertion,
)

ATTEMPT_WINDOW = 1800.0
"""Seconds during which wrong PINs add up [documented Set-CsPinPolicy]."""
LOCKOUT_TIME = 3600.0
"""Seconds for which a user is locked [documented Set-CsPinPolicy]."""
CLOCK_SKEW = 300
"""Seconds by which a peer's clock may differ, the usual limit of WS-Security servers."""
ENTROPY_SIZE = 32
"""Octets of either side's entropy [source]."""
NO_SECURITY_TOKEN = 28020
"""ErrorId of "No valid security token." [capture]."""

_PIN_REASONS = {
    "UserDoesNotExist": "No user has this phone number or extension.",
    "UserPinAccountDisabled": "The user is disabled.",
    "UserPinAccountLocked": "The user is locked.",
    "PinNotEnabledForUser": "The user may not sign in with a PIN.",
    "PinNotSet": "The user has no PIN.",
    "PinNotUnique": "More than one user has this number and PIN.",
    "PinExpired": "The PIN has expired.",
    "IncorrectPin": "The PIN is not correct.",
}


class _Ticket(msgspec.Struct, gc=False):
    """An issued web ticket. Times are Unix seconds, `digest` the assertion's SHA-256."""

    user: User
    digest: bytes
    client_entropy: bytes
    server_entropy: bytes
    created: int
    expires: int
    message_ids: tuple[str, ...] = ()


class _Attempts(msgspec.Struct):
    """Wrong PINs of one user: when each was tried, and until when the user is locked."""

    tried_at: list[float]
    locked_until: float = 0


class WebServices:
    """The services. `epoch` is the Unix time at monotonic zero, `rng` makes ids and entropy."""

    def __init__(
        self,
        config: WebServicesConfig,
        users: UserDirectory,
        authority: CertificateAuthority,
        rng: random.Random,
        epoch: float,
    ) -> None:
        self._users = users
        self._authority = authority
        self._rng = rng
        self._epoch = epoch
        self._issuer = config.fqdn
        self._ticket_lifetime = config.ticket_lifetime
        self._certificate_lifetime = config.certificate_validity_hours * 3600
        self._maximum_pin_attempts = config.maximum_pin_attempts
        self._error_ids = config.error_ids
        proof_path = config.cert_prov_rel_path + config.proof_suffix
        self._provisioning_urls = frozenset(
            f"https://{name}{port}{proof_path}".lower()
            for name in (config.fqdn, *config.certificate_names)
            for port in (f":{config.https_port}", *([""] if config.https_port == 443 else []))
        )
        provisioning, tickets = _describe_services(config)
        self._metadata = {
            (config.cert_prov_rel_path + METADATA_SUFFIX).lower(): provisioning,
            (config.web_ticket_path + METADATA_SUFFIX).lower(): tickets,
        }
        self._services: dict[str, tuple[type[WebMessage], ...]] = {
            config.cert_prov_rel_path.lower(): (GetRootCertChains,),
            proof_path.lower(): (GetAndPublishCert,),
            (config.web_ticket_path + config.pin_suffix).lower(): (RequestSecurityToken,),
        }
        self._tickets: dict[str, _Ticket] = {}
        self._attempts: dict[str, _Attempts] = {}

    def handle(self, event: ServerEvent, now: float) -> list[ServerAction]:
        """Take one event; return what to do about it."""
        if isinstance(event, HttpReceived):
            return self._answer(event, now)
        if isinstance(event, MalformedArrived):
            return [
                Report(
                    text="malformed HTTP request",
                    fields=(("source", event.source), ("reason", event.reason)),
                )
            ]
        return []

    def next_deadline(self) -> tuple[float, str] | None:
        """Return None: tickets and lockouts end when somebody asks for them."""
        return None

    def _answer(self, event: HttpReceived, now: float) -> list[ServerAction]:
        request = event.request
        message, path = request.message, request.path.lower()
        taken = self._services.get(path)
        metadata = self._metadata.get(path)
        if taken is None and metadata is None:
            return _plain(event, 404, "no service has this path")
        if request.scheme != "https" and not isinstance(message, GetRootCertChains):
            return _plain(event, 403, "only GetRootCertChains may come over plain HTTP")
        outcome: WebAnswer | _Refusal
        match message:
            case GetMetadata():
                if metadata is None:
                    return _plain(event, 405, "there are no metadata here")
                outcome = metadata
            case _ if taken is None or not isinstance(message, taken):
                outcome = _unexpected(request)
            case GetRootCertChains():
                outcome = GetRootCertChainsResponse(chain=self._authority.chain())
            case RequestSecurityToken():
                outcome = self._issue_ticket(message, now)
            case GetAndPublishCert():
                outcome = self._issue_certificate(message, now)
        if isinstance(outcome, _Refusal):
            return [
                SendHttpResponse(
                    exchange_id=event.exchange_id,
                    response=HttpResponse(status=500, message=outcome.fault),
                ),
                Report(text=outcome.why, fields=(("peer", event.peer), *outcome.fields)),
            ]
        return [
            SendHttpResponse(
                exchange_id=event.exchange_id,
                response=HttpResponse(status=200, message=outcome),
            )
        ]

    def _issue_ticket(
        self, message: RequestSecurityToken, now: float
    ) -> RequestSecurityTokenResponse | _Refusal:
        if message.applies_to.lower() not in self._provisioning_urls:
            return _refuse(
                "InvalidRequest",
                "The specified request failed.",
                "RequestSecurityToken for a service of another server",
                ("applies_to", message.applies_to),
            )
        if len(message.entropy) != ENTROPY_SIZE:
            return _refuse(
                "InvalidRequest",
                "The specified request failed.",
                f"RequestSecurityToken whose entropy is not {ENTROPY_SIZE} octets",
            )
        user = self._authenticate(message, now)
        if isinstance(user, _Refusal):
            return user
        rng = self._rng
        created = int(self._epoch + now)
        expires = created + self._ticket_lifetime
        assertion_id = f"SamlSecurityToken-{rng.getrandbits(128):032x}"
        assertion = saml_assertion(
            assertion_id, self._issuer, user.sip_uri, message.applies_to, created, expires
        )
        entropy = rng.randbytes(ENTROPY_SIZE)
        self._drop_expired_tickets(created)
        self._tickets[assertion_id] = _Ticket(
            user=user,
            digest=hashlib.sha256(assertion).digest(),
            client_entropy=message.entropy,
            server_entropy=entropy,
            created=created,
            expires=expires,
        )
        return RequestSecurityTokenResponse(
            context=message.context,
            assertion_id=assertion_id,
            assertion=assertion,
            created=created,
            expires=expires,
            entropy=entropy,
            sip_uri=user.sip_uri,
        )

    def _authenticate(self, message: RequestSecurityToken, now: float) -> User | _Refusal:
        """The user with this number and PIN, as the PIN policy allows."""
        number, pin = message.credential.number, message.credential.pin
        candidates = self._users.by_number(number)
        if not candidates:
            return self._pin_failure("UserDoesNotExist", number)
        if len(candidates) > 1:
            matching = [user for user in candidates if user.pin == pin]
            if len(matching) > 1:
                return self._pin_failure("PinNotUnique", number)
            if not matching:
                for user in candidates:
                    self._count_attempt(user, now)
                return self._pin_failure("IncorrectPin", number)
            candidates = (matching[0],)
        user = candidates[0]
        if not user.is_enabled:
            return self._pin_failure("UserPinAccountDisabled", number)
        if user.pin_state == "locked" or self._is_locked(user, now):
            return self._pin_failure("UserPinAccountLocked", number)
        if user.pin_state == "not-enabled":
            return self._pin_failure("PinNotEnabledForUser", number)
        if user.pin_state == "not-set":
            return self._pin_failure("PinNotSet", number)
        if user.pin != pin:
            self._count_attempt(user, now)
            return self._pin_failure("IncorrectPin", number)
        self._attempts.pop(user.sip_uri, None)
        if user.pin_state == "expired":
            return self._pin_failure("PinExpired", number)
        return user

    def _is_locked(self, user: User, now: float) -> bool:
        attempts = self._attempts.get(user.sip_uri)
        return attempts is not None and now < attempts.locked_until

    def _count_attempt(self, user: User, now: float) -> None:
        attempts = self._attempts.setdefault(user.sip_uri, _Attempts([]))
        attempts.tried_at = [at for at in attempts.tried_at if at > now - ATTEMPT_WINDOW]
        attempts.tried_at.append(now)
        if len(attempts.tried_at) >= self._maximum_pin_attempts:
            attempts.tried_at = []
            attempts.locked_until = now + LOCKOUT_TIME

    def _pin_failure(self, failure: str, number: str) -> _Refusal:
        reason = _PIN_REASONS[failure]
        error_id = self._error_ids.get(failure, 0)
        fault = SoapFault(
            code="FailedAuthentication",
            reason=reason,
            error_id=error_id,
            error_reason=reason if error_id else "",
            pin_failure=failure,
        )
        return _Refusal(fault, f"no web ticket: {failure}", (("number", number),))

    def _drop_expired_tickets(self, clock: int) -> None:
        """Forget the oldest tickets; all live equally long, so they expire in order."""
        while self._tickets:
            oldest = next(iter(self._tickets))
            if self._tickets[oldest].expires + CLOCK_SKEW > clock:
                return
            del self._tickets[oldest]

    def _issue_certificate(
        self, message: GetAndPublishCert, now: float
    ) -> GetAndPublishCertResponse | _Refusal:
        clock = int(self._epoch + now)
        ticket = self._tickets.get(message.assertion_id)
        if ticket is None:
            return _invalid_token("the assertion was not issued here", message)
        if hashlib.sha256(message.assertion).digest() != ticket.digest:
            return _invalid_token("the assertion was altered", message)
        if clock >= ticket.expires:
            return _invalid_token("the web ticket has expired", message)
        if (
            message.created < ticket.created - CLOCK_SKEW
            or message.expires > ticket.expires + CLOCK_SKEW
        ):
            return _invalid_token("the Timestamp is outside the web ticket's lifetime", message)
        if not message.created - CLOCK_SKEW <= clock < message.expires + CLOCK_SKEW:
            return _refuse(
                "InvalidSecurity",
                "The message has expired.",
                "GetAndPublishCert whose Timestamp is not now",
                ("entity", message.entity),
            )
        if not message.proof.verify(proof_key(ticket.client_entropy, ticket.server_entropy)):
            return _refuse(
                "FailedCheck",
                "The signature was invalid.",
                "GetAndPublishCert without proof of the ticket's key",
                ("entity", message.entity),
            )
        return self._publish(message, ticket, clock)

    def _publish(
        self, message: GetAndPublishCert, ticket: _Ticket, clock: int
    ) -> GetAndPublishCertResponse | _Refusal:
        if message.to.lower() not in self._provisioning_urls:
            return _refused_request("it is addressed to another server", message)
        if message.message_id in ticket.message_ids:
            return _refused_request("its MessageID was used before", message)
        user = ticket.user
        entity = user.address
        if message.entity.lower() != entity:
            return _refused_request(f"the web ticket is {entity}'s", message)
        try:
            subject = self._authority.request_subject(message.csr)
        except DecodeError as error:
            return _refused_request(f"its PKCS#10 is unusable: {error}", message)
        if subject.lower() != entity:
            return _refused_request(f"its PKCS#10 is for {subject!r}", message)
        ticket.message_ids = (*ticket.message_ids, message.message_id)
        certificate = self._authority.issue(message.csr, clock, clock + self._certificate_lifetime)
        self._users.publish(user, message.device_id, certificate)
        return GetAndPublishCertResponse(
            certificate=certificate, device_id=message.device_id, entity=message.entity
        )


class _Refusal(msgspec.Struct, frozen=True):
    """What the client is told, and what the operator is."""

    fault: SoapFault
    why: str
    fields: tuple[tuple[str, str], ...] = ()


def _describe_services(config: WebServicesConfig) -> tuple[ServiceMetadata, ServiceMetadata]:
    """The metadata of certificate provisioning and of web tickets; URLs bear `fqdn` [inferred]."""
    secure = f"https://{config.fqdn}:{config.https_port}"
    anonymous = f"http://{config.fqdn}:{config.http_port}{config.cert_prov_rel_path}"
    provisioning = ServiceMetadata(
        service="CertProvisioningService",
        ports=(
            ServicePort(name=ANONYMOUS_PORT, location=anonymous),
            ServicePort(
                name=PROOF_PORT,
                location=secure + config.cert_prov_rel_path + config.proof_suffix,
                issuer=secure + config.web_ticket_path,
                needs_proof=True,
            ),
        ),
    )
    tickets = ServiceMetadata(
        service="WebTicketService",
        ports=(
            ServicePort(
                name=PIN_PORT, location=secure + config.web_ticket_path + config.pin_suffix
            ),
        ),
    )
    return provisioning, tickets


def _refuse(code: str, reason: str, why: str, *fields: tuple[str, str]) -> _Refusal:
    return _Refusal(SoapFault(code=code, reason=reason), why, fields)


def _invalid_token(why: str, message: GetAndPublishCert) -> _Refusal:
    fault = SoapFault(
        code="InvalidSecurityToken",
        reason="The security token could not be authenticated or authorized.",
        error_id=NO_SECURITY_TOKEN,
        error_reason="No valid security token.",
    )
    return _Refusal(fault, f"GetAndPublishCert refused: {why}", (("entity", message.entity),))


def _refused_request(why: str, message: GetAndPublishCert) -> _Refusal:
    return _refuse(
        "RequestFailed",
        "The specified request failed.",
        f"GetAndPublishCert refused: {why}",
        ("entity", message.entity),
    )


def _unexpected(request: HttpRequest) -> _Refusal:
    return _refuse(
        "Client",
        "The service does not know this action.",
        "a message that the service does not know",
        ("path", request.path),
        ("message", type(request.message).__name__),
    )


def _plain(event: HttpReceived, status: int, why: str) -> list[ServerAction]:
    return [
        SendHttpResponse(exchange_id=event.exchange_id, response=HttpResponse(status=status)),
        Report(
            text=f"HTTP {status}: {why}",
            fields=(("peer", event.peer), ("url", event.request.url)),
        ),
    ]
