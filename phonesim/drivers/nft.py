"""The `nft` program, which changes the kernel's packet filter; a script is all or nothing.

Specifications: nft(8).
"""

from __future__ import annotations

import os
import shutil
import subprocess

from phonesim.errors import UsageError

_SECONDS = 30
_SYSTEM_FOLDERS = "/usr/sbin:/sbin"


def nft_path() -> str | None:
    """Where the program is; None if it is not installed."""
    return shutil.which("nft", path=f"{os.environ.get('PATH', '')}:{_SYSTEM_FOLDERS}")


def run_nft(script: str, *, is_trial: bool = False) -> str:
    """Run a script and return what it printed; a trial changes nothing in the end.

    It has a session of its own: Ctrl-C must not end it half-way. `UsageError`, with the
    first line of what it complained about, if it fails.
    """
    program = nft_path()
    if program is None:
        raise UsageError("the nft program is not installed (package nftables)")
    try:
        ended = subprocess.run(  # noqa: S603
            [program, *(["-c"] if is_trial else []), "-f", "-"],
            input=script,
            capture_output=True,
            text=True,
            timeout=_SECONDS,
            start_new_session=True,
            env={**os.environ, "LC_ALL": "C"},
        )
    except subprocess.TimeoutExpired:
        raise UsageError(f"nft: no answer for {_SECONDS} s") from None
    except OSError as error:
        raise UsageError(f"nft: {error.strerror or error}") from None
    if ended.returncode:
        complaint = ended.stderr.strip().splitlines() or [f"exit status {ended.returncode}"]
        raise UsageError(f"nft: {_after_place(complaint[0])}")
    return ended.stdout


def _after_place(complaint: str) -> str:
    """Leave out where in the script it is: nobody sees the script."""
    before, found, after = complaint.partition("Error: ")
    return after if found and before.startswith("/dev/stdin") else complaint
