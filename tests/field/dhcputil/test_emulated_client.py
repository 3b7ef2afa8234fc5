from __future__ import annotations

import pytest
from conversation import BOTH, HERE, OTHER, Conversation

from phonesim.config.device_profile import DeviceProfile
from phonesim.device.events import TimerExpired
from phonesim.field.dhcputil.client_findings import findings_of, missed
from phonesim.field.dhcputil.emulated_client import MOST_ANSWERS
from phonesim.wire.dhcp import BROADCAST, MessageType, Option


@pytest.fixture
def talk(profile: DeviceProfile) -> Conversation:
    return Conversation(profile)


def test_it_asks_as_a_phone_does(talk: Conversation) -> None:
    message = talk.asked.message
    assert (talk.asked.source, talk.asked.destination) == (HERE, BROADCAST)
    assert message.message_type is MessageType.INFORM
    assert message.options[Option.VENDOR_CLASS_IDENTIFIER] == b"MS-UC-Client"
    assert message.options[Option.PARAMETER_REQUEST_LIST] == bytes((43, 120))
    assert talk.client.most_sent == 2


def test_a_healthy_answer_has_no_finding(talk: Conversation) -> None:
    talk.hear(BOTH)
    (answer,) = talk.client.answers
    assert (answer.number, answer.server, answer.is_used) == (1, "10.0.0.1", True)
    assert answer.latency == pytest.approx(0.01)
    assert talk.client.is_usable
    assert talk.causes() == []
    assert missed(talk.client) == []


def test_it_listens_on_after_the_phone_has_decided(talk: Conversation) -> None:
    assert talk.client.next_deadline() == (104.0, "repeat INFORM")
    talk.hear(BOTH)
    assert talk.client.next_deadline() == (102.0, "stop listening")
    assert talk.client.handle(TimerExpired(), 101.9) == []
    assert talk.client.next_deadline() is not None
    assert talk.client.handle(TimerExpired(), 102.0) == []
    assert talk.client.next_deadline() is None


def test_messages_for_others_are_left_alone(talk: Conversation) -> None:
    talk.hear(BOTH, xid=talk.asked.message.xid ^ 1)
    assert talk.client.answers == []


def test_every_answer_is_shown_in_its_order(talk: Conversation) -> None:
    talk.hear({}, "10.0.0.3")
    talk.hear(OTHER, "10.0.0.2")
    talk.hear(BOTH, "10.0.0.1")
    assert [(each.server, each.is_used) for each in talk.client.answers] == [
        ("10.0.0.3", False),
        ("10.0.0.2", True),
        ("10.0.0.1", False),
    ]
    assert talk.causes() == ["dhcp-servers-disagree"]


@pytest.mark.parametrize("destination", [HERE, BROADCAST, "127.255.255.255", ""])
def test_where_answers_may_go(talk: Conversation, destination: str) -> None:
    talk.hear(BOTH, destination=destination)
    assert talk.client.is_usable


def test_a_server_is_who_it_says_and_not_the_relay_agent(talk: Conversation) -> None:
    talk.hear(BOTH, "10.0.0.1", source="10.9.9.9")
    talk.hear({**BOTH, 54: b"x"}, "10.0.0.1", source="10.9.9.9")
    assert [each.server for each in talk.client.answers] == ["10.0.0.1", "10.9.9.9"]


def test_what_floods_in_is_bounded(talk: Conversation) -> None:
    for _ in range(MOST_ANSWERS + 3):
        talk.hear(BOTH)
        talk.garble()
    assert len(talk.client.answers) == len(talk.client.malformed) == MOST_ANSWERS


class TestVlan:
    @pytest.fixture
    def talk(self, profile: DeviceProfile) -> Conversation:
        return Conversation(profile, "CPE-OCPHONE")

    def test_it_asks_for_option_43_alone(self, talk: Conversation) -> None:
        options = talk.asked.message.options
        assert options[Option.PARAMETER_REQUEST_LIST] == bytes((43,))
        assert options[Option.VENDOR_CLASS_IDENTIFIER] == b"CPE-OCPHONE"

    def test_the_first_vlan_is_used(self, talk: Conversation) -> None:
        talk.hear(BOTH, "10.0.0.3")
        talk.hear({43: b"\x0a\x03100"}, "10.0.0.1")
        talk.hear({43: b"\x0a\x03100"}, "10.0.0.2")
        assert [(each.is_used, each.why) for each in talk.client.answers] == [
            (False, "ignored: no VLAN in this answer"),
            (True, "first answer with a VLAN"),
            (False, "ignored: an earlier answer is in use"),
        ]
        assert talk.client.is_usable
        assert missed(talk.client) == []
        assert talk.causes() == []

    def test_no_vlan_may_be_right(self, talk: Conversation) -> None:
        talk.hear({})
        (finding,) = findings_of(talk.client)
        assert (finding.cause.name, finding.certainty.name) == ("vlan-option-missing", "POSSIBLE")
        assert missed(talk.client)[0].startswith("the voice VLAN")
        assert not talk.client.is_usable
