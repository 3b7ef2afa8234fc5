from __future__ import annotations

import pytest
from cause_cases import CERTIFICATES
from made_boots import LOCATED, causes_in, findings_in, http_failed, shown

from phonesim.device import device_log as log
from phonesim.device.device_log import LogRecord
from phonesim.field.finding import Certainty, Finding

CERTAIN, LIKELY = Certainty.CERTAIN, Certainty.LIKELY
WEB, CA, ROOT = "webpool.contoso.com", "contoso issuing", "contoso root"
URL = f"http://{WEB}:80/CertProv"


@pytest.mark.parametrize("cause", CERTIFICATES)
def test_a_small_log_shows_the_cause_first(cause: str) -> None:
    assert causes_in(*CERTIFICATES[cause])[:1] == [cause]


def in_capture(certificate: LogRecord, failure: str, *before: LogRecord) -> list[Finding]:
    """What is found where a phone refuses a certificate."""
    refusal = http_failed(failure, "")
    return findings_in(*LOCATED, *before, certificate, refusal, is_frame=True)


def sent(count: int, outdated: str = "", *, issuer: str = CA) -> LogRecord:
    return shown(
        *("certificate_shown", "192.0.2.20:443", WEB, WEB, WEB),
        *(1, 1 if outdated else 2_000_000_000, issuer, count, outdated),
    )


def summary(found: list[Finding]) -> list[tuple[str, Certainty]]:
    return [(each.cause.name, each.certainty) for each in found]


@pytest.mark.parametrize("offset", [None, 0.0, 3e8])
@pytest.mark.parametrize("outdated", [WEB, CA])
def test_what_is_out_of_date_for_all_is_not_the_phones_clock(
    outdated: str, offset: float | None
) -> None:
    times = [] if offset is None else [log.CLOCK_SET("192.0.2.12", offset)]
    found = in_capture(sent(2, outdated), "certificate-expired", *times)
    assert summary(found) == [("certificate-expired", CERTAIN)]
    assert (f"{CA}, sent with it" in found[0].evidence[0].note) is (outdated == CA)


@pytest.mark.parametrize(
    ("offset", "cause"),
    [
        (None, "phone-clock-wrong"),
        (0.2, "certificate-expired"),
        (-3e7, "phone-clock-wrong"),
    ],
)
def test_what_is_valid_is_refused_for_the_clock_unless_that_is_right(
    offset: float | None, cause: str
) -> None:
    times = [] if offset is None else [log.CLOCK_SET("192.0.2.12", offset)]
    found = in_capture(sent(2), "certificate-not-yet-valid", *times)
    assert summary(found) == [(cause, LIKELY)]


@pytest.mark.parametrize(
    ("chain", "expected"),
    [
        (None, ["intermediate-missing", "certificate-untrusted"]),
        (ROOT, ["intermediate-missing", "certificate-untrusted"]),
        (f"{CA},{ROOT}", ["certificate-untrusted"]),
    ],
    ids=["no chain", "without the issuer", "with it"],
)
def test_a_lone_certificate_may_lack_an_intermediate_or_a_root(
    chain: str | None, expected: list[str]
) -> None:
    chains = [] if chain is None else [shown("chain_shown", URL, chain, "")]
    found = in_capture(sent(1), "certificate-issuer-missing", *chains)
    assert summary(found) == [(each, LIKELY) for each in expected]


def test_a_certificate_of_its_own_has_no_intermediate() -> None:
    found = in_capture(sent(1, issuer=WEB), "certificate-untrusted")
    assert summary(found) == [("certificate-untrusted", CERTAIN)]
