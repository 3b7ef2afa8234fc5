"""How many boots a second of processor time buys in the virtual world, and what a phone weighs.

Each size runs in a process of its own, three times; the best counts. The weight of a phone is
the difference in peak memory between the largest and the smallest run, a phone.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from typing import Any

SIZES = (500, 2000, 8000)
ROUNDS = 3


def run(phones: int, out: str) -> dict[str, Any]:
    arguments = ["run", "power-cut", "--phones", str(phones), "--out", out, "--json"]
    came = subprocess.run(
        [sys.executable, "-m", "phonesim", *arguments],
        capture_output=True,
        text=True,
        check=True,
    )
    summary: dict[str, Any] = json.loads(came.stdout)
    return summary


def main() -> None:
    print("virtual world: power-cut, device logs written")
    peaks = {}
    for phones in SIZES:
        with tempfile.TemporaryDirectory(dir="logs") as out:
            runs = [run(phones, out) for _ in range(ROUNDS)]
        best = min(runs, key=lambda summary: summary["cpu_s"])
        peaks[phones] = best["peak_rss_mb"]
        print(
            f"  {phones:6} phones  {best['signed_in']:6} signed in  {best['cpu_s']:6.2f} s CPU"
            f"  {phones / best['cpu_s']:7.0f} boots per CPU second  peak {peaks[phones]:.0f} MB"
        )
    few, many = min(SIZES), max(SIZES)
    print(f"  {(peaks[many] - peaks[few]) * 1000 / (many - few):.1f} KB a phone")


if __name__ == "__main__":
    main()
