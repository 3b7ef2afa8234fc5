from __future__ import annotations

import random

import pytest
from playing import Dice

from phonesim.config.device_profile import DhcpClientConfig
from phonesim.device import device_log as log
from phonesim.device.actions import ConfigureAddress, ProbeAddress, RemoveAddress
from phonesim.device.auto_ip import AutoIp
from phonesim.device.events import AddressClaimed, AddressProbed, LeaseFailed

WHY = "no DHCP server answered"
OTHER = "02-00-00-00-00-99"


def auto_ip(rng=None, **config):
    return AutoIp(DhcpClientConfig(**config), rng or Dice())


def free(machine):
    return machine.probed(AddressProbed(address=machine.address), 300.0)


def used(machine):
    return machine.probed(AddressProbed(address=machine.address, conflict=OTHER), 300.0)


def test_an_address_is_probed_and_used_if_it_is_free():
    machine = auto_ip()
    assert machine.take(WHY) == [ProbeAddress(address=machine.address)]
    assert free(machine) == [
        log.AUTO_IP(machine.address, 300.0),
        ConfigureAddress(address=machine.address, subnet_mask="255.255.0.0"),
        LeaseFailed(auto_ip=machine.address, detail=WHY),
    ]


@pytest.mark.parametrize("seed", range(50))
def test_link_local_addresses_are_those_of_rfc_3927(seed):
    machine = auto_ip(random.Random(seed))
    machine.take(WHY)
    first, second, third, fourth = map(int, machine.address.split("."))
    assert (first, second) == (169, 254)
    assert 1 <= third <= 254
    assert 0 <= fourth <= 255


def test_ten_link_local_addresses_are_tried():
    machine = auto_ip()
    machine.take(WHY)
    tried = [machine.address]
    for _ in range(9):
        before = machine.address
        conflict, probe = used(machine)
        assert conflict == log.ADDRESS_CONFLICT(before, OTHER)
        assert probe == ProbeAddress(address=machine.address)
        tried.append(machine.address)
    assert len(set(tried)) == 10
    assert used(machine) == [
        log.ADDRESS_CONFLICT(tried[-1], OTHER),
        LeaseFailed(auto_ip=None, detail=WHY),
    ]
    assert machine.address is None


def test_after_ten_addresses_ten_more_may_be_tried():
    machine = auto_ip()
    for _ in range(2):
        machine.take(WHY)
        for _ in range(9):
            used(machine)
        assert machine.address is not None
        used(machine)
        assert machine.address is None


def test_an_address_is_kept_and_the_newest_reason_told():
    machine = auto_ip()
    machine.take(WHY)
    free(machine)
    assert machine.take("refused") == [LeaseFailed(auto_ip=machine.address, detail="refused")]


def test_a_profile_can_do_without():
    machine = auto_ip(auto_ip=False)
    assert machine.take(WHY) == [LeaseFailed(auto_ip=None, detail=WHY)]
    assert machine.address is None


def test_an_address_that_another_host_claims_is_changed_with_all_its_tries():
    machine = auto_ip(auto_ip_candidates=2)
    machine.take(WHY)
    used(machine)
    free(machine)
    before = machine.address
    assert machine.change(AddressClaimed(address=before, mac=OTHER)) == [
        log.ADDRESS_CONFLICT(before, OTHER),
        RemoveAddress(address=before),
        ProbeAddress(address=machine.address),
    ]
    assert machine.address != before
    assert used(machine)[1:] == [ProbeAddress(address=machine.address)]


def test_an_address_is_left_once():
    machine = auto_ip()
    machine.take(WHY)
    address = machine.address
    assert machine.leave() == [RemoveAddress(address=address)]
    assert machine.leave() == []
