"""Certificates that are renewed, from a site's profile to the phone's log."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

WEB = {"name": "pool01", "address": "127.20.0.20", "fqdn": "webpool.contoso.com"}
BY_CERTIFICATE = "https://webpool.contoso.com:443/WebTicket/WebTicketService.svc/Cert"
BY_PIN = "https://webpool.contoso.com:443/WebTicket/WebTicketService.svc/Pin"


def run(phonesim: Callable, tmp_path: Path, *arguments: Any, **web: Any) -> tuple[Any, str]:
    """One phone at a site whose certificates last eight hours; the summary and the log."""
    site = tmp_path / "site.yaml"
    web = {**WEB, "certificate_validity_hours": 8, **web}
    site.write_text(
        yaml.safe_dump({"extends": "contoso", "name": "renewing", "web_services": [web]})
    )
    came = phonesim(
        *("run", "--json", "-n", 1, "--site", site, "--out", tmp_path / "runs"),
        *("--set", "fleet.devices=[{device: polycom-cx600}]", *arguments),
    )
    (log,) = tmp_path.glob("runs/*/*/DSK1/logs/cpsw3g.log")
    return came.document, log.read_text()


def asked(log: str, url: str) -> int:
    return log.count(f"HTTP RequestSecurityToken to {url} ")


def test_a_day_on_certificates_of_eight_hours(phonesim: Callable, tmp_path: Path) -> None:
    summary, log = run(phonesim, tmp_path, "--attach", "virtual", "--until", "24h")
    assert (summary["signed_in"], summary["failures"]) == (1, {})
    # Each is renewed when 48 minutes of it are left: after 7.2, 14.4 and 21.6 hours.
    assert (asked(log, BY_PIN), asked(log, BY_CERTIFICATE)) == (1, 3)
    assert log.count("Certificate renewal for sip:user00001@contoso.com started") == 3
    assert log.count("Certificate renewal planned in 25920 s") == 4
    assert log.count("GetRootCertChains") == 1
    assert log.count("Stage certificate ended") == 1
    assert "|ERRORS" not in log


def test_where_certificates_are_not_taken_the_pin_is(phonesim: Callable, tmp_path: Path) -> None:
    _, log = run(
        *(phonesim, tmp_path, "--attach", "virtual", "--until", "9h"), use_certificate_auth=False
    )
    assert asked(log, BY_PIN) == 2
    assert "failed, web-services-unusable" in log
    assert log.count("Certificate for sip:user00001@contoso.com received") == 2


def test_a_renewal_that_fails_is_tried_again_and_does_not_end_the_registration(
    phonesim: Callable, tmp_path: Path
) -> None:
    site_fault = tmp_path / "fault.yaml"
    rule = {"kind": "http-status", "status": 503, "match": "*/mex", "every_nth": 3}
    site_fault.write_text(
        yaml.safe_dump({"name": "fault", "description": "mex fails", "rules": [rule]})
    )
    summary, log = run(
        *(phonesim, tmp_path, "--attach", "virtual", "--until", "12h", "--fault", site_fault),
        *("--set", "device.sign_in.attempts=1"),
    )
    assert summary["failures"] == {}
    assert asked(log, BY_CERTIFICATE) + asked(log, BY_PIN) >= 2
    assert "Certificate renewal by certificate failed, web-services-unavailable" in log


@pytest.mark.timeout(60)
def test_real_keys_sign_for_real_certificates(phonesim: Callable, tmp_path: Path) -> None:
    _, log = run(
        *(phonesim, tmp_path, "--attach", "loopback", "--until", "4s"),
        *("--set", "device.sign_in.renewal_share=0.99999"),
        *("--set", "device.sign_in.renewal_retry_delay=1"),
    )
    assert asked(log, BY_PIN) == 1
    assert asked(log, BY_CERTIFICATE) >= 1
    assert log.count("Certificate for sip:user00001@contoso.com received") >= 2
    assert "|ERRORS" not in log
