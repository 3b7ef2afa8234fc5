"""Leases of clients that are gone."""

import pytest

from phonesim.config.site_profile import DhcpServerConfig
from phonesim.mocksite.dhcp_server import DhcpServer
from phonesim.mocksite.exchange import DhcpReceived, Report, SendDhcpReply
from phonesim.mocksite.held_leases import HeldLeases
from phonesim.wire.dhcp import BROADCAST, UNSPECIFIED, DhcpMessage, MessageType

CONFIG = DhcpServerConfig.model_validate(
    {
        "name": "dhcp01",
        "address": "10.0.0.1",
        "scope": {
            "subnet": "10.0.0.0/24",
            "first": "10.0.0.10",
            "last": "10.0.0.19",
            "lease_time": 1000,
        },
    }
)


def discover(number: int) -> DhcpReceived:
    message = DhcpMessage(
        message_type=MessageType.DISCOVER, xid=number, chaddr=number.to_bytes(6, "big")
    )
    return DhcpReceived(message=message, source=UNSPECIFIED, destination=BROADCAST)


@pytest.mark.parametrize("leave", [0, 1, 3])
def test_all_addresses_but_a_few_are_held_until_their_leases_end(leave: int) -> None:
    server = HeldLeases(DhcpServer(CONFIG), CONFIG, leave)
    assert server.next_deadline() is None
    offers = [server.handle(discover(number), 0.0) for number in range(10)]
    assert [type(actions[0]) for actions in offers] == (
        [SendDhcpReply] * leave + [Report] * (10 - leave)
    )
    after = server.handle(discover(20), 1001.0)
    assert isinstance(after[0], SendDhcpReply)


def test_a_server_without_a_scope_of_its_own_has_nothing_to_hold() -> None:
    responder = CONFIG.model_copy(update={"scope": None})
    server = HeldLeases(DhcpServer(responder), responder, 0)
    assert server.handle(discover(1), 0.0) == []
