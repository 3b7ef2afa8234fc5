from pathlib import Path

import pytest
import yaml

from phonesim.config.fault import Silence
from phonesim.errors import ProfileError
from phonesim.profiles import (
    DEVICE,
    FAULT,
    FLEET,
    KINDS,
    MAXIMUM_SIZE,
    SITE,
    Kind,
    load,
    names,
    option_override,
    parse_override,
    problems,
    schema,
    to_yaml,
)


def written(folder: Path, text: str | bytes, name: str = "x.yaml") -> str:
    file = folder / name
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(text.encode() if isinstance(text, str) else text)
    return str(file)


def only_problem(kind: Kind, file: str) -> str:
    [line] = problems(kind, file)
    return line.removeprefix(f"{file}")


# --- the shipped profiles ---


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.name)
def test_every_shipped_profile_is_good_and_named_like_its_file(kind: Kind) -> None:
    assert names(kind)
    for name in names(kind):
        assert problems(kind, name) == []
        assert load(kind, name).name == name


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.name)
def test_what_show_prints_is_the_same_profile(kind: Kind, tmp_path: Path) -> None:
    for name in names(kind):
        profile = load(kind, name)
        assert load(kind, written(tmp_path, to_yaml(profile))) == profile


def test_every_fleet_names_profiles_that_exist() -> None:
    for name in names(FLEET):
        fleet = load(FLEET, name)
        assert load(SITE, fleet.site).users
        for share in fleet.devices:
            load(DEVICE, share.device)


# --- what is refused, and how it is said ---


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("name: x\nphnes: 3\n", ":2: phnes: unknown key; did you mean 'phones'?"),
        ("phones: 3\n", ":1: name: is missing"),
        ("name: x\nphones: 0\n", ":2: phones: should be greater than or equal to 1, not 0"),
        (
            "name: x\nlinks:\n  loss: 2\n",
            ":3: links.loss: should be less than 1, not 2",
        ),
        (
            "name: x\ndevices:\n- device: hp-4110\n- {device: hp-4120, weigth: 2}\n",
            ":4: devices.1.weigth: unknown key; did you mean 'weight'?",
        ),
        ("name: x\ndevices: []\n", ":2: devices: should not be empty"),
        ("name: x\nlinks: 3\n", ":2: links: should be a mapping, not a number"),
        ("name: x\nfaults: dhcp\n", ":2: faults: should be a list, not text"),
        ("name: 4711\n", ":1: name: should be text: quote it"),
        ("name: x\nattach: wired\n", None),
        ("name: x\nphones: 1\nphones: 2\n", ":3: phones: written twice"),
        ("- 1\n", ":1: a fleet profile is a mapping, not a list"),
        ("", ":1: a fleet profile is a mapping, not nothing"),
        ("name: x\n---\nname: y\n", None),
        ("name: [x\n", None),
        ("name: x\n\tphones: 1\n", None),
        ("1: x\n", ":1: a key that is not text: quote it"),
        ("[a]: x\n", ":1: a key that is not text: quote it"),
        ("<<: {name: x}\n", ":1: merge keys are not supported: use extends"),
        ("name: !secret x\n", ":1: tag !secret is not supported"),
        (
            "name: !!python/object/apply:os.getcwd []\n",
            ":1: tag tag:yaml.org,2002:python/object/apply:os.getcwd is not supported",
        ),
        ("name: x\nextends: [y]\n", ":2: extends: a name or a path, not a list"),
        ("name: x\nextends: ./x.yaml\n", None),
        ("a: &a [*a]\n", ":1: an alias inside what it stands for"),
        ("[" * 41, ":1: nested more than 40 deep"),
        ("[" * 100_000, None),
        (b"name: x\ndescription: \xff\n", ":2: not UTF-8 text"),
        (b"name: \x01\n", None),
    ],
)
def test_a_mistake_is_one_line_with_file_and_line(
    tmp_path: Path, text: str | bytes, said: str | None
) -> None:
    file = written(tmp_path, text)
    line = only_problem(FLEET, file)
    assert "\n" not in line
    if said is not None:
        assert line == said
    with pytest.raises(ProfileError):
        load(FLEET, file)


def test_an_error_in_a_union_names_what_there_is(tmp_path: Path) -> None:
    start = "name: a\ndescription: b\nrules:\n- "
    unknown = written(tmp_path, start + "{kind: silenced, protocol: dns}")
    assert only_problem(FAULT, unknown) == ":4: rules.0: kind 'silenced' is unknown" + (
        "; did you mean 'silence'?"
    )
    missing = written(tmp_path, start + "{protocol: dns}")
    assert only_problem(FAULT, missing) == ":4: rules.0: kind is missing"
    wrong = written(tmp_path, start + "{kind: silence, protocol: dsn}")
    assert only_problem(FAULT, wrong).startswith(":4: rules.0.protocol: should be 'lldp', 'dhcp'")


def test_load_says_how_many_problems_there_are(tmp_path: Path) -> None:
    file = written(tmp_path, "name: x\nphones: 0\nrate: 0\nseeds: 1\n")
    assert len(problems(FLEET, file)) == 3
    with pytest.raises(ProfileError, match=r"phones: .*\(and 2 more\)$"):
        load(FLEET, file)


def test_what_the_core_would_refuse_is_found_beforehand(tmp_path: Path) -> None:
    records = "{shutdown: {zone: INIT, text: 'Shutdown {why}'}}"
    device = written(tmp_path, f"name: x\nextends: polycom-cx600\nlog: {{records: {records}}}\n")
    assert "log.records.shutdown.text" in only_problem(DEVICE, device)
    users = '[{sip_uri: "sip:{m}@a", number: "1", pin: "1"}]'
    site = written(tmp_path, f"name: x\nusers: {users}\n")
    assert "cannot be filled in" in only_problem(SITE, site)


def test_aliases_work_until_they_are_a_bomb(tmp_path: Path) -> None:
    good = written(tmp_path, "name: &n x\ndescription: *n\n")
    assert load(FLEET, good).description == "x"
    levels = ["a: &a [x, x, x, x, x, x, x, x, x, x]"]
    for below, here in zip("abcdefgh", "bcdefghi", strict=True):
        levels.append(f"{here}: &{here} [{', '.join([f'*{below}'] * 10)}]")
    bomb = written(tmp_path, "\n".join(levels))
    assert only_problem(FLEET, bomb).endswith("more than 50000 values")


def test_a_file_may_not_be_too_large(tmp_path: Path) -> None:
    file = written(tmp_path, "#" * (MAXIMUM_SIZE + 1))
    assert only_problem(FLEET, file) == f": larger than {MAXIMUM_SIZE} octets"


def test_a_file_that_cannot_be_read(tmp_path: Path) -> None:
    assert only_problem(FLEET, f"{tmp_path}/none.yaml").endswith("No such file or directory")
    assert only_problem(FLEET, f"{tmp_path}/").endswith("Is a directory")


def test_an_unknown_name_brings_the_nearest() -> None:
    with pytest.raises(ProfileError, match=r"no fleet profile is named 'dmo'.*'demo'"):
        load(FLEET, "dmo")
    with pytest.raises(ProfileError, match=r"no fleet profile is named 'zzz'; there are: .*demo"):
        load(FLEET, "zzz")


# --- scalars ---


def test_scalars_follow_yaml_1_2(tmp_path: Path) -> None:
    fleet = load(FLEET, written(tmp_path, "name: no\ndescription: 12:30:45\ninterface: ~\n"))
    assert (fleet.name, fleet.description, fleet.interface) == ("no", "12:30:45", None)
    user = "{sip_uri: 'sip:a@b', number: +14255550100x, pin: 0712}"
    site = load(SITE, written(tmp_path, f"name: x\nusers: [{user}]\n"))
    assert site.users[0].pin == "0712"


def test_what_looks_like_something_else_is_quoted_when_printed(tmp_path: Path) -> None:
    for text in ("0712", "1e5", "yes", "12:30", "null", "~", "", "1_000", "a: b", "tab\there"):
        fleet = load(FLEET, written(tmp_path, "name: x\n"))
        fleet = fleet.model_copy(update={"description": text})
        printed = to_yaml(fleet)
        assert load(FLEET, written(tmp_path, printed)).description == text
        assert yaml.safe_load(printed)["description"] == text


# --- extends and references ---


def test_extends_merges_mappings_and_replaces_the_rest(tmp_path: Path) -> None:
    written(
        tmp_path,
        "name: base\nphones: 7\nfaults: [a, b]\nlinks: {latency: 0.5, loss: 0.1}\n",
        "base.yaml",
    )
    middle = "name: middle\nextends: ../base.yaml\nfaults: [c]\nlinks: {loss: 0.2}\n"
    written(tmp_path, middle, "sub/middle.yaml")
    fleet = load(FLEET, written(tmp_path, "name: top\nextends: sub/middle.yaml\n", "top.yaml"))
    assert (fleet.name, fleet.phones, fleet.faults) == ("top", 7, ("c",))
    assert (fleet.links.latency, fleet.links.loss) == (0.5, 0.2)


def test_a_mistake_in_what_is_extended_names_its_own_file(tmp_path: Path) -> None:
    base = written(tmp_path, "name: base\nlinks:\n  loss: 9\n", "base.yaml")
    top = written(tmp_path, "name: top\nextends: ./base.yaml\n", "top.yaml")
    assert problems(FLEET, top) == [f"{base}:3: links.loss: should be less than 1, not 9"]


def test_profiles_that_extend_each_other_are_refused(tmp_path: Path) -> None:
    written(tmp_path, "name: a\nextends: ./b.yaml\n", "a.yaml")
    b = written(tmp_path, "name: b\nextends: ./a.yaml\n", "b.yaml")
    assert "extends this profile in turn" in problems(FLEET, b)[0]


def test_a_relative_path_counts_from_the_profile_that_names_it(tmp_path: Path) -> None:
    text = """
name: x
site: sites/s.yaml
faults: [./f.yaml, dns-dead]
devices: [{device: ../d.yaml}, {device: polycom-cx600}]
"""
    fleet = load(FLEET, written(tmp_path, text, "fleets/x.yaml"))
    folder = tmp_path / "fleets"
    assert fleet.site == str(folder / "sites/s.yaml")
    assert fleet.faults == (str(folder / "f.yaml"), "dns-dead")
    devices = [share.device for share in fleet.devices]
    assert devices == [str(folder / "../d.yaml"), "polycom-cx600"]


# --- overrides ---


def overridden(file: str, *assignments: str) -> object:
    return load(FLEET, file, [parse_override(text) for text in assignments])


def test_overrides_set_values_wherever_they_are(tmp_path: Path) -> None:
    file = written(tmp_path, "name: x\nphones: 3\n")
    fleet = overridden(
        file,
        "fleet.phones=200",
        "fleet.links.loss=0.25",
        "fleet.devices.0.weight=3",
        "fleet.faults=[a, b]",
        "fleet.interface=eth0",
        "site.name=not-for-fleets",
    )
    assert (fleet.phones, fleet.links.loss, fleet.devices[0].weight) == (200, 0.25, 3)
    assert (fleet.faults, fleet.interface) == (("a", "b"), "eth0")
    assert overridden(file, "fleet.phones=1", "fleet.phones=2").phones == 2
    assert overridden(file, "fleet.interface=").interface is None


def test_where_only_text_will_do_a_number_is_text(tmp_path: Path) -> None:
    file = written(tmp_path, "name: x\n")
    assert overridden(file, "fleet.description=4711").description == "4711"
    assert overridden(file, "fleet.name=true", "fleet.phones=3").name == "true"


@pytest.mark.parametrize(
    ("assignment", "said"),
    [
        ("fleet.phones=0", "--set fleet.phones=0: should be greater than or equal to 1, not 0"),
        ("fleet.phnes=1", "--set fleet.phnes=1: unknown key; did you mean 'phones'?"),
        (
            "fleet.links={los: 1}",
            "--set fleet.links={los: 1}: fleet.links.los: unknown key; did you mean 'loss'?",
        ),
        (
            "fleet.devices.1.weight=2",
            "--set fleet.devices.1.weight=2: fleet.devices is a list of 1, and '1' no index of it",
        ),
        ("fleet.name.x=1", "--set fleet.name.x=1: fleet.name has no keys: it is 'x'"),
        ("flet.phones=1", "--set flet.phones=1: the key starts with fleet., site., device."),
        ("fleet=1", "--set fleet=1: write it as fleet.key=value"),
        ("fleet.phones", "--set fleet.phones: write it as fleet.key=value"),
        ("fleet..phones=1", "--set fleet..phones=1: write it as fleet.key=value"),
        ("fleet.phones=[1", "--set fleet.phones=[1: the value is not YAML: quote it"),
    ],
)
def test_an_override_that_cannot_be_used_names_itself(
    tmp_path: Path, assignment: str, said: str
) -> None:
    file = written(tmp_path, "name: x\n")
    with pytest.raises(ProfileError) as caught:
        overridden(file, "fleet.rate=5", assignment)
    assert str(caught.value) == said


def test_an_option_of_its_own_names_itself(tmp_path: Path) -> None:
    file = written(tmp_path, "name: x\n")
    phones = option_override("--phones", "fleet", "phones", 0)
    with pytest.raises(ProfileError, match=r"^--phones 0: should be greater"):
        load(FLEET, file, [phones])


def test_an_override_reaches_into_tagged_unions(tmp_path: Path) -> None:
    rules = "- {kind: silence, protocol: dns}\n- {kind: silence, protocol: ntp}"
    fault = load(FAULT, written(tmp_path, f"name: x\ndescription: y\nrules:\n{rules}\n"))
    assert fault.rules[1] == Silence(kind="silence", protocol="ntp")


# --- schema ---


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.name)
def test_the_schema_knows_extends_and_says_where_defaults_come_from(kind: Kind) -> None:
    found = schema(kind)
    assert found["additionalProperties"] is False
    assert "extends" in found["properties"]
    assert {"required": ["extends"]} in found["anyOf"]


def test_the_schema_carries_the_sources_of_defaults() -> None:
    client = schema(DEVICE)["$defs"]["DhcpClientConfig"]["properties"]
    assert "documented" in client["vendor_class"]["description"]
