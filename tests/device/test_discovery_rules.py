"""The rules that the phone lives by, one section a rule, in the order of the design.

They are those of the troubleshooting topic for this device (device reference, section 1),
shown on a whole phone: what it asks, what it uses, what it keeps.
"""

from __future__ import annotations

import json

import pytest
from rig import (
    ADDRESS,
    DHCP,
    EXTERNAL,
    FE01,
    FE02,
    INTERNAL,
    OTHER_DHCP,
    POOL,
    PROFILE,
    Bench,
    of,
)

from phonesim.device import device_log as log
from phonesim.device.actions import OpenConnection, SendDhcp, SendDns, SendHttp
from phonesim.device.events import BootFailed, ConnectionFailed, SignedIn, StageEnded
from phonesim.device.outcome import ConnectFailure, FailureReason, Stage
from phonesim.wire.dhcp import MessageType


def at_discovery(**discovery):
    """A phone that has just begun to ask the network."""
    profile = PROFILE
    if discovery:
        config = PROFILE.discovery.model_copy(update=discovery)
        profile = PROFILE.model_copy(update={"discovery": config})
    bench = Bench(profile=profile)
    bench.bind()
    bench.tell_time()
    return bench


def used(bench):
    """The Web Services and the Registrars that the phone decided on."""
    urls = [url for url, _ in bench.records(log.WEB_SERVICES_LOCATED)]
    names = [entry[1] for entry in bench.records(log.REGISTRAR_LOCATED)]
    return urls, names


def url(host):
    return f"https://{host}:443/CertProv/CertProvisioningService.svc"


def kept(bench):
    return json.loads(bench.files["cache.json"])


def kept_servers(bench):
    return [answer["server"] for answer in kept(bench)["dhcp"]]


# --- It asks the network (INFORM and SRV) only when it has no usable cache. ---


def test_with_a_usable_cache_it_asks_nothing():
    first = at_discovery()
    first.inform_ack(host=POOL, registrars=(FE01,))
    first.no_srv()
    first.sign_in()
    first.register()
    second = first.reboot()
    second.bind()
    second.tell_time()
    assert of(second.step, StageEnded, stage=Stage.DISCOVERY, skipped=True)
    second.sign_in()
    assert of(second.register(), SignedIn)
    assert second.informs() == []
    assert not [sent for sent in of(second.all, SendDns) if sent.query.qtype == "SRV"]


def test_what_was_discovered_is_usable_before_the_first_success():
    first = at_discovery()
    first.inform_ack(host=POOL, registrars=(FE01,))
    second = first.reboot()
    second.bind()
    second.tell_time()
    assert second.informs() == []
    assert second.asked(POOL)


@pytest.mark.parametrize("files", [{}, {"cache.json": b"not json"}], ids=["none", "corrupt"])
def test_without_a_usable_cache_it_asks(files):
    bench = Bench(files)
    bench.bind()
    bench.tell_time()
    assert len(bench.informs()) == 1
    assert bench.asked(INTERNAL)


def test_a_cache_that_knows_only_one_of_the_two_is_not_usable():
    first = at_discovery()
    first.inform_ack(host=POOL)
    second = first.reboot()
    second.bind()
    second.tell_time()
    assert len(second.informs()) == 1


def test_a_cache_that_misleads_it_is_given_up_and_the_network_asked_at_once():
    first = Bench()
    first.boot()
    second = first.reboot()
    second.bind()
    second.tell_time()
    second.resolve(POOL, rcode="NXDOMAIN")
    assert len(second.informs()) == 1
    assert second.asked(INTERNAL)
    assert not of(second.all, BootFailed)
    assert (kept(second)["in_use"], kept(second)["dhcp"]) == (None, [])


# --- INFORM and the DNS SRV lookup start together. ---


def test_inform_and_srv_are_sent_in_one_step():
    bench = Bench()
    bench.bind()
    outputs = bench.tell_time()
    informs = of(outputs, SendDhcp)
    assert [sent.message.message_type for sent in informs] == [MessageType.INFORM]
    assert informs[0].source == ADDRESS
    assert [sent.query.qname for sent in of(outputs, SendDns)] == [INTERNAL, EXTERNAL]


# --- The first DHCP response that carries an FQDN is used, later responses are ignored. ---


def test_the_first_dhcp_answer_with_an_fqdn_is_used():
    bench = at_discovery()
    bench.inform_ack(host=POOL, registrars=(FE01,))
    bench.inform_ack(host="other.contoso.com", registrars=("fe09.contoso.com",), server=OTHER_DHCP)
    bench.no_srv()
    assert used(bench) == ([url(POOL)], [f"{FE01}:5061"])
    assert bench.asked(POOL)
    assert not bench.asked("other.contoso.com")


def test_an_fqdn_in_either_option_is_enough_to_win():
    bench = at_discovery()
    bench.inform_ack(registrars=(FE01,))
    bench.inform_ack(host="other.contoso.com", registrars=("fe09.contoso.com",), server=OTHER_DHCP)
    bench.resolve(INTERNAL, (0, 5061, "dns.contoso.com"))
    bench.resolve(EXTERNAL, rcode="NXDOMAIN")
    # Option 43 is the later answer's alone, and that one is ignored.
    assert used(bench) == ([url("dns.contoso.com")], [f"{FE01}:5061"])


def test_the_loser_s_bytes_are_still_in_the_log():
    bench = at_discovery()
    bench.inform_ack(host=POOL, registrars=(FE01,))
    bench.inform_ack(host="other.contoso.com", registrars=("fe09.contoso.com",), server=OTHER_DHCP)
    assert [server for server, *_ in bench.records(log.OPTION_43)] == [DHCP, OTHER_DHCP]
    assert bench.records(log.RACE_LOST)[-1][0] == f"dhcp:{OTHER_DHCP}"


# --- DNS answers count only if no DHCP response carried an FQDN. ---


def test_dns_answers_that_came_first_lose_to_dhcp():
    bench = at_discovery()
    bench.resolve(INTERNAL, (0, 5061, "dns.contoso.com"))
    bench.resolve(EXTERNAL, rcode="NXDOMAIN")
    assert used(bench) == ([], [])
    bench.inform_ack(host=POOL, registrars=(FE01,), after=3.0)
    assert used(bench) == ([url(POOL)], [f"{FE01}:5061"])


def test_dns_answers_that_come_later_are_ignored():
    bench = at_discovery()
    bench.inform_ack(host=POOL, registrars=(FE01,))
    bench.resolve(INTERNAL, (0, 5061, "dns.contoso.com"))
    assert used(bench) == ([url(POOL)], [f"{FE01}:5061"])
    assert bench.records(log.RACE_LOST)[-1][0] == f"dns:{INTERNAL}"


def test_after_a_dhcp_answer_without_fqdn_another_may_still_win():
    bench = at_discovery()
    bench.resolve(INTERNAL, (0, 5061, "dns.contoso.com"))
    bench.resolve(EXTERNAL, rcode="NXDOMAIN")
    bench.inform_ack()
    assert used(bench) == ([], [])
    bench.inform_ack(host=POOL, registrars=(FE01,), server=OTHER_DHCP, after=1.9)
    assert used(bench) == ([url(POOL)], [f"{FE01}:5061"])


def test_when_no_dhcp_answer_carried_an_fqdn_dns_is_used():
    bench = at_discovery()
    bench.resolve(INTERNAL, (0, 5061, "dns.contoso.com"))
    bench.resolve(EXTERNAL, rcode="NXDOMAIN")
    bench.inform_ack()
    bench.wait()
    assert used(bench) == ([url("dns.contoso.com")], ["dns.contoso.com:5061"])


def test_when_no_dhcp_server_answered_dns_is_used():
    bench = at_discovery()
    bench.resolve(INTERNAL, (0, 5061, "dns.contoso.com"))
    bench.resolve(EXTERNAL, rcode="NXDOMAIN")
    bench.wait_for(StageEnded, stage=Stage.DISCOVERY)
    assert len(bench.informs()) == 2
    assert used(bench) == ([url("dns.contoso.com")], ["dns.contoso.com:5061"])


# --- policies.registrar_order can select the other documented connect order. ---


def test_the_interleaved_policy_waits_for_both_and_puts_internal_dns_first():
    bench = at_discovery(registrar_order="interleaved")
    bench.inform_ack(host=POOL, registrars=(FE01,))
    assert used(bench) == ([], [])
    bench.resolve(EXTERNAL, (0, 443, "edge.contoso.com"))
    bench.resolve(INTERNAL, (0, 5061, "dns.contoso.com"))
    assert used(bench) == (
        [url(POOL)],
        ["dns.contoso.com:5061", f"{FE01}:5061", "edge.contoso.com:443"],
    )


# --- DHCP responses with FQDNs are cached whatever DNS says. ---


def test_the_winner_is_cached_before_dns_has_answered():
    bench = at_discovery()
    bench.inform_ack(host=POOL, registrars=(FE01,))
    assert kept_servers(bench) == [DHCP]


def test_losers_and_late_answers_are_cached_too():
    bench = at_discovery()
    bench.inform_ack(host=POOL, registrars=(FE01,))
    bench.inform_ack(host="other.contoso.com", server=OTHER_DHCP)
    bench.inform_ack(registrars=(FE02,), server="10.0.0.9", after=60.0)
    assert kept_servers(bench) == [DHCP, OTHER_DHCP, "10.0.0.9"]


def test_an_answer_that_came_after_dns_was_used_is_cached():
    bench = at_discovery()
    bench.resolve(INTERNAL, (0, 5061, "dns.contoso.com"))
    bench.resolve(EXTERNAL, rcode="NXDOMAIN")
    bench.wait_for(StageEnded, stage=Stage.DISCOVERY)
    bench.inform_ack(host=POOL, registrars=(FE01,))
    assert kept_servers(bench) == [DHCP]
    assert used(bench)[1] == ["dns.contoso.com:5061"]


def test_an_answer_without_fqdn_is_not_cached():
    bench = at_discovery()
    bench.inform_ack()
    assert kept_servers(bench) == []


# --- Option 120 may hold two Registrars: each is tried until one answers successfully. ---


def test_the_second_registrar_is_tried_when_the_first_does_not_accept():
    bench = at_discovery()
    bench.inform_ack(host=POOL, registrars=(FE01, FE02))
    bench.sign_in()
    bench.connect(FE01)
    bench.sip(503, "Service Unavailable")
    assert of(bench.register(FE02), SignedIn, registrar=f"{FE02}:5061")


def test_the_second_registrar_is_tried_when_the_first_cannot_be_connected_to():
    bench = at_discovery()
    bench.inform_ack(host=POOL, registrars=(FE01, FE02))
    bench.sign_in()
    bench.resolve(FE01, "10.0.0.21")
    number = bench.last(OpenConnection).connection_id
    bench.give(
        ConnectionFailed(connection_id=number, failure=ConnectFailure.TIMEOUT, detail="no answer")
    )
    assert of(bench.register(FE02), SignedIn, registrar=f"{FE02}:5061")


def test_the_boot_fails_only_when_both_have_failed():
    bench = at_discovery()
    bench.inform_ack(host=POOL, registrars=(FE01, FE02))
    bench.sign_in()
    bench.connect(FE01)
    assert not of(bench.sip(403, "Forbidden"), BootFailed)
    bench.connect(FE02)
    assert of(bench.sip(503, "Service Unavailable"), BootFailed, stage=Stage.REGISTER)


def test_the_registrar_that_accepted_comes_first_at_the_next_boot():
    bench = at_discovery()
    bench.inform_ack(host=POOL, registrars=(FE01, FE02))
    bench.sign_in()
    bench.connect(FE01)
    bench.sip(503, "Service Unavailable")
    bench.register(FE02)
    assert [entry["host"] for entry in kept(bench)["in_use"]["registrars"]] == [FE02, FE01]


# --- No option 43: DNS gives a Registrar, and its name the Web Services URL. ---


def test_without_option_43_the_url_comes_from_the_srv_target():
    bench = at_discovery()
    bench.inform_ack(registrars=(FE01,))
    bench.resolve(INTERNAL, (10, 5061, "second.contoso.com"), (5, 5061, "first.contoso.com"))
    bench.resolve(EXTERNAL, rcode="NXDOMAIN")
    assert used(bench) == ([url("first.contoso.com")], [f"{FE01}:5061"])
    bench.resolve("first.contoso.com", "10.0.0.20")
    assert bench.last(SendHttp).request.host == "first.contoso.com"


def test_without_option_43_and_dns_there_is_no_way_to_authenticate():
    bench = at_discovery()
    bench.inform_ack(registrars=(FE01,))
    bench.no_srv()
    for name in ("sipinternal", "sip", "sipexternal"):
        bench.resolve(f"{name}.contoso.com", rcode="NXDOMAIN")
    assert bench.wants(
        BootFailed, stage=Stage.DISCOVERY, reason=FailureReason.WEB_SERVICES_NOT_LOCATED
    )


# --- No option 120: the Registrar comes from DNS; it may authenticate and fail to begin SIP. ---


def test_without_option_120_the_registrar_comes_from_dns():
    bench = at_discovery()
    bench.inform_ack(host=POOL)
    bench.resolve(INTERNAL, (0, 5061, FE01))
    bench.resolve(EXTERNAL, rcode="NXDOMAIN")
    assert used(bench) == ([url(POOL)], [f"{FE01}:5061"])
    bench.sign_in()
    assert of(bench.register(FE01), SignedIn)


def test_without_option_120_and_dns_it_authenticates_and_fails_to_begin_sip():
    bench = at_discovery()
    bench.inform_ack(host=POOL)
    bench.no_srv()
    for name in ("sipinternal", "sip", "sipexternal"):
        bench.resolve(f"{name}.contoso.com", rcode="NXDOMAIN")
    outputs = bench.sign_in()
    assert of(outputs, StageEnded, stage=Stage.CERTIFICATE, reason=None)
    assert of(outputs, BootFailed, stage=Stage.REGISTER, reason=FailureReason.REGISTRAR_NOT_LOCATED)
    assert not of(bench.all, OpenConnection)


# --- After success the DHCP and DNS results are cleared and the values in use are stored. ---


def test_after_registration_the_cache_holds_what_is_in_use_and_nothing_else():
    bench = at_discovery()
    bench.inform_ack(host=POOL)
    bench.inform_ack(host="other.contoso.com", server=OTHER_DHCP)
    bench.resolve(INTERNAL, (0, 5061, FE01))
    bench.resolve(EXTERNAL, rcode="NXDOMAIN")
    before = kept(bench)
    assert (len(before["dhcp"]), len(before["dns"]), before["in_use"]) == (2, 1, None)
    bench.sign_in()
    bench.register(FE01)
    after = kept(bench)
    assert (after["dhcp"], after["dns"]) == ([], [])
    assert after["in_use"]["web_services"]["host"] == POOL
    assert [entry["host"] for entry in after["in_use"]["registrars"]] == [FE01]


def test_until_it_is_registered_the_results_stay():
    bench = at_discovery()
    bench.inform_ack(host=POOL, registrars=(FE01,))
    bench.sign_in()
    bench.connect(FE01)
    assert kept_servers(bench) == [DHCP]
    assert kept(bench)["in_use"] is None
    bench.accept()
    assert kept_servers(bench) == []


# --- Late answers are logged. ---


def test_an_answer_after_the_boot_is_logged_and_changes_nothing():
    bench = at_discovery()
    bench.inform_ack(host=POOL, registrars=(FE01,))
    bench.sign_in()
    bench.register(FE01)
    in_use = kept(bench)["in_use"]
    outputs = bench.inform_ack(host="late.contoso.com", server=OTHER_DHCP, after=5.0)
    assert bench.records(log.RACE_LOST, outputs) == [
        (f"dhcp:{OTHER_DHCP}", "ignored: an earlier answer is in use")
    ]
    assert kept(bench)["in_use"] == in_use
    assert not of(outputs, SendHttp)
