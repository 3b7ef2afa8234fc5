"""Sites learned from phones' logs and captures, and the same phones there once more."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest
import yaml

from phonesim.errors import UsageError
from phonesim.field.failures import FAILURE
from phonesim.field.learning.rerun import Relived, relive_capture, relive_log
from phonesim.field.reproduce import reproduce
from phonesim.fleet.plan import read_plan
from phonesim.fleet.run_logs import Run, list_phones
from phonesim.fleet.runner import run_fleet
from phonesim.fleet.worlds import world_for
from phonesim.profiles import FAULT, FLEET, SITE, load, option_override


def in_the_field(folder: Path, *faults: str, phones: int = 1, boots: int = 1) -> tuple[Path, Path]:
    """A site with faults, and what its phones leave: the log of one, the capture of all."""
    values = {"phones": phones, "attach": "virtual", "boots": boots}
    overrides = [option_override(f"--{key}", "fleet", key, value) for key, value in values.items()]
    plan = read_plan("demo", overrides, faults)
    capture = folder / "field.pcapng"
    finished = run_fleet(plan, world_for("virtual", capture), folder / "field", lambda _: None)
    return list_phones(Run(path=finished.folder, summary=None))[0].path, capture


def outcomes(case: Relived) -> list[tuple[str, str]]:
    return [(each.field_outcome, each.again_outcome) for each in case.compared.values()]


@pytest.mark.parametrize(
    ("fault", "outcome"),
    [
        ("address-conflict", "signed in"),
        ("dhcp-silent", "failed at ip: no-lease"),
        ("dhcp-slow", "signed in"),
        ("dhcp-every-other", "signed in"),
        ("request-refused", "failed at ip: no-lease"),
        ("lldp-wrong-vlan", "failed at ip: no-lease"),
        ("rogue-dhcp-server", "failed at chain: web-server-name-unresolved"),
        ("dns-silent", "failed at chain: web-server-name-unresolved"),
        ("dns-servfail", "failed at chain: web-server-name-unresolved"),
        ("ntp-silent", "failed at ticket: certificate-not-yet-valid"),
        ("inform-silent", "signed in"),
        ("inform-refused", "signed in"),
        ("option-43-cut", "signed in"),
        ("chain-empty", "failed at chain: chain-unusable"),
        ("chain-unreadable", "failed at ticket: chain-unusable"),
        ("web-404", "failed at chain: web-services-not-found"),
        ("web-refused", "failed at chain: web-services-refused"),
        ("web-certificate-wildcard", "failed at ticket: certificate-wildcard"),
        ("web-certificate-no-intermediate", "failed at ticket: certificate-issuer-missing"),
        ("pin-wrong", "failed at ticket: pin-incorrect"),
        ("pin-locked", "failed at ticket: pin-locked"),
        ("user-disabled", "failed at ticket: user-disabled"),
        ("data-store-unavailable", "failed at certificate: certificate-not-issued"),
        ("foreign-certificate", "failed at certificate: certificate-unusable"),
        ("registrars-down", "failed at register: registrar-refused"),
        ("registrar-503", "failed at register: registrar-unavailable"),
        ("registrar-forbids", "failed at register: registration-forbidden"),
        ("registrar-redirect-loop", "failed at register: registrar-redirects"),
        ("registrar-certificate-expired", "failed at register: certificate-expired"),
    ],
)
def test_a_log_is_enough_to_have_the_same_failure_again(
    tmp_path: Path, fault: str, outcome: str
) -> None:
    log, _ = in_the_field(tmp_path, fault)
    case = relive_log(log, tmp_path / "learned")
    assert outcomes(case) == [(outcome, outcome)]
    assert case.is_same
    assert case.is_valid


@pytest.mark.parametrize(
    "fault",
    [
        "dhcp-silent",
        "rogue-dhcp-server",
        "dns-nxdomain",
        "no-sign-in-options",
        "option-43-malformed",
        "chain-not-downloadable",
        "chain-empty",
        "chain-unreadable",
        "ntp-silent",
        "web-certificate-wildcard",
        "web-certificate-expired",
        "registrar-certificate-no-intermediate",
        "registrars-down",
        "web-404",
        "pin-locked",
        "registrar-forbids",
        "registrar-redirect-loop",
    ],
)
def test_a_capture_is_enough_too(tmp_path: Path, fault: str) -> None:
    _, capture = in_the_field(tmp_path, fault)
    case = relive_capture(capture, tmp_path / "learned")
    assert case.is_same, outcomes(case)
    assert all(each.field is None for each in case.compared.values())


def test_what_a_capture_cannot_tell_is_said(tmp_path: Path) -> None:
    _, capture = in_the_field(tmp_path, "clock-a-year-slow")
    case = relive_capture(capture, tmp_path / "learned")
    assert not case.is_same
    assert any("the phone's clock was wrong" in note for note in case.notes)


def test_what_is_wrong_in_an_option_is_kept_octet_by_octet(tmp_path: Path) -> None:
    log, _ = in_the_field(tmp_path, "option-43-numeric-port")
    relive_log(log, tmp_path / "learned")
    wrong = load(FAULT, "option-43-numeric-port").rules[0]
    (rule,) = load(FAULT, str(tmp_path / "learned/faults.yaml")).rules
    assert (rule.kind, rule.value) == ("set-dhcp-option", wrong.value)


def test_every_entry_says_where_it_was_seen(tmp_path: Path) -> None:
    log, _ = in_the_field(tmp_path, "registrar-503")
    relive_log(log, tmp_path / "learned")
    faults = (tmp_path / "learned/faults.yaml").read_text()
    line = faults.partition("# cpsw3g.log:")[2].partition(":")[0]
    assert "answered 503" in log.read_text().splitlines()[int(line) - 1]
    site = (tmp_path / "learned/site.yaml").read_text()
    assert site.count("# cpsw3g.log:") >= 6
    learned = load(SITE, str(tmp_path / "learned/site.yaml"))
    assert [each.fqdn for each in learned.registrars] == ["fe01.contoso.com", "fe02.contoso.com"]
    assert [str(each.address) for each in learned.registrars] == ["127.20.0.21", "127.20.0.22"]


def test_a_fleet_of_a_capture_is_learned_with_its_macs(tmp_path: Path) -> None:
    _, capture = in_the_field(tmp_path, "pin-expired", phones=5)
    case = relive_capture(capture, tmp_path / "learned")
    assert len(case.compared) == 5
    assert case.is_same
    fleet = load(FLEET, str(tmp_path / "learned/fleet.yaml"))
    assert (fleet.phones, fleet.first_phone) == (5, 1)


def test_a_phone_that_had_a_cache_has_it_again(tmp_path: Path) -> None:
    log, _ = in_the_field(tmp_path, "inform-silent", "no-srv-records", boots=2)
    lines = log.read_text().splitlines(keepends=True)
    second = [number for number, line in enumerate(lines) if "Power applied" in line][1]
    warm = tmp_path / "warm.log"
    warm.write_text("".join(lines[second:]))
    case = relive_log(warm, tmp_path / "learned")
    assert outcomes(case) == [("signed in", "signed in")]
    (again,) = [phone.path for phone in list_phones(Run(path=case.run, summary=None))]
    assert "Cache gives url" in again.read_text()


def test_a_site_that_is_mended_gives_another_outcome(tmp_path: Path) -> None:
    log, _ = in_the_field(tmp_path, "pin-locked")
    relive_log(log, tmp_path / "learned")
    fleet = tmp_path / "learned/fleet.yaml"
    fleet.write_text(fleet.read_text().replace("./faults.yaml", "pin-wrong"))
    plan = read_plan(str(fleet))
    finished = run_fleet(plan, world_for("virtual"), tmp_path / "edited", lambda _: None)
    assert finished.summary["failures"] == {"pin-incorrect": 1}


@pytest.mark.parametrize("fault", ["option-43-ff", "option-43-malformed", "pin-locked"])
def test_without_its_fault_the_site_is_well(tmp_path: Path, fault: str) -> None:
    log, _ = in_the_field(tmp_path, fault, "no-srv-records", "no-registrar-records")
    relive_log(log, tmp_path / "learned")
    plan = read_plan(str(tmp_path / "learned/fleet.yaml"))
    cured = msgspec.structs.replace(plan, faults=())
    finished = run_fleet(cured, world_for("virtual"), tmp_path / "cured", lambda _: None)
    assert finished.summary["signed_in"] == 1, finished.summary["failures"]


def test_without_its_rogue_server_the_site_is_well(tmp_path: Path) -> None:
    _, capture = in_the_field(tmp_path, "rogue-dhcp-server", phones=2)
    assert relive_capture(capture, tmp_path / "learned").is_same
    path = tmp_path / "learned/site.yaml"
    site = yaml.safe_load(path.read_text())
    site["dhcp_servers"] = [
        each for each in site["dhcp_servers"] if each["address"] != "127.20.0.99"
    ]
    path.write_text(yaml.safe_dump(site))
    fleet = tmp_path / "learned/fleet.yaml"
    fleet.write_text(fleet.read_text().replace("faults:\n- ./faults.yaml\n", ""))
    plan = read_plan(str(fleet))
    finished = run_fleet(plan, world_for("virtual"), tmp_path / "cured", lambda _: None)
    assert finished.summary["signed_in"] == 2, finished.summary["failures"]


def test_a_log_that_ends_with_a_question_has_no_silent_server(tmp_path: Path) -> None:
    log, _ = in_the_field(tmp_path, "pin-locked")
    text = log.read_text()
    cut = tmp_path / "cut.log"
    cut.write_text(text[: text.index("\n", text.index("DNS query SRV")) + 1])
    relive_log(cut, tmp_path / "learned")
    assert not (tmp_path / "learned/faults.yaml").exists()


@pytest.mark.parametrize("failure", ["number-not-unique", "user-unknown", "registrar-tls-too-new"])
def test_what_is_wrong_with_users_and_models_is_learned(tmp_path: Path, failure: str) -> None:
    came = reproduce(load(FAILURE, failure), tmp_path / "field", "virtual")
    log = list_phones(Run(path=came.folder, summary=None))[0].path
    for number, case in enumerate(
        (
            relive_log(log, tmp_path / "by-log"),
            relive_capture(came.capture, tmp_path / "by-capture"),
        )
    ):
        assert case.is_same, (number, outcomes(case))


def test_a_model_is_told_by_its_inventory(tmp_path: Path) -> None:
    _, capture = in_the_field(tmp_path, phones=1)
    relive_capture(capture, tmp_path / "learned")
    fleet = load(FLEET, str(tmp_path / "learned/fleet.yaml"))
    assert [share.device for share in fleet.devices] == ["polycom-cx600"]


@pytest.mark.parametrize(
    ("octets", "told"),
    [(b"", "empty"), (b"\x7fELF\0\0", "binary"), (b"one\ntwo\n", "no phone")],
)
def test_what_is_no_log_is_refused(tmp_path: Path, octets: bytes, told: str) -> None:
    path = tmp_path / "x.log"
    path.write_bytes(octets)
    with pytest.raises(UsageError, match=told):
        relive_log(path, tmp_path / "learned")
    assert not (tmp_path / "learned").exists()


def test_a_log_that_is_cut_is_learned_as_far_as_it_goes(tmp_path: Path) -> None:
    log, _ = in_the_field(tmp_path, "pin-locked")
    whole = log.read_bytes()
    cut = tmp_path / "cut.log"
    cut.write_bytes(whole[: whole.index(b"Discovery domain") + 5])
    case = relive_log(cut, tmp_path / "learned")
    assert not case.is_same
    assert any("ends in the middle" in note for note in case.notes)
