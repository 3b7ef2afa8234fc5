from __future__ import annotations

import pytest
from cause_cases import REGISTRAR
from made_boots import causes_in


@pytest.mark.parametrize("cause", REGISTRAR)
def test_a_small_log_shows_the_cause_first(cause: str) -> None:
    assert causes_in(*REGISTRAR[cause])[:1] == [cause]
