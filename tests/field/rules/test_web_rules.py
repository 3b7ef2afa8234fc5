from __future__ import annotations

import msgspec
import pytest
from cause_cases import WEB_SERVICES
from made_boots import LOCATED, boot_of, causes_in, failed, http_failed, http_sent, shown

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


@pytest.mark.parametrize(
    ("status", "cause"),
    [
        (302, None),
        (401, None),
        (403, "web-services-error"),
        (404, "web-services-404"),
        (408, "web-services-busy"),
        (500, "web-services-error"),
        (502, "web-services-error"),
        (503, "web-services-busy"),
    ],
)
def test_a_status_without_a_word_of_the_service(status: int, cause: str | None) -> None:
    answered = log.HTTP_ANSWER("GetMetadata", status, "no SOAP message")
    found = causes_in(*LOCATED, http_sent(), answered, failed("ticket", "web-services-unusable"))
    assert found == ([] if cause is None else [cause])


def test_a_status_with_a_word_of_the_service_is_no_error_of_http() -> None:
    after = failed("ticket", "web-services-unusable")
    fault = log.HTTP_ANSWER("GetMetadata", 500, "fault Receiver: busy")
    assert causes_in(*LOCATED, http_sent(), fault, after) == []
    plain = log.HTTP_ANSWER("GetMetadata", 403, "no SOAP message")
    said = log.WEB_DIAGNOSTICS(28000, "web", "wsse:FailedAuthentication", "not allowed")
    assert causes_in(*LOCATED, http_sent(), plain, said, after) == []
