from __future__ import annotations

import pytest
from cause_cases import NAMES
from made_boots import LOCATED, SIGNED_IN, answer, asked, causes_in, failed


@pytest.mark.parametrize("cause", NAMES)
def test_a_small_log_shows_the_cause_first(cause: str) -> None:
    assert causes_in(*NAMES[cause])[:1] == [cause]


def test_one_name_that_nobody_answers_is_enough() -> None:
    queries = [asked("webpool.contoso.com", attempt) for attempt in (1, 2, 3, 4)]
    failure = failed("chain", "web-server-name-unresolved", "webpool.contoso.com: TIMEOUT")
    other = answer("sip.contoso.com", "A 192.0.2.21 ttl 9")
    assert causes_in(*LOCATED[:-1], other, *queries, failure) == ["dns-silent"]
    # That it is answered later does not undo the failure.
    assert causes_in(*LOCATED[:-1], other, *queries, failure, *SIGNED_IN) == ["dns-silent"]


def test_a_silent_name_that_the_phone_does_not_need_is_no_cause() -> None:
    queries = [asked("_ntp._udp.contoso.com", attempt) for attempt in (1, 2, 3, 4)]
    assert causes_in(*queries, *SIGNED_IN) == []
