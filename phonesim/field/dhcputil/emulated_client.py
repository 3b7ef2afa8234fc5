"""A client that asks as a phone does, listens to everybody, and says what a phone makes of it.

    asking --an answer with an FQDN, or the last repetition is over--> listening --> over

The phone in it is the emulated phone's own discovery (`informed_phone`): it repeats INFORM
with the same delays and takes the first answer that carries an FQDN. The client goes on
listening for `wait` seconds after the last INFORM, so that the answers that a phone ignores
are seen too.

With the class CPE-OCPHONE it asks for the VLAN. A phone does that with DISCOVER; INFORM asks
the same of the same servers and takes no address.

Specifications: RFC 2131 sections 3.4 and 4.4.3; device reference sections 1, 4, 6.1 and 15.1.
"""

from __future__ import annotations

import random

import msgspec

from phonesim.config.device_profile import DeviceProfile
from phonesim.device.actions import SendDhcp
from phonesim.device.events import Event, MalformedReceived, TimerExpired
from phonesim.device.lease import server_identifier
from phonesim.drivers.client_events import ClientStarted, DhcpMessageSeen
from phonesim.errors import DecodeError
from phonesim.field.dhcputil.configured_option import ConfiguredOption
from phonesim.field.dhcputil.informed_phone import InformedPhone
from phonesim.field.dhcputil.inspection import (
    OPTION_43,
    OPTION_120,
    VLAN_CLASSES,
    Inspection,
    inspect,
)
from phonesim.wire.dhcp import BROADCAST, DhcpMessage, MessageType, format_mac

MOST_ANSWERS = 256
"""Answers that are kept, and octets that are none as well."""

_ALL_ONES_LOOPBACK = "127.255.255.255"


class Answer(msgspec.Struct, frozen=True, kw_only=True):
    """One answer: what came when, and what a phone made of it.

    `latency` is seconds since the last INFORM before it, `number` counts from 1. `destination`
    is "" where it is not known. `options` are the inspected ones, 43 before 120. `can_win` says
    whether a phone would use it if it were the first.
    """

    number: int
    latency: float
    server: str
    destination: str
    message: DhcpMessage
    options: tuple[Inspection, ...]
    can_win: bool
    is_used: bool
    why: str

    def option(self, code: int) -> Inspection | None:
        """Option 43 or 120, if it is there."""
        return next((each for each in self.options if each.option.code == code), None)


class EmulatedClient:
    """Asks from `address` with the class `vendor_class`."""

    def __init__(
        self, profile: DeviceProfile, mac: bytes, address: str, vendor_class: str, wait: float
    ) -> None:
        discovery = profile.discovery.model_copy(update={"inform_class": vendor_class})
        if vendor_class in VLAN_CLASSES:
            only = {"inform_parameter_request_list": (OPTION_43,)}
            discovery = discovery.model_copy(update=only)
        self._profile = profile.model_copy(update={"discovery": discovery})
        self._address = address
        self._wait = wait
        self._sent_at = 0.0
        self._is_over = False
        self._phone = InformedPhone(discovery, mac, address, random.Random())
        self.vendor_class = vendor_class
        self.phone_id = format_mac(mac)
        self.sent: list[DhcpMessage] = []
        self.answers: list[Answer] = []
        self.malformed: list[MalformedReceived] = []

    # --- the contract ---

    def handle(self, event: Event, now: float) -> list[SendDhcp]:
        """Take one event; return what to send."""
        match event:
            case DhcpMessageSeen():
                self._hear(event, now)
            case MalformedReceived():
                if len(self.malformed) < MOST_ANSWERS:
                    self.malformed.append(event)
            case ClientStarted():
                return self._sent_now(self._phone.begin(now), now)
            case TimerExpired():
                sent = self._sent_now(self._phone.tick(now), now)
                deadline = self.next_deadline()
                self._is_over = deadline is not None and now >= deadline[0]
                return sent
            case _:
                pass
        return []

    def next_deadline(self) -> tuple[float, str] | None:
        """When something is due, and what; None when it is over."""
        if self._is_over:
            return None
        return self._phone.next_deadline() or (self._sent_at + self._wait, "stop listening")

    def _hear(self, event: DhcpMessageSeen, now: float) -> None:
        message, destination = event.message, event.destination
        if not self._phone.expects(message.xid) or len(self.answers) == MOST_ANSWERS:
            return
        options = self._inspect(message)
        can_win = is_used = False
        why = f"went to {destination}, where the phone is not"
        if destination in ("", self._address, BROADCAST, _ALL_ONES_LOOPBACK):
            heard = self._phone.hear(message, event.source, now)
            can_win = bool(heard.taken.web_services or heard.taken.registrars)
            is_used, why = heard.is_used, heard.why
            if self.asks_for_vlan:
                can_win = any(each.taken_by_phone.vlan_id is not None for each in options)
                is_used, why = self._judge_vlan(can_win)
        self.answers.append(
            Answer(
                number=len(self.answers) + 1,
                latency=now - self._sent_at,
                server=_server(message, event.source),
                destination=destination,
                message=message,
                options=options,
                can_win=can_win,
                is_used=is_used,
                why=why,
            )
        )

    # --- what came of it ---

    @property
    def used(self) -> Answer | None:
        """The answer that a phone goes by."""
        return next((each for each in self.answers if each.is_used), None)

    @property
    def is_usable(self) -> bool:
        """Whether a phone has all that it asked for from that answer."""
        used = self.used
        if used is None:
            return False
        wanted = (OPTION_43,) if self.asks_for_vlan else (OPTION_43, OPTION_120)
        options = [used.option(code) for code in wanted]
        return all(option is not None and option.is_usable for option in options)

    @property
    def asks_for_vlan(self) -> bool:
        """Whether it is the VLAN that is asked for."""
        return self.vendor_class in VLAN_CLASSES

    @property
    def most_sent(self) -> int:
        """How often it asks when nobody answers."""
        return len(self._profile.discovery.inform_delays)

    def _inspect(self, message: DhcpMessage) -> tuple[Inspection, ...]:
        if message.message_type is not MessageType.ACK:
            return ()
        given = [
            ConfiguredOption(
                code=code,
                octets=message.options[code],
                vendor_class=self.vendor_class if code == OPTION_43 else None,
            )
            for code in (OPTION_43, OPTION_120)
            if code in message.options
        ]
        return tuple(inspect(each, self._profile) for each in given)

    def _judge_vlan(self, can_win: bool) -> tuple[bool, str]:
        if not can_win:
            return False, "ignored: no VLAN in this answer"
        if self.used is not None:
            return False, "ignored: an earlier answer is in use"
        return True, "first answer with a VLAN"

    def _sent_now(self, actions: list[SendDhcp], now: float) -> list[SendDhcp]:
        if actions:
            self._sent_at = now
            self.sent += [action.message for action in actions]
        return actions


def _server(message: DhcpMessage, source: str) -> str:
    """Who answers: option 54 says so, for the source may be a relay agent."""
    try:
        return server_identifier(message) or source
    except DecodeError:
        return source
