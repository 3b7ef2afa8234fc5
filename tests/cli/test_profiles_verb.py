from collections.abc import Callable
from pathlib import Path

import pytest
import yaml

from phonesim.field.failures import ALL_KINDS as KINDS
from phonesim.profiles import names


def test_ls_lists_every_profile(phonesim: Callable) -> None:
    rows = phonesim("profiles", "ls", "--json").document
    assert [(row["kind"], row["name"]) for row in rows] == [
        (kind.name, name) for kind in KINDS for name in names(kind)
    ]
    assert all(row["description"] for row in rows)
    table = phonesim("profiles", "ls", "fleet").out.splitlines()
    assert [line.split()[1] for line in table[1:]] == names(KINDS[3])


def test_show_fills_in_what_is_extended_and_every_default(phonesim: Callable) -> None:
    shown = yaml.safe_load(phonesim("profiles", "show", "second-boot").out)
    assert (shown["boots"], shown["attach"], shown["timeout"]) == (2, "virtual", 600)
    assert "extends" not in shown
    document = phonesim("profiles", "show", "second-boot", "--json").document
    assert document == shown


def test_validate_names_every_mistake(phonesim: Callable, tmp_path: Path) -> None:
    file = tmp_path / "fleets/mine.yaml"
    file.parent.mkdir()
    file.write_text("name: mine\nphones: 0\nrate: none\n")
    came = phonesim("profiles", "validate", file)
    assert came.status == 2
    assert came.out.splitlines() == [
        f"{file}:2: phones: should be greater than or equal to 1, not 0",
        f"{file}:3: rate: should be a valid number, unable to parse string as a number, not 'none'",
    ]
    assert came.err == "phonesim: 2 problems in 1 profile\n"
    file.write_text("name: mine\n")
    assert phonesim("profiles", "validate", file).status == 0
    other = tmp_path / "mine.yaml"
    other.write_text("name: mine\n")
    assert "--kind" in phonesim("profiles", "validate", other).err
    assert phonesim("profiles", "validate", other, "--kind", "fleet").status == 0


@pytest.mark.parametrize(
    "text",
    [
        "name: x\nphones: 3\n",
        "name: x\nusers: [{sip_uri: 'sip:a@b', number: '1', pin: '1'}]\n",
        "name: x\nextends: polycom-cx600\n",
        "name: x\ndescription: y\nrules: [{kind: silence, protocol: dns}]\n",
    ],
)
def test_a_file_s_kind_is_told_by_its_keys(phonesim: Callable, tmp_path: Path, text: str) -> None:
    file = tmp_path / "mine.yaml"
    file.write_text(text)
    came = phonesim("profiles", "validate", file)
    assert (came.status, came.out) == (0, "1 profile, no problems\n"), came.err


def test_what_is_no_mapping_has_no_kind(phonesim: Callable, tmp_path: Path) -> None:
    file = tmp_path / "mine.yaml"
    file.write_text("[1, 2]\n")
    assert "--kind" in phonesim("profiles", "validate", file).err
    file.unlink()
    assert "cannot be read" in phonesim("profiles", "validate", file).err


def test_validate_follows_the_names_of_other_profiles(phonesim: Callable, tmp_path: Path) -> None:
    (tmp_path / "good.yaml").write_text("name: good\n")
    (tmp_path / "bad.yaml").write_text("name: bad\nntp_servers: [{name: n}]\n")
    file = tmp_path / "fleets/mine.yaml"
    file.parent.mkdir()
    file.write_text(
        "name: mine\nextends: demo\nsite: contosso\nusers_from: ../bad.yaml\n"
        "faults: [dns-silent, dns-silnt]\ndevices:\n  - {device: nope}\n  - {device: hp-4110}\n"
    )
    came = phonesim("profiles", "validate", file)
    assert came.status == 2
    bad = tmp_path / "fleets/../bad.yaml"
    assert came.out.splitlines() == [
        f"{file}:3: site: no site profile is named 'contosso'; did you mean 'contoso'?",
        f"{file}:4: users_from: {bad}:2: ntp_servers.0.address: is missing",
        f"{file}:5: faults.1: no fault profile is named 'dns-silnt'; did you mean 'dns-silent'"
        " or 'ntp-silent' or 'lldp-silent'? see: phonesim profiles ls fault",
        f"{file}:7: devices.0.device: no device profile is named 'nope'; there are:"
        f" {', '.join(names(KINDS[0]))}",
    ]
    file.write_text("name: mine\nsite: none\nusers_from: ../good.yaml\n")
    assert phonesim("profiles", "validate", file).status == 0


@pytest.mark.parametrize(
    "text",
    [
        "dns_servers: [{name: d, address: 10.0.0.1, zones: [{origin: x, srv: [{name: s,"
        " port: 70000, target: a}]}]}]",
        "dns_servers: [{name: d, address: 10.0.0.1, zones: [{origin: x, srv: [{name: s,"
        " port: 1, target: a, weight: -1}]}]}]",
        "web_services: [{name: w, address: 10.0.0.1, fqdn: w.x, https_port: 0}]",
        "registrars: [{name: r, address: 10.0.0.1, fqdn: r.x, port: 99999}]",
    ],
)
def test_numbers_that_no_packet_can_carry_are_refused(
    phonesim: Callable, tmp_path: Path, text: str
) -> None:
    file = tmp_path / "mine.yaml"
    file.write_text(f"name: x\n{text}\n")
    came = phonesim("profiles", "validate", file)
    assert came.status == 2
    assert "should be " in came.out


def test_an_until_that_is_no_end_is_refused(phonesim: Callable, tmp_path: Path) -> None:
    file = tmp_path / "mine.yaml"
    file.write_text("name: x\nphones: 3\nuntil: later\n")
    assert ":3: until: should be signed-in, or a" in phonesim("profiles", "validate", file).out


def test_every_shipped_profile_is_valid(phonesim: Callable) -> None:
    came = phonesim("profiles", "validate")
    assert came.status == 0
    assert came.out == f"{sum(len(names(kind)) for kind in KINDS)} profiles, no problems\n"


def test_the_schema_is_json_schema(phonesim: Callable) -> None:
    for kind in KINDS:
        found = phonesim("profiles", "schema", kind.name).document
        assert found["$schema"].endswith("2020-12/schema")
        assert "name" in found["properties"]
