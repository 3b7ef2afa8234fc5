"""What a person is told at the end of a run, beyond what `test_run_verb` sees."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any


def lines(out: str, word: str) -> list[list[str]]:
    """The lines that begin with a word, in columns."""
    return [line.split() for line in out.splitlines() if line.startswith(word)]


def run(phonesim: Callable[..., Any], tmp_path: Any, *arguments: str) -> Any:
    once = ("--set", "fleet.repeat_every=null", "--until", "signed-in", "--set", "fleet.limits={}")
    fleet = ("dns-load", "-n", "4", "--attach", "virtual", "--out", tmp_path)
    return phonesim("run", *fleet, *once, *arguments)


def test_a_single_server_that_does_well_needs_no_table(phonesim: Any, tmp_path: Any) -> None:
    came = run(phonesim, tmp_path)
    assert came.status == 0, came.err
    assert lines(came.out, "server") == lines(came.out, "127.") == []


def test_servers_are_told_apart_where_one_fails(phonesim: Any, tmp_path: Any) -> None:
    servers = "fleet.addresses.dns_servers=[127.20.0.99, 127.20.0.11]"
    came = run(phonesim, tmp_path, "--set", servers)
    assert came.status == 0, came.err
    assert lines(came.out, "server")[0][:5] == ["server", "of", "sent", "timed", "out"]
    answering, silent = lines(came.out, "127.")
    assert silent == ["127.20.0.99", "dns", "8", "8", "-", "-", "-", "-", "none"]
    assert answering[:4] == ["127.20.0.11", "dns", "8", "0"]
    assert " ".join(answering).endswith("4 NOERROR, 4 NXDOMAIN")


def test_an_only_server_that_refuses_is_shown(phonesim: Any, tmp_path: Any) -> None:
    came = run(phonesim, tmp_path, "--fault", "dns-servfail")
    [server] = lines(came.out, "127.")
    assert server[:4] == ["127.20.0.11", "dns", "80", "0"]
    assert server[-2:] == ["80", "SERVFAIL"]


def test_the_faults_are_named(phonesim: Any, tmp_path: Any) -> None:
    came = run(phonesim, tmp_path, "--fault", "dns-servfail", "--fault", "ntp-silent")
    assert came.out.splitlines()[1] == "Faults: dns-servfail, ntp-silent"
    assert "Faults" not in run(phonesim, tmp_path).out
    document = run(phonesim, tmp_path, "--fault", "ntp-silent", "--json").document
    assert document["faults"] == ["ntp-silent"]


def test_a_server_that_answered_some_phones_and_not_others_is_named(
    phonesim: Any, tmp_path: Any
) -> None:
    fleet = ("dhcp-load", "-n", "20", "--attach", "virtual", "--out", tmp_path)
    pool = ("--set", "site.dhcp_servers.0.scope.last=127.20.16.15", "--set", "fleet.timeout=99")
    came = phonesim("run", *fleet, *pool)
    assert came.status == 3
    [line] = [line for line in came.out.splitlines() if line.startswith("dhcp_discover: ")]
    assert line == (
        "dhcp_discover: 127.20.0.10 answered 15, and 5 had no answer: a server whose pool is used"
        " up is silent, too"
    )
    for enough in ("-n", "15"), ("--fault", "dhcp-silent"):
        assert "dhcp_discover: " not in phonesim("run", *fleet, *pool, *enough).out


def test_the_voice_vlan_is_named(phonesim: Any, tmp_path: Any) -> None:
    fleet = ("power-cut", "-n", "3", "--out", tmp_path)
    came = phonesim("run", *fleet, "--site", "contoso-voice")
    assert came.out.splitlines()[1] == "Voice VLAN 100: 3 of 3 phones"
    assert "Voice VLAN" not in phonesim("run", *fleet).out
