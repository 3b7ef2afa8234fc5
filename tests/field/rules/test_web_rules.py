from __future__ import annotations

import msgspec
import pytest
from cause_cases import WEB_SERVICES
from made_boots import LOCATED, boot_of, causes_in, http_failed, shown

from phonesim.device import device_log as log
from phonesim.field.rules.consequences import find_in_boot


@pytest.mark.parametrize("cause", WEB_SERVICES)
def test_a_small_log_shows_the_cause_first(cause: str) -> None:
    assert causes_in(*WEB_SERVICES[cause])[:1] == [cause]


def test_packets_tell_a_late_answer_from_a_connection_that_does_not_come_about() -> None:
    records = (*LOCATED, log.CHAIN_RECEIVED(900), http_failed("timeout"))
    assert causes_in(*records) == ["web-services-slow", "web-services-down"]
    boot = boot_of(*records, shown("connect_failed", "192.0.2.20:443", "timeout"), is_frame=True)
    failure, unopened = boot.sightings[-2:]
    boot.take(msgspec.structs.replace(failure, place=unopened.place))
    first, *_ = find_in_boot(boot)
    assert first.cause.name == "web-services-down"
