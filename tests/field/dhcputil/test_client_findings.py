from __future__ import annotations

import re

import pytest
from conversation import BOTH, VALUES, Conversation

from phonesim.config.device_profile import DeviceProfile
from phonesim.device.events import TimerExpired
from phonesim.field.dhcputil.client_findings import findings_of, missed
from phonesim.field.finding import Finding
from phonesim.wire.dhcp import MessageType


def remedies_of(finding: Finding) -> str:
    return "\n".join(each.how for each in finding.cause.remedies)


@pytest.fixture
def talk(profile: DeviceProfile) -> Conversation:
    return Conversation(profile)


def test_nobody_answers(talk: Conversation) -> None:
    client = talk.client
    assert len(client.handle(TimerExpired(), 104.0)) == 1
    assert client.handle(TimerExpired(), 112.0) == []
    assert client.next_deadline() is None
    assert not client.is_usable
    (finding,) = findings_of(client)
    assert finding.cause.name == "inform-unanswered"
    assert "sent 2 times" in finding.evidence[0].text
    assert missed(client)[0].startswith("all of it")


@pytest.mark.parametrize(
    ("options", "causes", "lacks"),
    [
        ({}, ["sign-in-options-missing"], "all of it"),
        ({120: VALUES.option_120}, ["option-43-missing"], "the Web Services URL"),
        ({43: VALUES.option_43}, ["option-120-missing"], "the Registrar"),
        ({**BOTH, 43: VALUES.option_43[:-1]}, ["option-43-cut"], "the Web Services URL"),
        ({**BOTH, 120: b"\x01\x0a\0\0\x01"}, ["option-120-address"], "the Registrar"),
    ],
)
def test_what_is_missing_or_wrong(
    talk: Conversation, options: dict[int, bytes], causes: list[str], lacks: str
) -> None:
    talk.hear(options)
    assert talk.causes() == causes
    assert not talk.client.is_usable
    assert missed(talk.client)[0].startswith(lacks)
    assert all(finding.evidence for finding in findings_of(talk.client))


def test_text_that_is_taken_is_doubtful(talk: Conversation) -> None:
    talk.hear({**BOTH, 120: b"fe01.contoso.com"})
    assert talk.causes() == ["option-120-raw-text"]
    assert not talk.client.is_usable
    (lacking,) = missed(talk.client)
    assert lacking.startswith("the Registrar, unless they take it as plain text")


def test_a_nak_and_an_answer_that_went_astray(talk: Conversation) -> None:
    talk.hear({}, kind=MessageType.NAK)
    talk.hear(BOTH, destination="10.0.0.99")
    assert talk.causes() == ["inform-refused", "inform-astray"]
    assert talk.client.used is None
    assert talk.client.answers[1].why == "went to 10.0.0.99, where the phone is not"


def test_octets_that_are_no_message_are_kept(talk: Conversation) -> None:
    talk.garble()
    assert [(each.source, each.reason) for each in talk.client.malformed] == [
        ("10.0.0.9", "12 octets")
    ]
    assert talk.causes() == []


def test_a_class_in_the_wrong_case(profile: DeviceProfile) -> None:
    talk = Conversation(profile, "ms-uc-client")
    talk.hear({120: VALUES.option_120})
    assert talk.causes() == ["inform-class-wrong", "option-43-missing"]


@pytest.mark.parametrize("options", [{}, {43: VALUES.option_43}])
def test_no_vlan_is_answered(profile: DeviceProfile, options: dict[int, bytes]) -> None:
    talk = Conversation(profile, "CPE-OCPHONE")
    talk.hear(options)
    (finding,) = findings_of(talk.client)
    assert (finding.cause.name, finding.certainty.name) == ("vlan-option-missing", "POSSIBLE")
    assert "set optionvalue 10 Binary vendor=CPEOCPhone" in remedies_of(finding)
    assert "MSUCClient" not in remedies_of(finding)


def test_nobody_answers_who_asks_for_the_vlan(profile: DeviceProfile) -> None:
    talk = Conversation(profile, "CPE-OCPHONE")
    assert len(talk.client.handle(TimerExpired(), 104.0)) == 1
    (finding,) = findings_of(talk.client)
    assert finding.cause.name == "inform-unanswered"
    assert "LLDP-MED" in finding.cause.why
    assert not re.search("URL|Registrar", finding.cause.why + remedies_of(finding))
    assert "optionvalue 10" in remedies_of(finding)
