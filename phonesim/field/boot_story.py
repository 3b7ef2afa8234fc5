"""A boot as a person follows it: stage by stage, with what the phone learned at each.

A `BootStory` takes the records of a phone's device log as they are written. When a stage ends it
gives a `BootStep` with the stage's result, its duration and what was found out in it, in words.
An answer that loses discovery's race after its end is discovery's: it is in the story's steps.
When all has been told it says where the phone was sent, by whom, and how the boot ended.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import msgspec

from phonesim.device.actions import WriteLog
from phonesim.device.device_log import KINDS, LogRecord, Value
from phonesim.device.outcome import Stage

_TOLD: Mapping[str, str] = {
    "cache_used": "the cache names {url} and {registrars}",
    "cache_corrupt": "the cache is unreadable: {detail}",
    "cache_unusable": "the cache is no good ({detail}): the network is asked",
    "vlan_found": "voice VLAN {vlan}, says {source}",
    "vlan_not_found": "no voice VLAN: {detail}",
    "dhcp_no_answer": "DHCP {type} not answered, sent {attempts} times",
    "address_conflict": "address {address} is in use by {mac}",
    "auto_ip": "AutoIP address {address}",
    "dhcp_lease": "{address} from {server}, domain {domain}, DNS {dns}",
    "clock_set": "by {server}",
    "clock_not_set": "{detail}",
    "option_warning": "option {option} from {server}: {detail}",
    "option_missing": "no option {option} from {server}",
    "race_won": "won by {source}: {detail}",
    "race_lost": "lost by {source}: {detail}",
    "web_services_located": "web services {url}, by {source}",
    "web_services_not_located": "no web services: {detail}",
    "registrar_located": "Registrar {registrar}, by {source}",
    "registrar_not_located": "no Registrar: {detail}",
    "identity_used": "the certificate of {user} from an earlier sign-in",
    "identity_unusable": "the certificate is no good ({detail})",
    "chain_received": "{size} octets",
    "http_failed": "{operation}: {failure} ({detail})",
    "ticket_received": "for {user}, by PIN",
    "ticket_refused": "{reason}: {detail}",
    "certificate_received": "for {user}",
    "registrar_failed": "{registrar}: {failure} ({detail})",
    "registrar_redirected": "{registrar} sends the phone to {target}",
    "registered": "at {registrar}, for {expires} s",
    "provisioning_missed": "no in-band provisioning: {detail}",
    "cache_committed": "{registrars} and {url} kept",
    "malformed": "malformed {protocol} from {source}: {detail}",
}
"""What is told of a record; nothing of others."""


class BootStep(msgspec.Struct, frozen=True, kw_only=True):
    """A stage that is over. `result` is ok, skipped or the reason of its failure."""

    stage: str
    result: str
    seconds: float
    found: tuple[str, ...] = ()


class BootFailure(msgspec.Struct, frozen=True, kw_only=True):
    """Why a boot came to nothing, in the words of the phone's log."""

    stage: str
    reason: str
    detail: str


class BootStory:
    """One boot of one phone. What it knows is what its log has said until now.

    `url` and `registrar` are those that it was sent to last, `source` says by whom. `seconds` is
    the time from power to the last record. `cache_fault` says why what the cache named did not
    work, if it did not. `has_ticket` is whether the Web Services gave one for the PIN.
    """

    def __init__(self) -> None:
        self.steps: list[BootStep] = []
        self.url = ""
        self.registrar = ""
        self.source = ""
        self.user = ""
        self.seconds = 0.0
        self.has_ticket = False
        self.is_signed_in = False
        self.failure: BootFailure | None = None
        self.cache_fault: BootFailure | None = None
        self._found: list[str] = []

    def take(self, line: WriteLog) -> Sequence[BootStep]:
        """Take what the phone wrote at one moment; return the stages that ended then."""
        ended: list[BootStep] = []
        for record in line.records:
            if self.is_over:
                break
            self.seconds = line.tick / 1000
            step = self._take(record)
            if step is not None:
                self.steps.append(step)
                ended.append(step)
        return ended

    @property
    def is_over(self) -> bool:
        """Whether the phone has signed in or failed: what it does afterwards is not told."""
        return self.is_signed_in or self.failure is not None

    def _take(self, record: LogRecord) -> BootStep | None:
        values = dict(zip(KINDS[record.name].fields, record.values, strict=True))
        match record.name:
            case "stage_ended":
                return self._stage_ended(values)
            case "cache_used":
                self.url, self.source = str(values["url"]), "cache"
                self.registrar = str(values["registrars"]).partition("+")[0]
            case "cache_unusable":
                last = self.steps[-1]
                self.cache_fault = BootFailure(
                    stage=last.stage, reason=last.result, detail=str(values["detail"])
                )
            case "web_services_located":
                self.url, self.source = str(values["url"]), str(values["source"])
            case "registrar_located" if values["order"] == 1:
                self.registrar = str(values["registrar"])
            case "ticket_received" | "identity_used":
                self.user = str(values["user"])
                self.has_ticket |= record.name == "ticket_received"
            case "signed_in":
                self.registrar, self.user = str(values["registrar"]), str(values["user"])
                self.is_signed_in = True
            case "boot_failed":
                stage, reason, detail = (str(values[key]) for key in ("stage", "reason", "detail"))
                self.failure = BootFailure(stage=stage, reason=reason, detail=detail)
            case _:
                pass
        told = _TOLD.get(record.name)
        if told is not None:
            shown = {key: "-" if value == "" else value for key, value in values.items()}
            self._tell(record.name, told.format_map(shown))
        return None

    def _tell(self, name: str, told: str) -> None:
        """Keep what was found out, with the stage that it belongs to."""
        if name == "race_lost":
            for index in reversed(range(len(self.steps))):
                step = self.steps[index]
                if step.stage == Stage.DISCOVERY:
                    found = (*step.found, told)
                    self.steps[index] = msgspec.structs.replace(step, found=found)
                    return
        self._found.append(told)

    def _stage_ended(self, values: Mapping[str, Value]) -> BootStep:
        found, self._found = tuple(self._found), []
        return BootStep(
            stage=str(values["stage"]),
            result=str(values["result"]),
            seconds=float(values["seconds"]),
            found=found,
        )
