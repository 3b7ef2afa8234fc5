"""Whole runs of phones whose users type a password on a tethered computer."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

ALICE = {
    "sip_uri": "sip:alice@contoso.com",
    "number": "+14255550001",
    "pin": "24680",
    "user_name": "CONTOSO\\staff1",
    "password": "Correct-Horse-7",
}
WEB = {"name": "pool01", "address": "127.20.0.20", "fqdn": "webpool.contoso.com"}
WINDOWS = "/WebTicket/WebTicketService.svc"


class Run:
    """What a run of one phone came to."""

    def __init__(self, summary: dict[str, Any], out: Path) -> None:
        (folder,) = out.iterdir()
        self.folder = folder
        self.summary = summary
        (self.log,) = (path.read_text() for path in folder.glob("*/DSK1/logs/cpsw3g.log"))
        lines = (folder / "operator.log").read_text().splitlines()
        self.told = [json.loads(line)["event"] for line in lines]


@pytest.fixture(params=["virtual", "loopback"])
def sign_in(
    request: pytest.FixtureRequest, phonesim: Callable, tmp_path: Path
) -> Callable[..., Run]:
    """Let a phone sign in with what is typed on its computer."""

    def run(*options: object, typed: dict[str, str] = ALICE, **site: Any) -> Run:
        path, users = tmp_path / "site.yaml", tmp_path / "typed.yaml"
        whole = {"extends": "contoso", "name": "site", "users": [ALICE], **site}
        path.write_text(yaml.safe_dump(whole))
        users.write_text(yaml.safe_dump({"name": "typed", "users": [typed]}))
        out = tmp_path / "runs"
        came = phonesim(
            *("run", "--json", "--attach", request.param, "-n", 1, "--site", path, "--out", out),
            *("--set", f"fleet.users_from={users}", "--set", "fleet.sign_in=credentials"),
            *("--set", "fleet.devices=[{device: aastra-6725ip}]", *options),
        )
        return Run(came.document, out)

    return run


def test_a_password_signs_in_by_ntlm_on_one_connection(sign_in: Callable, tmp_path: Path) -> None:
    transcript = tmp_path / "transcript.txt"
    run = sign_in("--transcript", transcript)
    assert run.summary["signed_in"] == 1
    assert f"WebTicketServiceWinNegotiate is at https://webpool.contoso.com:443{WINDOWS}" in run.log
    assert "HTTP RequestSecurityToken auth NTLM NEGOTIATE_MESSAGE size 40" in run.log
    assert "HTTP RequestSecurityToken auth NTLM AUTHENTICATE_MESSAGE size " in run.log
    assert "Signed in as sip:alice@contoso.com" in run.log
    words = transcript.read_text()
    assert "Authorization: NTLM (AUTHENTICATE_MESSAGE, " in words
    asked = [entry for entry in words.split("\n\n") if "RequestSecurityToken\n" in entry]
    ends = [entry.splitlines()[0].split("  ")[-1] for entry in asked if "Authorization:" in entry]
    assert len(ends) == 2
    assert len(set(ends)) == 1
    written = [path for path in run.folder.rglob("*") if path.is_file()]
    for path in [*written, transcript]:
        assert ALICE["password"].encode() not in path.read_bytes(), path


@pytest.mark.parametrize("changes", [{"password": "wrong"}, {"user_name": "CONTOSO\\nobody"}])
def test_what_the_server_does_not_know_is_a_wrong_password(
    sign_in: Callable, changes: dict[str, str]
) -> None:
    run = sign_in(typed={**ALICE, **changes})
    assert run.summary["failures"] == {"password-incorrect": 1}
    assert 'Display "The user name or password is not correct.' in run.log
    assert run.log.count("auth NTLM AUTHENTICATE_MESSAGE") == 1  # asking again would lock the user
    (told,) = [line for line in run.told if line.startswith("HTTP 401: ")]
    assert ("password of" in told) == ("password" in changes)


def test_a_password_that_the_server_has_changed_is_wrong(sign_in: Callable) -> None:
    run = sign_in("--fault", "pin-wrong")
    assert run.summary["failures"] == {"password-incorrect": 1}


def test_a_disabled_user_is_told(sign_in: Callable) -> None:
    run = sign_in("--fault", "user-disabled")
    assert run.summary["failures"] == {"user-disabled": 1}
    assert 'Display "Your account is disabled.' in run.log
    assert "Web service diagnostics 4141 source webpool.contoso.com" in run.log


def test_a_pin_that_is_locked_does_not_matter(sign_in: Callable) -> None:
    assert sign_in("--fault", "pin-locked").summary["signed_in"] == 1


def test_a_server_without_the_port_is_told(sign_in: Callable) -> None:
    run = sign_in(web_services=[{**WEB, "use_windows_auth": "none"}])
    assert run.summary["failures"] == {"web-services-unusable": 1}
    assert "WebTicketService has no port WebTicketServiceWinNegotiate" in run.log


def test_a_server_that_wants_ntlm_alone_names_another_port(sign_in: Callable) -> None:
    run = sign_in(web_services=[{**WEB, "use_windows_auth": "ntlm", "windows_suffix": "/Ntlm"}])
    assert run.summary["signed_in"] == 1
    assert f"WebTicketServiceWinNtlm is at https://webpool.contoso.com:443{WINDOWS}/Ntlm" in run.log


def test_connections_that_are_not_kept_are_told(sign_in: Callable) -> None:
    quick = ("--set", "device.sign_in.retry_delay=0.1")
    run = sign_in("--fault", "web-connections-not-kept", *quick)
    assert run.summary["failures"] == {"web-services-refused": 1}
    assert "the server closed the connection, in the middle of NTLM" in run.log
    assert run.log.count("auth NTLM NEGOTIATE_MESSAGE") == 2  # it began anew once


def test_a_registrar_that_wants_ntlm_takes_the_same_password(sign_in: Callable) -> None:
    run = sign_in(
        *("--set", "device.registration.authentication=[ntlm]"),
        *("--set", "site.registrars.0.authentication=[ntlm]"),
    )
    assert run.summary["signed_in"] == 1
    assert "SIP authentication by NTLM with fe01.contoso.com" in run.log


def test_a_model_without_a_tether_is_refused(phonesim: Callable) -> None:
    came = phonesim("run", "demo", "--set", "fleet.sign_in=credentials")
    assert (came.status, came.out) == (2, "")
    assert len(came.err.splitlines()) == 1
    assert "device polycom-cx500 has no USB tether" in came.err
    assert "set fleet.sign_in=pin" in came.err
