"""Sightings and what they are made of."""

from __future__ import annotations

import pytest

from phonesim.field.sightings import FieldValues, Place


def test_field_values_are_a_mapping() -> None:
    values = FieldValues(("server", "option"), ("10.0.0.1", 43))
    assert values == {"server": "10.0.0.1", "option": 43}
    assert (values["option"], len(values), list(values)) == (43, 2, ["server", "option"])
    assert values.get("none") is None
    assert repr(values) == "{'server': '10.0.0.1', 'option': 43}"
    with pytest.raises(KeyError, match="none"):
        values["none"]


def test_a_place_is_a_line_or_a_frame() -> None:
    assert str(Place("a.log", 7)) == "a.log:7"
    assert str(Place("a.pcap", 7, True)) == "a.pcap frame 7"
