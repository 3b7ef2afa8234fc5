"""The certificate provisioning and web ticket services of one pool.

Three exchanges lead a phone to its certificate; where it finds them, the metadata of the
services say. GetRootCertChains is anonymous and the only one that plain HTTP may carry. A
RequestSecurityToken with number and PIN, signed with the key of an earlier certificate, or from
whom HTTP has authenticated, is answered with a web ticket. GetAndPublishCert shows the ticket,
proves to hold its key, and is answered with a certificate for the ticket's user, which is
published to the site's Registrars.

A fault with an ErrorId says it in the header X-Ms-diagnostics, too.

Specifications: [MS-OCAUTHWS]; sign-in reference sections 4 to 9.
"""

from __future__ import annotations

import random
from types import NoneType

from phonesim.config.site_profile import WebServicesConfig
from phonesim.errors import DecodeError
from phonesim.mocksite.certificate_authentication import CertificateAuthentication
from phonesim.mocksite.exchange import (
    CertificateAuthority,
    HttpReceived,
    MalformedArrived,
    Report,
    SendHttpResponse,
    ServerAction,
    ServerEvent,
)
from phonesim.mocksite.pin_authentication import PinAuthentication
from phonesim.mocksite.refusal import (
    Refusal,
    refuse,
    refuse_disabled,
    refuse_pin,
    refuse_request,
    refuse_token,
)
from phonesim.mocksite.users import User, UserDirectory
from phonesim.mocksite.web_tickets import WebTickets
from phonesim.mocksite.windows_authentication import Unauthorized, WindowsAuthentication
from phonesim.wire.cert_provisioning import (
    GetAndPublishCert,
    GetAndPublishCertResponse,
    GetRootCertChains,
    GetRootCertChainsResponse,
)
from phonesim.wire.http import (
    HttpRequest,
    HttpResponse,
    WebAnswer,
    WebDiagnostics,
    WebMessage,
)
from phonesim.wire.http_token import NEGOTIATE, NTLM
from phonesim.wire.web_services_metadata import (
    ANONYMOUS_PORT,
    CERTIFICATE_PORT,
    METADATA_SUFFIX,
    NEGOTIATE_PORT,
    NTLM_PORT,
    PIN_PORT,
    PROOF_PORT,
    GetMetadata,
    ServiceMetadata,
    ServicePort,
)
from phonesim.wire.web_ticket import (
    CertificateCredential,
    Credential,
    PinCredential,
    RequestSecurityToken,
    RequestSecurityTokenResponse,
)


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
        self._epoch = epoch
        self._fqdn = config.fqdn
        self._certificate_lifetime = config.certificate_validity_hours * 3600
        self._error_ids = config.error_ids
        proof_path = config.cert_prov_rel_path + config.proof_suffix
        self._provisioning_urls = frozenset(
            f"https://{name}{port}{proof_path}".lower()
            for name in (config.fqdn, *config.certificate_names)
            for port in (f":{config.https_port}", *([""] if config.https_port == 443 else []))
        )
        self._pins = PinAuthentication(users)
        self._certificates = CertificateAuthentication(users, authority)
        self._tickets = WebTickets(
            config.fqdn, self._provisioning_urls, config.ticket_lifetime, authority, rng
        )
        provisioning, tickets = _describe_services(config)
        self._metadata = {
            (config.cert_prov_rel_path + METADATA_SUFFIX).lower(): provisioning,
            (config.web_ticket_path + METADATA_SUFFIX).lower(): tickets,
        }
        self._services: dict[str, type[WebMessage]] = {
            config.cert_prov_rel_path.lower(): GetRootCertChains,
            proof_path.lower(): GetAndPublishCert,
        }
        self._credentials: dict[str, type[Credential] | None] = {}
        for suffix, credential in _ticket_ports(config).values():
            path = (config.web_ticket_path + suffix).lower()
            self._services[path] = RequestSecurityToken
            self._credentials[path] = credential
        schemes = (NTLM,) if config.use_windows_auth == "ntlm" else (NEGOTIATE, NTLM)
        self._windows = WindowsAuthentication(users, schemes, config.fqdn, rng, epoch)

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
        user = None
        if path in self._credentials and self._credentials[path] is None:
            came_of_it = self._windows.authenticate(
                (event.peer, event.peer_port), request.authorization, now
            )
            if isinstance(came_of_it, Unauthorized):
                return _unauthorized(event, came_of_it)
            user = came_of_it
        outcome: WebAnswer | Refusal
        match message:
            case None:
                return _plain(event, 400, "a POST without a body")
            case GetMetadata():
                if metadata is None:
                    return _plain(event, 405, "there are no metadata here")
                outcome = metadata
            case _ if taken is None or not isinstance(message, taken):
                outcome = _unexpected(request)
            case GetRootCertChains():
                outcome = GetRootCertChainsResponse(chain=self._authority.chain())
            case RequestSecurityToken():
                outcome = self._issue_ticket(message, path, user, now)
            case GetAndPublishCert():
                outcome = self._issue_certificate(message, now)
        if isinstance(outcome, Refusal):
            return [
                SendHttpResponse(
                    exchange_id=event.exchange_id, response=self._fault_response(outcome)
                ),
                Report(text=outcome.why, fields=(("peer", event.peer), *outcome.fields)),
            ]
        return [
            SendHttpResponse(
                exchange_id=event.exchange_id,
                response=HttpResponse(status=200, message=outcome),
            )
        ]

    def _fault_response(self, refusal: Refusal) -> HttpResponse:
        fault = refusal.fault
        diagnostics = None
        if fault.error_id:
            diagnostics = WebDiagnostics(
                error_id=fault.error_id,
                source=self._fqdn,
                reason=fault.error_reason,
                faultcode=f"wsse:{fault.code}",
            )
        return HttpResponse(status=500, message=fault, diagnostics=diagnostics)

    def _issue_ticket(
        self, message: RequestSecurityToken, path: str, by_http: User | None, now: float
    ) -> RequestSecurityTokenResponse | Refusal:
        refusal = self._tickets.check_request(message)
        if refusal is not None:
            return refusal
        clock = int(self._epoch + now)
        credential = message.credential
        if not isinstance(credential, self._credentials[path] or NoneType):
            return refuse_token("no web ticket: another port takes such credentials")
        user: User | Refusal
        match credential:
            case PinCredential():
                user = self._authenticate_pin(credential, now)
            case CertificateCredential():
                user = self._certificates.authenticate(credential, clock)
            case None:
                assert by_http is not None
                user = by_http if by_http.is_enabled else refuse_disabled(by_http.sip_uri)
        if isinstance(user, Refusal):
            return user
        if message.sip_uri is not None and message.sip_uri.lower() != user.sip_uri:
            return refuse(
                "RequestFailed",
                "The SIP URI in the claim type requirements of the web ticket request does not"
                " match the SIP URI associated with the presented credentials.",
                "no web ticket: another SIP URI is claimed",
                ("user", user.sip_uri),
                ("claimed", message.sip_uri),
            )
        return self._tickets.issue(message, user, clock)

    def _authenticate_pin(self, credential: PinCredential, now: float) -> User | Refusal:
        user = self._pins.authenticate(credential, now)
        if isinstance(user, str):
            return refuse_pin(user, credential.number, self._error_ids)
        return user

    def _issue_certificate(
        self, message: GetAndPublishCert, now: float
    ) -> GetAndPublishCertResponse | Refusal:
        clock = int(self._epoch + now)
        about = ("entity", message.entity)
        ticket = self._tickets.check(message, clock)
        if isinstance(ticket, Refusal):
            return ticket
        user = ticket.user
        entity = user.address
        if message.to.lower() not in self._provisioning_urls:
            return _refuse_certificate("it is addressed to another server", about)
        if message.entity.lower() != entity:
            return _refuse_certificate(f"the web ticket is {entity}'s", about)
        try:
            subject = self._authority.request_subject(message.csr)
        except DecodeError as error:
            return _refuse_certificate(f"its PKCS#10 is unusable: {error}", about)
        if subject.lower() != entity:
            return _refuse_certificate(f"its PKCS#10 is for {subject!r}", about)
        ticket.message_ids = (*ticket.message_ids, message.message_id)
        certificate = self._authority.issue(message.csr, clock, clock + self._certificate_lifetime)
        self._users.publish(user, message.device_id, certificate)
        return GetAndPublishCertResponse(
            certificate=certificate, device_id=message.device_id, entity=message.entity
        )


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
        ports=tuple(
            ServicePort(name=port, location=secure + config.web_ticket_path + suffix)
            for port, (suffix, _) in _ticket_ports(config).items()
        ),
    )
    return provisioning, tickets


def _ticket_ports(config: WebServicesConfig) -> dict[str, tuple[str, type[Credential] | None]]:
    """Where each port of web tickets is, and which credential it takes; None: HTTP's."""
    ports: dict[str, tuple[str, type[Credential] | None]] = {}
    if config.use_pin_auth:
        ports[PIN_PORT] = config.pin_suffix, PinCredential
    if config.use_certificate_auth:
        ports[CERTIFICATE_PORT] = config.certificate_suffix, CertificateCredential
    match config.use_windows_auth:
        case "negotiate":
            ports[NEGOTIATE_PORT] = config.windows_suffix, None
        case "ntlm":
            ports[NTLM_PORT] = config.windows_suffix, None
        case "none":
            pass
    return ports


def _refuse_certificate(why: str, about: tuple[str, str]) -> Refusal:
    return refuse_request(f"GetAndPublishCert refused: {why}", about)


def _unexpected(request: HttpRequest) -> Refusal:
    return refuse(
        "Client",
        "The service does not know this action.",
        "a message that the service does not know",
        ("path", request.path),
        ("message", type(request.message).__name__),
    )


def _unauthorized(event: HttpReceived, unauthorized: Unauthorized) -> list[ServerAction]:
    response = HttpResponse(status=401, challenges=unauthorized.challenges)
    answer = SendHttpResponse(exchange_id=event.exchange_id, response=response)
    if not unauthorized.why:
        return [answer]
    fields = (("peer", event.peer), ("url", event.request.url))
    return [answer, Report(text=f"HTTP 401: {unauthorized.why}", fields=fields)]


def _plain(event: HttpReceived, status: int, why: str) -> list[ServerAction]:
    return [
        SendHttpResponse(exchange_id=event.exchange_id, response=HttpResponse(status=status)),
        Report(
            text=f"HTTP {status}: {why}",
            fields=(("peer", event.peer), ("url", event.request.url)),
        ),
    ]
