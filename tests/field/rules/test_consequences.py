from __future__ import annotations

import pytest
from cause_cases import CAPTURES, OF_ONE_BOOT, OF_SEVERAL_BOOTS
from made_boots import SIGNED_IN, causes_in, findings_in

from phonesim.field.causes import CAUSES


def test_every_cause_has_a_case() -> None:
    assert OF_ONE_BOOT.keys() | OF_SEVERAL_BOOTS == CAUSES.keys()


@pytest.mark.parametrize("cause", CAPTURES)
def test_a_small_capture_shows_the_cause_first(cause: str) -> None:
    assert causes_in(*CAPTURES[cause], is_frame=True)[:1] == [cause]


def test_nothing_is_found_in_a_boot_that_went_well() -> None:
    assert causes_in(*SIGNED_IN) == []
    assert causes_in(*SIGNED_IN, is_frame=True) == []


@pytest.mark.parametrize("cause", OF_ONE_BOOT)
def test_a_boot_that_is_cut_off_anywhere_breaks_no_rule(cause: str) -> None:
    records = OF_ONE_BOOT[cause]
    for size in range(len(records)):
        for is_frame in (False, True):
            findings_in(*records[:size], is_frame=is_frame)
            findings_in(*records[size:], is_frame=is_frame)


@pytest.mark.parametrize("cause", OF_ONE_BOOT)
def test_evidence_stands_in_the_boot_and_is_not_shown_twice(cause: str) -> None:
    lines = {record.name for record in OF_ONE_BOOT[cause]}
    for finding in findings_in(*OF_ONE_BOOT[cause]):
        places = [each.place for each in finding.evidence]
        assert len(set(places)) == len(places) > 0
        assert all(each.text.split(" ")[0] in lines for each in finding.evidence)
