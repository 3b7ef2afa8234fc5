"""What a failure says of itself."""

import pytest
from pydantic import ValidationError

from phonesim.config.failure import FailureProfile

MINIMAL = {
    "name": "x",
    "description": "y",
    "symptom": "z",
    "parts": [{"phones": 2, "outcome": "no-lease"}],
    "findings": ["dhcp-silent"],
}


def test_a_failure_is_one_of_cold_phones_at_contoso_unless_it_says_otherwise() -> None:
    failure = FailureProfile.model_validate(MINIMAL)
    assert (failure.site, failure.device, failure.faults) == ("contoso", "polycom-cx600", ())
    assert (failure.parts[0].boot, failure.phones) == ("cold", 2)


def test_findings_are_those_of_every_source_or_each_has_its_own() -> None:
    failure = FailureProfile.model_validate(MINIMAL)
    assert failure.findings_from("log") == failure.findings_from("capture") == ("dhcp-silent",)
    own = {"log": ["inform-unanswered"], "capture": ["inform-astray"]}
    failure = FailureProfile.model_validate(MINIMAL | {"findings": own})
    assert failure.findings_from("log") == ("inform-unanswered",)
    assert failure.findings_from("capture") == ("inform-astray",)


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"parts": []}, "at least 1 item"),
        ({"parts": [{"phones": 0}]}, "greater than or equal to 1"),
        ({"parts": [{}, {"boot": "warm"}]}, "put the cold ones last"),
        ({"parts": [{"boot": "lukewarm"}]}, "'cold', 'warm' or 'factory-reset'"),
        ({"findings": []}, "at least 1 item"),
        ({"findings": {"log": ["dhcp-silent"]}}, "capture"),
        ({"cause": "dhcp-silent"}, "Extra inputs"),
    ],
)
def test_what_no_failure_can_be_is_refused(wrong: dict, said: str) -> None:
    with pytest.raises(ValidationError, match=said):
        FailureProfile.model_validate(MINIMAL | wrong)
