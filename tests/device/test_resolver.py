from __future__ import annotations

import random

import pytest
from leases import long_lease
from playing import Dice, containing, like, matching, play

from phonesim.config.device_profile import ResolverConfig
from phonesim.device import device_log as log
from phonesim.device.actions import SendDns
from phonesim.device.events import (
    AttemptEnded,
    DnsResponseReceived,
    ExchangeEnded,
    LeaseBound,
    LookupAnswered,
    LookupRequested,
    TimerExpired,
    WorkAbandoned,
)
from phonesim.device.resolver import Resolver
from phonesim.wire.dns import DnsQuery, DnsRecord, DnsResponse, SrvData

FIRST, SECOND, THIRD = "10.0.0.3", "10.0.0.4", "10.0.0.9"
ME = "10.0.0.50"
NAME = "fe01.contoso.com"
TIMER = TimerExpired()


def leased(*servers, address=ME, **more):
    return LeaseBound(lease=long_lease(address, dns_servers=servers, **more))


def resolver(*servers, **config):
    machine = Resolver(ResolverConfig(**config), Dice())
    machine.handle(leased(*(servers or (FIRST, SECOND))), 0.0)
    return machine


def look_up(qname=NAME, qtype="A", lookup_id="test:1"):
    return LookupRequested(lookup_id=lookup_id, qname=qname, qtype=qtype)


def query(query_id, server=FIRST, *, qname=NAME, qtype="A", over_tcp=False):
    return SendDns(
        query=DnsQuery(id=query_id, qname=qname, qtype=qtype),
        source=ME,
        server=server,
        over_tcp=over_tcp,
    )


def a(data, name=NAME, ttl=60):
    return DnsRecord(name, "A", ttl, data)


def cname(name, target, ttl=60):
    return DnsRecord(name, "CNAME", ttl, target)


def response(
    query_id,
    *answers,
    server=FIRST,
    qname=NAME,
    qtype="A",
    rcode="NOERROR",
    truncated=False,
    over_tcp=False,
):
    return DnsResponseReceived(
        response=DnsResponse(
            id=query_id,
            qname=qname,
            qtype=qtype,
            rcode=rcode,
            answers=answers,
            truncated=truncated,
        ),
        server=server,
        over_tcp=over_tcp,
    )


def answered(*records, rcode="NOERROR", server=FIRST, qname=NAME, qtype="A", lookup_id="test:1"):
    return LookupAnswered(
        lookup_id=lookup_id, qname=qname, qtype=qtype, rcode=rcode, records=records, server=server
    )


def ended(sent, seconds, waited=None, *, server=FIRST, answer="NOERROR"):
    if seconds is None:
        return ExchangeEnded(kind="dns", sent=sent, seconds=None)
    return ExchangeEnded(
        kind="dns",
        sent=sent,
        seconds=seconds,
        server=server,
        answer=answer,
        waited=seconds if waited is None else waited,
    )


def timed_out(server=FIRST):
    return AttemptEnded(kind="dns", server=server)


def failed(answer, waited, server=FIRST):
    return AttemptEnded(kind="dns", server=server, answer=answer, waited=pytest.approx(waited))


def test_a_name_is_asked_of_the_first_server():
    play(
        resolver(),
        [
            (1.0, look_up(), [log.DNS_SENT("A", NAME, FIRST, "udp", 1), query(1)]),
            (1.0, None, [(2.0, "repeat a DNS query")]),
            (
                1.5,
                response(1, a("10.0.0.21"), a("10.0.0.22")),
                [
                    log.DNS_ANSWER(
                        "A", NAME, "NOERROR", FIRST, "A 10.0.0.21 ttl 60, A 10.0.0.22 ttl 60"
                    ),
                    ended(1, 0.5),
                    answered(a("10.0.0.21"), a("10.0.0.22")),
                ],
            ),
            (1.5, None, []),
        ],
    )


def test_an_unanswered_query_goes_to_the_servers_in_turn_with_the_profile_s_time_outs():
    play(
        resolver(),
        [
            (0.0, look_up(), [query(1, FIRST)]),
            (0.9, TIMER, []),
            (
                1.0,
                TIMER,
                [log.DNS_SENT("A", NAME, SECOND, "udp", 2), timed_out(), query(1, SECOND)],
            ),
            (3.0, TIMER, [timed_out(SECOND), query(1, FIRST)]),
            (5.0, TIMER, [timed_out(), query(1, SECOND)]),
            (5.0, None, [(9.0, "repeat a DNS query")]),
            (
                9.0,
                TIMER,
                [timed_out(SECOND), ended(4, None), answered(rcode="TIMEOUT", server=None)],
            ),
            (9.0, None, []),
        ],
    )


def test_an_answer_of_a_later_server_counts():
    play(
        resolver(),
        [
            (0.0, look_up(), [query(1)]),
            (1.0, TIMER, [timed_out(), query(1, SECOND)]),
            (
                1.5,
                response(1, a("10.0.0.21"), server=SECOND),
                [ended(2, 1.5, 0.5, server=SECOND), answered(a("10.0.0.21"), server=SECOND)],
            ),
        ],
    )


def test_a_single_server_is_asked_again():
    play(resolver(FIRST), [(0.0, look_up(), [query(1)]), (1.0, TIMER, [timed_out(), query(1)])])


def test_without_servers_nothing_is_asked():
    machine = Resolver(ResolverConfig(), Dice())
    play(machine, [(0.0, look_up(), [answered(rcode="TIMEOUT", server=None)]), (0.0, None, [])])


def test_names_are_asked_in_lower_case_without_the_final_dot():
    play(resolver(), [(0.0, look_up("FE01.Contoso.COM."), [query(1)])])


def test_lookups_run_side_by_side_under_ids_of_their_own():
    play(
        resolver(),
        [
            (0.0, look_up(lookup_id="one:"), [query(1)]),
            (0.5, look_up(qtype="SRV", lookup_id="two:"), [query(2, qtype="SRV")]),
            (0.5, None, [(1.0, "repeat a DNS query")]),
            (
                0.6,
                response(2, qtype="SRV"),
                [ended(1, pytest.approx(0.1)), answered(qtype="SRV", lookup_id="two:")],
            ),
            (
                0.7,
                response(1, a("10.1.1.1")),
                [ended(1, 0.7), answered(a("10.1.1.1"), lookup_id="one:")],
            ),
        ],
    )


def test_two_lookups_never_share_an_id():
    class Stuck(Dice):
        def getrandbits(self, k):
            self.rolled += 1
            return min(self.rolled // 3, 1)

    machine = Resolver(ResolverConfig(), Stuck())
    machine.handle(leased(FIRST), 0.0)
    play(
        machine,
        [
            (0.0, look_up(), [query(0)]),
            (0.0, look_up("b.contoso.com"), [query(1, qname="b.contoso.com")]),
        ],
    )


# --- final and passing answers ---


@pytest.mark.parametrize("rcode", ["NXDOMAIN", "NOERROR"])
def test_no_such_name_and_no_such_record_are_answers(rcode):
    play(
        resolver(),
        [
            (0.0, look_up(), [query(1)]),
            (
                0.1,
                response(1, rcode=rcode),
                [
                    log.DNS_ANSWER("A", NAME, rcode, FIRST, "no records"),
                    ended(1, 0.1, answer=rcode),
                    answered(rcode=rcode),
                ],
            ),
        ],
    )


@pytest.mark.parametrize("rcode", ["SERVFAIL", "REFUSED", "FORMERR", "NOTIMP"])
def test_a_server_that_fails_sends_the_lookup_on_at_once(rcode):
    play(
        resolver(),
        [
            (0.0, look_up(), [query(1)]),
            (
                0.1,
                response(1, rcode=rcode),
                [matching(log.DNS_ANSWER, rcode=rcode), failed(rcode, 0.1), query(1, SECOND)],
            ),
            (
                0.2,
                response(1, a("10.0.0.21"), server=SECOND),
                [
                    ended(2, 0.2, pytest.approx(0.1), server=SECOND),
                    answered(a("10.0.0.21"), server=SECOND),
                ],
            ),
        ],
    )


def test_when_every_server_fails_the_last_failure_is_the_answer():
    rcode = "SERVFAIL"
    play(
        resolver(),
        [
            (0.0, look_up(), [query(1)]),
            (0.1, response(1, rcode=rcode), [failed(rcode, 0.1), query(1, SECOND)]),
            (
                0.2,
                response(1, server=SECOND, rcode=rcode),
                [failed(rcode, 0.1, SECOND), query(1, FIRST)],
            ),
            (0.3, response(1, rcode=rcode), [failed(rcode, 0.1), query(1, SECOND)]),
            (4.3, TIMER, [timed_out(SECOND), ended(4, None), answered(server=None, rcode=rcode)]),
        ],
    )


def test_the_answer_of_a_server_that_is_not_asked_any_more_is_dropped():
    play(
        resolver(),
        [
            (0.0, look_up(), [query(1)]),
            (1.0, TIMER, [timed_out(), query(1, SECOND)]),
            (
                1.1,
                response(1, a("10.0.0.21")),
                [
                    matching(
                        log.DNS_IGNORED, qname=NAME, server=FIRST, detail=containing("open query")
                    )
                ],
            ),
            (3.0, TIMER, [timed_out(SECOND), query(1)]),
        ],
    )


@pytest.mark.parametrize(
    "wrong",
    [
        response(2, a("10.6.6.6")),
        response(1, a("10.6.6.6"), server=THIRD),
        response(1, a("10.6.6.6", "evil.contoso.com"), qname="evil.contoso.com"),
        response(1, qtype="SRV"),
    ],
    ids=["id", "server", "name", "type"],
)
def test_an_answer_that_no_query_expects_is_dropped_with_a_record(wrong):
    play(
        resolver(),
        [
            (0.0, wrong, [matching(log.DNS_IGNORED)]),
            (0.0, look_up(), [query(1)]),
            (0.1, wrong, [matching(log.DNS_IGNORED, server=wrong.server)]),
            (0.2, response(1, a("10.0.0.21")), [ended(1, 0.2), answered(a("10.0.0.21"))]),
            (0.3, response(1, a("10.0.0.21")), [matching(log.DNS_IGNORED)]),
        ],
    )


def test_records_of_other_names_and_types_are_left_out():
    other = DnsRecord("other.contoso.com", "A", 60, "10.6.6.6")
    srv = DnsRecord(NAME, "SRV", 60, SrvData(1, 1, 1, "x.contoso.com"))
    play(
        resolver(),
        [
            (0.0, look_up(), [query(1)]),
            (
                0.1,
                response(1, other, srv, a("10.0.0.21")),
                [ended(1, 0.1), answered(a("10.0.0.21"))],
            ),
        ],
    )


# --- CNAME ---


def test_a_cname_in_the_answer_is_followed():
    target = a("10.0.0.21", "real.contoso.com")
    play(
        resolver(),
        [
            (0.0, look_up(), [query(1)]),
            (
                0.1,
                response(1, cname(NAME, "real.contoso.com"), target),
                [ended(1, 0.1), answered(target)],
            ),
        ],
    )


def test_a_cname_without_its_target_takes_a_second_query():
    target = a("10.0.0.21", "real.contoso.com")
    play(
        resolver(),
        [
            (0.0, look_up(), [query(1)]),
            (
                0.1,
                response(1, cname(NAME, "real.contoso.com")),
                [ended(1, 0.1), query(2, qname="real.contoso.com")],
            ),
            (
                0.3,
                response(2, target, qname="real.contoso.com"),
                [ended(1, pytest.approx(0.2)), answered(target, qname="real.contoso.com")],
            ),
        ],
    )


def test_a_cname_to_a_name_that_does_not_exist_is_final():
    play(
        resolver(),
        [
            (0.0, look_up(), [query(1)]),
            (
                0.1,
                response(1, cname(NAME, "gone.contoso.com"), rcode="NXDOMAIN"),
                [ended(1, 0.1, answer="NXDOMAIN"), answered(rcode="NXDOMAIN")],
            ),
        ],
    )


@pytest.mark.parametrize(
    "loop",
    [
        (cname(NAME, NAME),),
        (cname(NAME, "b.contoso.com"), cname("b.contoso.com", NAME)),
        (
            cname(NAME, "b.contoso.com"),
            cname("b.contoso.com", "c.contoso.com"),
            cname("c.contoso.com", "b.contoso.com"),
        ),
    ],
)
def test_a_cname_loop_in_one_answer_ends(loop):
    machine = resolver()
    machine.handle(look_up(), 0.0)
    play(machine, [(0.1, response(1, *loop), [ended(1, 0.1), like(LookupAnswered, records=())])])
    assert machine.next_deadline() is None


def test_cnames_that_lead_on_for_ever_end():
    machine = resolver()
    outputs = machine.handle(look_up("c0.contoso.com"), 0.0)
    for hop in range(20):
        (sent,) = [item for item in outputs if isinstance(item, SendDns)] or [None]
        if sent is None:
            break
        name = sent.query.qname
        alias = cname(name, f"c{hop + 1}.contoso.com")
        outputs = machine.handle(response(sent.query.id, alias, qname=name), 0.0)
    assert hop == 9
    assert like(LookupAnswered, rcode="SERVFAIL", records=()) in outputs


# --- TCP ---


def test_a_truncated_answer_is_asked_for_again_over_tcp():
    play(
        resolver(),
        [
            (0.0, look_up(), [query(1)]),
            (
                0.5,
                response(1, a("10.0.0.21"), truncated=True),
                [
                    log.DNS_SENT("A", NAME, FIRST, "tcp", 1),
                    failed("TC", 0.5),
                    query(1, over_tcp=True),
                ],
            ),
            (0.5, None, [(1.5, "repeat a DNS query")]),
            (
                0.6,
                response(1, a("10.0.0.21"), truncated=True),
                [matching(log.DNS_IGNORED, detail=containing("over TCP already"))],
            ),
            (
                0.9,
                response(1, a("10.0.0.21"), a("10.0.0.22"), over_tcp=True),
                [ended(2, 0.9, pytest.approx(0.4)), answered(a("10.0.0.21"), a("10.0.0.22"))],
            ),
        ],
    )


def test_without_an_answer_over_tcp_the_next_server_is_asked_over_udp():
    play(
        resolver(),
        [
            (0.0, look_up(), [query(1)]),
            (0.5, response(1, truncated=True), [failed("TC", 0.5), query(1, over_tcp=True)]),
            (1.5, TIMER, [timed_out(), query(1, SECOND)]),
            (
                1.6,
                response(1, truncated=True, server=SECOND),
                [failed("TC", 0.1, SECOND), query(1, SECOND, over_tcp=True)],
            ),
        ],
    )


def test_a_truncated_answer_over_tcp_is_all_there_is():
    play(
        resolver(),
        [
            (0.0, look_up(), [query(1)]),
            (0.1, response(1, truncated=True), [failed("TC", 0.1), query(1, over_tcp=True)]),
            (
                0.2,
                response(1, a("10.0.0.21"), truncated=True, over_tcp=True),
                [ended(2, 0.2, pytest.approx(0.1)), answered(a("10.0.0.21"))],
            ),
        ],
    )


def test_ids_fit_their_field():
    machine = Resolver(ResolverConfig(), random.Random(1))
    machine.handle(leased(FIRST), 0.0)
    ids = set()
    for number in range(300):
        outputs = machine.handle(look_up(f"n{number}.contoso.com"), 0.0)
        ids |= {item.query.id for item in outputs if isinstance(item, SendDns)}
    assert len(ids) == 300
    assert 1 << 12 < max(ids) < 1 << 16


# --- the cache ---


def test_an_answer_is_kept_for_its_shortest_ttl():
    records = a("10.0.0.21", ttl=60), a("10.0.0.22", ttl=30)
    play(
        resolver(),
        [
            (0.0, look_up(), [query(1)]),
            (0.0, response(1, *records), [ended(1, 0.0), answered(*records)]),
            (29.9, look_up(), [answered(*records)]),
            (29.9, look_up("FE01.contoso.com."), [answered(*records)]),
            (29.9, look_up(qtype="SRV"), [query(2, qtype="SRV")]),
            (30.0, look_up(), [query(3)]),
        ],
    )


@pytest.mark.parametrize("at_once", [True, False])
def test_a_cname_s_ttl_bounds_what_is_kept(at_once):
    alias, target = cname(NAME, "real.contoso.com", ttl=10), a("10.0.0.21", "real.contoso.com")
    machine = resolver()
    machine.handle(look_up(), 0.0)
    if at_once:
        machine.handle(response(1, alias, target), 0.0)
    else:
        machine.handle(response(1, alias), 0.0)
        machine.handle(response(2, target, qname="real.contoso.com"), 0.0)
    play(machine, [(9.9, look_up(), [answered(target)]), (10.0, look_up(), [like(SendDns)])])


@pytest.mark.parametrize("rcode", ["NXDOMAIN", "NOERROR"])
def test_what_does_not_exist_is_asked_for_every_time(rcode):
    play(
        resolver(),
        [
            (0.0, look_up(), [query(1)]),
            (0.0, response(1, rcode=rcode), [ended(1, 0.0, answer=rcode), answered(rcode=rcode)]),
            (0.1, look_up(), [query(2)]),
        ],
    )


def test_a_ttl_of_zero_and_a_profile_without_cache_keep_nothing():
    for machine, ttl in ((resolver(), 0), (resolver(caches_answers=False), 60)):
        machine.handle(look_up(), 0.0)
        machine.handle(response(1, a("10.0.0.21", ttl=ttl)), 0.0)
        play(machine, [(0.0, look_up(), [query(2)])])


# --- the lease changes ---


def test_a_renewal_without_servers_ends_open_lookups_when_they_are_due():
    play(
        resolver(),
        [
            (0.0, look_up(), [query(1)]),
            (0.5, leased(), []),
            (
                1.0,
                TIMER,
                [timed_out(), ended(1, None), answered(rcode="TIMEOUT", server=None)],
            ),
        ],
    )


def test_a_renewal_without_servers_ends_a_cname_s_second_query():
    play(
        resolver(),
        [
            (0.0, look_up(), [query(1)]),
            (0.5, leased(), []),
            (
                0.6,
                response(1, cname(NAME, "real.contoso.com")),
                [
                    ended(1, 0.6),
                    answered(rcode="TIMEOUT", server=None, qname="real.contoso.com"),
                ],
            ),
        ],
    )


def test_what_is_abandoned_is_not_repeated_and_its_answer_dropped():
    machine = resolver()
    machine.handle(look_up(), 0.0)
    machine.handle(WorkAbandoned(), 0.0)
    play(
        machine,
        [
            (0.1, None, []),
            (0.1, response(1, a("10.0.0.21")), [matching(log.DNS_IGNORED)]),
            (1.0, TIMER, []),
        ],
    )


def test_srv_records_are_described_with_their_targets():
    qname = "_sip._tls.contoso.com"
    records = (
        DnsRecord(qname, "SRV", 60, SrvData(10, 5, 5061, NAME)),
        DnsRecord(qname, "SRV", 60, SrvData(0, 0, 0, "")),
    )
    play(
        resolver(),
        [
            (0.0, look_up(qname, "SRV"), [query(1, qname=qname, qtype="SRV")]),
            (
                0.0,
                response(1, *records, qname=qname, qtype="SRV"),
                [
                    matching(
                        log.DNS_ANSWER,
                        records="SRV 10 5 5061 fe01.contoso.com ttl 60, SRV 0 0 0 . ttl 60",
                    ),
                    ended(1, 0.0),
                    answered(*records, qname=qname, qtype="SRV"),
                ],
            ),
        ],
    )


# --- the search list ---

ALIAS = "fe01"
LISTED = {"domain": "contoso.com", "search_list": ("eu.contoso.com", "contoso.com")}


def searching(lease=LISTED, **config):
    machine = Resolver(ResolverConfig(search="list", **config), Dice())
    machine.handle(leased(FIRST, **lease), 0.0)
    return machine


def asked_names(machine, request, rcode="NXDOMAIN"):
    """The names that are asked for while none of them exists, and the lookup's end."""
    names = []
    outputs = machine.handle(request, 0.0)
    while sent := [item for item in outputs if isinstance(item, SendDns)]:
        names.append(sent[0].query.qname)
        given = response(sent[0].query.id, qname=names[-1], qtype=sent[0].query.qtype, rcode=rcode)
        outputs = machine.handle(given, 0.0)
    assert machine.next_deadline() is None
    return names, outputs[-1]


@pytest.mark.parametrize(
    ("qname", "config", "names"),
    [
        ("fe01", {}, ["fe01.eu.contoso.com", "fe01.contoso.com", "fe01"]),
        ("fe01.x", {}, ["fe01.x", "fe01.x.eu.contoso.com", "fe01.x.contoso.com"]),
        (
            "fe01.x",
            {"search_dots": 2},
            ["fe01.x.eu.contoso.com", "fe01.x.contoso.com", "fe01.x"],
        ),
        ("fe01", {"search_dots": 0}, ["fe01", "fe01.eu.contoso.com", "fe01.contoso.com"]),
        ("fe01", {"search": "suffix"}, ["fe01.contoso.com", "fe01"]),
        ("fe01", {"search": "off"}, ["fe01"]),
        ("fe01.", {}, ["fe01"]),
    ],
)
@pytest.mark.parametrize("rcode", ["NXDOMAIN", "NOERROR"])
def test_a_name_is_completed_until_one_exists(qname, config, names, rcode):
    machine = Resolver(ResolverConfig(**{"search": "list", **config}), Dice())
    machine.handle(leased(FIRST, **LISTED), 0.0)
    asked, end = asked_names(machine, look_up(qname), rcode)
    assert asked == names
    assert end == answered(rcode=rcode, qname=names[-1])


def test_the_suffix_stands_in_for_a_missing_search_list():
    machine = searching({"domain": "contoso.com"})
    assert asked_names(machine, look_up("fe01"))[0] == ["fe01.contoso.com", "fe01"]
    assert asked_names(searching({}), look_up("fe01"))[0] == ["fe01"]


def test_only_the_types_of_the_profile_are_completed():
    qname = "_sip._tls.contoso.com"
    assert asked_names(searching(), look_up(qname, "SRV"))[0] == [qname]
    machine = searching(search_types=("A", "SRV"))
    assert len(asked_names(machine, look_up(qname, "SRV"))[0]) == 3


def test_the_name_that_exists_is_the_answer_and_is_kept_for_what_was_asked():
    found = a("10.0.0.21", "fe01.contoso.com")
    end = answered(found, qname="fe01.contoso.com")
    play(
        searching(),
        [
            (0.0, look_up(ALIAS), [query(1, qname="fe01.eu.contoso.com")]),
            (
                0.1,
                response(1, qname="fe01.eu.contoso.com", rcode="NXDOMAIN"),
                [ended(1, 0.1, answer="NXDOMAIN"), query(2, qname="fe01.contoso.com")],
            ),
            (0.3, response(2, found, qname="fe01.contoso.com"), [like(ExchangeEnded), end]),
            (0.4, look_up(ALIAS), [answered(found, qname=ALIAS)]),
        ],
    )


def test_a_server_that_fails_says_nothing_about_the_name_and_ends_the_search():
    play(
        searching(attempt_timeouts=(1,)),
        [
            (0.0, look_up(ALIAS), [query(1, qname="fe01.eu.contoso.com")]),
            (1.0, TIMER, [timed_out(), ended(1, None), like(LookupAnswered, rcode="TIMEOUT")]),
            (1.0, look_up(ALIAS), [like(SendDns)]),
            (
                1.1,
                response(2, qname="fe01.eu.contoso.com", rcode="SERVFAIL"),
                [failed("SERVFAIL", 0.1), ended(1, None), like(LookupAnswered, rcode="SERVFAIL")],
            ),
        ],
    )


def test_a_cname_s_second_query_goes_on_with_the_search():
    alias = cname("fe01.eu.contoso.com", "gone.contoso.com")
    play(
        searching(),
        [
            (0.0, look_up(ALIAS), [query(1, qname="fe01.eu.contoso.com")]),
            (
                0.0,
                response(1, alias, qname="fe01.eu.contoso.com"),
                [like(ExchangeEnded), query(2, qname="gone.contoso.com")],
            ),
            (
                0.0,
                response(2, qname="gone.contoso.com", rcode="NXDOMAIN"),
                [like(ExchangeEnded), query(3, qname="fe01.contoso.com")],
            ),
        ],
    )


def test_names_that_dns_cannot_hold_are_passed_over():
    label = "x" * 63
    long = ".".join([label] * 3 + ["y" * 55])
    assert asked_names(searching(), look_up(long))[0] == [long]
