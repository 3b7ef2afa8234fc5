from __future__ import annotations

import pytest
from cause_cases import CAPTURES, OF_ONE_BOOT, OF_SEVERAL_BOOTS
from hypothesis import given
from hypothesis import strategies as st
from made_boots import SIGNED_IN, boot_of, causes_in, findings_in, shown

from phonesim.device.device_log import KINDS, NUMBER, SECONDS, XID, LogRecord
from phonesim.field.causes import CAUSES
from phonesim.field.open_ends import open_end_of
from phonesim.field.rules.consequences import find_in_boot
from phonesim.field.rules.site_rules import facts_of, find_in_site
from phonesim.field.sightings import ONLY_CAPTURED
from phonesim.field.site_names import names_in

_WORDS = st.sampled_from(
    [
        *("", "43", "INFORM", "ACK", "NAK", "OFFER", "DISCOVER", "SRV", "A", "refused", "timeout"),
        *("fe01.contoso.com:5061", "fe01.contoso.com", "https://fe01.contoso.com:443/x", "00ff"),
        *("SRV 0 0 5061 fe01.contoso.com ttl 1", "CNAME a ttl 1", "NOERROR", "x (y:80)", "+", ":"),
        *("WebTicketServiceCert", "it wants NTLM (1 octets)", "GetRootCertChains", "zz"),
    ]
) | st.text(max_size=5)
_NUMBERS = st.integers(0, 5) | st.sampled_from([43, 120, 401, 403, 404, 301, 503])


def _records() -> st.SearchStrategy[LogRecord]:
    of_logs = [
        st.builds(
            LogRecord,
            st.just(name),
            st.tuples(
                *(
                    _NUMBERS
                    if kind in (NUMBER, XID)
                    else st.floats(0, 9)
                    if kind is SECONDS
                    else _WORDS
                    for kind in record.fields.values()
                )
            ),
        )
        for name, record in KINDS.items()
    ]
    numbers = {"xid", "not_before", "not_after", "shown", "seconds"}
    of_captures = [
        st.builds(
            lambda name, values: shown(name, *values),
            st.just(name),
            st.tuples(*(_NUMBERS if field in numbers else _WORDS for field in fields)),
        )
        for name, fields in ONLY_CAPTURED.items()
    ]
    return st.one_of(of_logs + of_captures)


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


@given(records=st.lists(_records(), max_size=30), is_frame=st.booleans())
def test_whatever_was_seen_breaks_no_rule(records: list[LogRecord], is_frame: bool) -> None:
    boot = boot_of(*records, is_frame=is_frame)
    findings = find_in_boot(boot)
    assert all(each.evidence for each in findings)
    names_in(boot)
    open_end_of(boot)
    list(find_in_site([facts_of(boot, findings), facts_of(boot_of(*SIGNED_IN), [])]))
