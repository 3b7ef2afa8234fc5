from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from netlab import Lab
from tshark import fields

LAB_SITE = Path(__file__).with_name("lab-site.yaml")


@pytest.fixture
def lab(tmp_path: Path) -> Iterator[Lab]:
    """Two namespaces, empty, that end with the test."""
    with Lab(tmp_path) as made:
        yield made


@pytest.fixture
def seen(lab: Lab) -> Path:
    """The capture of all frames of the test, which `lab.stop("seen")` ends."""
    return lab.capture("seen")


@pytest.fixture
def well_formed(lab: Lab, seen: Path) -> Iterator[None]:
    """No frame of the test is malformed, says tshark."""
    yield
    lab.stop("seen")
    frames = fields(seen, "frame.number", "_ws.malformed")
    assert frames
    assert [number for number, is_malformed in frames if is_malformed] == []


@pytest.fixture
def users() -> tuple[str, str]:
    """The arguments of `phonesim run` that name the lab's users."""
    return "--set", f"fleet.users_from={LAB_SITE}"
