from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from netlab import Lab

LAB_SITE = Path(__file__).with_name("lab-site.yaml")


@pytest.fixture
def lab(tmp_path: Path) -> Iterator[Lab]:
    """Two namespaces, empty, that end with the test."""
    with Lab(tmp_path) as made:
        yield made


@pytest.fixture
def well_formed(lab: Lab) -> Iterator[None]:
    """What the servers' interface saw of the test has no malformed frame, says tshark."""
    capture = lab.capture("seen", "")
    yield
    lab.stop("seen")
    frames = lab.read_capture(capture, "frame")
    assert frames
    assert lab.read_capture(capture, "_ws.malformed") == []


@pytest.fixture
def users() -> tuple[str, str]:
    """The arguments of `phonesim run` that name the lab's users."""
    return "--set", f"fleet.users_from={LAB_SITE}"
