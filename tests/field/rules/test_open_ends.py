from __future__ import annotations

import pytest
from made_boots import (
    LOCATED,
    POWER,
    SIGNED_IN,
    boot_of,
    failed,
    lease,
    received,
    sent,
    shown,
)

from phonesim.device import device_log as log
from phonesim.device.device_log import LogRecord
from phonesim.field.open_ends import open_end_of

BEGUN = shown("boot_begun", "00-04-F2-00-00-01")


def ended(stage: str, result: str = "ok") -> LogRecord:
    return log.STAGE_ENDED(stage, result, 0.1)


@pytest.mark.parametrize(
    ("records", "stage"),
    [
        ((POWER,), ""),
        ((POWER, ended("vlan")), "ip"),
        ((POWER, ended("vlan"), ended("ip"), sent("INFORM")), "time"),
        ((POWER, ended("chain", "skipped")), "ticket"),
        ((POWER, ended("ticket", "pin-incorrect")), "ticket"),
        ((POWER, *LOCATED), ""),
    ],
)
def test_a_log_that_breaks_off_has_a_stage(records: tuple[LogRecord, ...], stage: str) -> None:
    end = open_end_of(boot_of(*records))
    assert end is not None
    assert (end.stage, end.last.place.number) == (stage, len(records))


@pytest.mark.parametrize("last", [SIGNED_IN, (failed("ip", "no-lease"),)])
def test_a_boot_that_came_to_an_end_does_not_break_off(last: tuple[LogRecord, ...]) -> None:
    assert open_end_of(boot_of(POWER, *last)) is None


def test_a_phone_that_renews_its_lease_does_not_sign_in() -> None:
    renewal = (BEGUN, sent("REQUEST"), received("ACK"), lease(), shown("capture_ended", 9.0))
    assert open_end_of(boot_of(*renewal, is_frame=True)) is None
    end = open_end_of(boot_of(BEGUN, sent("DISCOVER"), *renewal[1:], is_frame=True))
    assert end is not None
    assert end.last.place.number == 5
