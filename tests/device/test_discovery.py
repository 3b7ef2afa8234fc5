from __future__ import annotations

import random
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st
from leases import long_lease
from playing import Dice, containing, like, matching, play

from phonesim.config.device_profile import DiscoveryConfig, FallbackName, SrvName
from phonesim.device import device_log as log
from phonesim.device.actions import SendDhcp
from phonesim.device.discovery import Discovery, interleave_registrars, order_targets
from phonesim.device.events import (
    DhcpAnswerKept,
    DhcpMessageReceived,
    DiscoveryWanted,
    DnsAnswerKept,
    ExchangeEnded,
    LookupAnswered,
    LookupRequested,
    RegistrarAddress,
    ServicesLocated,
    TimerExpired,
    WebServicesAddress,
    WorkAbandoned,
)
from phonesim.wire.dhcp import (
    BOOTREPLY,
    BROADCAST,
    DhcpMessage,
    MessageType,
    encode_addresses,
)
from phonesim.wire.dns import DnsRecord, SrvData
from phonesim.wire.provisioning import UcOptions, encode_sip_servers, encode_uc_options

MAC = bytes.fromhex("0004F2000001")
ME, SERVER, OTHER = "10.0.0.50", "10.0.0.1", "10.0.0.2"
PATH = "/CertProv/CertProvisioningService.svc"
INTERNAL, EXTERNAL = "_sipinternaltls._tcp.contoso.com", "_sip._tls.contoso.com"
TIMER = TimerExpired()


def discovery(rng=None, **config):
    return Discovery(DiscoveryConfig(**config), MAC, rng or Dice())


def wanted(domain="contoso.com"):
    return DiscoveryWanted(lease=long_lease(ME, domain=domain))


def inform(secs=0):
    message = DhcpMessage(
        message_type=MessageType.INFORM,
        xid=1,
        secs=secs,
        ciaddr=ME,
        chaddr=MAC,
        options={53: b"\x08", 61: b"\x01" + MAC, 60: b"MS-UC-Client", 55: bytes((43, 120))},
    )
    return SendDhcp(message=message, source=ME, destination=BROADCAST)


def uc(**fields):
    fields = {
        "uc_identifier": "MS-UC-Client",
        "url_scheme": "https",
        "web_server_fqdn": "webpool.contoso.com",
        "web_server_port": 443,
        "cert_prov_rel_path": PATH,
    } | fields
    return encode_uc_options(UcOptions(**fields))


def ack(
    *, option_43=None, option_120=None, source=SERVER, server=None, message_type=MessageType.ACK
):
    options = {53: bytes((message_type,))}
    if server is not None:
        options[54] = server if isinstance(server, bytes) else encode_addresses((server,))
    if option_43 is not None:
        options[43] = option_43
    if option_120 is not None:
        options[120] = option_120
    message = DhcpMessage(
        message_type=message_type, op=BOOTREPLY, xid=1, chaddr=MAC, options=options
    )
    return DhcpMessageReceived(message=message, source=source)


def full_ack(*, host="webpool.contoso.com", registrars=("fe01.contoso.com",), **fields):
    return ack(
        option_43=uc(web_server_fqdn=host), option_120=encode_sip_servers(registrars), **fields
    )


def lookup(qname, qtype="SRV"):
    return LookupRequested(lookup_id=f"discovery:{qname}", qname=qname, qtype=qtype)


LOOKUPS = [lookup(INTERNAL), lookup(EXTERNAL)]
FALLBACKS = [lookup(f"{name}.contoso.com", "A") for name in ("sipinternal", "sip", "sipexternal")]


def srv(*targets, qname=INTERNAL, rcode="NOERROR"):
    records = tuple(
        DnsRecord(qname, "SRV", 60, SrvData(priority, 0, port, target))
        for priority, port, target in targets
    )
    return LookupAnswered(
        lookup_id=f"discovery:{qname}", qname=qname, qtype="SRV", rcode=rcode, records=records
    )


def no_srv(qname):
    return srv(qname=qname, rcode="NXDOMAIN")


def a(name, *addresses):
    qname = f"{name}.contoso.com"
    return LookupAnswered(
        lookup_id=f"discovery:{qname}",
        qname=qname,
        qtype="A",
        rcode="NOERROR" if addresses else "NXDOMAIN",
        records=tuple(DnsRecord(qname, "A", 60, address) for address in addresses),
    )


def web(host="webpool.contoso.com", source=f"dhcp:{SERVER}"):
    return WebServicesAddress(scheme="https", host=host, port=443, path=PATH, source=source)


def registrar(host, source=f"dhcp:{SERVER}", port=5061, transport="tls"):
    return RegistrarAddress(host=host, port=port, transport=transport, source=source)


def from_dns(host, qname=INTERNAL, **fields):
    return registrar(host, f"dns:{qname}", **fields)


def kept(web_services, *registrars, server=SERVER):
    return DhcpAnswerKept(server=server, web_services=web_services, registrars=registrars)


def located(web_services, *registrars):
    return like(ServicesLocated, web_services=web_services, registrars=registrars)


def asked(seconds, sent=1, server=SERVER):
    by = {} if seconds is None else {"server": server, "answer": "ACK"}
    return ExchangeEnded(kind="dhcp_inform", sent=sent, seconds=seconds, **by)


FE01 = registrar("fe01.contoso.com")
FULL = [asked(1.0), kept(web(), FE01), located(web(), FE01)]


def begun(now=0.0, rng=None, **config):
    machine = discovery(rng, **config)
    machine.handle(wanted(), now)
    return machine


# --- asking ---


def test_inform_and_srv_queries_start_together():
    play(
        discovery(),
        [
            (
                0.0,
                wanted(),
                [
                    log.DISCOVERY_STARTED(
                        "contoso.com", "no usable cache: INFORM and DNS SRV are asked together"
                    ),
                    log.DHCP_SENT("INFORM", 1, 0, ME, BROADCAST, "MS-UC-Client", "43,120", 1),
                    inform(),
                    *LOOKUPS,
                ],
            ),
            (0.0, None, [(4.0, "repeat INFORM")]),
        ],
    )


def test_inform_is_repeated_until_the_profile_s_delays_are_used_up():
    play(
        begun(),
        [
            (3.9, TIMER, []),
            (4.0, TIMER, [matching(log.DHCP_SENT, type="INFORM", attempt=2), inform()]),
            (4.0, None, [(12.0, "repeat INFORM")]),
            (12.0, TIMER, [log.DHCP_NO_ANSWER("INFORM", 2), asked(None, 2)]),
            (12.0, None, []),
        ],
    )


def test_without_a_domain_only_inform_is_sent():
    play(
        discovery(),
        [
            (
                0.0,
                wanted(domain=None),
                [
                    matching(log.DISCOVERY_STARTED, domain="", detail=containing("DNS is not")),
                    inform(),
                ],
            ),
            (1.0, full_ack(), FULL),
        ],
    )


def test_the_sip_domain_stands_in_for_option_15_or_goes_before_it():
    for config, domain in (
        ({"sip_domain": "contoso.com"}, None),
        ({"sip_domain": "contoso.com", "domain": "sip"}, "other.example"),
    ):
        play(discovery(**config), [(0.0, wanted(domain=domain), [inform(), *LOOKUPS])])


# --- the race ---


def test_a_full_answer_ends_the_race_at_once():
    play(
        begun(),
        [
            (
                1.0,
                full_ack(),
                [
                    matching(log.OPTION_43, url=web().url, identifier="MS-UC-Client"),
                    matching(log.OPTION_120, registrars="fe01.contoso.com"),
                    log.RACE_WON(f"dhcp:{SERVER}", "first DHCP answer with an FQDN"),
                    log.WEB_SERVICES_LOCATED(web().url, f"dhcp:{SERVER}"),
                    log.REGISTRAR_LOCATED(1, "fe01.contoso.com:5061", "tls", f"dhcp:{SERVER}"),
                    *FULL,
                ],
            ),
            (1.0, None, []),
        ],
    )


def test_dns_answers_wait_for_dhcp_and_lose_to_it():
    play(
        begun(),
        [
            (0.1, srv((0, 5061, "dns.contoso.com")), []),
            (0.2, no_srv(EXTERNAL), []),
            (1.0, full_ack(), FULL),
        ],
    )


def test_dns_answers_that_come_later_are_logged_as_lost():
    machine = begun()
    machine.handle(full_ack(), 1.0)
    play(
        machine,
        [
            (
                2.0,
                srv((0, 5061, "dns.contoso.com")),
                [log.RACE_LOST(f"dns:{INTERNAL}", "ignored: a DHCP answer is in use")],
            ),
            (2.0, no_srv(EXTERNAL), []),
        ],
    )


def test_a_second_dhcp_answer_is_kept_and_loses():
    machine = begun()
    machine.handle(full_ack(), 1.0)
    late = full_ack(host="late.contoso.com", registrars=("fe09.contoso.com",), source=OTHER)
    source = f"dhcp:{OTHER}"
    play(
        machine,
        [
            (
                30.0,
                late,
                [
                    log.RACE_LOST(source, "ignored: an earlier answer is in use"),
                    kept(
                        web("late.contoso.com", source),
                        registrar("fe09.contoso.com", source),
                        server=OTHER,
                    ),
                ],
            )
        ],
    )


def test_an_answer_without_fqdn_opens_a_window_for_a_better_one():
    play(
        begun(),
        [
            (
                1.0,
                ack(),
                [
                    log.OPTION_MISSING(SERVER, 43),
                    log.OPTION_MISSING(SERVER, 120),
                    log.RACE_LOST(f"dhcp:{SERVER}", "ignored: no FQDN in this answer"),
                    asked(1.0),
                ],
            ),
            (1.0, None, [(3.0, "give DHCP up")]),
            (2.0, ack(source=OTHER), []),
            (2.0, None, [(3.0, "give DHCP up")]),
            (
                2.9,
                full_ack(source=OTHER),
                [
                    like(DhcpAnswerKept, server=OTHER),
                    located(web(source=f"dhcp:{OTHER}"), registrar(FE01.host, f"dhcp:{OTHER}")),
                ],
            ),
        ],
    )


def test_after_the_window_dns_is_used():
    play(
        begun(),
        [
            (0.1, srv((0, 5061, "dns.contoso.com")), []),
            (0.2, no_srv(EXTERNAL), []),
            (1.0, ack(), [asked(1.0)]),
            (
                3.0,
                TIMER,
                [
                    log.RACE_WON(f"dns:{INTERNAL}", "no DHCP answer carried an FQDN"),
                    DnsAnswerKept(registrars=(from_dns("dns.contoso.com"),)),
                    located(web("dns.contoso.com", f"dns:{INTERNAL}"), from_dns("dns.contoso.com")),
                ],
            ),
            (3.0, None, []),
        ],
    )


def test_a_dhcp_answer_while_dns_is_still_waited_for_wins():
    machine = begun(inform_delays=(1,))
    play(
        machine,
        [
            (1.0, TIMER, [asked(None)]),
            (1.5, srv((0, 5061, "dns.contoso.com")), []),
            (2.0, full_ack(), [asked(2.0), kept(web(), FE01), located(web(), FE01)]),
        ],
    )


def test_without_any_answer_nothing_is_located_and_the_log_says_why():
    play(
        begun(inform_delays=(1,), fallback_names=()),
        [
            (0.5, no_srv(INTERNAL), []),
            (0.5, no_srv(EXTERNAL), []),
            (
                1.0,
                TIMER,
                [
                    log.DHCP_NO_ANSWER("INFORM", 1),
                    matching(
                        log.WEB_SERVICES_NOT_LOCATED,
                        detail=containing("no DHCP server answered", "DNS has no record"),
                    ),
                    matching(log.REGISTRAR_NOT_LOCATED),
                    asked(None),
                    located(None),
                ],
            ),
        ],
    )


# --- one option without the other ---


def test_without_option_43_the_url_is_made_of_the_dns_name():
    only_120 = ack(option_120=encode_sip_servers(["fe01.contoso.com"]))
    play(
        begun(),
        [
            (1.0, only_120, [log.OPTION_MISSING(SERVER, 43), asked(1.0), kept(None, FE01)]),
            (2.0, srv((0, 5061, "dns.contoso.com")), []),
            (
                3.0,
                no_srv(EXTERNAL),
                [
                    DnsAnswerKept(registrars=(from_dns("dns.contoso.com"),)),
                    located(web("dns.contoso.com", f"dns:{INTERNAL}"), FE01),
                ],
            ),
        ],
    )


def test_without_option_43_and_with_the_policy_none_there_is_no_url():
    only_120 = ack(option_120=encode_sip_servers(["fe01.contoso.com"]))
    play(
        begun(web_services_fallback="none"),
        [
            (0.5, srv((0, 5061, "dns.contoso.com")), []),
            (0.5, no_srv(EXTERNAL), []),
            (
                1.0,
                only_120,
                [
                    matching(
                        log.WEB_SERVICES_NOT_LOCATED,
                        detail=containing("no usable option 43", "not used for it"),
                    ),
                    asked(1.0),
                    kept(None, FE01),
                    # What DNS said is not used, and so not kept.
                    located(None, FE01),
                ],
            ),
        ],
    )


def test_without_option_120_the_registrar_is_dns_s():
    play(
        begun(),
        [
            (1.0, ack(option_43=uc()), [log.OPTION_MISSING(SERVER, 120), asked(1.0), kept(web())]),
            (2.0, srv((20, 5061, "fe02.contoso.com"), (10, 5061, "fe01.contoso.com")), []),
            (
                3.0,
                srv((0, 443, "edge.contoso.com"), qname=EXTERNAL),
                [
                    like(DnsAnswerKept),
                    located(
                        web(),
                        from_dns("fe01.contoso.com"),
                        from_dns("fe02.contoso.com"),
                        from_dns("edge.contoso.com", EXTERNAL, port=443),
                    ),
                ],
            ),
        ],
    )


def test_without_option_120_and_without_dns_the_web_services_are_located_alone():
    play(
        begun(fallback_names=()),
        [
            (0.5, no_srv(INTERNAL), []),
            (0.5, no_srv(EXTERNAL), []),
            (
                1.0,
                ack(option_43=uc()),
                [
                    matching(log.REGISTRAR_NOT_LOCATED, detail=containing("no usable option 120")),
                    asked(1.0),
                    kept(web()),
                    located(web()),
                ],
            ),
        ],
    )


# --- fallback names ---


def test_without_srv_records_the_a_names_are_asked_in_parallel():
    play(
        begun(inform_delays=(1,)),
        [
            (0.5, no_srv(INTERNAL), []),
            (1.0, TIMER, [asked(None)]),
            (1.5, no_srv(EXTERNAL), FALLBACKS),
            (1.6, a("sip", "10.0.0.21"), []),
            (1.7, a("sipexternal", "10.0.0.99"), []),
            (
                1.8,
                a("sipinternal"),
                [
                    like(DnsAnswerKept),
                    located(
                        web("sip.contoso.com", "dns:sip.contoso.com"),
                        from_dns("sip.contoso.com", "sip.contoso.com"),
                        from_dns("sipexternal.contoso.com", "sipexternal.contoso.com", port=443),
                    ),
                ],
            ),
        ],
    )


def test_the_a_names_are_not_asked_while_an_srv_record_is_there():
    play(
        begun(inform_delays=(1,)),
        [
            (0.5, srv((0, 5061, "fe01.contoso.com")), []),
            (1.0, TIMER, [asked(None)]),
            (1.5, no_srv(EXTERNAL), [like(DnsAnswerKept), like(ServicesLocated)]),
        ],
    )


def test_a_target_of_a_dot_is_no_record():
    play(
        begun(inform_delays=(1,)),
        [
            (0.5, srv((0, 0, "")), []),
            (1.0, TIMER, [asked(None)]),
            (1.5, no_srv(EXTERNAL), FALLBACKS),
        ],
    )


def test_without_any_a_name_either_nothing_is_located():
    machine = begun(inform_delays=(1,))
    for event in (no_srv(INTERNAL), no_srv(EXTERNAL)):
        machine.handle(event, 0.5)
    play(
        machine,
        [
            (1.0, TIMER, [asked(None), *FALLBACKS]),
            (1.5, a("sip"), []),
            (1.5, a("sipinternal"), []),
            (1.5, a("sipexternal"), [located(None)]),
        ],
    )


def test_a_profile_s_own_names_are_asked():
    config = {
        "srv_names": (SrvName(qname="_sip._tcp.{domain}", transport="tcp"),),
        "fallback_names": (FallbackName(qname="{domain}", port=5060),),
        "inform_delays": (1,),
    }
    play(
        discovery(**config),
        [
            (0.0, wanted(), [inform(), lookup("_sip._tcp.contoso.com")]),
            (0.5, no_srv("_sip._tcp.contoso.com"), []),
            (1.0, TIMER, [asked(None), lookup("contoso.com", "A")]),
        ],
    )


# --- what the options say ---


def read(event, **config):
    """The addresses kept of one answer, and its warnings."""
    outputs = begun(**config).handle(event, 1.0)
    answers = [item for item in outputs if isinstance(item, DhcpAnswerKept)]
    warnings = [
        item.values
        for item in outputs
        if isinstance(item, log.LogRecord) and item.name == "option_warning"
    ]
    return (answers[0] if answers else None), warnings


def test_two_registrars_of_option_120_are_used_in_order_and_no_third():
    names = ("fe02.contoso.com", "fe01.contoso.com", "fe03.contoso.com")
    answer, warnings = read(full_ack(registrars=names))
    assert [entry.host for entry in answer.registrars] == ["fe02.contoso.com", "fe01.contoso.com"]
    assert warnings == [(SERVER, 120, "only the first 2 names are used")]


def test_raw_text_in_option_120_is_used_with_a_warning_unless_the_profile_forbids():
    event = ack(option_120=b"fe01.contoso.com")
    answer, warnings = read(event)
    assert [entry.host for entry in answer.registrars] == ["fe01.contoso.com"]
    assert warnings == [(SERVER, 120, containing("are expected: used all the same"))]
    answer, warnings = read(event, accepts_raw_names=False)
    assert answer is None
    assert warnings == [(SERVER, 120, containing("are expected: option not used"))]


def test_a_profile_that_forbids_raw_text_takes_labels():
    answer, warnings = read(full_ack(), accepts_raw_names=False)
    assert ([entry.host for entry in answer.registrars], warnings) == (["fe01.contoso.com"], [])


def test_addresses_in_option_120_are_of_no_use():
    answer, warnings = read(ack(option_120=b"\x01\x0a\x00\x00\x15"))
    assert answer is None
    assert (SERVER, 120, containing("TLS needs a name")) in warnings


@pytest.mark.parametrize(
    ("option_43", "warning"),
    [
        (uc(uc_identifier="ms-uc-client"), containing("'ms-uc-client'", "not used")),
        (uc(uc_identifier=None), containing("is missing", "not used")),
        (uc(web_server_fqdn=None), containing("no URL")),
        (uc(cert_prov_rel_path=None), containing("no URL")),
        (uc(web_server_port=None), containing("no URL")),
        (uc(url_scheme=None), containing("no URL")),
        (uc()[:-5], containing("no URL")),
        (b"", containing("not used")),
        (b"https://webpool.contoso.com", containing("not used")),
    ],
)
def test_an_option_43_that_gives_no_url_is_not_used_and_the_log_says_why(option_43, warning):
    answer, warnings = read(ack(option_43=option_43))
    assert answer is None
    assert warnings[-1] == (SERVER, 43, warning)


def test_the_url_is_made_of_the_sub_options():
    event = ack(option_43=uc(url_scheme="http", web_server_port=8080, cert_prov_rel_path="/x"))
    answer, warnings = read(event)
    assert answer.web_services.url == "http://webpool.contoso.com:8080/x"
    assert warnings == []


def test_option_bytes_are_logged_as_they_came():
    outputs = begun().handle(full_ack(), 1.0)
    assert matching(log.OPTION_43, hex=uc().hex()) in outputs
    assert matching(log.OPTION_120, hex=encode_sip_servers(["fe01.contoso.com"]).hex()) in outputs


def test_a_relayed_answer_is_its_server_s_not_the_relay_s():
    answer, _ = read(full_ack(source="10.0.0.254", server=OTHER))
    assert answer.server == OTHER
    assert answer.web_services.source == f"dhcp:{OTHER}"


def test_an_answer_whose_server_identifier_is_no_address_is_dropped():
    play(
        begun(),
        [
            (
                1.0,
                full_ack(server=b"\x0a"),
                [matching(log.DHCP_IGNORED, detail=containing("octets"))],
            ),
            (1.0, full_ack(), FULL),
        ],
    )


@pytest.mark.parametrize("message_type", [MessageType.NAK, MessageType.OFFER])
def test_only_an_ack_answers_an_inform(message_type):
    play(
        begun(),
        [
            (
                0.5,
                full_ack(message_type=message_type),
                [
                    matching(
                        log.DHCP_IGNORED, type=message_type.name, detail=containing("only an ACK")
                    )
                ],
            ),
            (1.0, full_ack(), FULL),
        ],
    )


def test_only_its_own_xid_is_the_inform_s_before_during_and_after_the_race():
    machine = discovery()
    assert not machine.expects(1)
    machine.handle(wanted(), 0.0)
    assert machine.expects(1)
    assert not machine.expects(2)
    machine.handle(full_ack(), 1.0)
    assert machine.expects(1)
    machine.handle(WorkAbandoned(), 0.0)
    assert not machine.expects(1)


def test_what_is_abandoned_is_over():
    machine = begun()
    machine.handle(WorkAbandoned(), 0.0)
    play(
        machine,
        [
            (1.0, None, []),
            (1.0, TIMER, []),
            (1.0, full_ack(), []),
            (1.0, srv((0, 5061, "dns.contoso.com")), []),
        ],
    )


# --- the policy `interleaved` ---


def test_interleaved_waits_for_both_sides_and_puts_internal_dns_first():
    play(
        begun(registrar_order="interleaved"),
        [
            (1.0, full_ack(), [asked(1.0), kept(web(), FE01)]),
            (1.5, srv((0, 443, "edge.contoso.com"), qname=EXTERNAL), []),
            (
                2.0,
                srv((0, 5061, "in.contoso.com")),
                [
                    like(DnsAnswerKept),
                    located(
                        web(),
                        from_dns("in.contoso.com"),
                        FE01,
                        from_dns("edge.contoso.com", EXTERNAL, port=443),
                    ),
                ],
            ),
        ],
    )


def test_the_interleaved_order_is_that_of_the_article():
    internal_tls, internal_tcp = (from_dns("in", "i", transport=t) for t in ("tls", "tcp"))
    external_tls, external_tcp = (from_dns("ex", "e", transport=t) for t in ("tls", "tcp"))
    dhcp_tls, dhcp_tcp = (registrar("dhcp", transport=t) for t in ("tls", "tcp"))
    found = [external_tcp, internal_tcp, external_tls, internal_tls]
    assert interleave_registrars(found, [dhcp_tcp, dhcp_tls], frozenset({"dns:i"})) == (
        internal_tls,
        dhcp_tls,
        internal_tcp,
        dhcp_tcp,
        external_tls,
        external_tcp,
    )


# --- RFC 2782 ---

targets = st.lists(
    st.builds(
        SrvData, st.integers(0, 3), st.integers(0, 65535), st.just(5061), st.sampled_from("abcdef")
    ),
    max_size=8,
)


@given(targets, st.integers(0, 2**32))
def test_targets_are_ordered_by_priority_and_none_is_lost(records, seed):
    ordered = order_targets(records, random.Random(seed))
    assert Counter(map(repr, ordered)) == Counter(map(repr, records))
    assert [target.priority for target in ordered] == sorted(record.priority for record in records)


def test_within_a_priority_the_weight_is_a_share():
    rng = random.Random(1)
    heavy, light = SrvData(0, 90, 5061, "heavy"), SrvData(0, 10, 5061, "light")
    first = Counter(order_targets([light, heavy], rng)[0].target for _ in range(2000))
    assert 0.85 < first["heavy"] / 2000 < 0.95


def test_a_weight_of_zero_has_a_small_chance():
    rng = random.Random(1)
    heavy, none = SrvData(0, 50, 5061, "heavy"), SrvData(0, 0, 5061, "none")
    first = Counter(order_targets([heavy, none], rng)[0].target for _ in range(2000))
    assert 0 < first["none"] < 200
