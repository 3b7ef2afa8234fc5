"""Tests of parts of the virtual world share a phone, and a server that nobody asks."""

from __future__ import annotations

import pytest
from captured import MAC, PHONE_ID

from phonesim.mocksite import exchange as site_side
from phonesim.profiles import DEVICE, load
from phonesim.world import PhoneSpec

SPEC = PhoneSpec(
    phone_id=PHONE_ID,
    mac=MAC,
    profile=load(DEVICE, "polycom-cx600"),
    number="1",
    pin="2",
    starts_at=0,
    seed="s",
)


class Nobody:
    """A server behind a listener that is only looked up."""

    def handle(self, event: site_side.ServerEvent, now: float) -> list[site_side.ServerAction]:
        pytest.fail(f"nobody is there for {event}")

    def next_deadline(self) -> tuple[float, str] | None:
        pytest.fail("nobody waits")
