import pytest

from phonesim.field.boots import Boot
from phonesim.field.lost_phones import last_of
from phonesim.field.sightings import Place, Sighting


def boot(*seen):
    made = Boot("00-04-F2-00-00-01")
    for number, (at, name) in enumerate(seen, 1):
        made.take(Sighting(Place("cpsw3g.log", number), at, made.phone_id, name, {}, name))
    return made


@pytest.mark.parametrize(
    ("seen", "seconds", "kept"),
    [
        (
            [(1, "http_failed"), (90, "dns_sent"), (95, "boot_failed"), (100, "shutdown")],
            10,
            ["dns_sent", "boot_failed", "shutdown"],
        ),
        (
            [(1, "boot_failed"), (5, "http_failed"), (6, "boot_failed"), (100, "shutdown")],
            10,
            ["boot_failed", "http_failed", "boot_failed", "shutdown"],
        ),
        ([(1, "http_failed"), (2, "boot_failed")], 10, ["http_failed", "boot_failed"]),
        ([(1, "signed_in"), (100, "shutdown")], 10, ["shutdown"]),
        ([(1, "signed_in"), (99, "dns_sent")], 10, ["dns_sent"]),
    ],
)
def test_what_was_seen_last(seen, seconds, kept):
    assert [each.name for each in last_of(boot(*seen), seconds).sightings] == kept
