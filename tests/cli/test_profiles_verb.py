from collections.abc import Callable
from pathlib import Path

import yaml

from phonesim.profiles import KINDS, names


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


def test_every_shipped_profile_is_valid(phonesim: Callable) -> None:
    came = phonesim("profiles", "validate")
    assert came.status == 0
    assert came.out == f"{sum(len(names(kind)) for kind in KINDS)} profiles, no problems\n"


def test_the_schema_is_json_schema(phonesim: Callable) -> None:
    for kind in KINDS:
        found = phonesim("profiles", "schema", kind.name).document
        assert found["$schema"].endswith("2020-12/schema")
        assert "name" in found["properties"]
