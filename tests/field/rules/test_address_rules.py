from __future__ import annotations

import pytest
from cause_cases import ADDRESS
from made_boots import (
    LOCATED,
    NO_SRV,
    OPTION_43,
    POWER,
    REACHED,
    SERVER,
    URL,
    answer,
    asked,
    boot_of,
    causes_in,
    failed,
    http_failed,
    lease,
    option_43,
    option_120,
    received,
    registrar_failed,
    sent,
)

from phonesim.device import device_log as log
from phonesim.device.device_log import LogRecord
from phonesim.field import causes
from phonesim.field.finding import Certainty
from phonesim.field.rules.consequences import find_in_boot

LACKING = (log.OPTION_MISSING("192.0.2.9", 43), log.OPTION_MISSING("192.0.2.9", 120))
UNLOCATED = failed("discovery", "web-services-not-located")


def home_router(router: str) -> LogRecord:
    return log.DHCP_LEASE(
        "192.0.2.77", "255.255.255.0", "192.0.2.9", 1, 2, 3, router, router, "home.invalid", ""
    )


def offered_late(server: str) -> LogRecord:
    return log.DHCP_IGNORED("OFFER", 1, server, "not expected in REQUESTING")


@pytest.mark.parametrize("cause", ADDRESS)
def test_a_small_log_shows_the_cause_first(cause: str) -> None:
    assert causes_in(*ADDRESS[cause])[:1] == [cause]


def test_a_registrar_that_answers_inform_beside_a_dhcp_server_is_no_rogue() -> None:
    beside = (lease("192.0.2.9"), *LACKING, *LOCATED[1:])
    assert causes_in(*beside, failed("ticket", "pin-incorrect")) == ["pin-wrong"]
    closed = (log.CHAIN_RECEIVED(9), http_failed("refused"), failed("ticket", "web-refused"))
    assert causes_in(*beside, *closed) == ["web-services-down"]


def test_nor_is_one_whose_dns_server_is_silent_or_fails() -> None:
    beside = (lease("192.0.2.9"), *LACKING, *LOCATED[1:5])
    unresolved = failed("chain", "web-server-name-unresolved")
    silent = [asked("webpool.contoso.com", attempt) for attempt in (1, 2, 3, 4)]
    assert causes_in(*beside, *silent, unresolved) == ["dns-silent"]
    fails = answer("webpool.contoso.com", rcode="SERVFAIL")
    assert causes_in(*beside, fails, unresolved) == ["dns-fails"]


def test_one_that_denies_the_names_may_be_a_rogue_and_is_one_if_the_other_offers() -> None:
    denied = (*LACKING, *LOCATED[1:5], answer("webpool.contoso.com"))
    unresolved = failed("chain", "web-server-name-unresolved")
    (likely,) = find_in_boot(boot_of(POWER, lease("192.0.2.9"), *denied, unresolved))
    (sure,) = find_in_boot(
        boot_of(POWER, lease("192.0.2.9"), offered_late(SERVER), *denied, unresolved)
    )
    assert likely.cause is sure.cause is causes.ROGUE_DHCP_SERVER
    assert (likely.certainty, sure.certainty) == (Certainty.LIKELY, Certainty.CERTAIN)


def test_of_two_servers_that_both_lack_the_options_none_is_a_rogue() -> None:
    pair = (lease("192.0.2.9"), offered_late(SERVER), *LACKING, NO_SRV, UNLOCATED)
    assert causes_in(*pair)[0] == "sign-in-options-missing"


def test_a_router_that_is_its_own_dns_server_may_be_a_rogue_if_another_server_offers() -> None:
    lacking = ["sign-in-options-missing", "srv-missing"]
    rogue = (home_router("192.0.2.9"), offered_late(SERVER), *LACKING, NO_SRV, UNLOCATED)
    assert causes_in(*rogue) == [*lacking, "rogue-dhcp-server"]
    alone = (home_router("192.0.2.9"), *LACKING, NO_SRV, UNLOCATED)
    assert causes_in(*alone) == lacking


def test_a_nak_to_an_old_address_is_as_it_should_be() -> None:
    moved = (sent("REQUEST"), received("NAK"), sent("DISCOVER"), received("OFFER"), lease())
    assert causes_in(*moved) == []


def test_a_server_that_was_silent_for_a_while_is_no_cause() -> None:
    silent = (*(sent("DISCOVER", attempt) for attempt in range(1, 6)), received("OFFER"), lease())
    assert causes_in(*silent) == []


def test_a_server_that_falls_silent_after_a_lease_is_found() -> None:
    lost = (received("OFFER"), lease(), log.LEASE_LOST("192.0.2.77", "expired"))
    given_up = (sent("DISCOVER"), log.DHCP_NO_ANSWER("DISCOVER", 5), failed("ip", "no-lease"))
    assert causes_in(*lost, *given_up) == ["dhcp-silent"]


def test_servers_may_disagree_where_the_phone_did_well_with_either() -> None:
    both = (option_43("0104ac100001", server="192.0.2.9"), *LOCATED)
    refused = (log.TICKET_REFUSED("IncorrectPin", 0, ""), failed("ticket", "pin-incorrect"))
    assert causes_in(*both, *refused) == ["pin-wrong"]
    assert causes_in(*both, failed("chain", "web-x"))[0] == "dhcp-servers-disagree"


def test_servers_agree_if_only_case_or_the_order_of_registrars_differs() -> None:
    other = "192.0.2.9"
    alike = (
        *LOCATED,
        option_43(OPTION_43.lower(), url=URL.replace("webpool", "WebPool"), server=other),
        option_120("00", "fe02.contoso.com+FE01.contoso.com", server=other),
    )
    closed = (http_failed("refused"), failed("chain", "web-refused"))
    assert causes_in(*alike, *closed) == ["web-services-down"]
    down = (registrar_failed("fe01.contoso.com"), failed("register", "registrar-refused"))
    assert causes_in(*alike, REACHED[-1], *down) == ["registrar-down"]


def test_registrars_that_one_server_names_alone_matter_where_the_phone_failed_at_one() -> None:
    passed = (*LOCATED, REACHED[-1])
    other = option_120("00", "old.contoso.com", server="192.0.2.9")
    for host, is_blamed in (("old.contoso.com", True), ("elsewhere.contoso.com", False)):
        end = (registrar_failed(host), failed("register", "registrar-refused"))
        assert ("dhcp-servers-disagree" in causes_in(*passed, other, *end)) is is_blamed
