"""What this machine's network stack refuses to send, of which each kind is reported once."""

from __future__ import annotations

from collections.abc import Callable

from phonesim.world import SiteObserver

BY_THIS_MACHINE = "the network of this machine refused what a phone asked for"


class Refusals:
    """The refusals that `who` meets; `text` says what they are."""

    def __init__(
        self, who: str, text: str, observer: SiteObserver, clock: Callable[[], float]
    ) -> None:
        self._who = who
        self._text = text
        self._observer = observer
        self._clock = clock
        self._kinds: dict[int | None, str] = {}

    @property
    def kinds(self) -> tuple[str, ...]:
        """What was refused so far, in words."""
        return tuple(self._kinds.values())

    def met(self, error: OSError) -> None:
        """Report it, if it is the first of its kind."""
        if error.errno in self._kinds:
            return
        kind = self._kinds[error.errno] = error.strerror or str(error)
        self._observer.report(self._who, self._text, (("error", kind),), True, self._clock())
