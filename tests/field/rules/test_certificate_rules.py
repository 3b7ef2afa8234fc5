from __future__ import annotations

import pytest
from cause_cases import CERTIFICATES
from made_boots import causes_in


@pytest.mark.parametrize("cause", CERTIFICATES)
def test_a_small_log_shows_the_cause_first(cause: str) -> None:
    assert causes_in(*CERTIFICATES[cause])[:1] == [cause]
