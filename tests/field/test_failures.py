"""Failures as profiles, and as plans."""

from pathlib import Path

import pytest

from phonesim.errors import ProfileError
from phonesim.field.failures import (
    ALL_KINDS,
    FAILURE,
    lived_before,
    plan_earlier_life,
    plan_failure,
)
from phonesim.profiles import likely_kinds, load, names, parse_override, problems, schema, to_yaml

ASKED_FOR = 45

GOOD = """\
name: mine
description: No DHCP server answers
symptom: The phone stays at Acquiring IP Address
faults: [dhcp-silent]
parts:
  - {phones: 1, outcome: no-lease}
findings: [dhcp-silent]
"""


def written(folder: Path, text: str) -> str:
    file = folder / "mine.yaml"
    file.write_text(text)
    return str(file)


def test_every_shipped_failure_can_be_used_and_is_named_like_its_file() -> None:
    assert len(names(FAILURE)) >= ASKED_FOR
    for name in names(FAILURE):
        assert problems(FAILURE, name) == []
        assert load(FAILURE, name).name == name


def test_no_two_failures_are_the_same() -> None:
    made = {}
    for name in names(FAILURE):
        failure = load(FAILURE, name)
        what = failure.model_dump_json(include={"site", "device", "set", "faults", "fault_rules"})
        parts = str([part.boot for part in failure.parts])
        assert made.setdefault(what + parts, name) == name


def test_what_show_prints_is_the_same_failure(tmp_path: Path) -> None:
    for name in names(FAILURE):
        failure = load(FAILURE, name)
        assert load(FAILURE, written(tmp_path, to_yaml(failure))) == failure


def test_a_failure_is_told_from_other_kinds_by_its_keys(tmp_path: Path) -> None:
    assert likely_kinds(written(tmp_path, GOOD), ALL_KINDS) == [FAILURE]


def test_its_schema_is_for_editors() -> None:
    shown = schema(FAILURE)
    assert shown["properties"]["symptom"]["description"] == "What the user sees."
    assert "parts" in shown["anyOf"][0]["required"]


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("[dhcp-silent]\nparts", "[dhcp-silnt]\nparts", ":4: faults.0: no fault profile is named"),
        ("findings: [dhcp-silent]", "findings: [x]", ":7: findings.0: there is no cause 'x'"),
        (
            "findings: [dhcp-silent]",
            "findings: [dhcp-silnt]",
            "there is no cause 'dhcp-silnt'; did you mean 'dhcp-silent'?",
        ),
        (
            "findings: [dhcp-silent]",
            "findings: {log: [dhcp-silent], capture: [y]}",
            ":7: findings.capture.0: there is no cause 'y'",
        ),
        ("no-lease", "no-leese", ":6: parts.0.outcome: there is no outcome 'no-leese'; did you"),
        ("symptom", "symptoms", ":3: symptoms: unknown key; did you mean 'symptom'?"),
        ("faults: [dhcp-silent]", "site: nowhere", ":4: site: no site profile is named 'nowhere'"),
        (
            "faults: [dhcp-silent]",
            "set: {site.nonsense: 1}",
            "failure 'mine': set site.nonsense: unknown key",
        ),
        (
            "faults: [dhcp-silent]",
            "fault_rules: [{kind: refuse, protocol: sip, target: nobody}]",
            "fault mine: refuse: target 'nobody' names no sip server",
        ),
    ],
)
def test_a_mistake_is_one_line_that_says_where(
    tmp_path: Path, old: str, new: str, said: str
) -> None:
    file = written(tmp_path, GOOD.replace(old, new))
    found = [line for line in problems(FAILURE, file) if said in line]
    assert len(found) == 1, problems(FAILURE, file)
    assert found[0].startswith(file)


def test_a_value_that_is_nobodys_is_refused(tmp_path: Path) -> None:
    file = written(tmp_path, GOOD.replace("faults:", "set: {phones.x: 1}\nfaults:"))
    assert "the key starts with fleet., site., device." in problems(FAILURE, file)[0]


def test_phones_without_an_earlier_life_are_cold() -> None:
    failure = load(FAILURE, "option-43-cut")
    assert lived_before(failure) == []
    assert plan_earlier_life(failure) is None
    plan = plan_failure(failure)
    assert plan.limits.boots == ("cold",)
    assert [spec.first_boot for spec in plan.specs] == [None, None]
    assert [fault.name for fault in plan.faults] == list(failure.faults)


def test_phones_that_lived_before_did_so_at_a_site_without_faults() -> None:
    failure = load(FAILURE, "migration-cold-phones-stick")
    before, plan = plan_earlier_life(failure), plan_failure(failure, earlier="a run")
    assert before is not None
    assert (before.faults, before.fleet.keep_leases) == ((), True)
    assert [spec.phone_id for spec in before.specs] == [spec.phone_id for spec in plan.specs[:3]]
    assert [spec.first_boot for spec in plan.specs] == [
        *("warm", "warm"),
        *("factory-reset", "cold", "cold"),
    ]
    assert plan.fleet.phones_from == "a run"


def test_what_is_set_is_of_the_failure_alone_unless_it_is_the_phones() -> None:
    failure = load(FAILURE, "home-pool-moved").model_copy(
        update={"set": {"site.name": "moved", "device.retry_delay": 7}}
    )
    before, plan = plan_earlier_life(failure), plan_failure(failure, earlier="a run")
    assert before is not None
    assert before.site is not None
    assert plan.site is not None
    assert (before.site.name, plan.site.name) == ("contoso", "moved")
    assert {spec.profile.retry_delay for spec in (*before.specs, *plan.specs)} == {7}


def test_overrides_come_on_top_of_the_failures_own() -> None:
    failure = load(FAILURE, "endpoint-displaced")
    assert plan_failure(failure).limits.duration == 20
    assert (
        plan_failure(failure, "virtual", [parse_override("fleet.until=15s")]).limits.duration == 15
    )


def test_a_plan_can_be_refused() -> None:
    failure = load(FAILURE, "dhcp-silent").model_copy(update={"faults": ("pin-wrong", "nothing")})
    with pytest.raises(ProfileError, match="no fault profile is named 'nothing'"):
        plan_failure(failure)
