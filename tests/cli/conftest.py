from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import pytest

from phonesim.cli.main import main

PROGRAM = (sys.executable, "-m", "phonesim")


class Came(NamedTuple):
    """What a command came to."""

    status: int
    out: str
    err: str

    @property
    def document(self) -> Any:
        return json.loads(self.out)


@pytest.fixture
def phonesim(capsys: pytest.CaptureFixture[str]) -> Callable[..., Came]:
    """Run a command in this process."""

    def run(*arguments: object) -> Came:
        status = main([str(argument) for argument in arguments])
        captured = capsys.readouterr()
        return Came(status, captured.out, captured.err)

    return run


@pytest.fixture
def program() -> Callable[..., subprocess.Popen[str]]:
    """Start a command as a process of its own, perhaps by another program."""

    def start(*arguments: object, by: Sequence[str] = (), **options: Any) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [*by, *PROGRAM, *map(str, arguments)],
            stdout=options.pop("stdout", subprocess.PIPE),
            stderr=options.pop("stderr", subprocess.PIPE),
            text=True,
            **options,
        )

    return start
