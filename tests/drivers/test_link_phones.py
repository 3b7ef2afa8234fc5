"""Who is on a link, and who has which address there."""

from types import SimpleNamespace
from typing import cast

import pytest

from phonesim.drivers.link_phones import LinkPhones
from phonesim.drivers.phone_host import PhoneHost
from phonesim.wire.dhcp import DhcpMessage, MessageType, encode_dhcp

ADDRESS, OTHER_ADDRESS, SQUATTED = "10.0.0.5", "10.0.0.6", "10.0.0.9"


class Phone:
    def __init__(self, number: int) -> None:
        mac = bytes((0, 4, 0xF2, 0, 0, number))
        self.spec = SimpleNamespace(mac=mac, phone_id=mac.hex("-").upper())


ONE, TWO = cast(PhoneHost, Phone(1)), cast(PhoneHost, Phone(2))


@pytest.fixture
def phones() -> LinkPhones:
    phones = LinkPhones(frozenset((SQUATTED,)))
    phones.attach(ONE)
    phones.attach(TWO)
    return phones


def test_a_message_is_that_of_the_phone_in_its_chaddr(phones: LinkPhones) -> None:
    for phone in (ONE, TWO):
        message = DhcpMessage(message_type=MessageType.OFFER, xid=1, chaddr=phone.spec.mac)
        assert phones.addressed_by(encode_dhcp(message)) is phone
        assert phones.with_mac(phone.spec.mac) is phone
    assert phones.addressed_by(b"") is None
    phones.detach(ONE)
    assert phones.with_mac(ONE.spec.mac) is None


def test_an_address_is_in_use_by_another_phone_or_another_host(phones: LinkPhones) -> None:
    phones.take_address(ONE, ADDRESS)
    assert phones.user_of(ADDRESS) is ONE
    assert phones.conflict(ONE, ADDRESS) is None
    assert phones.conflict(TWO, ADDRESS) == "00-04-F2-00-00-01"
    assert phones.conflict(TWO, OTHER_ADDRESS) is None
    assert phones.conflict(TWO, SQUATTED) == "02-00-00-00-00-01"


def test_an_address_that_is_given_up_is_nobodys(phones: LinkPhones) -> None:
    phones.take_address(ONE, ADDRESS)
    assert phones.give_up_address(ONE, ADDRESS)
    assert phones.user_of(ADDRESS) is None
    assert not phones.give_up_address(ONE, ADDRESS)


def test_nobody_gives_up_what_another_phone_has_taken_since(phones: LinkPhones) -> None:
    phones.take_address(ONE, ADDRESS)
    phones.take_address(ONE, OTHER_ADDRESS)
    phones.take_address(TWO, ADDRESS)
    assert phones.detach(ONE) == [OTHER_ADDRESS]
    assert phones.user_of(ADDRESS) is TWO
    assert not phones.give_up_address(ONE, ADDRESS)
    assert phones.user_of(ADDRESS) is TWO
