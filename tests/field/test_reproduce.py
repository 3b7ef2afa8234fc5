"""Every failure in virtual time: it and its diagnosis come out as declared."""

from pathlib import Path

import pytest

from phonesim.config.failure import FailurePart
from phonesim.errors import ProfileError
from phonesim.field.failures import FAILURE
from phonesim.field.reproduce import Reproduced, load_failure, reproduce
from phonesim.fleet.plan import Plan
from phonesim.profiles import load, names


@pytest.mark.parametrize("name", names(FAILURE))
def test_a_failure_comes_out_as_declared(name: str, tmp_path: Path) -> None:
    came = reproduce(load(FAILURE, name), tmp_path)
    assert came.differences == ()
    assert came.is_valid
    assert sum(came.outcomes.values()) == came.failure.phones
    assert sum(story.phones for story in came.stories) == came.failure.phones
    assert all(story.steps and story.log.is_file() for story in came.stories)
    assert came.capture.stat().st_size


def reproduced(tmp_path: Path, name: str, **changed: object) -> Reproduced:
    return reproduce(load(FAILURE, name).model_copy(update=changed), tmp_path)


def test_an_outcome_that_differs_is_told(tmp_path: Path) -> None:
    parts = (FailurePart(phones=2, outcome="no-lease"),)
    came = reproduced(tmp_path, "pin-wrong", parts=parts)
    assert came.differences == (
        "2 of 2 cold phones came to pin-incorrect instead of no-lease, such as 00-04-F2-00-00-01",
    )
    assert came.outcomes == {"pin-incorrect": 2}


def test_a_display_that_differs_is_told(tmp_path: Path) -> None:
    came = reproduced(tmp_path, "pin-wrong", display="Call your mother")
    assert came.differences == ("no display showed 'Call your mother'",)


def test_findings_that_differ_are_told_by_source(tmp_path: Path) -> None:
    came = reproduced(tmp_path, "pin-wrong", findings=("pin-locked",))
    assert came.undiagnosed == {
        "log": "the log shows pin-wrong instead of pin-locked",
        "capture": "the capture shows pin-wrong instead of pin-locked",
    }


def test_a_healthy_site_is_no_failure(tmp_path: Path) -> None:
    came = reproduced(tmp_path, "pin-wrong", faults=())
    assert came.outcomes == {"signed-in": 2}
    assert came.undiagnosed["log"] == "the log shows no cause instead of pin-wrong"


def test_there_is_one_story_of_each_beginning_and_end(tmp_path: Path) -> None:
    came = reproduced(tmp_path, "migration-cold-phones-stick")
    assert [(story.boot, story.outcome, story.phones) for story in came.stories] == [
        ("warm", "signed-in", 2),
        ("factory-reset", "web-services-not-located", 1),
        ("cold", "web-services-not-located", 2),
    ]
    warm, reset, cold = ([step.text for step in story.steps] for story in came.stories)
    assert any(text.startswith("from the cache: ") for text in warm)
    assert any(text.startswith("factory reset: erased ") for text in reset)
    assert "the cache is empty" in cold
    assert came.earlier is not None


def test_the_same_seed_is_the_same_story(tmp_path: Path) -> None:
    failure = load(FAILURE, "redirect-loop")
    first, second = (reproduce(failure, tmp_path / each) for each in "ab")
    assert [story.steps for story in first.stories] == [story.steps for story in second.stories]
    assert first.capture.read_bytes() == second.capture.read_bytes()


def test_every_plan_is_asked_about_before_it_is_run(tmp_path: Path) -> None:
    asked: list[str | None] = []

    def agree(plan: Plan) -> None:
        asked.append(plan.fleet.phones_from)
        if plan.fleet.phones_from is not None:
            raise ProfileError("no")

    with pytest.raises(ProfileError, match="no"):
        reproduce(load(FAILURE, "home-pool-moved"), tmp_path, agree=agree)
    (before,) = tmp_path.iterdir()
    assert asked == [None, str(before)]


def test_a_failure_with_a_mistake_is_refused_with_its_place(tmp_path: Path) -> None:
    file = tmp_path / "mine.yaml"
    file.write_text("name: mine\nextends: pin-wrong\nfaults: [pin-worng]\n")
    with pytest.raises(ProfileError, match=r"mine.yaml:3: faults.0: no fault profile is named"):
        load_failure(str(file))
    with pytest.raises(ProfileError, match="did you mean 'option-43-cut'"):
        load_failure("option-43-cutt")
