from __future__ import annotations

import pytest
from cause_cases import ADDRESS
from made_boots import (
    LOCATED,
    NO_SRV,
    SERVER,
    causes_in,
    failed,
    http_failed,
    lease,
    option_43,
    received,
    sent,
)

from phonesim.device import device_log as log
from phonesim.device.device_log import LogRecord

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


def test_of_two_servers_that_both_lack_the_options_none_is_a_rogue() -> None:
    pair = (lease("192.0.2.9"), offered_late(SERVER), *LACKING, NO_SRV, UNLOCATED)
    assert causes_in(*pair)[0] == "sign-in-options-missing"


def test_a_router_that_is_its_own_dns_server_is_a_rogue_if_another_server_offers() -> None:
    rogue = (home_router("192.0.2.9"), offered_late(SERVER), *LACKING, NO_SRV, UNLOCATED)
    assert causes_in(*rogue) == ["rogue-dhcp-server"]
    alone = (home_router("192.0.2.9"), *LACKING, NO_SRV, UNLOCATED)
    assert causes_in(*alone)[0] == "sign-in-options-missing"


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
