import subprocess
import sys
import textwrap
from pathlib import Path

import pytest


def limited(soft: int, hard: int, phones: int, has_site: bool) -> str:
    """What `allow_open_files` comes to in a process of those limits and without privileges."""
    return after(f"allow_open_files({phones}, has_site={has_site})", soft, hard)


def after(call: str, soft: int, hard: int) -> str:
    """What a call comes to in such a process."""
    script = textwrap.dedent(
        f"""
        import ctypes, resource
        from phonesim.drivers.open_files import allow_most_open_files, allow_open_files
        from phonesim.errors import UsageError

        header = (ctypes.c_uint32 * 2)(0x20080522, 0)
        resource.setrlimit(resource.RLIMIT_NOFILE, ({soft}, {hard}))
        assert ctypes.CDLL(None).capset(header, (ctypes.c_uint32 * 6)()) == 0
        try:
            {call}
        except UsageError as error:
            print(error)
        else:
            print(*resource.getrlimit(resource.RLIMIT_NOFILE))
        """
    )
    root = Path(__file__).parents[2]
    return subprocess.run(
        [sys.executable, "-c", script], cwd=root, capture_output=True, text=True, check=True
    ).stdout.strip()


@pytest.mark.parametrize(
    ("soft", "hard", "phones", "has_site", "outcome"),
    [
        (1024, 4096, 10, True, "1024 4096"),
        (256, 4096, 10, True, "4096 4096"),
        (256, 4096, 10, False, "4096 4096"),
        (256, 956, 100, True, "956 956"),
    ],
)
def test_the_limit_is_raised_to_what_the_fleet_needs(
    soft: int, hard: int, phones: int, has_site: bool, outcome: str
) -> None:
    assert limited(soft, hard, phones, has_site) == outcome


def test_a_fleet_that_the_limit_does_not_permit_is_the_users_error() -> None:
    assert limited(256, 4096, 10000, True) == (
        "10000 phones need 22756 open files and this process may have 4096: "
        "raise the limit (ulimit -Hn 22756, as root), or run fewer phones"
    )


def test_a_site_takes_all_that_it_may_have() -> None:
    assert after("allow_most_open_files()", 256, 4096) == "4096 4096"
