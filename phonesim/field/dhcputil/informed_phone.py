"""A phone that knows its address and asks DHCP alone: the emulated phone's own discovery.

What a phone sends with DHCPINFORM, which answer it takes and what it makes of the options in
it is `phonesim.device.discovery`'s to decide; nothing here does. DNS is not asked.
"""

from __future__ import annotations

import random
from collections.abc import Iterable

import msgspec

from phonesim.config.device_profile import DiscoveryConfig
from phonesim.device.actions import SendDhcp
from phonesim.device.device_log import LogRecord
from phonesim.device.discovery import Discovery
from phonesim.device.events import (
    DhcpAnswerKept,
    DhcpMessageReceived,
    DiscoveryWanted,
    Event,
    Lease,
    RegistrarAddress,
    TimerExpired,
    WebServicesAddress,
)
from phonesim.device.lease import read_voice_vlan
from phonesim.wire.dhcp import BOOTREPLY, DhcpMessage, MessageType, Option
from phonesim.wire.provisioning import VLAN_FORMS, VlanForm

_NOWHERE = "192.0.2.1"
_MAC = bytes.fromhex("020000000001")


class Taken(msgspec.Struct, frozen=True, kw_only=True):
    """What a phone takes from options 43 and 120, and what it says is wrong: (option, text)."""

    web_services: WebServicesAddress | None = None
    registrars: tuple[RegistrarAddress, ...] = ()
    vlan_id: int | None = None
    warnings: tuple[tuple[int, str], ...] = ()

    @property
    def is_nothing(self) -> bool:
        """Whether there is nothing that a phone takes."""
        return self.web_services is None and not self.registrars and self.vlan_id is None


class Heard(msgspec.Struct, frozen=True, kw_only=True):
    """What a phone made of one answer: `is_used` if it is the one that it goes by, and `why`."""

    taken: Taken
    is_used: bool
    why: str


class InformedPhone:
    """Sends INFORM as `config` says, from `address`, and hears the answers."""

    def __init__(
        self, config: DiscoveryConfig, mac: bytes, address: str, rng: random.Random
    ) -> None:
        alone = {"asks_dhcp": True, "domain": "dhcp", "sip_domain": None}
        self._discovery = Discovery(config.model_copy(update=alone), mac, rng)
        self._lease = Lease(
            address=address,
            subnet_mask="255.255.255.0",
            server=address,
            t1_at=float("inf"),
            t2_at=float("inf"),
            expires_at=float("inf"),
        )

    def begin(self, now: float) -> list[SendDhcp]:
        """Ask for the first time."""
        return self._handle(DiscoveryWanted(lease=self._lease), now)[0]

    def tick(self, now: float) -> list[SendDhcp]:
        """Do what is due: ask again, or give DHCP up."""
        return self._handle(TimerExpired(), now)[0]

    def next_deadline(self) -> tuple[float, str] | None:
        """When something is due, and what; None when the phone has decided."""
        return self._discovery.next_deadline()

    def expects(self, xid: int) -> bool:
        """Whether a message with this xid answers this phone."""
        return self._discovery.expects(xid)

    def hear(self, message: DhcpMessage, source: str, now: float) -> Heard:
        """Take an answer."""
        _, records, events = self._handle(DhcpMessageReceived(message=message, source=source), now)
        kept = next((each for each in events if isinstance(each, DhcpAnswerKept)), None)
        taken = Taken(
            web_services=None if kept is None else kept.web_services,
            registrars=() if kept is None else kept.registrars,
            warnings=tuple(_warnings(records)),
        )
        reasons = {each.name: str(each.values[-1]) for each in records}
        for name in ("race_won", "race_lost", "dhcp_ignored"):
            if name in reasons:
                return Heard(taken=taken, is_used=name == "race_won", why=reasons[name])
        raise AssertionError("every answer is won with, lost or ignored")

    def _handle(
        self, event: Event, now: float
    ) -> tuple[list[SendDhcp], list[LogRecord], list[Event]]:
        sent: list[SendDhcp] = []
        records: list[LogRecord] = []
        events: list[Event] = []
        for output in self._discovery.handle(event, now):
            match output:
                case SendDhcp():
                    sent.append(output)
                case LogRecord():
                    records.append(output)
                case Event():
                    events.append(output)
                case _:
                    pass
        return sent, records, events


def taken_from(code: int, octets: bytes, config: DiscoveryConfig) -> Taken:
    """What a phone takes from one option, 43 or 120, that DHCP gave it for its class."""
    ack = answer_with({code: octets})
    phone = InformedPhone(config, _MAC, _NOWHERE, random.Random(0))
    (asked,) = phone.begin(0.0)
    heard = phone.hear(msgspec.structs.replace(ack, xid=asked.message.xid), _NOWHERE, 0.0)
    return heard.taken


def vlan_in(octets: bytes, vlan_forms: tuple[VlanForm, ...] = VLAN_FORMS) -> Taken:
    """What a phone takes from option 43 when it asks for its VLAN."""
    code = Option.VENDOR_SPECIFIC_INFORMATION
    vlan_id, records = read_voice_vlan(answer_with({code: octets}), _NOWHERE, vlan_forms)
    return Taken(vlan_id=vlan_id, warnings=tuple(_warnings(records)))


def answer_with(options: dict[int, bytes]) -> DhcpMessage:
    """An ACK with these options."""
    return DhcpMessage(
        op=BOOTREPLY,
        message_type=MessageType.ACK,
        xid=0,
        chaddr=_MAC,
        ciaddr=_NOWHERE,
        options={Option.DHCP_MESSAGE_TYPE: bytes((MessageType.ACK,)), **options},
    )


def _warnings(records: Iterable[LogRecord]) -> Iterable[tuple[int, str]]:
    for record in records:
        if record.name == "option_warning":
            yield int(record.values[1]), str(record.values[2])
