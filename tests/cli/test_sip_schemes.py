"""Whole runs at Registrars that authenticate in one way or another."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest


def logs(out: Path) -> list[str]:
    return [path.read_text() for path in out.glob("*/*/DSK1/logs/cpsw3g.log")]


def settings(**values: object) -> list[str]:
    named = {key.replace("__", "."): value for key, value in values.items()}
    return [word for key, value in named.items() for word in ("--set", f"{key}={value}")]


def offering(schemes: str, **values: object) -> list[str]:
    """Both Registrars of the site offer these schemes."""
    each = [
        word
        for place in (0, 1)
        for word in ("--set", f"site.registrars.{place}.authentication=[{schemes}]")
    ]
    return each + settings(**values)


WAYS = {
    "TLS-DSK": offering("ntlm, kerberos, tls-dsk"),
    "TLS-DSK of version 3": offering("tls-dsk", site__registrars__0__sip_authentication_version=3),
    "TLS-DSK of version 2": offering("tls-dsk", site__registrars__0__sip_authentication_version=2),
    "TLS-DSK within TLS 1.2": offering("tls-dsk", device__registration__inner_tls="tls1.2"),
    "NTLM": offering("ntlm", device__registration__authentication="[tls-dsk, ntlm]"),
    "NTLM before TLS-DSK": offering(
        "ntlm, tls-dsk", device__registration__authentication="[ntlm, tls-dsk]"
    ),
    "Digest": offering("digest"),
    "Digest beside NTLM": offering("ntlm, digest"),
}


@pytest.mark.parametrize("attach", ["virtual", "loopback"])
@pytest.mark.parametrize("way", WAYS)
def test_phones_sign_in_and_out(phonesim: Callable, tmp_path: Path, attach: str, way: str) -> None:
    arguments = ("run", "-n", 2, "--attach", attach, "--out", tmp_path, "--json", *WAYS[way])
    came = phonesim(*arguments)
    assert came.document["signed_in"] == 2, came
    for log in logs(tmp_path):
        assert f"SIP authentication by {way.split()[0]} with" in log
        assert 'REGISTER answered 200 "OK"' in log  # the last one: it ended the binding
        assert "not accepted" not in log


@pytest.mark.parametrize("attach", ["virtual", "loopback"])
def test_a_registrar_that_offers_nothing_that_phones_have_is_told(
    phonesim: Callable, tmp_path: Path, attach: str
) -> None:
    came = phonesim(
        *("run", "-n", 1, "--attach", attach, "--out", tmp_path, "--json"),
        *offering("ntlm, kerberos"),
    )
    assert came.document["failures"] == {"registration-no-common-scheme": 1}
    (log,) = logs(tmp_path)
    assert "the Registrar offers NTLM,Kerberos, the phone has tls-dsk, digest" in log
    assert 'Display "Unable to contact Registrar for authentication. Please sign in again."' in log


def test_a_wrong_password_is_told(phonesim: Callable, tmp_path: Path) -> None:
    came = phonesim(
        *("run", "-n", 1, "--attach", "virtual", "--out", tmp_path, "--json"),
        *offering("ntlm", device__registration__authentication="[ntlm]"),
        *settings(device__registration__password="wrong"),
    )
    assert came.document["failures"] == {"registration-unauthorized": 1}
    (operator,) = tmp_path.glob("*/operator.log")
    told = [json.loads(line)["event"] for line in operator.read_text().splitlines()]
    assert "REGISTER answered 401: NTLM: the password is wrong" in told
    assert "wrong" not in logs(tmp_path)[0]


def test_keys_are_renewed_without_losing_a_registration(phonesim: Callable, tmp_path: Path) -> None:
    came = phonesim(
        *("run", "-n", 1, "--attach", "virtual", "--out", tmp_path, "--json", "--until", "17h"),
        *settings(fleet__device_logs="all"),
    )
    assert (came.document["signed_in"], came.document["registrations_lost"]) == (1, 0)
    (log,) = logs(tmp_path)
    assert log.count('ended: "its time has come"') == 2
    assert log.count("Security association") == 5
    assert log.count("connecting to") == 1
