from __future__ import annotations

import random

import msgspec

from phonesim.config.device_profile import DiscoveryConfig
from phonesim.field.dhcputil.informed_phone import (
    InformedPhone,
    answer_with,
    taken_from,
    vlan_in,
)
from phonesim.field.dhcputil.sign_in_values import read_sign_in_values
from phonesim.wire.dhcp import DhcpMessage, MessageType

VALUES = read_sign_in_values(["fe01.contoso.com"])
MAC = bytes.fromhex("0004F2000001")


def phone(**config: object) -> InformedPhone:
    return InformedPhone(DiscoveryConfig(**config), MAC, "10.0.0.7", random.Random(1))


def answer(asked: DhcpMessage, options: dict[int, bytes]) -> DhcpMessage:
    return msgspec.structs.replace(answer_with(options), xid=asked.xid)


def test_it_asks_with_the_same_xid_until_it_gives_up() -> None:
    asking = phone(inform_delays=(4, 8))
    (first,) = asking.begin(0.0)
    assert first.message.message_type is MessageType.INFORM
    assert (first.message.ciaddr, first.message.chaddr) == ("10.0.0.7", MAC)
    assert asking.next_deadline() == (4, "repeat INFORM")
    assert asking.tick(3.9) == []
    (second,) = asking.tick(4.0)
    assert second.message.xid == first.message.xid
    assert asking.tick(12.0) == []
    assert asking.next_deadline() is None


def test_the_first_answer_with_an_fqdn_is_used_and_later_ones_are_not() -> None:
    asking = phone()
    (asked,) = asking.begin(0.0)
    assert asking.expects(asked.message.xid)
    assert not asking.expects(asked.message.xid ^ 1)

    empty = asking.hear(answer(asked.message, {}), "10.0.0.1", 0.1)
    used = asking.hear(answer(asked.message, {120: VALUES.option_120}), "10.0.0.2", 0.2)
    late = asking.hear(answer(asked.message, {43: VALUES.option_43}), "10.0.0.3", 0.3)

    assert (empty.is_used, empty.why) == (False, "ignored: no FQDN in this answer")
    assert (used.is_used, used.why) == (True, "first DHCP answer with an FQDN")
    assert (late.is_used, late.why) == (False, "ignored: an earlier answer is in use")
    assert [each.host for each in used.taken.registrars] == ["fe01.contoso.com"]
    assert late.taken.web_services is not None


def test_a_nak_is_no_answer() -> None:
    asking = phone()
    (asked,) = asking.begin(0.0)
    nak = msgspec.structs.replace(answer(asked.message, {}), message_type=MessageType.NAK)
    heard = asking.hear(nak, "10.0.0.1", 0.1)
    assert (heard.is_used, heard.why) == (False, "only an ACK answers an INFORM")


def test_what_is_taken_from_single_options() -> None:
    config = DiscoveryConfig()
    services = taken_from(43, VALUES.option_43, config).web_services
    assert services is not None
    assert services.url == VALUES.url
    assert [each.name for each in taken_from(120, VALUES.option_120, config).registrars] == [
        "fe01.contoso.com:5061"
    ]
    cut = taken_from(43, VALUES.option_43[:-1], config)
    assert cut.web_services is None
    assert [code for code, _ in cut.warnings] == [43, 43]
    assert vlan_in(b"\x0a\x03100").vlan_id == 100
    assert vlan_in(b"\x0a\x02\0\x64", ("ascii",)).vlan_id is None
