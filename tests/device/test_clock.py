from __future__ import annotations

import datetime

import pytest
from leases import long_lease
from playing import like, matching, play

from phonesim.config.device_profile import ClockConfig
from phonesim.device import device_log as log
from phonesim.device.actions import SendNtp
from phonesim.device.clock import PhoneClock
from phonesim.device.events import (
    ClockSet,
    ExchangeEnded,
    LookupAnswered,
    LookupRequested,
    NtpPacketReceived,
    PowerApplied,
    TimerExpired,
    TimeWanted,
    WorkAbandoned,
)
from phonesim.wire.dns import DnsRecord, SrvData
from phonesim.wire.ntp import CLIENT, SERVER, NtpPacket, from_unix

ME, FIRST, SECOND, OLD = "10.0.0.50", "10.0.0.5", "10.0.0.6", "10.0.0.7"
POWER_ON = datetime.datetime(2006, 1, 1, tzinfo=datetime.UTC)
TRUE_TIME = datetime.datetime(2026, 1, 5, 7, 0, tzinfo=datetime.UTC).timestamp()
TIMER = TimerExpired()
SRV = LookupRequested(lookup_id="clock:srv", qname="_ntp._udp.contoso.com", qtype="SRV")
WINDOWS = LookupRequested(lookup_id="clock:a", qname="time.windows.com", qtype="A")
NOT_SET = ClockSet(offset=None)


def clock(**config):
    machine = PhoneClock(ClockConfig(**config))
    machine.handle(PowerApplied(), 0.0)
    return machine


def wanted(*, ntp=(FIRST,), time=(), domain="contoso.com"):
    lease = long_lease(ME, domain=domain, ntp_servers=ntp, time_servers=time)
    return TimeWanted(lease=lease)


def believed(now):
    return from_unix(POWER_ON.timestamp() + now)


def asks(server, now):
    packet = NtpPacket(mode=CLIENT, transmit=believed(now))
    return SendNtp(packet=packet, source=ME, server=server)


def answer(sent_at, *, server=FIRST, at=TRUE_TIME, **fields):
    fields = {
        "mode": SERVER,
        "stratum": 2,
        "originate": believed(sent_at),
        "receive": from_unix(at),
        "transmit": from_unix(at),
    } | fields
    return NtpPacketReceived(packet=NtpPacket(**fields), server=server)


def ended(sent, seconds):
    return ExchangeEnded(kind="ntp", sent=sent, seconds=seconds)


def found(request, *records, rcode="NOERROR"):
    return LookupAnswered(
        lookup_id=request.lookup_id,
        qname=request.qname,
        qtype=request.qtype,
        rcode=rcode,
        records=records,
        server="10.0.0.3",
    )


def a(name, address):
    return DnsRecord(name, "A", 60, address)


def srv(priority, target):
    return DnsRecord(SRV.qname, "SRV", 60, SrvData(priority, 0, 123, target))


def test_until_it_is_told_the_clock_shows_the_profile_s_time():
    machine = clock()
    machine.handle(PowerApplied(), 100.0)
    assert machine.believed(100.0) == POWER_ON.timestamp()
    assert machine.believed(160.0) == POWER_ON.timestamp() + 60


def test_option_42_sets_the_clock():
    machine = clock()
    offset = TRUE_TIME - POWER_ON.timestamp() - 1.1
    play(
        machine,
        [
            (1.0, wanted(), [log.NTP_SENT(FIRST, 1), asks(FIRST, 1.0)]),
            (1.0, None, [(2.0, "repeat the NTP packet")]),
            (
                1.2,
                answer(1.0),
                [
                    matching(log.CLOCK_SET, server=FIRST),
                    ended(1, pytest.approx(0.2)),
                    ClockSet(offset=pytest.approx(offset, abs=1e-6), server=FIRST),
                ],
            ),
            (1.2, None, []),
        ],
    )
    # RFC 4330 section 5: half of the 0.2 s that the exchange took have passed since the answer.
    assert machine.believed(1.2) == pytest.approx(TRUE_TIME + 0.1, abs=1e-6)


def test_a_silent_server_is_asked_again_then_the_next_one():
    play(
        clock(),
        [
            (0.0, wanted(ntp=(FIRST, SECOND)), [asks(FIRST, 0.0)]),
            (0.5, TIMER, []),
            (1.0, TIMER, [log.NTP_SENT(FIRST, 2), asks(FIRST, 1.0)]),
            (1.0, None, [(3.0, "repeat the NTP packet")]),
            (3.0, TIMER, [ended(2, None), asks(SECOND, 3.0)]),
            (
                3.5,
                answer(3.0, server=SECOND),
                [ended(1, 0.5), like(ClockSet, server=SECOND)],
            ),
        ],
    )


def test_the_sources_are_tried_in_the_profile_s_order():
    play(
        clock(),
        [
            (0.0, wanted(ntp=(), time=(OLD,)), [SRV]),
            (0.0, found(SRV, rcode="NXDOMAIN"), [asks(OLD, 0.0)]),
            (1.0, TIMER, [asks(OLD, 1.0)]),
            (3.0, TIMER, [ended(2, None), WINDOWS]),
            (3.0, found(WINDOWS, a("time.windows.com", "192.0.2.1")), [asks("192.0.2.1", 3.0)]),
            (4.0, TIMER, [asks("192.0.2.1", 4.0)]),
            (
                6.0,
                TIMER,
                [
                    log.CLOCK_NOT_SET(
                        "no option 42; SRV _ntp._udp.contoso.com: NXDOMAIN, no record;"
                        f" {OLD}: no answer; 192.0.2.1: no answer"
                    ),
                    ended(2, None),
                    NOT_SET,
                ],
            ),
            (6.0, None, []),
        ],
    )


def test_a_profile_can_turn_the_order_around():
    play(
        clock(sources=("time.windows.com", "time-servers", "srv", "ntp-servers")),
        [
            (0.0, wanted(time=(OLD,)), [WINDOWS]),
            (0.0, found(WINDOWS, rcode="TIMEOUT"), [asks(OLD, 0.0)]),
            (1.0, TIMER, [asks(OLD, 1.0)]),
            (3.0, TIMER, [ended(2, None), SRV]),
            (3.0, found(SRV, rcode="NXDOMAIN"), [asks(FIRST, 3.0)]),
        ],
    )


def test_the_srv_targets_are_resolved_and_asked_by_their_priority():
    target, other = (
        LookupRequested(lookup_id="clock:a", qname=f"{name}.contoso.com", qtype="A")
        for name in ("dc01", "dc02")
    )
    records = srv(0, ""), srv(20, "dc02.contoso.com"), srv(10, "dc01.contoso.com")
    play(
        clock(),
        [
            (0.0, wanted(ntp=()), [SRV]),
            (0.0, found(SRV, *records), [target]),
            (
                0.0,
                found(target, a("dc01.contoso.com", FIRST), a("dc01.contoso.com", SECOND)),
                [asks(FIRST, 0.0)],
            ),
            (1.0, TIMER, [asks(FIRST, 1.0)]),
            (3.0, TIMER, [ended(2, None), asks(SECOND, 3.0)]),
            (4.0, TIMER, [asks(SECOND, 4.0)]),
            (6.0, TIMER, [ended(2, None), other]),
            (6.0, found(other, rcode="NXDOMAIN"), [WINDOWS]),
        ],
    )


def test_an_srv_target_without_address_leads_to_the_next_source():
    target = LookupRequested(lookup_id="clock:a", qname="dc01.contoso.com", qtype="A")
    play(
        clock(),
        [
            (0.0, wanted(ntp=()), [SRV]),
            (0.0, found(SRV, srv(0, "dc01.contoso.com")), [target]),
            (0.0, found(target, rcode="NXDOMAIN"), [WINDOWS]),
        ],
    )


def test_without_a_domain_there_is_no_srv_name():
    play(clock(), [(0.0, wanted(ntp=(), domain=None), [WINDOWS])])


def test_without_any_source_the_stage_ends_at_once():
    play(clock(sources=()), [(0.0, wanted(), [NOT_SET])])


def test_an_answer_to_an_earlier_lookup_is_dropped():
    play(
        clock(),
        [
            (0.0, found(SRV, srv(0, "dc01.contoso.com")), []),
            (0.0, wanted(), [asks(FIRST, 0.0)]),
            (0.1, found(WINDOWS, a("time.windows.com", "192.0.2.1")), []),
            (0.1, None, [(1.0, "repeat the NTP packet")]),
        ],
    )


# --- answers that are not used ---


@pytest.mark.parametrize(
    "wrong",
    [
        answer(0.0, server=SECOND),
        answer(0.0, mode=CLIENT),
        answer(0.0, originate=0),
        answer(-1.0),
    ],
    ids=["server", "mode", "no originate", "another packet's originate"],
)
def test_a_packet_that_does_not_answer_ours_is_dropped_with_a_record(wrong):
    machine = clock()
    play(
        machine,
        [
            (0.0, wanted(), [asks(FIRST, 0.0)]),
            (0.5, wrong, [matching(log.NTP_IGNORED, server=wrong.server)]),
            (0.6, None, [(1.0, "repeat the NTP packet")]),
            (0.9, answer(0.0), [ended(1, 0.9), like(ClockSet, server=FIRST)]),
            (1.0, answer(0.0), [matching(log.NTP_IGNORED, server=FIRST)]),
        ],
    )
    assert machine.believed(1.0) == pytest.approx(TRUE_TIME, abs=1.0)


@pytest.mark.parametrize(
    "fields", [{"stratum": 0}, {"stratum": 16}, {"transmit": 0}, {"leap": 3}], ids=str
)
def test_a_server_that_does_not_know_the_time_is_passed_over(fields):
    machine = clock()
    play(
        machine,
        [
            (0.0, wanted(ntp=(FIRST, SECOND)), [asks(FIRST, 0.0)]),
            (
                0.5,
                answer(0.0, **fields),
                [
                    log.NTP_IGNORED(FIRST, "the server is not synchronised"),
                    ended(1, 0.5),
                    asks(SECOND, 0.5),
                ],
            ),
        ],
    )
    assert machine.believed(0.5) == POWER_ON.timestamp() + 0.5


def test_a_late_answer_to_the_first_packet_counts_by_when_that_was_sent():
    machine = clock()
    play(
        machine,
        [
            (0.0, wanted(), [asks(FIRST, 0.0)]),
            (1.0, TIMER, [asks(FIRST, 1.0)]),
            (1.2, answer(0.0), [ended(2, 1.2), like(ClockSet)]),
            (1.3, answer(1.0), [matching(log.NTP_IGNORED)]),
        ],
    )
    assert machine.believed(1.2) == pytest.approx(TRUE_TIME + 0.6, abs=1e-6)


def test_what_is_abandoned_is_over():
    machine = clock()
    machine.handle(wanted(), 0.0)
    machine.handle(WorkAbandoned(), 0.0)
    play(
        machine,
        [(0.1, None, []), (0.2, answer(0.0), [matching(log.NTP_IGNORED)]), (1.0, TIMER, [])],
    )


def test_asking_again_forgets_the_servers_of_the_last_lease():
    machine = clock()
    machine.handle(wanted(ntp=(FIRST, SECOND)), 0.0)
    machine.handle(WorkAbandoned(), 0.0)
    play(machine, [(9.0, wanted(ntp=()), [SRV])])


def test_an_answer_to_another_lookup_than_the_open_one_is_dropped():
    play(
        clock(),
        [
            (0.0, wanted(ntp=()), [SRV]),
            (0.0, found(WINDOWS, a("time.windows.com", "192.0.2.1")), []),
            (0.0, found(SRV, rcode="NXDOMAIN"), [WINDOWS]),
        ],
    )


def test_the_time_can_be_asked_for_again():
    machine = clock()
    machine.handle(wanted(), 0.0)
    machine.handle(answer(0.0), 0.0)
    outputs = machine.handle(wanted(), 10.0)
    (sent,) = [item for item in outputs if isinstance(item, SendNtp)]
    assert sent.packet.transmit == pytest.approx(from_unix(TRUE_TIME + 10), abs=1 << 32)


def test_a_time_that_was_typed_in_goes_before_the_profile_s():
    clock = PhoneClock(ClockConfig())
    clock.handle(PowerApplied(clock=1.7e9), 100.0)
    assert clock.believed(103.0) == 1.7e9 + 3
