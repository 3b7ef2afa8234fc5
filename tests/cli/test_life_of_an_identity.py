"""One phone signs in by PIN, boots warm, renews its certificate by certificate, and signs out."""

from __future__ import annotations

import json
import stat
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

TICKET = "HTTP RequestSecurityToken to https://webpool.contoso.com:443/WebTicket/"
# Always due: a certificate is renewed as soon as a phone has one.
DUE = ("--set", "device.sign_in.renewal_share=0.99999999")


def sign_ins(log: str) -> list[str]:
    """By which port of the web ticket service the phone asked, each time."""
    return [
        line.split(TICKET)[1].split(" ")[0].rpartition("/")[2]
        for line in log.splitlines()
        if TICKET in line
    ]


def skipped(log: str) -> list[str]:
    return [
        line.split("Stage ")[1].split(" ")[0]
        for line in log.splitlines()
        if "ended skipped" in line
    ]


@pytest.mark.parametrize("attach", ["virtual", "loopback"])
def test_its_disk_shows_it(phonesim: Callable, tmp_path: Path, attach: str) -> None:
    def run(*arguments: Any) -> tuple[str, str, Path]:
        """A run of one phone: its name, the phone's log and the phone's disk."""
        came = phonesim(
            *("run", "-n", 1, "--attach", attach, "--out", tmp_path), *arguments, "--json"
        )
        assert (came.status, came.document["signed_in"]) == (0, 1), came
        name = came.document["run"]
        (disk,) = (tmp_path / name).glob("*/DSK1")
        return name, (disk / "logs/cpsw3g.log").read_text(), disk

    def kept(disk: Path) -> dict[str, Any]:
        assert stat.S_IMODE((disk / "identity.json").stat().st_mode) == 0o600
        content: dict[str, Any] = json.loads((disk / "identity.json").read_bytes())
        assert content["sip_uri"] == "sip:user00001@contoso.com"
        return content

    cold, log, disk = run()
    assert (sign_ins(log), skipped(log)) == (["Pin"], [])
    first, key = kept(disk), (disk / "phone.key").read_bytes()

    warm, log, disk = run("--resume", cold, "--boots", 1)
    log = log.split("Power applied")[-1]
    assert sign_ins(log) == []
    assert skipped(log) == ["discovery", "chain", "ticket", "certificate"]
    assert (kept(disk)["certificate"], (disk / "phone.key").read_bytes()) == (
        first["certificate"],
        key,
    )

    renewed, log, disk = run("--resume", warm, *DUE)
    log = log.split("Power applied")[-1]
    assert (sign_ins(log), skipped(log)) == (["Cert"], ["discovery", "chain"])
    second = kept(disk)["certificate"]
    assert second != first["certificate"]

    _, log, disk = run("--resume", renewed, "--set", "fleet.boots=[warm, sign-out]")
    *_, before, after = log.split("Power applied")
    assert "Signed out, forgotten certificate,key,services" in before
    assert sign_ins(before) == []
    assert (sign_ins(after), skipped(after)) == (["Pin"], [])
    assert kept(disk)["certificate"] not in (first["certificate"], second)
