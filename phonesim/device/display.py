"""What a phone's display shows, and when it changes.

A text stays until another one takes its place. The home screen of a phone that is signed in has
none by default; a text that told of a lost registration is taken away by it.

Specifications: device reference section 14, for the texts that are known.
"""

from __future__ import annotations

from phonesim.config.device_profile import DisplayConfig
from phonesim.device import device_log as log
from phonesim.device.device_log import LogRecord
from phonesim.device.events import DisplayShowed
from phonesim.device.outcome import FailureReason, Stage

Output = LogRecord | DisplayShowed


class Display:
    """One phone's display. What changes it returns a log record and an observation, or nothing."""

    def __init__(self, config: DisplayConfig) -> None:
        self._config = config
        self._shown = ""
        self._home = ""

    def stage_entered(self, stage: Stage) -> list[Output]:
        """A stage of the boot begins."""
        config = self._config
        match stage:
            case Stage.VLAN | Stage.IP if self._shown != config.acquiring:
                return self._show(config.acquiring)
            case Stage.CHAIN:
                return self._show(config.locating)
            case Stage.REGISTER:
                return self._show(config.connecting)
            case _:
                return []

    def boot_failed(self, reason: FailureReason) -> list[Output]:
        """The boot failed, for now or for good."""
        return self._show(self._config.failures.get(reason, self._config.failure))

    def registration_lost(self) -> list[Output]:
        """A phone that was signed in tries to get another registration."""
        return self._show(self._config.reconnecting)

    def reset_wanted(self) -> list[Output]:
        """The phone is about to erase what is on its disk."""
        return self._show(self._config.reset)

    def registered(self, *, is_survivable: bool) -> None:
        """Choose the home screen; `home` shows it."""
        self._home = self._config.survivable if is_survivable else self._config.signed_in

    def home(self) -> list[Output]:
        """Show the home screen."""
        if self._home:
            return [] if self._shown == self._home else self._show(self._home)
        if self._shown not in (self._config.reconnecting, self._config.survivable):
            return []
        self._shown = ""
        return [log.DISPLAY(""), DisplayShowed(text="")]

    def _show(self, text: str) -> list[Output]:
        if not text:
            return []
        self._shown = text
        return [log.DISPLAY(text), DisplayShowed(text=text)]
