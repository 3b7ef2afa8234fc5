"""A client and what it hears, as tests of it write it down."""

from __future__ import annotations

import msgspec

from phonesim.config.device_profile import DeviceProfile
from phonesim.device.events import MalformedReceived
from phonesim.drivers.client_events import ClientStarted, DhcpMessageSeen
from phonesim.field.dhcputil.client_findings import findings_of
from phonesim.field.dhcputil.emulated_client import EmulatedClient
from phonesim.field.dhcputil.informed_phone import answer_with
from phonesim.field.dhcputil.sign_in_values import read_sign_in_values
from phonesim.wire.dhcp import MessageType, Option, encode_addresses

HERE = "10.0.0.7"
VALUES = read_sign_in_values(["fe01.contoso.com"], web_server="web.contoso.com")
BOTH = {43: VALUES.option_43, 120: VALUES.option_120}
OTHER = {**BOTH, 120: read_sign_in_values(["old.contoso.com"]).option_120}


class Conversation:
    """A client, and what it hears a hundredth of a second apart."""

    def __init__(self, profile: DeviceProfile, vendor_class: str = "MS-UC-Client") -> None:
        self.client = EmulatedClient(profile, bytes.fromhex("0004F2000001"), HERE, vendor_class, 2)
        (self.asked,) = self.client.handle(ClientStarted(), 100.0)
        self.now = 100.0

    def hear(
        self,
        options: dict[int, bytes],
        server: str = "10.0.0.1",
        kind: MessageType = MessageType.ACK,
        destination: str = HERE,
        xid: int | None = None,
        source: str | None = None,
    ) -> None:
        self.now += 0.01
        identifier = {int(Option.SERVER_IDENTIFIER): encode_addresses([server])}
        message = msgspec.structs.replace(
            answer_with({**identifier, **options}),
            xid=self.asked.message.xid if xid is None else xid,
            message_type=kind,
        )
        seen = DhcpMessageSeen(message=message, source=source or server, destination=destination)
        assert self.client.handle(seen, self.now) == []

    def garble(self) -> None:
        event = MalformedReceived(protocol="dhcp", source="10.0.0.9", reason="12 octets", size=12)
        assert self.client.handle(event, self.now) == []

    def causes(self) -> list[str]:
        return [finding.cause.name for finding in findings_of(self.client)]
