from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st
from playing import Dice

from phonesim.config.device_profile import RegistrationConfig
from phonesim.device.events import RegistrarAddress
from phonesim.device.registrar_order import RegistrarOrder, same_place


def at(host: str, source: str = "dhcp:x") -> RegistrarAddress:
    return RegistrarAddress(host=host, port=5061, transport="tls", source=source)


ONE, TWO, THREE = at("fe01"), at("fe02"), at("fe03")


def order(*registrars: RegistrarAddress, rng: random.Random | None = None, **config: object):
    made = RegistrarOrder(RegistrationConfig(**config), rng or Dice())
    made.begin(registrars or (ONE, TWO))
    return made


def test_a_sign_in_goes_through_all_registrars_at_once():
    tried = order(ONE, TWO, THREE)
    assert tried.current == ONE
    assert tried.next()
    assert tried.current == TWO
    assert tried.next()
    assert tried.current == THREE
    assert not tried.next()


def test_a_lost_primary_is_tried_alone_until_fail_over_is_due():
    lost = order(failover_delay=30, reconnect_delays=(5, 10))
    lost.accepted()
    assert lost.pause_until(100.0) == 107.5
    lost.begin_round(107.5)
    assert not lost.next()
    assert lost.pause_until(108.0) == 123.0
    lost.begin_round(123.0)
    assert not lost.next()
    assert lost.pause_until(133.0) == 145.0  # fail-over, at 1.5 times 30 s after the loss
    lost.begin_round(145.0)
    assert lost.next()
    assert lost.current == TWO


def test_at_the_backup_both_are_tried_at_once_and_fail_over_begins_anew_at_the_primary():
    lost = order(failover_delay=30)
    assert lost.next()
    lost.accepted()
    lost.begin_round(lost.pause_until(100.0))
    assert lost.current == ONE
    assert lost.next()
    lost.begin_round(200.0)
    lost.accepted()
    lost.pause_until(300.0)
    lost.begin_round(301.0)
    assert not lost.next()


def test_what_the_site_names_takes_the_place_of_what_was_found():
    told = order(ONE, TWO)
    told.accepted()
    assert told.primary is None
    assert not told.is_elsewhere
    told.provide((THREE, at("fe01", "inband:fe01")))
    assert told.primary == THREE
    assert told.is_elsewhere
    told.pause_until(0.0)
    told.begin_round(7.5)
    assert told.current == THREE
    assert told.next()
    assert same_place(told.current, ONE)


def test_a_redirect_leads_on_and_is_home_once_it_accepted():
    sent = order(ONE, TWO)
    assert sent.redirect((THREE, ONE))
    assert sent.current == THREE
    sent.accepted()
    assert sent.primary == THREE
    sent.pause_until(0.0)
    sent.begin_round(1e9)
    assert sent.current == THREE
    assert sent.next()
    assert sent.current == ONE


def test_a_redirect_s_backup_and_then_the_rest_of_the_round_follow_it():
    sent = order(ONE, TWO)
    sent.redirect((THREE, at("fe04")))
    hosts = [sent.current.host]
    while sent.next():
        hosts.append(sent.current.host)
    assert hosts == ["fe03", "fe04", "fe02"]


@pytest.mark.parametrize("most", [0, 1, 3])
def test_redirects_have_a_limit(most):
    sent = order(maximum_redirects=most)
    followed = 0
    while sent.redirect((TWO if followed % 2 else ONE,)):
        followed += 1
    assert followed == most


def test_one_that_refuses_a_return_sends_back_to_the_present_registrar():
    back = order(ONE, TWO)
    back.next()
    back.accepted()
    back.return_to(ONE)
    assert back.current == ONE
    assert back.next()
    assert back.current == TWO
    assert not back.next()


def test_retry_after_lengthens_a_pause_and_never_shortens_it():
    asked = order(reconnect_delays=(5,), failover_delay=1)
    asked.accepted()
    assert asked.pause_until(0.0, 120.0) == 180.0
    assert asked.pause_until(0.0, 1.0) == 1.5  # the fail-over


@given(
    st.integers(0, 2**32),
    st.lists(st.floats(0.1, 100), min_size=1, max_size=5),
    st.floats(0, 3),
    st.floats(0, 300),
)
def test_pauses_and_fail_over_keep_within_the_profile(seed, delays, jitter, failover_delay):
    tried = order(
        rng=random.Random(seed),
        reconnect_delays=tuple(delays),
        reconnect_jitter=jitter,
        failover_delay=failover_delay,
    )
    tried.accepted()
    now = lost_at = 1000.0
    for _ in range(20):
        until = tried.pause_until(now)
        assert now <= until <= now + max(delays) * (1 + jitter) + 1e-6
        now = until
        tried.begin_round(now)
        if tried.next():
            assert now >= lost_at + failover_delay - 1e-6
            return
        assert now <= lost_at + failover_delay * (1 + jitter) + 1e-6


@given(st.integers(0, 1000))
def test_phones_that_lose_one_registrar_do_not_come_back_as_one(seed):
    pauses = []
    for number in range(400):
        tried = order(rng=random.Random(f"{seed}/{number}"), reconnect_delays=(10,))
        tried.accepted()
        pauses.append(tried.pause_until(0.0))
    assert all(10 <= pause <= 20 for pause in pauses)
    tenths = [sum(10 + n <= pause < 11 + n for pause in pauses) for n in range(10)]
    assert max(tenths) < 4 * 400 / 10
    assert min(tenths) > 0
