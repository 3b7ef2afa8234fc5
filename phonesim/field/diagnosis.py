"""The diagnosis: of inputs of any kind, what is wrong with the phones in them.

    paths -> sources (a phone's log, or a capture) -> sightings -> boots -> rules
          -> findings, merged over phones and put in order

A path is a device log, a capture, or a folder with any of these in it. They are read one after
another, so that memory does not grow with their number. Findings of the same
cause are one `Diagnosed`, with the surest of them as its example.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import msgspec

from phonesim.device.device_log import Dialect
from phonesim.errors import DecodeError, UsageError
from phonesim.field.boots import Boot, each_boot
from phonesim.field.captures.capture_reader import CaptureReader
from phonesim.field.causes import Cause
from phonesim.field.evidence_files import NotRead, Source, evidence_in
from phonesim.field.finding import Certainty, Evidence, Finding, evidence_of
from phonesim.field.log_reader import LogReading, read_log, shipped_dialects
from phonesim.field.open_ends import OpenEnd, open_end_of
from phonesim.field.rules.consequences import FOLLOWS, ORDER, find_in_boot
from phonesim.field.rules.site_rules import BootFacts, facts_of, find_in_site
from phonesim.field.sightings import Sighting
from phonesim.field.site_names import SiteNames, names_in

_OF_ADDRESS = frozenset(
    (
        *("boot_begun", "inventory_shown", "capture_ended", "malformed"),
        *("lldp_sent", "lldp_received", "vlan_found", "vlan_option"),
        *("dhcp_sent", "dhcp_received", "dhcp_ignored", "dhcp_no_answer", "offer_shown"),
        *("reply_astray", "dhcp_lease", "lease_lost", "address_conflict", "auto_ip"),
        *("option_43", "option_120", "option_missing", "option_warning"),
        *("race_won", "race_lost"),
    )
)
"""What a capture of DHCP, ARP and LLDP can show."""


class Diagnosed(msgspec.Struct, frozen=True, kw_only=True):
    """A cause, the phones that have it, and the finding that shows it best.

    `signed_in` counts those that signed in nevertheless, or later.
    """

    cause: Cause
    certainty: Certainty
    phones: tuple[str, ...]
    signed_in: int
    boots: int
    example: Finding
    names: SiteNames


class Unexplained(msgspec.Struct, frozen=True, kw_only=True):
    """A failed sign-in for which no rule has a cause."""

    phone_id: str
    evidence: Evidence


class Diagnosis(msgspec.Struct, frozen=True, kw_only=True):
    """What came of all inputs. `signed_in` counts phones whose last boot ended well."""

    readings: tuple[LogReading, ...]
    not_read: tuple[NotRead, ...]
    phones: int
    boots: int
    signed_in: int
    found: tuple[Diagnosed, ...]
    unexplained: tuple[Unexplained, ...]
    open_ends: tuple[OpenEnd, ...]
    """Phones without a finding that are not signed in where their input ends."""

    @property
    def is_well(self) -> bool:
        """Whether there is nothing to mend, and every phone was seen to sign in."""
        return not self.found and not self.unexplained and not self.open_ends


def diagnose(paths: Sequence[Path], dialects: Sequence[Dialect] | None = None) -> Diagnosis:
    """Read all inputs and say what is wrong. `UsageError` if none holds anything to read.

    `dialects` are those that a device log may be in; the shipped ones unless given.
    """
    readings: list[LogReading] = []
    not_read: list[NotRead] = []
    boots = _Boots()
    known = shipped_dialects() if dialects is None else dialects
    for source in evidence_in(paths):
        if isinstance(source, NotRead):
            not_read.append(source)
        else:
            read = _read(source, known, readings, not_read)
            boots.take_all(each_boot(read), str(source.named))
    readings = [reading for reading in readings if reading.records]
    if not readings:
        raise UsageError(f"{not_read[0].file}: {not_read[0].why}")
    return boots.conclude(tuple(readings), tuple(not_read))


def diagnose_boots(boots: Iterable[Boot]) -> Diagnosis:
    """The same for boots that are there already, as of a phone that has just been run."""
    taken = _Boots()
    taken.take_all(boots)
    return taken.conclude((), ())


class _Boots:
    """What is kept of boots that are over."""

    def __init__(self) -> None:
        self._boots = 0
        self._facts: dict[str, BootFacts] = {}
        self._found: dict[str, dict[Cause, list[Finding]]] = {}
        self._counts: dict[tuple[str, Cause], int] = {}
        self._unexplained: dict[str, Evidence] = {}
        self._open_ends: list[OpenEnd] = []
        self._names: dict[str, SiteNames] = {}
        self._all_names = SiteNames()

    def take_all(self, boots: Iterable[Boot], origin: str = "") -> None:
        """Take the boots of one source: of each phone in it, the last may break off.

        Sources of one `origin` are of one site.
        """
        open_ends: dict[str, OpenEnd] = {}
        for boot in boots:
            findings = find_in_boot(boot)
            self._boots += 1
            names = self._names[boot.phone_id] = names_in(boot)
            self._facts[boot.phone_id] = facts_of(boot, findings, origin, names.scope)
            self._all_names = self._all_names.or_else(names)
            for finding in findings:
                self._keep(finding)
            failure = boot.first("boot_failed")
            if failure is not None and not findings:
                self._unexplained.setdefault(boot.phone_id, evidence_of(failure))
            open_ends.pop(boot.phone_id, None)
            open_end = None if findings else open_end_of(boot)
            if open_end is not None:
                open_ends[boot.phone_id] = open_end
        self._open_ends += open_ends.values()

    def _keep(self, finding: Finding) -> None:
        phone_id, cause = finding.phone_id, finding.cause
        key = phone_id, cause
        self._counts[key] = self._counts.get(key, 0) + 1
        best = self._found.setdefault(phone_id, {}).setdefault(cause, [finding])
        if finding.certainty < best[0].certainty:
            best[0] = finding

    def conclude(
        self, readings: tuple[LogReading, ...], not_read: tuple[NotRead, ...]
    ) -> Diagnosis:
        of_site = list(find_in_site(list(self._facts.values())))
        for finding in of_site:
            self._keep(finding)
            if finding.certainty is not Certainty.POSSIBLE:
                for consequence in FOLLOWS.get(finding.cause, ()):
                    self._found[finding.phone_id].pop(consequence, None)
            self._unexplained.pop(finding.phone_id, None)
        explained = {finding.phone_id for finding in of_site}
        of_dhcp_only = {reading.file for reading in readings if reading.has_dhcp_only}
        return Diagnosis(
            readings=readings,
            not_read=not_read,
            phones=len(self._facts),
            boots=self._boots,
            signed_in=sum(facts.ends_well for facts in self._facts.values()),
            found=tuple(sorted(self._merged(), key=_rank)),
            unexplained=tuple(
                Unexplained(phone_id=phone_id, evidence=evidence)
                for phone_id, evidence in self._unexplained.items()
            ),
            open_ends=tuple(
                each
                for each in self._open_ends
                if each.phone_id not in explained and each.last.place.file not in of_dhcp_only
            ),
        )

    def _merged(self) -> Iterator[Diagnosed]:
        by_cause: dict[Cause, list[Finding]] = {}
        for per_cause in self._found.values():
            for cause, (finding,) in per_cause.items():
                by_cause.setdefault(cause, []).append(finding)
        for cause, findings in by_cause.items():
            example = min(findings, key=lambda finding: finding.certainty)
            yield Diagnosed(
                cause=cause,
                certainty=example.certainty,
                phones=tuple(finding.phone_id for finding in findings),
                signed_in=sum(self._facts[finding.phone_id].ends_well for finding in findings),
                boots=sum(self._counts[finding.phone_id, cause] for finding in findings),
                example=example,
                names=self._names[example.phone_id].or_else(self._all_names),
            )


def _rank(found: Diagnosed) -> tuple[int, int, int]:
    """The surest first, of these what comes earliest in a boot, then what most phones have."""
    return found.certainty, ORDER[found.cause], -len(found.phones)


def _read(
    source: Source,
    dialects: Sequence[Dialect],
    readings: list[LogReading],
    not_read: list[NotRead],
) -> Iterator[Sighting]:
    """Yield what a source has; why it has nothing, or no more, goes into one of the lists."""
    first = len(readings)
    try:
        if source.is_capture:
            yield from _read_capture(source.files[0], readings)
        else:
            yield from read_log(source.files, dialects, readings)
            _refuse_strange_text(readings[first:])
    except UsageError as error:
        reading = readings[-1]
        why = str(error).removeprefix(f"{reading.file}: ")
        if reading.records:
            reading.notes.append(why)
        else:
            not_read.append(NotRead(reading.file, why))
        rest = source.files[len(readings) - first :]
        if rest:
            yield from _read(Source(rest), dialects, readings, not_read)


def _read_capture(path: Path, readings: list[LogReading]) -> Iterator[Sighting]:
    reading = LogReading(file=str(path), is_capture=True)
    readings.append(reading)
    capture = CaptureReader(path, str(path))
    has_more = False
    try:
        for sighting in capture:
            reading.records += 1
            has_more = has_more or sighting.name not in _OF_ADDRESS
            yield sighting
    except DecodeError as error:
        raise UsageError(str(error)) from None
    if not capture.phones:
        raise UsageError("; ".join(capture.notes) or f"{path}: no packet of it is a phone's")
    reading.lines = capture.packets
    reading.notes += capture.notes
    if not has_more:
        reading.has_dhcp_only = True
        reading.notes.append("it has DHCP only: what the phones did after that is not known")


def _refuse_strange_text(readings: Sequence[LogReading]) -> None:
    if any(reading.records for reading in readings):
        return
    samples = [sample for reading in readings for sample in reading.samples]
    like = f", such as {samples[0][1][:60]!r}" if samples else ""
    raise UsageError(
        f"{readings[-1].file}: no line of it is a device log's{like}; give a log of another"
        " dialect with --device PROFILE"
    )
