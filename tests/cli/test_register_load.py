"""Whole runs of fleets that only register."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path

import pytest

FEW = ("run", "register-load", "-n", 4, "--json", "--set", "fleet.device_logs=all")


def logs(out: Path) -> list[str]:
    return [path.read_text() for path in sorted(out.glob("*/*/DSK1/logs/cpsw3g.log"))]


def told(out: Path) -> list[str]:
    """What the site's operator log says."""
    (operator,) = out.glob("*/operator.log")
    return [json.loads(line)["event"] for line in operator.read_text().splitlines()]


@pytest.mark.parametrize("attach", ["virtual", "loopback"])
@pytest.mark.parametrize(("transport", "port"), [("tls", 5061), ("tcp", 5060)], ids=["tls", "tcp"])
def test_phones_register_again_and_again_and_deregister(
    phonesim: Callable, tmp_path: Path, attach: str, transport: str, port: int
) -> None:
    came = phonesim(
        *(*FEW, "--attach", attach, "--out", tmp_path, "--until", "5s"),
        *("--set", "fleet.repeat_every=2"),
        *("--set", f"fleet.registration.registrars.0.transport={transport}"),
    )
    assert (came.status, came.document["completed"], came.document["failures"]) == (0, 4, {}), came
    assert came.document["signed_in"] == came.document["registrations_lost"] == 0
    assert came.document["stages"].keys() == {"register"}
    assert came.document["stages"]["register"]["count"] == 12
    assert came.document["exchanges"].keys() == {"dns", "sip_register"}
    for n, log in enumerate(logs(tmp_path), 1):
        registrar = f"sip.contoso.com:{port}"
        assert log.count(f"Registered at {registrar} as sip:user{n:05d}@contoso.com") == 3
        assert len(re.findall(r"connecting to 127\.20\.0\.31", log)) == 3
        assert log.count("expires 0 auth Digest") == 3
        assert f"8{n:05d}4" not in log
    assert not [event for event in told(tmp_path) if "401" in event]


@pytest.mark.parametrize("attach", ["virtual", "loopback"])
def test_a_registrar_that_cannot_be_trusted_leaves_the_next_one(
    phonesim: Callable, tmp_path: Path, attach: str
) -> None:
    came = phonesim(
        *(*FEW, "--attach", attach, "--out", tmp_path, "--until", "signed-in"),
        *("--set", "fleet.repeat_every=null", "--fault", "registrar-certificate-untrusted"),
    )
    assert (came.status, came.document["completed"]) == (0, 4), came
    for log in logs(tmp_path):
        assert re.search(r"Registrar sip\.contoso\.com:5061 .*certificate-", log)
        assert "Registered at sip.contoso.com:5060" in log


def test_a_wrong_password_is_told_and_written_nowhere(phonesim: Callable, tmp_path: Path) -> None:
    came = phonesim(
        *(*FEW, "--attach", "virtual", "--out", tmp_path, "--until", "signed-in"),
        *("--set", "fleet.repeat_every=null", "--set", "fleet.registration.password=s3cret{n}"),
    )
    assert (came.status, came.document["failures"]) == (3, {"registration-unauthorized": 4}), came
    written = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert not [path for path in written if b"s3cret" in path.read_bytes()]


@pytest.mark.parametrize("attach", ["virtual", "loopback"])
def test_a_phone_that_was_thrown_out_begins_again_when_it_is_due(
    phonesim: Callable, tmp_path: Path, attach: str
) -> None:
    fault = tmp_path / "displaced.yaml"
    fault.write_text(
        "name: displaced\ndescription: all are pushed out\n"
        "rules: [{kind: deregister, event: unregistered, at: 1}]\n"
    )
    out = tmp_path / "out"
    came = phonesim(
        *(*FEW, "--attach", attach, "--out", out, "--until", "5s", "--fault", fault),
        *("--set", "fleet.repeat_every=2"),
    )
    assert (came.status, came.document["completed"]) == (0, 4), came
    assert came.document["stages"]["register"]["count"] == 12
    for log in logs(out):
        assert log.count("registration-displaced") == 1
        assert log.count("Power applied") == 2
        assert log.count("Registered at") == 3


def test_phones_stay_registered_as_long_as_the_run(phonesim: Callable, tmp_path: Path) -> None:
    came = phonesim(
        *(*FEW, "--attach", "virtual", "--out", tmp_path, "--until", "2h"),
        *("--set", "fleet.repeat_every=null"),
    )
    assert (came.status, came.document["completed"]) == (0, 4), came
    assert came.document["stages"]["register"]["count"] == 4
    for log in logs(tmp_path):
        assert log.count("action refreshed") == 12
        assert log.count("connecting to") == 1
        assert log.startswith("01/05/2026 07:00:00")  # the clock is right from the start
