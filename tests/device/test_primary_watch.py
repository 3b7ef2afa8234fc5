from __future__ import annotations

import random

import pytest
from playing import Dice, like, matching, play

from phonesim.config.device_profile import RegistrationConfig
from phonesim.device import device_log as log
from phonesim.device.actions import CloseConnection, OpenConnection
from phonesim.device.events import (
    ConnectionFailed,
    ConnectionOpened,
    LookupAnswered,
    LookupRequested,
    PrimaryAnswered,
    PrimaryUnwanted,
    PrimaryWanted,
    RegistrarAddress,
    ShutdownRequested,
    TimerExpired,
)
from phonesim.device.outcome import ConnectFailure
from phonesim.device.primary_watch import PrimaryWatch
from phonesim.wire.dns import DnsRecord

TIMER = TimerExpired()
FE01 = RegistrarAddress(host="fe01.contoso.com", port=5061, transport="tls", source="inband:x")
PLAIN = RegistrarAddress(host="10.0.0.30", port=5060, transport="tcp", source="inband:x")
LOOKUP = LookupRequested(lookup_id="primary_watch:registrar", qname="fe01.contoso.com", qtype="A")
CLOSES = CloseConnection(connection_id=-1)
OPENED = ConnectionOpened(connection_id=-1, local_address="10.0.0.50", local_port=1)
REFUSED = ConnectionFailed(connection_id=-1, failure=ConnectFailure.REFUSED, detail="no luck")
LOOK = "look for the primary Registrar"


def watch(rng=None, **config):
    return PrimaryWatch(RegistrationConfig(**config), rng or Dice(), lambda now: 1e9 + now)


def wanted(registrar=FE01):
    return PrimaryWanted(registrar=registrar, source="10.0.0.50", chain=b"chain")


def found(*addresses):
    return LookupAnswered(
        lookup_id="primary_watch:registrar",
        qname=FE01.host,
        qtype="A",
        rcode="NOERROR" if addresses else "TIMEOUT",
        records=tuple(DnsRecord(FE01.host, "A", 60, address) for address in addresses),
    )


def test_it_looks_now_and_then_until_the_primary_answers():
    play(
        watch(return_interval=60),
        [
            (0.0, wanted(), []),
            (0.0, None, [(90.0, LOOK)]),  # the dice give 1.5 times the interval
            (89.0, TIMER, []),
            (90.0, TIMER, [LOOKUP]),
            (90.0, None, []),
            (
                91.0,
                found("10.0.0.21"),
                [
                    OpenConnection(
                        connection_id=-1,
                        source="10.0.0.50",
                        address="10.0.0.21",
                        port=5061,
                        transport="tls",
                        server_name="fe01.contoso.com",
                        trust=b"chain",
                        clock=1e9 + 91,
                        timeout=10,
                    )
                ],
            ),
            (92.0, REFUSED, [log.PRIMARY_PROBED("fe01.contoso.com:5061", "no luck")]),
            (92.0, None, [(182.0, LOOK)]),
            (182.0, TIMER, [LOOKUP]),
            (182.0, found(), [matching(log.PRIMARY_PROBED)]),
            (272.0, TIMER, [LOOKUP]),
            (272.0, found("10.0.0.21"), [like(OpenConnection, connection_id=-2)]),
            (273.0, OPENED, []),  # the first connection's, late
            (
                273.0,
                ConnectionOpened(connection_id=-2, local_address="10.0.0.50", local_port=1),
                [
                    log.PRIMARY_PROBED("fe01.contoso.com:5061", "it answers"),
                    CloseConnection(connection_id=-2),
                    PrimaryAnswered(registrar=FE01),
                ],
            ),
            (273.0, None, []),
        ],
    )


def test_an_address_needs_no_lookup_and_tcp_no_trust():
    play(
        watch(return_interval=10),
        [
            (0.0, wanted(PLAIN), []),
            (
                15.0,
                TIMER,
                [like(OpenConnection, address="10.0.0.30", trust=None)],
            ),
        ],
    )


@pytest.mark.parametrize("end", [PrimaryUnwanted(), ShutdownRequested()])
@pytest.mark.parametrize(
    ("events", "expected"),
    [
        ([], []),
        ([TIMER], []),
        ([TIMER, found("10.0.0.21")], [CLOSES]),
    ],
    ids=["waiting", "resolving", "connecting"],
)
def test_it_stops_at_once(end, events, expected):
    machine = watch(return_interval=10)
    machine.handle(wanted(), 0.0)
    for event in events:
        machine.handle(event, 20.0)
    play(
        machine,
        [
            (20.0, end, expected),
            (20.0, None, []),
            (20.0, found("10.0.0.21"), []),
            (20.0, OPENED, []),
            (20.0, REFUSED, []),
            (99.0, TIMER, []),
        ],
    )


def test_wanting_it_twice_does_not_put_the_look_off():
    machine = watch(return_interval=60)
    machine.handle(wanted(), 0.0)
    machine.handle(wanted(), 50.0)
    assert machine.next_deadline() == (90.0, LOOK)


def test_a_fleet_does_not_look_as_one():
    looks = set()
    for seed in range(50):
        machine = watch(random.Random(seed), return_interval=60)
        machine.handle(wanted(), 0.0)
        looks.add(machine.next_deadline()[0])
    assert len(looks) == 50
    assert all(60 <= at <= 120 for at in looks)
    assert max(looks) - min(looks) > 40
