"""Boots: the sightings of one phone from its power to its next, as rules look at them.

A log of weeks is read boot by boot: of one that is over only what was found of it is kept. Of a
boot that goes on for days, its first `MOST_SEEN` sightings and its last ones are.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator

from phonesim.field.sightings import Sighting

MOST_SEEN = 2000
"""Sightings of a boot's beginning that are kept, and of its end."""

_BEGINNINGS = frozenset({"power_applied", "boot_begun"})
_WELL = frozenset({"signed_in", "registered"})
_UNWELL = frozenset({"boot_failed", "registration_lost", "lease_lost"})


class Boot:
    """What was seen of one boot of one phone, in order."""

    def __init__(self, phone_id: str) -> None:
        self.phone_id = phone_id
        self.left_out = 0
        self._first: list[Sighting] = []
        self._last: deque[Sighting] = deque(maxlen=MOST_SEEN)
        self._by_name: dict[str, list[Sighting]] | None = None
        self._positions: dict[int, int] = {}
        self._ends_well: bool | None = None

    def take(self, sighting: Sighting) -> None:
        """Add what was seen next."""
        self._by_name = self._ends_well = None
        if len(self._first) < MOST_SEEN:
            self._first.append(sighting)
            return
        self.left_out += len(self._last) == MOST_SEEN
        self._last.append(sighting)

    @property
    def sightings(self) -> list[Sighting]:
        """All that is kept, in order."""
        return [*self._first, *self._last]

    def all(self, *names: str) -> list[Sighting]:
        """Those with one of these names, in order."""
        by_name = self._sorted()
        if len(names) == 1:
            return by_name.get(names[0], [])
        wanted = set(names)
        return [sighting for sighting in self.sightings if sighting.name in wanted]

    def _sorted(self) -> dict[str, list[Sighting]]:
        if self._by_name is None:
            self._by_name, self._positions = {}, {}
            for position, sighting in enumerate(self.sightings):
                self._by_name.setdefault(sighting.name, []).append(sighting)
                self._positions[id(sighting)] = position
        return self._by_name

    def position(self, sighting: Sighting) -> int:
        """When one of this boot was seen, from 0: lines of two files have no common order."""
        self._sorted()
        return self._positions[id(sighting)]

    def after(self, sighting: Sighting) -> list[Sighting]:
        """All that was seen later."""
        return self.sightings[self.position(sighting) + 1 :]

    def first(self, name: str) -> Sighting | None:
        """The first one of that name, or None."""
        return next(iter(self.all(name)), None)

    def last(self, name: str) -> Sighting | None:
        """The last one of that name, or None."""
        return next(reversed(self.all(name)), None)

    def has(self, *names: str) -> bool:
        """Whether there is one with one of these names."""
        return any(self.all(name) for name in names)

    @property
    def ends_well(self) -> bool:
        """Whether the phone is registered at the end of the boot, or when it is shut down.

        What is said inside TLS no capture shows: there a handshake that went well has to do.
        """
        if self._ends_well is None:
            self._ends_well = self._look_how_it_ends()
        return self._ends_well

    def _look_how_it_ends(self) -> bool:
        is_well = False
        for sighting in self.sightings:
            name, is_frame = sighting.name, sighting.place.is_frame
            if name in _WELL or (is_frame and name == "registrar_connected"):
                is_well = True
            elif name in _UNWELL or (is_frame and _is_setback(sighting)):
                is_well = False
            elif name == "shutdown":
                break
        return is_well

    @property
    def lacks_beginning(self) -> bool:
        """Whether it is a log's, and what was written first is not there."""
        first = next(iter(self._first), None)
        return first is not None and not first.place.is_frame and first.name not in _BEGINNINGS

    @property
    def is_hurt(self) -> bool:
        """Whether the sign-in failed, if only once, or did not come to a good end."""
        return self.has("boot_failed") or not self.ends_well


def _is_setback(sighting: Sighting) -> bool:
    """Whether a phone in a capture has just failed with a server."""
    if sighting.name == "register_answer":
        return sighting["status"] not in (200, 100)
    return sighting.name in ("http_failed", "registrar_failed")


def each_boot(sightings: Iterable[Sighting]) -> Iterator[Boot]:
    """Yield every boot when it is over: at the phone's next one, or at the end of everything."""
    open_boots: dict[str, Boot] = {}
    for sighting in sightings:
        boot = open_boots.get(sighting.phone_id)
        if boot is None or sighting.name in _BEGINNINGS:
            if boot is not None:
                yield boot
            boot = open_boots[sighting.phone_id] = Boot(sighting.phone_id)
        boot.take(sighting)
    yield from open_boots.values()
