from __future__ import annotations

import pytest

from phonesim.field.boots import MOST_SEEN, Boot, each_boot
from phonesim.field.sightings import Place, Sighting

PHONE = "00-04-F2-00-00-01"


def sighting(name: str, number: int = 1, *, phone_id: str = PHONE, **values: object) -> Sighting:
    is_frame = bool(values.pop("is_frame", False))
    return Sighting(Place("file", number, is_frame), number, phone_id, name, dict(values), name)  # type: ignore[arg-type]


def boot(*names: str, is_frame: bool = False) -> Boot:
    made = Boot(PHONE)
    for number, name in enumerate(names, 1):
        made.take(sighting(name, number, is_frame=is_frame, status=403))
    return made


def test_a_boot_ends_where_the_next_one_of_the_same_phone_begins() -> None:
    seen = [
        sighting("power_applied", 1),
        sighting("power_applied", 2, phone_id="other"),
        sighting("cache_empty", 3),
        sighting("power_applied", 4),
    ]
    boots = [(each.phone_id, [s.place.number for s in each.sightings]) for each in each_boot(seen)]
    assert boots == [(PHONE, [1, 3]), (PHONE, [4]), ("other", [2])]


def test_of_a_boot_without_end_its_beginning_and_its_end_are_kept() -> None:
    long = boot(*["dns_sent"] * (3 * MOST_SEEN), "boot_failed")
    assert len(long.sightings) == 2 * MOST_SEEN
    assert long.left_out == MOST_SEEN + 1
    assert long.sightings[0].place.number == 1
    assert long.has("boot_failed")


def test_sightings_are_found_by_name() -> None:
    made = boot("dns_sent", "ntp_sent", "dns_sent")
    first, last = made.first("dns_sent"), made.last("dns_sent")
    assert first is not None
    assert last is not None
    assert (first.place.number, last.place.number) == (1, 3)
    assert [each.name for each in made.all("ntp_sent", "dns_sent")] == [
        "dns_sent",
        "ntp_sent",
        "dns_sent",
    ]
    assert made.first("shutdown") is None
    assert not made.has("shutdown", "boot_failed")


def test_the_order_is_that_of_being_seen_whatever_file_a_line_is_in() -> None:
    made = Boot(PHONE)
    seen = [sighting("dns_sent", 900), sighting("dns_answer", 1), sighting("ntp_sent", 2)]
    for each in seen:
        made.take(each)
    assert [made.position(each) for each in seen] == [0, 1, 2]
    assert made.after(seen[0]) == seen[1:]
    assert made.after(seen[2]) == []


@pytest.mark.parametrize(
    ("names", "ends_well"),
    [
        ("registered signed_in", True),
        ("registered signed_in registration_lost registered", True),
        ("boot_failed registered signed_in", True),
        ("registered signed_in registration_lost", False),
        ("registered boot_failed", False),
        ("registered signed_in shutdown registration_lost", True),
        ("registrar_connected", False),
        ("", False),
    ],
)
def test_a_boot_ends_well_if_the_phone_is_registered_then(names: str, ends_well: bool) -> None:
    made = boot(*names.split())
    assert made.ends_well is ends_well
    assert made.is_hurt is ("boot_failed" in names or not ends_well)


@pytest.mark.parametrize(
    ("names", "ends_well"),
    [
        ("registrar_connected", True),
        ("registrar_connected register_answer", False),
        ("registrar_failed registrar_connected", True),
        ("registrar_connected registrar_failed", False),
    ],
)
def test_in_a_capture_a_handshake_with_a_registrar_has_to_do(names: str, ends_well: bool) -> None:
    assert boot(*names.split(), is_frame=True).ends_well is ends_well
