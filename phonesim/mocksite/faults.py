"""Faults that act on what passes a server: the server inside never knows.

A rule looks at requests on their way in, and drops them or answers in the server's
place; or it looks at answers on their way out, and alters or holds them back. Rules
act in the order of the profile. Those that change what a server is instead of what
it says (a closed port, another certificate, one more DHCP server) are `site`'s.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from fnmatch import translate
from heapq import heappop, heappush

import msgspec

from phonesim.config.fault import (
    CloseConnections,
    Delay,
    DnsRcode,
    DnsTarget,
    FaultRule,
    HttpStatus,
    IssueForeignCertificate,
    MisdirectInform,
    RefuseCertificate,
    RefuseDhcp,
    SetDhcpOption,
    SetPresenceState,
    SetSipBody,
    ShiftClock,
    Silence,
    SipStatus,
    SpoilChain,
    StripDhcpOptions,
)
from phonesim.mocksite.exchange import (
    DhcpReceived,
    DnsReceived,
    HttpReceived,
    LldpAdvertised,
    NtpReceived,
    Report,
    SendDhcpReply,
    SendDnsResponse,
    SendHttpResponse,
    SendNtpReply,
    SendSipToClient,
    Server,
    ServerAction,
    ServerEvent,
    SipReceived,
)
from phonesim.wire.cert_provisioning import (
    GetAndPublishCertResponse,
    GetRootCertChainsResponse,
)
from phonesim.wire.dhcp import (
    BROADCAST,
    UNSPECIFIED,
    DhcpMessage,
    MessageType,
    Option,
)
from phonesim.wire.dns import DnsRecord, DnsResponse, SrvData
from phonesim.wire.http import HttpResponse, WebAnswer
from phonesim.wire.ntp import NtpPacket
from phonesim.wire.sip import Contact, SipMessage, SipRequest, SipResponse, response_to
from phonesim.wire.soap_envelope import SoapFault

RequestRule = Silence | DnsRcode | HttpStatus | SipStatus
ReplyRule = (
    StripDhcpOptions
    | SetDhcpOption
    | RefuseDhcp
    | MisdirectInform
    | ShiftClock
    | DnsTarget
    | SetPresenceState
    | SetSipBody
    | SpoilChain
    | CloseConnections
    | IssueForeignCertificate
    | RefuseCertificate
)
InjectedRule = RequestRule | ReplyRule | Delay


SignAnswer = Callable[[int, SipResponse], SipResponse]
"""Signs a response as the server does over the connection of that number."""


def is_injected(rule: FaultRule) -> bool:
    """Whether `FaultInjector` carries the rule out."""
    return isinstance(rule, InjectedRule)


class FaultInjector:
    """A server that `rules` act on; rules of other kinds than `InjectedRule` are left out.

    `sign` makes a SIP response one that the server itself could have sent. `chains` are those
    that `SpoilChain` names, `foreign` is what `IssueForeignCertificate` issues.
    """

    def __init__(
        self,
        server: Server,
        rules: Sequence[FaultRule],
        sign: SignAnswer | None = None,
        chains: Mapping[str, bytes] | None = None,
        foreign: bytes = b"",
    ) -> None:
        self._server = server
        self._sign = sign
        self._on_requests = [_OnRequest(rule) for rule in rules if isinstance(rule, RequestRule)]
        self._delays = [_OnRequest(rule) for rule in rules if isinstance(rule, Delay)]
        self._on_replies = [
            _OnReply(rule, chains or {}, foreign) for rule in rules if isinstance(rule, ReplyRule)
        ]
        self._held: list[tuple[float, int, ServerAction]] = []
        self._held_count = 0

    def handle(self, event: ServerEvent, now: float) -> list[ServerAction]:
        """Take one event; return what to do about it, and what was held back until now."""
        actions = self._release(now)
        request = _describe(event)
        if request is None:
            actions += self._server.handle(event, now)
            return actions
        protocol, text = request
        answers: list[ServerAction] | None = None
        for fault in self._on_requests:
            if fault.acts(protocol, text, now):
                answers = [*map(self._signed, fault.answer(event)), fault.report(text)]
                break
        delay = sum(fault.seconds for fault in self._delays if fault.acts(protocol, text, now))
        if answers is None:
            answers = self._server.handle(event, now)
        for answer in answers:
            if isinstance(answer, Report):
                actions.append(answer)
                continue
            altered = answer
            for reply_fault in self._on_replies:
                altered = reply_fault.alter(altered, now)
            if delay:
                self._held_count += 1
                heappush(self._held, (now + delay, self._held_count, altered))
            else:
                actions.append(altered)
        return actions

    def next_deadline(self) -> tuple[float, str] | None:
        """Return the server's deadline, or that of the first answer held back if it is sooner."""
        deadline = self._server.next_deadline()
        if self._held and (deadline is None or self._held[0][0] < deadline[0]):
            return self._held[0][0], "answer held back by a fault"
        return deadline

    def _signed(self, answer: ServerAction) -> ServerAction:
        if (
            self._sign is None
            or not isinstance(answer, SendSipToClient)
            or not isinstance(answer.message, SipResponse)
        ):
            return answer
        return SendSipToClient(
            connection_id=answer.connection_id,
            message=self._sign(answer.connection_id, answer.message),
        )

    def _release(self, now: float) -> list[ServerAction]:
        due: list[ServerAction] = []
        while self._held and self._held[0][0] <= now:
            due.append(heappop(self._held)[2])
        return due


class _OnRequest:
    """A rule that counts the requests it applies to and acts on every nth of them."""

    def __init__(self, rule: RequestRule | Delay) -> None:
        self._rule = rule
        self._every_nth = rule.every_nth
        self._count = 0
        self.seconds = rule.seconds if isinstance(rule, Delay) else 0.0
        self._begins_at, self._ends_at = rule.begins_at, rule.ends_at
        match rule:
            case Silence() | Delay():
                self._protocols: tuple[str, ...] = (rule.protocol,)
                pattern = rule.match
            case DnsRcode():
                self._protocols = ("dns",)
                pattern = rule.match
            case HttpStatus():
                self._protocols = ("http", "https")
                pattern = rule.match
            case SipStatus():
                self._protocols = ("sip",)
                pattern = rule.match
        self._pattern = _compiled(pattern)

    def acts(self, protocol: str, text: str, now: float) -> bool:
        if protocol not in self._protocols or not self._begins_at <= now < self._ends_at:
            return False
        if self._pattern is not None and self._pattern.match(text) is None:
            return False
        self._count += 1
        return self._count % self._every_nth == 0

    def answer(self, event: ServerEvent) -> list[ServerAction]:
        """What is sent in the server's place."""
        match self._rule, event:
            case DnsRcode() as rule, DnsReceived():
                response = DnsResponse(
                    id=event.query.id,
                    qname=event.query.qname,
                    qtype=event.query.qtype,
                    rcode=rule.rcode,
                    authoritative=rule.rcode in ("NOERROR", "NXDOMAIN"),
                )
                return [
                    SendDnsResponse(response=response, client=event.client, over_tcp=event.over_tcp)
                ]
            case HttpStatus() as rule, HttpReceived():
                return [
                    SendHttpResponse(
                        exchange_id=event.exchange_id,
                        response=HttpResponse(status=rule.status, retry_after=rule.retry_after),
                    )
                ]
            case SipStatus() as rule, SipReceived(message=SipRequest() as request):
                headers = [("ms-diagnostics", rule.diagnostics)] if rule.diagnostics else []
                if rule.retry_after is not None:
                    headers.append(("Retry-After", str(rule.retry_after)))
                return [
                    SendSipToClient(
                        connection_id=event.connection_id,
                        message=response_to(
                            request,
                            rule.status,
                            rule.reason,
                            to_tag=f"{self._count:032X}",
                            contacts=() if rule.contact is None else (Contact(uri=rule.contact),),
                            headers=tuple(headers),
                        ),
                    )
                ]
            case _:
                return []

    def report(self, text: str) -> Report:
        return Report(
            text=f"fault {self._rule.kind}", fields=(("request", text),), is_warning=False
        )


class _OnReply:
    """A rule that counts the answers it applies to and alters every nth of them."""

    def __init__(self, rule: ReplyRule, chains: Mapping[str, bytes], foreign: bytes) -> None:
        self._rule = rule
        self._chains = chains
        self._foreign = foreign
        self._begins_at, self._ends_at = rule.begins_at, rule.ends_at
        self._every_nth = rule.every_nth
        self._count = 0
        self._pattern = _compiled(rule.match) if isinstance(rule, DnsTarget) else None

    def alter(self, action: ServerAction, now: float) -> ServerAction:
        if not self._begins_at <= now < self._ends_at:
            return action
        altered = self._altered(action)
        if altered is None:
            return action
        self._count += 1
        return action if self._count % self._every_nth else altered

    def _altered(self, action: ServerAction) -> ServerAction | None:
        """What the rule makes of an answer; None if it does not apply."""
        match self._rule, action:
            case StripDhcpOptions(options=stripped), SendDhcpReply(message=message):
                left = {
                    code: value for code, value in message.options.items() if code not in stripped
                }
                return _with_options(action, left) if len(left) < len(message.options) else None
            case SetDhcpOption(option=option, value=value), SendDhcpReply(message=message):
                if option not in message.options:
                    return None
                return _with_options(action, {**message.options, option: bytes.fromhex(value)})
            case RefuseDhcp() as rule, SendDhcpReply(message=message):
                is_refused = _answered(message) == rule.request
                return _with_nak(action, rule.message) if is_refused else None
            case MisdirectInform() as rule, SendDhcpReply(message=message):
                if _answered(message) != "inform":
                    return None
                destination = action.destination if rule.address is None else str(rule.address)
                port = action.port if rule.port is None else rule.port
                return msgspec.structs.replace(action, destination=destination, port=port)
            case ShiftClock(seconds=seconds), SendNtpReply(packet=packet):
                return msgspec.structs.replace(action, packet=_shifted(packet, seconds))
            case DnsTarget(target_name=target), SendDnsResponse(response=response):
                if self._pattern is not None and self._pattern.match(response.qname) is None:
                    return None
                answers = tuple(_redirected(record, target) for record in response.answers)
                if answers == response.answers:
                    return None
                altered = msgspec.structs.replace(response, answers=answers)
                return msgspec.structs.replace(action, response=altered)
            case SetPresenceState() as rule, SendSipToClient(message=SipResponse() as answer):
                return _with_sip(action, _with_presence(answer, rule))
            case SetSipBody(body=body), SendSipToClient(message=message) if message.body:
                return _with_sip(action, msgspec.structs.replace(message, body=body.encode()))
            case (
                SpoilChain(chain=spoilt),
                SendHttpResponse(response=HttpResponse(message=GetRootCertChainsResponse())),
            ):
                spoiled = GetRootCertChainsResponse(chain=self._chains[spoilt])
                return _with_web(action, spoiled)
            case CloseConnections(), SendHttpResponse(response=response):
                last = msgspec.structs.replace(response, closes=True)
                return msgspec.structs.replace(action, response=last)
            case (
                IssueForeignCertificate(),
                SendHttpResponse(response=HttpResponse(message=GetAndPublishCertResponse() as own)),
            ):
                return _with_web(action, msgspec.structs.replace(own, certificate=self._foreign))
            case (
                RefuseCertificate() as rule,
                SendHttpResponse(response=HttpResponse(message=GetAndPublishCertResponse())),
            ):
                return msgspec.structs.replace(action, response=_fault(rule))
            case _:
                return None


def _answered(message: DhcpMessage) -> str:
    """What a reply is the ACK of; "" if it is none. That of an INFORM gives no address."""
    if message.message_type is not MessageType.ACK:
        return ""
    return "inform" if message.yiaddr == UNSPECIFIED else "request"


def _with_nak(action: SendDhcpReply, text: str) -> SendDhcpReply:
    """The reply as a NAK, which RFC 2131 table 3 broadcasts where there is no relay agent."""
    message = action.message
    kept = (Option.SERVER_IDENTIFIER, Option.RELAY_AGENT_INFORMATION)
    refused = msgspec.structs.replace(
        message,
        message_type=MessageType.NAK,
        ciaddr=UNSPECIFIED,
        yiaddr=UNSPECIFIED,
        options={
            Option.DHCP_MESSAGE_TYPE: bytes((MessageType.NAK,)),
            Option.MESSAGE: text.encode(),
            **{code: message.options[code] for code in kept if code in message.options},
        },
    )
    is_relayed = message.giaddr != UNSPECIFIED
    destination = action.destination if is_relayed else BROADCAST
    return msgspec.structs.replace(action, message=refused, destination=destination)


def _shifted(packet: NtpPacket, seconds: int) -> NtpPacket:
    shift = seconds << 32
    moved = {
        field: (getattr(packet, field) + shift) & 0xFFFFFFFFFFFFFFFF
        for field in ("reference", "receive", "transmit")
    }
    return msgspec.structs.replace(packet, **moved)


def _fault(rule: RefuseCertificate) -> HttpResponse:
    fault = SoapFault(
        code="RequestFailed",
        reason=rule.reason,
        error_id=rule.error_id,
        error_reason=rule.reason if rule.error_id else "",
    )
    return HttpResponse(status=500, message=fault)


def _with_presence(answer: SipResponse, rule: SetPresenceState) -> SipResponse | None:
    """A 200 with another presence-state; None if it has none."""
    headers = []
    for name, value in answer.headers:
        if name.lower() == "presence-state":
            action, *others = value.split(";")
            if rule.register_action is not None:
                action = f'register-action="{rule.register_action}"'
            if rule.user_services is not None:
                others.append(f"user-services-state={rule.user_services}")
            headers.append((name, ";".join((action, *others))))
        else:
            headers.append((name, value))
    altered = tuple(headers)
    if altered == answer.headers:
        return None
    return msgspec.structs.replace(answer, headers=altered)


def _with_web(action: SendHttpResponse, message: WebAnswer) -> SendHttpResponse:
    response = msgspec.structs.replace(action.response, message=message)
    return msgspec.structs.replace(action, response=response)


def _with_sip(action: SendSipToClient, message: SipMessage | None) -> SendSipToClient | None:
    return None if message is None else msgspec.structs.replace(action, message=message)


def _describe(event: ServerEvent) -> tuple[str, str] | None:
    """The protocol of a request, and what patterns are matched against; None for others."""
    match event:
        case DhcpReceived():
            return "dhcp", event.message.message_type.name.lower()
        case DnsReceived():
            return "dns", event.query.qname
        case HttpReceived():
            return event.request.scheme, event.request.path.lower()
        case SipReceived(message=SipRequest() as request):
            return "sip", request.method.lower()
        case NtpReceived():
            return "ntp", event.client
        case LldpAdvertised():
            return "lldp", event.port
        case _:
            return None


def _compiled(pattern: str) -> re.Pattern[str] | None:
    """A shell pattern that ignores case; None for one that everything matches."""
    return None if pattern == "*" else re.compile(translate(pattern.lower()))


def _with_options(action: SendDhcpReply, options: dict[int, bytes]) -> SendDhcpReply:
    return msgspec.structs.replace(
        action, message=msgspec.structs.replace(action.message, options=options)
    )


def _redirected(record: DnsRecord, target: str) -> DnsRecord:
    if not isinstance(record.data, SrvData):
        return record
    data = msgspec.structs.replace(record.data, target=target.rstrip(".").lower())
    return msgspec.structs.replace(record, data=data)
