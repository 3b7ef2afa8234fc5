from __future__ import annotations

import pytest
from cause_cases import VLAN
from made_boots import causes_in, failed, lease, received, sent

from phonesim.device import device_log as log


@pytest.mark.parametrize("cause", VLAN)
def test_a_small_log_shows_the_cause_first(cause: str) -> None:
    assert causes_in(*VLAN[cause])[:1] == [cause]


def test_a_vlan_in_which_a_kept_lease_is_confirmed_is_not_dead() -> None:
    joined = (log.VLAN_FOUND(100, "lldp"), sent("REQUEST"), received("ACK"), lease())
    informs = (*(sent("INFORM", attempt) for attempt in (1, 2, 3)), log.DHCP_NO_ANSWER("INFORM", 3))
    assert "voice-vlan-dead" not in causes_in(*joined, *informs, failed("ticket", "pin-incorrect"))


def test_a_vlan_in_which_only_the_kept_lease_was_asked_for_is_not_dead_yet() -> None:
    asked = (log.VLAN_FOUND(100, "lldp"), *(sent("REQUEST", attempt) for attempt in (1, 2, 3)))
    assert "voice-vlan-dead" not in causes_in(*asked, log.DHCP_NO_ANSWER("REQUEST", 3))
