import msgspec
import pytest
from scapy.layers.dhcp import BOOTP

from phonesim.relay_agent import (
    Circuit,
    lacks_information,
    refuse_answer,
    relay_answer,
    relay_request,
)
from phonesim.wire.dhcp import (
    BOOTREPLY,
    BROADCAST_FLAG,
    DhcpMessage,
    MessageType,
    Option,
    decode_dhcp,
    encode_dhcp,
    encode_relay_information,
)

MAC = bytes.fromhex("0004f2000001")
INFORMATION = encode_relay_information(b"port 7", b"\x01\x02")
CIRCUIT = Circuit("10.1.0.1", INFORMATION)
REQUEST = DhcpMessage(
    message_type=MessageType.REQUEST,
    xid=7,
    secs=9,
    flags=BROADCAST_FLAG,
    chaddr=MAC,
    ciaddr="10.1.0.99",
    options={
        Option.DHCP_MESSAGE_TYPE: bytes((MessageType.REQUEST,)),
        Option.VENDOR_CLASS_IDENTIFIER: b"CPE-OCPHONE",
    },
)
ANSWER = DhcpMessage(
    message_type=MessageType.ACK,
    op=BOOTREPLY,
    xid=7,
    chaddr=MAC,
    giaddr="10.1.0.1",
    options={
        Option.DHCP_MESSAGE_TYPE: bytes((MessageType.ACK,)),
        Option.RELAY_AGENT_INFORMATION: INFORMATION,
        Option.SERVER_IDENTIFIER: bytes(4),
    },
)


def test_a_request_gets_giaddr_a_hop_and_option_82_and_is_else_as_it_was() -> None:
    relayed = relay_request(REQUEST, CIRCUIT)
    assert (relayed.giaddr, relayed.hops) == ("10.1.0.1", 1)
    assert list(relayed.options)[-1] == Option.RELAY_AGENT_INFORMATION
    without = {
        code: value
        for code, value in relayed.options.items()
        if code != Option.RELAY_AGENT_INFORMATION
    }
    restored = msgspec.structs.replace(relayed, giaddr="0.0.0.0", hops=0, options=without)
    assert restored == REQUEST


def test_an_independent_decoder_reads_what_was_added() -> None:
    octets = encode_dhcp(relay_request(REQUEST, CIRCUIT))
    packet = BOOTP(octets)
    assert (packet.giaddr, packet.hops, packet.secs) == ("10.1.0.1", 1, 9)
    assert bytes.fromhex("520c0106706f727420370202 0102") in octets
    assert decode_dhcp(octets).options[82] == INFORMATION


def test_without_ids_there_is_no_option_82() -> None:
    assert relay_request(REQUEST, Circuit("10.1.0.1")).options == REQUEST.options
    assert encode_relay_information(None, None) == b""


@pytest.mark.parametrize(
    ("changes", "circuit", "reason"),
    [
        ({}, CIRCUIT, None),
        ({"op": 1}, CIRCUIT, "it is no BOOTREPLY"),
        ({"giaddr": "0.0.0.0"}, CIRCUIT, "its giaddr is not the address that it came to"),
        ({"giaddr": "10.2.0.1"}, CIRCUIT, "its giaddr is not the address that it came to"),
        ({}, Circuit("10.1.0.1", b"\x01\x01x"), "its option 82 is not the phone's"),
        ({}, Circuit("10.1.0.1"), "its option 82 is not the phone's"),
        ({"options": {}}, CIRCUIT, None),
    ],
)
def test_which_answers_are_refused(
    changes: dict[str, object], circuit: Circuit, reason: str | None
) -> None:
    assert refuse_answer(msgspec.structs.replace(ANSWER, **changes), circuit) == reason


def test_the_client_never_sees_option_82() -> None:
    answer = relay_answer(ANSWER)
    assert list(answer.options) == [Option.DHCP_MESSAGE_TYPE, Option.SERVER_IDENTIFIER]
    assert relay_answer(answer) is answer
    assert list(ANSWER.options)[1] == Option.RELAY_AGENT_INFORMATION


def test_a_server_that_does_not_send_option_82_back_is_noticed() -> None:
    assert not lacks_information(ANSWER, CIRCUIT)
    assert lacks_information(relay_answer(ANSWER), CIRCUIT)
    assert not lacks_information(relay_answer(ANSWER), Circuit("10.1.0.1"))
