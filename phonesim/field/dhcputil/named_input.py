"""What `phonesim dhcputil decode` is given: octets, configurations, files, captures, stdin."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import msgspec

from phonesim.errors import DecodeError, UsageError
from phonesim.field.captures.capture_reader import is_capture
from phonesim.field.dhcputil.captured_options import CapturedOptions
from phonesim.field.dhcputil.configured_option import ConfiguredOption
from phonesim.field.dhcputil.servers import read_options

_LARGEST_FILE = 16 << 20
_LONGEST_PATH = 1024
_SHOWN = 60


class NamedInput(msgspec.Struct, frozen=True):
    """Options, where they are from, and notes on what was not read."""

    where: str
    options: list[ConfiguredOption]
    notes: list[str]


def read_input(what: Sequence[str], code: int | None) -> NamedInput:
    """Read what the words of a command line name: a file, "-" for stdin, or what they say.

    `code` is the option that octets without a label are. `UsageError` if there is no option, or
    one that cannot be read.
    """
    path = _file_of(what)
    try:
        if path is not None and is_capture(path):
            captured = CapturedOptions(path)
            if not captured.options:
                raise DecodeError("; ".join(captured.notes))
            return NamedInput(str(path), captured.options, captured.notes)
        text, where = _text_of(what, path)
        return NamedInput(where, read_options(text, code), [])
    except DecodeError as error:
        if path is None and _is_folder(what):
            raise UsageError(f"{what[0]}: it is a folder: name a file in it") from None
        raise UsageError(f"{_name(what, path)}: {error}") from None


def _name(what: Sequence[str], path: Path | None) -> str:
    if path is not None:
        return str(path)
    if list(what) == ["-"]:
        return "stdin"
    if len(what) == 1:
        return f"{what[0][:_SHOWN]!r} (there is no such file)"
    return "command line"


def _file_of(what: Sequence[str]) -> Path | None:
    """The file that the only argument names, if there is one."""
    return Path(what[0]) if _is(Path.is_file, what) else None


def _is_folder(what: Sequence[str]) -> bool:
    """Whether the only argument names a folder. What can be read as octets is octets."""
    return _is(Path.is_dir, what)


def _is(test: Callable[[Path], bool], what: Sequence[str]) -> bool:
    if len(what) != 1 or len(what[0]) > _LONGEST_PATH:
        return False
    try:
        return test(Path(what[0]))
    except (OSError, ValueError):  # too long for a name, or a NUL in it
        return False


def _text_of(what: Sequence[str], path: Path | None) -> tuple[str, str]:
    """What is to be decoded, and where it is from."""
    if not what:
        raise UsageError("name octets, a configuration line, a file, or - for stdin")
    if list(what) == ["-"]:
        return _decoded(sys.stdin.buffer.read(_LARGEST_FILE + 1), "stdin"), "stdin"
    if path is None:
        return " ".join(what), "command line"
    try:
        with path.open("rb") as file:
            return _decoded(file.read(_LARGEST_FILE + 1), str(path)), str(path)
    except OSError as error:
        raise UsageError(f"{path}: cannot be read: {error.strerror}") from None


def _decoded(octets: bytes, where: str) -> str:
    if len(octets) > _LARGEST_FILE:
        raise UsageError(f"{where}: more than {_LARGEST_FILE >> 20} MiB is no DHCP configuration")
    encoding = "utf-16" if octets[:2] in (b"\xff\xfe", b"\xfe\xff") else "utf-8-sig"
    return octets.decode(encoding, "replace")
