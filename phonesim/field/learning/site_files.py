"""The files of a learned site: profiles that a person can read, edit and run.

    <folder>/site.yaml      the site as far as it was seen
    <folder>/faults.yaml    what was wrong with it, if anything was
    <folder>/fleet.yaml     the phones that were seen; `phonesim run <folder>/fleet.yaml` boots them

Every entry has a comment with the line or the frame that it is from.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml

from phonesim.config.device_profile import DeviceProfile
from phonesim.errors import UsageError
from phonesim.field.boots import Boot
from phonesim.field.learning.draft import Draft, Entry
from phonesim.profiles import DEVICE, FAULT, FLEET, SITE, load, names, problems

_LISTS = (
    "dhcp_servers",
    "dns_servers",
    "ntp_servers",
    "web_services",
    "registrars",
    "users",
)
_DEFAULT_DEVICE = "polycom-cx600"


def write_profiles(draft: Draft, boots: Sequence[Boot], source: str, folder: Path) -> Path:
    """Write the profiles into a new folder; return the fleet's path.

    `UsageError` if that cannot be, or if what was seen makes no profile.
    """
    files = {"site.yaml": _site(draft, source)}
    if draft.rules:
        files["faults.yaml"] = _faults(draft, source)
    files["fleet.yaml"] = _fleet(draft, boots, source)
    try:
        folder.mkdir(parents=True)
        for name, text in files.items():
            (folder / name).write_text(text)
    except OSError as error:
        raise UsageError(f"{folder}: cannot be written: {error.strerror}") from None
    for kind, name in ((SITE, "site.yaml"), (FAULT, "faults.yaml"), (FLEET, "fleet.yaml")):
        if name in files and (found := problems(kind, str(folder / name))):
            raise UsageError(f"{found[0]}: what was seen in {source} makes no usable profile")
    return folder / "fleet.yaml"


def _site(draft: Draft, source: str) -> str:
    lines = [
        f"# Learned from {source}. What nobody saw there is missing, or as at a healthy site.",
        *(f"# Not learned: {note}" for note in draft.notes),
        "name: learned",
        f"description: {_scalar(f'The site seen in {source}')}",
    ]
    if draft.switch is not None:
        lines += ["", *_comments(draft.switch, ""), *_dumped({"switch": draft.switch.values}, "")]
    for key in _LISTS:
        entries: list[Entry] = getattr(draft, key)
        if entries:
            lines += ["", f"{key}:"]
            for entry in entries:
                lines += [*_comments(entry, "  "), *_dumped([entry.values], "  ")]
    return "\n".join(lines) + "\n"


def _faults(draft: Draft, source: str) -> str:
    lines = [
        "name: learned",
        f"description: {_scalar(f'What was wrong at the site seen in {source}')}",
        "rules:",
    ]
    for entry in draft.rules:
        lines += [*_comments(entry, "  "), *_dumped([entry.values], "  ")]
    return "\n".join(lines) + "\n"


def _fleet(draft: Draft, boots: Sequence[Boot], source: str) -> str:
    phones = sorted({boot.phone_id for boot in boots})
    values: dict[str, Any] = {
        "name": "learned",
        "description": f"The phones seen in {source}",
        "phones": max(1, len(phones)),
        "site": "./site.yaml",
        "attach": "virtual",
        "devices": [{"device": name} for name in _devices(boots)],
        "expect": {"signed_in": 0},
    }
    number = _number_of(phones)
    if number:
        values["first_phone"] = number
    if draft.rules:
        values["faults"] = ["./faults.yaml"]
    if draft.loss:
        values["links"] = {"loss": draft.loss}
    return "\n".join(_dumped(values, "")) + "\n"


def _devices(boots: Sequence[Boot]) -> list[str]:
    """The shipped models that were seen, in order; by the log's own words, or else by the OUI."""
    known = {name: load(DEVICE, name) for name in names(DEVICE)}
    found: list[str] = []
    for boot in boots:
        powered = boot.first("power_applied")
        words = "" if powered is None else f"{powered['vendor']} {powered['model']}"
        name = next((name for name, each in known.items() if _is_of(each, boot, words)), None)
        if name is not None and name not in found:
            found.append(name)
    return found or [_DEFAULT_DEVICE]


def _is_of(device: DeviceProfile, boot: Boot, words: str) -> bool:
    if words:
        return f"{device.vendor} {device.model}" == words
    return boot.phone_id.replace("-", "").upper().startswith(device.oui.replace(":", "").upper())


def _number_of(phones: Sequence[str]) -> int:
    """What the last three octets of the first MAC are."""
    digits = phones[0].replace("-", "") if phones else ""
    try:
        return int(digits[-6:], 16) if len(digits) == 12 else 0
    except ValueError:
        return 0


def _comments(entry: Entry, indent: str) -> list[str]:
    return [f"{indent}# {seen}" for seen in entry.seen]


def _dumped(values: object, indent: str) -> list[str]:
    text = yaml.safe_dump(values, sort_keys=False, allow_unicode=True, width=100)
    return [indent + line for line in text.splitlines()]


def _scalar(text: str) -> str:
    return yaml.safe_dump(text, allow_unicode=True, width=1000).splitlines()[0]
