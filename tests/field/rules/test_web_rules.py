from __future__ import annotations

import pytest
from cause_cases import WEB_SERVICES
from made_boots import causes_in


@pytest.mark.parametrize("cause", WEB_SERVICES)
def test_a_small_log_shows_the_cause_first(cause: str) -> None:
    assert causes_in(*WEB_SERVICES[cause])[:1] == [cause]
