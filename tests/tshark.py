"""Captures, as tshark reads them."""

from __future__ import annotations

import subprocess
from pathlib import Path


def tshark(capture: Path, *arguments: str) -> list[list[str]]:
    """Lines of fields; what tshark complains of is a failure."""
    came = subprocess.run(
        ["tshark", "-n", "-r", str(capture), *arguments], capture_output=True, text=True
    )
    complaints = [line for line in came.stderr.splitlines() if not line.startswith("Running as")]
    assert (came.returncode, complaints) == (0, [])
    return [line.split("\t") for line in came.stdout.splitlines()]


def fields(capture: Path, *names: str, where: str = "frame") -> list[list[str]]:
    """These fields of every frame that a display filter selects."""
    options = [option for name in names for option in ("-e", name)]
    return tshark(capture, "-Y", where, "-T", "fields", *options)
