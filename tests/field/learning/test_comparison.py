from __future__ import annotations

import pytest

from phonesim.field.boots import Boot
from phonesim.field.learning.comparison import milestones, outcome
from phonesim.field.sightings import Place, Sighting

VALUES = {
    "boot_failed": {"stage": "chain", "reason": "web-server-refused"},
    "signed_in": {"user": "sip:a@contoso.com", "registrar": "fe01.contoso.com:5061"},
    "registered": {"registrar": "fe01.contoso.com:5061"},
}


def boot(*names: str) -> Boot:
    made = Boot("phone")
    for number, name in enumerate(names):
        place = Place("cpsw3g.log", number + 1)
        made.take(Sighting(place, float(number), "phone", name, dict(VALUES[name]), name))
    return made


@pytest.mark.parametrize(
    ("names", "told"),
    [
        (("registered", "signed_in"), "signed in"),
        (("registered",), "signed in"),
        (("boot_failed",), "failed at chain: web-server-refused"),
        (("boot_failed", "registered", "signed_in"), "failed at chain: web-server-refused"),
        (("signed_in", "boot_failed"), "signed in"),
        ((), "nothing was seen"),
    ],
)
def test_the_first_end_is_the_outcome_and_nothing_after_it_is_a_milestone(
    names: tuple[str, ...], told: str
) -> None:
    seen = boot(*names)
    assert outcome(seen) == told
    ends = [name for name in names if name != "registered"]
    assert len(milestones(seen)) == (names.index(ends[0]) + 1 if ends else len(names))
