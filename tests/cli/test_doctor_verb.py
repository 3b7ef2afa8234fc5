import resource
from collections.abc import Callable
from pathlib import Path

import pytest


def test_a_machine_that_runs_these_tests_is_healthy(phonesim: Callable) -> None:
    came = phonesim("doctor")
    assert came.status == 0
    assert "a phone of the demo fleet: signed-in" in came.out
    assert "Here virtual works, loopback works, wire" in came.out
    document = phonesim("doctor", "--json").document
    assert document["worlds"]["virtual"] is True
    assert {check["world"] for check in document["checks"]} == {
        "virtual",
        "loopback",
        "wire",
        "relay",
    }


def test_what_is_missing_comes_with_what_to_do(
    phonesim: Callable, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(resource, "getrlimit", lambda _: (256, 512))
    monkeypatch.setattr("phonesim.fleet.doctor._effective_capabilities", lambda: 1 << 13)
    monkeypatch.setattr("phonesim.drivers.voice_vlan.TUN", Path("/dev/net/none"))
    monkeypatch.setattr("phonesim.fleet.doctor.FEWEST_NEIGHBOURS", 1 << 40)
    came = phonesim("doctor")
    assert came.status == 3
    assert "loopback: raise the limit: ulimit -Hn" in came.out
    assert "wire: run as root, or once: sudo setcap" in came.out
    checks = phonesim("doctor", "--json").document["checks"]
    missing = {check["name"] for check in checks if not check["ok"]}
    assert {"open files", "neighbours", "CAP_NET_ADMIN", "voice VLANs"} <= missing
    assert "CAP_NET_RAW" not in missing
