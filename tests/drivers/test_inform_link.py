from __future__ import annotations

import errno
import socket
import threading
from collections.abc import Callable, Iterator

import pytest

from phonesim.device.actions import SendDhcp
from phonesim.device.events import Event, MalformedReceived, TimerExpired
from phonesim.drivers.client_events import ClientStarted, DhcpMessageSeen
from phonesim.drivers.inform_link import (
    LinkEnd,
    ask_on_interface,
    ask_server,
    look_up_link,
    source_towards,
)
from phonesim.errors import UsageError
from phonesim.wire.dhcp import (
    BROADCAST,
    CLIENT_PORT,
    SERVER_PORT,
    DhcpMessage,
    MessageType,
    decode_dhcp,
    encode_dhcp,
)

OFFSET = 40000
MAC = bytes.fromhex("0004F2000001")


class ScriptedClient:
    """Sends `times` messages a fifth of a second apart, and is over a fifth after the last."""

    def __init__(self, address: str, times: int = 1) -> None:
        message = DhcpMessage(message_type=MessageType.INFORM, xid=7, chaddr=MAC, ciaddr=address)
        self._action = SendDhcp(message=message, source=address, destination=BROADCAST)
        self._times = times
        self._due = float("inf")
        self.events: list[Event] = []

    def handle(self, event: Event, now: float) -> list[SendDhcp]:
        self.events.append(event)
        if isinstance(event, ClientStarted) or now >= self._due:
            self._due = now + 0.2
            self._times -= 1
            return [self._action] * (self._times >= 0)
        return []

    def next_deadline(self) -> tuple[float, str] | None:
        return None if self._times < 0 else (self._due, "test")


@pytest.fixture
def here(new_address: Callable[[], str]) -> str:
    return new_address()


@pytest.fixture
def server(new_address: Callable[[], str]) -> Iterator[tuple[str, list[DhcpMessage]]]:
    """Answers each message with an ACK, and with octets that are none."""
    address, received = new_address(), list[DhcpMessage]()
    endpoint = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    endpoint.bind((address, SERVER_PORT + OFFSET))

    def serve() -> None:
        while True:
            data, sender = endpoint.recvfrom(2048)
            if not data:
                return
            message = decode_dhcp(data)
            received.append(message)
            ack = DhcpMessage(message_type=MessageType.ACK, xid=message.xid, chaddr=MAC, op=2)
            endpoint.sendto(encode_dhcp(ack), sender)
            endpoint.sendto(b"hello", sender)

    thread = threading.Thread(target=serve)
    thread.start()
    yield address, received
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as last:
        last.sendto(b"", (address, SERVER_PORT + OFFSET))
    thread.join()
    endpoint.close()


def test_a_client_speaks_to_one_server(here: str, server: tuple[str, list[DhcpMessage]]) -> None:
    address, received = server
    client = ScriptedClient(here, times=2)

    ask_server(client, here, address, OFFSET)

    assert [(each.message_type, each.ciaddr) for each in received] == [
        (MessageType.INFORM, here)
    ] * 2
    seen = [each for each in client.events if isinstance(each, DhcpMessageSeen)]
    assert [(each.message.message_type, each.source, each.destination) for each in seen] == [
        (MessageType.ACK, address, "")
    ] * 2
    malformed = [each for each in client.events if isinstance(each, MalformedReceived)]
    assert [(each.protocol, each.source, each.size) for each in malformed] == [
        ("dhcp", address, 5)
    ] * 2
    assert isinstance(client.events[-1], TimerExpired)


def test_a_port_that_another_client_has_is_said_with_a_way_out(here: str) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as other:
        other.bind((here, CLIENT_PORT + OFFSET))
        with pytest.raises(UsageError, match="another DHCP client has it: ask by frames"):
            ask_server(ScriptedClient(here), here, "127.0.0.1", OFFSET)


def test_an_address_of_another_host_is_refused() -> None:
    with pytest.raises(UsageError, match=r"cannot be had: .*; name an address of this host"):
        ask_server(ScriptedClient("192.0.2.9"), "192.0.2.9", "127.0.0.1", OFFSET)


def test_what_cannot_be_sent_is_said(here: str) -> None:
    with pytest.raises(UsageError, match="INFORM cannot be sent: "):
        ask_server(ScriptedClient(here), here, "192.0.2.9", OFFSET)


def test_the_way_to_a_server_has_an_address() -> None:
    assert source_towards("127.0.0.1").startswith("127.")


@pytest.mark.parametrize(
    ("name", "complaint"),
    [("lo", "it is no Ethernet interface"), ("none0", "there is none of that name")],
)
def test_interfaces_that_no_client_can_use(name: str, complaint: str) -> None:
    with pytest.raises(UsageError, match=f"interface {name}: {complaint}"):
        look_up_link(name)


def refuse(*_: object, **__: object) -> None:
    raise PermissionError(errno.EPERM, "Operation not permitted")


def test_what_needs_a_privilege_is_said(here: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("phonesim.drivers.inform_link.UdpSocket", refuse)
    monkeypatch.setattr("phonesim.drivers.inform_link.PacketSocket", refuse)
    with pytest.raises(UsageError, match=f"port 68 of {here} needs CAP_NET_BIND_SERVICE"):
        ask_server(ScriptedClient(here), here, "127.0.0.1", 0)
    with pytest.raises(UsageError, match="interface eth0: raw frames need CAP_NET_RAW"):
        ask_on_interface(ScriptedClient(here), LinkEnd("eth0", 2, MAC, (here,)), here)
