"""Sign-ins that fail, from a site's profile or a fault to the phone's log and display."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

ALICE = {"sip_uri": "sip:alice@contoso.com", "number": "+14255550001", "pin": "24680"}
BOB = {"sip_uri": "sip:bob@contoso.com", "number": "+14255550002", "pin": "13579"}
SHARES = {**BOB, "number": ALICE["number"]}
IN_OFFICE = [{**ALICE, "extension": "501"}, {**BOB, "extension": "501", "pin": "24680"}]


class Case:
    """What is wrong, what the service calls it, what the phone makes of it and shows."""

    def __init__(
        self,
        name: str,
        pin_failure: str,
        reason: str,
        shown: str,
        *,
        faults: tuple[str, ...] = (),
        types: dict[str, str] | None = None,
        **site: Any,
    ) -> None:
        self.name = name
        self.pin_failure = pin_failure
        self.reason = reason
        self.shown = shown
        self.faults = faults
        self.types = types or ALICE
        self.site = site


CASES = [
    Case("wrong", "IncorrectPin", "pin-incorrect", "The PIN is not correct", faults=("pin-wrong",)),
    Case("typo", "IncorrectPin", "pin-incorrect", "not correct", types={**ALICE, "pin": "24681"}),
    Case("locked", "UserPinAccountLocked", "pin-locked", "PIN is locked", faults=("pin-locked",)),
    Case("expired", "PinExpired", "pin-expired", "PIN has expired", faults=("pin-expired",)),
    Case(
        *("too old", "PinExpired", "pin-expired", "PIN has expired"),
        users=[{**ALICE, "pin_age_days": 31}],
        pin_policy={"lifetime_days": 30},
    ),
    Case("not set", "PinNotSet", "pin-not-set", "You have no PIN", faults=("pin-not-set",)),
    Case(
        *("not enabled", "PinNotEnabledForUser", "pin-not-enabled", "not enabled for you"),
        faults=("pin-not-enabled",),
    ),
    Case(
        *("unauthorized", "Unauthorized", "user-unauthorized", "not authorized to sign in"),
        faults=("user-unauthorized",),
    ),
    Case(
        *("disabled", "UserPinAccountDisabled", "user-disabled", "account is disabled"),
        faults=("user-disabled",),
    ),
    Case(
        *("unknown", "UserDoesNotExist", "user-unknown", "is not known"),
        types={**ALICE, "number": "+14255559999"},
    ),
    Case(
        *("same PIN", "PinNotUnique", "pin-not-unique", "number and PIN are not unique"),
        users=[ALICE, {**SHARES, "pin": ALICE["pin"]}],
    ),
    Case(
        *("same extension", "NonUniqueUser", "user-not-unique", "extension is not unique"),
        users=IN_OFFICE,
        types={**ALICE, "number": "501"},
    ),
]


@pytest.fixture(params=["virtual", "loopback"])
def sign_in(
    request: pytest.FixtureRequest, phonesim: Callable, tmp_path: Path
) -> Callable[..., tuple[dict[str, Any], list[str]]]:
    """Let phones sign in with what is typed on them; the run's summary, and their logs."""

    def run(
        site: dict[str, Any], typed: list[dict[str, str]], *faults: str
    ) -> tuple[dict[str, Any], list[str]]:
        path = tmp_path / "site.yaml"
        users = tmp_path / "typed.yaml"
        path.write_text(
            yaml.safe_dump({"extends": "contoso", "name": "site", "users": [ALICE], **site})
        )
        users.write_text(yaml.safe_dump({"extends": "contoso", "name": "typed", "users": typed}))
        came = phonesim(
            *("run", "--json", "--attach", request.param, "-n", len(typed), "-r", 2),
            *("--site", path, "--set", f"fleet.users_from={users}"),
            *("--set", "fleet.devices=[{device: polycom-cx600}]", "--out", tmp_path / "runs"),
            *(word for fault in faults for word in ("--fault", fault)),
        )
        logs = sorted(tmp_path.glob("runs/*/*/DSK1/logs/cpsw3g.log"))
        return came.document, [log.read_text() for log in logs]

    return run


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_every_pin_failure_is_told_by_its_name(sign_in: Callable, case: Case) -> None:
    summary, (log,) = sign_in(case.site, [case.types], *case.faults)
    assert summary["failures"] == {case.reason: 1}
    assert f"|ERRORS  |Web service refused, {case.pin_failure} error 0: " in log
    assert f"|FUNCTION|Stage ticket ended {case.reason} after " in log
    (shown,) = [line for line in log.splitlines() if '|Display "' in line and case.shown in line]
    assert shown.split("|")[2].strip() == "MESSAGE"
    assert log.count("HTTP RequestSecurityToken to ") == 1
    assert case.types["pin"] not in log


def test_the_pin_tells_users_of_one_number_apart(sign_in: Callable) -> None:
    summary, logs = sign_in({"users": [ALICE, SHARES]}, [ALICE, SHARES])
    assert summary["signed_in"] == 2
    assert "Signed in as sip:alice@contoso.com" in logs[0]
    assert "Signed in as sip:bob@contoso.com" in logs[1]


def test_a_wrong_pin_on_one_phone_locks_the_user_on_another(sign_in: Callable) -> None:
    policy = {"pin_policy": {"maximum_logon_attempts": 1}}
    summary, logs = sign_in(policy, [{**ALICE, "pin": "24681"}, ALICE])
    assert summary["failures"] == {"pin-incorrect": 1, "pin-locked": 1}
    assert "UserPinAccountLocked" in logs[1]


def test_a_site_without_pin_authentication_offers_no_port_for_it(sign_in: Callable) -> None:
    web = {"name": "pool01", "address": "127.20.0.20", "fqdn": "webpool.contoso.com"}
    summary, (log,) = sign_in({"web_services": [{**web, "use_pin_auth": False}]}, [ALICE])
    assert summary["failures"] == {"web-services-unusable": 1}
    assert "WebTicketService has no port WebTicketServicePin" in log


def test_an_error_id_is_in_the_log_with_its_source(sign_in: Callable) -> None:
    web = {"name": "pool01", "address": "127.20.0.20", "fqdn": "webpool.contoso.com"}
    ids = {"error_ids": {"IncorrectPin": 28999}}
    _, (log,) = sign_in({"web_services": [{**web, **ids}]}, [{**ALICE, "pin": "24681"}])
    assert (
        "Web service diagnostics 28999 source webpool.contoso.com"
        ' fault wsse:FailedAuthentication: "The PIN is not correct."'
    ) in log
    assert "Web service refused, IncorrectPin error 28999: " in log


LOCATE = "Unable to locate Lync Certificate Web service"
CHAIN = "Error downloading certificate chain from OCS Registrar. Please try again"
CONNECT = "Cannot connect to the server. Retrying."
REGISTRAR = "Unable to contact Registrar for authentication. Please sign in again."
CERTIFICATES = {
    "expired": ("certificate-expired", "expired"),
    "not-yet-valid": ("certificate-not-yet-valid", "valid"),
    "wildcard": ("certificate-wildcard", "wildcard"),
    "wrong-name": ("certificate-name-mismatch", "for "),
    "untrusted": ("certificate-untrusted", "chain"),
    "no-intermediate": ("certificate-issuer-missing", "issuer"),
}
# A fault; the stage and the reason of the failure; what is logged of it, and what is shown.
FAULTS = [
    ("web-404", "chain", "web-services-not-found", "HTTP 404", LOCATE),
    ("web-503", "chain", "web-services-unavailable", "HTTP 503", LOCATE),
    ("web-refused", "chain", "web-services-refused", "refused", LOCATE),
    ("chain-empty", "chain", "chain-unusable", "the chain is empty", CHAIN),
    ("chain-unreadable", "ticket", "chain-unusable", "chain", CHAIN),
    ("foreign-certificate", "certificate", "certificate-unusable", "it is that of", "is not yours"),
    *(
        (f"{server}-certificate-{name}", stage, reason, why, CONNECT)
        for server, stage in (("web", "ticket"), ("registrar", "register"))
        for name, (reason, why) in CERTIFICATES.items()
    ),
    ("web-tls-1.2-only", "ticket", "tls-version-refused", "TLS", CONNECT),
    ("registrar-tls-1.2-only", "register", "tls-version-refused", "TLS", CONNECT),
    ("registrars-down", "register", "registrar-refused", "refused", REGISTRAR),
    ("registrar-forbids", "register", "registration-forbidden", "4004", "not allowed to sign in"),
    ("registrar-404", "register", "registration-not-found", "4005", "account was not found"),
    ("registrar-480", "register", "registrar-unavailable", ": 480 ", REGISTRAR),
    ("registrar-503", "register", "registrar-unavailable", "17000 Server overloaded", REGISTRAR),
    ("registrar-504", "register", "registrar-unavailable", "1007", REGISTRAR),
    ("registrar-redirect-loop", "register", "registrar-redirects", "times in a row", REGISTRAR),
]
OLD_FIRMWARE = ("--set", "device.tls.maximum_version='1.0'")


@pytest.mark.parametrize("attach", ["virtual", "loopback"])
@pytest.mark.parametrize(
    ("fault", "stage", "reason", "why", "shown"), FAULTS, ids=[row[0] for row in FAULTS]
)
def test_every_fault_ends_in_its_reason_its_lines_and_its_text(
    phonesim: Callable,
    tmp_path: Path,
    attach: str,
    fault: str,
    stage: str,
    reason: str,
    why: str,
    shown: str,
) -> None:
    came = phonesim(
        *("run", "-n", 1, "--attach", attach, "--json", "--out", tmp_path, "--fault", fault),
        *("--set", "device.sign_in.attempts=1", *OLD_FIRMWARE),
    )
    assert came.document["failures"] == {reason: 1}
    (path,) = tmp_path.glob("*/*/DSK1/logs/cpsw3g.log")
    log = path.read_text()
    (failed,) = [
        line for line in log.splitlines() if f"Sign-in failed at {stage}, {reason}" in line
    ]
    assert why in failed
    assert f"Stage {stage} ended {reason} after " in log
    assert [line for line in log.splitlines() if '|Display "' in line and shown in line]
