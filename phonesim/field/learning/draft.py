"""A site in the making: its profile, the faults it had, and where each of them was seen."""

from __future__ import annotations

from typing import Any

import msgspec

from phonesim.field.sightings import Sighting


class Entry(msgspec.Struct):
    """A part of a profile, and where it was seen; `seen` may be empty for what is assumed."""

    values: dict[str, Any]
    seen: list[str]


class Draft:
    """What is learned of a site: lists of `Entry` by the site profile's keys, and fault rules."""

    def __init__(self) -> None:
        self.dhcp_servers: list[Entry] = []
        self.dns_servers: list[Entry] = []
        self.ntp_servers: list[Entry] = []
        self.web_services: list[Entry] = []
        self.registrars: list[Entry] = []
        self.users: list[Entry] = []
        self.switch: Entry | None = None
        self.rules: list[Entry] = []
        self.loss = 0.0
        """Share of datagrams that were sent again and then answered."""
        self.is_time_asked = False
        """Whether phones asked for the time: NTP servers that did not answer are not there."""
        self.typed_users: list[Entry] = []
        """Users whose numbers were typed, if they are not those that the site has."""
        self.speaks_old_tls = False
        """Whether a server was too new for the phones' TLS."""
        self.notes: list[str] = []
        """What was seen and could not be learned."""

    def fault(self, seen: Sighting | None, kind: str, **values: Any) -> None:
        """Add a fault rule, once."""
        rule = {"kind": kind, **values}
        for entry in self.rules:
            if entry.values == rule:
                return
        self.rules.append(Entry(rule, [] if seen is None else [quote(seen)]))

    def note(self, text: str) -> None:
        """Add what could not be learned, once."""
        if text not in self.notes:
            self.notes.append(text)


def quote(sighting: Sighting) -> str:
    """Where a sighting stands and what it is, on one line of a comment."""
    text = " ".join(sighting.text.split())
    place = str(sighting.place).rpartition("/")[2]
    return f"{place}: {text[:_LONGEST]}{'...' if len(text) > _LONGEST else ''}"


_LONGEST = 160
