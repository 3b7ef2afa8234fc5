"""Sign-in at the web services: trust chain, web ticket, certificate.

    chain        http, anonymous      -> the only thing the phone trusts from now on
    ticket       https, metadata      -> who issues web tickets for the provisioning service,
                                         and where
                 https, number + PIN  -> assertion and proof key, and who the user is
                 or: https, NTLM
    certificate  https, signed        -> a certificate for that user, and for the phone's key

A phone that has a certificate renews it: it trusts the chain it has, and signs its ticket
request with the certificate's key instead of a PIN. What goes wrong before it has the ticket
makes it ask again with the PIN. A phone whose user typed a password on a tethered computer shows
it by NTLM over HTTP wherever others show a PIN. The real ones then take what they trust from the
directory, by LDAP, and download no chain [field]; here all download it.

Discovery gave one URL; where the ports are, the services say themselves. Whatever goes
wrong ends the sign-in with its reason.

Specifications: [MS-OCAUTHWS], WS-Trust 1.3, sign-in reference sections 1 and 4 to 9.
"""

from __future__ import annotations

import random
import re
from collections.abc import Callable

import msgspec

from phonesim.config.device_profile import SignInConfig
from phonesim.device import device_log as log
from phonesim.device.actions import (
    CheckCertificate,
    MakeCertificateRequest,
    PhoneAction,
    SignWithKey,
)
from phonesim.device.device_log import LogRecord
from phonesim.device.events import (
    CertificateChecked,
    CertificateIssued,
    CertificateRequestMade,
    DataSigned,
    Event,
    SignInFailed,
    SignInWanted,
    StageEnded,
    StageEntered,
    WorkAbandoned,
)
from phonesim.device.http_authentication import HttpAuthentication, WindowsCredentials
from phonesim.device.outcome import FailureReason, Stage
from phonesim.device.web_exchange import (
    WebAnswered,
    WebExchange,
    WebFailed,
    describe,
    operation_name,
)
from phonesim.errors import DecodeError
from phonesim.wire.cert_provisioning import (
    GetAndPublishCert,
    GetAndPublishCertResponse,
    GetRootCertChains,
    GetRootCertChainsResponse,
    KeyProof,
)
from phonesim.wire.endpoint import epid_for, sip_instance
from phonesim.wire.http import HttpUrl, WebMessage, parse_url
from phonesim.wire.message_signature import CertificateSignature, certificate_signed_info
from phonesim.wire.soap_envelope import SoapFault
from phonesim.wire.web_services_metadata import (
    CERTIFICATE_PORT,
    METADATA_SUFFIX,
    NEGOTIATE_PORT,
    NTLM_PORT,
    PIN_PORT,
    PROOF_PORT,
    GetMetadata,
    ServiceMetadata,
)
from phonesim.wire.web_ticket import (
    CertificateCredential,
    Credential,
    PinCredential,
    RequestSecurityToken,
    RequestSecurityTokenResponse,
    proof_key,
)

Output = PhoneAction | Event | LogRecord

# What a fault means that gives no PinFailureReason.
_FAULT_REASONS = {
    Stage.CHAIN: FailureReason.CHAIN_UNUSABLE,
    Stage.TICKET: FailureReason.WEB_SERVICES_FAULT,
    Stage.CERTIFICATE: FailureReason.CERTIFICATE_NOT_ISSUED,
}

# PinFailureReason values [documented hh383225].
_PIN_REASONS = {
    "IncorrectPin": FailureReason.PIN_INCORRECT,
    "Unauthorized": FailureReason.USER_UNAUTHORIZED,
    "UserPinAccountLocked": FailureReason.PIN_LOCKED,
    "UserPinAccountDisabled": FailureReason.USER_DISABLED,
    "PinExpired": FailureReason.PIN_EXPIRED,
    "PinNotSet": FailureReason.PIN_NOT_SET,
    "PinNotEnabledForUser": FailureReason.PIN_NOT_ENABLED,
    "PinNotUnique": FailureReason.PIN_NOT_UNIQUE,
    "NonUniqueUser": FailureReason.USER_NOT_UNIQUE,
    "UserDoesNotExist": FailureReason.USER_UNKNOWN,
}

# ErrorIds of faults about who is known, [documented MS-OCER] for SIP [inferred here].
_ERROR_REASONS = {4141: FailureReason.USER_DISABLED}

_SIGNATURE_LIFETIME = 300
"""Seconds for which a signed ticket request is good, the usual span of WS-Security clients."""

_is_sip_uri = re.compile(r"sip:[!#-;=?A-~]+@[!#-;=?A-~]+").fullmatch


class Port(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """A port of a service: where it is, as it is written in the metadata and as it is read."""

    location: str
    url: HttpUrl


class Idle(msgspec.Struct, frozen=True, gc=False):
    """Nothing under way."""


class GettingChain(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """GetRootCertChains is under way."""


class ReadingProvisioning(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """The metadata of the provisioning service are awaited."""


class ReadingIssuer(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """The metadata of the issuer of web tickets for `provisioning` are awaited."""

    provisioning: Port


class MakingSignature(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """Waiting for the key's signature of a ticket request at `port`."""

    provisioning: Port
    port: Port
    created: int
    expires: int


class GettingTicket(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """RequestSecurityToken is under way."""

    provisioning: Port


class MakingKey(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """Waiting for the certificate request of `entity`."""

    provisioning: Port
    ticket: RequestSecurityTokenResponse
    key: bytes
    entity: str


class GettingCertificate(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """GetAndPublishCert is under way, with a ticket that ends at `ticket_expires`, Unix seconds."""

    sip_uri: str
    ticket_id: str
    ticket_expires: int


class CheckingCertificate(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """Waiting for what the world says of a certificate."""

    issued: CertificateIssued


State = (
    Idle
    | GettingChain
    | ReadingProvisioning
    | ReadingIssuer
    | MakingSignature
    | GettingTicket
    | MakingKey
    | GettingCertificate
    | CheckingCertificate
)


class SignIn:
    """Takes `SignInWanted`, gives `CertificateIssued` or `SignInFailed`."""

    def __init__(
        self,
        config: SignInConfig,
        mac: bytes,
        number: str,
        pin: str,
        rng: random.Random,
        believed: Callable[[float], float],
        credentials: WindowsCredentials | None = None,
    ) -> None:
        self._config = config
        self._mac = mac
        self._number = number
        self._pin = pin
        self._credentials = credentials
        self._rng = rng
        self._web = WebExchange(config, believed, self._repeated)
        self._believed = believed
        self._wanted: SignInWanted | None = None
        self._identity: CertificateIssued | None = None
        self._chain = b""
        self.state: State = Idle()

    # --- the contract ---

    def handle(self, event: Event, now: float) -> list[Output]:
        """Take one event; return actions, log records and events for the phone."""
        out = self._handle(event, now)
        if self._wanted is not None and self._wanted.in_background:
            return [each for each in out if not isinstance(each, StageEntered | StageEnded)]
        return out

    def _handle(self, event: Event, now: float) -> list[Output]:
        match event:
            case SignInWanted():
                return self._begin(event, now)
            case WorkAbandoned():
                self._web.abandon()
                self.state = Idle()
                return []
            case CertificateRequestMade():
                return self._request_made(event, now)
            case DataSigned():
                return self._signed(event, now)
            case CertificateChecked():
                return self._checked(event, now)
            case _:
                out: list[Output] = []
                for each in self._web.handle(event, now):
                    match each:
                        case WebAnswered():
                            out += self._answered(each, now)
                        case WebFailed():
                            out += self._fail(each.reason, each.detail, now)
                        case _:
                            out.append(each)
                return out

    def next_deadline(self) -> tuple[float, str] | None:
        """When a request is repeated."""
        return self._web.next_deadline()

    # --- the steps ---

    def _begin(self, event: SignInWanted, now: float) -> list[Output]:
        self._wanted = event
        self._identity = event.identity
        self._web.begin(event.source)
        if event.identity is not None:
            self._chain = event.identity.chain
            return [
                StageEntered(stage=Stage.CHAIN),
                StageEnded(stage=Stage.CHAIN, skipped=True),
                StageEntered(stage=Stage.TICKET),
                log.RENEWAL_STARTED(event.identity.sip_uri),
                *self._read_provisioning(now),
            ]
        self.state = GettingChain()
        services = event.web_services
        url = HttpUrl(
            scheme="http", host=services.host, port=self._config.chain_port, path=services.path
        )
        return [StageEntered(stage=Stage.CHAIN), *self._ask(url, GetRootCertChains(), now)]

    def _answered(self, event: WebAnswered, now: float) -> list[Output]:
        match self.state, event.request, event.response.message:
            case GettingChain(), _, GetRootCertChainsResponse() as answer:
                return self._chain_received(answer, now)
            case ReadingProvisioning(), _, ServiceMetadata() as answer:
                return self._provisioning_described(answer, now)
            case ReadingIssuer() as state, _, ServiceMetadata() as answer:
                return self._issuer_described(state, answer, now)
            case (
                GettingTicket() as state,
                RequestSecurityToken() as request,
                RequestSecurityTokenResponse() as answer,
            ):
                return self._ticket_received(state, request, answer, now)
            case GettingCertificate() as state, _, GetAndPublishCertResponse() as answer:
                return self._certificate_received(state, answer)
            case _:
                return self._refused(event, now)

    def _chain_received(self, response: GetRootCertChainsResponse, now: float) -> list[Output]:
        if not response.chain:
            return self._fail(FailureReason.CHAIN_UNUSABLE, "the chain is empty", now)
        self._chain = response.chain
        return [
            log.CHAIN_RECEIVED(len(response.chain)),
            StageEnded(stage=Stage.CHAIN),
            StageEntered(stage=Stage.TICKET),
            *self._read_provisioning(now),
        ]

    def _read_provisioning(self, now: float) -> list[Output]:
        assert self._wanted is not None
        self.state = ReadingProvisioning()
        services = self._wanted.web_services
        url = HttpUrl(
            scheme=services.scheme, host=services.host, port=services.port, path=services.path
        )
        return self._ask(_metadata_of(url), GetMetadata(), now)

    def _provisioning_described(self, metadata: ServiceMetadata, now: float) -> list[Output]:
        try:
            provisioning = _find_port(metadata, PROOF_PORT)
            issuer = _find_issuer(metadata, PROOF_PORT)
        except DecodeError as error:
            return self._fail(FailureReason.WEB_SERVICES_UNUSABLE, str(error), now)
        self.state = ReadingIssuer(provisioning=provisioning)
        return [
            log.SERVICE_PORT(PROOF_PORT, provisioning.location),
            log.TICKET_ISSUER(str(issuer)),
            *self._ask(_metadata_of(issuer), GetMetadata(), now),
        ]

    def _issuer_described(
        self, state: ReadingIssuer, metadata: ServiceMetadata, now: float
    ) -> list[Output]:
        name = self._ticket_port(metadata)
        try:
            port = _find_port(metadata, name)
        except DecodeError as error:
            return self._fail(FailureReason.WEB_SERVICES_UNUSABLE, str(error), now)
        found = log.SERVICE_PORT(name, port.location)
        if self._identity is None:
            credential = None
            if self._credentials is None:
                credential = PinCredential(number=self._number, pin=self._pin)
            return [found, *self._ask_ticket(state.provisioning, port, credential, now)]
        created = int(self._believed(now))
        expires = created + _SIGNATURE_LIFETIME
        self.state = MakingSignature(
            provisioning=state.provisioning, port=port, created=created, expires=expires
        )
        subject = self._identity.sip_uri.removeprefix("sip:")
        data = certificate_signed_info(created, expires)
        return [found, SignWithKey(subject=subject, data=data)]

    def _ticket_port(self, metadata: ServiceMetadata) -> str:
        """The port that takes what the phone can show."""
        if self._identity is not None:
            return CERTIFICATE_PORT
        if self._credentials is None:
            return PIN_PORT
        if metadata.port(NEGOTIATE_PORT) is None and metadata.port(NTLM_PORT) is not None:
            return NTLM_PORT
        return NEGOTIATE_PORT

    def _signed(self, event: DataSigned, now: float) -> list[Output]:
        state, identity = self.state, self._identity
        if not isinstance(state, MakingSignature) or identity is None:
            return []
        if not event.signature:
            detail = "the key of the certificate is gone"
            return self._fail(FailureReason.CERTIFICATE_NOT_ISSUED, detail, now)
        credential = CertificateCredential(
            created=state.created,
            expires=state.expires,
            signature=CertificateSignature(
                certificate=identity.certificate, signed_info=event.data, value=event.signature
            ),
        )
        return self._ask_ticket(state.provisioning, state.port, credential, now)

    def _ask_ticket(
        self, provisioning: Port, port: Port, credential: Credential | None, now: float
    ) -> list[Output]:
        self.state = GettingTicket(provisioning=provisioning)
        known = self._credentials if self._identity is None else self._identity
        authentication = None
        if credential is None:
            assert self._credentials is not None
            authentication = HttpAuthentication(self._credentials, self._rng, self._believed)
        message = RequestSecurityToken(
            context=self._uuid(),
            applies_to=provisioning.location,
            entropy=self._rng.randbytes(32),
            credential=credential,
            sip_uri=None if known is None else known.sip_uri,
        )
        return self._ask(port.url, message, now, authentication)

    def _ticket_received(
        self,
        state: GettingTicket,
        request: RequestSecurityToken,
        ticket: RequestSecurityTokenResponse,
        now: float,
    ) -> list[Output]:
        if ticket.context != request.context or not _is_sip_uri(ticket.sip_uri or ""):
            detail = "the ticket is not for this request, or names no user"
            return self._fail(FailureReason.MALFORMED_ANSWER, detail, now)
        self._identity = None  # from here on a PIN would not do better
        assert ticket.sip_uri is not None
        entity = ticket.sip_uri.removeprefix("sip:")
        self.state = MakingKey(
            provisioning=state.provisioning,
            ticket=ticket,
            key=proof_key(request.entropy, ticket.entropy),
            entity=entity,
        )
        lifetime = ticket.expires - ticket.created
        return [
            log.TICKET_RECEIVED(ticket.sip_uri, ticket.assertion_id, lifetime),
            StageEnded(stage=Stage.TICKET),
            StageEntered(stage=Stage.CERTIFICATE),
            MakeCertificateRequest(subject=entity),
        ]

    def _request_made(self, event: CertificateRequestMade, now: float) -> list[Output]:
        state = self.state
        if not isinstance(state, MakingKey) or state.entity != event.subject:
            return []
        ticket = state.ticket
        message = GetAndPublishCert(
            to=state.provisioning.location,
            message_id=self._uuid(),
            device_id=sip_instance(epid_for(self._mac, f"sip:{state.entity}")),
            entity=state.entity,
            csr=event.csr,
            request_id=self._uuid(),
            assertion_id=ticket.assertion_id,
            assertion=ticket.assertion,
            created=ticket.created,
            expires=ticket.expires,
            proof=KeyProof(state.key),
        )
        self.state = GettingCertificate(
            sip_uri=f"sip:{state.entity}",
            ticket_id=ticket.assertion_id,
            ticket_expires=ticket.expires,
        )
        return self._ask(state.provisioning.url, message, now)

    def _certificate_received(
        self, state: GettingCertificate, response: GetAndPublishCertResponse
    ) -> list[Output]:
        certificate = response.certificate
        self.state = CheckingCertificate(
            issued=CertificateIssued(
                sip_uri=state.sip_uri,
                certificate=certificate,
                chain=self._chain,
                ticket_id=state.ticket_id,
                ticket_expires=state.ticket_expires,
            )
        )
        return [
            log.CERTIFICATE_RECEIVED(state.sip_uri, len(certificate)),
            CheckCertificate(subject=state.sip_uri.removeprefix("sip:"), certificate=certificate),
        ]

    def _checked(self, event: CertificateChecked, now: float) -> list[Output]:
        state = self.state
        if not isinstance(state, CheckingCertificate):
            return []
        issued = state.issued
        if issued.certificate != event.certificate:
            return []
        if event.problem:
            detail = f"the issued certificate is of no use: {event.problem}"
            return self._fail(FailureReason.CERTIFICATE_UNUSABLE, detail, now)
        self.state = Idle()
        return [StageEnded(stage=Stage.CERTIFICATE), issued]

    # --- failing ---

    def _refused(self, event: WebAnswered, now: float) -> list[Output]:
        response = event.response
        fault = response.message
        stage = self._stage
        detail = f"{operation_name(event.request)}: HTTP {response.status}"
        if isinstance(fault, SoapFault):
            text = fault.error_reason or fault.reason
            told = _ERROR_REASONS.get(fault.error_id, _FAULT_REASONS[stage])
            reason = _PIN_REASONS.get(fault.pin_failure or "", told)
            refused = log.TICKET_REFUSED(fault.pin_failure or fault.code, fault.error_id, text)
            return [refused, *self._fail(reason, f"{detail}: {text}", now)]
        if response.diagnostics is not None:
            detail += f": {response.diagnostics.reason}"
        if response.status == 404:
            return self._fail(FailureReason.WEB_SERVICES_NOT_FOUND, detail, now)
        if response.status >= 500:
            return self._fail(FailureReason.WEB_SERVICES_UNAVAILABLE, detail, now)
        if response.status == 200:
            detail += f" with {describe(fault)}"
            return self._fail(FailureReason.MALFORMED_ANSWER, detail, now)
        return self._fail(FailureReason.WEB_SERVICES_FAULT, detail, now)

    def _fail(self, reason: FailureReason, detail: str, now: float) -> list[Output]:
        if self._identity is not None:
            self._identity = None
            return [log.RENEWAL_REFUSED(reason, detail), *self._read_provisioning(now)]
        stage = self._stage
        self.state = Idle()
        return [SignInFailed(stage=stage, reason=reason, detail=detail)]

    @property
    def _stage(self) -> Stage:
        match self.state:
            case Idle() | GettingChain():
                return Stage.CHAIN
            case ReadingProvisioning() | ReadingIssuer() | MakingSignature() | GettingTicket():
                return Stage.TICKET
            case MakingKey() | GettingCertificate() | CheckingCertificate():
                return Stage.CERTIFICATE

    def _ask(
        self,
        url: HttpUrl,
        message: WebMessage,
        now: float,
        authentication: HttpAuthentication | None = None,
    ) -> list[Output]:
        out: list[Output] = []
        for each in self._web.ask(url, message, self._chain, now, authentication):
            assert not isinstance(each, WebAnswered | WebFailed)
            out.append(each)
        return out

    def _repeated(self, message: WebMessage) -> WebMessage:
        # A message that is sent again is another one (WS-Addressing 1.0 section 3.1): the
        # server, which may have taken the first, takes no MessageID twice.
        if isinstance(message, GetAndPublishCert):
            return msgspec.structs.replace(message, message_id=self._uuid())
        return message

    def _uuid(self) -> str:
        # RFC 9562 section 5.4; five times as fast as uuid.UUID, and five go into a boot.
        bits = self._rng.getrandbits(128) & ~(0xF << 76 | 0x3 << 62) | 0x4 << 76 | 0x2 << 62
        digits = f"{bits:032x}"
        return f"{digits[:8]}-{digits[8:12]}-{digits[12:16]}-{digits[16:20]}-{digits[20:]}"


def _metadata_of(url: HttpUrl) -> HttpUrl:
    return msgspec.structs.replace(url, path=url.path + METADATA_SUFFIX)


def _find_port(metadata: ServiceMetadata, name: str) -> Port:
    port = metadata.port(name)
    if port is None:
        raise DecodeError(f"{metadata.service} has no port {name}")
    return Port(location=port.location, url=_secure_url(port.location, f"port {name}"))


def _find_issuer(metadata: ServiceMetadata, name: str) -> HttpUrl:
    port = metadata.port(name)
    if port is None or port.issuer is None or not port.needs_proof:
        raise DecodeError(f"the policy of port {name} names no issuer of tokens with proof")
    return _secure_url(port.issuer, "the issuer of web tickets")


def _secure_url(text: str, of_what: str) -> HttpUrl:
    try:
        url = parse_url(text)
    except DecodeError as error:
        raise DecodeError(f"{of_what}: {error}") from None
    if url.scheme != "https":
        raise DecodeError(f"{of_what}: {text} is no https URL")
    return url
