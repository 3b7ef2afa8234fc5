"""What 1,000 phones on loopback take: real UDP, TCP, TLS and HTTP, both sides in one process."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile

PHONES = 1000
RATES = (50, 100, 200)


def main() -> None:
    print(f"loopback world: demo with {PHONES} phones, both sides in one process")
    for rate in RATES:
        arguments = ["run", "demo", "--phones", str(PHONES), "--rate", str(rate), "--json"]
        with tempfile.TemporaryDirectory(dir="logs") as out:
            came = subprocess.run(
                [sys.executable, "-m", "phonesim", *arguments, "--out", out],
                capture_output=True,
                text=True,
                check=False,
            )
        if not came.stdout:
            print(f"  {rate:4} a second: {came.stderr.strip().splitlines()[-1]}")
            continue
        summary = json.loads(came.stdout)
        print(
            f"  {rate:4} a second: {summary['signed_in']} signed in, {summary['wall_s']:.1f} s,"
            f" {summary['cpu_s']:.1f} s CPU, peak {summary['peak_rss_mb']:.0f} MB,"
            f" {'valid' if summary['valid'] else 'NOT valid'}"
        )
        for note in summary["notes"]:
            print(f"       {note}")


if __name__ == "__main__":
    main()
