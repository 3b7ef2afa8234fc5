"""docs/device-log.md agrees with the records and the shipped dialect."""

from __future__ import annotations

import re
from pathlib import Path

from phonesim.device.device_log import KINDS, Dialect
from phonesim.profiles import DEVICE, load

PAGE = (Path(__file__).parents[2] / "docs" / "device-log.md").read_text()


def test_the_page_lists_every_record_with_its_shipped_text() -> None:
    records = load(DEVICE, "polycom-cx600").log.records

    listed = re.findall(r"^\| `(\w+)` \| (\w+) \| `(.*)` \|$", PAGE, re.MULTILINE)

    assert listed == [(name, records[name].zone, records[name].text) for name in KINDS]


def test_the_example_of_a_changed_text_is_accepted() -> None:
    records = dict(load(DEVICE, "polycom-cx600").log.records)
    example = re.search(r'dhcp_lease: \{zone: (\w+), text: "(.*)"\}', PAGE)
    assert example is not None
    changed = records["dhcp_lease"].model_copy(
        update={"zone": example.group(1), "text": example.group(2)}
    )

    Dialect(records | {"dhcp_lease": changed})


def test_the_page_says_that_the_dialect_is_synthetic() -> None:
    assert "no sample of the real file has been published" in PAGE
    assert "synthetic" in PAGE
