"""The files of a learned site: profiles that a person can read, edit and run.

    <folder>/site.yaml      the site as far as it was seen
    <folder>/faults.yaml    what was wrong with it, if anything was
    <folder>/fleet.yaml     the phones that were seen; `phonesim run <folder>/fleet.yaml` boots them
    <folder>/device-*.yaml  their models, if they are not as those that are shipped
    <folder>/typed.yaml     who sits at the phones, if the site knows other users

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
from phonesim.profiles import DEVICE, FAULT, FLEET, SITE, Kind, load, names, problems

_LISTS = (
    "dhcp_servers",
    "dns_servers",
    "ntp_servers",
    "web_services",
    "registrars",
    "users",
)
_DEFAULT_DEVICE = "polycom-cx600"
_KINDS: dict[str, Kind[Any]] = {
    "site.yaml": SITE,
    "typed.yaml": SITE,
    "faults.yaml": FAULT,
    "fleet.yaml": FLEET,
}


def write_profiles(draft: Draft, boots: Sequence[Boot], source: str, folder: Path) -> Path:
    """Write the profiles into a new folder; return the fleet's path.

    `UsageError` if that cannot be, or if what was seen makes no profile.
    """
    files = {"site.yaml": _site(draft, source)}
    if draft.rules:
        files["faults.yaml"] = _faults(draft, source)
    if draft.typed_users:
        files["typed.yaml"] = _typed(draft, source)
    models = _devices(boots)
    if draft.speaks_old_tls:
        for model in models:
            files[f"device-{model}.yaml"] = _old_device(model)
        models = [f"./device-{model}.yaml" for model in models]
    files["fleet.yaml"] = _fleet(draft, boots, models, source)
    try:
        folder.mkdir(parents=True)
        for name, text in files.items():
            (folder / name).write_text(text)
    except OSError as error:
        raise UsageError(f"{folder}: cannot be written: {error.strerror}") from None
    for name in files:
        if found := problems(_kind_of(name), str(folder / name)):
            raise UsageError(f"{found[0]}: what was seen in {source} makes no usable profile")
    return folder / "fleet.yaml"


def _kind_of(name: str) -> Kind[Any]:
    return next((kind for known, kind in _KINDS.items() if known == name), DEVICE)


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
    return _listed("learned", f"What was wrong at the site seen in {source}", "rules", draft.rules)


def _typed(draft: Draft, source: str) -> str:
    what = f"Who typed a number and a PIN in {source}"
    return _listed("typed", what, "users", draft.typed_users)


def _listed(name: str, description: str, key: str, entries: Sequence[Entry]) -> str:
    lines = [f"name: {name}", f"description: {_scalar(description)}", f"{key}:"]
    for entry in entries:
        lines += [*_comments(entry, "  "), *_dumped([entry.values], "  ")]
    return "\n".join(lines) + "\n"


def _old_device(model: str) -> str:
    return (
        f"extends: {model}\n"
        f"name: learned-{model}\n"
        "tls: {maximum_version: '1.0'}   # a server was too new for it\n"
    )


def _fleet(draft: Draft, boots: Sequence[Boot], models: Sequence[str], source: str) -> str:
    phones = sorted({boot.phone_id for boot in boots})
    values: dict[str, Any] = {
        "name": "learned",
        "description": f"The phones seen in {source}",
        "phones": max(1, len(phones)),
        "site": "./site.yaml",
        "attach": "virtual",
        "devices": [{"device": name} for name in models],
        "expect": {"signed_in": 0},
    }
    number = _number_of(phones)
    if number:
        values["first_phone"] = number
    if draft.rules:
        values["faults"] = ["./faults.yaml"]
    if draft.typed_users:
        values["users_from"] = "./typed.yaml"
    if draft.loss:
        values["links"] = {"loss": draft.loss}
    hint = "# Set expect.signed_in to 1 when the site is mended: then phones that fail count."
    return "\n".join([hint, *_dumped(values, "")]) + "\n"


def _devices(boots: Sequence[Boot]) -> list[str]:
    """The shipped models that were seen, in order: by their own words, or else by the OUI."""
    known = {name: load(DEVICE, name) for name in sorted(names(DEVICE), key=_by_likelihood)}
    found: list[str] = []
    for boot in boots:
        told = boot.first("power_applied") or boot.first("inventory_shown")
        words = "" if told is None else f"{told['vendor']} {told['model']}"
        name = next((name for name, each in known.items() if _is_of(each, boot, words)), None)
        if name is not None and name not in found:
            found.append(name)
    return found or [_DEFAULT_DEVICE]


def _by_likelihood(name: str) -> tuple[bool, str]:
    """Where the OUI alone is known, the commonest model comes first."""
    return name != _DEFAULT_DEVICE, name


def _is_of(device: DeviceProfile, boot: Boot, words: str) -> bool:
    if words:
        return f"{device.vendor} {device.model}".lower() == words.lower()
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
