"""The subscription to in-band provisioning, on the connection of a registration.

After a new binding the phone asks for the Event `vnd-microsoft-provisioning-v2`. The answer
comes with the 200, or in a NOTIFY or BENOTIFY behind it; a sign-in waits so long. Further NOTIFYs
say what has changed. The subscription is refreshed, and ended when the phone signs out. What is
refused, late or unreadable is missed: the phone goes on with what it knows.

Every message goes through the registration, which owns the connection and signs it.

Specifications: RFC 6665 section 4.1, [MS-SIPREGE], sign-in reference section 17.2. What the body
says is in `phonesim.wire.inband_provisioning`.
"""

from __future__ import annotations

import random
from typing import assert_never

import msgspec

from phonesim.config.device_profile import RegistrationConfig
from phonesim.device import device_log as log
from phonesim.device.device_log import LogRecord
from phonesim.device.events import (
    Event,
    ExchangeEnded,
    ProvisioningLearned,
    ProvisioningMissed,
    ProvisioningWanted,
    RegistrarAddress,
    RegistrationAbandoned,
    ShutdownRequested,
    SipEndpoint,
    SipMessageReceived,
    SipMessageWanted,
    TimerExpired,
    WebServicesAddress,
)
from phonesim.errors import DecodeError
from phonesim.wire.inband_provisioning import (
    CONTENT_TYPE,
    EVENT,
    decode_inband_provisioning,
    encode_provisioning_request,
)
from phonesim.wire.sip import (
    Contact,
    NameAddress,
    SipRequest,
    SipResponse,
    header,
    response_to,
)
from phonesim.wire.sip_server import diagnostics_of

Output = Event | LogRecord

_REFRESH_SHARE = 0.9  # of what was granted, as RFC 6665 leaves it to the subscriber


class Idle(msgspec.Struct, frozen=True, gc=False):
    """Nothing is subscribed to."""


class Asking(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """A SUBSCRIBE, or the NOTIFY that follows its 200, is awaited."""

    cseq: int
    sent_at: float
    timeout_at: float
    granted: int | None = None


class Subscribed(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """The subscription holds until it is refreshed; `refresh_at` is infinite after one query."""

    refresh_at: float


class ProvisioningSubscription:
    """Takes `ProvisioningWanted`; gives `ProvisioningLearned` or `ProvisioningMissed`."""

    def __init__(self, config: RegistrationConfig, user_agent: str, rng: random.Random) -> None:
        self._config = config
        self._user_agent = user_agent
        self._rng = rng
        self._endpoint: SipEndpoint | None = None
        self._call_id = ""
        self._from_tag = ""
        self._to_tag: str | None = None
        self._cseq = 0
        self.state: Idle | Asking | Subscribed = Idle()

    def handle(self, event: Event, now: float) -> list[Output]:
        """Take one event; return log records and events for the phone."""
        match event:
            case SipMessageReceived(message=SipResponse() as response):
                return self._answered(response, now)
            case SipMessageReceived(message=SipRequest() as request):
                return self._notified(request, now)
            case TimerExpired():
                return self._timer_expired(now)
            case ProvisioningWanted():
                self._endpoint = event.endpoint
                self._call_id = f"{self._rng.getrandbits(128):032x}"
                self._from_tag = f"{self._rng.getrandbits(40):010x}"
                self._to_tag = None
                self._cseq = 0
                return self._subscribe(now)
            case RegistrationAbandoned():
                self.state = Idle()
                return []
            case ShutdownRequested() if isinstance(self.state, Subscribed):
                self.state = Idle()
                return self._send_subscribe(0) if self._config.provisioning_expires else []
            case ShutdownRequested():
                self.state = Idle()
                return []
            case _:
                return []

    def next_deadline(self) -> tuple[float, str] | None:
        """When to give the answer up, or to refresh."""
        match self.state:
            case Idle():
                return None
            case Asking(timeout_at=at):
                return at, "give in-band provisioning up"
            case Subscribed(refresh_at=at):
                return at, "refresh the provisioning subscription"
            case _:
                assert_never(self.state)

    def expects(self, call_id: str) -> bool:
        """Whether a message of that dialog is for this machine."""
        return self._endpoint is not None and call_id == self._call_id

    def _subscribe(self, now: float) -> list[Output]:
        out = self._send_subscribe(self._config.provisioning_expires)
        timeout_at = now + self._config.provisioning_timeout
        self.state = Asking(cseq=self._cseq, sent_at=now, timeout_at=timeout_at)
        return out

    def _send_subscribe(self, expires: int) -> list[Output]:
        endpoint = self._endpoint
        assert endpoint is not None
        self._cseq += 1
        branch = f"z9hG4bK{self._rng.getrandbits(64):016x}"
        via = f"SIP/2.0/{endpoint.transport.upper()} {endpoint.local_address}"
        request = SipRequest(
            method="SUBSCRIBE",
            uri=endpoint.sip_uri,
            vias=(f"{via}:{endpoint.local_port};branch={branch}",),
            sender=NameAddress(uri=endpoint.sip_uri, tag=self._from_tag, epid=endpoint.epid),
            recipient=NameAddress(uri=endpoint.sip_uri, tag=self._to_tag),
            call_id=self._call_id,
            cseq=self._cseq,
            contacts=(Contact(uri=endpoint.contact, instance=endpoint.instance),),
            expires=expires,
            headers=(
                ("User-Agent", self._user_agent),
                ("Event", EVENT),
                ("Accept", CONTENT_TYPE),
                ("Supported", "com.microsoft.autoextend"),
                ("Supported", "ms-benotify"),
                ("Proxy-Require", "ms-benotify"),
                ("Supported", "ms-piggyback-first-notify"),
                ("Content-Type", CONTENT_TYPE),
            ),
            body=encode_provisioning_request(self._config.provisioning_groups),
        )
        return [
            log.SUBSCRIBE_SENT(endpoint.registrar, EVENT, self._cseq, expires),
            SipMessageWanted(message=request),
        ]

    def _answered(self, response: SipResponse, now: float) -> list[Output]:
        state = self.state
        if not isinstance(state, Asking) or response.cseq != state.cseq:
            return []
        diagnostics = diagnostics_of(response)
        told = "" if diagnostics is None else diagnostics.text
        out: list[Output] = [
            log.SUBSCRIBE_ANSWER(response.status, response.reason, response.cseq, told)
        ]
        if response.status < 200:
            return out
        out.append(ExchangeEnded(kind="sip_subscribe", sent=1, seconds=now - state.sent_at))
        if response.status >= 300:
            self.state = Idle()
            return [*out, *self._missed(f"{response.status} {response.reason} {told}".rstrip())]
        self._to_tag = response.recipient.tag
        asked = self._config.provisioning_expires
        granted = asked if response.expires is None else min(response.expires, asked)
        if response.body:
            return out + self._read("SUBSCRIBE", response.body, granted, now)
        self.state = msgspec.structs.replace(state, granted=granted)
        return out

    def _notified(self, request: SipRequest, now: float) -> list[Output]:
        out: list[Output] = []
        if request.method == "NOTIFY":
            out.append(SipMessageWanted(message=response_to(request, 200, "OK")))
        state = (header(request, "Subscription-State") or "active").strip().lower()
        is_over = state.startswith("terminated")
        granted = self._config.provisioning_expires
        match self.state:
            case Asking(granted=int() as told):
                granted = told
            case _:
                pass
        if request.body:
            out += self._read(request.method, request.body, granted, now)
        elif isinstance(self.state, Asking):
            out += self._missed(f"an empty {request.method}")
            self.state = Idle()
        if is_over:
            self.state = Idle()
        return out

    def _read(self, method: str, body: bytes, granted: int, now: float) -> list[Output]:
        assert self._endpoint is not None
        refresh_at = now + granted * _REFRESH_SHARE if granted else float("inf")
        if isinstance(self.state, Asking):
            self.state = Subscribed(refresh_at=refresh_at)
        source = f"inband:{self._endpoint.host}"
        try:
            told = decode_inband_provisioning(body)
        except DecodeError as error:
            return self._missed(f"malformed, {len(body)} octets: {error}")
        url = told.web_services
        web_services = (
            None
            if url is None
            else WebServicesAddress(
                scheme=url.scheme, host=url.host, port=url.port, path=url.path, source=source
            )
        )
        registrars = tuple(
            RegistrarAddress(
                host=server.host, port=server.port, transport=server.transport, source=source
            )
            for server in told.registrars
        )
        names = "+".join(f"{each.host}:{each.port}" for each in registrars)
        return [
            log.PROVISIONING_RECEIVED(method, names, "" if url is None else url.text),
            ProvisioningLearned(registrars=registrars, web_services=web_services),
        ]

    def _missed(self, detail: str) -> list[Output]:
        return [log.PROVISIONING_MISSED(detail), ProvisioningMissed(detail=detail)]

    def _timer_expired(self, now: float) -> list[Output]:
        match self.state:
            case Asking(timeout_at=at, sent_at=sent_at, granted=granted) if now >= at:
                self.state = Idle()
                ended: list[Output] = (
                    [ExchangeEnded(kind="sip_subscribe", sent=1, seconds=None)]
                    if granted is None
                    else []
                )
                return [*ended, *self._missed(f"nothing came within {now - sent_at:.0f} s")]
            case Subscribed(refresh_at=at) if now >= at:
                return self._subscribe(now)
            case _:
                return []
