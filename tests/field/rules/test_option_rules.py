from __future__ import annotations

import pytest
from cause_cases import OPTIONS
from made_boots import causes_in


@pytest.mark.parametrize("cause", OPTIONS)
def test_a_small_log_shows_the_cause_first(cause: str) -> None:
    assert causes_in(*OPTIONS[cause])[:1] == [cause]
