"""How long `phonesim diagnose` takes for a device log of 100 MB, and how much memory.

Two logs: one of boots after boots, with the failures of the golden logs, and one of a single boot
that has no end. Each is read by a process of its own.
"""

from __future__ import annotations

import json
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

SIZE = 100_000_000
GOLDEN = Path(__file__).parent.parent / "golden" / "logs"


def write_log(path: Path, *, has_reboots: bool) -> None:
    logs = [file.read_bytes() for file in sorted(GOLDEN.glob("*.log"))]
    if not has_reboots:
        kept = [line for line in logs[0].splitlines(keepends=True) if b"Power applied" not in line]
        logs = [b"".join(kept)]
    size = 0
    with path.open("wb") as stream:
        while size < SIZE:
            for log in logs:
                size += stream.write(log)


def measure(path: Path) -> None:
    begun = time.perf_counter()
    command = [sys.executable, "-m", "phonesim", "diagnose", "--json", str(path)]
    came = subprocess.run(command, capture_output=True, check=False)
    seconds = time.perf_counter() - begun
    if came.returncode not in (0, 3):
        sys.exit(came.stderr.decode())
    document = json.loads(came.stdout)
    peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024
    lines = document["inputs"][0]["lines"]
    print(
        f"  {lines:8} lines  {document['boots']:6} boots  {len(document['findings']):2} causes"
        f"  {seconds:5.1f} s  {seconds / lines * 1e6:4.1f} us a line  peak {peak:.0f} MB so far"
    )


def main() -> None:
    print(f"diagnose: a device log of {SIZE / 1e6:.0f} MB")
    with tempfile.TemporaryDirectory(dir="logs") as folder:
        for has_reboots in (False, True):
            path = Path(folder) / "cpsw3g.log"
            write_log(path, has_reboots=has_reboots)
            measure(path)


if __name__ == "__main__":
    main()
