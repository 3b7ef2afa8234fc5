"""Profiles: YAML files to configuration models, and every mistake in them to one line.

    load(FLEET, "demo")            a name, looked up in the shipped folder
    load(SITE, "./branch.yaml")    a path: anything with a "/" or ending in .yaml

A file goes through five steps, each of which knows file and line of what it refuses:

1. YAML to nodes, with libyaml if there is one. Only what a profile needs is accepted: one
   document, plain tags, no duplicate and no merge keys, at most 1 MiB. Aliases work, but
   what they expand to counts.
2. Nodes to values. Scalars follow YAML 1.2: only true and false are booleans, and digits
   with a leading zero are text, so that `pin: 0712` means what it says.
3. `extends: other` puts the file on top of another of its kind: mappings merge, anything
   else replaces.
4. Values to the model. Unknown keys are errors.
5. Overrides (`--set fleet.phones=200`) change the validated values, which are validated again.

A relative path inside a profile counts from that profile's folder.

Specifications: YAML 1.2.2 section 10.3 (core schema), JSON Schema 2020-12.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from difflib import get_close_matches
from importlib.resources import files
from itertools import takewhile
from pathlib import Path
from typing import Any, Generic, NamedTuple, TypeVar

import yaml
from pydantic import ValidationError
from pydantic_core import ErrorDetails

from phonesim.config.device_profile import DeviceProfile
from phonesim.config.fault import FaultProfile
from phonesim.config.fleet_profile import NO_SITE, FleetProfile
from phonesim.config.model import Config
from phonesim.config.site_profile import SiteProfile
from phonesim.device.device_log import Dialect
from phonesim.errors import ProfileError
from phonesim.mocksite.users import UserDirectory

MAXIMUM_SIZE = 1 << 20
"""Octets of one file."""
MAXIMUM_VALUES = 50_000
"""Values in one file, those that aliases repeat included."""
MAXIMUM_DEPTH = 40
"""Lists and mappings inside one another."""

M = TypeVar("M", bound=Config)
KeyPath = tuple[str | int, ...]


class Kind(NamedTuple, Generic[M]):
    """A kind of profile.

    `references` are the places that name other profiles, where * is any index, and their
    kinds; `files` those that name other files; `words` those that hold a word of a closed list,
    with what such a word is. `try_out` builds what the core builds from the profile, which may
    find more to refuse. `listing` is the command that lists them, where it is not `profiles ls`.
    """

    name: str
    folder: str
    model: type[M]
    references: tuple[tuple[KeyPath, Kind[Any]], ...] = ()
    try_out: Callable[[M], object] = repr
    files: tuple[KeyPath, ...] = ()
    words: tuple[tuple[KeyPath, str, Collection[str]], ...] = ()
    listing: str = ""


DEVICE = Kind(
    "device", "devices", DeviceProfile, try_out=lambda device: Dialect(device.log.records)
)
SITE = Kind("site", "sites", SiteProfile, try_out=lambda site: UserDirectory(site.users))
FAULT = Kind("fault", "faults", FaultProfile)
FLEET = Kind(
    "fleet",
    "fleets",
    FleetProfile,
    (
        (("site",), SITE),
        (("users_from",), SITE),
        (("faults", "*"), FAULT),
        (("devices", "*", "device"), DEVICE),
    ),
    files=(("registration", "trust"),),
)
KINDS: tuple[Kind[Any], ...] = (DEVICE, SITE, FAULT, FLEET)

_MOST_LISTED = 12
"""Names that still make one line that is read."""


class Override(NamedTuple):
    """A value that the command line sets: `path` under the profile of kind `root`.

    `text` is the value as it was typed, `label` what an error calls it.
    """

    root: str
    path: tuple[str, ...]
    value: Any
    text: str
    label: str


def names(kind: Kind[Any]) -> list[str]:
    """Names of the shipped profiles of that kind, sorted."""
    folder = shipped_folder() / kind.folder
    return sorted(entry.stem for entry in folder.glob("*.yaml")) if folder.is_dir() else []


def shipped_folder() -> Path:
    """Where the shipped profiles are: inside the installed package, or beside it in a checkout."""
    package = Path(str(files("phonesim")))
    inside = package / "_profiles"
    return inside if inside.is_dir() else package.parent / "profiles"


def load(kind: Kind[M], name: str, overrides: Iterable[Override] = ()) -> M:
    """Return the profile of that name or path, overrides of its kind applied.

    Raises `ProfileError` with the first problem, and how many more there are.
    """
    model, found = _load(kind, name)
    if model is None:
        more = f" (and {len(found) - 1} more)" if len(found) > 1 else ""
        raise ProfileError(found[0] + more)
    return apply(kind, model, overrides)


def problems(kind: Kind[Any], name: str) -> list[str]:
    """Everything that is wrong with a profile, one line each; none if it can be used."""
    try:
        document = _read(kind, locate(kind, name), ())
    except ProfileError as error:
        return [str(error)]
    model, found = _validated(kind, document)
    found += (*_broken_references(kind, document), *_unknown_words(kind, document))
    if model is not None and not found:
        try:
            kind.try_out(model)
        except ProfileError as error:
            found = [f"{_shown(locate(kind, name))}: {error}"]
    return found


def apply(kind: Kind[M], profile: M, overrides: Iterable[Override]) -> M:
    """Return the profile with the overrides of its kind applied, in order."""
    mine = [override for override in overrides if override.root == kind.name]
    if not mine:
        return profile
    values = profile.model_dump()
    for override in mine:
        values = _assign(values, override)
    try:
        return kind.model.model_validate(values)
    except ValidationError as failure:
        detail = _details(failure)[0]
        path = _known_path(values, detail["loc"])
        blamed = _blame(mine, path)
        if detail["type"] == "string_type" and blamed.value != blamed.text:
            # 4711 is a number to YAML; where only text will do, take it as it was typed.
            as_text = blamed._replace(value=blamed.text)
            return apply(kind, profile, [as_text if o is blamed else o for o in mine])
        dotted = ".".join(map(str, (kind.name, *path)))
        where = "" if dotted == ".".join((kind.name, *blamed.path)) else f" {dotted}:"
        raise ProfileError(f"{blamed.label}:{where} {_what(kind, detail)}") from None


def parse_override(text: str) -> Override:
    """Read `root.dotted.key=value`; the value is YAML."""
    key, equals, raw = text.partition("=")
    root, *path = key.strip().split(".")
    roots = [kind.name for kind in (FLEET, SITE, DEVICE)]
    label = f"--set {text}"
    if not equals or not path or not all(path):
        raise ProfileError(f"{label}: write it as {roots[0]}.key=value")
    if root not in roots:
        raise ProfileError(f"{label}: the key starts with {', '.join(r + '.' for r in roots)}")
    try:
        value = _Reader(label, raw).value()
    except ProfileError:
        raise ProfileError(f"{label}: the value is not YAML: quote it") from None
    return Override(root, tuple(path), value, raw, label)


def option_override(option: str, root: str, key: str, value: Any) -> Override:
    """Return what a command line option of its own (`--phones 200`) sets."""
    return Override(root, (key,), value, str(value), f"{option} {value}")


def locate(kind: Kind[Any], name: str) -> Path:
    """Return the file of a profile; `ProfileError` names the nearest if there is none."""
    if is_path(name):
        return Path(name)
    known = names(kind)
    if name in known:
        return shipped_folder() / kind.folder / f"{name}.yaml"
    is_long = len(known) > _MOST_LISTED
    near = get_close_matches(name, known, n=3 if is_long else 1, cutoff=0.5)
    hints = [f"did you mean {' or '.join(map(repr, near))}?"] if near else []
    if is_long:
        hints.append(f"see: {kind.listing or f'phonesim profiles ls {kind.name}'}")
    hint = " ".join(hints) or f"there are: {', '.join(known) or 'none'}"
    raise ProfileError(f"no {kind.name} profile is named {name!r}; {hint}")


def likely_kinds(name: str, kinds: Sequence[Kind[Any]] = KINDS) -> list[Kind[Any]]:
    """The kinds of profile that the file of this path can be: those that know most of its keys."""
    file = Path(name)
    shown = _shown(file)
    values = _Reader(shown, _text(file, shown)).value()
    if not isinstance(values, dict):
        return list(kinds)
    extended = values.get("extends")
    known = {
        kind.name: len(values.keys() & kind.model.model_fields.keys()) + (extended in names(kind))
        for kind in kinds
    }
    return [kind for kind in kinds if known[kind.name] == max(known.values())]


def is_path(name: str) -> bool:
    """Say whether a reference is a path rather than a name."""
    return "/" in name or name.endswith((".yaml", ".yml"))


def to_yaml(profile: Config) -> str:
    """Return a profile with every default filled in; loading it gives the same profile."""
    values = profile.model_dump(mode="json")
    return yaml.dump(values, Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=100)


def schema(kind: Kind[Any]) -> dict[str, Any]:
    """JSON Schema of a kind of profile, for editors; it knows `extends` too."""
    result: dict[str, Any] = kind.model.model_json_schema()
    required = result.pop("required", [])
    result["properties"]["extends"] = {
        "type": "string",
        "description": f"Name or path of the {kind.name} profile that this one changes.",
    }
    result["anyOf"] = [{"required": required}, {"required": ["extends"]}]
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **result}


# --- files -------------------------------------------------------------------


class _Mark(NamedTuple):
    file: str
    line: int


class _Document(NamedTuple):
    """A file's values, `extends` resolved, and where each was written."""

    values: dict[str, Any]
    marks: dict[KeyPath, _Mark]


def _load(kind: Kind[M], name: str) -> tuple[M | None, list[str]]:
    return _validated(kind, _read(kind, locate(kind, name), ()))


def _validated(kind: Kind[M], document: _Document) -> tuple[M | None, list[str]]:
    try:
        return kind.model.model_validate(document.values), []
    except ValidationError as failure:
        return None, [_line(kind, document, detail) for detail in _details(failure)]


def _read(kind: Kind[Any], file: Path, extending: tuple[Path, ...]) -> _Document:
    shown = _shown(file)
    reader = _Reader(shown, _text(file, shown))
    values = reader.value()
    if not isinstance(values, dict):
        raise ProfileError(f"{shown}:1: a {kind.name} profile is a mapping, not {_kind_of(values)}")
    for reference, _ in kind.references:
        _anchor(values, reference, file.parent)
    for place in kind.files:
        _anchor(values, place, file.parent, is_file=True)
    base = values.pop("extends", None)
    if base is None:
        return _Document(values, reader.marks)
    where = f"{shown}:{reader.marks[('extends',)].line}: extends"
    if not isinstance(base, str):
        raise ProfileError(f"{where}: a name or a path, not {_kind_of(base)}")
    try:
        under = locate(kind, str(file.parent / base) if is_path(base) else base)
        chain = (*extending, file.resolve())
        if under.resolve() in chain:
            raise ProfileError(f"{base!r} extends this profile in turn")
    except ProfileError as error:
        raise ProfileError(f"{where}: {error}") from None
    lower = _read(kind, under, chain)
    return _Document(_merged(lower.values, values), {**lower.marks, **reader.marks})


def _text(file: Path, shown: str) -> str:
    try:
        with file.open("rb") as stream:
            data = stream.read(MAXIMUM_SIZE + 1)
    except OSError as error:
        raise ProfileError(f"{shown}: cannot be read: {error.strerror}") from None
    if len(data) > MAXIMUM_SIZE:
        raise ProfileError(f"{shown}: larger than {MAXIMUM_SIZE} octets")
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data[: error.start].count(b"\n") + 1
        raise ProfileError(f"{shown}:{line}: not UTF-8 text") from None


def _shown(file: Path) -> str:
    try:
        return str(file.resolve().relative_to(Path.cwd()))
    except ValueError:
        return str(file)


def _anchor(values: Any, reference: KeyPath, folder: Path, *, is_file: bool = False) -> None:
    """Make the relative paths at `reference` count from `folder`.

    What `is_file` is a path however it looks.
    """
    key, rest = reference[0], reference[1:]
    places: Iterator[Any]
    if key == "*":
        places = iter(range(len(values))) if isinstance(values, list) else iter(())
    else:
        places = iter([key]) if isinstance(values, dict) and key in values else iter(())
    for place in places:
        if rest:
            _anchor(values[place], rest, folder, is_file=is_file)
        elif isinstance(values[place], str) and (is_file or is_path(values[place])):
            values[place] = str(folder / values[place])


def _broken_references(kind: Kind[Any], document: _Document) -> Iterator[str]:
    """Say which of the profiles that this one names cannot be used."""
    for reference, named in kind.references:
        for place, name in _referenced(document.values, reference):
            if name == NO_SITE and named is SITE:
                continue
            found = problems(named, name)
            if found:
                mark = document.marks[place]
                yield f"{mark.file}:{mark.line}: {_dotted(place)}{found[0]}"


def _unknown_words(kind: Kind[Any], document: _Document) -> Iterator[str]:
    """Say which words are none of their lists."""
    for places, what, known in kind.words:
        for place, word in _referenced(document.values, places):
            if word not in known:
                mark = document.marks[place]
                near = _near(word, sorted(known))
                yield (
                    f"{mark.file}:{mark.line}: {_dotted(place)}there is no {what} {word!r}{near}"
                )


def _referenced(values: Any, reference: KeyPath) -> Iterator[tuple[KeyPath, str]]:
    """Yield what is named at `reference`, and where; what is no text has been refused."""
    if not reference:
        if isinstance(values, str):
            yield (), values
        return
    key, rest = reference[0], reference[1:]
    inside: Iterable[tuple[str | int, Any]] = ()
    if key == "*" and isinstance(values, list):
        inside = enumerate(values)
    elif isinstance(values, dict) and key in values:
        inside = [(key, values[key])]
    for part, value in inside:
        for place, name in _referenced(value, rest):
            yield (part, *place), name


def _merged(lower: Any, upper: Any) -> Any:
    if not (isinstance(lower, dict) and isinstance(upper, dict)):
        return upper
    result = dict(lower)
    for key, value in upper.items():
        result[key] = _merged(lower[key], value) if key in lower else value
    return result


# --- YAML --------------------------------------------------------------------

_SafeLoader: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_SafeDumper: Any = getattr(yaml, "CSafeDumper", yaml.SafeDumper)

_TAG_NAMES = ("map", "seq", "str", "null", "bool", "int", "float")
_TAGS = {f"tag:yaml.org,2002:{tag}" for tag in _TAG_NAMES}
_PLAIN = (
    ("null", r"~|null|Null|NULL|", "~nN"),
    ("bool", r"true|True|TRUE|false|False|FALSE", "tTfF"),
    ("int", r"[-+]?(0|[1-9][0-9]*)|0x[0-9a-fA-F]+", "-+0123456789"),
    ("float", r"[-+]?(0|[1-9][0-9]*|(?=\.[0-9]))(\.[0-9]*)?([eE][-+]?[0-9]+)?", "-+.0123456789"),
)
_RESOLVERS: dict[str, list[tuple[str, re.Pattern[str]]]] = {}
for _tag, _pattern, _firsts in _PLAIN:
    for _first in (*_firsts, *([""] if _tag == "null" else [])):
        _RESOLVERS.setdefault(_first, []).append(
            (f"tag:yaml.org,2002:{_tag}", re.compile(f"^(?:{_pattern})$"))
        )


class _Loader(_SafeLoader):  # type: ignore[misc]  # which of two classes, the machine decides
    yaml_implicit_resolvers = _RESOLVERS


class _Dumper(_SafeDumper):  # type: ignore[misc]  # see _Loader
    """Quotes what readers of YAML 1.1 or of 1.2 would not take for text."""

    yaml_implicit_resolvers = {
        first: [*_SafeDumper.yaml_implicit_resolvers.get(first, []), *_RESOLVERS.get(first, [])]
        for first in {*_SafeDumper.yaml_implicit_resolvers, *_RESOLVERS}
    }


class _Reader:
    """One YAML text to values, and the line of each."""

    def __init__(self, file: str, text: str) -> None:
        self._file = file
        self._text = text
        self._left = MAXIMUM_VALUES
        self.marks: dict[KeyPath, _Mark] = {}

    def value(self) -> Any:
        try:
            self._check_depth()
            loader = _Loader(self._text)
            try:
                node = loader.get_single_node()
                return None if node is None else self._convert(loader, node, ())
            finally:
                loader.dispose()
        except yaml.MarkedYAMLError as error:
            mark = error.problem_mark or error.context_mark
            raise self._error(mark, f"not YAML: {error.problem or error.context}") from None
        except yaml.YAMLError as error:
            what = " ".join(str(error).split())
            raise ProfileError(f"{self._file}: not YAML: {what}") from None

    def _check_depth(self) -> None:
        """Refuse deep nesting before nodes are made: libyaml makes them by recursion."""
        depth = 0
        for event in yaml.parse(self._text, Loader=_Loader):
            if isinstance(event, yaml.CollectionStartEvent):
                depth += 1
                if depth > MAXIMUM_DEPTH:
                    raise self._error(event.start_mark, f"nested more than {MAXIMUM_DEPTH} deep")
            elif isinstance(event, yaml.CollectionEndEvent):
                depth -= 1

    def _convert(self, loader: Any, node: Any, path: KeyPath) -> Any:
        self.marks.setdefault(path, _Mark(self._file, node.start_mark.line + 1))
        self._left -= 1
        if self._left < 0:
            raise self._error(node.start_mark, f"more than {MAXIMUM_VALUES} values")
        if len(path) > MAXIMUM_DEPTH:
            raise self._error(node.start_mark, "an alias inside what it stands for")
        if node.tag not in _TAGS:
            raise self._error(node.start_mark, f"tag {node.tag} is not supported")
        if isinstance(node, yaml.ScalarNode):
            try:
                return loader.construct_object(node)
            except ValueError as error:
                raise self._error(node.start_mark, str(error)) from None
        if isinstance(node, yaml.SequenceNode):
            return [self._convert(loader, n, (*path, i)) for i, n in enumerate(node.value)]
        result: dict[str, Any] = {}
        for key_node, value_node in node.value:
            key = self._key(loader, key_node)
            if key in result:
                raise self._error(key_node.start_mark, f"{_dotted((*path, key))}written twice")
            self.marks[*path, key] = _Mark(self._file, key_node.start_mark.line + 1)
            result[key] = self._convert(loader, value_node, (*path, key))
        return result

    def _key(self, loader: Any, node: Any) -> str:
        key = loader.construct_object(node) if isinstance(node, yaml.ScalarNode) else None
        if not isinstance(key, str):
            raise self._error(node.start_mark, "a key that is not text: quote it")
        if key == "<<":
            raise self._error(node.start_mark, "merge keys are not supported: use extends")
        return key

    def _error(self, mark: Any, what: str) -> ProfileError:
        line = f":{mark.line + 1}" if mark is not None else ""
        return ProfileError(f"{self._file}{line}: {what}")


# --- problems in words -------------------------------------------------------


def _details(failure: ValidationError) -> list[ErrorDetails]:
    # A list whose only items are wrong is also reported as too short.
    details = failure.errors(include_url=False)
    return [each for each in details if each["type"] != "too_short" or not each["input"]]


def _line(kind: Kind[Any], document: _Document, detail: ErrorDetails) -> str:
    path = _known_path(document.values, detail["loc"])
    place = path
    while place not in document.marks:
        place = place[:-1]
    mark = document.marks[place]
    return f"{mark.file}:{mark.line}: {_dotted(path)}{_what(kind, detail)}"


def _dotted(path: KeyPath) -> str:
    return ".".join(map(str, path)) + ": " if path else ""


def _what(kind: Kind[Any], detail: ErrorDetails) -> str:
    given = detail.get("input")
    context = detail.get("ctx", {})
    match detail["type"]:
        case "extra_forbidden":
            return f"unknown key{_near(str(detail['loc'][-1]), _all_keys(kind))}"
        case "missing":
            return "is missing"
        case "string_type" if isinstance(given, bool | int | float):
            return "should be text: quote it"
        case "model_type" | "dict_type":
            return f"should be a mapping, not {_kind_of(given)}"
        case "tuple_type":
            return f"should be a list, not {_kind_of(given)}"
        case "too_short":
            return "should not be empty"
        case "union_tag_not_found":
            return f"{context['discriminator'].strip(chr(39))} is missing"
        case "union_tag_invalid":
            known = [tag.strip("'") for tag in context["expected_tags"].split(", ")]
            near = _near(context["tag"], known) or f"; there are: {', '.join(known)}"
            return f"{context['discriminator'].strip(chr(39))} {context['tag']!r} is unknown{near}"
        case "value_error":
            return str(detail["msg"]).removeprefix("Value error, ")
        case _:
            what = re.sub("^(Input|Value|String) (should|is)", r"\2", str(detail["msg"]))
            return what + (
                f", not {given!r}" if isinstance(given, str | int | float | None) else ""
            )


def _near(name: str, known: Sequence[str]) -> str:
    found = get_close_matches(name, known, n=1, cutoff=0.7)
    return f"; did you mean {found[0]!r}?" if found else ""


def _known_path(values: Any, location: Sequence[int | str]) -> KeyPath:
    """Turn pydantic's location into one in the values: union tags left out, a last key kept."""
    path: list[str | int] = []
    for position, part in enumerate(location):
        inside = isinstance(values, list | tuple) and isinstance(part, int) and part < len(values)
        if inside or (isinstance(values, dict) and part in values):
            path.append(part)
            values = values[part]
        elif position == len(location) - 1 and isinstance(values, dict):
            path.append(part)
    return tuple(path)


def _all_keys(kind: Kind[Any]) -> list[str]:
    found = kind.model.model_json_schema()
    models = [found, *found.get("$defs", {}).values()]
    return sorted({key for model in models for key in model.get("properties", {})})


def _kind_of(value: Any) -> str:
    kinds = {dict: "a mapping", list: "a list", str: "text", type(None): "nothing", bool: "a flag"}
    return kinds.get(type(value), "a number")


# --- overrides ---------------------------------------------------------------


def _assign(values: Any, override: Override) -> Any:
    """Return `values` with the override's value at its path."""

    def at(here: Any, rest: tuple[str, ...], done: tuple[str, ...]) -> Any:
        if not rest:
            return override.value
        key, name = rest[0], ".".join((override.root, *done))
        if isinstance(here, list | tuple):
            if not key.isascii() or not key.isdigit() or int(key) >= len(here):
                raise ProfileError(
                    f"{override.label}: {name} is a list of {len(here)}, and {key!r} no index of it"
                )
            changed = list(here)
            changed[int(key)] = at(here[int(key)], rest[1:], (*done, key))
            return changed
        if here is None:
            here = {}
        if not isinstance(here, dict):
            raise ProfileError(f"{override.label}: {name} has no keys: it is {here!r}")
        return {**here, key: at(here.get(key), rest[1:], (*done, key))}

    return at(values, override.path, ())


def _blame(overrides: Sequence[Override], path: KeyPath) -> Override:
    """Return the override whose path shares most with `path`; the last one if several do."""
    wanted = tuple(map(str, path))

    def shared(override: Override) -> int:
        pairs = zip(wanted, override.path, strict=False)
        return sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], pairs))

    most = max(map(shared, overrides))
    return [override for override in overrides if shared(override) == most][-1]
