from __future__ import annotations

from made_boots import (
    LOCATED,
    NO_SRV,
    SIGNED_IN,
    URL,
    boot_of,
    failed,
    lease,
    option_43,
    received,
    sent,
)

from phonesim.device import device_log as log
from phonesim.device.device_log import LogRecord
from phonesim.field.boots import Boot
from phonesim.field.finding import Certainty
from phonesim.field.rules.consequences import find_in_boot
from phonesim.field.rules.site_rules import facts_of, find_in_site

SILENT = (sent("DISCOVER"), log.DHCP_NO_ANSWER("DISCOVER", 5), failed("ip", "no-lease"))
COLD = (
    log.CACHE_EMPTY(),
    lease(),
    sent("INFORM"),
    received("ACK", informs=True),
    log.OPTION_MISSING("192.0.2.10", 43),
    log.OPTION_MISSING("192.0.2.10", 120),
    NO_SRV,
    failed("discovery", "web-services-not-located"),
)
CACHED = (log.CACHE_USED(URL, "fe01.contoso.com", "in-use"), *SIGNED_IN[1:])


def phone(number: int, *records: LogRecord) -> Boot:
    return boot_of(*records, phone_id=f"phone {number}")


def found(*boots: Boot) -> list[tuple[str, str]]:
    facts = {boot.phone_id: facts_of(boot, find_in_boot(boot)) for boot in boots}
    return [(each.cause.name, each.phone_id) for each in find_in_site(list(facts.values()))]


def test_a_pool_is_exhausted_if_some_have_a_lease_and_others_are_offered_none() -> None:
    assert found(phone(1, *SIGNED_IN), phone(2, *SILENT)) == [("dhcp-pool-exhausted", "phone 2")]


def test_what_was_given_apart_shows_no_more_than_what_is_possible() -> None:
    for well, bad in (
        (SIGNED_IN, SILENT),
        (CACHED, COLD),
        (SIGNED_IN, (lease("192.0.2.99"), *COLD[2:])),
    ):
        boots = [phone(1, *well), phone(2, *bad)]
        findings = [find_in_boot(boot) for boot in boots]
        for origins, certainty in (
            (("a", "a"), Certainty.LIKELY),
            (("a", "b"), Certainty.POSSIBLE),
        ):
            facts = [
                facts_of(boot, found_in, origin)
                for boot, found_in, origin in zip(boots, findings, origins, strict=True)
            ]
            (finding,) = find_in_site(facts)
            assert finding.certainty is certainty


def test_servers_of_two_networks_say_nothing_of_each_other() -> None:
    boots = [phone(1, *SIGNED_IN), phone(2, lease("192.0.2.99"), *COLD[2:])]
    networks = ("192.0.2.0", "198.51.100.0")
    facts = [
        facts_of(boot, find_in_boot(boot), network=network)
        for boot, network in zip(boots, networks, strict=True)
    ]
    assert list(find_in_site(facts)) == []


def test_a_silent_server_is_no_exhausted_pool() -> None:
    assert found(phone(1, *SILENT), phone(2, *SILENT)) == []


def test_a_phone_that_gets_its_lease_later_is_no_exhausted_pool() -> None:
    assert found(phone(1, *SIGNED_IN), phone(2, *SILENT), phone(2, *SIGNED_IN)) == []


def test_phones_with_a_cache_survive_where_cold_ones_do_not() -> None:
    assert found(phone(1, *CACHED), phone(2, *COLD)) == [("cached-phones-only", "phone 2")]


def test_a_cold_phone_that_signs_in_shows_that_it_is_not_the_cache() -> None:
    healthy = (log.CACHE_EMPTY(), *SIGNED_IN)
    assert found(phone(1, *CACHED), phone(2, *COLD), phone(3, *healthy)) == []


def test_a_user_whose_pin_is_wrong_is_not_the_site() -> None:
    wrong = (log.CACHE_EMPTY(), *LOCATED, failed("ticket", "pin-incorrect"))
    assert found(phone(1, *CACHED), phone(2, *wrong)) == []


def test_a_server_whose_phones_all_fail_for_want_of_options_is_a_rogue() -> None:
    rogue = (lease("192.0.2.99", "home.invalid"), *COLD[2:])
    assert found(phone(1, *SIGNED_IN), phone(2, *rogue)) == [("rogue-dhcp-server", "phone 2")]
    assert found(phone(1, *SIGNED_IN), phone(2, *COLD[1:])) == []


def test_a_server_with_other_options_disagrees() -> None:
    spoilt = (lease("192.0.2.99"), option_43("0104ac100001", server="192.0.2.99"), COLD[-1])
    assert found(phone(1, *SIGNED_IN), phone(2, *spoilt)) == [("dhcp-servers-disagree", "phone 2")]


def test_a_site_that_is_well_has_no_findings() -> None:
    assert found(phone(1, *SIGNED_IN), phone(2, *CACHED), phone(3, option_43(url=URL))) == []
